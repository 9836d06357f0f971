/* A caller and a filter made ready for many places: verdicts on words once, documents and folders
 * in order. */
#include "vectorstore/rights_internal.h"

#include <stdlib.h>
#include <string.h>

static bool word_passes(const struct rules *rules, enum rights_kind kind, struct str word)
{
    const Vs__Filter *f = rules->filter;
    switch (kind) {
    case RK_READERS:
        return access_readers(word, rules->caller);
    case RK_COLLECTION:
        return access_collection(f, word) && !access_held(word, rules->caller);
    case RK_LABEL:
        return access_label(f, word);
    case RK_TAGS:
        return access_tags(f, word);
    case RK_LANGUAGE:
        return access_language(f, word);
    case RK_FORMAT:
        return access_format(f, word);
    case RK_AUTHOR:
        return access_author(f, word);
    case RK_KINDS:
        break;
    }
    return false;
}

static int by_hash(const void *x, const void *y)
{
    uint64_t a = *(const uint64_t *)x;
    uint64_t b = *(const uint64_t *)y;
    return a < b ? -1 : a > b ? 1 : 0;
}

static int compare_paths(const void *p, size_t n, const void *q, size_t m)
{
    size_t least = n < m ? n : m;
    int c = least == 0 ? 0 : memcmp(p, q, least);
    return c != 0 ? c : n < m ? -1 : n > m ? 1 : 0;
}

static int by_path(const void *x, const void *y)
{
    const ProtobufCBinaryData *a = x;
    const ProtobufCBinaryData *b = y;
    return compare_paths(a->data, a->len, b->data, b->len);
}

static bool path_below(const void *path, size_t len, ProtobufCBinaryData under)
{
    return (len == under.len || (under.data[under.len - 1] == '/' && len > under.len)) &&
           memcmp(path, under.data, under.len) == 0;
}

/* Sorted, and without those below another, the one that a path may be below is the last that is not
 * greater. */
static void tidy_paths(struct rules *rules)
{
    size_t kept = 0;
    qsort(rules->under, rules->n_under, sizeof *rules->under, by_path);
    for (size_t i = 0; i < rules->n_under; i++) {
        const ProtobufCBinaryData u = rules->under[i];
        if (kept == 0 || !path_below(u.data, u.len, rules->under[kept - 1])) {
            rules->under[kept++] = u;
        }
    }
    rules->n_under = kept;
}

static bool path_passes(const struct rules *rules, const char *path, size_t len)
{
    size_t low = 0;
    size_t high = rules->n_under;
    while (low < high) { /* the first that is greater */
        size_t mid = low + (high - low) / 2;
        const ProtobufCBinaryData u = rules->under[mid];
        if (compare_paths(u.data, u.len, path, len) <= 0) {
            low = mid + 1;
        } else {
            high = mid;
        }
    }
    return low > 0 && path_below(path, len, rules->under[low - 1]);
}

enum status rules_make(const struct rights *r, const struct caller *caller,
                       const Vs__Filter *filter, bool verdicts, struct arena *a, struct rules *out,
                       struct error *err)
{
    struct rules rules = {.caller = caller, .filter = filter};
    size_t n = filter == NULL ? 0 : filter->n_documents;
    size_t m = filter == NULL ? 0 : filter->n_under;
    rules.documents = arena_array(a, n + 1, sizeof *rules.documents);
    rules.under = arena_array(a, m + 1, sizeof *rules.under);
    if (rules.documents == NULL || rules.under == NULL) {
        return error_set(err, STATUS_NO_MEMORY, "out of memory");
    }
    for (size_t i = 0; i < n; i++) {
        rules.documents[rules.n_documents++] =
            hash64(filter->documents[i], strlen(filter->documents[i]));
    }
    qsort(rules.documents, rules.n_documents, sizeof *rules.documents, by_hash);
    for (size_t i = 0; i < m; i++) {
        rules.under[rules.n_under++] = filter->under[i];
    }
    tidy_paths(&rules);
    for (size_t k = 0; k < RK_KINDS && verdicts; k++) {
        const struct words *w = &r->words[k];
        uint8_t *v = arena_array(a, (size_t)w->n + 1, 1);
        if (v == NULL) {
            return error_set(err, STATUS_NO_MEMORY, "out of memory");
        }
        for (uint32_t i = 0; i < w->n; i++) {
            v[i] = word_passes(&rules, (enum rights_kind)k, w->list[i]);
        }
        rules.verdicts[k] = v;
    }
    *out = rules;
    return STATUS_OK;
}

/* The hashes say quickly that it is none of them; the ids, that it is one. */
static bool document_passes(const struct rules *rules, const struct row *row)
{
    if (bsearch(&row->document_hash, rules->documents, rules->n_documents, sizeof *rules->documents,
                by_hash) == NULL) {
        return false;
    }
    for (size_t i = 0; i < rules->filter->n_documents; i++) {
        const char *id = rules->filter->documents[i];
        if (strlen(id) == row->document_len && memcmp(id, row->names, row->document_len) == 0) {
            return true;
        }
    }
    return false;
}

bool rules_pass(const struct rights *r, const struct rules *rules, const struct row *row)
{
    if (!row->used || row->excluded ||
        !access_time(rules->filter, row->current, row->from_ms, row->to_ms) ||
        !access_date(rules->filter, row->date_ms) || !access_pages(rules->filter, row->pages) ||
        !access_hash(rules->filter, row->hash)) {
        return false;
    }
    for (size_t k = 0; k < RK_KINDS; k++) {
        uint32_t word = row->word[k];
        if (rules->verdicts[k] != NULL
                ? rules->verdicts[k][word] == 0
                : !word_passes(rules, (enum rights_kind)k, r->words[k].list[word])) {
            return false;
        }
    }
    return (rules->n_documents == 0 || document_passes(rules, row)) &&
           (rules->n_under == 0 ||
            path_passes(rules, row->names + row->document_len, row->path_len)) &&
           access_name(rules->filter, (struct str){row->names + row->document_len, row->path_len});
}
