// The likeliest tokens of rows of logits, behind biases, penalties and a constraint's mask: what
// sampler_pick_top (model/sampler.h) needs to take the very token that sampler_pick would. Only
// comparisons and the sampler's own few operations happen here, each rounded as there; the sum over
// the vocabulary is in double precision, and the host allows for its rounding.
//
// Order: changed copy -> the GPU_TOP largest of each segment -> of each row -> the sums.
#ifndef CARREL_MODEL_CUDA_CHOOSE_CUH
#define CARREL_MODEL_CUDA_CHOOSE_CUH

#include "model/cuda/device.cuh"

constexpr unsigned CHOOSE_THREADS = 512;
constexpr unsigned CHOOSE_SEGMENT = 4096; // tokens sorted together
constexpr unsigned CHOOSE_SEGMENTS = CHOOSE_SEGMENT / GPU_TOP;
constexpr unsigned CHOOSE_VOCABULARY = CHOOSE_SEGMENT * CHOOSE_SEGMENTS; // at most

__device__ __forceinline__ bool is_number(float v)
{
    return v == v;
}

// Tokens by their logit, of equals the lower id first, as numbers that compare alike; 0: none.
__device__ __forceinline__ uint64_t order_of(float logit, uint32_t token)
{
    uint32_t bits = __float_as_uint(logit == 0 ? 0.0F : logit); // -0 is 0
    if (!is_number(logit)) {
        return 0;
    }
    bits = (bits & 0x80000000U) != 0 ? ~bits : bits | 0x80000000U;
    return static_cast<uint64_t>(bits) << 32 | (0xffffffffU - token);
}

__device__ __forceinline__ uint32_t token_of(uint64_t order)
{
    return 0xffffffffU - static_cast<uint32_t>(order & 0xffffffffU);
}

// room = logits, tokens that the mask forbids as no number.
__global__ void choose_copy(const float *logits, float *room, uint32_t vocabulary,
                            const gpu_sampling *samplings, const uint64_t *masks)
{
    uint32_t row = blockIdx.y;
    uint32_t token = blockIdx.x * CHOOSE_THREADS + threadIdx.x;
    if (token >= vocabulary) {
        return;
    }
    size_t at = static_cast<size_t>(row) * vocabulary + token;
    size_t words = (static_cast<size_t>(vocabulary) + 63) / 64;
    bool allowed = samplings[row].masked == 0 ||
                   (masks[row * words + token / 64] >> token % 64 & 1) != 0;
    room[at] = allowed ? logits[at] : __uint_as_float(0x7fffffffU);
}

// A thread a token that a row's sampler changes: the operations of sampler.c in their order.
__global__ void choose_touch(float *room, uint32_t vocabulary, const gpu_sampling *samplings,
                             const gpu_touched *touched, uint32_t n)
{
    uint32_t i = blockIdx.x * CHOOSE_THREADS + threadIdx.x;
    if (i >= n) {
        return;
    }
    gpu_touched t = touched[i];
    gpu_sampling s = samplings[t.row];
    float *logit = room + static_cast<size_t>(t.row) * vocabulary + t.token;
    float v = __fadd_rn(*logit, t.bias);
    if (t.seen > 0) {
        v = v > 0 ? __fdiv_rn(v, s.repetition_penalty) : __fmul_rn(v, s.repetition_penalty);
        v = __fsub_rn(v, __fadd_rn(s.presence_penalty,
                                   __fmul_rn(static_cast<float>(t.seen), s.frequency_penalty)));
    }
    *logit = v;
}

// Sorts CHOOSE_SEGMENT numbers, largest first (Batcher 1968).
__device__ __forceinline__ void sort_segment(uint64_t *orders)
{
    for (unsigned size = 2; size <= CHOOSE_SEGMENT; size *= 2) {
        for (unsigned step = size / 2; step > 0; step /= 2) {
            __syncthreads();
            for (unsigned p = threadIdx.x; p < CHOOSE_SEGMENT / 2; p += CHOOSE_THREADS) {
                unsigned a = p / step * step * 2 + p % step;
                unsigned b = a + step;
                bool falling = (a & size) == 0;
                uint64_t x = orders[a];
                uint64_t y = orders[b];
                if ((x < y) == falling) {
                    orders[a] = y;
                    orders[b] = x;
                }
            }
        }
    }
    __syncthreads();
}

// A block a segment of a row: its largest, and how many numbers it has.
__global__ void choose_segments(const float *room, uint32_t vocabulary, uint64_t *tops,
                                uint32_t *counts)
{
    __shared__ uint64_t orders[CHOOSE_SEGMENT];
    const float *row = room + static_cast<size_t>(blockIdx.y) * vocabulary;
    size_t out = static_cast<size_t>(blockIdx.y) * gridDim.x + blockIdx.x;
    uint32_t mine = 0;
    if (threadIdx.x == 0) {
        counts[out] = 0;
    }
    for (unsigned i = threadIdx.x; i < CHOOSE_SEGMENT; i += CHOOSE_THREADS) {
        uint32_t token = blockIdx.x * CHOOSE_SEGMENT + i;
        orders[i] = token < vocabulary ? order_of(row[token], token) : 0;
        mine += orders[i] != 0 ? 1 : 0;
    }
    sort_segment(orders);
    for (unsigned i = threadIdx.x; i < GPU_TOP; i += CHOOSE_THREADS) {
        tops[out * GPU_TOP + i] = orders[i];
    }
    atomicAdd(&counts[out], mine); // whole numbers: in any order
}

// A block a row: the largest of its segments'.
__global__ void choose_rows(const float *room, uint32_t vocabulary, uint32_t segments,
                            const uint64_t *tops, const uint32_t *counts, gpu_choice *out)
{
    __shared__ uint64_t orders[CHOOSE_SEGMENT];
    gpu_choice *choice = out + blockIdx.x;
    for (unsigned i = threadIdx.x; i < CHOOSE_SEGMENT; i += CHOOSE_THREADS) {
        orders[i] = i < segments * GPU_TOP
                        ? tops[static_cast<size_t>(blockIdx.x) * segments * GPU_TOP + i]
                        : 0;
    }
    sort_segment(orders);
    for (unsigned i = threadIdx.x; i < GPU_TOP; i += CHOOSE_THREADS) {
        uint32_t token = orders[i] == 0 ? GPU_NONE : token_of(orders[i]);
        choice->top[i].token = token;
        choice->top[i].logit =
            orders[i] == 0 ? 0.0F : room[static_cast<size_t>(blockIdx.x) * vocabulary + token];
    }
    if (threadIdx.x == 0) {
        uint32_t n = 0;
        for (uint32_t s = 0; s < segments; s++) {
            n += counts[static_cast<size_t>(blockIdx.x) * segments + s];
        }
        choice->candidates = n;
        choice->n = n < GPU_TOP ? n : GPU_TOP;
    }
}

// A block a segment: the sum of exp((logit - largest) / temperature).
__global__ void choose_sums(const float *room, uint32_t vocabulary, const gpu_sampling *samplings,
                            const gpu_choice *choices, double *sums)
{
    __shared__ double parts[CHOOSE_THREADS];
    double temperature = static_cast<double>(samplings[blockIdx.y].temperature);
    double most = static_cast<double>(choices[blockIdx.y].top[0].logit);
    const float *row = room + static_cast<size_t>(blockIdx.y) * vocabulary;
    double sum = 0;
    for (unsigned i = threadIdx.x; temperature > 0 && i < CHOOSE_SEGMENT; i += CHOOSE_THREADS) {
        uint32_t token = blockIdx.x * CHOOSE_SEGMENT + i;
        if (token < vocabulary && is_number(row[token])) {
            sum += exp((static_cast<double>(row[token]) - most) / temperature);
        }
    }
    parts[threadIdx.x] = sum;
    for (unsigned step = CHOOSE_THREADS / 2; step > 0; step /= 2) {
        __syncthreads();
        if (threadIdx.x < step) {
            parts[threadIdx.x] += parts[threadIdx.x + step];
        }
    }
    if (threadIdx.x == 0) {
        sums[static_cast<size_t>(blockIdx.y) * gridDim.x + blockIdx.x] = parts[0];
    }
}

__global__ void choose_totals(const double *sums, uint32_t rows, uint32_t segments,
                              gpu_choice *choices)
{
    uint32_t row = blockIdx.x * CHOOSE_THREADS + threadIdx.x;
    if (row < rows) {
        double total = 0;
        for (uint32_t s = 0; s < segments; s++) {
            total += sums[static_cast<size_t>(row) * segments + s];
        }
        choices[row].total = total;
    }
}

// ---- host ----

static inline uint32_t choose_segment_count(uint32_t vocabulary)
{
    return (vocabulary + CHOOSE_SEGMENT - 1) / CHOOSE_SEGMENT;
}

static inline uint64_t choose_scratch_bytes(uint32_t rows)
{
    return static_cast<uint64_t>(rows) * CHOOSE_SEGMENTS *
           (GPU_TOP * sizeof(uint64_t) + sizeof(double) + sizeof(uint32_t));
}

static inline void choose_run(cudaStream_t stream, void *scratch, const float *logits, float *room,
                              uint32_t rows, uint32_t vocabulary, const gpu_sampling *samplings,
                              const gpu_touched *touched, uint32_t n_touched,
                              const uint64_t *masks, gpu_choice *out)
{
    uint32_t segments = choose_segment_count(vocabulary);
    uint64_t *tops = static_cast<uint64_t *>(scratch);
    double *sums = reinterpret_cast<double *>(tops + static_cast<size_t>(rows) * CHOOSE_SEGMENTS *
                                                         GPU_TOP);
    uint32_t *counts =
        reinterpret_cast<uint32_t *>(sums + static_cast<size_t>(rows) * CHOOSE_SEGMENTS);
    dim3 block(CHOOSE_THREADS);
    dim3 each((vocabulary + CHOOSE_THREADS - 1) / CHOOSE_THREADS, rows);
    GPU_LAUNCH(choose_copy, each, block, 0, stream, logits, room, vocabulary, samplings, masks);
    if (n_touched > 0) {
        dim3 grid((n_touched + CHOOSE_THREADS - 1) / CHOOSE_THREADS);
        GPU_LAUNCH(choose_touch, grid, block, 0, stream, room, vocabulary, samplings, touched,
                   n_touched);
    }
    GPU_LAUNCH(choose_segments, dim3(segments, rows), block, 0, stream, room, vocabulary, tops,
               counts);
    GPU_LAUNCH(choose_rows, dim3(rows), block, 0, stream, room, vocabulary, segments, tops, counts,
               out);
    GPU_LAUNCH(choose_sums, dim3(segments, rows), block, 0, stream, room, vocabulary, samplings,
               out, sums);
    GPU_LAUNCH(choose_totals, dim3((rows + CHOOSE_THREADS - 1) / CHOOSE_THREADS), block, 0, stream,
               sums, rows, segments, out);
}

#endif
