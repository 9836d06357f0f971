/* Pages of links as web servers make them of folders, and plain lists of addresses. */
#include <libxml/HTMLparser.h>
#include <string.h>

#include "ingest/sources/listing.h"

#define STEP ((size_t)4096)
/* One tag. The parser compares each attribute of it with all before. */
#define TAG_MAX ((ptrdiff_t)16384)

struct reading {
    struct listing *l;
    const struct origin *origin;
    const char *page;
    struct buf key, folder; /* folder: of the page itself */
    htmlParserCtxtPtr ctxt;
    enum status status;
    bool any; /* some tag: it is a page */
    struct error *err;
};

/* One link. Only what is a level below the page's folder: links up and across are no part of it. */
static void take(struct reading *r, struct str href, bool any_depth)
{
    enum href_kind kind = origin_key(r->origin, r->page, href, &r->key);
    struct str key = buf_view(&r->key);
    size_t above = r->folder.len;
    bool below = kind != HREF_OUTSIDE && key.len > above && str_starts(key, buf_view(&r->folder));
    if (!below || (!any_depth && memchr(key.ptr + above, '/', key.len - above) != NULL)) {
        r->l->passed_over++;
        return;
    }
    struct listed e = {.key = key, .version = "", .size = -1, .folder = kind == HREF_FOLDER};
    enum status s = r->l->on_entry(r->l->data, &e, r->err);
    if (s != STATUS_OK) {
        r->status = s;
        if (r->ctxt != NULL) {
            xmlStopParser(r->ctxt);
        }
    }
}

static void on_start(void *ctx, const xmlChar *name, const xmlChar **attributes)
{
    struct reading *r = ctx;
    r->any = true;
    if (attributes == NULL || xmlStrcasecmp(name, (const xmlChar *)"a") != 0) {
        return;
    }
    for (size_t i = 0; attributes[i] != NULL && r->status == STATUS_OK; i += 2) {
        if (xmlStrcasecmp(attributes[i], (const xmlChar *)"href") == 0 &&
            attributes[i + 1] != NULL) {
            struct str href = str_from((const char *)attributes[i + 1]);
            bool mark = href.len > 0 && (href.ptr[0] == '#' || href.ptr[0] == '?');
            if (!mark) {
                take(r, href, false);
            }
            return;
        }
    }
}

static void on_error(void *ctx, xmlErrorPtr e)
{
    (void)ctx, (void)e; /* pages are rarely right */
}

static enum status parse(struct reading *r, struct str html)
{
    xmlSAXHandler sax = {
        .startElement = on_start, .serror = on_error, .initialized = XML_SAX2_MAGIC};
    r->ctxt = htmlCreatePushParserCtxt(&sax, r, NULL, 0, NULL, XML_CHAR_ENCODING_UTF8);
    if (r->ctxt == NULL) {
        return error_set(r->err, STATUS_NO_MEMORY, "out of memory");
    }
    (void)htmlCtxtUseOptions(r->ctxt, HTML_PARSE_NONET | HTML_PARSE_RECOVER | HTML_PARSE_NOERROR);
    for (size_t at = 0; at < html.len && r->status == STATUS_OK; at += STEP) {
        size_t n = html.len - at < STEP ? html.len - at : STEP;
        (void)htmlParseChunk(r->ctxt, html.ptr + at, (int)n, 0);
        const xmlParserInput *in = r->ctxt->input; /* what it waits for the end of */
        if (in != NULL && in->end - in->cur > TAG_MAX) {
            r->status = error_set(r->err, STATUS_PROTOCOL, "a tag of the listing is too long");
        }
    }
    if (r->status == STATUS_OK) {
        (void)htmlParseChunk(r->ctxt, "", 0, 1);
    }
    if (r->ctxt->myDoc != NULL) {
        xmlFreeDoc(r->ctxt->myDoc);
    }
    htmlFreeParserCtxt(r->ctxt);
    r->ctxt = NULL;
    return r->status;
}

enum status listing_html(struct listing *l, const struct origin *o, const char *page,
                         struct str html, struct error *err)
{
    struct reading r = {.l = l, .origin = o, .page = page, .err = err};
    buf_init(&r.key, (size_t)2 * LISTING_KEY_MAX);
    buf_init(&r.folder, (size_t)2 * LISTING_KEY_MAX);
    enum status s = origin_folder(o, page, &r.folder)
                        ? parse(&r, html)
                        : error_set(err, STATUS_PROTOCOL, "a page outside the source");
    if (s == STATUS_OK && !r.any) {
        s = error_set(err, STATUS_PROTOCOL, "what came is no page of links");
    }
    buf_deinit(&r.key);
    buf_deinit(&r.folder);
    return s;
}

enum status listing_lines(struct listing *l, const struct origin *o, struct str text,
                          struct error *err)
{
    struct buf page;
    struct reading r = {.l = l, .origin = o, .err = err};
    buf_init(&page, 8192);
    buf_init(&r.key, (size_t)2 * LISTING_KEY_MAX);
    buf_init(&r.folder, 1);
    origin_url(o, STR(""), &page);
    buf_char(&page, '\0');
    enum status s = buf_status(&page);
    r.page = buf_view(&page).ptr;
    for (size_t at = 0; at < text.len && s == STATUS_OK && r.status == STATUS_OK;) {
        const char *end = memchr(text.ptr + at, '\n', text.len - at);
        size_t len = end == NULL ? text.len - at : (size_t)(end - text.ptr) - at;
        struct str line = {text.ptr + at, len};
        at += len + 1;
        while (line.len > 0 && (unsigned char)line.ptr[line.len - 1] <= ' ') {
            line.len--;
        }
        if (line.len > 0 && line.ptr[0] != '#') {
            take(&r, line, true);
        }
    }
    buf_deinit(&page);
    buf_deinit(&r.key);
    buf_deinit(&r.folder);
    return s == STATUS_OK ? r.status : s;
}
