// struct gpu_ops over the kernels. With nvcc this is the plug-in carrel-cuda.so; the tests compile
// the same text for the processor with the emulator, which has no graphs: there work is done at once.
//
// Order of the file: errors, the device, memory, weights, the pass, the choice, captured work.
#include <cstdarg>
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "model/cuda/attend.cuh"
#include "model/cuda/choose.cuh"
#include "model/cuda/device.cuh"
#include "model/cuda/matmul.cuh"
#include "model/cuda/plain.cuh"
#ifndef __CUDACC__
#include "tests/gpu/emulate/cuda_device.h"
#endif

constexpr uint32_t MARKS = 8;
constexpr uint32_t GRAPHS = 96;
constexpr int CAPABILITY = 80;      // 8.0: what the kernels are built for
constexpr uint32_t HEAD_WIDEST = 512; // ATTEND_WIDEST

struct captured { // a step
    gpu_graph_key key;
    bool asked; // once before: the next time it is captured
#ifdef __CUDACC__
    cudaGraphExec_t exec; // nullptr: not yet
#endif
};

struct gpu {
    int index;
    uint32_t shared; // bytes that a block may share
    cudaStream_t stream;
    cudaEvent_t marks[MARKS];
    unsigned char *scratch; // of matmul, attention and the choice, behind each other
    uint64_t attend_at, choose_at;
    const float *panel_of; // the rows whose bytes the scratch begins with; nullptr: none
    uint32_t panel_rows, panel_width;
    captured graphs[GRAPHS];
    uint32_t n_graphs, capturing; // GRAPHS: none is
    bool lost;
    char why[200];
};

namespace
{
// ---- errors ----

enum status fail(struct error *err, enum status code, const char *format, ...)
{
    if (err != nullptr) {
        va_list args;
        va_start(args, format);
        err->code = code;
        (void)vsnprintf(err->text, sizeof err->text, format, args);
        va_end(args);
    }
    return code;
}

const struct {
    cudaError_t error;
    const char *text;
} advices[] = {
    {cudaErrorMemoryAllocation,
     "the device is short of memory: lower generate.gpu_layers, users or context"},
#ifdef __CUDACC__
    {cudaErrorInsufficientDriver, "the driver is too old for CUDA 13: install 580 or newer"},
    {cudaErrorNoDevice, "no NVIDIA GPU is visible to this process"},
    {cudaErrorNoKernelImageForDevice,
     "the plug-in has no code for this GPU: compute capability 8.0 is the least"},
    {cudaErrorSystemNotReady, "the device is not ready: see nvidia-smi"},
    {cudaErrorDevicesUnavailable, "the device is in use: see nvidia-smi"},
    {cudaErrorECCUncorrectable, "the device's memory is damaged: see nvidia-smi -q -d ECC"},
#endif
};

const char *advice(cudaError_t e)
{
    for (const auto &a : advices) {
        if (a.error == e) {
            return a.text;
        }
    }
    return "the device is of no use until generate starts anew; tests/gpu/run.sh checks it";
}

enum status cuda_failed(gpu *g, struct error *err, cudaError_t e, const char *what, int line)
{
    enum status code =
        e == cudaErrorMemoryAllocation ? STATUS_NO_MEMORY : STATUS_UNAVAILABLE;
    if (g != nullptr && e != cudaErrorMemoryAllocation) {
        g->lost = true;
        (void)snprintf(g->why, sizeof g->why, "%.60s: %.100s", what, cudaGetErrorString(e));
    }
    (void)cudaGetLastError(); // the next call asks again
    return fail(err, code, "CUDA: %.80s at %s:%d: %.80s; %s", cudaGetErrorString(e),
                "model/cuda/device.cu", line, what, advice(e));
}

enum status lost(const gpu *g, struct error *err)
{
    return fail(err, STATUS_UNAVAILABLE, "the GPU was lost before (%s)", g->why);
}

// The call's failure is the function's.
#define TRY(g, call)                                                                               \
    do {                                                                                           \
        cudaError_t tried = (call);                                                                \
        if (tried != cudaSuccess) {                                                                \
            return cuda_failed((g), err, tried, #call, __LINE__);                                  \
        }                                                                                          \
    } while (0)
// Launches; then their failure, by the name of what was asked for.
#define RUN(g, what, ...)                                                                          \
    do {                                                                                           \
        if ((g)->lost) {                                                                           \
            return lost((g), err);                                                                 \
        }                                                                                          \
        __VA_ARGS__;                                                                               \
        cudaError_t tried = cudaGetLastError();                                                    \
        return tried == cudaSuccess ? STATUS_OK                                                    \
                                    : cuda_failed((g), err, tried, (what), __LINE__);              \
    } while (0)

// ---- the device ----

enum status probe(int index, struct gpu_info *out, struct error *err)
{
    gpu_info i = {};
    int n = 0;
    cudaDeviceProp p;
    TRY(nullptr, cudaDriverGetVersion(&i.driver));
    TRY(nullptr, cudaRuntimeGetVersion(&i.runtime));
    if (i.driver == 0) {
        return fail(err, STATUS_UNAVAILABLE, "no NVIDIA driver is installed");
    }
    if (i.driver / 1000 < i.runtime / 1000) {
        return fail(err, STATUS_UNAVAILABLE,
                    "the NVIDIA driver is for CUDA %d.%d, the plug-in needs CUDA %d: install "
                    "driver 580 or newer",
                    i.driver / 1000, i.driver % 1000 / 10, i.runtime / 1000);
    }
    TRY(nullptr, cudaGetDeviceCount(&n));
    if (index < 0 || index >= n) {
        return fail(err, STATUS_UNAVAILABLE, "there is no GPU %d (of %d)", index, n);
    }
    TRY(nullptr, cudaGetDeviceProperties(&p, index));
    (void)snprintf(i.name, sizeof i.name, "%.90s", p.name);
    i.index = index;
    i.major = p.major;
    i.minor = p.minor;
    i.processors = static_cast<uint32_t>(p.multiProcessorCount);
    i.shared = static_cast<uint32_t>(p.sharedMemPerBlockOptin);
    if (p.major * 10 + p.minor < CAPABILITY) {
        return fail(err, STATUS_UNAVAILABLE,
                    "the GPU %.60s has compute capability %d.%d: 8.0 is the least", i.name, p.major,
                    p.minor);
    }
    size_t free_bytes = 0;
    size_t all = 0;
    TRY(nullptr, cudaSetDevice(index));
    TRY(nullptr, cudaMemGetInfo(&free_bytes, &all));
    i.memory = all;
    i.memory_free = free_bytes;
    *out = i;
    return STATUS_OK;
}

void destroy_graphs(gpu *g)
{
#ifdef __CUDACC__
    for (uint32_t i = 0; i < g->n_graphs; i++) {
        if (g->graphs[i].exec != nullptr) {
            (void)cudaGraphExecDestroy(g->graphs[i].exec);
        }
    }
#endif
    g->n_graphs = 0;
}

void close_device(gpu *g)
{
    if (g == nullptr) {
        return;
    }
    (void)cudaSetDevice(g->index);
    if (g->stream != nullptr) {
        (void)cudaStreamSynchronize(g->stream);
    }
    destroy_graphs(g);
    for (uint32_t i = 0; i < MARKS; i++) {
        if (g->marks[i] != nullptr) {
            (void)cudaEventDestroy(g->marks[i]);
        }
    }
    (void)cudaFree(g->scratch);
    if (g->stream != nullptr) {
        (void)cudaStreamDestroy(g->stream);
    }
    free(g);
}

enum status make_stream(gpu *g, struct error *err)
{
    TRY(g, cudaSetDevice(g->index));
    TRY(g, cudaStreamCreateWithFlags(&g->stream, cudaStreamNonBlocking));
    for (uint32_t i = 0; i < MARKS; i++) {
        TRY(g, cudaEventCreateWithFlags(&g->marks[i], cudaEventDisableTiming));
    }
    return STATUS_OK;
}

enum status open_device(int index, struct gpu **out, struct error *err)
{
    gpu_info info;
    enum status s = probe(index, &info, err);
    if (s != STATUS_OK) {
        return s;
    }
    gpu *g = static_cast<gpu *>(calloc(1, sizeof *g));
    if (g == nullptr) {
        return fail(err, STATUS_NO_MEMORY, "out of memory");
    }
    g->index = index;
    g->shared = info.shared;
    g->capturing = GRAPHS;
    s = make_stream(g, err);
    if (s != STATUS_OK) {
        close_device(g);
        return s;
    }
    *out = g;
    return STATUS_OK;
}

// ---- memory ----

enum status allocate(gpu *g, uint64_t bytes, void **out, struct error *err)
{
    void *p = nullptr;
    cudaError_t e = cudaMalloc(&p, bytes == 0 ? 1 : bytes);
    if (e != cudaSuccess) {
        (void)cuda_failed(g, err, e, "cudaMalloc", __LINE__);
        return fail(err, STATUS_NO_MEMORY, "no %.1f MiB of device memory (%s); %s",
                    static_cast<double>(bytes) * 0x1p-20, cudaGetErrorString(e), advice(e));
    }
    *out = p;
    return STATUS_OK;
}

void release(gpu *, void *p)
{
    (void)cudaFree(p);
}

uint64_t aligned(uint64_t bytes)
{
    return (bytes + 255) / 256 * 256;
}

uint64_t scratch_bytes(uint32_t rows, uint32_t choices, uint32_t widest, uint32_t heads,
                       uint32_t value_width, uint32_t most)
{
    return aligned(matmul_scratch_bytes(rows, widest)) +
           aligned(attend_scratch_bytes(rows, heads, value_width, most)) +
           aligned(choose_scratch_bytes(choices));
}

enum status make_scratch(gpu *g, uint32_t rows, uint32_t choices, uint32_t widest, uint32_t heads,
                         uint32_t value_width, uint32_t most, struct error *err)
{
    void *p = nullptr;
    enum status s = allocate(
        g, scratch_bytes(rows, choices, widest, heads, value_width, most), &p, err);
    if (s == STATUS_OK) {
        (void)cudaFree(g->scratch);
        g->panel_of = nullptr;
        g->scratch = static_cast<unsigned char *>(p);
        g->attend_at = aligned(matmul_scratch_bytes(rows, widest));
        g->choose_at =
            g->attend_at + aligned(attend_scratch_bytes(rows, heads, value_width, most));
    }
    return s;
}

enum status host_allocate(gpu *g, uint64_t bytes, void **out, struct error *err)
{
    void *p = nullptr;
    TRY(g, cudaMallocHost(&p, bytes == 0 ? 1 : bytes));
    *out = p;
    return STATUS_OK;
}

void host_release(gpu *, void *p)
{
    if (p != nullptr) {
        (void)cudaFreeHost(p);
    }
}

enum status to_device(gpu *g, void *to, const void *host_from, uint64_t bytes, struct error *err)
{
    TRY(g, cudaMemcpyAsync(to, host_from, bytes, cudaMemcpyHostToDevice, g->stream));
    return STATUS_OK;
}

enum status to_host(gpu *g, void *host_to, const void *from, uint64_t bytes, struct error *err)
{
    TRY(g, cudaMemcpyAsync(host_to, from, bytes, cudaMemcpyDeviceToHost, g->stream));
    return STATUS_OK;
}

enum status copy(gpu *g, void *to, const void *from, uint64_t bytes, struct error *err)
{
    TRY(g, cudaMemcpyAsync(to, from, bytes, cudaMemcpyDeviceToDevice, g->stream));
    return STATUS_OK;
}

enum status zero(gpu *g, void *p, uint64_t bytes, struct error *err)
{
    TRY(g, cudaMemsetAsync(p, 0, bytes, g->stream));
    return STATUS_OK;
}

enum status finish(gpu *g, struct error *err)
{
    if (g->lost) {
        return lost(g, err);
    }
    TRY(g, cudaStreamSynchronize(g->stream));
    return STATUS_OK;
}

enum status mark(gpu *g, uint32_t n, struct error *err)
{
    TRY(g, cudaEventRecord(g->marks[n % MARKS], g->stream));
    return STATUS_OK;
}

enum status wait(gpu *g, uint32_t n, struct error *err)
{
    TRY(g, cudaEventSynchronize(g->marks[n % MARKS]));
    return STATUS_OK;
}

// ---- weights ----

uint64_t matrix_bytes(uint32_t type, uint32_t columns, uint32_t rows)
{
    uint64_t groups = (static_cast<uint64_t>(rows) + MATMUL_GROUP_ROWS - 1) / MATMUL_GROUP_ROWS;
    return groups * matmul_group_bytes(type, columns);
}

// ---- the pass ----

uint32_t blocks_for(uint64_t n)
{
    return static_cast<uint32_t>((n + PLAIN_THREADS - 1) / PLAIN_THREADS);
}

enum status embed(gpu *g, const gpu_matrix *table, const gpu_batch *b, float scale, float *x,
                  struct error *err)
{
    RUN(g, "rows of the embedding", matmul_embed(g->stream, table, b, scale, x));
}

// The panel that holds n rows of x as bytes once the kernel at hand has run, so that the product that
// follows need not make it. Rows that are no whole blocks have none.
gpu_panel panel_for(gpu *g, const float *x, uint32_t n, uint32_t width)
{
    bool whole = width % BLOCK == 0;
    g->panel_of = whole ? x : nullptr;
    g->panel_rows = n;
    g->panel_width = width;
    return whole ? panel_at(g->scratch, n, width) : gpu_panel{};
}

enum status norm(gpu *g, float *x, float *h, const float *weight, const float *post, bool add,
                 uint32_t n, uint32_t width, float epsilon, struct error *err)
{
    gpu_panel panel = weight == nullptr ? gpu_panel{} : panel_for(g, h, n, width);
    auto wide = norm_rows<NORM_THREADS>;
    auto narrow = norm_rows<PLAIN_THREADS>;
    if (width >= NORM_WIDE) {
        RUN(g, "norms",
            GPU_LAUNCH(wide, dim3(n), dim3(NORM_THREADS), 0, g->stream, x, h, weight, post, add,
                       width, epsilon, panel));
    }
    RUN(g, "norms",
        GPU_LAUNCH(narrow, dim3(n), dim3(PLAIN_THREADS), 0, g->stream, x, h, weight, post, add,
                   width, epsilon, panel));
}

enum status multiply(gpu *g, const float *x, uint32_t n, const gpu_product *products,
                     uint32_t n_products, struct error *err)
{
    bool ready = g->panel_of == x && g->panel_rows == n && g->panel_width == products[0].w->columns;
    g->panel_of = ready ? x : nullptr; // another's now, or of floats
    RUN(g, "matrices", matmul_run(g->stream, g->scratch, x, n, products, n_products, ready));
}

enum status angles(gpu *g, const gpu_batch *b, const double *frequencies, uint32_t pairs,
                   float magnitude, float *cosines, float *sines, struct error *err)
{
    if (pairs == 0) {
        return STATUS_OK;
    }
    RUN(g, "angles",
        GPU_LAUNCH(angle_pairs, dim3(blocks_for(static_cast<uint64_t>(b->n) * pairs)),
                   dim3(PLAIN_THREADS), 0, g->stream, b->positions, frequencies, b->n, pairs,
                   magnitude, cosines, sines));
}

enum status place(gpu *g, const gpu_place *p, struct error *err)
{
    place_job j = {};
    j.positions = p->batch->positions;
    j.owners = p->batch->owners;
    j.table = p->keys->table;
    j.table_width = p->keys->table_width;
    j.data = p->keys->data;
    j.page_bytes = p->keys->page_bytes;
    j.type = p->keys->type;
    j.heads = p->heads;
    j.kv_heads = p->keys->kv_heads;
    j.key_width = p->keys->key_width;
    j.value_width = p->keys->value_width;
    j.q = p->q;
    j.k = p->k;
    j.v = p->v;
    j.query_norm = p->query_norm;
    j.key_norm = p->key_norm;
    j.cosines = p->cosines;
    j.sines = p->sines;
    j.epsilon = p->epsilon;
    j.rope_width = p->rope_width;
    j.rope_halves = p->rope_halves;
    RUN(g, "keys and values",
        GPU_LAUNCH(place_heads, dim3(p->batch->n, j.heads + 2 * j.kv_heads), dim3(PLACE_THREADS), 0,
                   g->stream, j));
}

enum status attend(gpu *g, const gpu_attend *a, struct error *err)
{
    RUN(g, "attention", attend_run(g->stream, g->scratch + g->attend_at, a, g->shared));
}

enum status gate(gpu *g, float *values, const float *up, uint32_t n, uint32_t width, bool gelu,
                 struct error *err)
{
    uint64_t all = static_cast<uint64_t>(n) * width;
    gpu_panel panel = panel_for(g, values, n, width);
    RUN(g, "gates",
        GPU_LAUNCH(gate_values, dim3(blocks_for(all)), dim3(PLAIN_THREADS), 0, g->stream, values,
                   up, all, width, gelu, panel));
}

enum status cap(gpu *g, float *x, uint64_t n, float most, struct error *err)
{
    RUN(g, "caps",
        GPU_LAUNCH(cap_values, dim3(blocks_for(n)), dim3(PLAIN_THREADS), 0, g->stream, x, n, most));
}

enum status gather(gpu *g, float *to, const float *from, const uint32_t *rows, uint32_t n,
                   uint32_t width, struct error *err)
{
    RUN(g, "rows gathered",
        GPU_LAUNCH(gather_rows, dim3(n), dim3(PLAIN_THREADS), 0, g->stream, to, from, rows, width));
}

enum status scatter(gpu *g, float *to, const float *from, const uint32_t *rows, uint32_t n,
                    uint32_t width, struct error *err)
{
    RUN(g, "rows scattered",
        GPU_LAUNCH(scatter_rows, dim3(n), dim3(PLAIN_THREADS), 0, g->stream, to, from, rows, width));
}

enum status route(gpu *g, const float *scores, uint32_t n, uint32_t experts, uint32_t used,
                  uint32_t *chosen, float *shares, struct error *err)
{
    RUN(g, "the choice of experts",
        GPU_LAUNCH(route_tokens, dim3(n), dim3(32), 0, g->stream, scores, experts, used, chosen,
                   shares));
}

enum status mix(gpu *g, const float *results, const float *shares, uint32_t n, uint32_t used,
                uint32_t width, float *h, struct error *err)
{
    RUN(g, "the experts' sum",
        GPU_LAUNCH(mix_experts, dim3(n), dim3(PLAIN_THREADS), 0, g->stream, results, shares, used,
                   width, h));
}

bool takes(const gpu_info *on, uint32_t key_width, uint32_t value_width, uint32_t experts,
           uint32_t vocabulary)
{
    return attend_shared_bytes(key_width, value_width) <= on->shared && key_width <= HEAD_WIDEST && value_width <= HEAD_WIDEST && experts <= EXPERTS_MOST &&
           vocabulary <= CHOOSE_VOCABULARY;
}

// ---- the choice ----

enum status choose(gpu *g, const float *logits, float *room, uint32_t rows, uint32_t vocabulary,
                   const gpu_sampling *samplings, const gpu_touched *touched, uint32_t n_touched,
                   const uint64_t *masks, gpu_choice *out, struct error *err)
{
    RUN(g, "the choice of tokens",
        choose_run(g->stream, g->scratch + g->choose_at, logits, room, rows, vocabulary, samplings,
                   touched, n_touched, masks, out));
}

// ---- captured work ----

captured *graph_of(gpu *g, const gpu_graph_key *key)
{
    for (uint32_t i = 0; i < g->n_graphs; i++) {
        if (memcmp(&g->graphs[i].key, key, sizeof *key) == 0) {
            return &g->graphs[i];
        }
    }
    if (g->n_graphs == GRAPHS) {
        destroy_graphs(g); // rare: every shape of batch was seen; they come back one by one
    }
    captured *c = &g->graphs[g->n_graphs++];
    *c = captured{};
    c->key = *key;
    return c;
}

// The first time a shape comes its work runs as it is, so that all kernels are loaded; the second
// time it is captured.
enum status graph_begin(gpu *g, const gpu_graph_key *key, bool *known, struct error *err)
{
    if (g->lost) {
        return lost(g, err);
    }
    captured *c = graph_of(g, key);
    *known = false;
    g->panel_of = nullptr;
#ifdef __CUDACC__
    if (c->exec != nullptr) {
        *known = true;
        TRY(g, cudaGraphLaunch(c->exec, g->stream));
        return STATUS_OK;
    }
    if (c->asked) {
        TRY(g, cudaStreamBeginCapture(g->stream, cudaStreamCaptureModeThreadLocal));
        g->capturing = static_cast<uint32_t>(c - g->graphs);
    }
#endif
    c->asked = true;
    return STATUS_OK;
}

enum status graph_end(gpu *g, struct error *err)
{
#ifdef __CUDACC__
    if (g->capturing < GRAPHS) {
        captured *c = &g->graphs[g->capturing];
        cudaGraph_t graph = nullptr;
        g->capturing = GRAPHS;
        TRY(g, cudaStreamEndCapture(g->stream, &graph));
        cudaError_t e = cudaGraphInstantiate(&c->exec, graph, 0);
        (void)cudaGraphDestroy(graph);
        TRY(g, e);
        TRY(g, cudaGraphLaunch(c->exec, g->stream));
    }
#else
    (void)g;
    (void)err;
#endif
    return STATUS_OK;
}

gpu_ops make_ops()
{
    gpu_ops o = {};
    o.abi = GPU_ABI;
    o.probe = probe;
    o.open = open_device;
    o.close = close_device;
    o.allocate = allocate;
    o.release = release;
    o.scratch_bytes = scratch_bytes;
    o.scratch = make_scratch;
    o.host_allocate = host_allocate;
    o.host_release = host_release;
    o.to_device = to_device;
    o.to_host = to_host;
    o.copy = copy;
    o.zero = zero;
    o.finish = finish;
    o.mark = mark;
    o.wait = wait;
    o.group_rows = MATMUL_GROUP_ROWS;
    o.matrix_bytes = matrix_bytes;
    o.group_bytes = matmul_group_bytes;
    o.pack = matmul_pack;
    o.takes = takes;
    o.embed = embed;
    o.norm = norm;
    o.multiply = multiply;
    o.angles = angles;
    o.place = place;
    o.attend = attend;
    o.gate = gate;
    o.cap = cap;
    o.gather = gather;
    o.scatter = scatter;
    o.route = route;
    o.mix = mix;
    o.choose = choose;
    o.graph_begin = graph_begin;
    o.graph_end = graph_end;
    return o;
}
} // namespace

extern "C" __attribute__((visibility("default"))) const struct gpu_ops *carrel_cuda(void)
{
    static const gpu_ops ops = make_ops();
    return &ops;
}
