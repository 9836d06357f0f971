/* What the two files of openapi.h share: a build, and types. */
#ifndef CARREL_SERVE_OPENAPI_INTERNAL_H
#define CARREL_SERVE_OPENAPI_INTERNAL_H

#include "serve/http/jsonw.h"
#include "serve/json.h"
#include "serve/openapi.h"

#define OPENAPI_FRAGMENTS_MAX 64
#define OPENAPI_NAME_MAX 96

struct openapi_types {
    struct jsonw w;
    struct json *docs[OPENAPI_FRAGMENTS_MAX];
    const char *names[OPENAPI_FRAGMENTS_MAX];
    size_t n;
    struct error *err;
    enum status status;
    const char *where; /* the fragment's name, for errors */
    bool open;         /* of what is written now, objects may have fields that are not told */
};

/* The first thing wrong is kept: err and status. */
void openapi_wrong(struct openapi_types *b, const char *what, struct str about);
/* A type, as a schema: words, or an object of fields. */
void openapi_type(struct openapi_types *b, const struct json *v);
/* A schema's name, as the reference to it. */
void openapi_reference(struct openapi_types *b, const char *name);
/* "name?" may be absent. */
struct str openapi_field_name(struct str key, bool *optional);

#endif
