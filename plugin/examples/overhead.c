// What the plugin costs: prefill and decode with and without it, in processor time, interleaved.
//   ./overhead model.gguf plan.json [tokens] [rounds]
#include "llama.h"
#include "midlayer.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

enum { TOKENS = 1024, DECODES = 16 };

static void quiet(enum ggml_log_level level, const char *text, void *data) {
    (void)level, (void)text, (void)data;
}

static double decode(struct llama_context *context, struct llama_batch *batch, int first, int n) {
    batch->n_tokens = n;
    for (int i = 0; i < n; i++) {
        batch->token[i] = 1000 + (first + i) * 37 % 20000;
        batch->pos[i] = first + i;
        batch->n_seq_id[i] = 1;
        batch->seq_id[i][0] = 0;
        batch->logits[i] = i == n - 1;
    }
    const clock_t start = clock();
    if (llama_decode(context, *batch) != 0) exit(1);
    return (double)(clock() - start) / CLOCKS_PER_SEC;
}

static int ascending(const void *a, const void *b) {
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

int main(int argc, char **argv) {
    if (argc < 3) return 2;
    const int n = argc > 3 ? atoi(argv[3]) : 250, rounds = argc > 4 ? atoi(argv[4]) : 15;
    if (n < 3 || n + DECODES > TOKENS || rounds < 1 || rounds > 1000) return 2;
    llama_log_set(quiet, NULL);
    llama_backend_init();
    ggml_backend_load_all();
    struct llama_model *model = llama_model_load_from_file(argv[1], llama_model_default_params());
    struct midlayer_session *session = midlayer_open_file(argv[2]);
    if (model == NULL || session == NULL) return 1;
    struct llama_context *contexts[2];
    for (int with = 0; with < 2; with++) {
        struct llama_context_params params = llama_context_default_params();
        params.n_ctx = TOKENS;
        params.n_threads = params.n_threads_batch = 1;
        params.cb_eval = with ? midlayer_eval_callback : NULL;
        params.cb_eval_user_data = with ? session : NULL;
        contexts[with] = llama_init_from_model(model, params);
        if (contexts[with] == NULL) return 1;
    }
    struct llama_batch batch = llama_batch_init(TOKENS, 0, 1);
    static double times[2][2][1000];
    for (int round = -1; round < rounds; round++) {
        for (int turn = 0; turn < 2; turn++) {
            const int with = (turn + round) & 1;
            llama_memory_clear(llama_get_memory(contexts[with]), true);
            const double prefill = decode(contexts[with], &batch, 0, n);
            double steps = 0;
            for (int i = 0; i < DECODES; i++) steps += decode(contexts[with], &batch, n + i, 1);
            if (round >= 0) times[0][with][round] = prefill, times[1][with][round] = steps / DECODES;
        }
    }
    for (int what = 0; what < 2; what++) {
        for (int with = 0; with < 2; with++) qsort(times[what][with], rounds, sizeof(double), ascending);
        const double without = times[what][0][rounds / 2], with = times[what][1][rounds / 2];
        printf("%s %.5f %.5f %.4f\n", what ? "decode" : "prefill", without, with, with / without);
    }
    fprintf(stderr, "%llu rows written in %llu texts\n", (unsigned long long)midlayer_hits(session),
            (unsigned long long)midlayer_texts(session));
    for (int with = 0; with < 2; with++) llama_free(contexts[with]);
    midlayer_close(session);
    llama_batch_free(batch);
    llama_model_free(model);
    return 0;
}
