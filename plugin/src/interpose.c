// macOS: every call of the second function of a pair in another image reaches the first instead.
// dyld reads the table when the program begins, so the second must be in a library that the program
// is linked with; where there is none (it is loaded later, as by Node), the entry is null and does
// nothing.
#include <stdbool.h>
#include <stddef.h>

struct ggml_tensor;
typedef bool (*callback)(struct ggml_tensor *, bool, void *);
typedef void set_eval_callback(void *scheduler, callback, void *user_data);
typedef void free_it(void *);

// preload.rs
set_eval_callback midlayer_set_eval_callback;
free_it midlayer_free_scheduler, midlayer_free_backend;
extern set_eval_callback ggml_backend_sched_set_eval_callback __attribute__((weak_import));
extern free_it ggml_backend_sched_free __attribute__((weak_import));
extern free_it ggml_backend_free __attribute__((weak_import));

__attribute__((used, section("__DATA,__interpose"))) static const struct {
    void *ours, *theirs;
} interpose[] = {
    {(void *)midlayer_set_eval_callback, (void *)ggml_backend_sched_set_eval_callback},
    {(void *)midlayer_free_scheduler, (void *)ggml_backend_sched_free},
    {(void *)midlayer_free_backend, (void *)ggml_backend_free},
};

// Calls from this image are left alone, so that these are the functions themselves. The numbers are
// those of preload.rs.
void *midlayer_replaced(int which) {
    switch (which) {
    case 0: return (void *)ggml_backend_sched_set_eval_callback;
    case 1: return (void *)ggml_backend_sched_free;
    case 2: return (void *)ggml_backend_free;
    default: return NULL;
    }
}
