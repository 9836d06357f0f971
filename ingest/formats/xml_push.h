/* What all users of libxml2's push parser need: input in small steps, so that an element with more
 * attributes than any honest one is found while its tag is still being gathered. The parser
 * compares each attribute with all before it: 100,000 in one megabyte take it seconds. */
#ifndef CARREL_INGEST_FORMATS_XML_PUSH_H
#define CARREL_INGEST_FORMATS_XML_PUSH_H

#include <libxml/parser.h>
#include <stdbool.h>

#include "base/str.h"

#define XML_ATTRIBUTES_MAX 512 /* of one element, declared namespaces among them */
#define XML_NAMESPACES_MAX 512 /* in scope: each prefix is looked for among them */

struct xml_push {
    xmlParserCtxtPtr ctxt; /* borrowed */
    unsigned long tag;     /* where in the text the tag begins that is not all there */
    size_t scanned, n;     /* bytes of it looked at, attributes in them */
    char quote;            /* of the value they end in; NUL: in none */
};

/* Hands on the piece. false: an element has too many attributes; no more is to be handed on. How it
 * went otherwise the context tells. */
bool xml_push(struct xml_push *p, struct str piece);
/* In startElementNs, as a tag that comes whole is not gathered: n and n_ns as given there. */
bool xml_push_too_many(int n, int n_ns);

/* Before a context is made: what the library says beside it (an encoding's bad bytes), to no
 * handler of a context, is not written to standard error. */
void xml_push_quiet(void);

/* Handlers: the five entities that XML itself knows; errors in silence. */
xmlEntityPtr xml_push_entity(void *ctx, const xmlChar *name);
void xml_push_error(void *ctx, xmlErrorPtr e);

#endif
