/* The writing of one block, for quant.c: 256 values (Q5_0: 32). */
#ifndef CARREL_MODEL_QUANT_K_H
#define CARREL_MODEL_QUANT_K_H

void quant_encode_q6_k(const float *x, unsigned char *block);
void quant_encode_q4_k(const float *x, unsigned char *block);
void quant_encode_q5_0(const float *x, unsigned char *block);

#endif
