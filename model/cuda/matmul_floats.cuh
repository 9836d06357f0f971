// Weights in single precision (packed: [column][16 rows]) and rows of Q2_K, which stay as in their
// file: sums in single precision, in the order of the processor's kernels. A packed row's sum is
// made of the sums of its blocks of 32 columns, each from zero, added in their order; a row of Q2_K
// of sixteen sums of every sixteenth column, added as a tree.
#ifndef CARREL_MODEL_CUDA_MATMUL_FLOATS_CUH
#define CARREL_MODEL_CUDA_MATMUL_FLOATS_CUH

#include "model/cuda/matmul_vector.cuh"

template <pack_kind P> __host__ __device__ constexpr unsigned float_bytes()
{
    return P == PACK_F32 ? 4 : 2;
}

template <pack_kind P>
__device__ __forceinline__ float float_weight(const unsigned char *group, size_t column,
                                              unsigned row)
{
    const unsigned char *at = group + (column * GROUP + row) * float_bytes<P>();
    if (P == PACK_F32) {
        return read<float>(at);
    }
    if (P == PACK_F16) {
        return half_at(at);
    }
    return __uint_as_float(static_cast<uint32_t>(read<unsigned short>(at)) << 16);
}

// ---- few tokens ----

// As multiply_vectors, with the blocks' own sums in place of products and scales.
template <unsigned T>
__global__ void __launch_bounds__(VECTOR_THREADS)
    multiply_float_vectors(gpu_rows r, const float *x, uint32_t columns, uint32_t n)
{
    constexpr unsigned BLOCKS = VECTOR_THREADS / GROUP;
    float *room = static_cast<float *>(GPU_SHARED); // twice [block][token][row]
    unsigned which = product_of(r, blockIdx.x);
    unsigned first_row = (blockIdx.x - r.first[which]) * GROUP;
    const unsigned char *group = r.w[which] + first_row / GROUP * r.group_bytes;
    unsigned first_token = blockIdx.y * T;
    unsigned row = threadIdx.x % GROUP;
    unsigned mine = threadIdx.x / GROUP; // block of the round; token of the sum, if below T
    unsigned blocks = (columns + BLOCK - 1) / BLOCK;
    float sum = 0;
    for (unsigned from = 0, i = 0; from < blocks; from += BLOCKS, i++) {
        float *round = room + i % 2 * BLOCKS * T * GROUP;
        if (from + mine < blocks) {
            float parts[T] = {};
            GPU_UNROLL
            for (unsigned c = 0; c < BLOCK; c++) {
                size_t column = static_cast<size_t>(from + mine) * BLOCK + c;
                float w = float_weight<PACK_F32>(group, column, row);
                GPU_UNROLL
                for (unsigned t = 0; t < T; t++) {
                    bool there = column < columns && first_token + t < n;
                    float v =
                        there ? x[(first_token + t) * static_cast<size_t>(columns) + column] : 0.0F;
                    parts[t] = __fmaf_rn(w, v, parts[t]);
                }
            }
            GPU_UNROLL
            for (unsigned t = 0; t < T; t++) {
                round[(mine * T + t) * GROUP + row] = parts[t];
            }
        }
        __syncthreads();
        if (mine < T) {
            unsigned left = blocks - from < BLOCKS ? blocks - from : BLOCKS;
            for (unsigned b = 0; b < left; b++) {
                sum = __fadd_rn(sum, round[(b * T + mine) * GROUP + row]);
            }
        }
    }
    if (mine < T && first_token + mine < n && first_row + row < r.rows[which]) {
        const float *bias = r.bias[which];
        size_t at = static_cast<size_t>(first_token + mine) * r.rows[which] + first_row + row;
        r.y[which][at] = bias == nullptr ? sum : __fadd_rn(sum, bias[first_row + row]);
    }
}

template <unsigned T>
inline void launch_float_vectors(cudaStream_t stream, const gpu_rows &r, const float *x,
                                 uint32_t columns, uint32_t n)
{
    constexpr size_t shared = 2 * sizeof(float) * (VECTOR_THREADS / GROUP) * T * GROUP;
    dim3 grid(r.first[GPU_PRODUCTS_MAX], (n + T - 1) / T);
    GPU_LAUNCH(multiply_float_vectors<T>, grid, VECTOR_THREADS, shared, stream, r, x, columns, n);
}

// ---- many tokens: 64 rows x 64 tokens, four by four a thread ----

constexpr unsigned FLOAT_GROUPS = 4;
constexpr unsigned FLOAT_TOKENS = 64;
constexpr unsigned FLOAT_THREADS = 256;
constexpr unsigned FLOAT_STRIDE = FLOAT_TOKENS + 4; // of a column's tokens in shared memory

struct float_stage {
    float w[BLOCK][FLOAT_GROUPS * GROUP];
    float x[BLOCK][FLOAT_STRIDE];
};

__global__ void __launch_bounds__(FLOAT_THREADS)
    multiply_float_tiles(gpu_rows r, const float *x, uint32_t columns, uint32_t n)
{
    float_stage &s = *static_cast<float_stage *>(GPU_SHARED);
    unsigned which = product_of(r, blockIdx.y);
    unsigned first_group = (blockIdx.y - r.first[which]) * FLOAT_GROUPS;
    unsigned groups = (r.rows[which] + GROUP - 1) / GROUP - first_group;
    const unsigned char *w = r.w[which] + first_group * r.group_bytes;
    unsigned first_token = blockIdx.x * FLOAT_TOKENS;
    unsigned my_row = threadIdx.x % 16 * 4;
    unsigned my_token = threadIdx.x / 16 * 4;
    unsigned blocks = (columns + BLOCK - 1) / BLOCK;
    float sums[4][4] = {};
    for (unsigned b = 0; b < blocks; b++) {
        __syncthreads(); // nobody reads the block before
        for (unsigned i = threadIdx.x; i < BLOCK * FLOAT_GROUPS * GROUP; i += FLOAT_THREADS) {
            unsigned group = i / (BLOCK * GROUP);
            unsigned c = i / GROUP % BLOCK;
            s.w[c][group * GROUP + i % GROUP] =
                group < groups
                    ? float_weight<PACK_F32>(w + group * r.group_bytes,
                                             static_cast<size_t>(b) * BLOCK + c, i % GROUP)
                    : 0.0F;
        }
        for (unsigned i = threadIdx.x; i < BLOCK * FLOAT_TOKENS; i += FLOAT_THREADS) {
            unsigned token = first_token + i / BLOCK;
            size_t column = static_cast<size_t>(b) * BLOCK + i % BLOCK;
            s.x[i % BLOCK][i / BLOCK] = token < n && column < columns
                                            ? x[token * static_cast<size_t>(columns) + column]
                                            : 0.0F;
        }
        __syncthreads();
        float parts[4][4] = {};
        GPU_UNROLL
        for (unsigned c = 0; c < BLOCK; c++) {
            const float4 a = *reinterpret_cast<const float4 *>(&s.w[c][my_row]);
            const float4 v = *reinterpret_cast<const float4 *>(&s.x[c][my_token]);
            const float rows[4] = {a.x, a.y, a.z, a.w};
            const float tokens[4] = {v.x, v.y, v.z, v.w};
            GPU_UNROLL
            for (unsigned k = 0; k < 16; k++) {
                parts[k / 4][k % 4] = __fmaf_rn(rows[k / 4], tokens[k % 4], parts[k / 4][k % 4]);
            }
        }
        GPU_UNROLL
        for (unsigned k = 0; k < 16; k++) {
            sums[k / 4][k % 4] = __fadd_rn(sums[k / 4][k % 4], parts[k / 4][k % 4]);
        }
    }
    GPU_UNROLL
    for (unsigned k = 0; k < 16; k++) {
        unsigned row = first_group * GROUP + my_row + k / 4;
        unsigned token = first_token + my_token + k % 4;
        if (row < r.rows[which] && token < n) {
            const float *bias = r.bias[which];
            float sum = sums[k / 4][k % 4];
            r.y[which][static_cast<size_t>(token) * r.rows[which] + row] =
                bias == nullptr ? sum : __fadd_rn(sum, bias[row]);
        }
    }
}

inline void launch_float_tiles(cudaStream_t stream, const gpu_rows &r, const float *x,
                               uint32_t columns, uint32_t n)
{
    dim3 grid((n + FLOAT_TOKENS - 1) / FLOAT_TOKENS, r.first[GPU_PRODUCTS_MAX]);
    GPU_LAUNCH(multiply_float_tiles, grid, FLOAT_THREADS, sizeof(float_stage), stream, r, x,
               columns, n);
}

// ---- Q2_K ----

constexpr unsigned Q2_K_BYTES = 84;
constexpr unsigned Q2_K_VALUES = 256;

// As decode_q2_k in model/quant.c.
__device__ __forceinline__ float q2_k_value(const unsigned char *row, size_t column)
{
    const unsigned char *b = row + column / Q2_K_VALUES * Q2_K_BYTES;
    unsigned at = static_cast<unsigned>(column % Q2_K_VALUES);
    unsigned scales = b[at / 16];
    unsigned code = b[16 + at / 128 * 32 + at % 32] >> 2 * (at / 32 % 4) & 3U;
    float scale = __fmul_rn(half_at(b + 80), static_cast<float>(scales & 15U));
    float minimum = __fmul_rn(half_at(b + 82), static_cast<float>(scales >> 4));
    return __fsub_rn(__fmul_rn(scale, static_cast<float>(code)), minimum);
}

constexpr unsigned PLAIN_TOKENS = 4;

// Half a warp a row.
__global__ void __launch_bounds__(VECTOR_THREADS)
    multiply_q2_k(gpu_rows r, const float *x, uint32_t columns, uint32_t n)
{
    unsigned which = product_of(r, blockIdx.x);
    unsigned first_row = (blockIdx.x - r.first[which]) * GROUP;
    unsigned row = threadIdx.x / 16;
    unsigned lane = threadIdx.x % 16;
    unsigned first_token = blockIdx.y * PLAIN_TOKENS;
    const unsigned char *at = r.w[which] + first_row / GROUP * r.group_bytes +
                              static_cast<size_t>(row) * (columns / Q2_K_VALUES) * Q2_K_BYTES;
    float sums[PLAIN_TOKENS] = {};
    for (unsigned c = lane; c < columns; c += 16) {
        float w = q2_k_value(at, c);
        GPU_UNROLL
        for (unsigned t = 0; t < PLAIN_TOKENS; t++) {
            float v = first_token + t < n ? x[(first_token + t) * static_cast<size_t>(columns) + c]
                                          : 0.0F;
            sums[t] = __fmaf_rn(w, v, sums[t]);
        }
    }
    GPU_UNROLL
    for (unsigned t = 0; t < PLAIN_TOKENS; t++) {
        GPU_UNROLL
        for (int width = 8; width > 0; width /= 2) {
            sums[t] = __fadd_rn(sums[t], __shfl_xor_sync(0xffffffffU, sums[t], width));
        }
        unsigned token = first_token + t;
        if (lane == 0 && token < n && first_row + row < r.rows[which]) {
            const float *bias = r.bias[which];
            r.y[which][static_cast<size_t>(token) * r.rows[which] + first_row + row] =
                bias == nullptr ? sums[t] : __fadd_rn(sums[t], bias[first_row + row]);
        }
    }
}

inline void launch_q2_k(cudaStream_t stream, const gpu_rows &r, const float *x, uint32_t columns,
                        uint32_t n)
{
    dim3 grid(r.first[GPU_PRODUCTS_MAX], (n + PLAIN_TOKENS - 1) / PLAIN_TOKENS);
    GPU_LAUNCH(multiply_q2_k, grid, VECTOR_THREADS, 0, stream, r, x, columns, n);
}

#endif
