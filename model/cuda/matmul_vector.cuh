// Quantized matrices times at most eight tokens: what decoding waits for, so every byte of the
// weights is read once, in whole sectors, with many reads on their way.
//
// A thread block has one group of sixteen rows. Its warps take blocks of 32 columns apart (half a
// warp a block with products of four bytes, one lane a row; a warp a block with the matrix units)
// and leave each block's integer sum, exact in any order, and its scale in shared memory. Then one
// thread a row and token adds them in the order of the columns, as the processor does: so the bits
// are those of every other way to the same product. The products of the next round are made
// meanwhile.
#ifndef CARREL_MODEL_CUDA_MATMUL_VECTOR_CUH
#define CARREL_MODEL_CUDA_MATMUL_VECTOR_CUH

#include "model/cuda/matmul_quantize.cuh"

// What one launch multiplies: matrices of one type, which share their activations.
struct gpu_rows {
    const unsigned char *w[GPU_PRODUCTS_MAX];
    const float *bias[GPU_PRODUCTS_MAX];
    float *y[GPU_PRODUCTS_MAX];
    uint32_t rows[GPU_PRODUCTS_MAX];
    uint32_t first[GPU_PRODUCTS_MAX + 1]; // thread blocks before this product's
    uint64_t group_bytes;
};

__device__ __forceinline__ unsigned product_of(const gpu_rows &r, unsigned at)
{
    unsigned i = 0;
    GPU_UNROLL
    for (unsigned k = 1; k < GPU_PRODUCTS_MAX; k++) {
        i += at >= r.first[k];
    }
    return i;
}

constexpr unsigned VECTOR_WARPS = 8;
constexpr unsigned VECTOR_THREADS = VECTOR_WARPS * 32;

// Blocks of a round and floats of one product: the sum and its scale, twice with two scales.
template <unsigned T> __host__ __device__ constexpr unsigned round_blocks()
{
    return T == 8 ? VECTOR_WARPS : VECTOR_WARPS * 4;
}
template <pack_kind P> __host__ __device__ constexpr unsigned product_floats()
{
    return kind_of(P).sixteens ? 4 : 2;
}
template <pack_kind P, unsigned T> __host__ __device__ constexpr unsigned round_floats()
{
    return round_blocks<T>() * GROUP * (T * product_floats<P>() + (kind_of(P).minima != 0));
}

// What a round's products are read from and written to.
template <pack_kind P, unsigned T> struct vector_round {
    float *products; // [block][token][row][product_floats]
    float *minima;   // [block][row]
    __device__ explicit vector_round(float *room)
        : products(room), minima(room + round_blocks<T>() * T * GROUP * product_floats<P>())
    {
    }
    __device__ float *product(unsigned block, unsigned token, unsigned row) const
    {
        return products + ((block * T + token) * GROUP + row) * product_floats<P>();
    }
};

// Half a warp: one block, a lane a row.
template <pack_kind P, unsigned T>
__device__ __forceinline__ void multiply_block(const row_block<P> &r, const gpu_panel &p,
                                               unsigned first_token, unsigned block, unsigned at,
                                               unsigned row, const vector_round<P, T> &out)
{
    constexpr gpu_kind k = kind_of(P);
    size_t columns = static_cast<size_t>(p.blocks) * BLOCK;
    uint32_t fours[8];
    codes_of<P>(r, row, fours);
    GPU_UNROLL
    for (unsigned t = 0; t < T; t++) {
        unsigned token = first_token + t;
        const int8_t *bytes = p.bytes + token * columns + static_cast<size_t>(block) * BLOCK;
        const int4 low = *reinterpret_cast<const int4 *>(bytes);
        const int4 high = *reinterpret_cast<const int4 *>(bytes + 16);
        const int a[8] = {low.x, low.y, low.z, low.w, high.x, high.y, high.z, high.w};
        size_t meta = static_cast<size_t>(block) * p.padded + token;
        float scale = p.scales[meta];
        float *place = out.product(at, t, row);
        int dots[2];
        if (k.bias != 0 && k.bits != 8 && k.sixteens) {
            dots[0] = -p.halves[2 * meta] * (1 << k.bias);
            dots[1] = -p.halves[2 * meta + 1] * (1 << k.bias);
        } else {
            dots[0] = k.bias != 0 && k.bits != 8 ? -p.sums[meta] * (1 << k.bias) : 0;
            dots[1] = 0;
        }
        GPU_UNROLL
        for (unsigned f = 0; f < 8; f++) {
            int &dot = dots[k.sixteens ? f / 4 : 0];
            dot = __dp4a(static_cast<int>(fours[f]), a[f], dot);
        }
        place[0] = __int2float_rn(dots[0]);
        place[1] = __fmul_rn(scale_of<P>(r, 0), scale);
        if (k.sixteens) {
            place[product_floats<P>() - 2] = __int2float_rn(dots[1]);
            place[product_floats<P>() - 1] = __fmul_rn(scale_of<P>(r, 1), scale);
        }
    }
    if (k.minima != 0) {
        out.minima[at * GROUP + row] = minimum_of<P>(r);
    }
}

// A warp: one block and eight tokens by the matrix units.
template <pack_kind P>
__device__ __forceinline__ void multiply_block_8(const unsigned char *group, const gpu_panel &p,
                                                 unsigned first_token, unsigned block, unsigned at,
                                                 unsigned lane, const vector_round<P, 8> &out)
{
    constexpr gpu_kind k = kind_of(P);
    size_t columns = static_cast<size_t>(p.blocks) * BLOCK;
    const unsigned char *segment = segment_of<P>(group, block);
    unsigned g = lane / 4;
    unsigned t = lane % 4;
    const int8_t *bytes =
        p.bytes + (first_token + g) * columns + static_cast<size_t>(block) * BLOCK;
    uint32_t a[4];
    row_scales s;
    int32_t sums[2][4] = {{0, 0, 0, 0}, {0, 0, 0, 0}};
    load_fragment<P>(segment, block, lane, a);
    load_scales<P>(segment, block, g, s);
    if (k.sixteens) {
        uint32_t first[2] = {a[0], a[1]};
        uint32_t second[2] = {a[2], a[3]};
        mma_s8_16(sums[0], first, *reinterpret_cast<const uint32_t *>(bytes + 4 * t));
        mma_s8_16(sums[1], second, *reinterpret_cast<const uint32_t *>(bytes + 16 + 4 * t));
    } else {
        uint2 b = *reinterpret_cast<const uint2 *>(bytes + 8 * t);
        uint32_t two[2] = {b.x, b.y};
        mma_s8(sums[0], a, two);
    }
    const float *scales = p.scales + static_cast<size_t>(block) * p.padded + first_token + 2 * t;
    GPU_UNROLL
    for (unsigned c = 0; c < 4; c++) {
        float *place = out.product(at, 2 * t + c % 2, 2 * g + c / 2);
        GPU_UNROLL
        for (unsigned h = 0; h < (k.sixteens ? 2 : 1); h++) {
            place[2 * h] = __int2float_rn(sums[h][c]);
            place[2 * h + 1] = __fmul_rn(s.scale[h][c / 2], scales[c % 2]);
        }
    }
    if (k.minima != 0 && t == 0) {
        out.minima[at * GROUP + 2 * g] = s.minimum[0];
        out.minima[at * GROUP + 2 * g + 1] = s.minimum[1];
    }
}

// The sum of one row and token goes on over a round's blocks, in their order.
template <pack_kind P, unsigned T>
__device__ __forceinline__ float add_round(float sum, const vector_round<P, T> &in, unsigned blocks,
                                           unsigned token, unsigned row, const float *scaled_sums,
                                           unsigned stride)
{
    constexpr gpu_kind k = kind_of(P);
    for (unsigned b = 0; b < blocks; b++) {
        const float *q = in.product(b, token, row);
        sum = __fmaf_rn(q[0], q[1], sum);
        if (k.sixteens) {
            sum = __fmaf_rn(q[product_floats<P>() - 2], q[product_floats<P>() - 1], sum);
        }
        if (k.minima != 0) {
            float m = in.minima[b * GROUP + row];
            sum = __fmaf_rn(k.minima == 1 ? m : -m, scaled_sums[static_cast<size_t>(b) * stride],
                            sum);
        }
    }
    return sum;
}

// Half a warp's two blocks of the round that begins with block `from`.
template <pack_kind P, unsigned T>
__device__ __forceinline__ void load_round(const unsigned char *group, unsigned from,
                                           unsigned blocks, unsigned row, row_block<P> (&w)[2])
{
    GPU_UNROLL
    for (unsigned u = 0; u < 2; u++) {
        unsigned at = from + u * (round_blocks<T>() / 2) + threadIdx.x / GROUP;
        if (at < blocks) {
            load_row<P>(group, at, row, w[u]);
        }
    }
}

// blockIdx.x: the group; blockIdx.y: T tokens.
template <pack_kind P, unsigned T>
__global__ void __launch_bounds__(VECTOR_THREADS) multiply_vectors(gpu_rows r, gpu_panel p)
{
    constexpr unsigned BLOCKS = round_blocks<T>();
    float *room = static_cast<float *>(GPU_SHARED);
    unsigned which = product_of(r, blockIdx.x);
    unsigned first_row = (blockIdx.x - r.first[which]) * GROUP;
    const unsigned char *group = r.w[which] + first_row / GROUP * r.group_bytes;
    unsigned first_token = blockIdx.y * T;
    unsigned row = threadIdx.x % GROUP;
    unsigned token = threadIdx.x / GROUP; // of the sum that this thread adds, if below T
    float sum = 0;
    row_block<P> w[2];
    if constexpr (T != 8) {
        load_round<P, T>(group, 0, p.blocks, row, w);
    }
    for (unsigned from = 0, i = 0; from < p.blocks; from += BLOCKS, i++) {
        const vector_round<P, T> round(room + i % 2 * round_floats<P, T>());
        if constexpr (T == 8) {
            unsigned at = threadIdx.x / 32;
            if (from + at < p.blocks) {
                multiply_block_8<P>(group, p, first_token, from + at, at, threadIdx.x % 32, round);
            }
        } else {
            GPU_UNROLL
            for (unsigned u = 0; u < 2; u++) {
                unsigned at = u * (BLOCKS / 2) + threadIdx.x / GROUP;
                if (from + at < p.blocks) {
                    multiply_block<P, T>(w[u], p, first_token, from + at, at, row, round);
                }
            }
            load_round<P, T>(group, from + BLOCKS, p.blocks, row, w); // under way meanwhile
        }
        __syncthreads(); // also: the sums of the round before last are done
        if (token < T) {
            unsigned left = p.blocks - from < BLOCKS ? p.blocks - from : BLOCKS;
            sum = add_round<P, T>(sum, round, left, token, row,
                                  p.scaled_sums + static_cast<size_t>(from) * p.padded +
                                      first_token + token,
                                  p.padded);
        }
    }
    if (token < T && first_token + token < p.n && first_row + row < r.rows[which]) {
        const float *bias = r.bias[which];
        size_t at = static_cast<size_t>(first_token + token) * r.rows[which] + first_row + row;
        r.y[which][at] = bias == nullptr ? sum : __fadd_rn(sum, bias[first_row + row]);
    }
}

template <pack_kind P, unsigned T>
inline void launch_vectors(cudaStream_t stream, const gpu_rows &r, const gpu_panel &p)
{
    constexpr size_t shared = 2 * sizeof(float) * round_floats<P, T>();
    dim3 grid(r.first[GPU_PRODUCTS_MAX], (p.n + T - 1) / T);
    GPU_LAUNCH((multiply_vectors<P, T>), grid, VECTOR_THREADS, shared, stream, r, p);
}

#endif
