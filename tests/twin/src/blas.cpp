// ggml's BLAS backend as it is, over the OpenBLAS of this machine.

// Included, not linked: it is to call what is defined here.
#include "ggml-blas.cpp"

#include <atomic>
#include <dlfcn.h>

namespace {

// What happened so far, in the order that lib.rs declares.
struct blas_counts {
    std::atomic<uint64_t> parts;    // parts of graphs that were computed by it
    std::atomic<uint64_t> products; // nodes in them that multiply matrices
    std::atomic<uint64_t> rows;     // rows of their results
};

blas_counts counts;

decltype(&cblas_sgemm)              sgemm;
decltype(&openblas_set_num_threads) set_num_threads;

// Contexts made on this thread are to have the device.
thread_local bool wanted = false;

// llama.cpp asks for it when a context is made, and passes over what is no accelerator.
enum ggml_backend_dev_type device_type(ggml_backend_dev_t) {
    return wanted ? GGML_BACKEND_DEVICE_TYPE_ACCEL : GGML_BACKEND_DEVICE_TYPE_CPU;
}

ggml_status backend_compute(ggml_backend_t backend, ggml_cgraph * graph) {
    counts.parts++;
    for (int i = 0; i < graph->n_nodes; i++) {
        const ggml_tensor * node = graph->nodes[i];
        if (node->op == GGML_OP_MUL_MAT && (node->flags & GGML_TENSOR_FLAG_COMPUTE)) {
            counts.products++;
            counts.rows += ggml_nrows(node);
        }
    }
    return ggml_backend_blas_graph_compute(backend, graph);
}

ggml_backend_t device_init(ggml_backend_dev_t device, const char * params) {
    ggml_backend_t backend = ggml_backend_blas_device_init_backend(device, params);
    backend->iface.graph_compute = backend_compute;
    return backend;
}

} // namespace

extern "C" void cblas_sgemm(CBLAS_ORDER order, CBLAS_TRANSPOSE trans_a, CBLAS_TRANSPOSE trans_b, int m, int n, int k,
                            float alpha, const float * a, int lda, const float * b, int ldb, float beta, float * c,
                            int ldc) {
    sgemm(order, trans_a, trans_b, m, n, k, alpha, a, lda, b, ldb, beta, c, ldc);
}

extern "C" void openblas_set_num_threads(int n) { set_num_threads(n); }

// What is missing, or null. The message lives until the next call to the loader on this thread.
extern "C" const char * midlayer_twin_blas_register(void) {
    void * library = dlopen("libopenblas.so.0", RTLD_NOW | RTLD_LOCAL);
    if (!library) {
        return dlerror();
    }
    sgemm = (decltype(sgemm)) dlsym(library, "cblas_sgemm");
    set_num_threads = (decltype(set_num_threads)) dlsym(library, "openblas_set_num_threads");
    if (!sgemm || !set_num_threads) {
        return "libopenblas.so.0 has no cblas_sgemm or no openblas_set_num_threads";
    }
    ggml_backend_reg_t registry = ggml_backend_blas_reg();
    ggml_backend_dev_t device = ggml_backend_reg_dev_get(registry, 0);
    device->iface.get_type = device_type;
    device->iface.init_backend = device_init;
    ggml_backend_register(registry);
    return nullptr;
}

extern "C" void midlayer_twin_blas_wanted(bool yes) { wanted = yes; }

extern "C" void midlayer_twin_blas_counts(uint64_t * to) {
    to[0] = counts.parts;
    to[1] = counts.products;
    to[2] = counts.rows;
}
