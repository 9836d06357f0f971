// The small operations of a pass: norms, positions, keys and values into their pages, gates, rows
// moved, experts chosen and mixed. A block's threads and the order of its sums are fixed by the
// shape of a row, so a row has the same bits in any batch.
#ifndef CARREL_MODEL_CUDA_PLAIN_CUH
#define CARREL_MODEL_CUDA_PLAIN_CUH

#include "model/cuda/device.cuh"
#include "model/cuda/matmul_quantize.cuh"

constexpr unsigned PLAIN_THREADS = 256;
constexpr unsigned NORM_THREADS = 1024; // of a wide row
constexpr uint32_t NORM_WIDE = 2048;
constexpr unsigned PLACE_THREADS = 128;
constexpr unsigned PLACE_WIDEST = 1024; // of a head
constexpr unsigned EXPERTS_MOST = 512;

// The sum over a block of Threads, the same in all of them: a tree in each warp, then warp by warp.
template <unsigned Threads> __device__ __forceinline__ float block_sum(float v)
{
    __shared__ float sums[Threads / 32];
    for (int step = 16; step > 0; step /= 2) {
        v = __fadd_rn(v, __shfl_xor_sync(0xffffffffU, v, step));
    }
    __syncthreads(); // the sums of the call before have been read
    if (threadIdx.x % 32 == 0) {
        sums[threadIdx.x / 32] = v;
    }
    __syncthreads();
    float all = sums[0];
    for (unsigned i = 1; i < Threads / 32; i++) {
        all = __fadd_rn(all, sums[i]);
    }
    return all;
}

__device__ __forceinline__ float rms_scale(float squares, uint32_t width, float epsilon)
{
    float mean = __fdiv_rn(squares, static_cast<float>(width));
    return __fdiv_rn(1.0F, __fsqrt_rn(__fadd_rn(mean, epsilon)));
}

// A block a row: x += h (normed by post where there is one), then h = rms_norm(x) * weight, and its
// bytes into the panel that the next product reads (bytes nullptr: none is made).
template <unsigned Threads>
__global__ void __launch_bounds__(Threads)
    norm_rows(float *x, float *h, const float *weight, const float *post, bool add, uint32_t width,
              float epsilon, gpu_panel panel)
{
    float *xr = x + static_cast<size_t>(blockIdx.x) * width;
    float *hr = h + static_cast<size_t>(blockIdx.x) * width;
    float squares = 0;
    float scale = 1;
    if (add && post != nullptr) {
        for (uint32_t i = threadIdx.x; i < width; i += Threads) {
            squares = __fmaf_rn(hr[i], hr[i], squares);
        }
        scale = rms_scale(block_sum<Threads>(squares), width, epsilon);
    }
    squares = 0;
    for (uint32_t i = threadIdx.x; i < width; i += Threads) {
        float v = xr[i];
        if (add) {
            float more = post == nullptr ? hr[i] : __fmul_rn(__fmul_rn(hr[i], scale), post[i]);
            v = __fadd_rn(v, more);
            xr[i] = v;
        }
        squares = __fmaf_rn(v, v, squares);
    }
    if (weight == nullptr) {
        return;
    }
    scale = rms_scale(block_sum<Threads>(squares), width, epsilon);
    for (uint32_t i = threadIdx.x; i < width; i += Threads) { // whole warps: width is of blocks
        float v = __fmul_rn(__fmul_rn(xr[i], scale), weight[i]); // each reads what it wrote
        hr[i] = v;
        if (panel.bytes != nullptr) {
            panel_put(panel, blockIdx.x, i / BLOCK, v);
        }
    }
}

// A thread a pair of a token.
__global__ void angle_pairs(const uint32_t *positions, const double *frequencies, uint32_t n,
                            uint32_t pairs, float magnitude, float *cosines, float *sines)
{
    size_t at = static_cast<size_t>(blockIdx.x) * PLAIN_THREADS + threadIdx.x;
    if (at >= static_cast<size_t>(n) * pairs) {
        return;
    }
    uint32_t position = positions[at / pairs];
    double angle =
        position == GPU_NONE ? 0 : static_cast<double>(position) * frequencies[at % pairs];
    cosines[at] = __fmul_rn(static_cast<float>(cos(angle)), magnitude);
    sines[at] = __fmul_rn(static_cast<float>(sin(angle)), magnitude);
}

struct place_job {
    const uint32_t *positions, *owners;
    const uint32_t *table;
    uint32_t table_width;
    unsigned char *data;
    uint64_t page_bytes;
    uint32_t type, heads, kv_heads, key_width, value_width;
    float *q;
    const float *k, *v, *query_norm, *key_norm, *cosines, *sines;
    float epsilon;
    uint32_t rope_width;
    bool rope_halves;
};

// Norms and turns the head in shared memory; all threads of the block.
__device__ __forceinline__ void turn_head(const place_job &j, float *head, const float *norm,
                                          uint32_t token)
{
    if (norm != nullptr) {
        float squares = 0;
        for (uint32_t i = threadIdx.x; i < j.key_width; i += PLACE_THREADS) {
            squares = __fmaf_rn(head[i], head[i], squares);
        }
        float scale =
            rms_scale(block_sum<PLACE_THREADS>(squares), j.key_width, j.epsilon);
        for (uint32_t i = threadIdx.x; i < j.key_width; i += PLACE_THREADS) {
            head[i] = __fmul_rn(__fmul_rn(head[i], scale), norm[i]);
        }
        __syncthreads();
    }
    uint32_t pairs = j.rope_width / 2;
    for (uint32_t i = threadIdx.x; i < pairs; i += PLACE_THREADS) {
        float *a = j.rope_halves ? head + i : head + 2 * i;
        float *b = j.rope_halves ? a + pairs : a + 1;
        float c = j.cosines[static_cast<size_t>(token) * pairs + i];
        float s = j.sines[static_cast<size_t>(token) * pairs + i];
        float x = *a;
        float y = *b;
        *a = __fsub_rn(__fmul_rn(x, c), __fmul_rn(y, s));
        *b = __fadd_rn(__fmul_rn(x, s), __fmul_rn(y, c));
    }
    __syncthreads();
}

// One row of a page. Q8_0: a warp a block of 32, its largest becomes 127, as ggml rounds.
__device__ __forceinline__ void put_row(uint32_t type, unsigned char *rows, uint32_t slot,
                                        const float *row, uint32_t width)
{
    if (type != TENSOR_Q8_0) {
        __half *to = reinterpret_cast<__half *>(rows) + static_cast<size_t>(slot) * width;
        for (uint32_t i = threadIdx.x; i < width; i += PLACE_THREADS) {
            to[i] = __float2half_rn(row[i]);
        }
        return;
    }
    uint32_t blocks = (width + 31) / 32;
    __half *scales = reinterpret_cast<__half *>(rows + gpu_codes_bytes(type, width));
    for (uint32_t b = threadIdx.x / 32; b < blocks; b += PLACE_THREADS / 32) {
        uint32_t i = b * 32 + threadIdx.x % 32;
        float v = i < width ? row[i] : 0.0F;
        float most = fabsf(v);
        for (int step = 16; step > 0; step /= 2) {
            most = fmaxf(most, __shfl_xor_sync(0xffffffffU, most, step));
        }
        float scale = __fdiv_rn(most, 127.0F);
        float inverse = scale > 0 ? __fdiv_rn(1.0F, scale) : 0.0F;
        int8_t *codes = reinterpret_cast<int8_t *>(rows);
        codes[static_cast<size_t>(slot) * blocks * 32 + i] =
            static_cast<int8_t>(roundf(__fmul_rn(v, inverse)));
        if (threadIdx.x % 32 == 0) {
            scales[static_cast<size_t>(slot) * blocks + b] = __float2half_rn(scale);
        }
    }
}

// A block a head of a token: queries first, then keys, then values.
__global__ void place_heads(place_job j)
{
    __shared__ float head[PLACE_WIDEST];
    uint32_t token = blockIdx.x;
    uint32_t which = blockIdx.y;
    uint32_t position = j.positions[token];
    if (position == GPU_NONE) {
        return; // all of the block
    }
    if (which < j.heads) {
        float *q = j.q + (static_cast<size_t>(token) * j.heads + which) * j.key_width;
        for (uint32_t i = threadIdx.x; i < j.key_width; i += PLACE_THREADS) {
            head[i] = q[i];
        }
        __syncthreads();
        turn_head(j, head, j.query_norm, token);
        for (uint32_t i = threadIdx.x; i < j.key_width; i += PLACE_THREADS) {
            q[i] = head[i];
        }
        return;
    }
    bool keys = which < j.heads + j.kv_heads;
    uint32_t kv_head = (which - j.heads) % j.kv_heads;
    uint32_t width = keys ? j.key_width : j.value_width;
    const float *from =
        (keys ? j.k : j.v) + (static_cast<size_t>(token) * j.kv_heads + kv_head) * width;
    for (uint32_t i = threadIdx.x; i < width; i += PLACE_THREADS) {
        head[i] = from[i];
    }
    __syncthreads();
    if (keys) {
        turn_head(j, head, j.key_norm, token);
    }
    uint32_t page =
        j.table[static_cast<size_t>(j.owners[token]) * j.table_width + position / GPU_PAGE];
    unsigned char *rows = j.data + page * j.page_bytes +
                          kv_head * gpu_head_bytes(j.type, j.key_width, j.value_width);
    put_row(j.type, keys ? rows : rows + gpu_rows_bytes(j.type, j.key_width), position % GPU_PAGE,
            head, width);
}

// gate = silu(gate) * up, or with the Gaussian error's tangent form (Hendrycks and Gimpel 2016), for
// rows of `width`; the bytes of the rows as norm_rows makes them.
__global__ void gate_values(float *gate, const float *up, uint64_t n, uint32_t width, bool gelu,
                            gpu_panel panel)
{
    uint64_t i = static_cast<uint64_t>(blockIdx.x) * PLAIN_THREADS + threadIdx.x;
    if (i >= n) {
        return; // with a panel: whole warps
    }
    float g = gate[i];
    float u = g;
    if (gelu) {
        float cube = __fmul_rn(__fmul_rn(g, g), g);
        u = __fmul_rn(1.5957691216057308F, __fmaf_rn(cube, 0.044715F, g));
    }
    float v = __fmul_rn(__fdiv_rn(g, __fadd_rn(1.0F, expf(-u))), up[i]);
    gate[i] = v;
    if (panel.bytes != nullptr) {
        panel_put(panel, static_cast<unsigned>(i / width), static_cast<unsigned>(i % width / BLOCK),
                  v);
    }
}

__global__ void cap_values(float *x, uint64_t n, float cap)
{
    uint64_t i = static_cast<uint64_t>(blockIdx.x) * PLAIN_THREADS + threadIdx.x;
    if (i < n) {
        x[i] = __fmul_rn(cap, tanhf(__fdiv_rn(x[i], cap)));
    }
}

// A block a row; GPU_NONE: gathered as zeros, scattered nowhere.
__global__ void gather_rows(float *to, const float *from, const uint32_t *rows, uint32_t width)
{
    uint32_t row = rows[blockIdx.x];
    for (uint32_t i = threadIdx.x; i < width; i += PLAIN_THREADS) {
        to[static_cast<size_t>(blockIdx.x) * width + i] =
            row == GPU_NONE ? 0.0F : from[static_cast<size_t>(row) * width + i];
    }
}

__global__ void scatter_rows(float *to, const float *from, const uint32_t *rows, uint32_t width)
{
    uint32_t row = rows[blockIdx.x];
    for (uint32_t i = threadIdx.x; row != GPU_NONE && i < width; i += PLAIN_THREADS) {
        to[static_cast<size_t>(row) * width + i] = from[static_cast<size_t>(blockIdx.x) * width + i];
    }
}

// A warp a token: the likeliest experts one by one, of equals the lower number; their shares add up
// to 1 (Shazeer et al. 2017).
__global__ void route_tokens(const float *scores, uint32_t experts, uint32_t used, uint32_t *chosen,
                             float *shares)
{
    __shared__ float left[EXPERTS_MOST];
    const float *row = scores + static_cast<size_t>(blockIdx.x) * experts;
    uint32_t *to = chosen + static_cast<size_t>(blockIdx.x) * used;
    float *share = shares + static_cast<size_t>(blockIdx.x) * used;
    float first = 0;
    float sum = 0;
    for (uint32_t e = threadIdx.x; e < experts; e += 32) {
        left[e] = row[e];
    }
    __syncwarp();
    for (uint32_t k = 0; k < used; k++) {
        float best = -INFINITY;
        uint32_t at = UINT32_MAX;
        for (uint32_t e = threadIdx.x; e < experts; e += 32) {
            if (at == UINT32_MAX || left[e] > best) {
                best = left[e];
                at = e;
            }
        }
        for (int step = 16; step > 0; step /= 2) {
            float other = __shfl_xor_sync(0xffffffffU, best, step);
            uint32_t there = __shfl_xor_sync(0xffffffffU, at, step);
            if (other > best || (!(other < best) && there < at)) {
                best = other;
                at = there;
            }
        }
        first = k == 0 ? best : first;
        float e = expf(__fsub_rn(best, first));
        sum = __fadd_rn(sum, e);
        if (threadIdx.x == 0) {
            to[k] = at < experts ? at : 0; // scores that are no numbers name no expert
            share[k] = e;
        }
        if (at < experts && threadIdx.x == at % 32) {
            left[at] = -INFINITY;
        }
        __syncwarp();
    }
    for (uint32_t k = threadIdx.x; k < used; k += 32) {
        share[k] = __fdiv_rn(share[k], sum);
    }
}

// A block a token.
__global__ void mix_experts(const float *results, const float *shares, uint32_t used,
                            uint32_t width, float *h)
{
    size_t token = blockIdx.x;
    for (uint32_t i = threadIdx.x; i < width; i += PLAIN_THREADS) {
        float sum = 0;
        for (uint32_t k = 0; k < used; k++) {
            sum = __fmaf_rn(shares[token * used + k], results[(token * used + k) * width + i], sum);
        }
        h[token * width + i] = sum;
    }
}

#endif
