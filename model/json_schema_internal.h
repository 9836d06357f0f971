/* Pieces of GBNF, between json_schema.c and json_schema_text.c. All append to out. */
#ifndef CARREL_MODEL_JSON_SCHEMA_INTERNAL_H
#define CARREL_MODEL_JSON_SCHEMA_INTERNAL_H

#include <stdint.h>

#include "model/json_schema.h"

/* Beyond it a whole number is not exact in every reader of JSON. */
#define SCHEMA_WHOLE_MAX INT64_C(999999999999999)

/* The text itself, in quotation marks, escaped. */
void gbnf_literal(struct buf *out, struct str text);
/* A whole number from low to high. */
void gbnf_whole(struct buf *out, int64_t low, int64_t high);
/* What a regular expression (ECMA 262, the part without look-around and references) matches, as the
 * inside of a JSON string. INVALID, UNSUPPORTED with the position. */
enum status gbnf_pattern(struct buf *out, struct str pattern, struct error *err) MUST_CHECK;
/* A key that is none of the n names. */
void gbnf_other_key(struct buf *out, const struct str *names, size_t n);

#endif
