/* CUDA's words and vector types for a host compiler. */
#ifndef CARREL_TESTS_GPU_CUDA_TYPES_H
#define CARREL_TESTS_GPU_CUDA_TYPES_H

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>

#define __global__
#define __device__
#define __host__
#define __constant__ static
#define __forceinline__ inline
#define __launch_bounds__(...)
#define __grid_constant__
#define __align__(n) __attribute__((aligned(n)))
/* One block runs at a time, so a block's shared variables may be the function's own. Their bounds
 * are watched by AddressSanitizer; unlike dynamic shared memory they keep what an earlier block
 * left in them. */
#define __shared__ static

#define EMULATE_VECTOR2(name, type)                                                                \
    struct __align__(2 * sizeof(type)) name                                                        \
    {                                                                                              \
        type x, y;                                                                                 \
    };                                                                                             \
    static inline name make_##name(type x, type y)                                                 \
    {                                                                                              \
        return name{x, y};                                                                         \
    }
#define EMULATE_VECTOR4(name, type)                                                                \
    struct __align__(4 * sizeof(type)) name                                                        \
    {                                                                                              \
        type x, y, z, w;                                                                           \
    };                                                                                             \
    static inline name make_##name(type x, type y, type z, type w)                                 \
    {                                                                                              \
        return name{x, y, z, w};                                                                   \
    }
EMULATE_VECTOR2(int2, int)
EMULATE_VECTOR2(uint2, unsigned)
EMULATE_VECTOR2(float2, float)
EMULATE_VECTOR2(ushort2, unsigned short)
EMULATE_VECTOR4(int4, int)
EMULATE_VECTOR4(uint4, unsigned)
EMULATE_VECTOR4(float4, float)
EMULATE_VECTOR4(ushort4, unsigned short)
EMULATE_VECTOR4(char4, signed char)
EMULATE_VECTOR4(uchar4, unsigned char)

struct uint3 {
    unsigned x, y, z;
};

struct dim3 {
    unsigned x, y, z;
    dim3(unsigned a = 1, unsigned b = 1, unsigned c = 1) : x(a), y(b), z(c)
    {
    }
};

#endif
