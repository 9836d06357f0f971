// Quantized matrices times many tokens, on the matrix units' byte products.
//
// Why bytes and not weights decoded to bf16: the sums of 32 products are exact, so the result has
// the bits of the decoding kernels and of the processor, whatever the tile; weights stay in their
// file's size in shared memory; and nothing but the scales is left for the other units (an
// addition, a multiplication and a multiply-add for each sum of 32), which bounds this kernel.
//
// A thread block has ROWS x TOKENS results in registers. Segments of eight blocks of weights and
// activations come by asynchronous copies into a ring of shared memory, the next while this one is
// multiplied; every sum goes on over the columns in their order.
#ifndef CARREL_MODEL_CUDA_MATMUL_TILES_CUH
#define CARREL_MODEL_CUDA_MATMUL_TILES_CUH

#include "model/cuda/matmul_vector.cuh"

// Warps along rows and along tokens; groups of rows and parts of eight tokens of a warp; segments
// in shared memory at once.
template <unsigned WarpRows, unsigned WarpTokens, unsigned Groups, unsigned Parts, unsigned Stages>
struct tile_shape {
    static constexpr unsigned WARP_ROWS = WarpRows, GROUPS = Groups, PARTS = Parts, STAGES = Stages;
    static constexpr unsigned THREADS = WarpRows * WarpTokens * 32;
    static constexpr unsigned ALL_GROUPS = WarpRows * Groups;
    static constexpr unsigned TOKENS = WarpTokens * Parts * 8;
};
using tile_large = tile_shape<4, 2, 2, 8, 2>; // 128 rows x 128 tokens
using tile_small = tile_shape<2, 2, 1, 4, 3>; // 32 rows x 64 tokens: more thread blocks

// A row of activations in shared memory: 32 bytes more than a segment's columns, so that the eight
// rows a warp reads at once lie in different banks.
constexpr unsigned TILE_STRIDE = SEGMENT * BLOCK + 32;

template <pack_kind P, typename Shape> struct tile_stage {
    static constexpr unsigned WEIGHTS = Shape::ALL_GROUPS * segment_bytes(kind_of(P));
    static constexpr unsigned BYTES = Shape::TOKENS * TILE_STRIDE;
    static constexpr unsigned SCALES = SEGMENT * Shape::TOKENS * 4;
    static constexpr unsigned ALL = WEIGHTS + BYTES + (kind_of(P).minima != 0 ? 2 : 1) * SCALES;
    unsigned char *at;
    __device__ unsigned char *weights(unsigned group) const
    {
        return at + group * segment_bytes(kind_of(P));
    }
    __device__ unsigned char *bytes(unsigned token) const
    {
        return at + WEIGHTS + token * TILE_STRIDE;
    }
    __device__ float *scales(unsigned block) const
    {
        return reinterpret_cast<float *>(at + WEIGHTS + BYTES) + block * Shape::TOKENS;
    }
    __device__ float *scaled_sums(unsigned block) const
    {
        return scales(block) + SEGMENT * Shape::TOKENS;
    }
};

// Copies segment `segment` of the tile's weights and activations; what is not there becomes zeros.
template <pack_kind P, typename Shape>
__device__ __forceinline__ void
load_stage(const tile_stage<P, Shape> &s, const unsigned char *w, uint64_t group_bytes,
           unsigned groups, const gpu_panel &p, unsigned first_token, unsigned segment)
{
    constexpr gpu_kind k = kind_of(P);
    constexpr unsigned PER_GROUP = segment_bytes(k) / 16;
    unsigned first_block = segment * SEGMENT;
    unsigned blocks = p.blocks - first_block < SEGMENT ? p.blocks - first_block : SEGMENT;
    unsigned there = (header_bytes(k) + blocks * block_bytes(k)) / 16;
    for (unsigned c = threadIdx.x; c < Shape::ALL_GROUPS * PER_GROUP; c += Shape::THREADS) {
        unsigned group = c / PER_GROUP;
        unsigned at = c % PER_GROUP;
        bool some = group < groups && at < there;
        const unsigned char *from = some ? w + group * group_bytes +
                                               static_cast<size_t>(segment) * segment_bytes(k) +
                                               at * 16
                                         : w;
        cp_async_16(s.weights(group) + at * 16, from, some ? 16 : 0);
    }
    size_t columns = static_cast<size_t>(p.blocks) * BLOCK;
    for (unsigned c = threadIdx.x; c < Shape::TOKENS * (SEGMENT * BLOCK / 16);
         c += Shape::THREADS) {
        unsigned token = c / (SEGMENT * BLOCK / 16);
        unsigned at = c % (SEGMENT * BLOCK / 16);
        bool some = first_token + token < p.padded && at < blocks * (BLOCK / 16);
        const int8_t *from = some ? p.bytes + (first_token + token) * columns +
                                        static_cast<size_t>(first_block) * BLOCK + at * 16
                                  : p.bytes;
        cp_async_16(s.bytes(token) + at * 16, from, some ? 16 : 0);
    }
    for (unsigned c = threadIdx.x; c < SEGMENT * (Shape::TOKENS / 4); c += Shape::THREADS) {
        unsigned block = c / (Shape::TOKENS / 4);
        unsigned token = c % (Shape::TOKENS / 4) * 4;
        bool some = block < blocks && first_token + token < p.padded;
        size_t at =
            some ? static_cast<size_t>(first_block + block) * p.padded + first_token + token : 0;
        cp_async_16(s.scales(block) + token, p.scales + at, some ? 16 : 0);
        if (k.minima != 0) {
            cp_async_16(s.scaled_sums(block) + token, p.scaled_sums + at, some ? 16 : 0);
        }
    }
}

// 1.5 x 2^23 as an integer sum begins and as it is taken off: a sum below 2^22 needs no conversion.
constexpr int32_t SUM_START = 0x4B400000;
__device__ __forceinline__ float sum_value(int32_t sum)
{
    return __fsub_rn(__int_as_float(sum), 12582912.0F);
}

// One block of 32 columns of a warp's rows and tokens.
template <pack_kind P, typename Shape>
__device__ __forceinline__ void
multiply_tile(const tile_stage<P, Shape> &s, unsigned block, unsigned first_group,
              unsigned first_token, unsigned parts, float (&sums)[Shape::GROUPS][Shape::PARTS][4])
{
    constexpr gpu_kind k = kind_of(P);
    unsigned lane = threadIdx.x % 32;
    unsigned g = lane / 4;
    unsigned t = lane % 4;
    uint32_t a[Shape::GROUPS][4];
    row_scales scales[Shape::GROUPS];
    GPU_UNROLL
    for (unsigned i = 0; i < Shape::GROUPS; i++) {
        load_fragment<P>(s.weights(first_group + i), block, lane, a[i]);
        load_scales<P>(s.weights(first_group + i), block, g, scales[i]);
    }
    GPU_UNROLL
    for (unsigned part = 0; part < Shape::PARTS; part++) {
        if (part >= parts) {
            continue;
        }
        const unsigned char *bytes = s.bytes(first_token + 8 * part + g) + block * BLOCK;
        float2 x =
            *reinterpret_cast<const float2 *>(s.scales(block) + first_token + 8 * part + 2 * t);
        float2 low = make_float2(0, 0);
        if (k.minima != 0) {
            low = *reinterpret_cast<const float2 *>(s.scaled_sums(block) + first_token + 8 * part +
                                                    2 * t);
        }
        uint2 b = make_uint2(0, 0);
        if (k.sixteens) {
            b.x = read<uint32_t>(bytes + 4 * t);
            b.y = read<uint32_t>(bytes + 16 + 4 * t);
        } else {
            b = read<uint2>(bytes + 8 * t);
        }
        GPU_UNROLL
        for (unsigned i = 0; i < Shape::GROUPS; i++) {
            int32_t dots[2][4] = {{SUM_START, SUM_START, SUM_START, SUM_START},
                                  {SUM_START, SUM_START, SUM_START, SUM_START}};
            if (k.sixteens) {
                uint32_t first[2] = {a[i][0], a[i][1]};
                uint32_t second[2] = {a[i][2], a[i][3]};
                mma_s8_16(dots[0], first, b.x);
                mma_s8_16(dots[1], second, b.y);
            } else {
                uint32_t two[2] = {b.x, b.y};
                mma_s8(dots[0], a[i], two);
            }
            GPU_UNROLL
            for (unsigned c = 0; c < 4; c++) {
                float &sum = sums[i][part][c];
                GPU_UNROLL
                for (unsigned h = 0; h < (k.sixteens ? 2 : 1); h++) {
                    float scale = __fmul_rn(scales[i].scale[h][c / 2], c % 2 == 0 ? x.x : x.y);
                    sum = __fmaf_rn(sum_value(dots[h][c]), scale, sum);
                }
                if (k.minima != 0) {
                    float m = scales[i].minimum[c / 2];
                    sum = __fmaf_rn(k.minima == 1 ? m : -m, c % 2 == 0 ? low.x : low.y, sum);
                }
            }
        }
    }
}

// A warp's results, from first_row and first_token on, into place.
template <typename Shape>
__device__ __forceinline__ void store_tile(const gpu_rows &r, unsigned which, unsigned first_row,
                                           unsigned first_token, unsigned n,
                                           const float (&sums)[Shape::GROUPS][Shape::PARTS][4])
{
    unsigned lane = threadIdx.x % 32;
    const float *bias = r.bias[which];
    GPU_UNROLL
    for (unsigned i = 0; i < Shape::GROUPS * Shape::PARTS * 4; i++) {
        unsigned group = i / (Shape::PARTS * 4);
        unsigned part = i / 4 % Shape::PARTS;
        unsigned c = i % 4;
        unsigned row = first_row + group * GROUP + lane / 4 * 2 + c / 2;
        unsigned token = first_token + 8 * part + lane % 4 * 2 + c % 2;
        if (row < r.rows[which] && token < n) {
            float sum = sums[group][part][c];
            r.y[which][static_cast<size_t>(token) * r.rows[which] + row] =
                bias == nullptr ? sum : __fadd_rn(sum, bias[row]);
        }
    }
}

// blockIdx.x: the tokens, so that thread blocks that run together share weights; blockIdx.y: the
// rows.
template <pack_kind P, typename Shape>
__global__ void __launch_bounds__(Shape::THREADS) multiply_tiles(gpu_rows r, gpu_panel p)
{
    using stage = tile_stage<P, Shape>;
    unsigned char *room = static_cast<unsigned char *>(GPU_SHARED);
    unsigned which = product_of(r, blockIdx.y);
    unsigned first_group = (blockIdx.y - r.first[which]) * Shape::ALL_GROUPS;
    unsigned groups = (r.rows[which] + GROUP - 1) / GROUP - first_group;
    const unsigned char *w = r.w[which] + first_group * r.group_bytes;
    unsigned first_token = blockIdx.x * Shape::TOKENS;
    unsigned warp = threadIdx.x / 32;
    unsigned my_group = warp % Shape::WARP_ROWS * Shape::GROUPS;
    unsigned my_token = warp / Shape::WARP_ROWS * Shape::PARTS * 8;
    unsigned tokens = p.n > first_token + my_token ? p.n - first_token - my_token : 0;
    unsigned parts = (tokens + 7) / 8;
    unsigned segments = (p.blocks + SEGMENT - 1) / SEGMENT;
    float sums[Shape::GROUPS][Shape::PARTS][4] = {};

    GPU_UNROLL
    for (unsigned i = 0; i + 1 < Shape::STAGES; i++) {
        if (i < segments) {
            stage s{room + i * stage::ALL};
            load_stage<P, Shape>(s, w, r.group_bytes, groups, p, first_token, i);
        }
        cp_async_commit();
    }
    for (unsigned i = 0; i < segments; i++) {
        cp_async_wait<Shape::STAGES - 2>();
        __syncthreads(); // everybody's copies are there, and nobody reads what is copied over next
        unsigned next = i + Shape::STAGES - 1;
        if (next < segments) {
            stage s{room + next % Shape::STAGES * stage::ALL};
            load_stage<P, Shape>(s, w, r.group_bytes, groups, p, first_token, next);
        }
        cp_async_commit();
        stage s{room + i % Shape::STAGES * stage::ALL};
        unsigned left = p.blocks - i * SEGMENT;
        for (unsigned b = 0; b < SEGMENT && b < left; b++) {
            multiply_tile<P, Shape>(s, b, my_group, my_token, parts, sums);
        }
    }
    cp_async_wait<0>();

    store_tile<Shape>(r, which, (first_group + my_group) * GROUP, first_token + my_token, p.n,
                      sums);
}

template <pack_kind P, typename Shape>
inline void launch_tiles(cudaStream_t stream, const gpu_rows &r, const gpu_panel &p)
{
    constexpr size_t shared = Shape::STAGES * tile_stage<P, Shape>::ALL;
    dim3 grid((p.n + Shape::TOKENS - 1) / Shape::TOKENS, r.first[GPU_PRODUCTS_MAX]);
    // a failure shows at the launch
    (void)cudaFuncSetAttribute(multiply_tiles<P, Shape>,
                               cudaFuncAttributeMaxDynamicSharedMemorySize,
                               static_cast<int>(shared));
    GPU_LAUNCH((multiply_tiles<P, Shape>), grid, Shape::THREADS, shared, stream, r, p);
}

#endif
