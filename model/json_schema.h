/* A JSON schema as a grammar: every text of the grammar is JSON that the schema admits. Not every
 * such JSON is a text of it: members come in the order in which the schema names them, additional
 * ones only where it says so, at most 4,096 items, white space sparingly.
 *
 * Known (JSON Schema 2020-12, draft 7): type, enum, const, properties, required,
 * additionalProperties, items, prefixItems, minItems, maxItems, minLength, maxLength, pattern,
 * format (date, time, date-time, uuid), minimum, maximum and their exclusive kin, anyOf, oneOf (as
 * anyOf), allOf where the parts fit together, $ref within the document, recursive too. Another
 * keyword that would narrow is UNSUPPORTED, named with its place: an answer never breaks a rule in
 * silence. Annotations are passed over. */
#ifndef CARREL_MODEL_JSON_SCHEMA_H
#define CARREL_MODEL_JSON_SCHEMA_H

#include "model/grammar.h"

/* INVALID: no JSON, or not a schema, with the place. TOO_LARGE. */
enum status json_schema_grammar(struct str schema, struct grammar **out,
                                struct error *err) MUST_CHECK;
/* The same as GBNF, appended to out. For people who want to read it, and for tests. */
enum status json_schema_gbnf(struct str schema, struct buf *out, struct error *err) MUST_CHECK;
/* Any JSON object. */
enum status json_object_grammar(struct grammar **out, struct error *err) MUST_CHECK;

#endif
