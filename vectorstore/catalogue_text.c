#include "vectorstore/catalogue.h"

#include <string.h>

#include "vectorstore/catalogue_query.h"

#define BLOCKS_A_TERM ((int64_t)1 << 20)
#define GRAMS_A_PAGE 1024U

/* ---- full text ---- */

enum status catalogue_term_get(struct catalogue *c, struct str term, struct term *out, bool *found,
                               struct error *err)
{
    struct query q = query(c, Q_TERM_GET, err);
    put_blob(&q, term);
    *found = next(&q);
    if (*found) {
        *out = (struct term){
            .id = col_int(&q, 0), .df = (uint64_t)col_int(&q, 1), .blocks = col_int(&q, 2)};
    }
    return done(&q);
}

enum status catalogue_term_set(struct catalogue *c, struct str term, const struct term *in,
                               struct error *err)
{
    struct query q = query(c, Q_TERM_SET, err);
    put_blob(&q, term);
    put_int(&q, in->id);
    put_int(&q, (int64_t)in->df);
    put_int(&q, in->blocks);
    return run(&q);
}

enum status catalogue_term_delete(struct catalogue *c, struct str term, struct error *err)
{
    struct query q = query(c, Q_TERM_DELETE, err);
    put_blob(&q, term);
    return run(&q);
}

enum status catalogue_term_after(struct catalogue *c, struct str term, struct arena *a,
                                 struct str *name, struct term *out, bool *found, struct error *err)
{
    struct query q = query(c, Q_TERM_AFTER, err);
    put_blob(&q, term);
    *found = next(&q);
    if (*found) {
        *out = (struct term){
            .id = col_int(&q, 0), .df = (uint64_t)col_int(&q, 1), .blocks = col_int(&q, 2)};
        *name = col_copy(&q, 3, a);
    }
    return done(&q);
}

enum status catalogue_block_get(struct catalogue *c, int64_t term, int64_t n, struct buf *out,
                                struct error *err)
{
    struct query q = query(c, Q_BLOCK_GET, err);
    put_int(&q, term * BLOCKS_A_TERM + n);
    buf_reset(out);
    if (next(&q)) {
        buf_str(out, db_column(q.st, 0));
        if (buf_status(out) != STATUS_OK) {
            q.s = error_set(err, STATUS_CORRUPT, "store.db: a block of postings is too large");
        }
    } else if (q.s == STATUS_OK) {
        q.s = error_set(err, STATUS_CORRUPT, "store.db: a block of postings is missing");
    }
    return done(&q);
}

enum status catalogue_block_set(struct catalogue *c, int64_t term, int64_t n, struct str block,
                                struct error *err)
{
    if (n >= BLOCKS_A_TERM) {
        return error_set(err, STATUS_TOO_LARGE, "a word occurs in too many passages");
    }
    struct query q = query(c, Q_BLOCK_SET, err);
    put_int(&q, term * BLOCKS_A_TERM + n);
    put_blob(&q, block);
    return run(&q);
}

enum status catalogue_block_delete(struct catalogue *c, int64_t term, int64_t n, struct error *err)
{
    return run_int(c, Q_BLOCK_DELETE, term * BLOCKS_A_TERM + n, err);
}

enum status catalogue_blocks(struct catalogue *c, int64_t term,
                             bool (*visit)(struct str block, void *data), void *data,
                             struct error *err)
{
    struct query q = query(c, Q_BLOCKS_OF, err);
    put_int(&q, term * BLOCKS_A_TERM);
    put_int(&q, (term + 1) * BLOCKS_A_TERM);
    while (next(&q)) {
        if (!visit(db_column(q.st, 0), data)) {
            break;
        }
    }
    return done(&q);
}

enum status catalogue_index_clear(struct catalogue *c, struct error *err)
{
    enum status s = run_none(c, Q_TERMS_CLEAR, err);
    if (s == STATUS_OK) {
        s = run_none(c, Q_BLOCKS_CLEAR, err);
    }
    if (s == STATUS_OK) {
        s = run_none(c, Q_GRAM_LOG_CLEAR, err);
    }
    if (s == STATUS_OK) {
        s = run_none(c, Q_GRAM_PAGES_CLEAR, err);
    }
    return s == STATUS_OK ? catalogue_purge_set(c, STR(""), err) : s;
}

enum status catalogue_gram_log_add(struct catalogue *c, int64_t seq, int sign, struct str counts,
                                   struct error *err)
{
    struct query q = query(c, Q_GRAM_LOG_ADD, err);
    put_int(&q, seq);
    put_int(&q, sign);
    put_blob(&q, counts);
    return run(&q);
}

static bool varint(struct str *s, uint32_t *out)
{
    uint32_t v = 0;
    for (unsigned shift = 0; shift < 35 && s->len > 0; shift += 7) {
        uint8_t b = (uint8_t)*s->ptr;
        s->ptr++;
        s->len--;
        v |= (uint32_t)(b & 0x7fU) << shift;
        if ((b & 0x80U) == 0) {
            *out = v;
            return true;
        }
    }
    return false;
}

/* Both directions wrap modulo 2^32 and cancel out, whatever the order of the log. */
static bool gram_apply(struct str log, bool add, uint32_t *counts)
{
    uint32_t bucket = 0;
    while (log.len > 0) {
        uint32_t step;
        uint32_t n;
        if (!varint(&log, &step) || !varint(&log, &n) || step >= LEXICAL_GRAM_BUCKETS - bucket) {
            return false;
        }
        bucket += step;
        counts[bucket] = add ? counts[bucket] + n : counts[bucket] - n;
    }
    return true;
}

enum status catalogue_grams_refresh(struct catalogue *c, const struct catalogue_state *state,
                                    uint32_t *counts, int64_t *at, struct error *err)
{
    enum status s = STATUS_OK;
    if (*at < state->gram_base || *at == 0) {
        memset(counts, 0, LEXICAL_GRAM_BUCKETS * sizeof *counts);
        struct query q = query(c, Q_GRAM_PAGES, err);
        while (next(&q)) {
            struct str page = db_column(q.st, 1);
            int64_t n = col_int(&q, 0);
            if (n < 0 || n >= LEXICAL_GRAM_BUCKETS / GRAMS_A_PAGE ||
                page.len != GRAMS_A_PAGE * sizeof *counts) {
                q.s =
                    error_set(err, STATUS_CORRUPT, "store.db: a page of 4-gram counts is damaged");
            } else {
                memcpy(counts + (size_t)n * GRAMS_A_PAGE, page.ptr, page.len);
            }
        }
        s = done(&q);
        *at = state->gram_base;
    }
    if (s == STATUS_OK && *at < state->next_gram) {
        struct query q = query(c, Q_GRAM_LOG_SINCE, err);
        put_int(&q, *at);
        while (next(&q)) {
            if (!gram_apply(db_column(q.st, 2), col_int(&q, 1) > 0, counts)) {
                q.s =
                    error_set(err, STATUS_CORRUPT, "store.db: the log of 4-gram counts is damaged");
            }
        }
        s = done(&q);
        *at = state->next_gram;
    }
    if (s != STATUS_OK) {
        *at = 0;
    }
    return s;
}

enum status catalogue_grams_fold(struct catalogue *c, const uint32_t *counts, struct error *err)
{
    enum status s = STATUS_OK;
    for (size_t i = 0; i < LEXICAL_GRAM_BUCKETS / GRAMS_A_PAGE && s == STATUS_OK; i++) {
        struct query q = query(c, Q_GRAM_PAGE_SET, err);
        put_int(&q, (int64_t)i);
        put_bytes(&q, counts + i * GRAMS_A_PAGE, GRAMS_A_PAGE * sizeof *counts);
        s = run(&q);
    }
    return s == STATUS_OK ? run_none(c, Q_GRAM_LOG_CLEAR, err) : s;
}

enum status catalogue_language_add(struct catalogue *c, const char *language, int64_t chunks,
                                   struct error *err)
{
    struct query q = query(c, Q_LANGUAGE_ADD, err);
    put_z(&q, language);
    put_int(&q, chunks);
    return run(&q);
}

enum status catalogue_languages(struct catalogue *c, struct arena *a, const char *const **out,
                                size_t *n, struct error *err)
{
    const char **list = arena_array(a, 16, sizeof *list);
    size_t k = 0;
    if (list == NULL) {
        return error_set(err, STATUS_NO_MEMORY, "out of memory");
    }
    struct query q = query(c, Q_LANGUAGES, err);
    while (next(&q)) {
        struct str name = col_copy(&q, 0, a);
        if (name.len > 0 && k < 16) {
            list[k++] = name.ptr;
        }
    }
    *out = list;
    *n = k;
    return done(&q);
}

enum status catalogue_purge_get(struct catalogue *c, struct arena *a, struct str *after,
                                struct error *err)
{
    struct query q = query(c, Q_PURGE_GET, err);
    *after = next(&q) ? col_copy(&q, 0, a) : STR("");
    return done(&q);
}

enum status catalogue_purge_set(struct catalogue *c, struct str after, struct error *err)
{
    struct query q = query(c, Q_PURGE_SET, err);
    put_blob(&q, after);
    return run(&q);
}
