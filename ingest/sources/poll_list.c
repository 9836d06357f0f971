/* Listing: what the source has, page by page and folder by folder, into the state. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/glob.h"
#include "ingest/paths.h"
#include "ingest/sources/poll_internal.h"

#define PAGE_BYTES ((size_t)16 << 20)
#define HTML_BYTES ((size_t)4 << 20)
#define FOLDERS_MAX 20000
#define DEPTH_MAX 32
#define MOVES_MAX 3
#define PAGES_MAX 1000000

struct waiting {
    struct list link;
    unsigned depth;
    size_t len;
    char key[];
};

enum status poll_explain(struct polling *p, const struct fetch_reply *r, bool *whole,
                         struct error *err)
{
    *whole = true;
    if (r->status == 429 || r->status >= 500) {
        p->retry_after_s = r->retry_after_s;
        return error_set(err, STATUS_UNAVAILABLE, "it answers HTTP %ld: tried again later",
                         r->status);
    }
    if (r->status == 401) {
        return error_set(err, STATUS_FORBIDDEN,
                         "it does not know us (HTTP 401): look at credentials_file");
    }
    if (r->status >= 300 && r->status < 400) {
        *whole = false;
        return error_set(err, STATUS_FORBIDDEN, "it sends on to %.150s, which is not followed",
                         r->moved_to);
    }
    *whole = false;
    return error_set(err, r->status == 404 ? STATUS_NOT_FOUND : STATUS_FORBIDDEN,
                     "it answers HTTP %ld", r->status);
}

static bool wanted(const struct source_settings *s, struct str key)
{
    bool in = s->include.n == 0;
    for (size_t i = 0; i < s->include.n && !in; i++) {
        in = glob_match(s->include.items[i], key, GLOB_SETS);
    }
    for (size_t i = 0; i < s->exclude.n && in; i++) {
        in = !glob_match(s->exclude.items[i], key, GLOB_SETS);
    }
    return in;
}

static enum status push_folder(struct polling *p, struct str key, unsigned depth, struct error *err)
{
    struct waiting *w =
        p->n_folders < FOLDERS_MAX && depth <= DEPTH_MAX ? malloc(sizeof *w + key.len + 1) : NULL;
    if (w == NULL) {
        return error_set(err, STATUS_TOO_LARGE,
                         "it has more than %d folders, or deeper ones than %d", FOLDERS_MAX,
                         DEPTH_MAX);
    }
    w->depth = depth;
    w->len = key.len;
    memcpy(w->key, key.ptr, key.len);
    w->key[key.len] = '\0';
    list_push(&p->folders, &w->link);
    p->n_folders++;
    return STATUS_OK;
}

static enum status on_entry(void *data, const struct listed *l, struct error *err)
{
    struct polling *p = data;
    struct listed e = *l;
    char place[PLACE_MAX];
    static const uint8_t no_id[SHA256_BYTES];
    bool s3 = strcmp(p->s->kind, "s3") == 0;
    if (p->j->cancelled) {
        return error_set(err, STATUS_CANCELLED, "broken off");
    }
    if (s3) { /* keys count from the prefix's last slash */
        const char *slash = strrchr(p->s->prefix, '/');
        size_t cut = slash == NULL ? 0 : (size_t)(slash - p->s->prefix) + 1;
        bool below = e.key.len > cut && memcmp(e.key.ptr, p->s->prefix, cut) == 0;
        e.key = below ? (struct str){e.key.ptr + cut, e.key.len - cut} : (struct str){"", 0};
    }
    if (e.key.len == 0 || (e.folder && s3)) {
        return STATUS_OK;
    }
    bool hidden = !source_place(e.key, no_id, false, place);
    if (e.folder) {
        return hidden ? STATUS_OK : push_folder(p, e.key, p->depth + 1, err);
    }
    if (hidden || !wanted(p->s, e.key)) {
        p->j->passed_over++;
        return STATUS_OK;
    }
    if (++p->listed > (uint64_t)p->s->max_files) {
        return error_set(err, STATUS_TOO_LARGE, "it has more than %lld files (max_files)",
                         (long long)p->s->max_files);
    }
    p->j->progress.listed = p->listed;
    return source_state_listed(p->state, p->j->poll.number, &e, err);
}

/* Asks for a page; a redirect within the source is gone along with. page: in and out. */
static enum status ask(struct polling *p, struct buf *page, struct fetch_request *q,
                       struct fetch_reply *r, struct error *err)
{
    bool whole;
    for (int moves = 0;; moves++) {
        q->url = page->ptr;
        q->text = &p->page;
        enum status s = fetch_run(p->fetcher, q, r, err);
        if (s != STATUS_OK || (r->status >= 200 && r->status < 300)) {
            return s;
        }
        bool moved = r->status >= 300 && r->status < 400 && r->moved_to[0] != '\0';
        if (!moved || moves == MOVES_MAX ||
            origin_key(&p->origin, page->ptr, str_from(r->moved_to), &p->key) == HREF_OUTSIDE) {
            return poll_explain(p, r, &whole, err);
        }
        buf_reset(page);
        buf_z(page, r->moved_to);
        buf_char(page, '\0');
        s = buf_status(page);
        if (s != STATUS_OK) {
            return error_set(err, s, "an address is too long");
        }
    }
}

/* What one answer tells, in one transaction. */
static enum status take(struct polling *p,
                        enum status (*parse)(struct polling *p, void *data, struct listing *l,
                                             struct error *err),
                        void *data, struct error *err)
{
    struct listing l = {.on_entry = on_entry, .data = p};
    enum status s = source_state_begin(p->state, err);
    if (s == STATUS_OK) {
        s = parse(p, data, &l, err);
    }
    p->j->passed_over += l.passed_over;
    if (s == STATUS_OK) {
        s = source_state_commit(p->state, err);
    }
    if (s != STATUS_OK) {
        source_state_rollback(p->state);
    }
    return s;
}

/* ---- S3 ---- */

struct s3_page {
    bool truncated;
    struct buf token;
};

static enum status parse_s3(struct polling *p, void *data, struct listing *l, struct error *err)
{
    struct s3_page *page = data;
    return listing_s3(l, buf_view(&p->page), &page->truncated, &page->token, err);
}

static enum status list_s3(struct polling *p, struct error *err)
{
    struct s3_page page = {0};
    struct buf url;
    struct buf query;
    struct fetch_reply r;
    struct origin bucket = p->origin;
    const char *slash =
        strrchr(p->s->prefix, '/'); /* the bucket itself, without the prefix's folder */
    size_t cut = slash == NULL ? 0 : (size_t)(slash - p->s->prefix) + 1;
    bucket.path[strlen(bucket.path) - cut - 1] = '\0';
    buf_init(&page.token, 8192);
    buf_init(&url, 8192);
    buf_init(&query, 32768);
    origin_url(&bucket, STR(""), &url);
    buf_char(&url, '\0');
    enum status s = buf_status(&url);
    for (int n = 0; s == STATUS_OK && (n == 0 || page.truncated); n++) {
        buf_reset(&query);
        if (page.truncated) {
            buf_z(&query, "continuation-token=");
            url_encode(&query, buf_view(&page.token), false);
            buf_char(&query, '&');
        }
        buf_z(&query, "encoding-type=url&list-type=2&max-keys=1000&prefix=");
        url_encode(&query, str_from(p->s->prefix), false);
        buf_char(&query, '\0');
        struct fetch_request q = {.method = "GET", .query = query.ptr, .max_bytes = PAGE_BYTES - 1};
        s = buf_status(&query);
        s = s != STATUS_OK ? error_set(err, s, "an address is too long")
                           : ask(p, &url, &q, &r, err);
        if (s == STATUS_OK) {
            s = take(p, parse_s3, &page, err);
        }
        if (s == STATUS_OK && n == PAGES_MAX) {
            s = error_set(err, STATUS_TOO_LARGE, "its listing has no end");
        }
    }
    buf_deinit(&page.token);
    buf_deinit(&url);
    buf_deinit(&query);
    return s;
}

/* ---- folders ---- */

static enum status parse_dav(struct polling *p, void *data, struct listing *l, struct error *err)
{
    return listing_dav(l, &p->origin, data, buf_view(&p->page), err);
}

static enum status parse_html(struct polling *p, void *data, struct listing *l, struct error *err)
{
    return listing_html(l, &p->origin, data, buf_view(&p->page), err);
}

static enum status parse_lines(struct polling *p, void *data, struct listing *l, struct error *err)
{
    (void)data;
    return listing_lines(l, &p->origin, buf_view(&p->page), err);
}

static enum status list_folder(struct polling *p, const struct waiting *w, struct error *err)
{
    static const char body[] =
        "<?xml version=\"1.0\" encoding=\"utf-8\"?><propfind xmlns=\"DAV:\"><prop><resourcetype/>"
        "<getetag/><getcontentlength/><getlastmodified/></prop></propfind>";
    bool dav = strcmp(p->s->kind, "webdav") == 0;
    size_t url_len = strlen(p->s->url);
    bool itself = !dav && w->len == 0 && p->s->url[url_len - 1] != '/'; /* a page, or a list */
    struct buf url;
    struct fetch_reply r;
    struct fetch_request q = {.method = dav ? "PROPFIND" : "GET",
                              .query = "",
                              .body = dav ? body : NULL,
                              .max_bytes = PAGE_BYTES - 1};
    buf_init(&url, 32768);
    if (itself) {
        buf_z(&url, p->s->url);
    } else {
        origin_url(&p->origin, (struct str){w->key, w->len}, &url);
        buf_z(&url, w->len > 0 ? "/" : "");
    }
    buf_char(&url, '\0');
    p->depth = w->depth;
    enum status s = buf_status(&url);
    s = s != STATUS_OK ? error_set(err, s, "an address is too long") : ask(p, &url, &q, &r, err);
    if (s == STATUS_OK && dav && r.status != 207) {
        s = error_set(err, STATUS_PROTOCOL, "it is no WebDAV folder: HTTP %ld", r.status);
    } else if (s == STATUS_OK && dav) {
        s = take(p, parse_dav, url.ptr, err);
    } else if (s == STATUS_OK && w->len == 0 && strcmp(r.type, "text/plain") == 0) {
        s = take(p, parse_lines, NULL, err);
    } else if (s == STATUS_OK && p->page.len > HTML_BYTES) {
        s = error_set(err, STATUS_TOO_LARGE, "a page of links is larger than %zu MiB",
                      HTML_BYTES >> 20);
    } else if (s == STATUS_OK) {
        s = take(p, parse_html, url.ptr, err);
    }
    buf_deinit(&url);
    return s;
}

static enum status list_folders(struct polling *p, struct error *err)
{
    enum status s = push_folder(p, STR(""), 0, err);
    while (!list_empty(&p->folders)) {
        struct waiting *w = list_entry(p->folders.next, struct waiting, link);
        list_remove(&w->link);
        s = s == STATUS_OK ? list_folder(p, w, err) : s;
        if (s == STATUS_NOT_FOUND && w->depth > 0) {
            s = STATUS_OK; /* it went while we looked */
        }
        free(w);
    }
    return s;
}

enum status poll_list(struct polling *p, struct error *err)
{
    return strcmp(p->s->kind, "s3") == 0 ? list_s3(p, err) : list_folders(p, err);
}
