#include "vectorstore/access.h"

#include <string.h>

#include "base/text/text.h"

static bool among(struct str v, char *const *names, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (str_eq(v, str_from(names[i]))) {
            return true;
        }
    }
    return n == 0;
}

/* The next name of a list of NUL-ended ones; false at its end. */
static bool next_name(struct str *list, struct str *out)
{
    if (list->len == 0) {
        return false;
    }
    const char *end = memchr(list->ptr, '\0', list->len);
    size_t n = end == NULL ? list->len : (size_t)(end - list->ptr);
    *out = (struct str){.ptr = list->ptr, .len = n};
    n += n < list->len ? 1 : 0;
    list->ptr += n;
    list->len -= n;
    return true;
}

bool access_readers(struct str readers, const struct caller *caller)
{
    struct str name;
    if (caller == NULL || readers.len == 0) {
        return true;
    }
    while (next_name(&readers, &name)) {
        for (size_t i = 0; i < caller->n_groups; i++) {
            if (str_eq(name, str_from(caller->groups[i]))) {
                return true;
            }
        }
    }
    return false;
}

bool access_held(struct str collection, const struct caller *caller)
{
    if (caller == NULL || caller->n_collections == 0) {
        return false;
    }
    for (size_t i = 0; i < caller->n_collections; i++) {
        if (str_eq(collection, str_from(caller->collections[i]))) {
            return false;
        }
    }
    return true;
}

/* ---- the form of a filter ---- */

static enum status check_some(char *const *names, size_t n, unsigned max, const char *kind,
                              size_t *bytes, struct error *err)
{
    if (n > max) {
        return error_set(err, STATUS_TOO_LARGE, "the filter has %zu %s; at most %u are taken", n,
                         kind, max);
    }
    for (size_t i = 0; i < n; i++) {
        *bytes += strlen(names[i]) + 1;
    }
    return STATUS_OK;
}

static enum status check_names(char *const *names, size_t n, const char *kind, size_t *bytes,
                               struct error *err)
{
    return check_some(names, n, ACCESS_VALUES, kind, bytes, err);
}

enum status access_check(const Vs__Filter *f, struct error *err)
{
    size_t bytes = 0;
    if (f == NULL) {
        return STATUS_OK;
    }
    enum status st = check_names(f->collections, f->n_collections, "collections", &bytes, err);
    if (st == STATUS_OK) {
        st = check_names(f->labels, f->n_labels, "labels", &bytes, err);
    }
    if (st == STATUS_OK) {
        st = check_names(f->tags, f->n_tags, "tags", &bytes, err);
    }
    if (st == STATUS_OK) {
        st = check_names(f->languages, f->n_languages, "languages", &bytes, err);
    }
    if (st == STATUS_OK) {
        st = check_names(f->formats, f->n_formats, "formats", &bytes, err);
    }
    if (st == STATUS_OK) {
        st = check_some(f->documents, f->n_documents, ACCESS_DOCUMENTS, "documents", &bytes, err);
    }
    if (st == STATUS_OK) {
        st = check_names(f->names, f->n_names, "names", &bytes, err);
    }
    if (st == STATUS_OK) {
        st = check_names(f->authors, f->n_authors, "authors", &bytes, err);
    }
    if (st == STATUS_OK && f->n_hashes > ACCESS_VALUES) {
        st = error_set(err, STATUS_TOO_LARGE, "the filter has %zu hashes; at most %u are taken",
                       f->n_hashes, ACCESS_VALUES);
    }
    for (size_t i = 0; i < f->n_hashes && st == STATUS_OK; i++) {
        bytes += f->hashes[i].len + 8;
        if (f->hashes[i].len < 4 || f->hashes[i].len > 32) {
            st = error_set(err, STATUS_INVALID, "a hash in the filter has 4 to 32 bytes");
        }
    }
    if (st == STATUS_OK && f->n_under > ACCESS_VALUES) {
        st = error_set(err, STATUS_TOO_LARGE, "the filter has %zu paths; at most %u are taken",
                       f->n_under, ACCESS_VALUES);
    }
    for (size_t i = 0; i < f->n_under && st == STATUS_OK; i++) {
        bytes += f->under[i].len + 8;
        if (f->under[i].len == 0) {
            st = error_set(err, STATUS_INVALID, "the filter has an empty path");
        }
    }
    if (st == STATUS_OK && bytes > ACCESS_FILTER_BYTES) {
        st = error_set(err, STATUS_TOO_LARGE, "the filter is larger than 64 KiB");
    }
    if (st == STATUS_OK && f->has_as_of_ms && f->as_of_ms <= 0) {
        st = error_set(err, STATUS_INVALID, "as_of must be a time after 1970");
    }
    return st;
}

/* ---- its kinds ---- */

bool access_collection(const Vs__Filter *f, struct str collection)
{
    return f == NULL || among(collection, f->collections, f->n_collections);
}

bool access_label(const Vs__Filter *f, struct str label)
{
    return f == NULL || among(label, f->labels, f->n_labels);
}

bool access_tags(const Vs__Filter *f, struct str tags)
{
    for (size_t i = 0; f != NULL && i < f->n_tags; i++) {
        struct str left = tags;
        struct str name;
        bool has = false;
        while (!has && next_name(&left, &name)) {
            has = str_eq(name, str_from(f->tags[i]));
        }
        if (!has) {
            return false;
        }
    }
    return true;
}

bool access_language(const Vs__Filter *f, struct str language)
{
    return f == NULL || among(language, f->languages, f->n_languages);
}

bool access_format(const Vs__Filter *f, struct str format)
{
    return f == NULL || among(format, f->formats, f->n_formats);
}

bool access_date(const Vs__Filter *f, int64_t date_ms)
{
    return f == NULL || ((!f->has_from_ms || date_ms >= f->from_ms) &&
                         (!f->has_until_ms || date_ms < f->until_ms));
}

bool access_document(const Vs__Filter *f, const char *document)
{
    return f == NULL || among(str_from(document), f->documents, f->n_documents);
}

bool access_path(const Vs__Filter *f, struct str path)
{
    size_t n = f == NULL ? 0 : f->n_under;
    for (size_t i = 0; i < n; i++) {
        const ProtobufCBinaryData *u = &f->under[i];
        bool folder = u->data[u->len - 1] == '/';
        if ((path.len == u->len || (folder && path.len > u->len)) &&
            memcmp(path.ptr, u->data, u->len) == 0) {
            return true;
        }
    }
    return n == 0;
}

static char lower(char c)
{
    return c >= 'A' && c <= 'Z' ? (char)(c + 32) : c;
}

static bool holds(struct str in, struct str part)
{
    for (size_t i = 0; i + part.len <= in.len; i++) {
        size_t k = 0;
        while (k < part.len && lower(in.ptr[i + k]) == lower(part.ptr[k])) {
            k++;
        }
        if (k == part.len) {
            return true;
        }
    }
    return false;
}

bool access_name(const Vs__Filter *f, struct str path)
{
    size_t n = f == NULL ? 0 : f->n_names;
    size_t at = path.len;
    while (at > 0 && path.ptr[at - 1] != '/') {
        at--;
    }
    for (size_t i = 0; i < n; i++) {
        if (holds((struct str){path.ptr + at, path.len - at}, str_from(f->names[i]))) {
            return true;
        }
    }
    return n == 0;
}

bool access_author(const Vs__Filter *f, struct str author)
{
    size_t n = f == NULL ? 0 : f->n_authors;
    for (size_t i = 0; i < n; i++) {
        if (text_names(author, str_from(f->authors[i]))) {
            return true;
        }
    }
    return n == 0;
}

bool access_pages(const Vs__Filter *f, uint32_t pages)
{
    if (f == NULL || (!f->has_pages_from && !f->has_pages_to)) {
        return true;
    }
    return pages > 0 && (!f->has_pages_from || pages >= f->pages_from) &&
           (!f->has_pages_to || pages <= f->pages_to);
}

bool access_hash(const Vs__Filter *f, uint64_t hash)
{
    size_t n = f == NULL ? 0 : f->n_hashes;
    for (size_t i = 0; i < n; i++) {
        size_t len = f->hashes[i].len < 8 ? f->hashes[i].len : 8;
        uint64_t given = hash_head(f->hashes[i].data, len);
        if (len > 0 && given >> (64 - 8 * len) == hash >> (64 - 8 * len)) {
            return true;
        }
    }
    return n == 0;
}

int64_t access_date_of(const struct location *l, const struct content *k)
{
    return l->dated                       ? l->date_ms
           : k != NULL && k->has_modified ? k->modified_ms
           : k != NULL && k->has_created  ? k->created_ms
                                          : l->modified_ms;
}

bool access_time(const Vs__Filter *f, bool current, int64_t from_ms, int64_t to_ms)
{
    if (f == NULL || !f->has_as_of_ms) {
        return current;
    }
    return from_ms <= f->as_of_ms && f->as_of_ms < to_ms;
}

bool access_place(const struct doc_place *p, const struct caller *caller, const Vs__Filter *f)
{
    return !p->excluded && access_time(f, p->current, p->from_ms, p->to_ms) &&
           access_readers(p->readers, caller) && !access_held(str_from(p->collection), caller) &&
           access_collection(f, str_from(p->collection)) && access_label(f, str_from(p->label)) &&
           access_tags(f, p->tags) && access_language(f, str_from(p->language)) &&
           access_format(f, str_from(p->format)) && access_author(f, str_from(p->author)) &&
           access_pages(f, p->pages) && access_hash(f, p->hash) && access_date(f, p->date_ms) &&
           access_document(f, p->document) && access_path(f, p->path) && access_name(f, p->path);
}

bool access_location(const struct location *l, const struct content *k, const struct caller *caller,
                     const Vs__Filter *f)
{
    struct str language = k == NULL ? STR("") : str_from(k->language);
    struct str format = k == NULL ? STR("") : str_from(k->format);
    return !l->excluded && access_readers(l->readers, caller) &&
           !access_held(str_from(l->collection), caller) &&
           access_collection(f, str_from(l->collection)) && access_label(f, str_from(l->label)) &&
           access_tags(f, l->tags) && access_language(f, language) && access_format(f, format) &&
           access_author(f, k == NULL ? STR("") : str_from(k->author)) &&
           access_pages(f, k == NULL ? 0 : k->pages) &&
           access_hash(f, k == NULL ? 0 : hash_head(k->hash, sizeof k->hash)) &&
           access_date(f, access_date_of(l, k)) && access_document(f, l->document) &&
           access_path(f, l->path) && access_name(f, l->path);
}
