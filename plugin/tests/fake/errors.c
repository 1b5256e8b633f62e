// A host that keeps error texts: errors model.gguf plan.json other.json text. Neither plan fits the
// model; the second takes the first one's place between two texts.
#include "llama.h"
#include "midlayer.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void quiet(enum ggml_log_level level, const char *text, void *data) {
    (void)level, (void)text, (void)data;
}

static void must(int holds, const char *what) {
    if (!holds) {
        printf("not so: %s\n", what);
        exit(1);
    }
}

int main(int argc, char **argv) {
    if (argc < 5) return 2;
    must(midlayer_open("{") == NULL, "half a plan is none");
    char text[400], start[5];
    const size_t length = midlayer_copy_error(NULL, text, sizeof text);
    must(length > 5 && length == strlen(midlayer_last_error(NULL)), "the whole length");
    must(strcmp(text, midlayer_last_error(NULL)) == 0, "the same text");
    must(midlayer_copy_error(NULL, start, sizeof start) == length, "the whole length of a cut text");
    must(strlen(start) == 4 && strncmp(start, text, 4) == 0, "what fits");
    must(midlayer_copy_error(NULL, NULL, 0) == length, "the length alone");

    llama_log_set(quiet, NULL);
    llama_backend_init();
    struct llama_model *model = llama_model_load_from_file(argv[1], llama_model_default_params());
    struct midlayer_session *session = midlayer_open_file(argv[2]);
    must(model != NULL && session != NULL, "a model and a session");
    must(midlayer_last_error(session) == NULL, "no error yet");
    must(midlayer_copy_error(session, text, sizeof text) == 0 && text[0] == 0, "no error to copy");
    struct llama_context_params params = llama_context_default_params();
    params.n_ctx = 512;
    params.n_threads = params.n_threads_batch = 1;
    params.cb_eval = midlayer_eval_callback;
    params.cb_eval_user_data = session;
    struct llama_context *context = llama_init_from_model(model, params);
    const struct llama_vocab *vocab = llama_model_get_vocab(model);
    llama_token tokens[200];
    const int n = llama_tokenize(vocab, argv[4], (int32_t)strlen(argv[4]), tokens, 200, true, true);
    const char *first = NULL;
    for (int i = 0; i < 2; i++) {
        must(llama_decode(context, llama_batch_get_one(tokens, n)) == 0, "the host goes on");
        llama_memory_clear(llama_get_memory(context), true);
        const char *error = midlayer_last_error(session);
        must(error != NULL, "an error");
        char copy[400];
        must(midlayer_copy_error(session, copy, sizeof copy) == strlen(error), "its length");
        must(strcmp(copy, error) == 0, "its copy");
        if (i == 0) {
            first = error;
            memcpy(text, copy, sizeof text);
            must(rename(argv[3], argv[2]) == 0, "the other plan");
        } else {
            must(strcmp(copy, text) != 0, "another error");
        }
    }
    must(strcmp(first, text) == 0, "the first error's text is still there");
    llama_free(context);
    midlayer_close(session);
    llama_model_free(model);
    puts("kept");
    return 0;
}
