/* What follows from a document's number and version alone: put by store_model.c, looked for by
 * store_model_check.c. */
#ifndef CARREL_TESTS_STORE_MODEL_INTERNAL_H
#define CARREL_TESTS_STORE_MODEL_INTERNAL_H

#include "tests/fault/store_model.h"

#define MODEL_TEXT_CAP 160

/* The one word that only this version of this document has; letters only, so that no analyzer cuts
 * it. */
void model_token(uint32_t doc, uint32_t version, char out[32]);
uint32_t model_chunks(uint32_t doc, uint32_t version);
void model_text(uint32_t doc, uint32_t version, uint32_t ordinal, char out[MODEL_TEXT_CAP]);
/* A unit vector that follows from the text and the encoder. */
void model_vector(uint32_t encoder, struct str text, float out[MODEL_DIMENSIONS]);
void model_document_name(uint32_t doc, char out[32]);
/* Of all its texts together. */
void model_hash(uint32_t doc, uint32_t version, uint8_t out[SHA256_BYTES], uint64_t *size);

#endif
