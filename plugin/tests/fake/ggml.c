// A ggml with just enough in it to be looked at, whose tensors can be laid out in other ways.
// Built by tests/layout.rs into a shared library; nothing here computes anything.
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#ifndef MAX_SRC
#define MAX_SRC 10
#endif
#ifndef MAX_NAME
#define MAX_NAME 64
#endif
#ifndef OP_GET_ROWS
#define OP_GET_ROWS 40
#endif

struct tensor {
    int type;
    void *buffer;
#ifdef STRIDES_FIRST
    size_t nb[4];
    int64_t ne[4];
#else
    int64_t ne[4];
    size_t nb[4];
#endif
    int op;
#ifdef FLAGS_FIRST
    int32_t flags;
    int32_t op_params[16];
#else
    int32_t op_params[16];
    int32_t flags;
#endif
    struct tensor *src[MAX_SRC];
#ifdef OFFSET_FIRST
    size_t view_offs;
    struct tensor *view_src;
#else
    struct tensor *view_src;
    size_t view_offs;
#endif
    void *data;
    char name[MAX_NAME];
    void *extra;
    char padding[8];
};

struct object {
#ifdef NEXT_FIRST
    struct object *next;
    size_t offs, size;
#else
    size_t offs, size;
    struct object *next;
#endif
    int type;
    char padding[4];
};

struct context {
    char *memory;
    size_t used;
    struct object *last;
};

struct params {
    size_t mem_size;
    void *mem_buffer;
    bool no_alloc;
};

struct buffer {
    char data[4096];
};

const char *ggml_version(void) { return "9.8.7-fake"; }
const char *ggml_type_name(int type) { return type == 0 ? "f32" : type == 26 ? "i32" : "other"; }
const char *ggml_op_name(int op) {
    return op == 0 ? "NONE" : op == OP_GET_ROWS ? "GET_ROWS" : op == 36 ? "VIEW" : "OTHER";
}
size_t ggml_tensor_overhead(void) { return sizeof(struct object) + sizeof(struct tensor); }

struct context *ggml_init(struct params params) {
    struct context *context = calloc(1, sizeof *context);
    context->memory = params.mem_buffer;
    return context;
}
void ggml_free(struct context *context) { free(context); }

static struct tensor *new_tensor(struct context *context, int type, int64_t a, int64_t b) {
    struct object *object = (struct object *)(context->memory + context->used);
    struct tensor *tensor = (struct tensor *)(object + 1);
    context->used += sizeof *object + sizeof *tensor;
    memset(object, 0, sizeof *object + sizeof *tensor);
    if (context->last) {
        context->last->next = object;
    }
    context->last = object;
    tensor->type = type;
    int64_t ne[4] = {a, b, 1, 1};
    memcpy(tensor->ne, ne, sizeof ne);
    tensor->nb[0] = 4;
    for (int i = 1; i < 4; i++) {
        tensor->nb[i] = tensor->nb[i - 1] * ne[i - 1];
    }
    return tensor;
}
struct tensor *ggml_new_tensor_1d(struct context *c, int type, int64_t a) { return new_tensor(c, type, a, 1); }
struct tensor *ggml_new_tensor_2d(struct context *c, int type, int64_t a, int64_t b) { return new_tensor(c, type, a, b); }
struct tensor *ggml_get_rows(struct context *c, struct tensor *a, struct tensor *b) {
    struct tensor *tensor = new_tensor(c, 0, a->ne[0], b->ne[0]);
    tensor->op = OP_GET_ROWS;
    tensor->src[0] = a;
    tensor->src[1] = b;
    return tensor;
}
struct tensor *ggml_view_1d(struct context *c, struct tensor *a, int64_t n, size_t offset) {
    struct tensor *tensor = new_tensor(c, 0, n, 1);
    tensor->op = 36;
    tensor->src[0] = a;
    tensor->view_src = a;
    tensor->view_offs = offset;
    return tensor;
}
struct tensor *ggml_set_name(struct tensor *tensor, const char *name) {
    strncpy(tensor->name, name, sizeof tensor->name - 1);
    return tensor;
}
void ggml_set_input(struct tensor *tensor) { tensor->flags |= 1; }
struct tensor *ggml_get_next_tensor(struct context *c, struct tensor *tensor) {
    (void)c;
    struct object *next = ((struct object *)tensor - 1)->next;
    return next ? (struct tensor *)(next + 1) : NULL;
}

void *ggml_backend_cpu_buffer_type(void) { return NULL; }
struct buffer *ggml_backend_alloc_ctx_tensors_from_buft(struct context *context, void *type) {
    (void)type;
    struct buffer *buffer = calloc(1, sizeof *buffer);
    struct tensor *tensor = (struct tensor *)((struct object *)context->memory + 1);
    tensor->buffer = buffer;
    tensor->data = buffer->data;
    return buffer;
}
void ggml_backend_buffer_free(struct buffer *buffer) { free(buffer); }
bool ggml_backend_buffer_is_host(struct buffer *buffer) { return buffer != NULL; }
void ggml_backend_tensor_get(const struct tensor *t, void *data, size_t offset, size_t size) {
    memcpy(data, (const char *)t->data + offset, size);
}
void ggml_backend_tensor_set(struct tensor *t, const void *data, size_t offset, size_t size) {
    memcpy((char *)t->data + offset, data, size);
}

typedef bool (*callback)(struct tensor *, bool, void *);
void ggml_backend_sched_set_eval_callback(void *sched, callback f, void *data) {
    printf("host function: %s\n", f == NULL ? "no callback" : f(NULL, true, data) ? "callback says yes" : "callback says no");
    (void)sched;
}
