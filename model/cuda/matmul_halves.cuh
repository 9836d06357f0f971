// Weights of two bytes (F16, BF16; packed: [column][16 rows]) on the matrix units.
//
// The units multiply halves with halves exactly and add in single precision. So that activations
// keep theirs, each is split: a block of 32 is divided by a power of two that brings it below 2,
// and written as a sum of two halves (22 bits) or three bfloat16 (24 bits). A block's products are
// added by the unit from zero, in an order that never changes; the blocks' sums are added in the
// order of the columns. One token runs the same instructions as five hundred, so it gets the same
// bits.
#ifndef CARREL_MODEL_CUDA_MATMUL_HALVES_CUH
#define CARREL_MODEL_CUDA_MATMUL_HALVES_CUH

#include "model/cuda/matmul_tiles.cuh"

template <pack_kind P> __host__ __device__ constexpr unsigned pieces_of()
{
    return P == PACK_F16 ? 2 : 3;
}
constexpr unsigned PIECES_MOST = 3;

// ---- activations ----

// [piece][token][column], the columns of each sixteen in the order 0 4 8 12, 1 5 9 13, ...: what
// lane t of four takes lies together.
struct halves_panel {
    uint16_t *pieces;
    float *scales; // [block][token]
    uint32_t n, padded, blocks, columns;
};

__host__ inline uint64_t halves_panel_bytes(uint32_t tokens, uint32_t columns)
{
    uint64_t blocks = (static_cast<uint64_t>(columns) + BLOCK - 1) / BLOCK;
    return panel_padded(tokens) * blocks * (BLOCK * 2 * PIECES_MOST + 4);
}

__host__ inline halves_panel halves_panel_at(void *scratch, uint32_t n, uint32_t columns)
{
    halves_panel p = {};
    p.n = n;
    p.padded = panel_padded(n);
    p.blocks = (columns + BLOCK - 1) / BLOCK;
    p.columns = columns;
    p.pieces = static_cast<uint16_t *>(scratch);
    p.scales = reinterpret_cast<float *>(p.pieces + static_cast<size_t>(p.padded) * p.blocks *
                                                        BLOCK * PIECES_MOST);
    return p;
}

template <pack_kind P> __device__ __forceinline__ uint16_t piece_bits(float x)
{
    if (P == PACK_F16) {
        return __half_as_ushort(__float2half_rn(x));
    }
    uint32_t bits = __float_as_uint(x);
    return static_cast<uint16_t>((bits + 0x7fffU + (bits >> 16 & 1U)) >> 16);
}
template <pack_kind P> __device__ __forceinline__ float piece_value(uint16_t bits)
{
    return P == PACK_F16 ? __half2float(__ushort_as_half(bits))
                         : __uint_as_float(static_cast<uint32_t>(bits) << 16);
}

// Eight lanes a block, four columns each; blockIdx.y: the token.
template <pack_kind P>
__global__ void __launch_bounds__(QUANTIZE_THREADS) split_rows(halves_panel p, const float *x)
{
    unsigned block = blockIdx.x * (QUANTIZE_THREADS / 8) + threadIdx.x / 8;
    unsigned part = threadIdx.x % 8;
    unsigned token = blockIdx.y;
    float v[4];
    float most = 0;
    GPU_UNROLL
    for (unsigned k = 0; k < 4; k++) {
        unsigned column = block * BLOCK + 4 * part + k;
        bool there = token < p.n && column < p.columns;
        v[k] = there ? x[static_cast<size_t>(token) * p.columns + column] : 0.0F;
        most = larger(fabsf(v[k]), most);
    }
    GPU_UNROLL
    for (int bit = 1; bit < 8; bit *= 2) {
        most = larger(__shfl_xor_sync(0xffffffffU, most, bit), most);
    }
    uint32_t exponent = __float_as_uint(most) >> 23 & 255U;
    exponent = exponent < 30 ? 30 : exponent > 252 ? 252 : exponent;
    float inverse = __uint_as_float((254U - exponent) << 23);
    if (block < p.blocks) {
        size_t columns = static_cast<size_t>(p.blocks) * BLOCK;
        GPU_UNROLL
        for (unsigned k = 0; k < 4; k++) {
            float rest = __fmul_rn(v[k], inverse);
            uint16_t *at =
                p.pieces + token * columns + block * BLOCK + part / 4 * 16 + 4 * k + part % 4;
            GPU_UNROLL
            for (unsigned i = 0; i < pieces_of<P>(); i++) {
                uint16_t bits = piece_bits<P>(rest);
                rest = __fsub_rn(rest, piece_value<P>(bits));
                at[i * p.padded * columns] = bits;
            }
        }
        if (part == 0) {
            p.scales[static_cast<size_t>(block) * p.padded + token] =
                __uint_as_float(exponent << 23);
        }
    }
}

template <pack_kind P>
inline void halves_panel_make(cudaStream_t stream, const halves_panel &p, const float *x)
{
    dim3 grid((p.blocks + QUANTIZE_THREADS / 8 - 1) / (QUANTIZE_THREADS / 8), p.padded);
    GPU_LAUNCH(split_rows<P>, grid, QUANTIZE_THREADS, 0, stream, p, x);
}

// ---- a block of 32 columns ----

// Rows 2g and 2g + 1 of the columns t + 4i of each sixteen, as they come from memory.
struct halves_words {
    uint32_t w[2][4];
};

__device__ __forceinline__ void load_words(const unsigned char *block, unsigned lane,
                                           halves_words &h)
{
    GPU_UNROLL
    for (unsigned i = 0; i < 8; i++) {
        unsigned column = i / 4 * 16 + lane % 4 + 4 * (i % 4);
        h.w[i / 4][i % 4] = read<uint32_t>(block + 32 * column + 4 * (lane / 4));
    }
}

// Sixteen columns as the unit's A: its rows g and g + 8 are rows 2g and 2g + 1.
__device__ __forceinline__ void halves_fragment(const uint32_t (&w)[4], uint32_t (&a)[4])
{
    a[0] = __byte_perm(w[0], w[1], 0x5410);
    a[1] = __byte_perm(w[0], w[1], 0x7632);
    a[2] = __byte_perm(w[2], w[3], 0x5410);
    a[3] = __byte_perm(w[2], w[3], 0x7632);
}

// sums += a . b
template <pack_kind P>
__device__ __forceinline__ void multiply_pieces(float (&sums)[4], const uint32_t (&a)[4], uint2 b)
{
    const uint32_t two[2] = {b.x, b.y};
    if (P == PACK_F16) {
        mma_f16(sums, a, two);
    } else {
        mma_bf16(sums, a, two);
    }
}

// ---- few tokens: as multiply_vectors with eight tokens ----

template <pack_kind P>
__global__ void __launch_bounds__(VECTOR_THREADS) multiply_halves_8(gpu_rows r, halves_panel p)
{
    constexpr unsigned ROUND = VECTOR_WARPS * 8 * GROUP;
    float *room = static_cast<float *>(GPU_SHARED); // twice [block][token][row]
    unsigned which = product_of(r, blockIdx.x);
    unsigned first_row = (blockIdx.x - r.first[which]) * GROUP;
    const unsigned char *group = r.w[which] + first_row / GROUP * r.group_bytes;
    unsigned first_token = blockIdx.y * 8;
    unsigned lane = threadIdx.x % 32;
    unsigned warp = threadIdx.x / 32;
    unsigned row = threadIdx.x % GROUP;
    unsigned token = threadIdx.x / GROUP; // of the sum that this thread adds, if below 8
    size_t columns = static_cast<size_t>(p.blocks) * BLOCK;
    float sum = 0;
    halves_words words = {};
    if (warp < p.blocks) {
        load_words(group + static_cast<size_t>(warp) * BLOCK * 32, lane, words);
    }
    for (unsigned from = 0, i = 0; from < p.blocks; from += VECTOR_WARPS, i++) {
        float *round = room + i % 2 * ROUND;
        unsigned block = from + warp;
        if (block < p.blocks) {
            float sums[4] = {0, 0, 0, 0};
            const uint16_t *x = p.pieces + (first_token + lane / 4) * columns +
                                static_cast<size_t>(block) * BLOCK + lane % 4 * 4;
            GPU_UNROLL
            for (unsigned k = 0; k < 2; k++) {
                uint32_t a[4];
                halves_fragment(words.w[k], a);
                GPU_UNROLL
                for (unsigned piece = 0; piece < pieces_of<P>(); piece++) {
                    multiply_pieces<P>(
                        sums, a,
                        *reinterpret_cast<const uint2 *>(x + 16 * k + piece * p.padded * columns));
                }
            }
            GPU_UNROLL
            for (unsigned c = 0; c < 4; c++) {
                round[(warp * 8 + lane % 4 * 2 + c % 2) * GROUP + lane / 4 * 2 + c / 2] = sums[c];
            }
            if (block + VECTOR_WARPS < p.blocks) { // under way meanwhile
                load_words(group + static_cast<size_t>(block + VECTOR_WARPS) * BLOCK * 32, lane,
                           words);
            }
        }
        __syncthreads(); // also: the sums of the round before last are done
        if (token < 8) {
            unsigned left = p.blocks - from < VECTOR_WARPS ? p.blocks - from : VECTOR_WARPS;
            const float *scales =
                p.scales + static_cast<size_t>(from) * p.padded + first_token + token;
            for (unsigned b = 0; b < left; b++) {
                sum = __fmaf_rn(round[(b * 8 + token) * GROUP + row],
                                scales[static_cast<size_t>(b) * p.padded], sum);
            }
        }
    }
    if (token < 8 && first_token + token < p.n && first_row + row < r.rows[which]) {
        const float *bias = r.bias[which];
        size_t at = static_cast<size_t>(first_token + token) * r.rows[which] + first_row + row;
        r.y[which][at] = bias == nullptr ? sum : __fadd_rn(sum, bias[first_row + row]);
    }
}

template <pack_kind P>
inline void launch_halves_8(cudaStream_t stream, const gpu_rows &r, const halves_panel &p)
{
    constexpr size_t shared = 2 * sizeof(float) * VECTOR_WARPS * 8 * GROUP;
    GPU_LAUNCH(multiply_halves_8<P>, dim3(r.first[GPU_PRODUCTS_MAX], (p.n + 7) / 8), VECTOR_THREADS,
               shared, stream, r, p);
}

// ---- many tokens ----

constexpr unsigned HALVES_BLOCKS = 2; // of a stage
constexpr unsigned HALVES_COLUMNS = HALVES_BLOCKS * BLOCK;
// A token's row of a stage: 32 bytes more than its columns, so that reads lie in different banks.
constexpr unsigned HALVES_STRIDE = HALVES_COLUMNS * 2 + 32;
using halves_large = tile_shape<4, 2, 2, 8, 2>;
using halves_small = tile_shape<2, 2, 1, 4, 2>;

template <pack_kind P, typename Shape> struct halves_stage {
    static constexpr unsigned WEIGHTS = Shape::ALL_GROUPS * HALVES_COLUMNS * 32;
    static constexpr unsigned PIECE = Shape::TOKENS * HALVES_STRIDE;
    static constexpr unsigned SCALES = HALVES_BLOCKS * Shape::TOKENS * 4;
    static constexpr unsigned ALL = WEIGHTS + pieces_of<P>() * PIECE + SCALES;
    unsigned char *at;
    __device__ unsigned char *weights(unsigned group) const
    {
        return at + group * (HALVES_COLUMNS * 32);
    }
    __device__ unsigned char *piece(unsigned i, unsigned token) const
    {
        return at + WEIGHTS + i * PIECE + token * HALVES_STRIDE;
    }
    __device__ float *scales(unsigned block) const
    {
        return reinterpret_cast<float *>(at + WEIGHTS + pieces_of<P>() * PIECE) +
               block * Shape::TOKENS;
    }
};

// What is not there becomes zeros.
template <pack_kind P, typename Shape>
__device__ __forceinline__ void
load_halves(const halves_stage<P, Shape> &s, const unsigned char *w, uint64_t group_bytes,
            unsigned groups, const halves_panel &p, unsigned first_token, unsigned first_block)
{
    constexpr unsigned PER_GROUP = HALVES_COLUMNS * 32 / 16;
    constexpr unsigned PER_TOKEN = HALVES_COLUMNS * 2 / 16;
    unsigned blocks =
        p.blocks - first_block < HALVES_BLOCKS ? p.blocks - first_block : HALVES_BLOCKS;
    for (unsigned c = threadIdx.x; c < Shape::ALL_GROUPS * PER_GROUP; c += Shape::THREADS) {
        unsigned group = c / PER_GROUP;
        unsigned at = c % PER_GROUP;
        bool some = group < groups && at < blocks * (BLOCK * 32 / 16);
        const unsigned char *from =
            some ? w + group * group_bytes + static_cast<size_t>(first_block) * BLOCK * 32 + at * 16
                 : w;
        cp_async_16(s.weights(group) + at * 16, from, some ? 16 : 0);
    }
    size_t columns = static_cast<size_t>(p.blocks) * BLOCK;
    for (unsigned c = threadIdx.x; c < pieces_of<P>() * Shape::TOKENS * PER_TOKEN;
         c += Shape::THREADS) {
        unsigned piece = c / (Shape::TOKENS * PER_TOKEN);
        unsigned token = c / PER_TOKEN % Shape::TOKENS;
        unsigned at = c % PER_TOKEN;
        bool some = first_token + token < p.padded && at < blocks * (BLOCK * 2 / 16);
        const uint16_t *from =
            some ? p.pieces +
                       (piece * static_cast<size_t>(p.padded) + first_token + token) * columns +
                       static_cast<size_t>(first_block) * BLOCK + at * 8
                 : p.pieces;
        cp_async_16(s.piece(piece, token) + at * 16, from, some ? 16 : 0);
    }
    for (unsigned c = threadIdx.x; c < HALVES_BLOCKS * (Shape::TOKENS / 4); c += Shape::THREADS) {
        unsigned block = c / (Shape::TOKENS / 4);
        unsigned token = c % (Shape::TOKENS / 4) * 4;
        bool some = block < blocks && first_token + token < p.padded;
        size_t at =
            some ? static_cast<size_t>(first_block + block) * p.padded + first_token + token : 0;
        cp_async_16(s.scales(block) + token, p.scales + at, some ? 16 : 0);
    }
}

template <pack_kind P, typename Shape>
__device__ __forceinline__ void multiply_halves_block(const halves_stage<P, Shape> &s,
                                                      unsigned block, unsigned first_group,
                                                      unsigned first_token, unsigned parts,
                                                      float (&sums)[Shape::GROUPS][Shape::PARTS][4])
{
    unsigned lane = threadIdx.x % 32;
    uint32_t a[Shape::GROUPS][2][4];
    GPU_UNROLL
    for (unsigned i = 0; i < Shape::GROUPS; i++) {
        halves_words words;
        load_words(s.weights(first_group + i) + block * (BLOCK * 32), lane, words);
        halves_fragment(words.w[0], a[i][0]);
        halves_fragment(words.w[1], a[i][1]);
    }
    GPU_UNROLL
    for (unsigned part = 0; part < Shape::PARTS; part++) {
        if (part >= parts) {
            continue;
        }
        unsigned token = first_token + 8 * part;
        float2 scale = *reinterpret_cast<const float2 *>(s.scales(block) + token + lane % 4 * 2);
        float dots[Shape::GROUPS][4] = {};
        GPU_UNROLL
        for (unsigned k = 0; k < 2; k++) {
            GPU_UNROLL
            for (unsigned piece = 0; piece < pieces_of<P>(); piece++) {
                uint2 b = read<uint2>(s.piece(piece, token + lane / 4) + block * (BLOCK * 2) +
                                      32 * k + lane % 4 * 8);
                GPU_UNROLL
                for (unsigned i = 0; i < Shape::GROUPS; i++) {
                    multiply_pieces<P>(dots[i], a[i][k], b);
                }
            }
        }
        GPU_UNROLL
        for (unsigned i = 0; i < Shape::GROUPS; i++) {
            GPU_UNROLL
            for (unsigned c = 0; c < 4; c++) {
                float &sum = sums[i][part][c];
                sum = __fmaf_rn(dots[i][c], c % 2 == 0 ? scale.x : scale.y, sum);
            }
        }
    }
}

// blockIdx.x: the tokens; blockIdx.y: the rows.
template <pack_kind P, typename Shape>
__global__ void __launch_bounds__(Shape::THREADS) multiply_halves_tiles(gpu_rows r, halves_panel p)
{
    using stage = halves_stage<P, Shape>;
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
    unsigned stages = (p.blocks + HALVES_BLOCKS - 1) / HALVES_BLOCKS;
    float sums[Shape::GROUPS][Shape::PARTS][4] = {};

    GPU_UNROLL
    for (unsigned i = 0; i + 1 < Shape::STAGES; i++) {
        if (i < stages) {
            stage s{room + i * stage::ALL};
            load_halves<P, Shape>(s, w, r.group_bytes, groups, p, first_token, i * HALVES_BLOCKS);
        }
        cp_async_commit();
    }
    for (unsigned i = 0; i < stages; i++) {
        cp_async_wait<Shape::STAGES - 2>();
        __syncthreads(); // everybody's copies are there, and nobody reads what is copied over next
        unsigned next = i + Shape::STAGES - 1;
        if (next < stages) {
            stage s{room + next % Shape::STAGES * stage::ALL};
            load_halves<P, Shape>(s, w, r.group_bytes, groups, p, first_token,
                                  next * HALVES_BLOCKS);
        }
        cp_async_commit();
        stage s{room + i % Shape::STAGES * stage::ALL};
        for (unsigned b = 0; b < HALVES_BLOCKS && i * HALVES_BLOCKS + b < p.blocks; b++) {
            multiply_halves_block<P, Shape>(s, b, my_group, my_token, (tokens + 7) / 8, sums);
        }
    }
    cp_async_wait<0>();
    store_tile<Shape>(r, which, (first_group + my_group) * GROUP, first_token + my_token, p.n,
                      sums);
}

template <pack_kind P, typename Shape>
inline void launch_halves_tiles(cudaStream_t stream, const gpu_rows &r, const halves_panel &p)
{
    constexpr size_t shared = Shape::STAGES * halves_stage<P, Shape>::ALL;
    dim3 grid((p.n + Shape::TOKENS - 1) / Shape::TOKENS, r.first[GPU_PRODUCTS_MAX]);
    // a failure shows at the launch
    (void)cudaFuncSetAttribute(multiply_halves_tiles<P, Shape>,
                               cudaFuncAttributeMaxDynamicSharedMemorySize,
                               static_cast<int>(shared));
    GPU_LAUNCH((multiply_halves_tiles<P, Shape>), grid, Shape::THREADS, shared, stream, r, p);
}

#endif
