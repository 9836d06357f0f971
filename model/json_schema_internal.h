/* Pieces of GBNF, between json_schema.c, json_schema_parts.c and
 * json_schema_text.c. All append to out. */
#ifndef CARREL_MODEL_JSON_SCHEMA_INTERNAL_H
#define CARREL_MODEL_JSON_SCHEMA_INTERNAL_H

#include <jansson.h>
#include <stdint.h>

#include "base/map.h"
#include "model/json_schema.h"

#define SCHEMA_RULES_MAX 20000U
#define SCHEMA_NAME_MAX 256U /* bytes of a property's name */

/* A schema on its way to a grammar; rules are appended to out as they become whole. */
struct schema {
    const json_t *root;
    struct buf *out;
    struct map known; /* address of a schema -> rule + 1 */
    json_t *merged;   /* what allOf made: kept, so that no address comes twice */
    size_t copied;    /* for merged, by weigh() */
    unsigned rules, depth;
    struct buf place; /* JSON pointer of what is being read */
    struct error *err;
};

/* Errors with the place; the second with a keyword's name. */
enum status schema_wrong(struct schema *c, enum status s, const char *what);
enum status schema_wrong_key(struct schema *c, enum status s, const char *key, const char *what);
/* The rule of a schema within this one, at key (and name: NULL for none). */
enum status schema_child(struct schema *c, const json_t *s, const char *key, const char *name,
                         unsigned *rule) MUST_CHECK;
/* The text of one type, appended to b. */
enum status schema_string(struct schema *c, const json_t *s, struct buf *b) MUST_CHECK;
enum status schema_number(struct schema *c, const json_t *s, bool whole, struct buf *b) MUST_CHECK;
enum status schema_array(struct schema *c, const json_t *s, struct buf *b) MUST_CHECK;
enum status schema_object(struct schema *c, const json_t *s, struct buf *b) MUST_CHECK;

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
