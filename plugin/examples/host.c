// A host of its own: llama.cpp's C interface, with midlayer as its eval callback.
//   cc host.c -lmidlayer_plugin -lllama -lggml-base -o host
//   ./host model.gguf plan.json 'prompt' [tokens a decode]
// prints the likeliest next token and then the logits, one a line.
#include "llama.h"
#include "midlayer.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int fail(const char *what) {
    fprintf(stderr, "host: %s\n", what ? what : "no reason given");
    return 1;
}

static void quiet(enum ggml_log_level level, const char *text, void *data) {
    (void)level, (void)text, (void)data;
}

int main(int argc, char **argv) {
    if (argc < 4) return fail("usage: host model.gguf plan.json prompt [tokens a decode]");
    const int piece = argc > 4 ? atoi(argv[4]) : 512;
    llama_log_set(quiet, NULL);
    llama_backend_init();
    ggml_backend_load_all();
    struct llama_model *model = llama_model_load_from_file(argv[1], llama_model_default_params());
    if (model == NULL) return fail("the model cannot be loaded");
    const struct llama_vocab *vocab = llama_model_get_vocab(model);

    struct midlayer_session *session = midlayer_open_file(argv[2]);
    if (session == NULL) return fail(midlayer_last_error(NULL));
    struct llama_context_params params = llama_context_default_params();
    params.n_ctx = 512;
    params.n_threads = params.n_threads_batch = 1;
    // As exact as it gets, so that the numbers can be compared.
    params.type_k = params.type_v = GGML_TYPE_F32;
    params.flash_attn_type = LLAMA_FLASH_ATTN_TYPE_DISABLED;
    params.cb_eval = midlayer_eval_callback;
    params.cb_eval_user_data = session;
    struct llama_context *context = llama_init_from_model(model, params);
    if (context == NULL) return fail("no context");

    llama_token tokens[512];
    const int n = llama_tokenize(vocab, argv[3], (int32_t)strlen(argv[3]), tokens, 512, true, true);
    if (n < 1) return fail("the prompt is empty or too long");
    struct llama_batch batch = llama_batch_init(512, 0, 1);
    for (int first = 0; first < n; first += piece) {
        batch.n_tokens = n - first < piece ? n - first : piece;
        for (int i = 0; i < batch.n_tokens; i++) {
            batch.token[i] = tokens[first + i];
            batch.pos[i] = first + i;
            batch.n_seq_id[i] = 1;
            batch.seq_id[i][0] = 0;
            batch.logits[i] = first + i == n - 1;
        }
        if (llama_decode(context, batch) != 0) return fail("the decode failed");
    }
    const float *logits = llama_get_logits_ith(context, -1);
    int best = 0;
    for (int i = 0; i < llama_vocab_n_tokens(vocab); i++) best = logits[i] > logits[best] ? i : best;
    printf("%d\n", best);
    for (int i = 0; i < llama_vocab_n_tokens(vocab); i++) printf("%.9g\n", logits[i]);
    const char *error = midlayer_last_error(session);
    fprintf(stderr, "host: %llu rows written%s%s\n", (unsigned long long)midlayer_hits(session),
            error ? "; " : "", error ? error : "");
    llama_batch_free(batch);
    llama_free(context);
    midlayer_close(session);
    llama_model_free(model);
    return 0;
}
