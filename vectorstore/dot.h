/* Half floats (IEEE 754 binary16) and their dot product with floats. Rows are n values; no
 * alignment asked. */
#ifndef CARREL_VECTORSTORE_DOT_H
#define CARREL_VECTORSTORE_DOT_H

#include <stddef.h>
#include <stdint.h>

float half_to_float(uint16_t h);
uint16_t half_from_float(float f); /* nearest even; overflow becomes infinity */
/* The fastest this processor has; chosen at each call of dot_choose. */
typedef float (*dot_half_fn)(const float *q, const uint16_t *row, size_t n);
float dot_half_plain(const float *q, const uint16_t *row, size_t n);
dot_half_fn dot_choose(void);

#endif
