#include "ingest/formats/xml_push.h"

#include <libxml/parserInternals.h>

#define STEP ((size_t)16384)

/* Counts the values that begin in what there is of a tag; each byte is looked at once. */
static void gather(struct xml_push *p)
{
    const xmlParserInput *in = p->ctxt->input;
    if (p->ctxt->instate != XML_PARSER_START_TAG || in == NULL || in->cur == NULL) {
        p->scanned = p->n = 0;
        p->quote = '\0';
        return;
    }
    unsigned long tag = in->consumed + (unsigned long)(in->cur - in->base);
    size_t len = (size_t)(in->end - in->cur);
    if (tag != p->tag || len < p->scanned) {
        p->tag = tag;
        p->scanned = p->n = 0;
        p->quote = '\0';
    }
    for (; p->scanned < len; p->scanned++) {
        char c = (char)in->cur[p->scanned];
        if (p->quote != '\0') {
            p->quote = c == p->quote ? '\0' : p->quote;
        } else if (c == '"' || c == '\'') {
            p->quote = c;
            p->n++;
        }
    }
}

bool xml_push(struct xml_push *p, struct str piece)
{
    for (size_t at = 0; at < piece.len && p->ctxt->instate != XML_PARSER_EOF;) {
        size_t n = piece.len - at < STEP ? piece.len - at : STEP;
        (void)xmlParseChunk(p->ctxt, piece.ptr + at, (int)n, 0);
        at += n;
        gather(p);
        if (p->n > XML_ATTRIBUTES_MAX || p->ctxt->nsNr / 2 > XML_NAMESPACES_MAX) {
            xmlStopParser(p->ctxt);
            return false;
        }
    }
    return true;
}

bool xml_push_too_many(int n, int n_ns)
{
    return n + n_ns > XML_ATTRIBUTES_MAX;
}

xmlEntityPtr xml_push_entity(void *ctx, const xmlChar *name)
{
    (void)ctx;
    return xmlGetPredefinedEntity(name);
}

void xml_push_error(void *ctx, xmlErrorPtr e)
{
    (void)ctx, (void)e; /* what the parser made of it is read from the context */
}

static void say_nothing(void *ctx, const char *format, ...)
{
    (void)ctx, (void)format;
}

void xml_push_quiet(void)
{
    xmlSetGenericErrorFunc(NULL, say_nothing);
    xmlSetStructuredErrorFunc(NULL, xml_push_error);
}
