/* Other APIs' requests written as chat completions: what their translations share. */
#ifndef CARREL_SERVE_CHAT_TRANSLATE_H
#define CARREL_SERVE_CHAT_TRANSLATE_H

#include "serve/http/jsonw.h"
#include "serve/json.h"

/* Is the member there, and this string? */
bool jsonr_is(const struct json *v, const char *key, const char *value);
/* A member as it came, under another name; nothing where it is not there. */
void translate_copy(struct jsonw *w, struct arena *a, const struct json *from, const char *key,
                    const char *as);
/* A function with its name and all beside each other, as a tool; parameters: their member. */
void translate_function(struct jsonw *w, struct arena *a, const struct json *tool,
                        const char *parameters);
/* "tool_choice": the function that choice has the name of. */
void translate_choice(struct jsonw *w, struct arena *a, const struct json *choice);
/* "response_format" by a schema. */
void translate_schema(struct jsonw *w, struct arena *a, const struct json *schema);

#endif
