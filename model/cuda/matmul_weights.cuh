// Quantized weights as they lie on the device: the processor's packed groups (model/pack.h),
// sixteen rows side by side, block by block of 32 columns, so that one packed file serves both. A
// block: the scales, the codes in fours of columns ([four][16 rows][4 bytes]; with four bits two
// fours share their bytes), the upper bits. Types of super-blocks have a header before every eight
// blocks.
//
// Eight blocks with their header are a segment: contiguous bytes, what the tiles copy.
#ifndef CARREL_MODEL_CUDA_MATMUL_WEIGHTS_CUH
#define CARREL_MODEL_CUDA_MATMUL_WEIGHTS_CUH

#include "model/cuda/ptx.cuh"

extern "C" {
#include "model/kernels.h"
}

constexpr unsigned GROUP = KERNEL_ROWS;
constexpr unsigned BLOCK = KERNEL_BLOCK;
constexpr unsigned SEGMENT = 8; // blocks

// As struct kind in model/cpu_body.h.
struct gpu_kind {
    bool super, sixteens, lookup;
    unsigned minima; // 1: added, 2: subtracted
    unsigned bits, high;
    unsigned bias; // codes are 1 << bias too large; 0: not
};

__host__ __device__ constexpr gpu_kind kind_of(pack_kind p)
{
    return p == PACK_Q8_0     ? gpu_kind{false, false, false, 0, 8, 0, 0}
           : p == PACK_Q4_0   ? gpu_kind{false, false, false, 0, 4, 0, 3}
           : p == PACK_Q4_1   ? gpu_kind{false, false, false, 1, 4, 0, 0}
           : p == PACK_Q5_0   ? gpu_kind{false, false, false, 0, 4, 1, 4}
           : p == PACK_Q5_1   ? gpu_kind{false, false, false, 1, 4, 1, 0}
           : p == PACK_Q4_K   ? gpu_kind{true, false, false, 2, 4, 0, 0}
           : p == PACK_Q5_K   ? gpu_kind{true, false, false, 2, 4, 1, 0}
           : p == PACK_Q6_K   ? gpu_kind{true, true, false, 0, 4, 2, 5}
           : p == PACK_IQ4_NL ? gpu_kind{false, false, true, 0, 4, 0, 0}
                              : gpu_kind{true, false, true, 0, 4, 0, 0};
}

// ---- where things are ----

__host__ __device__ constexpr unsigned header_bytes(gpu_kind k)
{
    return !k.super ? 0 : k.minima != 0 ? 64 : 32;
}
__host__ __device__ constexpr unsigned scale_bytes(gpu_kind k)
{
    return !k.super ? (k.minima != 0 ? 64 : 32) : k.minima != 0 || k.sixteens ? 32 : 16;
}
__host__ __device__ constexpr unsigned block_bytes(gpu_kind k)
{
    return scale_bytes(k) + (k.bits == 8 ? 512 : 256) + 64 * k.high;
}
__host__ __device__ constexpr unsigned segment_bytes(gpu_kind k)
{
    return header_bytes(k) + SEGMENT * block_bytes(k);
}

template <pack_kind P>
__host__ __device__ __forceinline__ const unsigned char *segment_of(const unsigned char *group,
                                                                    unsigned block)
{
    return group + static_cast<size_t>(block / SEGMENT) * segment_bytes(kind_of(P));
}
template <pack_kind P>
__host__ __device__ __forceinline__ const unsigned char *block_of(const unsigned char *segment,
                                                                  unsigned block)
{
    return segment + header_bytes(kind_of(P)) + block % SEGMENT * block_bytes(kind_of(P));
}

// ---- small reads; all places are aligned to what is read ----

template <typename T> __device__ __forceinline__ T read(const unsigned char *p)
{
    return *reinterpret_cast<const T *>(p);
}
__device__ __forceinline__ float half_at(const unsigned char *p)
{
    return __half2float(__ushort_as_half(read<unsigned short>(p)));
}

// ---- codes ----

// The four bits of n, one a byte.
__device__ __forceinline__ uint32_t spread(uint32_t n)
{
    return (n * 0x00204081U) & 0x01010101U;
}

// IQ4's values for the eight codes of a word: the lower halves of its bytes, then the upper ones.
__device__ __forceinline__ uint2 iq4_values(uint32_t q)
{
    // -127 -104 -83 -65, -49 -35 -22 -10, 1 13 25 38, 53 69 89 113
    constexpr uint32_t t0 = 0xbfad9881U, t1 = 0xf6eaddcfU, t2 = 0x26190d01U, t3 = 0x71594535U;
    uint32_t which = 0x32103210U | (q & 0x88888888U) >> 1;
    uint32_t v[2];
    GPU_UNROLL
    for (unsigned k = 0; k < 2; k++) {
        uint32_t lower = __byte_perm(t0, t1, q >> 16 * k);
        uint32_t upper = __byte_perm(t2, t3, q >> 16 * k);
        v[k] = __byte_perm(lower, upper, which >> 16 * k);
    }
    return make_uint2(__byte_perm(v[0], v[1], 0x6420), __byte_perm(v[0], v[1], 0x7531));
}

// Less 1 << bias, as signed bytes.
template <pack_kind P> __device__ __forceinline__ uint32_t unbiased(uint32_t codes)
{
    constexpr gpu_kind k = kind_of(P);
    return k.bias == 0 || k.bits == 8
               ? codes
               : (codes + (0x80U - (1U << k.bias)) * 0x01010101U) ^ 0x80808080U;
}

// ---- one row of a block, for products of four bytes ----

// As it comes from memory: nothing is computed until all of a round's reads are on their way.
template <pack_kind P> struct row_block {
    static constexpr unsigned WORDS = kind_of(P).bits == 8 ? 8 : 4;
    uint32_t codes[WORDS];
    uint32_t high[kind_of(P).high == 1 ? 8 : 2];
    unsigned short scale, minimum; // halves; a super-block's where there is one
    unsigned char scales[2];       // of the block; the second: its minimum, or of its last sixteen
};

template <pack_kind P>
__device__ __forceinline__ void load_row(const unsigned char *group, unsigned block, unsigned row,
                                         row_block<P> &r)
{
    constexpr gpu_kind k = kind_of(P);
    const unsigned char *segment = segment_of<P>(group, block);
    const unsigned char *b = block_of<P>(segment, block);
    const unsigned char *codes = b + scale_bytes(k);
    const unsigned char *halves = k.super ? segment : b;
    GPU_UNROLL
    for (unsigned i = 0; i < row_block<P>::WORDS; i++) {
        r.codes[i] = read<uint32_t>(codes + 64 * i + 4 * row);
    }
    GPU_UNROLL
    for (unsigned i = 0; k.high == 1 && i < 8; i++) {
        r.high[i] = codes[256 + 8 * i + row / 2];
    }
    GPU_UNROLL
    for (unsigned i = 0; k.high == 2 && i < 2; i++) {
        r.high[i] = read<uint32_t>(codes + 256 + 64 * i + 4 * row);
    }
    r.scale = read<unsigned short>(halves + 2 * row);
    r.minimum = k.minima != 0 ? read<unsigned short>(halves + 32 + 2 * row) : 0;
    r.scales[0] = k.super ? b[row] : 0;
    r.scales[1] = k.super && scale_bytes(k) == 32 ? b[16 + row] : 0;
}

// The scale of half h of the block, and its minimum.
template <pack_kind P> __device__ __forceinline__ float scale_of(const row_block<P> &r, unsigned h)
{
    constexpr gpu_kind k = kind_of(P);
    float scale = __half2float(__ushort_as_half(r.scale));
    return !k.super        ? scale
           : k.minima != 0 ? __fmul_rn(scale, static_cast<float>(r.scales[0]))
                           : __fmul_rn(scale, static_cast<float>(static_cast<int8_t>(r.scales[h])));
}
template <pack_kind P> __device__ __forceinline__ float minimum_of(const row_block<P> &r)
{
    float minimum = __half2float(__ushort_as_half(r.minimum));
    return kind_of(P).super ? __fmul_rn(minimum, static_cast<float>(r.scales[1])) : minimum;
}

// The codes of all eight fours; Q8_0's and IQ4's are the values.
template <pack_kind P>
__device__ __forceinline__ void codes_of(const row_block<P> &r, unsigned row, uint32_t (&fours)[8])
{
    constexpr gpu_kind k = kind_of(P);
    GPU_UNROLL
    for (unsigned f = 0; f < 8; f++) {
        if (k.bits == 8) {
            fours[f] = r.codes[f % row_block<P>::WORDS] ^ 0x80808080U;
        } else if (k.lookup) {
            uint2 v = iq4_values(r.codes[f / 2]);
            fours[f] = f % 2 == 0 ? v.x : v.y;
        } else {
            fours[f] = r.codes[f / 2] >> 4 * (f % 2) & 0x0F0F0F0FU;
            if (k.high == 1) {
                fours[f] |= spread(r.high[f % (k.high == 1 ? 8 : 2)] >> 4 * (row % 2) & 15) << 4;
            } else if (k.high == 2) {
                fours[f] |= (r.high[f / 4] >> 2 * (f % 4) & 0x03030303U) << 4;
            }
        }
    }
}

// ---- a block as the matrix units take it ----
//
// Rows and columns are put in an order of our own, which changes no sum: the unit's rows g and g +
// 8 are rows 2g and 2g + 1 of the group; the eight columns of lane t = lane % 4 are the fours 2t
// and 2t + 1 (types with two scales a block: of half h, the four 4h + t).

struct row_scales { // of rows 2g and 2g + 1
    float scale[2][2];
    float minimum[2];
};

template <pack_kind P>
__device__ __forceinline__ void load_scales(const unsigned char *segment, unsigned block,
                                            unsigned g, row_scales &s)
{
    constexpr gpu_kind k = kind_of(P);
    const unsigned char *b = block_of<P>(segment, block);
    GPU_UNROLL
    for (unsigned i = 0; i < 2; i++) {
        unsigned row = 2 * g + i;
        if (!k.super) {
            s.scale[0][i] = half_at(b + 2 * row);
            s.minimum[i] = k.minima != 0 ? half_at(b + 32 + 2 * row) : 0.0F;
        } else if (k.minima != 0) {
            s.scale[0][i] = __fmul_rn(half_at(segment + 2 * row), static_cast<float>(b[row]));
            s.minimum[i] =
                __fmul_rn(half_at(segment + 32 + 2 * row), static_cast<float>(b[16 + row]));
        } else {
            float d = half_at(segment + 2 * row);
            s.scale[0][i] = __fmul_rn(d, static_cast<float>(static_cast<int8_t>(b[row])));
            s.scale[1][i] = k.sixteens
                                ? __fmul_rn(d, static_cast<float>(static_cast<int8_t>(b[16 + row])))
                                : 0.0F;
        }
    }
}

// a: rows 2g and 2g + 1 of the first four, then of the second.
template <pack_kind P>
__device__ __forceinline__ void load_fragment(const unsigned char *segment, unsigned block,
                                              unsigned lane, uint32_t (&a)[4])
{
    constexpr gpu_kind k = kind_of(P);
    const unsigned char *codes = block_of<P>(segment, block) + scale_bytes(k);
    unsigned g = lane / 4;
    unsigned t = lane % 4;
    if (k.bits == 8) {
        uint2 first = read<uint2>(codes + 128 * t + 8 * g);
        uint2 second = read<uint2>(codes + 128 * t + 64 + 8 * g);
        a[0] = first.x ^ 0x80808080U;
        a[1] = first.y ^ 0x80808080U;
        a[2] = second.x ^ 0x80808080U;
        a[3] = second.y ^ 0x80808080U;
        return;
    }
    if (k.sixteens) { // a[0], a[1]: of the first half; a[2], a[3]: of the second
        GPU_UNROLL
        for (unsigned h = 0; h < 2; h++) {
            uint2 w = read<uint2>(codes + 128 * h + 64 * (t / 2) + 8 * g);
            uint2 up = read<uint2>(codes + 256 + 64 * h + 8 * g);
            uint32_t low = 4 * (t % 2);
            a[2 * h] = unbiased<P>((w.x >> low & 0x0F0F0F0FU) | (up.x >> 2 * t & 0x03030303U) << 4);
            a[2 * h + 1] =
                unbiased<P>((w.y >> low & 0x0F0F0F0FU) | (up.y >> 2 * t & 0x03030303U) << 4);
        }
        return;
    }
    uint2 w = read<uint2>(codes + 64 * t + 8 * g);
    if (k.lookup) {
        uint2 x = iq4_values(w.x);
        uint2 y = iq4_values(w.y);
        a[0] = x.x;
        a[1] = y.x;
        a[2] = x.y;
        a[3] = y.y;
        return;
    }
    a[0] = w.x & 0x0F0F0F0FU;
    a[1] = w.y & 0x0F0F0F0FU;
    a[2] = w.x >> 4 & 0x0F0F0F0FU;
    a[3] = w.y >> 4 & 0x0F0F0F0FU;
    if (k.high == 1) { // one byte has the bits of both rows
        uint32_t first = codes[256 + 16 * t + g];
        uint32_t second = codes[256 + 16 * t + 8 + g];
        a[0] |= spread(first & 15) << 4;
        a[1] |= spread(first >> 4) << 4;
        a[2] |= spread(second & 15) << 4;
        a[3] |= spread(second >> 4) << 4;
    }
    GPU_UNROLL
    for (unsigned i = 0; i < 4; i++) {
        a[i] = unbiased<P>(a[i]);
    }
}

// ---- one value, as model/quant.h decodes it: the order of its roundings is that file's ----

template <pack_kind P>
__device__ __forceinline__ float value_of(const unsigned char *group, unsigned column, unsigned row)
{
    constexpr gpu_kind k = kind_of(P);
    row_block<P> r;
    uint32_t fours[8];
    unsigned within = column % BLOCK;
    load_row<P>(group, column / BLOCK, row, r);
    codes_of<P>(r, row, fours);
    uint32_t four = 0;
    GPU_UNROLL
    for (unsigned f = 0; f < 8; f++) {
        four = f == within / 4 ? fours[f] : four;
    }
    int code = k.bits == 8 || k.lookup ? static_cast<int8_t>(four >> 8 * (within % 4))
                                       : static_cast<int>(four >> 8 * (within % 4) & 255);
    code -= k.bits == 8 || k.bias == 0 ? 0 : 1 << k.bias;
    float scale = scale_of<P>(r, k.sixteens && within >= 16 ? 1 : 0);
    float value = __fmul_rn(scale, static_cast<float>(code));
    return k.minima == 1   ? __fadd_rn(value, minimum_of<P>(r))
           : k.minima == 2 ? __fsub_rn(value, minimum_of<P>(r))
                           : value;
}

#endif
