// A host with a warm-up and two texts in one batch: batch model.gguf plan.json text text unified
// prints the logits of the first text's last token, then the second's.
#include "llama.h"
#include "midlayer.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void quiet(enum ggml_log_level level, const char *text, void *data) {
    (void)level, (void)text, (void)data;
}

static int add(struct llama_batch *batch, const llama_token *tokens, int n, int sequence) {
    for (int i = 0; i < n; i++) {
        const int row = batch->n_tokens++;
        batch->token[row] = tokens[i];
        batch->pos[row] = i;
        batch->n_seq_id[row] = 1;
        batch->seq_id[row][0] = sequence;
        batch->logits[row] = i == n - 1;
    }
    return batch->n_tokens - 1;
}

int main(int argc, char **argv) {
    if (argc < 6) return 2;
    llama_log_set(quiet, NULL);
    llama_backend_init();
    struct llama_model *model = llama_model_load_from_file(argv[1], llama_model_default_params());
    struct midlayer_session *session = midlayer_open_file(argv[2]);
    if (model == NULL || session == NULL) return 1;
    const struct llama_vocab *vocab = llama_model_get_vocab(model);
    struct llama_context_params params = llama_context_default_params();
    params.n_ctx = 512;
    params.n_seq_max = 2;
    params.kv_unified = atoi(argv[5]) != 0;
    params.n_threads = params.n_threads_batch = 1;
    params.type_k = params.type_v = GGML_TYPE_F32;
    params.flash_attn_type = LLAMA_FLASH_ATTN_TYPE_DISABLED;
    params.cb_eval = midlayer_eval_callback;
    params.cb_eval_user_data = session;
    struct llama_context *context = llama_init_from_model(model, params);
    if (context == NULL) return 1;
    struct llama_batch batch = llama_batch_init(512, 0, 1);
    llama_token tokens[2][200];
    int n[2], last[2];
    for (int t = 0; t < 2; t++) {
        const char *text = argv[3 + t];
        n[t] = llama_tokenize(vocab, text, (int32_t)strlen(text), tokens[t], 200, true, true);
        if (n[t] < 3) return 1;
    }
    add(&batch, tokens[0], 2, 0);
    if (llama_decode(context, batch) != 0) return 1;
    llama_memory_clear(llama_get_memory(context), true);
    batch.n_tokens = 0;
    for (int t = 0; t < 2; t++) last[t] = add(&batch, tokens[t], n[t], t);
    if (llama_decode(context, batch) != 0) return 1;
    for (int t = 0; t < 2; t++) {
        const float *logits = llama_get_logits_ith(context, last[t]);
        for (int i = 0; i < llama_vocab_n_tokens(vocab); i++) printf("%.9g\n", logits[i]);
    }
    const char *error = midlayer_last_error(session);
    fprintf(stderr, "%llu texts, %llu chosen, %llu rows %s\n", (unsigned long long)midlayer_texts(session),
            (unsigned long long)midlayer_texts_chosen(session), (unsigned long long)midlayer_hits(session),
            error ? error : "");
    llama_batch_free(batch);
    llama_free(context);
    midlayer_close(session);
    llama_model_free(model);
    return 0;
}
