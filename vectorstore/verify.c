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
    struct map df;
    uint32_t *grams;
    int64_t indexed, length, gram_length, plain_length;
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
    if (st == STATUS_OK && (k->length != e.length || k->gram_length != e.gram_length)) {
        problem(v, "content %s: passage %u has stale lengths", v->content.id, k->ordinal);
    }
    v->indexed++;
    v->length += e.length;
    v->gram_length += e.gram_length;
    v->plain_length += e.plain_length;
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

static void check_statistics(struct verifying *v)
{
    const struct catalogue_state *st = &v->state;
    if (st->indexed != v->indexed || st->length_total != v->length ||
        st->gram_length_total != v->gram_length || st->plain_length_total != v->plain_length) {
        problem(v, "full-text statistics: %lld passages of length %lld, counted %lld of %lld",
                (long long)st->indexed, (long long)st->length_total, (long long)v->indexed,
                (long long)v->length);
    }
}

struct walking {
    const struct verifying *v;
    uint64_t live;
    uint64_t last;
    bool disorder;
};

static bool walk_posting(chunk_no n, void *data)
{
    struct walking *w = data;
    w->disorder = w->disorder || (uint64_t)n + 1 <= w->last;
    w->last = (uint64_t)n + 1;
    w->live += visible_has(w->v->there, n) ? 1 : 0;
    return false;
}

static enum status check_term(struct verifying *v, struct str name, const struct term *t,
                              struct buf *block, struct buf *copy, struct error *err)
{
    struct walking w = {.v = v};
    enum status st = STATUS_OK;
    uint64_t df = (uint64_t)(uintptr_t)map_remove(&v->df, name);
    for (int64_t i = 0; i < t->blocks && st == STATUS_OK; i++) {
        size_t removed = 0;
        st = catalogue_block_get(v->s->writer, t->id, i, block, err);
        buf_reset(copy);
        if (st == STATUS_OK) {
            st = lexical_block_purge(buf_view(block), walk_posting, &w, copy, &removed, err);
        }
    }
    if (st == STATUS_CORRUPT || st == STATUS_INVALID) {
        problem(v, "a block of postings is damaged: %.200s", err->text);
        st = STATUS_OK;
    } else if (st == STATUS_OK && (df != t->df || w.live != df || w.disorder)) {
        problem(v, "a word: in %llu passages, frequency says %llu, postings %llu%s",
                (unsigned long long)df, (unsigned long long)t->df, (unsigned long long)w.live,
                w.disorder ? " out of order" : "");
    }
    return st;
}

static enum status check_terms(struct verifying *v, struct error *err)
{
    struct buf block;
    struct buf copy;
    struct str at = STR("");
    bool found = true;
    char last[1024];
    buf_init(&block, (size_t)64 * 1024);
    buf_init(&copy, (size_t)64 * 1024);
    enum status st = STATUS_OK;
    while (st == STATUS_OK && found) {
        struct term t = {0};
        struct str name = STR("");
        arena_reset(&v->scratch);
        st = catalogue_term_after(v->s->writer, at, &v->scratch, &name, &t, &found, err);
        if (st == STATUS_OK && found && name.len > sizeof last) {
            st = error_set(err, STATUS_CORRUPT, "store.db: a word of %zu bytes", name.len);
        }
        if (st == STATUS_OK && found) {
            memcpy(last, name.ptr, name.len);
            at = (struct str){.ptr = last, .len = name.len};
            st = check_term(v, at, &t, &block, &copy, err);
        }
        if (st == STATUS_OK && stopped(v)) {
            st = error_set(err, STATUS_CANCELLED, "verify was cancelled");
        }
    }
    if (st == STATUS_OK && v->df.len > 0) {
        problem(v, "%zu words of the passages are not in the index", v->df.len);
    }
    buf_deinit(&block);
    buf_deinit(&copy);
    return st;
}

static enum status check_grams(struct verifying *v, struct error *err)
{
    uint32_t *stored = calloc(LEXICAL_GRAM_BUCKETS, sizeof *stored);
    int64_t next = 0;
    size_t wrong = 0;
    if (stored == NULL) {
        return error_set(err, STATUS_NO_MEMORY, "verify: out of memory");
    }
    enum status st = catalogue_grams_refresh(v->s->writer, &v->state, stored, &next, err);
    for (size_t i = 0; i < LEXICAL_GRAM_BUCKETS && st == STATUS_OK; i++) {
        wrong += stored[i] != v->grams[i] ? 1 : 0;
    }
    if (wrong > 0) {
        problem(v, "%zu counts of 4-grams are wrong", wrong);
    }
    free(stored);
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
    enum status (*const checks[])(struct verifying *, struct error *) = {
        check_locations, check_contents, check_terms, check_grams, check_vectors};
    for (size_t i = 0; i < sizeof checks / sizeof checks[0] && st == STATUS_OK; i++) {
        st = checks[i](&v, err);
    }
    if (st == STATUS_OK) {
        check_statistics(&v);
        out->documents = (uint32_t)v.state.documents;
        out->chunks = (uint32_t)v.state.visible;
    }
    catalogue_end(s->writer);
    visible_drop(v.there);
    map_deinit(&v.df);
    arena_reset(&v.scratch);
    free(v.grams);
    return st;
}
