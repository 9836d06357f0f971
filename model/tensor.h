/* Tensor types of GGUF: names, numbers and block sizes as in ggml. A row of a quantized tensor is a
 * whole number of blocks. */
#ifndef CARREL_MODEL_TENSOR_H
#define CARREL_MODEL_TENSOR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* X(NAME, ggml's number, values a block, bytes a block) */
#define TENSOR_TYPES(X)                                                                            \
    X(F32, 0, 1, 4)                                                                                \
    X(F16, 1, 1, 2)                                                                                \
    X(Q4_0, 2, 32, 18)                                                                             \
    X(Q4_1, 3, 32, 20)                                                                             \
    X(Q5_0, 6, 32, 22)                                                                             \
    X(Q5_1, 7, 32, 24)                                                                             \
    X(Q8_0, 8, 32, 34)                                                                             \
    X(Q2_K, 10, 256, 84)                                                                           \
    X(Q3_K, 11, 256, 110)                                                                          \
    X(Q4_K, 12, 256, 144)                                                                          \
    X(Q5_K, 13, 256, 176)                                                                          \
    X(Q6_K, 14, 256, 210)                                                                          \
    X(IQ4_NL, 20, 32, 18)                                                                          \
    X(IQ4_XS, 23, 256, 136)                                                                        \
    X(I8, 24, 1, 1)                                                                                \
    X(I32, 26, 1, 4)                                                                               \
    X(BF16, 30, 1, 2)

enum tensor_type {
#define TENSOR_ENUM(name, number, values, bytes) TENSOR_##name = (number),
    TENSOR_TYPES(TENSOR_ENUM)
#undef TENSOR_ENUM
};

struct tensor_type_info {
    const char *name; /* "Q4_K" */
    uint32_t block_values;
    uint32_t block_bytes;
};

/* NULL: a type this runtime does not read. */
const struct tensor_type_info *tensor_type_info(uint32_t type);
/* Bytes of n values; false when n is no whole number of blocks, the type is unknown or the size
 * overflows. */
bool tensor_bytes(uint32_t type, uint64_t n, uint64_t *bytes);

#endif
