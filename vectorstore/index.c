/* How chunks come into the full-text index and how it keeps itself whole: runs beside the chunks in
 * the same transaction, sealing, and making parts again from the database where they are missing,
 * damaged or of another analyzer. */
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/log.h"
#include "vectorstore/store_internal.h"

#define INDEX_ARENA ((size_t)192 * 1024 * 1024)
#define RUNS_AT_ONCE 256U
#define PIECE 16384U    /* numbers in a part that is made again, at most */
#define LOOK_EVERY 16U  /* how many times sealing passes by before it counts what is dead */
#define REST_NS 500000L /* while others search */
#define REST_MAX 20U

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

/* ---- adding ---- */

static enum status analyze(struct text_analyzer *text, struct index_chunk *k, const char *title,
                           const char *language, struct arena *a, struct buf *scratch,
                           struct text_batch *batch, struct error *err)
{
    struct lexical_entry e = {0};
    enum status st = lexical_analyze(text, k->text, index_title(title, k->heading, scratch),
                                     language, a, &e, err);
    if (st == STATUS_OK) {
        st = text_batch_add(batch, k->no, &e, err);
    }
    k->length = e.length;
    k->gram_length = e.gram_length;
    arena_reset(a);
    return st;
}

enum status index_add(struct store *s, struct index_chunk *chunks, size_t n, const char *title,
                      const char *language, struct text_part **part, struct error *err)
{
    struct text_batch *batch = NULL;
    struct arena a;
    struct buf scratch;
    arena_init(&a, INDEX_ARENA);
    buf_init(&scratch, (size_t)256 * 1024);
    *part = NULL;
    enum status st = text_index_reserve(s->text, err);
    if (st == STATUS_OK) {
        st = text_batch_new(chunks[0].no, (uint32_t)n, &batch, err);
    }
    for (size_t i = 0; i < n && st == STATUS_OK; i++) {
        st = analyze(s->writer_text, &chunks[i], title, language, &a, &scratch, batch, err);
    }
    if (st == STATUS_OK) {
        st = text_batch_part(batch, TEXT_ANALYZER_VERSION, part, err);
    }
    if (st == STATUS_OK) {
        st = catalogue_run_add(s->writer, chunks[0].no, chunks[n - 1].no, text_part_bytes(*part),
                               err);
        if (st != STATUS_OK) {
            text_part_drop(*part);
            *part = NULL;
        }
    }
    text_batch_free(batch);
    buf_deinit(&scratch);
    return st;
}

void index_publish(struct store *s, struct text_part *part)
{
    if (part != NULL) {
        text_index_publish(s->text, part);
        if (text_index_untidy(s->text, true)) { /* sealing is busy, or nobody seals */
            text_index_tidy(s->text);
        }
    }
}

/* ---- runs ---- */

struct loading {
    struct store *s;
    struct text_set *set;
    uint32_t n;
    uint64_t next;
};

static enum status load(chunk_no first, chunk_no last, struct str image, void *data,
                        struct error *err)
{
    struct loading *l = data;
    struct text_part *part = NULL;
    l->n++;
    l->next = (uint64_t)first + 1;
    const struct text_part *covers = text_set_part(l->set, first);
    if (covers != NULL && text_part_about(covers)->last >= last) {
        return STATUS_OK;
    }
    enum status st = text_index_reserve(l->s->text, err);
    char *copy = st == STATUS_OK ? malloc(image.len + 1) : NULL;
    if (st == STATUS_OK && copy == NULL) {
        return error_set(err, STATUS_NO_MEMORY, "full text: out of memory");
    }
    if (st == STATUS_BUSY) { /* the rest is a hole, filled by sealing */
        return STATUS_OK;
    }
    if (st == STATUS_OK && copy != NULL) {
        memcpy(copy, image.ptr, image.len);
        st = text_part_image(copy, image.len, &part, err);
    }
    if (st == STATUS_CORRUPT) {
        LOG_WARN("a run of the full-text index is damaged; it is made again",
                 LOG_STR("err", err->text), LOG_END);
        return STATUS_OK;
    }
    if (st == STATUS_OK) {
        text_index_publish(l->s->text, part);
    }
    return st;
}

enum status index_load(struct store *s, struct error *err)
{
    struct loading l = {.s = s, .next = 1, .n = RUNS_AT_ONCE};
    enum status st = STATUS_OK;
    atomic_store(&s->holes, true);
    while (st == STATUS_OK && l.n == RUNS_AT_ONCE && l.next <= UINT32_MAX) {
        l.n = 0;
        l.set = text_index_hold(s->text);
        st = catalogue_runs(s->writer, (chunk_no)l.next, RUNS_AT_ONCE / 2, true, load, &l, err);
        l.n *= 2;
        text_set_drop(l.set);
        text_index_tidy(s->text);
    }
    return st;
}

struct forgetting {
    const struct text_set *set;
    chunk_no gone[RUNS_AT_ONCE];
    size_t n;
};

static enum status covered(chunk_no first, chunk_no last, struct str image, void *data,
                           struct error *err)
{
    (void)image;
    (void)err;
    struct forgetting *f = data;
    const struct text_part *p = text_set_part(f->set, first);
    if (p != NULL && text_part_sealed(p) && text_part_about(p)->last >= last) {
        f->gone[f->n++] = first;
    }
    return STATUS_OK;
}

enum status index_forget_runs(struct store *s, bool *more, struct error *err)
{
    struct forgetting *f = calloc(1, sizeof *f);
    struct catalogue_state state;
    if (f == NULL) {
        return error_set(err, STATUS_NO_MEMORY, "out of memory");
    }
    struct text_set *set = text_index_hold(s->text);
    f->set = set;
    enum status st = catalogue_runs(s->writer, 0, RUNS_AT_ONCE, false, covered, f, err);
    if (st == STATUS_OK && f->n > 0) {
        st = catalogue_begin_write(s->writer, &state, err);
        for (size_t i = 0; i < f->n && st == STATUS_OK; i++) {
            st = catalogue_run_delete(s->writer, f->gone[i], err);
        }
        if (st == STATUS_OK) {
            st = catalogue_commit(s->writer, &state, err);
        }
        catalogue_end(s->writer);
        *more = *more || (st == STATUS_OK && f->n == RUNS_AT_ONCE);
    }
    text_set_drop(set);
    free(f);
    return st;
}

/* ---- purging ---- */

static enum status note_run(chunk_no first, chunk_no last, struct str image, void *data,
                            struct error *err)
{
    (void)last;
    (void)image;
    (void)err;
    struct forgetting *f = data;
    f->gone[f->n++] = first;
    return STATUS_OK;
}

/* In the writer's transaction: one run, or none, in place of those of first..last. */
static enum status replace_runs(struct store *s, const struct text_about *about,
                                const struct text_part *fresh, struct error *err)
{
    struct forgetting *f = calloc(1, sizeof *f);
    enum status st = f == NULL ? error_set(err, STATUS_NO_MEMORY, "out of memory") : STATUS_OK;
    bool more = true;
    while (st == STATUS_OK && more) {
        f->n = 0;
        more = false;
        st = catalogue_runs(s->writer, about->first, RUNS_AT_ONCE, false, note_run, f, err);
        for (size_t i = 0; i < f->n && st == STATUS_OK && f->gone[i] <= about->last; i++) {
            st = catalogue_run_delete(s->writer, f->gone[i], err);
            more = i + 1 == RUNS_AT_ONCE;
        }
    }
    if (st == STATUS_OK && fresh != NULL) {
        st = catalogue_run_add(s->writer, about->first, about->last, text_part_bytes(fresh), err);
    }
    free(f);
    return st;
}

static enum status purge_image(struct store *s, struct catalogue_state *state,
                               struct text_part *part, const struct text_pace *pace,
                               struct error *err)
{
    struct text_part *fresh = NULL;
    enum status st = STATUS_OK;
    if (text_part_live(part, pace->there) > 0) {
        st = text_merge_image(&part, 1, pace, &fresh, err);
    }
    if (st == STATUS_OK) {
        st = replace_runs(s, text_part_about(part), fresh, err);
    }
    if (st == STATUS_OK) {
        st = catalogue_commit(s->writer, state, err);
    }
    if (st == STATUS_OK) {
        (void)text_index_swap(s->text, part, fresh); /* sealed meanwhile: then the file is next */
    }
    text_part_drop(fresh);
    return st;
}

enum status index_purge_all(struct store *s, bool begin, bool *more, struct error *err)
{
    struct catalogue_state state;
    struct visible *there = NULL;
    *more = false;
    if (begin) {
        text_index_turn(s->text);
    }
    struct text_pace pace = {.cancelled = &s->closing, .epoch = text_index_epoch(s->text)};
    enum status st = index_forget_runs(s, more, err);
    if (st == STATUS_OK) {
        st = catalogue_begin_write(s->writer, &state, err);
    }
    if (st == STATUS_OK) {
        st = visible_all(s->writer, &state, &there, err);
    }
    struct text_set *set = text_index_hold(s->text);
    for (size_t i = 0; st == STATUS_OK && i < set->n && !*more; i++) {
        struct lexical_allowed live = {.bits = there->bits, .limit = there->limit};
        struct text_part *part = set->entries[i].part;
        bool done = false;
        pace.there = &live;
        if (text_part_live(part, &live) == text_part_about(part)->chunks) {
            continue;
        }
        *more = true;
        if (text_part_sealed(part)) {
            catalogue_end(s->writer);
            st = text_index_rewrite(s->text, part, &pace, &done, err);
        } else {
            st = purge_image(s, &state, part, &pace, err);
        }
    }
    catalogue_end(s->writer);
    text_set_drop(set);
    visible_drop(there);
    return st;
}

/* ---- making parts again ---- */

struct rebuilding {
    struct store *s;
    struct text_batch *batch;
    struct arena arena, contents;
    struct buf scratch;
    struct content content;
    chunk_no last;
    uint64_t next;
    uint32_t n;
};

static enum status analyze_again(const struct stored_chunk *k, void *data, struct error *err)
{
    struct rebuilding *r = data;
    enum status st = STATUS_OK;
    r->n++;
    r->next = (uint64_t)k->no + 1;
    if (k->no > r->last) {
        return STATUS_OK;
    }
    if (r->content.pk != k->content) {
        arena_reset(&r->contents);
        st = catalogue_content_by_pk(r->s->sealer, k->content, &r->contents, &r->content, err);
    }
    struct index_chunk c = {.no = k->no, .text = k->text, .heading = k->heading};
    return st == STATUS_OK ? analyze(r->s->sealer_text, &c, r->content.title, r->content.language,
                                     &r->arena, &r->scratch, r->batch, err)
                           : st;
}

/* Makes way for searches. */
static void rest(void *data)
{
    struct store *s = data;
    const struct timespec pause = {.tv_nsec = REST_NS};
    for (unsigned i = 0; i < REST_MAX && atomic_load(&s->active) > 0; i++) {
        (void)nanosleep(&pause, NULL);
    }
}

/* The chunks first..last of the database as a file. In the sealer's snapshot. */
static enum status rebuild_piece(struct store *s, chunk_no first, chunk_no last, char name[ID_CAP],
                                 char *path, size_t cap, struct error *err)
{
    struct rebuilding r = {.s = s, .last = last, .next = first, .n = 1};
    enum status st = STATUS_OK;
    if (s->sealer_text == NULL) {
        st = text_analyzer_new(&s->sealer_text, err);
    }
    arena_init(&r.arena, INDEX_ARENA);
    arena_init(&r.contents, (size_t)1024 * 1024);
    buf_init(&r.scratch, (size_t)256 * 1024);
    if (st == STATUS_OK) {
        st = text_batch_new(first, last - first + 1, &r.batch, err);
    }
    while (st == STATUS_OK && r.n > 0 && r.next <= last) {
        r.n = 0;
        st = catalogue_chunks_from(s->sealer, (chunk_no)r.next, STORE_BATCH_CHUNKS, analyze_again,
                                   &r, err);
        rest(s);
        if (st == STATUS_OK && atomic_load(&s->closing)) {
            st = error_set(err, STATUS_CANCELLED, "indexing was stopped");
        }
    }
    text_index_path(s->text, name, path, cap);
    if (st == STATUS_OK) {
        st = text_batch_file(r.batch, TEXT_ANALYZER_VERSION, path, text_index_key(s->text), err);
    }
    text_batch_free(r.batch);
    buf_deinit(&r.scratch);
    arena_reset(&r.arena);
    arena_reset(&r.contents);
    return st;
}

struct piece {
    char path[1200];
    struct text_part *part;
};

/* first..last made again takes the place of what was there: piece by piece where it is long. */
static enum status rebuild(struct store *s, chunk_no first, chunk_no last, uint64_t epoch,
                           struct error *err)
{
    struct text_pace pace = {.rest = rest, .data = s, .cancelled = &s->closing};
    struct text_part *parts[TEXT_MERGE_MAX];
    struct piece *pieces = calloc(TEXT_MERGE_MAX, sizeof *pieces);
    char name[ID_CAP];
    char path[1200];
    size_t n = 0;
    enum status st =
        pieces == NULL ? error_set(err, STATUS_NO_MEMORY, "full text: out of memory") : STATUS_OK;
    if (st == STATUS_OK && last - first < PIECE) {
        st = rebuild_piece(s, first, last, name, path, sizeof path, err);
    } else if (st == STATUS_OK) {
        for (uint64_t at = first; at <= last && st == STATUS_OK && n < TEXT_MERGE_MAX; n++) {
            uint64_t end = at + PIECE - 1 < last ? at + PIECE - 1 : last;
            st = rebuild_piece(s, (chunk_no)at, (chunk_no)end, name, pieces[n].path,
                               sizeof pieces[n].path, err);
            if (st == STATUS_OK) {
                st = text_index_open_part(s->text, pieces[n].path, &pieces[n].part, err);
            }
            parts[n] = pieces[n].part;
            at = end + 1;
        }
        if (st == STATUS_OK) {
            text_index_path(s->text, name, path, sizeof path);
            st = text_merge_file(parts, n, &pace, path, text_index_key(s->text), err);
        }
    }
    for (size_t i = 0; i < n; i++) {
        text_part_drop(pieces[i].part);
        (void)unlink(pieces[i].path);
    }
    free(pieces);
    return st == STATUS_OK ? text_index_take(s->text, name, epoch, err) : st;
}

/* The first stretch of numbers that holds a live chunk and belongs to no part. */
static bool find_hole(const struct text_set *set, const struct visible *there, chunk_no *first,
                      chunk_no *last)
{
    uint64_t at = 1;
    for (size_t i = 0; i <= set->n; i++) {
        const struct text_about *a = i < set->n ? text_part_about(set->entries[i].part) : NULL;
        uint64_t end = a == NULL ? there->limit : a->first;
        end = end < there->limit ? end : there->limit;
        while (at < end && !visible_has(there, (chunk_no)at)) {
            at++;
        }
        if (at < end) {
            *first = (chunk_no)at;
            *last = (chunk_no)(end - at > PIECE ? at + PIECE - 1 : end - 1);
            return true;
        }
        at = a == NULL ? at : (uint64_t)a->last + 1;
    }
    return false;
}

/* The first part made by another analyzer. */
static const struct text_about *find_stale(const struct text_set *set)
{
    for (size_t i = 0; i < set->n; i++) {
        const struct text_about *a = text_part_about(set->entries[i].part);
        if (a->analyzer != TEXT_ANALYZER_VERSION) {
            return a;
        }
    }
    return NULL;
}

static enum status repair(struct store *s, const struct visible *there, uint64_t epoch, bool *done,
                          struct error *err)
{
    struct text_set *set = text_index_hold(s->text);
    const struct text_about *stale = find_stale(set);
    chunk_no first = 0;
    chunk_no last = 0;
    enum status st = STATUS_OK;
    if (find_hole(set, there, &first, &last)) {
        *done = true;
        st = rebuild(s, first, last, epoch, err);
    } else if (stale != NULL) {
        *done = true;
        st = rebuild(s, stale->first, stale->last, epoch, err);
    } else {
        atomic_store(&s->holes, false);
    }
    text_set_drop(set);
    return st;
}

/* ---- sealing ---- */

static enum status in_snapshot(struct store *s, const struct catalogue_state *state, uint64_t epoch,
                               bool *done, struct error *err)
{
    struct visible *there = NULL;
    enum status st = visible_all(s->sealer, state, &there, err);
    if (st != STATUS_OK) {
        return st;
    }
    struct lexical_allowed live = {.bits = there->bits, .limit = there->limit};
    struct text_pace pace = {
        .there = &live, .rest = rest, .data = s, .cancelled = &s->closing, .epoch = epoch};
    if (atomic_load(&s->holes)) {
        st = repair(s, there, epoch, done, err);
    }
    if (st == STATUS_OK && !*done) {
        st = text_index_seal(s->text, &pace, false, done, err);
    }
    if (st == STATUS_OK && !*done && !atomic_load(&s->holes)) {
        st = text_index_merge(s->text, &pace, done, err);
    }
    visible_drop(there);
    return st;
}

enum status index_seal(struct store *s, bool *done, struct error *err)
{
    struct catalogue_state state;
    *done = false;
    if (text_index_untidy(s->text, false)) {
        text_index_tidy(s->text);
    }
    if (!atomic_load(&s->holes) && !text_index_due(s->text) && text_index_clear(s->text) == 0 &&
        s->seals++ % LOOK_EVERY != 0) {
        return STATUS_OK;
    }
    uint64_t epoch = text_index_epoch(s->text);
    enum status st = catalogue_begin_read(s->sealer, &state, err);
    if (st == STATUS_OK) {
        st = in_snapshot(s, &state, epoch, done, err);
    }
    catalogue_end(s->sealer);
    s->seals = *done ? 0 : s->seals; /* look again at once */
    return st;
}
