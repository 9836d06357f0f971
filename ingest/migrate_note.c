/* The wish for a candidate, as a note in the journal: a restart before its fit is stored makes it
 * again. "fit 24", "served NAME", "" when nothing is wished. */
#include <stdlib.h>

#include "base/log.h"
#include "ingest/migrate_internal.h"

#define NOTE "candidate"

static enum status run_read(struct journal *j, struct journal_op *op, struct error *err)
{
    struct note *n = container_of(op, struct note, op);
    return journal_note_get(j, NOTE, n->value, sizeof n->value, err);
}

static enum status run_write(struct journal *j, struct journal_op *op, struct error *err)
{
    const struct note *n = container_of(op, struct note, op);
    return journal_note_set(j, NOTE, n->value, err);
}

static void on_read(struct journal_op *op)
{
    static const char fit[] = "fit ";
    static const char served[] = "served ";
    struct note *n = container_of(op, struct note, op);
    struct migration *m = container_of(n, struct migration, note);
    struct wish *w = &m->wish;
    n->running = false;
    if (n->again) { /* something was wished meanwhile */
        n->again = false;
        migrate_note_write(m);
        return;
    }
    if (op->err.code != STATUS_OK || w->wanted) {
        return;
    }
    if (strncmp(n->value, fit, sizeof fit - 1) == 0) {
        unsigned long dimensions = strtoul(n->value + sizeof fit - 1, NULL, 10);
        w->wanted = dimensions == 0 || (dimensions >= 8 && dimensions <= 1024);
        w->dimensions = w->wanted ? (uint32_t)dimensions : 0;
        w->encoder[0] = '\0';
    } else if (strncmp(n->value, served, sizeof served - 1) == 0) {
        w->wanted = true;
        (void)snprintf(w->encoder, sizeof w->encoder, "%s", n->value + sizeof served - 1);
    }
}

static void on_written(struct journal_op *op)
{
    struct note *n = container_of(op, struct note, op);
    struct migration *m = container_of(n, struct migration, note);
    n->running = false;
    if (!n->again) { /* else what was written is an older wish: the next write tells */
        migrate_wish_noted(m, &op->err);
    }
    if (op->err.code != STATUS_OK) {
        LOG_WARN("the wish for a candidate is not kept: a restart forgets it or makes it twice",
                 LOG_STR("tenant", m->t->id), LOG_STR("err", op->err.text), LOG_END);
    }
    if (n->again) {
        n->again = false;
        migrate_note_write(m);
    }
}

void migrate_note_read(struct migration *m)
{
    struct note *n = &m->note;
    n->running = true;
    n->op.run = run_read;
    n->op.done = on_read;
    journal_submit(&m->t->journal, &n->op);
}

void migrate_note_write(struct migration *m)
{
    struct note *n = &m->note;
    const struct wish *w = &m->wish;
    if (n->running) {
        n->again = true;
        return;
    }
    n->running = true;
    if (!w->wanted || w->by_setting) {
        n->value[0] = '\0';
    } else if (w->encoder[0] != '\0') {
        (void)snprintf(n->value, sizeof n->value, "served %s", w->encoder);
    } else {
        (void)snprintf(n->value, sizeof n->value, "fit %u", w->dimensions);
    }
    n->op.run = run_write;
    n->op.done = on_written;
    journal_submit(&m->t->journal, &n->op);
}
