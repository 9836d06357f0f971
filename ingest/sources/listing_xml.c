/* ListObjectsV2 and PROPFIND, by libxml2's push parser: SAX only, nothing loaded, and a document
 * type ends it, so that there is no entity to expand. */
#include <libxml/parser.h>
#include <libxml/parserInternals.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ingest/formats/xml_push.h"
#include "ingest/sources/listing.h"

#define DEPTH_MAX 64
#define TEXT_MAX ((size_t)3 * LISTING_KEY_MAX)

enum tag {
    TAG_OTHER,
    TAG_ROOT,  /* ListBucketResult, multistatus */
    TAG_ENTRY, /* Contents, response */
    TAG_KEY,   /* Key, href */
    TAG_ETAG,
    TAG_SIZE,
    TAG_MODIFIED,
    TAG_TRUNCATED,
    TAG_TOKEN,
    TAG_FOLDER, /* collection */
    TAG_STATUS,
    TAG_PROPSTAT,
};

static const struct {
    const char *name;
    enum tag tag;
    bool s3, dav;
} names[] = {
    {"ListBucketResult", TAG_ROOT, true, false},
    {"multistatus", TAG_ROOT, false, true},
    {"Contents", TAG_ENTRY, true, false},
    {"response", TAG_ENTRY, false, true},
    {"Key", TAG_KEY, true, false},
    {"href", TAG_KEY, false, true},
    {"ETag", TAG_ETAG, true, false},
    {"getetag", TAG_ETAG, false, true},
    {"Size", TAG_SIZE, true, false},
    {"getcontentlength", TAG_SIZE, false, true},
    {"LastModified", TAG_MODIFIED, true, false},
    {"getlastmodified", TAG_MODIFIED, false, true},
    {"IsTruncated", TAG_TRUNCATED, true, false},
    {"NextContinuationToken", TAG_TOKEN, true, false},
    {"collection", TAG_FOLDER, false, true},
    {"propstat", TAG_PROPSTAT, false, true},
    {"status", TAG_STATUS, false, true},
};

struct reading {
    struct listing *l;
    const struct origin *origin; /* NULL: S3 */
    const char *page;
    xmlParserCtxtPtr ctxt;
    unsigned depth, entry_depth; /* 0: in none */
    bool root, ended;
    enum tag tag;
    struct buf text;
    bool text_lost; /* longer than any honest one */
    struct buf key, resolved,
        folder_key; /* folder_key: of the page, with its slash; "" the source's */
    bool key_lost, folder, missing;
    bool encoded; /* S3: keys come percent-encoded, with + for a blank */
    char etag[LISTING_VERSION_CAP - 40], modified[64];
    int64_t size;
    bool truncated;
    struct buf *token;
    enum status status;
    struct error *err;
};

static void stop(struct reading *r, enum status s)
{
    r->status = s;
    xmlStopParser(r->ctxt);
}

static enum tag tag_of(const struct reading *r, const xmlChar *name)
{
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        bool mine = r->origin == NULL ? names[i].s3 : names[i].dav;
        if (mine && strcmp((const char *)name, names[i].name) == 0) {
            return names[i].tag;
        }
    }
    return TAG_OTHER;
}

static void begin_entry(struct reading *r)
{
    r->entry_depth = r->depth;
    buf_reset(&r->key);
    r->key_lost = r->folder = r->missing = false;
    r->etag[0] = r->modified[0] = '\0';
    r->size = -1;
}

static void on_start(void *ctx, const xmlChar *name, const xmlChar *prefix, const xmlChar *uri,
                     int n_ns, const xmlChar **ns, int n, int defaulted, const xmlChar **attributes)
{
    struct reading *r = ctx;
    (void)prefix, (void)uri, (void)ns, (void)defaulted, (void)attributes;
    r->tag = tag_of(r, name);
    if (++r->depth > DEPTH_MAX || xml_push_too_many(n, n_ns)) {
        stop(r, error_set(r->err, STATUS_PROTOCOL, "the listing is nested too deeply"));
    } else if (r->depth == 1 && r->tag != TAG_ROOT) {
        stop(r, error_set(r->err, STATUS_PROTOCOL, "what came is no listing, but <%.40s>",
                          (const char *)name));
    } else if (r->tag == TAG_ROOT) {
        r->root = true;
    } else if (r->tag == TAG_ENTRY && r->entry_depth == 0) {
        begin_entry(r);
    } else if (r->tag == TAG_FOLDER && r->entry_depth > 0) {
        r->folder = true;
    }
    buf_reset(&r->text);
    r->text_lost = false;
}

static void on_text(void *ctx, const xmlChar *p, int n)
{
    struct reading *r = ctx;
    if (r->tag == TAG_OTHER || n <= 0) {
        return;
    }
    if (r->text.len + (size_t)n > TEXT_MAX) {
        r->text_lost = true;
    } else {
        buf_append(&r->text, p, (size_t)n);
    }
}

static int64_t number(struct str s)
{
    int64_t v = s.len == 0 || s.len > 18 ? -1 : 0;
    for (size_t i = 0; i < s.len && v >= 0; i++) {
        v = s.ptr[i] >= '0' && s.ptr[i] <= '9' ? v * 10 + (s.ptr[i] - '0') : -1;
    }
    return v;
}

static void copy(char *out, size_t cap, struct str s)
{
    if (s.len < cap) { /* one that does not fit is not told */
        memcpy(out, s.ptr, s.len);
        out[s.len] = '\0';
    }
}

static int hex(char c)
{
    return c >= '0' && c <= '9'   ? c - '0'
           : c >= 'a' && c <= 'f' ? c - 'a' + 10
           : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                  : -1;
}

static void decode(struct str s, struct buf *out)
{
    buf_reset(out);
    for (size_t i = 0; i < s.len; i++) {
        bool escape =
            s.ptr[i] == '%' && s.len - i > 2 && hex(s.ptr[i + 1]) >= 0 && hex(s.ptr[i + 2]) >= 0;
        char c = escape            ? (char)(hex(s.ptr[i + 1]) * 16 + hex(s.ptr[i + 2]))
                 : s.ptr[i] == '+' ? ' '
                                   : s.ptr[i];
        buf_char(out, c);
        i += escape ? 2 : 0;
    }
}

static void end_entry(struct reading *r)
{
    char version[LISTING_VERSION_CAP] = "";
    struct str key = buf_view(&r->key);
    r->entry_depth = 0;
    if (r->etag[0] != '\0') {
        (void)snprintf(version, sizeof version, "e%s", r->etag);
    } else if (r->modified[0] != '\0') {
        (void)snprintf(version, sizeof version, "m%s %lld", r->modified, (long long)r->size);
    }
    struct listed e = {.key = key, .version = version, .size = r->size, .folder = r->folder};
    bool lost = r->key_lost || r->missing || key.len == 0;
    if (!lost && r->origin != NULL) {
        enum href_kind kind = origin_key(r->origin, r->page, key, &r->resolved);
        e.key = buf_view(&r->resolved);
        e.folder = e.folder || kind == HREF_FOLDER;
        lost = kind == HREF_OUTSIDE;
        /* the folder tells of itself too, and must tell of nothing above and beside it */
        struct str own = buf_view(&r->folder_key);
        if (!lost && e.key.len + 1 >= own.len &&
            (own.len == 0
                 ? e.key.len == 0
                 : e.key.len + 1 == own.len && memcmp(e.key.ptr, own.ptr, e.key.len) == 0)) {
            return;
        }
        lost = lost || e.key.len <= own.len || !str_starts(e.key, own);
    } else if (!lost) {
        if (r->encoded) {
            decode(key, &r->resolved);
            e.key = buf_view(&r->resolved);
        }
        e.folder = e.key.ptr[e.key.len - 1] == '/'; /* what consoles make of one */
        lost = e.key.len > LISTING_KEY_MAX;
    }
    if (lost) {
        r->l->passed_over++;
        return;
    }
    enum status s = r->l->on_entry(r->l->data, &e, r->err);
    if (s != STATUS_OK) {
        stop(r, s);
    }
}

static void take_text(struct reading *r, enum tag tag)
{
    struct str text = listing_trim(buf_view(&r->text));
    bool lost = r->text_lost || buf_status(&r->text) != STATUS_OK;
    if (tag == TAG_TRUNCATED) {
        r->truncated = str_eq(text, STR("true"));
    } else if (tag == TAG_TOKEN && !lost) {
        buf_reset(r->token);
        buf_str(r->token, text);
    } else if (r->entry_depth == 0) {
        return;
    } else if (tag == TAG_KEY) { /* white space belongs to the name of an object */
        r->key_lost = lost;
        buf_reset(&r->key);
        buf_str(&r->key, r->origin == NULL ? buf_view(&r->text) : text);
    } else if (lost) {
        return;
    } else if (tag == TAG_ETAG) {
        copy(r->etag, sizeof r->etag, text);
    } else if (tag == TAG_MODIFIED) {
        copy(r->modified, sizeof r->modified, text);
    } else if (tag == TAG_SIZE) {
        r->size = number(text);
    } else if (tag == TAG_STATUS && r->depth == r->entry_depth + 1) { /* of the entry itself */
        r->missing = text.len > 12 && memcmp(text.ptr + 8, " 2", 2) != 0;
    }
}

static void on_end(void *ctx, const xmlChar *name, const xmlChar *prefix, const xmlChar *uri)
{
    struct reading *r = ctx;
    enum tag tag = tag_of(r, name);
    (void)prefix, (void)uri;
    take_text(r, tag);
    if (tag == TAG_ENTRY && r->depth == r->entry_depth) {
        end_entry(r);
    }
    r->depth -= r->depth > 0;
    r->ended = r->ended || r->depth == 0;
    r->tag = TAG_OTHER;
    buf_reset(&r->text);
}

static void on_document_type(void *ctx, const xmlChar *name, const xmlChar *id, const xmlChar *uri)
{
    struct reading *r = ctx;
    (void)name, (void)id, (void)uri;
    stop(r, error_set(r->err, STATUS_PROTOCOL, "the listing declares a document type"));
}

static enum status parse(struct reading *r, struct str xml)
{
    xmlSAXHandler sax = {.initialized = XML_SAX2_MAGIC,
                         .internalSubset = on_document_type,
                         .startElementNs = on_start,
                         .endElementNs = on_end,
                         .characters = on_text,
                         .cdataBlock = on_text,
                         .getEntity = xml_push_entity,
                         .serror = xml_push_error};
    r->ctxt = xmlCreatePushParserCtxt(&sax, r, NULL, 0, NULL);
    if (r->ctxt == NULL) {
        return error_set(r->err, STATUS_NO_MEMORY, "out of memory");
    }
    struct xml_push push = {.ctxt = r->ctxt};
    (void)xmlCtxtUseOptions(r->ctxt, XML_PARSE_NONET | XML_PARSE_NOENT);
    buf_init(&r->text, TEXT_MAX + 1);
    buf_init(&r->key, TEXT_MAX + 1);
    buf_init(&r->resolved, 2 * TEXT_MAX);
    bool fits = xml_push(&push, xml);
    if (fits && r->status == STATUS_OK) {
        (void)xmlParseChunk(r->ctxt, "", 0, 1);
    }
    if (r->status == STATUS_OK && (!fits || !r->ctxt->wellFormed || !r->ended || !r->root)) {
        r->status = error_set(r->err, STATUS_PROTOCOL, "the listing is cut off, or not XML");
    }
    buf_deinit(&r->text);
    buf_deinit(&r->key);
    buf_deinit(&r->resolved);
    if (r->ctxt->myDoc != NULL) {
        xmlFreeDoc(r->ctxt->myDoc);
    }
    xmlFreeParserCtxt(r->ctxt);
    return r->status;
}

enum status listing_s3(struct listing *l, struct str xml, bool *truncated, struct buf *token,
                       struct error *err)
{
    static const char encoding[] = "<EncodingType>url<"; /* where it stands differs */
    struct reading r = {.l = l, .token = token, .err = err};
    r.encoded = xml.len > 0 && memmem(xml.ptr, xml.len, encoding, sizeof encoding - 1) != NULL;
    buf_reset(token);
    enum status s = parse(&r, xml);
    if (s == STATUS_OK && r.truncated && (token->len == 0 || buf_status(token) != STATUS_OK)) {
        s = error_set(err, STATUS_PROTOCOL, "the listing goes on, but does not say where");
    }
    *truncated = s == STATUS_OK && r.truncated;
    return s;
}

enum status listing_dav(struct listing *l, const struct origin *o, const char *page, struct str xml,
                        struct error *err)
{
    struct buf unused;
    struct reading r = {.l = l, .origin = o, .page = page, .token = &unused, .err = err};
    buf_init(&unused, 1);
    buf_init(&r.folder_key, 2 * TEXT_MAX);
    enum status s = origin_folder(o, page, &r.folder_key)
                        ? parse(&r, xml)
                        : error_set(err, STATUS_PROTOCOL, "a page outside the source");
    buf_deinit(&r.folder_key);
    buf_deinit(&unused);
    return s;
}
