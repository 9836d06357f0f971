/* Page pictures: GetDocument with the caller's own token (the store says whether he may see it, and
 * what it is) -> a recent picture, or GetOriginal -> a private copy -> the sandboxed extractor ->
 * PNG in pieces. */
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/file.h"
#include "ingest/documents.h"
#include "ingest/job.h"

#define CACHE_PICTURES 64
#define CACHE_BYTES ((size_t)48 << 20)
#define PIECE_BYTES ((size_t)128 << 10)
#define RENDERS_MAX 64

struct picture {
    struct list link; /* most recent first */
    char *key;
    uint8_t *png;
    size_t len;
    float width, height;
    unsigned uses; /* calls sending it */
    bool cached;
};

struct renders {
    struct list pictures;
    size_t n, bytes;
    size_t running;
};

struct render {
    struct rpc_call *call;
    struct ingest *in;
    struct rpc_request *request;
    struct extraction *extraction;
    char document[ID_CAP];
    char key[256];
    uint32_t page, dpi;
    bool image; /* a picture file, no PDF */
    uint64_t size;
    int fd;
    uint64_t received;
    struct error err;
    struct picture *picture;
    size_t sent;
};

/* ---- the cache ---- */

struct renders *renders_new(void)
{
    struct renders *r = calloc(1, sizeof *r);
    if (r != NULL) {
        list_init(&r->pictures);
    }
    return r;
}

static void picture_free(struct picture *p)
{
    free(p->key);
    free(p->png);
    free(p);
}

static void uncache(struct renders *r, struct picture *p)
{
    list_remove(&p->link);
    r->n--;
    r->bytes -= p->len;
    p->cached = false;
    if (p->uses == 0) {
        picture_free(p);
    }
}

void renders_forget(struct renders *r)
{
    while (!list_empty(&r->pictures)) {
        uncache(r, list_entry(r->pictures.next, struct picture, link));
    }
}

void renders_free(struct renders *r)
{
    if (r != NULL) {
        renders_forget(r);
    }
    free(r);
}

static struct picture *cache_find(struct renders *r, const char *key)
{
    list_for_each(it, &r->pictures)
    {
        struct picture *p = list_entry(it, struct picture, link);
        if (strcmp(p->key, key) == 0) {
            list_remove(&p->link);
            list_push_front(&r->pictures, &p->link);
            return p;
        }
    }
    return NULL;
}

static struct picture *cache_add(struct renders *r, const char *key, struct str png, float width,
                                 float height)
{
    struct picture *p = calloc(1, sizeof *p);
    if (p == NULL) {
        return NULL;
    }
    p->key = strdup(key);
    p->png = malloc(png.len == 0 ? 1 : png.len);
    if (p->key == NULL || p->png == NULL) {
        picture_free(p);
        return NULL;
    }
    memcpy(p->png, png.ptr, png.len);
    p->len = png.len;
    p->width = width;
    p->height = height;
    p->cached = true;
    list_push_front(&r->pictures, &p->link);
    r->n++;
    r->bytes += p->len;
    p->uses++; /* not to be the one that makes room */
    while (r->n > 1 && (r->n > CACHE_PICTURES || r->bytes > CACHE_BYTES)) {
        uncache(r, list_entry(r->pictures.prev, struct picture, link));
    }
    p->uses--;
    return p;
}

/* ---- one call ---- */

static void render_end(struct render *w, const struct error *err)
{
    struct rpc_call *call = w->call;
    struct error e = *err;
    *rpc_call_data(call) = NULL;
    w->in->renders->running--;
    if (w->fd >= 0) {
        (void)close(w->fd);
    }
    if (w->picture != NULL && --w->picture->uses == 0 && !w->picture->cached) {
        picture_free(w->picture);
    }
    free(w);
    if (e.code == STATUS_OK) {
        rpc_call_finish(call, STATUS_OK, NULL);
    } else {
        rpc_call_fail(call, &e);
    }
}

static void send_picture(struct render *w)
{
    const struct picture *p = w->picture;
    struct error err = {.code = STATUS_OK};
    while (w->sent < p->len && err.code == STATUS_OK) {
        size_t n = p->len - w->sent < PIECE_BYTES ? p->len - w->sent : PIECE_BYTES;
        Ig__RenderReply m = IG__RENDER_REPLY__INIT;
        m.has_png = 1;
        m.png.data = p->png + w->sent;
        m.png.len = n;
        if (w->sent == 0) {
            m.has_width_points = m.has_height_points = 1;
            m.width_points = p->width;
            m.height_points = p->height;
        }
        err.code = ig_render_respond(w->call, &m);
        if (err.code == STATUS_BUSY) {
            return; /* pages_ready goes on */
        }
        if (err.code == STATUS_OK) {
            w->sent += n;
        } else {
            (void)error_set(&err, err.code, "%s", status_text(err.code));
        }
    }
    render_end(w, &err);
}

static void on_rendered(const struct error *err, struct str png, float width, float height,
                        void *data)
{
    struct render *w = data;
    w->extraction = NULL;
    if (err != NULL && err->code != STATUS_OK) {
        render_end(w, err);
        return;
    }
    w->picture = cache_add(w->in->renders, w->key, png, width, height);
    if (w->picture == NULL || png.len == 0) {
        (void)error_set(&w->err, STATUS_NO_MEMORY, "no picture of this page could be made");
        render_end(w, &w->err);
        return;
    }
    w->picture->uses++;
    send_picture(w);
}

static void on_original(struct rpc_request *r, const ProtobufCMessage *m, void *data)
{
    (void)r;
    struct render *w = data;
    const Vs__GetOriginalReply *reply = vs_get_original_reply(m);
    if (reply == NULL || !reply->has_data || w->err.code != STATUS_OK) {
        return;
    }
    w->received += reply->data.len;
    if (w->received > w->size) {
        (void)error_set(&w->err, STATUS_PROTOCOL, "the original is larger than the store said");
        return;
    }
    w->err.code = file_write_all(w->fd, reply->data.data, reply->data.len, &w->err);
}

static void on_original_end(struct rpc_request *r, const struct error *err, void *data)
{
    (void)r;
    struct render *w = data;
    int fd = -1;
    w->request = NULL;
    if (err->code != STATUS_OK) {
        render_end(w, err);
        return;
    }
    if (w->err.code == STATUS_OK && w->received != w->size) {
        (void)error_set(&w->err, STATUS_PROTOCOL, "the original is shorter than the store said");
    }
    if (w->err.code == STATUS_OK && snapshot_reopen(w->fd, &fd, &w->err) == STATUS_OK) {
        w->extraction =
            extractor_render(w->in->pool, fd, w->image, w->page, w->dpi, on_rendered, w, &w->err);
    }
    if (w->extraction == NULL) {
        render_end(w, &w->err);
    }
}

static void get_original(struct render *w)
{
    bool in_memory;
    Vs__GetOriginalRequest q = VS__GET_ORIGINAL_REQUEST__INIT;
    q.document = w->document;
    struct rpc_options o;
    rpc_options_from_call(w->call, &o);
    struct rpc_callbacks cb = {.on_reply = on_original, .on_finish = on_original_end};
    if (snapshot_file(w->size, w->in->svc->home, &w->fd, &in_memory, &w->err) == STATUS_OK) {
        w->request = vs_get_original(service_client(w->in->svc, PEER_VECTORSTORE), &o, &q, &cb, w);
        if (w->request == NULL) {
            (void)error_set(&w->err, STATUS_NO_MEMORY, "out of memory");
        }
    }
    if (w->request == NULL) {
        render_end(w, &w->err);
    }
}

static void on_document(struct rpc_request *r, const ProtobufCMessage *m, void *data)
{
    (void)r;
    struct render *w = data;
    const Vs__GetDocumentReply *reply = vs_get_document_reply(m);
    if (reply == NULL || reply->document == NULL || reply->document->hash.len != SHA256_BYTES) {
        (void)error_set(&w->err, STATUS_PROTOCOL, "the store's answer makes no sense");
        return;
    }
    const Vs__DocumentInfo *d = reply->document;
    w->image = strcmp(d->format, "image") == 0;
    if (!w->image && strcmp(d->format, "pdf") != 0) {
        (void)error_set(&w->err, STATUS_UNSUPPORTED,
                        "only pages of PDF files, and pictures, have pictures");
        return;
    }
    if (d->has_pages && d->pages > 0 && w->page > d->pages) {
        (void)error_set(&w->err, STATUS_NOT_FOUND, "it has %u pages, not %u", d->pages, w->page);
        return;
    }
    if (d->size > (uint64_t)w->in->settings->ingest.max_file_bytes) {
        (void)error_set(&w->err, STATUS_TOO_LARGE, "the file is too large");
        return;
    }
    char hex[SHA256_HEX_CAP];
    sha256_hex(d->hash.data, hex);
    w->size = d->size;
    (void)snprintf(w->key, sizeof w->key, "%s/%s/%u/%u", rpc_call_tenant(w->call), hex, w->page,
                   w->dpi);
}

static void on_document_end(struct rpc_request *r, const struct error *err, void *data)
{
    (void)r;
    struct render *w = data;
    w->request = NULL;
    if (err->code != STATUS_OK) {
        render_end(w, err);
        return;
    }
    if (w->err.code != STATUS_OK || w->key[0] == '\0') {
        w->err.code = w->err.code == STATUS_OK ? STATUS_PROTOCOL : w->err.code;
        render_end(w, &w->err);
        return;
    }
    w->picture = cache_find(w->in->renders, w->key);
    if (w->picture != NULL) {
        w->picture->uses++;
        send_picture(w);
        return;
    }
    get_original(w);
}

void pages_render(struct rpc_call *call, const ProtobufCMessage *m)
{
    const Ig__RenderRequest *q = ig_render_request(m);
    struct ingest *in = service_state(call);
    if (q == NULL) {
        rpc_call_finish(call, STATUS_INVALID, NULL);
        return;
    }
    uint32_t dpi = q->has_dpi && q->dpi > 0 ? q->dpi : 110;
    if (q->page == 0 || q->page > 1000000 || dpi < 36 || dpi > 200 || !id_valid(q->document)) {
        rpc_call_finish(call, STATUS_INVALID, "page from 1, dpi from 36 to 200, and a document id");
        return;
    }
    if (in->renders->running >= RENDERS_MAX || in->closing) {
        rpc_call_finish(call, STATUS_BUSY, NULL);
        return;
    }
    struct render *w = calloc(1, sizeof *w);
    if (w == NULL) {
        rpc_call_finish(call, STATUS_NO_MEMORY, NULL);
        return;
    }
    w->call = call;
    w->in = in;
    w->fd = -1;
    w->page = q->page;
    w->dpi = dpi;
    (void)snprintf(w->document, sizeof w->document, "%s", q->document);
    in->renders->running++;
    *rpc_call_data(call) = w;
    Vs__GetDocumentRequest d = VS__GET_DOCUMENT_REQUEST__INIT;
    d.document = w->document;
    struct rpc_options o;
    rpc_options_from_call(call, &o);
    struct rpc_callbacks cb = {.on_reply = on_document, .on_finish = on_document_end};
    w->request = vs_get_document(service_client(in->svc, PEER_VECTORSTORE), &o, &d, &cb, w);
    if (w->request == NULL) {
        (void)error_set(&w->err, STATUS_NO_MEMORY, "out of memory");
        render_end(w, &w->err);
    }
}

void pages_ready(struct rpc_call *call)
{
    struct render *w = *rpc_call_data(call);
    if (w != NULL && w->picture != NULL) {
        send_picture(w);
    }
}

void pages_cancel(struct rpc_call *call)
{
    struct render *w = *rpc_call_data(call);
    if (w == NULL) {
        rpc_call_finish(call, STATUS_CANCELLED, NULL);
        return;
    }
    if (w->request != NULL) {
        rpc_request_cancel(w->request);
    }
    if (w->extraction != NULL) {
        extractor_cancel(w->extraction);
    }
    (void)error_set(&w->err, STATUS_CANCELLED, "cancelled");
    render_end(w, &w->err);
}
