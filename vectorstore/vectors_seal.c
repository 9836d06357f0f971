/* Keeping the segments in shape, in the background: what is missing is made again, the tail is
 * sealed in pieces, neighbours of like size are merged, and what holds many dead rows is written
 * anew. Everything is read from the catalogue, never from old segments, so that damage cannot
 * spread. Each step makes one new file, swaps it in under the lock, and then writes the manifest.
 *
 * A step reads the catalogue in pages, each a transaction of its own, and pauses every few
 * milliseconds: it stops when asked to, stands back while searches run, and, in a long merge, seals
 * the tail, which would otherwise outgrow its memory. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/hash.h"
#include "base/log.h"
#include "vectorstore/store.h"
#include "vectorstore/vectors_internal.h"

#define PAGE_ROWS 1024U
#define PIECE_ROWS ((uint64_t)128 * 1024) /* sealed at once, at most: scanned whole */
#define RUN_MIN 3U                        /* segments in a merge, at least */
#define RUN_FULL (SEGMENTS_MAX / 2)       /* with more segments than that, two are enough */
#define DEAD_SHARE 4U                     /* a segment is rewritten when 1 in so many is dead */
#define STEPS_MAX 1000U
#define WORK_NS 4000000LL /* between two pauses */
#define QUIET_MS 200      /* nobody searched for so long: no standing back */
#define STAND_BACK_NS 16000000LL
#define TAIL_CHECK_MS 1000 /* how often a merge looks at the tail */

struct sealing {
    struct vectors *v;
    struct catalogue *c;
    const struct encoder *e;
    struct catalogue_state state;  /* as last read */
    int64_t worked_ns, checked_ms; /* when work went on after the last pause; the tail */
    bool inside;                   /* the tail is being sealed within a merge */
    bool purging;                  /* others' erasures wait for it */
    int64_t rewritten;             /* dead rows have been looked for up to here */
};

static int64_t now_ns(void)
{
    struct timespec t;
    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

/* ---- rows out of the catalogue ---- */

struct range {
    struct sealing *s;
    int64_t after, until; /* until: lowered to the last row taken when there are more than n */
    uint64_t n;
    bool cut; /* the first pass has settled until */
    /* of the pass that runs */
    dense_visit visit;
    void *data;
    int64_t last;
    uint64_t seen, in_page;
    uint16_t row[VECTOR_MAX_DIMENSIONS];
};

static enum status take_row(int64_t seq, chunk_no chunk, struct str vector, void *data,
                            struct error *err)
{
    struct range *r = data;
    if (r->seen == r->n || r->in_page == PAGE_ROWS) {
        return STATUS_TOO_LARGE; /* the page ends here */
    }
    if (vector.len != (size_t)r->s->e->dimensions * sizeof r->row[0]) {
        return error_set(err, STATUS_CORRUPT, "store.db: a vector has the wrong length");
    }
    memcpy(r->row, vector.ptr, vector.len);
    r->seen++;
    r->in_page++;
    r->last = seq;
    return r->visit(seq, chunk, r->row, r->data, err);
}

static enum status pause_work(void *data, struct error *err);

static enum status each_row(void *data, dense_visit visit, void *visit_data, struct error *err)
{
    struct range *r = data;
    struct sealing *sg = r->s;
    enum status s = STATUS_OK;
    bool more = true;
    r->visit = visit;
    r->data = visit_data;
    r->seen = 0;
    r->last = r->after;
    while (s == STATUS_OK && more) {
        r->in_page = 0;
        s = catalogue_begin_read(sg->c, &sg->state, err);
        if (s == STATUS_OK) {
            s = catalogue_vectors_between(sg->c, sg->e->pk, r->last, r->until, take_row, r, err);
        }
        catalogue_end(sg->c);
        more = s == STATUS_TOO_LARGE && r->seen < r->n;
        if (s == STATUS_TOO_LARGE && !more && !r->cut) {
            r->until = r->last; /* enough: the rest is for another segment */
        }
        s = s == STATUS_TOO_LARGE ? STATUS_OK : s;
        if (s == STATUS_OK) {
            s = pause_work(sg, err);
        }
    }
    r->cut = true;
    return s;
}

/* ---- one step: a range becomes a segment ---- */

/* Under lock: replaces what lies within fresh's range, which is NULL when no row was left there. */
static enum status swap(struct sealing *sg, int64_t after, int64_t until,
                        const struct sealed *fresh, struct sealed *old, size_t *n_old,
                        struct error *err)
{
    struct encoder_vectors *ev = vectors_find(sg->v, sg->e->pk);
    size_t from = 0;
    size_t to = 0;
    if (ev == NULL) {
        return error_set(err, STATUS_BUSY, "the encoder was retired while it was sealed");
    }
    while (from < ev->n_segments && ev->segments[from].until <= after) {
        from++;
    }
    for (to = from; to < ev->n_segments && ev->segments[to].after < until; to++) {
        if (ev->segments[to].after < after || ev->segments[to].until > until) {
            return error_set(err, STATUS_BUSY,
                             "segments changed while one was sealed; it is done again");
        }
    }
    size_t n_fresh = fresh == NULL ? 0 : 1;
    if (ev->n_segments - (to - from) + n_fresh > SEGMENTS_MAX) {
        return error_set(err, STATUS_BUSY, "too many vector segments; merging goes first");
    }
    *n_old = to - from;
    memcpy(old, ev->segments + from, *n_old * sizeof *old);
    memmove(ev->segments + from + n_fresh, ev->segments + to, (ev->n_segments - to) * sizeof *old);
    ev->n_segments = ev->n_segments - *n_old + n_fresh;
    if (fresh != NULL) {
        ev->segments[from] = *fresh;
    } else if (from < ev->n_segments) {
        ev->segments[from].after = after; /* covered: there is nothing */
    }
    tail_drop_until(&ev->tail, until);
    return STATUS_OK;
}

static enum status take_segment(struct sealing *sg, int64_t after, int64_t until,
                                const struct sealed *fresh, struct error *err)
{
    struct sealed old[SEGMENTS_MAX];
    size_t n_old = 0;
    (void)pthread_mutex_lock(&sg->v->lock);
    enum status s = swap(sg, after, until, fresh, old, &n_old, err);
    (void)pthread_mutex_unlock(&sg->v->lock);
    if (s != STATUS_OK) {
        return s;
    }
    s = manifest_write(sg->v, err);
    for (size_t i = 0; i < n_old; i++) {
        char path[VECTORS_PATH];
        dense_drop(old[i].dense);
        vectors_path(sg->v, old[i].name, path);
        if (s == STATUS_OK) { /* or the manifest on disk still names it */
            (void)unlink(path);
        }
    }
    return s;
}

/* Makes (after, *until] one segment, of at most n rows; *until is lowered where there are more. */
static enum status seal_range(struct sealing *sg, int64_t after, int64_t *until, uint64_t n,
                              struct error *err)
{
    struct sealed fresh = {.after = after};
    char id[ID_CAP];
    char path[VECTORS_PATH];
    struct range *r = calloc(1, sizeof *r);
    if (r == NULL) {
        return error_set(err, STATUS_NO_MEMORY, "sealing vectors: out of memory");
    }
    *r = (struct range){.s = sg, .after = after, .until = *until, .n = n};
    struct dense_source source = {.dimensions = sg->e->dimensions,
                                  .n = n,
                                  .data = r,
                                  .each = each_row,
                                  .pause = pause_work,
                                  .pause_data = sg,
                                  .key = segment_keys_key(sg->v->keys)};
    id_new(id);
    (void)snprintf(fresh.name, sizeof fresh.name, "%s", id);
    vectors_path(sg->v, fresh.name, path);
    enum status s =
        dense_write(path, &source, dense_lists_for(n, sg->e->dimensions), &fresh.n, err);
    *until = fresh.until = r->until;
    free(r);
    if (s == STATUS_NOT_FOUND) {
        return take_segment(sg, after, *until, NULL, err);
    }
    if (s == STATUS_OK) {
        s = dense_open(path, sg->v->keys, &fresh.dense, err);
    }
    if (s == STATUS_OK) {
        s = take_segment(sg, after, *until, &fresh, err);
        if (s == STATUS_BUSY) {
            dense_drop(fresh.dense);
            (void)unlink(path);
        }
    }
    return s;
}

/* ---- which step ---- */

static uint64_t piece_rows(const struct sealing *sg)
{
    uint64_t flat = DENSE_FLAT_BYTES / sg->e->dimensions - 1;
    return flat < PIECE_ROWS ? flat : PIECE_ROWS;
}

/* The first range below the last segment that no segment covers. */
static bool find_gap(struct sealing *sg, int64_t *after, int64_t *until)
{
    bool found = false;
    (void)pthread_mutex_lock(&sg->v->lock);
    const struct encoder_vectors *ev = vectors_find(sg->v, sg->e->pk);
    *after = 0;
    for (size_t i = 0; ev != NULL && i < ev->n_segments && !found; i++) {
        *until = ev->segments[i].after;
        found = *until > *after;
        *after = found ? *after : ev->segments[i].until;
    }
    (void)pthread_mutex_unlock(&sg->v->lock);
    return found;
}

static enum status seal_tail(struct sealing *sg, bool *done, struct error *err)
{
    int64_t n = 0;
    int64_t last = 0;
    int64_t after = 0;
    *done = false;
    enum status s = catalogue_begin_read(sg->c, &sg->state, err);
    (void)pthread_mutex_lock(&sg->v->lock);
    const struct encoder_vectors *ev = vectors_find(sg->v, sg->e->pk);
    after = ev == NULL ? 0 : sealed_until(ev);
    (void)pthread_mutex_unlock(&sg->v->lock);
    int64_t until = sg->state.next_vector - 1;
    if (s == STATUS_OK) {
        s = catalogue_vectors_count(sg->c, sg->e->pk, after, until, &n, &last, err);
    }
    catalogue_end(sg->c);
    if (s == STATUS_OK && n >= STORE_SEAL_VECTORS) {
        *done = true;
        s = seal_range(sg, after, &until, piece_rows(sg), err);
    }
    return s;
}

/* Of the segments before number `end`, the last ones that are not much larger than what follows
 * them: three at least, or two that become worth lists. Under lock. */
static bool is_run(const struct encoder_vectors *ev, size_t end, size_t *first, uint64_t *n)
{
    *first = end - 1;
    *n = ev->segments[*first].n;
    while (*first > 0 && ev->segments[*first - 1].n < 2 * *n &&
           ev->segments[*first - 1].until == ev->segments[*first].after) {
        *n += ev->segments[--*first].n;
    }
    bool flat = dense_lists_for(*n, ev->dimensions) > 1;
    for (size_t i = *first; i < end && flat; i++) {
        flat = dense_lists(ev->segments[i].dense) == 1;
    }
    size_t run = end - *first;
    return run >= RUN_MIN || (run > 1 && (flat || ev->n_segments > RUN_FULL));
}

/* The newest run. */
static bool find_run(struct sealing *sg, int64_t *after, int64_t *until, uint64_t *n)
{
    bool found = false;
    size_t first = 0;
    (void)pthread_mutex_lock(&sg->v->lock);
    const struct encoder_vectors *ev = vectors_find(sg->v, sg->e->pk);
    for (size_t end = ev == NULL ? 0 : ev->n_segments; end > 1 && !found; end--) {
        found = is_run(ev, end, &first, n);
        *after = ev->segments[first].after;
        *until = ev->segments[end - 1].until;
    }
    (void)pthread_mutex_unlock(&sg->v->lock);
    return found;
}

/* ---- dead rows ---- */

struct counting {
    const struct visible *there;
    uint64_t dead, erased; /* dead, and still holding a vector */
};

static void count_dead(const chunk_no *chunks, size_t n, void *data)
{
    struct counting *k = data;
    for (size_t i = 0; i < n; i++) {
        bool dead = !visible_has(k->there, chunks[i]);
        k->dead += dead ? 1 : 0;
        k->erased += dead && chunks[i] != UINT32_MAX ? 1 : 0;
    }
}

/* The first segment with enough dead rows: any at all, or a good share. */
static enum status find_dead(struct sealing *sg, bool any, int64_t *after, int64_t *until,
                             uint64_t *n, bool *found, struct error *err)
{
    struct sealed segments[SEGMENTS_MAX];
    struct counting k = {0};
    struct visible *there = NULL;
    size_t n_segments = 0;
    uint64_t rows = 0;
    *found = false;
    (void)pthread_mutex_lock(&sg->v->lock);
    const struct encoder_vectors *ev = vectors_find(sg->v, sg->e->pk);
    for (; ev != NULL && n_segments < ev->n_segments; n_segments++) {
        segments[n_segments] = ev->segments[n_segments];
        dense_hold(segments[n_segments].dense);
        rows += segments[n_segments].n;
    }
    (void)pthread_mutex_unlock(&sg->v->lock);
    enum status s = STATUS_OK;
    /* the encoder's counter tells at no cost that there cannot be many */
    if (any || rows > (uint64_t)sg->e->vectors + (uint64_t)sg->e->vectors / DEAD_SHARE) {
        s = catalogue_begin_read(sg->c, &sg->state, err);
        if (s == STATUS_OK) {
            s = visible_all(sg->c, &sg->state, &there, err);
        }
        catalogue_end(sg->c);
    }
    for (size_t i = 0; i < n_segments && s == STATUS_OK && there != NULL && !*found; i++) {
        k = (struct counting){.there = there};
        s = dense_chunks(segments[i].dense, count_dead, &k, err);
        if (s == STATUS_CORRUPT) {
            vectors_lose(sg->v, sg->e->pk, segments[i].name, err->text);
            s = STATUS_OK; /* a gap now, made again without the dead */
        } else {
            *found = segments[i].after >= sg->rewritten &&
                     (any ? k.erased > 0 : k.dead * DEAD_SHARE >= segments[i].n);
            *after = segments[i].after;
            *until = segments[i].until;
            *n = segments[i].n;
        }
    }
    for (size_t i = 0; i < n_segments; i++) {
        dense_drop(segments[i].dense);
    }
    visible_drop(there);
    sg->rewritten = *found ? *until : sg->rewritten;
    return s;
}

/* The first segment of before the tenant had a key. */
static bool find_clear(struct sealing *sg, int64_t *after, int64_t *until, uint64_t *n)
{
    bool found = false;
    (void)pthread_mutex_lock(&sg->v->lock);
    const struct encoder_vectors *ev = vectors_find(sg->v, sg->e->pk);
    bool keyed = segment_keys_key(sg->v->keys) != NULL;
    for (size_t i = 0; ev != NULL && keyed && i < ev->n_segments && !found; i++) {
        found = ev->segments[i].dense != NULL && dense_clear(ev->segments[i].dense);
        *after = ev->segments[i].after;
        *until = ev->segments[i].until;
        *n = ev->segments[i].n;
    }
    (void)pthread_mutex_unlock(&sg->v->lock);
    return found;
}

/* ---- pausing ---- */

static enum status pause_work(void *data, struct error *err)
{
    struct sealing *sg = data;
    enum status s = STATUS_OK;
    if (atomic_load(&sg->v->stop)) {
        return error_set(err, STATUS_CANCELLED, "sealing was stopped");
    }
    if (!sg->purging && !sg->v->yielded && atomic_load(&sg->v->yield)) {
        sg->v->yielded = true; /* the next step goes to its end, or nothing would ever be merged */
        return error_set(err, STATUS_CANCELLED, "sealing made way for an erasure");
    }
    int64_t now = now_ns();
    int64_t worked = now - sg->worked_ns;
    if (worked >= WORK_NS) {
        int64_t ms = clock_monotonic_ms();
        /* where searches must read the database, what helps them is to be done soon */
        if (ms - atomic_load(&sg->v->searched_ms) < QUIET_MS &&
            ms - atomic_load(&sg->v->slowed_ms) >= QUIET_MS) {
            int64_t rest = worked < STAND_BACK_NS ? worked : STAND_BACK_NS;
            struct timespec t = {.tv_nsec = (long)rest};
            (void)nanosleep(&t, NULL);
        }
        sg->worked_ns = now_ns();
    }
    if (!sg->inside && clock_monotonic_ms() - sg->checked_ms >= TAIL_CHECK_MS) {
        bool done = false;
        sg->inside = true;
        s = seal_tail(sg, &done, err);
        sg->inside = false;
        sg->checked_ms = clock_monotonic_ms();
    }
    return s;
}

/* ---- all of it ---- */

static enum status step(struct sealing *sg, bool *done, struct error *err)
{
    int64_t after = 0;
    int64_t until = 0;
    uint64_t n = 0;
    *done = true;
    if (find_gap(sg, &after, &until)) {
        return seal_range(sg, after, &until, piece_rows(sg), err);
    }
    sg->inside = true; /* these are short: no tail within the tail */
    enum status s = seal_tail(sg, done, err);
    sg->inside = false;
    if (s != STATUS_OK || *done) {
        return s;
    }
    sg->checked_ms = clock_monotonic_ms();
    *done = find_run(sg, &after, &until, &n);
    if (!*done) {
        s = find_dead(sg, false, &after, &until, &n, done, err);
    }
    if (s == STATUS_OK && !*done) {
        *done = find_clear(sg, &after, &until, &n);
    }
    return s == STATUS_OK && *done ? seal_range(sg, after, &until, n, err) : s;
}

static void begin(struct sealing *sg, struct vectors *v, struct catalogue *c,
                  const struct encoder *e)
{
    *sg = (struct sealing){
        .v = v, .c = c, .e = e, .worked_ns = now_ns(), .checked_ms = clock_monotonic_ms()};
}

enum status vectors_seal(struct vectors *v, struct catalogue *c, const struct encoder *e,
                         bool *sealed, struct error *err)
{
    struct sealing sg;
    bool done = true;
    *sealed = false;
    begin(&sg, v, c, e);
    enum status s = vectors_prepare(v, e, err);
    for (size_t i = 0; i < STEPS_MAX && s == STATUS_OK && done; i++) {
        s = step(&sg, &done, err);
        *sealed = *sealed || (s == STATUS_OK && done);
        v->yielded = v->yielded && !(s == STATUS_OK && done);
    }
    return s == STATUS_CANCELLED ? STATUS_OK : s;
}

enum status vectors_purge(struct vectors *v, struct catalogue *c, const struct encoder *e,
                          size_t *rewritten, struct error *err)
{
    struct sealing sg;
    bool found = true;
    *rewritten = 0;
    begin(&sg, v, c, e);
    sg.purging = true;
    enum status s = vectors_prepare(v, e, err);
    for (size_t i = 0; i < STEPS_MAX && s == STATUS_OK && found; i++) {
        int64_t after = 0;
        int64_t until = 0;
        uint64_t n = 0;
        s = find_dead(&sg, true, &after, &until, &n, &found, err);
        if (s == STATUS_OK && found) {
            s = seal_range(&sg, after, &until, n, err);
            *rewritten += s == STATUS_OK ? 1 : 0;
        }
    }
    return s;
}
