/* Full-text postings, document frequencies and statistics, kept beside the chunks in the same
 * transactions.
 *
 * index_add: analyse each chunk, sort what they add by term, append to the last block of each term
 * once, add the chunk counts to the terms and one row to the log of 4-gram counts (folded into
 * pages now and then, since a chunk touches almost every page). index_remove takes the same counts
 * away by analysing again; the postings stay until index_purge_step walks the terms and rewrites
 * blocks that hold numbers of chunks that are gone. */
#include <stdlib.h>
#include <string.h>

#include "vectorstore/store_internal.h"

#define INDEX_ARENA ((size_t)192 * 1024 * 1024)
#define GRAM_LOG_ROWS 128U /* then the log is folded into pages */
#define PURGE_TERMS 256U   /* in one step */
#define PURGE_SHARE 4      /* merge when the debt is a quarter of what is indexed */
#define PURGE_MIN 512
#define BLOCK_ROOM ((size_t)64 * 1024)

struct index_row { /* one posting of the batch */
    struct str term;
    uint32_t chunk, tf_text, tf_title; /* chunk: place in the batch */
};

struct batch {
    struct arena arena;
    struct index_row *rows;
    size_t n_rows, cap_rows;
    uint32_t *buckets;
    size_t n_buckets, cap_buckets;
    uint32_t *plain_lengths;
    uint64_t length, gram_length, plain_length;
};

struct str index_title(const char *title, struct str heading, struct buf *scratch)
{
    buf_reset(scratch);
    buf_z(scratch, title);
    if (heading.len > 0) {
        buf_char(scratch, '\n');
        buf_str(scratch, heading);
    }
    return buf_view(scratch);
}

static int by_term_and_chunk(const void *a, const void *b)
{
    const struct index_row *x = a;
    const struct index_row *y = b;
    size_t n = x->term.len < y->term.len ? x->term.len : y->term.len;
    int c = n == 0 ? 0 : memcmp(x->term.ptr, y->term.ptr, n);
    if (c == 0) {
        c = (x->term.len > y->term.len) - (x->term.len < y->term.len);
    }
    return c != 0 ? c : (x->chunk > y->chunk) - (x->chunk < y->chunk);
}

static int by_number(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a;
    uint32_t y = *(const uint32_t *)b;
    return (x > y) - (x < y);
}

static enum status grow(void **p, size_t *cap, size_t need, size_t size, struct error *err)
{
    if (need <= *cap) {
        return STATUS_OK;
    }
    size_t to = *cap < 4096 ? 4096 : *cap;
    while (to < need) {
        to += to / 2;
    }
    void *bigger = realloc(*p, to * size);
    if (bigger == NULL) {
        return error_set(err, STATUS_NO_MEMORY, "indexing: out of memory");
    }
    *p = bigger;
    *cap = to;
    return STATUS_OK;
}

static enum status gather(struct batch *b, uint32_t place, const struct lexical_entry *e,
                          struct error *err)
{
    void *rows = b->rows;
    void *buckets = b->buckets;
    enum status s = grow(&rows, &b->cap_rows, b->n_rows + e->n_postings, sizeof *b->rows, err);
    b->rows = rows;
    if (s == STATUS_OK) {
        s = grow(&buckets, &b->cap_buckets, b->n_buckets + e->n_gram_buckets, sizeof *b->buckets,
                 err);
        b->buckets = buckets;
    }
    if (s != STATUS_OK) {
        return s;
    }
    for (size_t i = 0; i < e->n_postings; i++) {
        b->rows[b->n_rows++] = (struct index_row){.term = e->postings[i].term,
                                                  .chunk = place,
                                                  .tf_text = e->postings[i].tf_text,
                                                  .tf_title = e->postings[i].tf_title};
    }
    if (e->n_gram_buckets > 0) {
        memcpy(b->buckets + b->n_buckets, e->gram_buckets, e->n_gram_buckets * sizeof *b->buckets);
        b->n_buckets += e->n_gram_buckets;
    }
    b->length += e->length;
    b->gram_length += e->gram_length;
    b->plain_length += e->plain_length;
    b->plain_lengths[place] = e->plain_length;
    return STATUS_OK;
}

static void batch_free(struct batch *b)
{
    arena_reset(&b->arena);
    free(b->rows);
    free(b->buckets);
    free(b->plain_lengths);
}

/* lengths: set those of chunks, or NULL */
static enum status batch_make(struct store *s, struct batch *b, const struct index_chunk *chunks,
                              size_t n, struct index_chunk *lengths, const char *title,
                              const char *language, struct error *err)
{
    *b = (struct batch){0};
    arena_init(&b->arena, INDEX_ARENA);
    struct buf scratch;
    buf_init(&scratch, (size_t)256 * 1024);
    b->plain_lengths = calloc(n + 1, sizeof *b->plain_lengths);
    enum status st = b->plain_lengths == NULL
                         ? error_set(err, STATUS_NO_MEMORY, "indexing: out of memory")
                         : STATUS_OK;
    for (size_t i = 0; i < n && st == STATUS_OK; i++) {
        struct lexical_entry e = {0};
        st = lexical_analyze(s->writer_text, chunks[i].text,
                             index_title(title, chunks[i].heading, &scratch), language, &b->arena,
                             &e, err);
        if (st == STATUS_OK) {
            st = gather(b, (uint32_t)i, &e, err);
        }
        if (st == STATUS_OK && lengths != NULL) {
            lengths[i].length = e.length;
            lengths[i].gram_length = e.gram_length;
        }
    }
    buf_deinit(&scratch);
    if (st == STATUS_OK && b->n_rows > 0) {
        qsort(b->rows, b->n_rows, sizeof *b->rows, by_term_and_chunk);
    }
    if (st == STATUS_OK && b->n_buckets > 0) {
        qsort(b->buckets, b->n_buckets, sizeof *b->buckets, by_number);
    }
    return st;
}

static void put_varint(struct buf *out, uint32_t v)
{
    for (; v >= 0x80U; v >>= 7) {
        buf_char(out, (char)(v | 0x80U));
    }
    buf_char(out, (char)v);
}

static enum status fold_grams(struct store *s, struct catalogue_state *state, struct error *err)
{
    uint32_t *counts = calloc(LEXICAL_GRAM_BUCKETS, sizeof *counts);
    if (counts == NULL) {
        return error_set(err, STATUS_NO_MEMORY, "indexing: out of memory");
    }
    int64_t at = 0;
    enum status st = catalogue_grams_refresh(s->writer, state, counts, &at, err);
    if (st == STATUS_OK) {
        st = catalogue_grams_fold(s->writer, counts, err);
    }
    if (st == STATUS_OK) {
        state->gram_base = state->next_gram;
    }
    free(counts);
    return st;
}

static enum status count_grams(struct store *s, struct catalogue_state *state,
                               const struct batch *b, int sign, struct error *err)
{
    struct buf log;
    buf_init(&log, (size_t)8 * LEXICAL_GRAM_BUCKETS);
    uint32_t last = 0;
    for (size_t i = 0; i < b->n_buckets;) {
        size_t j = i;
        while (j < b->n_buckets && b->buckets[j] == b->buckets[i]) {
            j++;
        }
        put_varint(&log, b->buckets[i] - last);
        put_varint(&log, (uint32_t)(j - i));
        last = b->buckets[i];
        i = j;
    }
    enum status st = buf_status(&log);
    if (st != STATUS_OK) {
        st = error_set(err, st, "indexing: out of memory");
    } else {
        st = catalogue_gram_log_add(s->writer, state->next_gram, sign, buf_view(&log), err);
    }
    buf_deinit(&log);
    if (st == STATUS_OK) {
        state->next_gram++;
        if (state->next_gram - state->gram_base >= (int64_t)GRAM_LOG_ROWS) {
            st = fold_grams(s, state, err);
        }
    }
    return st;
}

static void count_state(struct catalogue_state *state, const struct batch *b, int64_t n, int sign)
{
    state->indexed += sign * n;
    state->length_total += sign * (int64_t)b->length;
    state->gram_length_total += sign * (int64_t)b->gram_length;
    state->plain_length_total += sign * (int64_t)b->plain_length;
}

/* Appends n postings of one term, the last block first. */
static enum status append(struct store *s, struct term *t, const struct lexical_add *adds, size_t n,
                          struct buf *old, struct buf *grown, struct error *err)
{
    enum status st = STATUS_OK;
    buf_reset(old);
    if (t->blocks > 0) {
        st = catalogue_block_get(s->writer, t->id, t->blocks - 1, old, err);
    }
    while (n > 0 && st == STATUS_OK) {
        size_t taken = 0;
        buf_reset(grown);
        st = lexical_block_append(buf_view(old), adds, n, grown, &taken, err);
        if (st != STATUS_OK) {
            break;
        }
        if (taken > 0) {
            bool fresh = old->len == 0;
            st = catalogue_block_set(s->writer, t->id, fresh ? t->blocks : t->blocks - 1,
                                     buf_view(grown), err);
            t->blocks += fresh ? 1 : 0;
            adds += taken;
            n -= taken;
        } else if (old->len == 0) {
            st = error_set(err, STATUS_INTERNAL, "indexing: an empty block takes no posting");
        }
        buf_reset(old); /* the rest starts a new block */
    }
    return st;
}

static enum status add_terms(struct store *s, struct catalogue_state *state, const struct batch *b,
                             const struct index_chunk *chunks, size_t n, struct error *err)
{
    struct buf old;
    struct buf grown;
    buf_init(&old, BLOCK_ROOM);
    buf_init(&grown, BLOCK_ROOM);
    struct lexical_add *adds = calloc(n + 1, sizeof *adds);
    enum status st =
        adds == NULL ? error_set(err, STATUS_NO_MEMORY, "indexing: out of memory") : STATUS_OK;
    for (size_t i = 0; i < b->n_rows && st == STATUS_OK;) {
        size_t k = 0;
        struct str name = b->rows[i].term;
        for (; i < b->n_rows && k < n && str_eq(b->rows[i].term, name); i++) {
            const struct index_row *r = &b->rows[i];
            adds[k++] = (struct lexical_add){.chunk = chunks[r->chunk].no,
                                             .tf_text = r->tf_text,
                                             .tf_title = r->tf_title,
                                             .length = chunks[r->chunk].length,
                                             .plain_length = b->plain_lengths[r->chunk]};
        }
        struct term t = {0};
        bool found = false;
        st = catalogue_term_get(s->writer, name, &t, &found, err);
        if (st == STATUS_OK && !found) {
            t.id = state->next_term++;
        }
        if (st == STATUS_OK) {
            st = append(s, &t, adds, k, &old, &grown, err);
        }
        if (st == STATUS_OK) {
            t.df += k;
            st = catalogue_term_set(s->writer, name, &t, err);
        }
    }
    free(adds);
    buf_deinit(&old);
    buf_deinit(&grown);
    return st;
}

enum status index_add(struct store *s, struct catalogue_state *state, struct index_chunk *chunks,
                      size_t n, const char *title, const char *language, struct error *err)
{
    struct batch b;
    enum status st = batch_make(s, &b, chunks, n, chunks, title, language, err);
    if (st == STATUS_OK) {
        st = add_terms(s, state, &b, chunks, n, err);
    }
    if (st == STATUS_OK) {
        st = count_grams(s, state, &b, 1, err);
    }
    if (st == STATUS_OK) {
        count_state(state, &b, (int64_t)n, 1);
    }
    batch_free(&b);
    return st;
}

enum status index_remove(struct store *s, struct catalogue_state *state,
                         const struct index_chunk *chunks, size_t n, const char *title,
                         const char *language, struct error *err)
{
    struct batch b;
    enum status st = batch_make(s, &b, chunks, n, NULL, title, language, err);
    for (size_t i = 0; i < b.n_rows && st == STATUS_OK;) {
        uint64_t k = 0;
        struct str name = b.rows[i].term;
        for (; i < b.n_rows && str_eq(b.rows[i].term, name); i++) {
            k++;
        }
        struct term t = {0};
        bool found = false;
        st = catalogue_term_get(s->writer, name, &t, &found, err);
        if (st == STATUS_OK && found) {
            t.df = t.df > k ? t.df - k : 0;
            st = catalogue_term_set(s->writer, name, &t, err);
        }
    }
    if (st == STATUS_OK) {
        st = count_grams(s, state, &b, -1, err);
    }
    if (st == STATUS_OK) {
        count_state(state, &b, (int64_t)n, -1);
        state->purge_debt += (int64_t)n;
    }
    batch_free(&b);
    return st;
}

/* ---- merging ---- */

static bool is_gone(chunk_no n, void *data)
{
    return !visible_has(data, n);
}

/* Rewrites the blocks of one term without what is gone, closing the gaps that emptied blocks leave.
 */
static enum status purge_term(struct store *s, struct str name, struct term *t,
                              struct visible *there, struct buf *old, struct buf *kept,
                              struct error *err)
{
    enum status st = STATUS_OK;
    int64_t to = 0;
    bool changed = false;
    for (int64_t i = 0; i < t->blocks && st == STATUS_OK; i++) {
        size_t removed = 0;
        st = catalogue_block_get(s->writer, t->id, i, old, err);
        buf_reset(kept);
        if (st == STATUS_OK) {
            st = lexical_block_purge(buf_view(old), is_gone, there, kept, &removed, err);
        }
        if (st == STATUS_OK && kept->len > 0) {
            if (removed > 0 || to != i) {
                st = catalogue_block_set(s->writer, t->id, to, buf_view(kept), err);
            }
            to++;
        }
        changed = changed || removed > 0;
    }
    for (int64_t i = to; i < t->blocks && st == STATUS_OK; i++) {
        st = catalogue_block_delete(s->writer, t->id, i, err);
        changed = true;
    }
    if (st == STATUS_OK && to == 0 && t->df == 0) {
        return catalogue_term_delete(s->writer, name, err);
    }
    if (st == STATUS_OK && changed) {
        t->blocks = to;
        st = catalogue_term_set(s->writer, name, t, err);
    }
    return st;
}

static enum status purge_some(struct store *s, struct catalogue_state *state, struct arena *a,
                              bool *more, struct error *err)
{
    struct buf old;
    struct buf kept;
    buf_init(&old, BLOCK_ROOM);
    buf_init(&kept, BLOCK_ROOM);
    struct visible *there = NULL;
    struct str at = STR("");
    enum status st = catalogue_purge_get(s->writer, a, &at, err);
    if (st == STATUS_OK) {
        st = visible_all(s->writer, state, &there, err);
    }
    bool end = false;
    int64_t blocks = 0;
    for (uint32_t i = 0; i < PURGE_TERMS && blocks < 1024 && st == STATUS_OK && !end; i++) {
        struct str name = STR("");
        struct term t = {0};
        bool found = false;
        st = catalogue_term_after(s->writer, at, a, &name, &t, &found, err);
        end = !found;
        if (st == STATUS_OK && found) {
            st = purge_term(s, name, &t, there, &old, &kept, err);
            blocks += t.blocks;
            at = name;
        }
    }
    if (st == STATUS_OK && end) { /* a whole round: what died during it waits for the next */
        at = STR("");
        state->purge_debt = 0;
    }
    if (st == STATUS_OK) {
        st = catalogue_purge_set(s->writer, at, err);
    }
    *more = !end;
    visible_drop(there);
    buf_deinit(&old);
    buf_deinit(&kept);
    return st;
}

enum status index_purge_step(struct store *s, bool *more, struct error *err)
{
    struct arena a;
    arena_init(&a, (size_t)4 * 1024 * 1024);
    struct catalogue_state state;
    struct str at = STR("");
    *more = false;
    enum status st = catalogue_begin_write(s->writer, &state, err);
    if (st == STATUS_OK) {
        st = catalogue_purge_get(s->writer, &a, &at, err);
    }
    bool due = state.purge_debt >= PURGE_MIN && state.purge_debt * PURGE_SHARE >= state.indexed;
    if (st == STATUS_OK && (due || at.len > 0)) {
        st = purge_some(s, &state, &a, more, err);
        if (st == STATUS_OK) {
            st = catalogue_commit(s->writer, &state, err);
        }
    }
    catalogue_end(s->writer);
    arena_reset(&a);
    return st;
}

enum status index_purge_all(struct store *s, bool begin, bool *more, struct error *err)
{
    struct arena a;
    arena_init(&a, (size_t)4 * 1024 * 1024);
    struct catalogue_state state;
    *more = false;
    enum status st = catalogue_begin_write(s->writer, &state, err);
    if (st == STATUS_OK && begin) {
        st = catalogue_purge_set(s->writer, STR(""), err);
    }
    if (st == STATUS_OK) {
        st = purge_some(s, &state, &a, more, err);
    }
    if (st == STATUS_OK) {
        st = catalogue_commit(s->writer, &state, err);
    }
    catalogue_end(s->writer);
    arena_reset(&a);
    return st;
}

/* ---- rebuilding ---- */

struct rebuilding {
    struct arena arena;
    struct index_chunk *chunks;
    int64_t *contents;
    size_t n;
};

static enum status take(const struct stored_chunk *k, void *data, struct error *err)
{
    struct rebuilding *r = data;
    const char *text = arena_strndup(&r->arena, k->text.ptr, k->text.len);
    const char *heading = arena_strndup(&r->arena, k->heading.ptr, k->heading.len);
    if (text == NULL || heading == NULL) {
        return error_set(err, STATUS_NO_MEMORY, "indexing: out of memory");
    }
    r->contents[r->n] = k->content;
    r->chunks[r->n++] = (struct index_chunk){.no = k->no,
                                             .text = {.ptr = text, .len = k->text.len},
                                             .heading = {.ptr = heading, .len = k->heading.len}};
    return STATUS_OK;
}

static enum status rebuild_batch(struct store *s, struct catalogue_state *state, bool *end,
                                 struct error *err)
{
    struct rebuilding r = {0};
    arena_init(&r.arena, (size_t)64 * 1024 * 1024);
    r.chunks = arena_array(&r.arena, STORE_BATCH_CHUNKS, sizeof *r.chunks);
    r.contents = arena_array(&r.arena, STORE_BATCH_CHUNKS, sizeof *r.contents);
    enum status st = r.chunks == NULL || r.contents == NULL
                         ? error_set(err, STATUS_NO_MEMORY, "indexing: out of memory")
                         : catalogue_chunks_from(s->writer, (chunk_no)state->reindex_from,
                                                 STORE_BATCH_CHUNKS, take, &r, err);
    for (size_t i = 0; i < r.n && st == STATUS_OK;) {
        size_t j = i;
        while (j < r.n && r.contents[j] == r.contents[i]) {
            j++;
        }
        struct content k;
        st = catalogue_content_by_pk(s->writer, r.contents[i], &r.arena, &k, err);
        if (st == STATUS_OK) {
            st = index_add(s, state, r.chunks + i, j - i, k.title, k.language, err);
        }
        for (size_t m = i; m < j && st == STATUS_OK; m++) {
            st = catalogue_chunk_set_lengths(s->writer, r.chunks[m].no, r.chunks[m].length,
                                             r.chunks[m].gram_length, err);
        }
        i = j;
    }
    if (st == STATUS_OK && r.n > 0) {
        state->reindex_from = (int64_t)r.chunks[r.n - 1].no + 1;
    }
    *end = r.n == 0;
    arena_reset(&r.arena);
    return st;
}

enum status index_rebuild(struct store *s, struct error *err)
{
    bool end = false;
    enum status st = STATUS_OK;
    while (!end && st == STATUS_OK) {
        struct catalogue_state state;
        st = catalogue_begin_write(s->writer, &state, err);
        if (st != STATUS_OK) {
            break;
        }
        if (state.analyzer == TEXT_ANALYZER_VERSION && state.reindex_from == 0) {
            catalogue_end(s->writer);
            break;
        }
        if (state.analyzer != TEXT_ANALYZER_VERSION) {
            st = catalogue_index_clear(s->writer, err);
            state.analyzer = TEXT_ANALYZER_VERSION;
            state.reindex_from = 1;
            state.gram_base = state.next_gram;
            state.indexed = state.length_total = state.gram_length_total =
                state.plain_length_total = 0;
            state.purge_debt = 0;
        }
        if (st == STATUS_OK) {
            st = rebuild_batch(s, &state, &end, err);
        }
        if (end) {
            state.reindex_from = 0;
            state.generation++;
        }
        if (st == STATUS_OK) {
            st = catalogue_commit(s->writer, &state, err);
        }
        catalogue_end(s->writer);
    }
    return st;
}
