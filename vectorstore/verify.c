/* Does everything agree? The truth (contents, locations, chunks, blobs) is checked against itself,
 * and all that is derived is made again and compared: document frequencies and statistics by
 * analysing every passage, postings by walking every block, vectors by counting. Runs on the
 * writer's thread, so that nothing changes meanwhile. */
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/map.h"
#include "vectorstore/store_internal.h"

#define SAID 20U

struct verifying {
    struct store *s;
    const struct asker *who;
    struct arena *reply;
    Vs__VerifyReply *out;
    struct catalogue_state state;
    struct visible *there;
    uint64_t *rows; /* a bit for each passage that has a row: a dead content shrinks while its runs
                       stay */
    struct map df;
    uint32_t *grams;
    int64_t indexed; /* passages that have a word */
    struct text_set *index;
    struct arena scratch;
    struct content content; /* of the chunks being looked at */
    uint32_t next_ordinal;
    int text; /* its text file; -1: none */
};

static void PRINTF_LIKE(2, 3) problem(struct verifying *v, const char *fmt, ...)
{
    v->out->problems++;
    if (v->out->n_problem >= SAID) {
        return;
    }
    char text[300];
    va_list ap;
    va_start(ap, fmt);
    (void)vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    char *copy = arena_strdup(v->reply, text);
    if (copy != NULL) {
        v->out->problem[v->out->n_problem++] = copy;
    }
}

static bool stopped(const struct verifying *v)
{
    return v->who->cancelled != NULL && atomic_load(v->who->cancelled);
}

/* ---- chunks, and the index made again ---- */

static enum status count_term(struct verifying *v, struct str term, struct error *err)
{
    uintptr_t n = (uintptr_t)map_get(&v->df, term) + 1;
    if (map_put(&v->df, term, (void *)n, NULL) != STATUS_OK) {
        return error_set(err, STATUS_NO_MEMORY, "verify: out of memory");
    }
    return STATUS_OK;
}

/* The text file has no checksum of its own: the passages are its second copy. */
static void check_text(struct verifying *v, const struct stored_chunk *k, struct arena *a)
{
    char *there = v->text < 0 || k->byte < 0 ? NULL : arena_alloc(a, k->text.len + 1);
    if (there != NULL &&
        (pread(v->text, there, k->text.len, (off_t)k->byte) != (ssize_t)k->text.len ||
         memcmp(there, k->text.ptr, k->text.len) != 0)) {
        problem(v,
                "content %s: its text file differs from passage %u: put the source file again, or "
                "restore a backup",
                v->content.id, k->ordinal);
    }
}

static enum status check_chunk(const struct stored_chunk *k, void *data, struct error *err)
{
    struct verifying *v = data;
    struct arena a;
    struct buf title;
    struct lexical_entry e = {0};
    if (stopped(v)) {
        return error_set(err, STATUS_CANCELLED, "verify was cancelled");
    }
    if (k->ordinal != v->next_ordinal++) {
        problem(v, "content %s: passage %u is missing", v->content.id, v->next_ordinal - 1);
        v->next_ordinal = k->ordinal + 1;
    }
    if (!visible_has(v->there, k->no)) {
        problem(v, "content %s: passage %u is in no run of numbers", v->content.id, k->ordinal);
    } else {
        v->rows[k->no / 64] |= (uint64_t)1 << (k->no % 64);
    }
    arena_init(&a, (size_t)32 * 1024 * 1024);
    buf_init(&title, (size_t)256 * 1024);
    check_text(v, k, &a);
    enum status st = lexical_analyze(v->s->writer_text, k->text,
                                     index_title(v->content.title, k->heading, &title),
                                     v->content.language, &a, &e, err);
    for (size_t i = 0; i < e.n_postings && st == STATUS_OK; i++) {
        st = count_term(v, e.postings[i].term, err);
    }
    for (size_t i = 0; i < e.n_gram_buckets && st == STATUS_OK; i++) {
        v->grams[e.gram_buckets[i]]++;
    }
    const struct text_part *part = text_set_part(v->index, k->no);
    if (st == STATUS_OK && part == NULL) {
        problem(v, "content %s: passage %u is not in the full-text index", v->content.id,
                k->ordinal);
    } else if (st == STATUS_OK) {
        const struct lexical_length *l =
            text_part_lengths(part) + (k->no - text_part_about(part)->first);
        uint32_t length = e.length > UINT16_MAX ? UINT16_MAX : e.length;
        if (l->length != length || l->grams != e.gram_length) {
            problem(v, "content %s: passage %u has stale lengths", v->content.id, k->ordinal);
        }
    }
    v->indexed += e.n_postings > 0 ? 1 : 0;
    buf_deinit(&title);
    arena_reset(&a);
    return st;
}

static void check_file(struct verifying *v, const struct content *k, enum blob_kind kind,
                       uint64_t size)
{
    char path[1300];
    struct error err;
    struct stat st;
    const char *what = kind == BLOB_ORIGINAL ? "original" : kind == BLOB_TEXT ? "text" : "boxes";
    if (blobs_path(&v->s->blobs, k->hash, k->pipeline, kind, path, sizeof path, &err) !=
            STATUS_OK ||
        stat(path, &st) != 0) {
        problem(v, "content %s: its %s is missing", k->id, what);
    } else if ((uint64_t)st.st_size != size) {
        problem(v, "content %s: its %s has %lld bytes, not %llu", k->id, what,
                (long long)st.st_size, (unsigned long long)size);
    }
}

static int open_text(const struct verifying *v, const struct content *k)
{
    char path[1300];
    struct error err;
    return blobs_path(&v->s->blobs, k->hash, k->pipeline, BLOB_TEXT, path, sizeof path, &err) ==
                   STATUS_OK
               ? open(path, O_RDONLY | O_CLOEXEC)
               : -1;
}

static void check_hash(struct verifying *v, const struct content *k)
{
    char path[1300];
    char piece[16384];
    struct error err;
    uint8_t got[SHA256_BYTES];
    struct sha256 *h = sha256_new();
    int fd = -1;
    if (h == NULL) {
        return;
    }
    if (blobs_path(&v->s->blobs, k->hash, k->pipeline, BLOB_ORIGINAL, path, sizeof path, &err) ==
        STATUS_OK) {
        fd = open(path, O_RDONLY | O_CLOEXEC);
    }
    for (ssize_t n = 1; fd >= 0 && n > 0;) {
        n = read(fd, piece, sizeof piece);
        sha256_add(h, piece, n > 0 ? (size_t)n : 0);
    }
    sha256_end(h, got);
    if (fd >= 0) {
        (void)close(fd);
        if (memcmp(got, k->hash, sizeof got) != 0) {
            problem(v,
                    "content %s: its original %s does not match its hash: put the source file "
                    "again, or restore a backup",
                    k->id, strrchr(path, '/') + 1);
        }
    }
}

static enum status check_content(struct verifying *v, int64_t *visible, int64_t *retained,
                                 struct error *err)
{
    const struct content *k = &v->content;
    bool located = false;
    int64_t n = 0;
    enum status st = catalogue_content_located(v->s->writer, k->pk, &located, err);
    if (st == STATUS_OK) {
        st = catalogue_chunk_count_of(v->s->writer, k->pk, &n, err);
    }
    bool kept = k->state == CONTENT_RETAINED;
    if (st == STATUS_OK && (k->state == CONTENT_PUBLISHED || kept)) {
        *(kept ? retained : visible) += n;
        if (located == kept) {
            problem(v, "content %s is %s", k->id,
                    kept ? "kept for its versions and has a location"
                         : "published and has no location");
        }
        if (n != (int64_t)k->chunks) {
            problem(v, "content %s: %lld passages, not %u", k->id, (long long)n, k->chunks);
        }
        check_file(v, k, BLOB_ORIGINAL, k->size);
        check_hash(v, k);
        check_file(v, k, BLOB_TEXT, k->text_size);
        if (k->boxes > 0) {
            check_file(v, k, BLOB_BOXES, (uint64_t)k->boxes * BOX_BYTES);
        }
    } else if (st == STATUS_OK && located) {
        problem(v, "content %s has a location and is not published", k->id);
    }
    v->next_ordinal = 0;
    v->text = st == STATUS_OK ? open_text(v, k) : -1;
    for (uint32_t from = 0; st == STATUS_OK && (int64_t)from < n; from += STORE_BATCH_CHUNKS) {
        /* a dead content shrinks from its first ordinal on */
        if (from == 0 && k->state == CONTENT_DEAD) {
            v->next_ordinal = k->chunks > (uint32_t)n ? k->chunks - (uint32_t)n : 0;
        }
        st = catalogue_chunks_of(v->s->writer, k->pk, v->next_ordinal, STORE_BATCH_CHUNKS,
                                 check_chunk, v, err);
    }
    if (v->text >= 0) {
        (void)close(v->text);
    }
    return st;
}

static enum status check_contents(struct verifying *v, struct error *err)
{
    int64_t visible = 0;
    int64_t retained = 0;
    int64_t pk = 0;
    enum status st = STATUS_OK;
    while (st == STATUS_OK) {
        arena_reset(&v->scratch);
        st = catalogue_content_after(v->s->writer, pk, &v->scratch, &v->content, err);
        if (st == STATUS_OK) {
            pk = v->content.pk;
            st = check_content(v, &visible, &retained, err);
        } else if (st == STATUS_NOT_FOUND) {
            st = STATUS_OK;
            break;
        }
    }
    if (st == STATUS_OK && (visible != v->state.visible || retained != v->state.retained)) {
        problem(v, "%lld visible and %lld retained passages, the counters say %lld and %lld",
                (long long)visible, (long long)retained, (long long)v->state.visible,
                (long long)v->state.retained);
    }
    return st;
}

static enum status check_locations(struct verifying *v, struct error *err)
{
    int64_t locations = 0;
    int64_t versions = 0;
    enum status st = catalogue_location_count(v->s->writer, &locations, &versions, err);
    if (st == STATUS_OK && (locations != v->state.documents || versions != locations)) {
        problem(v, "%lld documents, %lld current versions, the counter says %lld",
                (long long)locations, (long long)versions, (long long)v->state.documents);
    }
    return st;
}

/* ---- full text ---- */

static bool has_row(const struct verifying *v, uint64_t no)
{
    return no < (uint64_t)v->state.next_chunk && (v->rows[no / 64] >> (no % 64) & 1) != 0;
}

static enum status count_list(const struct verifying *v, const struct lexical_list *list,
                              uint64_t *live, struct error *err)
{
    struct lexical_reader r;
    struct lexical_postings *p = malloc(sizeof *p);
    enum status st = p == NULL ? error_set(err, STATUS_NO_MEMORY, "verify: out of memory")
                               : lexical_list_open(list, &r, err);
    for (uint32_t b = 0; st == STATUS_OK && b < r.n_blocks; b++) {
        st = lexical_list_block(&r, b, p, err);
        for (uint32_t i = 0; st == STATUS_OK && i < p->n; i++) {
            *live += has_row(v, list->base + p->chunk[i]) ? 1 : 0;
        }
    }
    free(p);
    return st;
}

/* What the live postings of a word account for is taken from the count of passages that have it. */
static enum status account(struct verifying *v, struct str term, uint64_t live, struct error *err)
{
    uint64_t df = live == 0 ? 0 : (uint64_t)(uintptr_t)map_remove(&v->df, term);
    if (df < live) {
        problem(v, "a word has %llu postings more than passages", (unsigned long long)(live - df));
    } else if (df > live &&
               map_put(&v->df, term, (void *)(uintptr_t)(df - live), NULL) != STATUS_OK) {
        return error_set(err, STATUS_NO_MEMORY, "verify: out of memory");
    }
    return STATUS_OK;
}

static enum status check_part_terms(struct verifying *v, struct text_part *part, struct error *err)
{
    struct text_terms terms = {.part = part};
    struct text_pins pins = {0};
    enum status st = STATUS_OK;
    bool more = true;
    while (st == STATUS_OK && more) {
        struct str term;
        struct lexical_list list;
        uint64_t live = 0;
        st = text_terms_next(&terms, &term, &pins, &list, &more, err);
        if (st == STATUS_OK && more) {
            st = count_list(v, &list, &live, err);
        }
        if (st == STATUS_OK && more) {
            st = account(v, term, live, err);
        }
        text_pins_drop(&pins);
        if (st == STATUS_OK && stopped(v)) {
            st = error_set(err, STATUS_CANCELLED, "verify was cancelled");
        }
    }
    text_terms_end(&terms);
    return st;
}

static enum status check_terms(struct verifying *v, struct error *err)
{
    enum status st = STATUS_OK;
    for (size_t i = 0; i < v->index->n && st == STATUS_OK; i++) {
        struct text_part *part = v->index->entries[i].part;
        st = text_part_check(part, v->who->cancelled, err);
        if (st == STATUS_OK) {
            st = check_part_terms(v, part, err);
        }
        if (st == STATUS_CORRUPT || st == STATUS_INVALID) {
            problem(v, "%.250s", err->text);
            st = STATUS_OK;
        }
    }
    if (st == STATUS_OK && v->df.len > 0) {
        problem(v, "%zu words of the passages are not in the index", v->df.len);
    }
    return st;
}

/* The counts of 4-grams are exact until a merge has dropped something. */
static enum status check_grams(struct verifying *v, struct error *err)
{
    const _Atomic uint32_t *stored = NULL;
    size_t wrong = 0;
    bool exact = (int64_t)v->index->stats.chunks == v->indexed;
    for (size_t i = 0; i < v->index->n; i++) {
        exact = exact && text_part_about(v->index->entries[i].part)->dropped == 0;
    }
    enum status st = text_index_grams(v->s->text, &stored, err);
    for (size_t i = 0; i < LEXICAL_GRAM_BUCKETS && st == STATUS_OK && exact; i++) {
        wrong += atomic_load_explicit(&stored[i], memory_order_relaxed) != v->grams[i] ? 1 : 0;
    }
    if (wrong > 0) {
        problem(v, "%zu counts of 4-grams are wrong", wrong);
    }
    return st;
}

/* ---- vectors ---- */

static void segment_damaged(void *data, const char *why)
{
    problem(data, "%.150s; its vectors are searched in the database until it is made again", why);
}

static enum status check_vectors(struct verifying *v, struct error *err)
{
    struct encoder e = {0};
    enum status st = STATUS_OK;
    while (st == STATUS_OK) {
        int64_t stray = 0;
        int64_t counted = 0;
        int64_t missing = 0;
        struct error why;
        arena_reset(&v->scratch);
        st = catalogue_encoder_after(v->s->writer, e.pk, &v->scratch, &e, err);
        if (st == STATUS_OK) {
            st = catalogue_vectors_check(v->s->writer, e.pk, &stray, &counted, err);
        }
        if (st == STATUS_OK) {
            st = catalogue_missing(v->s->writer, e.pk, &missing, err);
        }
        if (st != STATUS_OK) {
            break;
        }
        if (e.state != ENCODER_RETIRED) {
            st = vectors_check(v->s->vectors, &e, v->who->cancelled, segment_damaged, v, err);
            if (st != STATUS_OK) {
                break;
            }
        }
        if (stray > 0) {
            problem(v, "%lld vectors belong to no passage", (long long)stray);
        }
        if (e.state != ENCODER_RETIRED &&
            (counted != e.vectors || counted + missing != v->state.visible + v->state.retained)) {
            problem(
                v,
                "encoder %s: %lld vectors and %lld missing of %lld passages, the counter says %lld",
                e.name, (long long)counted, (long long)missing,
                (long long)(v->state.visible + v->state.retained), (long long)e.vectors);
        }
        char path[1300];
        if (e.state != ENCODER_RETIRED &&
            store_encoder_path(v->s, e.name, path, sizeof path, &why) != STATUS_OK) {
            problem(v, "encoder %s: its fit is missing", e.name);
        }
    }
    return st == STATUS_NOT_FOUND ? STATUS_OK : st;
}

enum status store_verify(struct store *s, const struct asker *who, struct arena *a,
                         Vs__VerifyReply *out, struct error *err)
{
    struct verifying v = {.s = s, .who = who, .reply = a, .out = out};
    vs__verify_reply__init(out);
    map_init(&v.df);
    v.index = text_index_hold(s->text);
    arena_init(&v.scratch, (size_t)4 * 1024 * 1024);
    v.grams = calloc(LEXICAL_GRAM_BUCKETS, sizeof *v.grams);
    out->problem = arena_array(a, SAID, sizeof *out->problem);
    enum status st = v.grams == NULL || out->problem == NULL
                         ? error_set(err, STATUS_NO_MEMORY, "verify: out of memory")
                         : catalogue_begin_read(s->writer, &v.state, err);
    if (st == STATUS_OK) {
        st = catalogue_integrity(s->writer, err);
        if (st == STATUS_CORRUPT) {
            problem(&v, "%.250s", err->text);
            st = STATUS_OK;
        }
    }
    if (st == STATUS_OK) {
        st = visible_all(s->writer, &v.state, &v.there, err);
    }
    if (st == STATUS_OK) {
        v.rows = calloc((size_t)v.state.next_chunk / 64 + 1, sizeof *v.rows);
        st = v.rows == NULL ? error_set(err, STATUS_NO_MEMORY, "verify: out of memory") : st;
    }
    enum status (*const checks[])(struct verifying *, struct error *) = {
        check_locations, check_contents, check_terms, check_grams, check_vectors};
    for (size_t i = 0; i < sizeof checks / sizeof checks[0] && st == STATUS_OK; i++) {
        st = checks[i](&v, err);
    }
    if (st == STATUS_OK) {
        out->documents = (uint32_t)v.state.documents;
        out->chunks = (uint32_t)v.state.visible;
        out->has_keyed = out->has_clear_segments = true;
        out->keyed = store_keyed(s);
        out->clear_segments = store_clear_segments(s);
    }
    catalogue_end(s->writer);
    visible_drop(v.there);
    map_deinit(&v.df);
    text_set_drop(v.index);
    arena_reset(&v.scratch);
    free(v.grams);
    free(v.rows);
    return st;
}
