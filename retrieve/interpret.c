/* From the query as read to what the store is asked. */
#include <stdlib.h>

#include "base/text/text.h"
#include "retrieve/search.h"

bool interpret_demands(const Vs__SearchTextRequest *text)
{
    return text->n_phrases > 0 || text->n_excluded > 0 || text->n_in_title > 0;
}

/* Alternatives typed, and alternatives asked for by the caller: both must hold. */
static enum status both(char ***list, size_t *n, const struct query_list *typed, struct arena *a,
                        bool *impossible, struct error *err)
{
    if (typed->n == 0) {
        return STATUS_OK;
    }
    char **kept = arena_array(a, typed->n, sizeof(*kept));
    size_t n_kept = 0;
    if (kept == NULL) {
        return error_set(err, STATUS_NO_MEMORY, "search: out of memory");
    }
    for (size_t i = 0; i < typed->n; i++) {
        bool wanted = *n == 0;
        for (size_t k = 0; k < *n; k++) {
            wanted = wanted || strcmp((*list)[k], typed->items[i]) == 0;
        }
        if (wanted) {
            kept[n_kept++] = typed->items[i];
        }
    }
    *impossible = *impossible || n_kept == 0;
    *list = kept;
    *n = n_kept;
    return STATUS_OK;
}

/* All of the caller's and all of the typed tags are required. */
static enum status every(char ***list, size_t *n, const struct query_list *typed, struct arena *a,
                         struct error *err)
{
    char **all = arena_array(a, *n + typed->n + 1, sizeof(*all));
    if (all == NULL) {
        return error_set(err, STATUS_NO_MEMORY, "search: out of memory");
    }
    for (size_t i = 0; i < *n; i++) {
        all[i] = (*list)[i];
    }
    for (size_t i = 0; i < typed->n; i++) {
        all[(*n)++] = typed->items[i];
    }
    *list = all;
    return STATUS_OK;
}

static ProtobufCBinaryData bytes_of(const char *z)
{
    return (ProtobufCBinaryData){.data = (uint8_t *)(uintptr_t)z, .len = strlen(z)};
}

static enum status bytes_list(const struct query_list *l, struct arena *a,
                              ProtobufCBinaryData **out, size_t *n, struct error *err)
{
    *out = arena_array(a, l->n + 1, sizeof(**out));
    if (*out == NULL) {
        return error_set(err, STATUS_NO_MEMORY, "search: out of memory");
    }
    for (size_t i = 0; i < l->n; i++) {
        (*out)[i] = bytes_of(l->items[i]);
    }
    *n = l->n;
    return STATUS_OK;
}

/* A path is a folder or a file: "contracts" means "contracts/" and "contracts". A caller's own
 * paths stay when a typed one is below them. */
static enum status add_paths(Vs__Filter *f, const struct query_list *typed, struct arena *a,
                             bool *impossible, struct error *err)
{
    if (typed->n == 0) {
        return STATUS_OK;
    }
    ProtobufCBinaryData *under = arena_array(a, typed->n * 2, sizeof(*under));
    size_t n = 0;
    if (under == NULL) {
        return error_set(err, STATUS_NO_MEMORY, "search: out of memory");
    }
    for (size_t i = 0; i < typed->n; i++) {
        char *folder = arena_printf(a, "%s/", typed->items[i]);
        if (folder == NULL) {
            return error_set(err, STATUS_NO_MEMORY, "search: out of memory");
        }
        struct str path = str_from(typed->items[i]);
        bool wanted = f->n_under == 0;
        for (size_t k = 0; k < f->n_under; k++) {
            struct str given = {(const char *)f->under[k].data, f->under[k].len};
            wanted = wanted || (str_ends(given, STR("/")) ? str_starts(str_from(folder), given)
                                                          : str_eq(path, given));
        }
        if (wanted) {
            under[n++] = bytes_of(typed->items[i]);
            if (!str_ends(path, STR("/"))) {
                under[n++] = bytes_of(folder);
            }
        }
    }
    *impossible = *impossible || n == 0;
    f->under = under;
    f->n_under = n;
    return STATUS_OK;
}

/* A name that the caller asked for stays where it has the words that were typed. */
static enum status add_authors(Vs__Filter *f, const struct query_list *typed, struct arena *a,
                               bool *impossible, struct error *err)
{
    if (typed->n == 0 || f->n_authors == 0) {
        return both(&f->authors, &f->n_authors, typed, a, impossible, err);
    }
    char **kept = arena_array(a, f->n_authors, sizeof(*kept));
    size_t n = 0;
    if (kept == NULL) {
        return error_set(err, STATUS_NO_MEMORY, "search: out of memory");
    }
    for (size_t i = 0; i < f->n_authors; i++) {
        for (size_t k = 0; k < typed->n; k++) {
            if (text_names(str_from(f->authors[i]), str_from(typed->items[k]))) {
                kept[n++] = f->authors[i];
                break;
            }
        }
    }
    *impossible = *impossible || n == 0;
    f->authors = kept;
    f->n_authors = n;
    return STATUS_OK;
}

/* Hexadecimal digits, an even number of them: query_read has looked. */
static enum status add_hashes(Vs__Filter *f, const struct query_list *typed, struct arena *a,
                              bool *impossible, struct error *err)
{
    if (typed->n == 0) {
        return STATUS_OK;
    }
    ProtobufCBinaryData *kept = arena_array(a, typed->n, sizeof(*kept));
    size_t n = 0;
    for (size_t i = 0; kept != NULL && i < typed->n; i++) {
        size_t len = strlen(typed->items[i]) / 2;
        uint8_t *bytes = arena_alloc(a, len);
        for (size_t k = 0; bytes != NULL && k < len; k++) {
            char two[3] = {typed->items[i][2 * k], typed->items[i][2 * k + 1], '\0'};
            bytes[k] = (uint8_t)strtoul(two, NULL, 16);
        }
        bool wanted = f->n_hashes == 0;
        for (size_t k = 0; bytes != NULL && k < f->n_hashes; k++) {
            size_t least = f->hashes[k].len < len ? f->hashes[k].len : len;
            wanted = wanted || memcmp(f->hashes[k].data, bytes, least) == 0;
        }
        if (bytes == NULL) {
            kept = NULL;
        } else if (wanted) {
            kept[n++] = (ProtobufCBinaryData){.data = bytes, .len = len};
        }
    }
    if (kept == NULL) {
        return error_set(err, STATUS_NO_MEMORY, "search: out of memory");
    }
    *impossible = *impossible || n == 0;
    f->hashes = kept;
    f->n_hashes = n;
    return STATUS_OK;
}

static void add_pages(Vs__Filter *f, const struct query *q)
{
    if (q->has_pages_from && (!f->has_pages_from || f->pages_from < q->pages_from)) {
        f->pages_from = q->pages_from;
        f->has_pages_from = 1;
    }
    if (q->has_pages_to && (!f->has_pages_to || f->pages_to > q->pages_to)) {
        f->pages_to = q->pages_to;
        f->has_pages_to = 1;
    }
}

static void add_dates(Vs__Filter *f, const struct query *q)
{
    if (q->has_from && (!f->has_from_ms || f->from_ms < q->from_ms)) {
        f->from_ms = q->from_ms;
        f->has_from_ms = 1;
    }
    if (q->has_until && (!f->has_until_ms || f->until_ms > q->until_ms)) {
        f->until_ms = q->until_ms;
        f->has_until_ms = 1;
    }
}

static enum status narrow(Vs__Filter *f, const struct query *q, struct arena *a, bool *impossible,
                          struct error *err)
{
    enum status s = both(&f->collections, &f->n_collections, &q->collections, a, impossible, err);
    if (s == STATUS_OK) {
        s = both(&f->labels, &f->n_labels, &q->labels, a, impossible, err);
    }
    if (s == STATUS_OK) {
        s = both(&f->languages, &f->n_languages, &q->languages, a, impossible, err);
    }
    if (s == STATUS_OK) {
        s = both(&f->formats, &f->n_formats, &q->formats, a, impossible, err);
    }
    if (s == STATUS_OK) {
        s = both(&f->names, &f->n_names, &q->names, a, impossible, err);
    }
    if (s == STATUS_OK) {
        s = every(&f->tags, &f->n_tags, &q->tags, a, err);
    }
    if (s == STATUS_OK) {
        s = add_paths(f, &q->paths, a, impossible, err);
    }
    if (s == STATUS_OK) {
        s = add_authors(f, &q->authors, a, impossible, err);
    }
    if (s == STATUS_OK) {
        s = add_hashes(f, &q->hashes, a, impossible, err);
    }
    add_pages(f, q);
    add_dates(f, q);
    return s;
}

static enum status show(struct query *q, struct arena *a, Rt__Interpreted **out, struct error *err)
{
    Rt__Interpreted *shown = arena_alloc(a, sizeof(*shown));
    struct query_list *lists = arena_alloc(a, 4 * sizeof(*lists));
    if (shown == NULL || lists == NULL) {
        return error_set(err, STATUS_NO_MEMORY, "search: out of memory");
    }
    lists[0] = q->phrases;
    lists[1] = q->excluded;
    lists[2] = q->in_title;
    lists[3] = q->shown;
    rt__interpreted__init(shown);
    shown->text =
        (ProtobufCBinaryData){.data = (uint8_t *)(uintptr_t)q->text.ptr, .len = q->text.len};
    shown->phrases = lists[0].items;
    shown->n_phrases = lists[0].n;
    shown->excluded = lists[1].items;
    shown->n_excluded = lists[1].n;
    shown->in_title = lists[2].items;
    shown->n_in_title = lists[2].n;
    shown->filters = lists[3].items;
    shown->n_filters = lists[3].n;
    *out = shown;
    return STATUS_OK;
}

enum status interpret(struct text_analyzer *t, const Rt__SearchRequest *q, struct arena *a,
                      Vs__Filter *filter, Vs__SearchTextRequest *text, Rt__Interpreted **shown,
                      bool *impossible, struct error *err)
{
    struct query read;
    vs__search_text_request__init(text);
    text->query = q->query;
    *impossible = false;
    if ((q->has_literal && q->literal) || q->mode == RT__SEARCH_REQUEST__MODE__PLAIN_BM25 ||
        q->mode == RT__SEARCH_REQUEST__MODE__DENSE) {
        return STATUS_OK;
    }
    enum status s =
        query_read(t, (struct str){(const char *)q->query.data, q->query.len}, a, &read, err);
    if (s != STATUS_OK || !read.composed) {
        return s;
    }
    text->query =
        (ProtobufCBinaryData){.data = (uint8_t *)(uintptr_t)read.text.ptr, .len = read.text.len};
    s = bytes_list(&read.phrases, a, &text->phrases, &text->n_phrases, err);
    if (s == STATUS_OK) {
        s = bytes_list(&read.excluded, a, &text->excluded, &text->n_excluded, err);
    }
    if (s == STATUS_OK) {
        s = bytes_list(&read.in_title, a, &text->in_title, &text->n_in_title, err);
    }
    if (s == STATUS_OK) {
        s = narrow(filter, &read, a, impossible, err);
    }
    return s == STATUS_OK ? show(&read, a, shown, err) : s;
}
