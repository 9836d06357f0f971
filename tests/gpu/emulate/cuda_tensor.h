/* What model/cuda/ptx.cuh writes in PTX, by the fragment layouts of the PTX manual. Integer
 * products are exact. Of float products the device's rounding inside one instruction is not
 * documented: here the sum is taken in double precision and rounded once, so equal bits here prove
 * the same order of instructions, not the device's bits. */
#ifndef CARREL_TESTS_GPU_CUDA_TENSOR_H
#define CARREL_TESTS_GPU_CUDA_TENSOR_H

#include "cuda_half.h"
#include "cuda_threads.h"

namespace emulate
{
struct fragments {
    uint32_t a[4], b[2];
    uint32_t c[4];
};

template <typename Operation>
inline void each_element(const void *const *in, void *const *out, Operation element)
{
    for (int row = 0; row < 16; row++) {
        for (int column = 0; column < 8; column++) {
            int lane = row % 8 * 4 + column / 2;
            int k = row / 8 * 2 + column % 2;
            uint32_t *c = static_cast<uint32_t *>(out[lane]);
            c[k] = element(row, column, static_cast<const fragments *>(in[lane])->c[k]);
        }
    }
}

/* Element [row][k] of A and [k][column] of B of m16n8k16 with halves. */
inline uint16_t a_half(const void *const *in, int row, int k)
{
    const fragments *f = static_cast<const fragments *>(in[row % 8 * 4 + k % 8 / 2]);
    return static_cast<uint16_t>(f->a[row / 8 + k / 8 * 2] >> 16 * (k % 2));
}
inline uint16_t b_half(const void *const *in, int k, int column)
{
    const fragments *f = static_cast<const fragments *>(in[column * 4 + k % 8 / 2]);
    return static_cast<uint16_t>(f->b[k / 8] >> 16 * (k % 2));
}
/* The same of m16n8k32 and m16n8k16 with bytes. */
inline int a_byte(const void *const *in, int row, int k)
{
    const fragments *f = static_cast<const fragments *>(in[row % 8 * 4 + k % 16 / 4]);
    return static_cast<int8_t>(f->a[row / 8 + k / 16 * 2] >> 8 * (k % 4));
}
inline int b_byte(const void *const *in, int k, int column)
{
    const fragments *f = static_cast<const fragments *>(in[column * 4 + k % 16 / 4]);
    return static_cast<int8_t>(f->b[k / 16] >> 8 * (k % 4));
}

template <float (*Value)(uint16_t)>
inline void multiply_halves(unsigned, const void *const *in, void *const *out)
{
    double a[16][16]; /* [row][k] */
    double b[8][16];  /* [column][k] */
    for (int i = 0; i < 16; i++) {
        for (int k = 0; k < 16; k++) {
            a[i][k] = static_cast<double>(Value(a_half(in, i, k)));
            if (i < 8) {
                b[i][k] = static_cast<double>(Value(b_half(in, k, i)));
            }
        }
    }
    each_element(in, out, [&](int row, int column, uint32_t start) {
        float sum;
        std::memcpy(&sum, &start, sizeof sum);
        double exact = 0;
        for (int k = 0; k < 16; k++) {
            exact += a[row][k] * b[column][k];
        }
        sum = static_cast<float>(static_cast<double>(sum) + exact);
        std::memcpy(&start, &sum, sizeof sum);
        return start;
    });
}

template <int Depth> inline void multiply_bytes(unsigned, const void *const *in, void *const *out)
{
    int a[16][Depth];
    int b[8][Depth];
    for (int i = 0; i < 16; i++) {
        for (int k = 0; k < Depth; k++) {
            a[i][k] = a_byte(in, i, k);
            if (i < 8) {
                b[i][k] = b_byte(in, k, i);
            }
        }
    }
    each_element(in, out, [&](int row, int column, uint32_t sum) {
        for (int k = 0; k < Depth; k++) {
            sum += static_cast<uint32_t>(a[row][k] * b[column][k]);
        }
        return sum; /* wraps */
    });
}

struct matrix_rows {
    const unsigned char *row;
};

template <bool Transposed>
inline void load_matrices(unsigned, const void *const *in, void *const *out)
{
    for (int lane = 0; lane < 32; lane++) {
        uint32_t *r = static_cast<uint32_t *>(out[lane]);
        for (int m = 0; m < 4; m++) {
            uint16_t pair[2];
            for (int k = 0; k < 2; k++) {
                int row = Transposed ? lane % 4 * 2 + k : lane / 4;
                int column = Transposed ? lane / 4 : lane % 4 * 2 + k;
                const unsigned char *p = static_cast<const matrix_rows *>(in[m * 8 + row])->row;
                std::memcpy(&pair[k], p + 2 * column, 2);
            }
            r[m] = static_cast<uint32_t>(pair[1]) << 16 | pair[0];
        }
    }
}

inline void multiply(const char *name, warp_fn fn, fragments &f, void *c, const char *file,
                     int line)
{
    uint32_t out[4];
    std::memcpy(f.c, c, sizeof f.c);
    together(name, 0xffffffff, &f, out, fn, file, line);
    std::memcpy(c, out, sizeof out);
}
} // namespace emulate

/* d += a . b: a 16 x 16 halves, b 16 x 8 halves, d 16 x 8 floats */
static inline void mma_f16(float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2],
                           EMULATE_HERE)
{
    emulate::fragments f = {{a[0], a[1], a[2], a[3]}, {b[0], b[1]}, {}};
    emulate::multiply("mma_f16", emulate::multiply_halves<emulate::half_value>, f, d, file, line);
}
static inline void mma_bf16(float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2],
                            EMULATE_HERE)
{
    emulate::fragments f = {{a[0], a[1], a[2], a[3]}, {b[0], b[1]}, {}};
    emulate::multiply("mma_bf16", emulate::multiply_halves<emulate::bfloat_value>, f, d, file,
                      line);
}
/* a 16 x 32 signed bytes, b 32 x 8, d 16 x 8 integers */
static inline void mma_s8(int32_t (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2],
                          EMULATE_HERE)
{
    emulate::fragments f = {{a[0], a[1], a[2], a[3]}, {b[0], b[1]}, {}};
    emulate::multiply("mma_s8", emulate::multiply_bytes<32>, f, d, file, line);
}
/* a 16 x 16 signed bytes, b 16 x 8 */
static inline void mma_s8_16(int32_t (&d)[4], const uint32_t (&a)[2], uint32_t b, EMULATE_HERE)
{
    emulate::fragments f = {{a[0], a[1], 0, 0}, {b, 0}, {}};
    emulate::multiply("mma_s8_16", emulate::multiply_bytes<16>, f, d, file, line);
}

/* Four 8 x 8 matrices of halves; lane i gives the place of row i % 8 of matrix i / 8. */
static inline void ldmatrix(uint32_t (&r)[4], const void *row, EMULATE_HERE)
{
    if (reinterpret_cast<uintptr_t>(row) % 16 != 0) {
        std::abort(); /* the device would stop here too */
    }
    emulate::matrix_rows in = {static_cast<const unsigned char *>(row)};
    emulate::together("ldmatrix", 0xffffffff, &in, r, emulate::load_matrices<false>, file, line);
}
static inline void ldmatrix_transposed(uint32_t (&r)[4], const void *row, EMULATE_HERE)
{
    if (reinterpret_cast<uintptr_t>(row) % 16 != 0) {
        std::abort();
    }
    emulate::matrix_rows in = {static_cast<const unsigned char *>(row)};
    emulate::together("ldmatrix.trans", 0xffffffff, &in, r, emulate::load_matrices<true>, file,
                      line);
}

/* Sixteen bytes from global to shared memory; of `from` the first `bytes`, zeros after them. */
static inline void cp_async_16(void *to, const void *from, unsigned bytes = 16)
{
    if (reinterpret_cast<uintptr_t>(to) % 16 != 0 || reinterpret_cast<uintptr_t>(from) % 16 != 0) {
        std::abort();
    }
    emulate::copy_later(to, from, bytes, 16);
}
static inline void cp_async_commit()
{
    emulate::copies_commit();
}
/* Until at most `Left` of this thread's last groups are under way. */
template <unsigned Left> static inline void cp_async_wait()
{
    emulate::copies_wait(Left);
}

#endif
