// The twin of Metal's backend: its order of nodes, its fusions, its allocation dependencies and
// its refusals, by llama.cpp's own sources; memory out of the host's sight; numbers from the CPU.

#include "ggml-cpu.h"
#include "ggml-impl.h"
#include "ggml-metal-common.h"
#include "twin.h"

// Included, not linked: which nodes of a fusion are never written is private to it.
#include "ggml-metal-fusion.cpp"

#include <cstdlib>
#include <mutex>
#include <unordered_set>

namespace {

// What happened so far, in the order that lib.rs declares.
struct twin_counts {
    uint64_t graphs;    // graphs that were put in order
    uint64_t moved;     // nodes whose place changed by that
    uint64_t evaluated; // parts of graphs that were computed
    uint64_t fused;     // groups that Metal computes by one kernel
    uint64_t poisoned;  // nodes within such groups, filled with NaN since Metal writes nothing there
    uint64_t refused;   // questions for an operation that were answered with no
};

twin_counts counts;
std::mutex  counting;

ggml_metal_device device_context;

// ---- memory ----------------------------------------------------------------

// The host sees addresses that are not mapped: the sum of this and any address of a process lies
// between the halves of what x86-64 and AArch64 can address.
constexpr uintptr_t HIDDEN = uintptr_t(1) << 62;

void * shown(void * real) { return (void *) ((uintptr_t) real + HIDDEN); }
void * real(const void * shown) { return (void *) ((uintptr_t) shown - HIDDEN); }

struct memory {
    void * data;
    bool   owned;
};

bool is_twin(const ggml_backend_buffer * buffer);

char * place(const ggml_tensor * tensor, size_t offset) {
    return (char *) real(tensor->data) + offset;
}

void buffer_free(ggml_backend_buffer_t buffer) {
    memory * m = (memory *) buffer->context;
    if (m->owned) {
        free(m->data);
    }
    delete m;
}

void * buffer_base(ggml_backend_buffer_t buffer) { return shown(((memory *) buffer->context)->data); }

void buffer_memset(ggml_backend_buffer_t, ggml_tensor * tensor, uint8_t value, size_t offset, size_t size) {
    memset(place(tensor, offset), value, size);
}

void buffer_set(ggml_backend_buffer_t, ggml_tensor * tensor, const void * data, size_t offset, size_t size) {
    memcpy(place(tensor, offset), data, size);
}

void buffer_get(ggml_backend_buffer_t, const ggml_tensor * tensor, void * data, size_t offset, size_t size) {
    memcpy(data, place(tensor, offset), size);
}

bool buffer_copy(ggml_backend_buffer_t, const ggml_tensor * src, ggml_tensor * dst) {
    const ggml_backend_buffer_t from = src->view_src ? src->view_src->buffer : src->buffer;
    if (is_twin(from)) {
        memcpy(place(dst, 0), place(src, 0), ggml_nbytes(src));
        return true;
    }
    if (ggml_backend_buffer_is_host(from)) {
        memcpy(place(dst, 0), src->data, ggml_nbytes(src));
        return true;
    }
    return false;
}

void buffer_clear(ggml_backend_buffer_t buffer, uint8_t value) {
    memset(((memory *) buffer->context)->data, value, buffer->size);
}

const ggml_backend_buffer_i buffer_interface = {
    /* .free_buffer   = */ buffer_free,
    /* .get_base      = */ buffer_base,
    /* .init_tensor   = */ nullptr,
    /* .memset_tensor = */ buffer_memset,
    /* .set_tensor    = */ buffer_set,
    /* .get_tensor    = */ buffer_get,
    /* .set_tensor_2d = */ nullptr,
    /* .get_tensor_2d = */ nullptr,
    /* .cpy_tensor    = */ buffer_copy,
    /* .clear         = */ buffer_clear,
    /* .reset         = */ nullptr,
};

bool is_twin(const ggml_backend_buffer * buffer) {
    return buffer && buffer->iface.get_base == buffer_base;
}

const char * type_name(ggml_backend_buffer_type_t) { return "MTL0_Twin"; }

ggml_backend_buffer_t type_alloc(ggml_backend_buffer_type_t type, size_t size) {
    const size_t page = 16384;
    const size_t whole = (size / page + 1) * page;
    void * data = aligned_alloc(page, whole);
    if (!data) {
        return nullptr;
    }
    memset(data, 0xff, whole); // NaN: what nobody wrote must not look like a number
    return ggml_backend_buffer_init(type, buffer_interface, new memory{data, true}, size);
}

size_t type_alignment(ggml_backend_buffer_type_t) { return 32; }

// As Metal has it, some operations keep something behind their output.
size_t type_alloc_size(ggml_backend_buffer_type_t, const ggml_tensor * tensor) {
    return ggml_nbytes(tensor) * (ggml_op_alloc_size_may_expand(tensor->op) ? 2 : 1);
}

bool type_is_host(ggml_backend_buffer_type_t) { return false; }

// ---- computing -------------------------------------------------------------

// While the CPU computes, tensors that lie in the twin's memory have their real addresses.
struct unveiled {
    std::unordered_set<ggml_tensor *> tensors;

    explicit unveiled(const ggml_cgraph * graph) {
        for (int i = 0; i < graph->n_nodes; i++) {
            for (ggml_tensor * t = graph->nodes[i]; t; t = t->view_src) {
                add(t);
            }
            for (ggml_tensor * src : graph->nodes[i]->src) {
                for (ggml_tensor * t = src; t; t = t->view_src) {
                    add(t);
                }
            }
        }
    }

    void add(ggml_tensor * tensor) {
        const ggml_backend_buffer_t buffer = tensor->view_src ? tensor->view_src->buffer : tensor->buffer;
        if (tensor->data && is_twin(buffer) && tensors.insert(tensor).second) {
            tensor->data = real(tensor->data);
        }
    }

    ~unveiled() {
        for (ggml_tensor * tensor : tensors) {
            tensor->data = shown(tensor->data);
        }
    }
};

bool within(const ggml_tensor * a, const ggml_tensor * b) {
    const char * a0 = (const char *) a->data, * b0 = (const char *) b->data;
    return b0 <= a0 && a0 + ggml_nbytes(a) <= b0 + ggml_nbytes(b);
}

// What Metal never writes, since the whole group is one kernel, holds no number here either,
// but for what lies where the group's results lie.
void poison(const ggml_metal_fusion * fusion, ggml_cgraph * graph, const int * nodes) {
    if (fusion->id == GGML_METAL_FUSION_GDN_CACHE) {
        return; // its first node is written, all but the end
    }
    std::vector<ggml_tensor *> written, never;
    for (int j = 0, n = (int) fusion->ops.size(); j < n; j++) {
        const bool out = std::find(fusion->outs.begin(), fusion->outs.end(), j) != fusion->outs.end();
        (j == n - 1 || out ? written : never).push_back(graph->nodes[nodes[j]]);
    }
    auto keep = [&](const ggml_tensor * node) {
        auto covers = [&](const ggml_tensor * result) { return within(node, result); };
        return !is_twin(node->view_src ? node->view_src->buffer : node->buffer) || !ggml_is_contiguous(node) ||
               std::any_of(written.begin(), written.end(), covers);
    };
    never.erase(std::remove_if(never.begin(), never.end(), keep), never.end());
    if (never.empty()) {
        return;
    }
    std::vector<std::vector<char>> results;
    for (const ggml_tensor * node : written) {
        results.emplace_back(place(node, 0), place(node, 0) + ggml_nbytes(node));
    }
    for (const ggml_tensor * node : never) {
        memset(place(node, 0), 0xff, ggml_nbytes(node));
        counts.poisoned++;
    }
    for (size_t i = 0; i < written.size(); i++) {
        memcpy(place(written[i], 0), results[i].data(), results[i].size());
    }
}

// A fused kernel rounds otherwise than the kernels of its parts (it multiplies and adds in one
// step), so some of its results have their neighbours' last bit here. Which do, their own bits say,
// and so it does not depend on the batch.
void round_otherwise(const ggml_tensor * result) {
    const bool there = is_twin(result->view_src ? result->view_src->buffer : result->buffer);
    if (!there || result->type != GGML_TYPE_F32 || !ggml_is_contiguous(result)) {
        return;
    }
    char * data = place(result, 0);
    for (int64_t i = 0, n = ggml_nelements(result); i < n; i++) {
        uint32_t bits;
        memcpy(&bits, data + i * sizeof(bits), sizeof(bits));
        const bool finite = (bits & 0x7f800000) != 0x7f800000;
        bits ^= finite && (bits & 8);
        memcpy(data + i * sizeof(bits), &bits, sizeof(bits));
    }
}

ggml_status part(ggml_backend_t cpu, ggml_cgraph * graph, int from, int to) {
    ggml_cgraph view = ggml_graph_view(graph, from, to);
    unveiled here(&view);
    return ggml_backend_graph_compute(cpu, &view);
}

// What one command buffer holds: Metal looks for fusions within it.
ggml_status command_buffer(ggml_backend_t cpu, ggml_cgraph * graph, int from, int to) {
    std::vector<int> nodes;
    for (int i = from; i < to; i++) {
        ggml_tensor * node = graph->nodes[i];
        if (ggml_op_is_empty(node->op) || ggml_is_empty(node)) {
            continue;
        }
        if (!ggml_metal_device_supports_op(&device_context, node)) {
            GGML_ABORT("unsupported op '%s'", ggml_op_desc(node));
        }
        nodes.push_back(i);
    }
    const int n = (int) nodes.size();
    for (int i = 0; i < n;) {
        int length = 1;
        const ggml_metal_fusion * fusion =
            ggml_metal_fusion_next(graph, nodes.data(), n, i, GGML_METAL_FUSION_FULL, &length);
        const ggml_status status = part(cpu, graph, nodes[i], nodes[i + length - 1] + 1);
        if (status != GGML_STATUS_SUCCESS) {
            return status;
        }
        if (fusion) {
            counts.fused++;
            round_otherwise(graph->nodes[nodes[i + length - 1]]);
            poison(fusion, graph, nodes.data() + i);
        }
        i += length;
    }
    return GGML_STATUS_SUCCESS;
}

// Metal's main thread encodes the first nodes, another thread the rest (ggml_metal_graph_compute).
ggml_status backend_compute(ggml_backend_t backend, ggml_cgraph * graph) {
    ggml_backend_t cpu = (ggml_backend_t) backend->context;
    std::lock_guard<std::mutex> lock(counting);
    counts.evaluated++;
    const int n = graph->n_nodes;
    const int first = std::min(n, std::max(64, n / 10));
    const ggml_status status = command_buffer(cpu, graph, 0, first);
    return status == GGML_STATUS_SUCCESS ? command_buffer(cpu, graph, first, n) : status;
}

void backend_optimize(ggml_backend_t, ggml_cgraph * graph, ggml_backend_graph_optimize_params * params) {
    ggml_metal_fusion_add_alloc_deps(params->user_data, params->add_alloc_dep, graph);
    const std::vector<ggml_tensor *> before(graph->nodes, graph->nodes + graph->n_nodes);
    ggml_graph_optimize(graph);
    std::lock_guard<std::mutex> lock(counting);
    counts.graphs++;
    for (int i = 0; i < graph->n_nodes; i++) {
        counts.moved += graph->nodes[i] != before[i];
    }
}

const char * backend_name(ggml_backend_t) { return "MTL0"; }

void backend_free(ggml_backend_t backend) {
    ggml_backend_free((ggml_backend_t) backend->context);
    delete backend;
}

void backend_synchronize(ggml_backend_t) {}

// ---- the device ------------------------------------------------------------

const char * device_name(ggml_backend_dev_t) { return "MTL0"; }
const char * device_description(ggml_backend_dev_t) { return "twin of Metal on the CPU"; }

void device_memory(ggml_backend_dev_t, size_t * free, size_t * total) {
    *free = *total = size_t(8) << 30;
}

enum ggml_backend_dev_type device_type(ggml_backend_dev_t) { return GGML_BACKEND_DEVICE_TYPE_GPU; }

void device_props(ggml_backend_dev_t dev, ggml_backend_dev_props * props) {
    props->name = device_name(dev);
    props->description = device_description(dev);
    props->type = device_type(dev);
    device_memory(dev, &props->memory_free, &props->memory_total);
    props->caps = {
        /* .async                = */ true,
        /* .host_buffer          = */ false,
        /* .buffer_from_host_ptr = */ true,
        /* .events               = */ false,
        /* .mmap_support         = */ true,
    };
}

ggml_backend_t device_init(ggml_backend_dev_t dev, const char *) {
    static ggml_guid guid = {'m', 'i', 'd', 'l', 'a', 'y', 'e', 'r', ' ', 't', 'w', 'i', 'n', ' ', 'M', 'T'};
    ggml_backend_i interface = {};
    interface.get_name = backend_name;
    interface.free = backend_free;
    interface.synchronize = backend_synchronize;
    interface.graph_compute = backend_compute;
    interface.graph_optimize = backend_optimize;
    ggml_backend_t cpu = ggml_backend_init_by_type(GGML_BACKEND_DEVICE_TYPE_CPU, nullptr);
    // A node is a graph of its own here, and threads would wait for each other at each.
    ggml_backend_cpu_set_n_threads(cpu, 1);
    return new ggml_backend{&guid, interface, dev, cpu};
}

extern ggml_backend_device device;

ggml_backend_buffer_type type = {
    /* .iface = */ {
        /* .get_name         = */ type_name,
        /* .alloc_buffer     = */ type_alloc,
        /* .alloc_buffer_n   = */ nullptr,
        /* .get_alignment    = */ type_alignment,
        /* .get_max_size     = */ nullptr,
        /* .get_alloc_size   = */ type_alloc_size,
        /* .get_alloc_size_n = */ nullptr,
        /* .is_host          = */ type_is_host,
    },
    /* .device  = */ &device,
    /* .context = */ nullptr,
};

ggml_backend_buffer_type_t device_buffer_type(ggml_backend_dev_t) { return &type; }

ggml_backend_buffer_t device_mapped(ggml_backend_dev_t, void * pointer, size_t size, size_t) {
    return ggml_backend_buffer_init(&type, buffer_interface, new memory{pointer, false}, size);
}

bool device_supports_op(ggml_backend_dev_t, const ggml_tensor * op) {
    const bool yes = ggml_metal_device_supports_op(&device_context, op);
    std::lock_guard<std::mutex> lock(counting);
    counts.refused += !yes;
    return yes;
}

bool device_supports_type(ggml_backend_dev_t, ggml_backend_buffer_type_t other) { return other == &type; }

const char * registry_name(ggml_backend_reg_t) { return "MTL"; }
size_t registry_count(ggml_backend_reg_t) { return 1; }
ggml_backend_dev_t registry_device(ggml_backend_reg_t, size_t) { return &device; }
void * registry_function(ggml_backend_reg_t, const char *) { return nullptr; }

ggml_backend_reg registry = {
    /* .api_version = */ GGML_BACKEND_API_VERSION,
    /* .iface       = */ {registry_name, registry_count, registry_device, registry_function},
    /* .context     = */ nullptr,
};

ggml_backend_device device = {
    /* .iface = */ {
        /* .get_name             = */ device_name,
        /* .get_description      = */ device_description,
        /* .get_memory           = */ device_memory,
        /* .get_type             = */ device_type,
        /* .get_props            = */ device_props,
        /* .init_backend         = */ device_init,
        /* .get_buffer_type      = */ device_buffer_type,
        /* .get_host_buffer_type = */ nullptr,
        /* .buffer_from_host_ptr = */ device_mapped,
        /* .supports_op          = */ device_supports_op,
        /* .supports_buft        = */ device_supports_type,
        /* .offload_op           = */ nullptr,
        /* .event_new            = */ nullptr,
        /* .event_free           = */ nullptr,
        /* .event_synchronize    = */ nullptr,
    },
    /* .reg     = */ &registry,
    /* .context = */ nullptr,
};

} // namespace

// Asked for by the reordering and the fusions; Objective-C's own finds a Metal buffer.
extern "C" struct ggml_metal_buffer_id ggml_metal_buffer_get_id(ggml_metal_buffer_t buffer, const ggml_tensor * tensor) {
    return {buffer, (size_t) tensor->data};
}

extern "C" void midlayer_twin_register(void) {
    // What a first Apple processor with unified memory says.
    ggml_metal_device_props & props = device_context.props;
    props.max_buffer_size = props.max_working_set_size = size_t(8) << 30;
    props.max_theadgroup_memory_size = 32768;
    props.has_simdgroup_reduction = props.has_simdgroup_mm = true;
    props.has_unified_memory = props.use_shared_buffers = true;
    props.has_bfloat = true;
    props.op_offload_min_batch_size = 32;
    ggml_backend_register(&registry);
}

extern "C" void midlayer_twin_counts(twin_counts * to) {
    std::lock_guard<std::mutex> lock(counting);
    *to = counts;
}
