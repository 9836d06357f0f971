/* __half and __nv_bfloat16 as cuda_fp16.h and cuda_bf16.h give them: every operation is done
 * exactly and rounded once, to nearest, ties to even. */
#ifndef CARREL_TESTS_GPU_CUDA_HALF_H
#define CARREL_TESTS_GPU_CUDA_HALF_H

#include "cuda_types.h"

struct __half {
    uint16_t bits;
};
struct __nv_bfloat16 {
    uint16_t bits;
};
struct __align__(4) __half2
{
    __half x, y;
};
struct __align__(4) __nv_bfloat162
{
    __nv_bfloat16 x, y;
};
using half = __half;
using half2 = __half2;

namespace emulate
{
/* v in a format of `digits` binary digits whose smallest step is 2^lowest; `most` is its largest
 * finite value. */
inline double rounded(double v, int digits, int lowest, double most)
{
    int exponent = 0;
    if (v == 0 || !std::isfinite(v)) {
        return v;
    }
    (void)std::frexp(v, &exponent);
    int step = exponent - digits > lowest ? exponent - digits : lowest;
    double r = std::ldexp(std::nearbyint(std::ldexp(v, -step)), step);
    return std::fabs(r) > most ? std::copysign(HUGE_VAL, v) : r;
}

inline uint16_t half_bits(double v)
{
    uint16_t sign = std::signbit(v) ? 0x8000 : 0;
    double r = std::fabs(rounded(v, 11, -24, 65504));
    int exponent = 0;
    if (std::isnan(v)) {
        return 0x7fff;
    }
    if (std::isinf(r)) {
        return static_cast<uint16_t>(sign | 0x7c00);
    }
    if (r < 0x1p-14) {
        return static_cast<uint16_t>(sign | static_cast<unsigned>(std::ldexp(r, 24)));
    }
    double share = std::frexp(r, &exponent); /* .5 to 1 */
    unsigned mantissa = static_cast<unsigned>(std::ldexp(share, 11)) & 0x3ff;
    return static_cast<uint16_t>(sign | static_cast<unsigned>(exponent + 14) << 10 | mantissa);
}

inline float half_value(uint16_t h)
{
    bool finite = (h & 0x7c00) != 0x7c00;
    uint32_t bits = static_cast<uint32_t>(h & 0x7fff) << 13 | (finite ? 0 : 0x7f800000U);
    float f;
    std::memcpy(&f, &bits, sizeof f);
    f = finite ? f * 0x1p112F : f; /* from a bias of 15 to 127, denormals included */
    return (h & 0x8000) != 0 ? -f : f;
}

inline uint16_t bfloat_bits(double v)
{
    float f = static_cast<float>(rounded(v, 8, -133, 0x1.fep127));
    uint32_t bits;
    std::memcpy(&bits, &f, sizeof bits);
    return std::isnan(v) ? 0x7fff : static_cast<uint16_t>(bits >> 16);
}

inline float bfloat_value(uint16_t b)
{
    uint32_t bits = static_cast<uint32_t>(b) << 16;
    float f;
    std::memcpy(&f, &bits, sizeof f);
    return f;
}
} // namespace emulate

static inline float __half2float(__half h)
{
    return emulate::half_value(h.bits);
}
static inline __half __float2half_rn(float f)
{
    return __half{emulate::half_bits(static_cast<double>(f))};
}
static inline __half __float2half(float f)
{
    return __float2half_rn(f);
}
static inline __half __ushort_as_half(unsigned short bits)
{
    return __half{bits};
}
static inline unsigned short __half_as_ushort(__half h)
{
    return h.bits;
}
static inline float __bfloat162float(__nv_bfloat16 b)
{
    return emulate::bfloat_value(b.bits);
}
static inline __nv_bfloat16 __float2bfloat16_rn(float f)
{
    return __nv_bfloat16{emulate::bfloat_bits(static_cast<double>(f))};
}
static inline __nv_bfloat16 __ushort_as_bfloat16(unsigned short bits)
{
    return __nv_bfloat16{bits};
}
static inline unsigned short __bfloat16_as_ushort(__nv_bfloat16 b)
{
    return b.bits;
}

#define EMULATE_HALF_OPERATION(type, value, bits_of, suffix, name, expression)                     \
    static inline type __h##name(type p, type q)                                                   \
    {                                                                                              \
        double a = static_cast<double>(value(p.bits));                                             \
        double b = static_cast<double>(value(q.bits));                                             \
        return type{bits_of(expression)};                                                          \
    }
#define EMULATE_HALF_OPERATIONS(type, value, bits_of)                                              \
    EMULATE_HALF_OPERATION(type, value, bits_of, , add, a + b)                                     \
    EMULATE_HALF_OPERATION(type, value, bits_of, , sub, a - b)                                     \
    EMULATE_HALF_OPERATION(type, value, bits_of, , mul, a *b)                                      \
    /* product and sum are exact in double unless they lie over 2^29 apart, where the smaller one  \
     * no longer decides but in a tie: std::fma leaves its sign there */                           \
    static inline type __hfma(type p, type q, type r)                                              \
    {                                                                                              \
        return type{bits_of(std::fma(static_cast<double>(value(p.bits)),                           \
                                     static_cast<double>(value(q.bits)),                           \
                                     static_cast<double>(value(r.bits))))};                        \
    }
EMULATE_HALF_OPERATIONS(__half, emulate::half_value, emulate::half_bits)
EMULATE_HALF_OPERATIONS(__nv_bfloat16, emulate::bfloat_value, emulate::bfloat_bits)

static inline __half2 __halves2half2(__half a, __half b)
{
    return __half2{a, b};
}
static inline __half2 __floats2half2_rn(float a, float b)
{
    return __half2{__float2half_rn(a), __float2half_rn(b)};
}
static inline float2 __half22float2(__half2 h)
{
    return make_float2(__half2float(h.x), __half2float(h.y));
}
static inline __half2 __hmul2(__half2 a, __half2 b)
{
    return __half2{__hmul(a.x, b.x), __hmul(a.y, b.y)};
}
static inline __half2 __hadd2(__half2 a, __half2 b)
{
    return __half2{__hadd(a.x, b.x), __hadd(a.y, b.y)};
}
static inline __half2 __hfma2(__half2 a, __half2 b, __half2 c)
{
    return __half2{__hfma(a.x, b.x, c.x), __hfma(a.y, b.y, c.y)};
}
static inline __nv_bfloat162 __floats2bfloat162_rn(float a, float b)
{
    return __nv_bfloat162{__float2bfloat16_rn(a), __float2bfloat16_rn(b)};
}

#endif
