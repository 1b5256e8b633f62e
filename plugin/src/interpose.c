// macOS: every call of the second function in another image reaches the first instead. dyld reads
// the table when the program begins, so the second must be in a library that the program is linked
// with; where there is none (it is loaded later, as by Node), the entry is null and does nothing.
#include <stdbool.h>

struct ggml_tensor;
typedef bool (*callback)(struct ggml_tensor *, bool, void *);
typedef void set_eval_callback(void *scheduler, callback, void *user_data);

// preload.rs
set_eval_callback midlayer_set_eval_callback;
extern set_eval_callback ggml_backend_sched_set_eval_callback __attribute__((weak_import));

__attribute__((used, section("__DATA,__interpose"))) static const struct {
    set_eval_callback *ours, *theirs;
} interpose = {midlayer_set_eval_callback, ggml_backend_sched_set_eval_callback};

// Calls from this image are left alone, so that this is the function itself.
set_eval_callback *midlayer_replaced(void) { return ggml_backend_sched_set_eval_callback; }
