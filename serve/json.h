/* Reading JSON that strangers sent: jansson behind a wall. One value, no trailing text, no
 * duplicate keys, at most JSON_DEPTH_MAX deep, valid UTF-8; an error names line and column.
 * (Writing: http/jsonw.h.) */
#ifndef CARREL_SERVE_JSON_H
#define CARREL_SERVE_JSON_H

#include <stdint.h>

#include "base/arena.h"
#include "base/status.h"
#include "base/str.h"

#define JSON_DEPTH_MAX 64

struct json; /* a value; borrowed from its document */

enum json_kind {
    JSON_KIND_NULL,
    JSON_KIND_BOOL,
    JSON_KIND_INT,
    JSON_KIND_REAL,
    JSON_KIND_STRING,
    JSON_KIND_ARRAY,
    JSON_KIND_OBJECT
};

/* *out is owned: jsonr_free. */
enum status jsonr_read(struct str text, struct json **out, struct error *err) MUST_CHECK;
void jsonr_free(struct json *doc); /* NULL is fine */

/* The value as JSON again, in a; NULL: out of memory. */
const char *jsonr_text(const struct json *v, struct arena *a);
enum json_kind jsonr_kind(const struct json *v); /* NULL counts as null */
/* NULL when v is no object or has no such key, or the key is null. */
const struct json *jsonr_get(const struct json *v, const char *key);
/* Is the key there, be it null? */
bool jsonr_has(const struct json *v, const char *key);
size_t jsonr_len(const struct json *array);
const struct json *jsonr_at(const struct json *array, size_t i);
/* Walking an object's members: start with *at NULL; false at the end. */
bool jsonr_next(const struct json *object, void **at, struct str *key, const struct json **value);
struct str jsonr_str(const struct json *v); /* ptr NULL unless a string */
/* false: it is no number. */
bool jsonr_as_number(const struct json *v, double *out);
/* Is it the value true? */
bool jsonr_true(const struct json *v);
/* The value, or fallback when v is NULL. INVALID names the key when the kind or range is wrong. */
enum status jsonr_bool(const struct json *object, const char *key, bool fallback, bool *out,
                       struct error *err) MUST_CHECK;
enum status jsonr_int(const struct json *object, const char *key, int64_t min, int64_t max,
                      int64_t fallback, int64_t *out, struct error *err) MUST_CHECK;
/* Numbers; *present tells whether there was one. */
enum status jsonr_number(const struct json *object, const char *key, double min, double max,
                         bool *present, double *out, struct error *err) MUST_CHECK;
/* A string, or ptr NULL when absent. */
enum status jsonr_string(const struct json *object, const char *key, struct str *out,
                         struct error *err) MUST_CHECK;

#endif
