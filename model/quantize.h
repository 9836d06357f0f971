/* A model's weights in fewer bits: a new GGUF file with the same values and tensors. */
#ifndef CARREL_MODEL_QUANTIZE_H
#define CARREL_MODEL_QUANTIZE_H

#include "base/status.h"

/* type: Q8_0, Q4_0, Q4_K, Q6_K, or Q4_K_M (llama.cpp's mix: Q6_K for the output and for half of the
 * values' and down matrices). Rows that are no multiple of 256 become Q5_0 or Q8_0 instead of Q4_K
 * or Q6_K; norms, biases and positions stay as they are. out is written beside and renamed when it
 * is whole. INVALID: an unknown type, or a file whose weights are not F32, F16 or BF16;
 * CONFLICT: out is there. */
enum status model_quantize_file(const char *in, const char *out, const char *type,
                                struct error *err) MUST_CHECK;

#endif
