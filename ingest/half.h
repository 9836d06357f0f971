/* IEEE 754 half precision, as vectors travel and are stored. */
#ifndef CARREL_INGEST_HALF_H
#define CARREL_INGEST_HALF_H

#include <stddef.h>
#include <stdint.h>

/* n little-endian halves into out[2n]: nearest, ties to even; too large becomes the largest finite
 * half, NaN becomes 0. */
void half_encode(const float *in, size_t n, uint8_t *out);

#endif
