// Activations as bytes with a float scale for every 32 columns: what the processor's kernels make
// of them (quantize in model/cpu_body.h), value for value.
#ifndef CARREL_MODEL_CUDA_MATMUL_QUANTIZE_CUH
#define CARREL_MODEL_CUDA_MATMUL_QUANTIZE_CUH

#include "model/cuda/matmul_weights.cuh"

// Tokens are filled up with zeros to a multiple of this.
constexpr unsigned PANEL_TOKENS = 8;

struct gpu_panel {
    int8_t *bytes;               // [token][column]
    float *scales, *scaled_sums; // [block][token]; scaled_sum: scale times the sum of the bytes
    int32_t *sums;               // [block][token]: of all bytes
    int32_t *halves;             // [block][token][2]: of the first sixteen, of the last
    uint32_t n, padded;          // tokens
    uint32_t blocks;
};

__host__ inline uint32_t panel_padded(uint32_t n)
{
    return (n + PANEL_TOKENS - 1) / PANEL_TOKENS * PANEL_TOKENS;
}

__host__ inline uint64_t panel_bytes(uint32_t tokens, uint32_t columns)
{
    uint64_t blocks = (static_cast<uint64_t>(columns) + BLOCK - 1) / BLOCK;
    return panel_padded(tokens) * blocks * (BLOCK + 4 + 4 + 4 + 8);
}

__host__ inline gpu_panel panel_at(void *scratch, uint32_t n, uint32_t columns)
{
    gpu_panel p = {};
    p.n = n;
    p.padded = panel_padded(n);
    p.blocks = columns / BLOCK;
    size_t each = static_cast<size_t>(p.padded) * p.blocks;
    p.bytes = static_cast<int8_t *>(scratch);
    p.scales = reinterpret_cast<float *>(p.bytes + each * BLOCK);
    p.scaled_sums = p.scales + each;
    p.sums = reinterpret_cast<int32_t *>(p.scaled_sums + each);
    p.halves = p.sums + each;
    return p;
}

// The second where either is no number, as the processor's instructions do.
__device__ __forceinline__ float larger(float a, float b)
{
    return a > b ? a : b;
}
__device__ __forceinline__ float smaller(float a, float b)
{
    return a < b ? a : b;
}

__device__ __forceinline__ int byte_of(float x, float inverse)
{
    return __float2int_rn(smaller(larger(__fmul_rn(x, inverse), -127.0F), 127.0F));
}

constexpr unsigned QUANTIZE_THREADS = 256;

// Eight lanes a block, four columns each; blockIdx.y: the token.
__global__ void __launch_bounds__(QUANTIZE_THREADS) quantize_rows(gpu_panel p, const float *x)
{
    unsigned block = blockIdx.x * (QUANTIZE_THREADS / 8) + threadIdx.x / 8;
    unsigned part = threadIdx.x % 8;
    unsigned token = blockIdx.y;
    bool there = block < p.blocks;
    float4 v = make_float4(0, 0, 0, 0);
    if (there && token < p.n) {
        const float *row = x + static_cast<size_t>(token) * p.blocks * BLOCK;
        const float *at = row + block * BLOCK + 4 * part;
        v = make_float4(at[0], at[1], at[2], at[3]);
    }
    float most = larger(fabsf(v.x), larger(fabsf(v.y), larger(fabsf(v.z), fabsf(v.w))));
    GPU_UNROLL
    for (int bit = 1; bit < 8; bit *= 2) {
        most = larger(__shfl_xor_sync(0xffffffffU, most, bit), most);
    }
    bool some = most > 1e-30F;
    float scale = some ? __fdiv_rn(most, 127.0F) : 0.0F;
    float inverse = some ? __fdiv_rn(127.0F, most) : 0.0F;
    int q[4] = {byte_of(v.x, inverse), byte_of(v.y, inverse), byte_of(v.z, inverse),
                byte_of(v.w, inverse)};
    int sum = q[0] + q[1] + q[2] + q[3];
    sum += __shfl_xor_sync(0xffffffffU, sum, 1);
    sum += __shfl_xor_sync(0xffffffffU, sum, 2);
    int all = sum + __shfl_xor_sync(0xffffffffU, sum, 4);
    if (there) {
        uint32_t four = 0;
        GPU_UNROLL
        for (unsigned k = 0; k < 4; k++) {
            four |= (static_cast<uint32_t>(q[k]) & 255U) << 8 * k;
        }
        size_t columns = static_cast<size_t>(p.blocks) * BLOCK;
        int8_t *out = p.bytes + token * columns + block * BLOCK + 4 * part;
        *reinterpret_cast<uint32_t *>(out) = four;
        size_t at = static_cast<size_t>(block) * p.padded + token;
        if (part == 0) {
            p.scales[at] = scale;
            p.scaled_sums[at] = __fmul_rn(scale, __int2float_rn(all));
            p.sums[at] = all;
        }
        if (part % 4 == 0) {
            p.halves[2 * at + part / 4] = sum;
        }
    }
}

// The same by a warp that has a block's columns, one a lane: for kernels that make the rows.
__device__ __forceinline__ void panel_put(const gpu_panel &p, unsigned token, unsigned block,
                                          float v)
{
    unsigned lane = threadIdx.x % 32;
    float most = fabsf(v);
    GPU_UNROLL
    for (int bit = 1; bit < 32; bit *= 2) {
        most = larger(__shfl_xor_sync(0xffffffffU, most, bit), most);
    }
    bool some = most > 1e-30F;
    float scale = some ? __fdiv_rn(most, 127.0F) : 0.0F;
    int q = byte_of(v, some ? __fdiv_rn(127.0F, most) : 0.0F);
    int sum = q;
    GPU_UNROLL
    for (int bit = 1; bit < 16; bit *= 2) {
        sum += __shfl_xor_sync(0xffffffffU, sum, bit);
    }
    int all = sum + __shfl_xor_sync(0xffffffffU, sum, 16);
    size_t at = static_cast<size_t>(block) * p.padded + token;
    p.bytes[static_cast<size_t>(token) * p.blocks * BLOCK + block * BLOCK + lane] =
        static_cast<int8_t>(q);
    if (lane == 0) {
        p.scales[at] = scale;
        p.scaled_sums[at] = __fmul_rn(scale, __int2float_rn(all));
        p.sums[at] = all;
    }
    if (lane % 16 == 0) {
        p.halves[2 * at + lane / 16] = sum;
    }
}

inline void panel_make(cudaStream_t stream, const gpu_panel &p, const float *x)
{
    uint32_t tokens = p.n <= 2 ? p.n : p.padded; // one and two are multiplied without the padding
    dim3 grid((p.blocks + QUANTIZE_THREADS / 8 - 1) / (QUANTIZE_THREADS / 8), tokens);
    GPU_LAUNCH(quantize_rows, grid, QUANTIZE_THREADS, 0, stream, p, x);
}

#endif
