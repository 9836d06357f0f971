/* JSON as Python's json.dumps writes it (ensure_ascii off), which is what models were trained on:
 * ", " and ": " between, members in their order, numbers in their shortest form. */
#ifndef CARREL_MODEL_JSON_TEXT_H
#define CARREL_MODEL_JSON_TEXT_H

#include <jansson.h>

#include "base/buf.h"

#define JSON_TEXT_DEPTH_MAX 64U

/* NULL with INVALID or TOO_LARGE (too deep) when it is no JSON. Free with json_decref. what: how
 * errors call it. */
json_t *json_text_parse(struct str text, const char *what, struct error *err) MUST_CHECK;
/* jansson recurses: is this text nested deeper than most? */
bool json_text_too_deep(struct str json, unsigned most);
/* Appends. indent 0: on one line. */
void json_text_write(const json_t *v, unsigned indent, struct buf *out);

#endif
