// A llama.cpp that private.c loads: decodes a text and prints the logits of its last token. It knows
// nothing of midlayer, which stands before it when preloaded. By the environment: model, text, how
// many contexts one after the other, and how often each decodes the text.
#include "llama.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void quiet(enum ggml_log_level level, const char *text, void *data) {
    (void)level, (void)text, (void)data;
}

static void fail(const char *what) {
    fprintf(stderr, "text: %s\n", what);
    exit(1);
}

static int number(const char *name) {
    const char *value = getenv(name);
    return value ? atoi(value) : 1;
}

static void decode(struct llama_context *context, const struct llama_vocab *vocab, const char *text) {
    llama_token tokens[512];
    const int n = llama_tokenize(vocab, text, (int32_t)strlen(text), tokens, 512, true, true);
    if (n < 1) fail("no tokens");
    // Logits of the last token only.
    if (llama_decode(context, llama_batch_get_one(tokens, n)) != 0) fail("the decode failed");
    const float *logits = llama_get_logits_ith(context, -1);
    for (int i = 0; i < llama_vocab_n_tokens(vocab); i++) printf("%.9g\n", logits[i]);
}

void start(void) {
    const char *file = getenv("TEXT_MODEL"), *text = getenv("TEXT");
    if (file == NULL || text == NULL) fail("TEXT_MODEL or TEXT is not set");
    llama_log_set(quiet, NULL);
    llama_backend_init();
    struct llama_model *model = llama_model_load_from_file(file, llama_model_default_params());
    if (model == NULL) fail("no model");
    struct llama_context_params params = llama_context_default_params();
    params.n_ctx = 512;
    params.n_threads = params.n_threads_batch = 1;
    params.type_k = params.type_v = GGML_TYPE_F32;
    params.flash_attn_type = LLAMA_FLASH_ATTN_TYPE_DISABLED;
    const struct llama_vocab *vocab = llama_model_get_vocab(model);
    for (int c = 0; c < number("TEXT_CONTEXTS"); c++) {
        struct llama_context *context = llama_init_from_model(model, params);
        if (context == NULL) fail("no context");
        for (int t = 0; t < number("TEXT_TIMES"); t++) {
            decode(context, vocab, text);
            llama_memory_clear(llama_get_memory(context), true);
            // No adapter, as before; llama.cpp makes the context's scheduler anew all the same.
            llama_set_adapter_cvec(context, NULL, 0, llama_model_n_embd(model), 1, 1);
        }
        llama_free(context);
    }
    llama_model_free(model);
}
