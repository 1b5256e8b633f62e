/* midlayer inside a llama.cpp that is already there. Made from plugin/src/api.rs; see
   docs/plugin.md. */

#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Of ggml.h. */
struct ggml_tensor;

// A plan for one llama_context. It must outlive the context.
typedef struct midlayer_session midlayer_session;

#ifdef __cplusplus
extern "C" {
#endif // __cplusplus

// This library's version, such as "0.1.0".
const char *midlayer_version(void);

// Whether the llama.cpp in this process can be used: one is found, and its tensors are laid out
// as expected. midlayer_last_error(NULL) says why not.
bool midlayer_check(void);

// Opens a session for a plan (JSON, as `midlayer try --save-plan` writes it). llama.cpp must be
// loaded. NULL on failure, and midlayer_last_error(NULL) says why.
//
// # Safety
// `plan` is a NUL-terminated string.
struct midlayer_session *midlayer_open(const char *plan);

// Opens a session for the plan in a file. When the file changes, the next text is under the new
// plan.
//
// # Safety
// `path` is a NUL-terminated string.
struct midlayer_session *midlayer_open_file(const char *path);

// The callback: llama_context_params.cb_eval, with the session as cb_eval_user_data. One
// session serves one context.
//
// # Safety
// Called by ggml, with a session that is open (or NULL).
bool midlayer_eval_callback(struct ggml_tensor *tensor, bool ask, void *session);

// A callback of the host's own, called for the same nodes after midlayer. NULL for none.
//
// # Safety
// `session` is open or NULL; `callback` may be called with `user_data` until it is replaced.
void midlayer_chain(struct midlayer_session *session,
                    bool (*callback)(struct ggml_tensor *tensor, bool ask, void *user_data),
                    void *user_data);

// Rows rewritten so far: one for each token and layer.
//
// # Safety
// `session` is open or NULL.
uint64_t midlayer_hits(const struct midlayer_session *session);

// Texts that have begun so far. Warm-ups are not counted.
//
// # Safety
// `session` is open or NULL.
uint64_t midlayer_texts(const struct midlayer_session *session);

// Of these, texts that the plan's `requests` chose.
//
// # Safety
// `session` is open or NULL.
uint64_t midlayer_texts_chosen(const struct midlayer_session *session);

// Writes the states that the plan's `capture` kept of the latest text to a safetensors file:
// layer.N with a row for each of positions.N.
//
// # Safety
// `session` is open or NULL; `path` is a NUL-terminated string.
bool midlayer_save_states(struct midlayer_session *session, const char *path);

// The last error of a session, or of this thread's calls without one (NULL). NULL if there was
// none. A session's text is valid until the session is closed, whatever other threads do; a
// text without one until the next failure of a call without one on this thread.
//
// # Safety
// `session` is open or NULL.
const char *midlayer_last_error(const struct midlayer_session *session);

// Copies the last error, as midlayer_last_error gives it, into `buffer`: what fits into `size`
// bytes, the closing NUL included. Returns the length of the whole text without the NUL, 0 if
// there was no error; a result of `size` or more says that the text was cut.
//
// # Safety
// `session` is open or NULL; `buffer` has room for `size` bytes, or is NULL and `size` is 0.
size_t midlayer_copy_error(const struct midlayer_session *session, char *buffer, size_t size);

// Closes a session, after its context has been freed.
//
// # Safety
// `session` comes from `midlayer_open` and was not closed, or is NULL.
void midlayer_close(struct midlayer_session *session);

#ifdef __cplusplus
}  // extern "C"
#endif  // __cplusplus
