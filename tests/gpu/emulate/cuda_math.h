/* CUDA's arithmetic and atomic functions, as its programming guide defines them. Threads of the
 * emulator take turns, so atomics are plain. */
#ifndef CARREL_TESTS_GPU_CUDA_MATH_H
#define CARREL_TESTS_GPU_CUDA_MATH_H

#include "cuda_types.h"

static inline float __fmaf_rn(float a, float b, float c)
{
    return std::fma(a, b, c);
}
static inline float __fmul_rn(float a, float b)
{
    return a * b;
}
static inline float __fadd_rn(float a, float b)
{
    return a + b;
}
static inline float __fsub_rn(float a, float b)
{
    return a - b;
}
static inline float __fdiv_rn(float a, float b)
{
    return a / b;
}
static inline float __fsqrt_rn(float a)
{
    return std::sqrt(a);
}
static inline float __int2float_rn(int a)
{
    return static_cast<float>(a);
}
static inline int __float2int_rn(float a) /* ties to even; beyond the range: its end; NaN: 0 */
{
    double r = std::nearbyint(static_cast<double>(a));
    return std::isnan(r)      ? 0
           : r >= 2147483647  ? 2147483647
           : r <= -2147483648 ? -2147483647 - 1
                              : static_cast<int>(r);
}

namespace emulate
{
template <typename T, typename F> inline T cast_bits(F f)
{
    static_assert(sizeof(T) == sizeof(F), "of the same size");
    T t;
    std::memcpy(&t, &f, sizeof t);
    return t;
}
} // namespace emulate

static inline float __int_as_float(int a)
{
    return emulate::cast_bits<float>(a);
}
static inline float __uint_as_float(unsigned a)
{
    return emulate::cast_bits<float>(a);
}
static inline int __float_as_int(float a)
{
    return emulate::cast_bits<int>(a);
}
static inline unsigned __float_as_uint(float a)
{
    return emulate::cast_bits<unsigned>(a);
}

static inline int __popc(unsigned a)
{
    return __builtin_popcount(a);
}
static inline int __clz(int a)
{
    return a == 0 ? 32 : __builtin_clz(static_cast<unsigned>(a));
}
static inline int __ffs(int a)
{
    return __builtin_ffs(a);
}

/* c plus the four products of signed bytes; wraps. */
static inline int __dp4a(int a, int b, int c)
{
    uint32_t sum = static_cast<uint32_t>(c);
    for (int k = 0; k < 4; k++) {
        int x = static_cast<int8_t>(static_cast<unsigned>(a) >> 8 * k);
        int y = static_cast<int8_t>(static_cast<unsigned>(b) >> 8 * k);
        sum += static_cast<uint32_t>(x * y);
    }
    return static_cast<int>(sum);
}
static inline unsigned __dp4a(unsigned a, unsigned b, unsigned c)
{
    for (int k = 0; k < 4; k++) {
        c += (a >> 8 * k & 255) * (b >> 8 * k & 255);
    }
    return c;
}

/* Bytes 0 to 7 are x's and y's; each of s's four lower nibbles names one by its three lower bits.
 */
static inline unsigned __byte_perm(unsigned x, unsigned y, unsigned s)
{
    uint64_t both = static_cast<uint64_t>(y) << 32 | x;
    unsigned r = 0;
    for (int k = 0; k < 4; k++) {
        r |= static_cast<unsigned>(both >> 8 * (s >> 4 * k & 7) & 255) << 8 * k;
    }
    return r;
}

template <typename T> static inline T __ldg(const T *p)
{
    return *p;
}
template <typename T> static inline T __ldcs(const T *p)
{
    return *p;
}

#define EMULATE_LEAST_MOST(type)                                                                   \
    static inline type min(type a, type b)                                                         \
    {                                                                                              \
        return a < b ? a : b;                                                                      \
    }                                                                                              \
    static inline type max(type a, type b)                                                         \
    {                                                                                              \
        return a > b ? a : b;                                                                      \
    }
EMULATE_LEAST_MOST(int)
EMULATE_LEAST_MOST(unsigned)
EMULATE_LEAST_MOST(long)
EMULATE_LEAST_MOST(unsigned long)

template <typename T> static inline T atomicAdd(T *p, T x)
{
    T old = *p;
    *p = old + x;
    return old;
}
template <typename T> static inline T atomicMax(T *p, T x)
{
    T old = *p;
    *p = old > x ? old : x;
    return old;
}
template <typename T> static inline T atomicMin(T *p, T x)
{
    T old = *p;
    *p = old < x ? old : x;
    return old;
}
template <typename T> static inline T atomicExch(T *p, T x)
{
    T old = *p;
    *p = x;
    return old;
}
template <typename T> static inline T atomicCAS(T *p, T expected, T x)
{
    T old = *p;
    *p = old == expected ? x : old;
    return old;
}
static inline void __threadfence()
{
}
static inline void __threadfence_block()
{
}

#endif
