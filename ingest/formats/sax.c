#include "ingest/formats/sax.h"

#include <libxml/parser.h>
#include <libxml/parserInternals.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

static struct sax *self(void *ctx)
{
    return ((xmlParserCtxtPtr)ctx)->_private;
}

void sax_fail(struct sax *x, enum status code, const char *text)
{
    if (x->err.code == STATUS_OK) {
        error_set(&x->err, code, "%s", text);
    }
    xmlStopParser(x->push.ctxt);
}

bool sax_stopped(const struct sax *x)
{
    return x->err.code != STATUS_OK || (x->e != NULL && emit_failed(x->e));
}

void sax_skip(struct sax *x)
{
    x->skip = x->depth;
}

bool sax_uri_ends(const char *uri, const char *end)
{
    size_t n = strlen(uri);
    size_t m = strlen(end);
    return n >= m && strcmp(uri + n - m, end) == 0;
}

struct str sax_attribute_ns(const struct sax_attributes *a, const char *name, const char *uri_end)
{
    for (int i = 0; i < a->n; i++) {
        const unsigned char *const *at = a->list + (size_t)5 * (size_t)i;
        const char *uri = at[2] == NULL ? "" : (const char *)at[2];
        if (strcmp((const char *)at[0], name) == 0 && sax_uri_ends(uri, uri_end)) {
            return (struct str){(const char *)at[3], (size_t)(at[4] - at[3])};
        }
    }
    return (struct str){NULL, 0};
}

struct str sax_attribute(const struct sax_attributes *a, const char *name)
{
    return sax_attribute_ns(a, name, "");
}

long sax_number(struct str value, long most, long otherwise)
{
    long v = 0;
    if (value.ptr == NULL || value.len == 0) {
        return otherwise;
    }
    for (size_t i = 0; i < value.len; i++) {
        if (value.ptr[i] < '0' || value.ptr[i] > '9') {
            return otherwise;
        }
        v = v * 10 + (value.ptr[i] - '0');
        if (v > most) {
            return otherwise;
        }
    }
    return v;
}

bool sax_is_off(struct str value)
{
    static const char *const words[] = {"0", "false", "off", "none"};
    for (size_t i = 0; value.ptr != NULL && i < sizeof words / sizeof words[0]; i++) {
        if (value.len == strlen(words[i]) && strncasecmp(value.ptr, words[i], value.len) == 0) {
            return true;
        }
    }
    return false;
}

bool sax_attribute_on(const struct sax_attributes *a, const char *name)
{
    struct str v = sax_attribute(a, name);
    return v.ptr != NULL && !sax_is_off(v);
}

/* ---- libxml2's side ---- */

static void fail_attack(struct sax *x, const char *what)
{
    char said[200];
    (void)snprintf(said, sizeof said, "the %s %s", x->what, what);
    x->attack = true;
    sax_fail(x, STATUS_INVALID, said);
}

static void refuse_attributes(struct sax *x)
{
    fail_attack(x, "has an element with more attributes than any honest one: it was not read");
}

static void on_start(void *ctx, const xmlChar *name, const xmlChar *prefix, const xmlChar *uri,
                     int n_ns, const xmlChar **ns, int n, int n_defaulted, const xmlChar **a)
{
    struct sax *x = self(ctx);
    (void)prefix, (void)ns, (void)n_defaulted;
    if (++x->depth > SAX_DEPTH_MAX) {
        fail_attack(x, "is nested too deeply: it was not read");
        return;
    }
    if (xml_push_too_many(n, n_ns)) {
        refuse_attributes(x);
        return;
    }
    if (x->skip == 0 && x->handler->start != NULL) {
        struct sax_attributes attributes = {.n = n, .list = a};
        x->handler->start(x, (const char *)name, uri == NULL ? "" : (const char *)uri, &attributes);
    }
    if (x->e != NULL && emit_failed(x->e)) {
        xmlStopParser(ctx);
    }
}

static void on_end(void *ctx, const xmlChar *name, const xmlChar *prefix, const xmlChar *uri)
{
    struct sax *x = self(ctx);
    (void)prefix;
    if (x->skip == 0 && x->handler->end != NULL) {
        x->handler->end(x, (const char *)name, uri == NULL ? "" : (const char *)uri);
    } else if (x->skip == x->depth) {
        x->skip = 0;
    }
    x->depth -= x->depth > 0;
}

static void on_characters(void *ctx, const xmlChar *p, int len)
{
    struct sax *x = self(ctx);
    if (x->skip == 0 && x->handler->text != NULL) {
        x->handler->text(x, (struct str){(const char *)p, (size_t)len});
    }
}

static void refuse_entities(struct sax *x)
{
    fail_attack(x, "declares XML entities, which no honest one does: it was not read");
}

static void on_doctype(void *ctx, const xmlChar *name, const xmlChar *public_id,
                       const xmlChar *system_id)
{
    struct sax *x = self(ctx);
    (void)name, (void)public_id, (void)system_id;
    if (!x->handler->doctype) {
        refuse_entities(x);
    }
}

static void on_entity_declared(void *ctx, const xmlChar *name, int type, const xmlChar *public_id,
                               const xmlChar *system_id, xmlChar *content)
{
    (void)name, (void)type, (void)public_id, (void)system_id, (void)content;
    refuse_entities(self(ctx));
}

enum status sax_begin(struct sax *x, struct error *err)
{
    xmlSAXHandler sax;
    memset(&sax, 0, sizeof sax);
    sax.initialized = XML_SAX2_MAGIC;
    sax.startElementNs = on_start;
    sax.endElementNs = on_end;
    sax.characters = on_characters;
    sax.ignorableWhitespace = on_characters;
    sax.cdataBlock = on_characters;
    sax.internalSubset = on_doctype;
    sax.entityDecl = on_entity_declared;
    sax.getEntity = xml_push_entity;
    sax.serror = xml_push_error;
    x->depth = x->skip = 0;
    x->attack = false;
    x->err = (struct error){.code = STATUS_OK};
    xml_push_quiet();
    xmlParserCtxtPtr ctxt = xmlCreatePushParserCtxt(&sax, NULL, NULL, 0, NULL);
    x->push = (struct xml_push){.ctxt = ctxt};
    if (ctxt == NULL) {
        return error_set(err, STATUS_NO_MEMORY, "out of memory");
    }
    ctxt->_private = x;
    (void)xmlCtxtUseOptions(ctxt, XML_PARSE_NONET);
    return STATUS_OK;
}

static enum status malformed(const struct sax *x, struct error *err)
{
    return error_set(err, STATUS_INVALID, "the %s is damaged: its XML is malformed", x->what);
}

static enum status own_error(const struct sax *x, struct error *err)
{
    if (err != NULL) {
        *err = x->err;
    }
    return x->err.code;
}

enum status sax_feed(struct sax *x, struct str piece, struct error *err)
{
    const xmlParserCtxt *ctxt = x->push.ctxt;
    if (x->e != NULL && emit_failed(x->e)) {
        return STATUS_OK; /* the emitter tells */
    }
    if (!xml_push(&x->push, piece)) {
        refuse_attributes(x);
    }
    if (x->err.code != STATUS_OK) {
        return own_error(x, err);
    }
    if (x->e != NULL && emit_failed(x->e)) {
        return STATUS_OK;
    }
    if (ctxt->errNo == XML_ERR_NO_MEMORY) {
        return error_set(err, STATUS_TOO_LARGE, "reading it needs more memory than the limit");
    }
    return ctxt->errNo != 0 && !ctxt->wellFormed ? malformed(x, err) : STATUS_OK;
}

enum status sax_end(struct sax *x, enum status s, struct error *err)
{
    xmlParserCtxtPtr ctxt = x->push.ctxt;
    if (ctxt == NULL) {
        return s;
    }
    if (s == STATUS_OK && !sax_stopped(x)) {
        (void)xmlParseChunk(ctxt, "", 0, 1);
        if (x->err.code != STATUS_OK) {
            s = own_error(x, err);
        } else if (!ctxt->wellFormed && !sax_stopped(x)) {
            s = malformed(x, err);
        }
    }
    if (ctxt->myDoc != NULL) {
        xmlFreeDoc(ctxt->myDoc);
    }
    xmlFreeParserCtxt(ctxt);
    x->push.ctxt = NULL;
    return s;
}

enum status sax_parse(struct sax *x, struct str xml, struct error *err)
{
    enum status s = sax_begin(x, err);
    if (s == STATUS_OK) {
        s = sax_feed(x, xml, err);
    }
    return sax_end(x, s, err);
}

static enum status feed(void *data, struct str piece, struct error *err)
{
    return sax_feed(data, piece, err);
}

enum status sax_read(struct sax *x, struct package *p, const char *name, bool *found,
                     struct error *err)
{
    *found = package_has(p, name);
    x->what = package_what(p);
    if (!*found) {
        return STATUS_OK;
    }
    enum status s = sax_begin(x, err);
    if (s == STATUS_OK) {
        s = package_read(p, name, feed, x, found, err);
    }
    return sax_end(x, s, err);
}

enum status sax_read_help(struct sax *x, struct package *p, const char *name, struct error *err)
{
    bool found = false;
    enum status s = sax_read(x, p, name, &found, err);
    return s == STATUS_INVALID && !x->attack ? STATUS_OK : s;
}
