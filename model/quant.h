/* Rows of tensors as floats and back. The reference that every kernel is compared with; block
 * formats are ggml's (ggml-common.h, ggml-quants.c), including the order of operations, so that
 * values are equal bit for bit. */
#ifndef CARREL_MODEL_QUANT_H
#define CARREL_MODEL_QUANT_H

#include "model/tensor.h"

/* n values (whole blocks) from row into out. type: one that tensor_type_info knows, floats and
 * quantized only. */
void quant_decode(enum tensor_type type, const void *row, size_t n, float *out);
/* false: no way to write this type (Q4_1, Q5_1, Q2_K, Q3_K, Q5_K and the IQ types are read only). */
bool quant_encode(enum tensor_type type, const float *in, size_t n, void *row);

#endif
