/* XML through libxml2's SAX parser, fed in pieces: no tree, nothing loaded from anywhere, entities
 * refused, nesting and attributes bounded. Elements are told by their local names; the namespace is
 * there where two vocabularies use the same one. */
#ifndef CARREL_INGEST_FORMATS_SAX_H
#define CARREL_INGEST_FORMATS_SAX_H

#include <stdbool.h>

#include "ingest/formats/package.h"
#include "ingest/formats/xml_push.h"

#define SAX_DEPTH_MAX 256U

struct sax;

struct sax_attributes {
    int n;
    const unsigned char **list; /* of five pointers each, as libxml2 gives them */
};

struct sax_handler {
    /* Any may be NULL. uri: "" without a namespace. Strings are valid during the call. */
    void (*start)(struct sax *x, const char *name, const char *uri, const struct sax_attributes *a);
    void (*end)(struct sax *x, const char *name, const char *uri);
    void (*text)(struct sax *x, struct str text);
    bool doctype; /* a DOCTYPE without declarations of its own is let pass */
};

struct sax {
    const struct sax_handler *handler;
    void *data;        /* the handler's */
    struct emitter *e; /* when it has failed the parser stops; NULL: none */
    const char *what;  /* "Word file", for what is said of it */
    unsigned depth;    /* of the element at hand, from 1 */
    unsigned skip;     /* depth of the element that is left out with all below; 0: none */
    bool attack;       /* it failed for what no honest file has */
    struct error err;  /* found in a callback */
    struct xml_push push;
};

/* The value of the attribute of that local name; NULL pointer: it is not there. */
struct str sax_attribute(const struct sax_attributes *a, const char *name);
/* The one of the namespace that ends so. */
struct str sax_attribute_ns(const struct sax_attributes *a, const char *name, const char *uri_end);
bool sax_uri_ends(const char *uri, const char *end);
/* A non-negative number; `otherwise` where there is none or it is above most. */
long sax_number(struct str value, long most, long otherwise);
bool sax_is_off(struct str value); /* 0, false, off, none */
/* The attribute is there and not off. */
bool sax_attribute_on(const struct sax_attributes *a, const char *name);
/* In start: the element and all below it are passed over, its end too. */
void sax_skip(struct sax *x);
/* In a callback: reading ends with this. */
void sax_fail(struct sax *x, enum status code, const char *text);
bool sax_stopped(const struct sax *x);

/* handler, data, e and what are set before. begin..end once for each document. */
enum status sax_begin(struct sax *x, struct error *err) MUST_CHECK;
enum status sax_feed(struct sax *x, struct str piece, struct error *err) MUST_CHECK;
/* s is how it went so far; returns how it ended. */
enum status sax_end(struct sax *x, enum status s, struct error *err) MUST_CHECK;
/* A whole document in memory. */
enum status sax_parse(struct sax *x, struct str xml, struct error *err) MUST_CHECK;
/* A member of a package. *found false: it is not there. */
enum status sax_read(struct sax *x, struct package *p, const char *name, bool *found,
                     struct error *err) MUST_CHECK;
/* The same of a part that is a help, not a need: one that is missing or malformed is passed over,
 * an attack, a bomb and encryption are not. */
enum status sax_read_help(struct sax *x, struct package *p, const char *name,
                          struct error *err) MUST_CHECK;

#endif
