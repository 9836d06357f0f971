#include "ingest/recut.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/log.h"
#include "ingest/job.h"
#include "ingest/queue.h"

#define PAGE_ROWS 32
#define AGAIN_MS 60000 /* after a round that left some */

struct recut {
    struct tenant *t;
    struct journal_op op;
    bool asking, due, closing;
    int64_t look_ms;   /* monotonic: not before */
    uint64_t left, of; /* documents, as of the last look */
    /* the page: the lane's while asking */
    struct arena arena;
    struct file_row *rows;
    size_t n, next;
    int64_t cursor; /* row number */
    bool counted;
    uint64_t count;
    char doing[120];
};

/* ---- names ---- */

void recut_options(const struct settings *s, const char *collection, struct chunk_options *out)
{
    struct chunk_sizes sizes;
    settings_chunk(s, collection, &sizes);
    *out = (struct chunk_options){.target_words = (uint32_t)sizes.target_words,
                                  .max_words = (uint32_t)sizes.max_words,
                                  .target_cjk_chars = (uint32_t)sizes.target_cjk_chars,
                                  .overlap_words = (uint32_t)sizes.overlap_words};
}

void recut_extraction(char out[INGEST_PIPELINE_CAP])
{
    (void)snprintf(out, INGEST_PIPELINE_CAP, "x%d", EXTRACTOR_VERSION);
}

void recut_pipeline(const struct settings *s, const char *collection, char out[INGEST_PIPELINE_CAP])
{
    struct chunk_options o;
    recut_options(s, collection, &o);
    (void)snprintf(out, INGEST_PIPELINE_CAP, "x%dc%d-%u-%u-%u-%u", EXTRACTOR_VERSION,
                   CHUNKER_VERSION, o.target_words, o.max_words, o.target_cjk_chars,
                   o.overlap_words);
}

enum status recut_prepare(const struct settings *s, struct journal *j, struct error *err)
{
    char name[INGEST_PIPELINE_CAP];
    recut_pipeline(s, "", name);
    enum status st = journal_cut_set(j, NULL, name, err);
    for (size_t i = 0; i < s->n_collections && st == STATUS_OK; i++) {
        recut_pipeline(s, s->collections[i].name, name);
        st = journal_cut_set(j, s->collections[i].name, name, err);
    }
    return st;
}

/* ---- life ---- */

struct recut *recut_new(struct tenant *t)
{
    struct recut *r = calloc(1, sizeof *r);
    if (r != NULL) {
        r->t = t;
        r->due = true;
        arena_init(&r->arena, (size_t)4 << 20);
    }
    return r;
}

void recut_free(struct recut *r)
{
    if (r != NULL) {
        arena_reset(&r->arena);
        free(r);
    }
}

bool recut_busy(const struct recut *r)
{
    return r->asking;
}

void recut_look(struct recut *r)
{
    r->due = true;
}

uint32_t recut_left(const struct recut *r)
{
    return (uint32_t)(r->left < UINT32_MAX ? r->left : UINT32_MAX);
}

const char *recut_doing(struct recut *r)
{
    r->doing[0] = '\0';
    if (r->left > 0) {
        uint64_t done = r->of > r->left ? r->of - r->left : 0;
        (void)snprintf(r->doing, sizeof r->doing, "cutting documents anew: %llu of %llu done",
                       (unsigned long long)done, (unsigned long long)r->of);
    }
    return r->doing;
}

/* ---- going through the journal ---- */

static enum status run_page(struct journal *j, struct journal_op *op, struct error *err)
{
    struct recut *r = container_of(op, struct recut, op);
    enum status s = STATUS_OK;
    arena_reset(&r->arena);
    r->n = 0;
    if (!r->counted) {
        s = journal_cut_count(j, &r->count, err);
    }
    if (s == STATUS_OK && (r->counted || r->count > 0)) {
        s = journal_cut_page(j, r->cursor, PAGE_ROWS, &r->arena, &r->rows, &r->n, err);
    }
    return s;
}

static void page_done(struct journal_op *op)
{
    struct recut *r = container_of(op, struct recut, op);
    r->asking = false;
    r->next = 0;
    if (op->err.code != STATUS_OK) {
        r->n = 0;
        r->counted = false;
        r->look_ms = clock_monotonic_ms() + AGAIN_MS;
        return;
    }
    if (!r->counted) {
        r->counted = true;
        r->left = r->of = r->count;
        if (r->left > 0) {
            LOG_INFO("documents are cut anew", LOG_STR("tenant", r->t->id),
                     LOG_INT("documents", r->left), LOG_END);
        }
    }
    if (r->n == 0) { /* the round is over; whether some are left the next one tells */
        r->due = r->left > 0;
        r->counted = false;
        r->cursor = 0;
        r->left = r->of = 0;
        r->look_ms = clock_monotonic_ms() + (r->due ? AGAIN_MS : 0);
    }
    recut_go(r);
}

void recut_go(struct recut *r)
{
    struct tenant *t = r->t;
    if (r->asking || t->in->closing || !t->reconciled || !queue_rests(t->queue)) {
        return;
    }
    while (r->next < r->n) {
        const struct file_row *row = &r->rows[r->next++];
        r->cursor = row->id;
        if (queue_adopt(t->queue, row)) {
            return; /* recut_ended goes on */
        }
    }
    if (!r->due || clock_monotonic_ms() < r->look_ms) {
        return;
    }
    r->asking = true;
    r->op.run = run_page;
    r->op.done = page_done;
    journal_submit(&t->journal, &r->op);
}

void recut_ended(struct recut *r, const struct job *j)
{
    if (j->outcome == OUTCOME_DONE || j->outcome == OUTCOME_REQUEUE) {
        r->left -= r->left > 0 ? 1 : 0;
    }
    if (r->left == 0) { /* those passed over are counted again */
        r->due = true;
    }
}
