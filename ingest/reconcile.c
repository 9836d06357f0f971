/* Once after the start the journal is compared with what the store lists: a document the journal
 * does not know gets a row, one that is ready here and missing there is put again. Either database
 * may have been restored from a copy; after a mere crash both agree and nothing happens. */
#include <stdlib.h>

#include "base/clock.h"
#include "base/log.h"
#include "ingest/job.h"
#include "ingest/queue.h"

#define PAGE_ROWS 512
#define AGAIN_MS 10000

struct reconcile {
    struct journal_op op;
    struct tenant *t;
    struct rpc_request *request;
    struct arena arena;
    struct stored {
        char document[ID_CAP];
        struct str path;
        uint64_t sequence;
    } * rows;
    size_t n;
    bool begun, ended, writing;
    struct error end;
    uint64_t requeued;
};

static void finish(struct reconcile *c, const struct error *err)
{
    struct tenant *t = c->t;
    t->reconciling = false;
    t->reconciled = err->code == STATUS_OK;
    t->reconcile_due = clock_monotonic_ms() + AGAIN_MS;
    if (t->reconciled && c->requeued > 0) {
        LOG_WARN("the store had lost documents, they are put again", LOG_STR("tenant", t->id),
                 LOG_INT("documents", c->requeued), LOG_END);
    }
    arena_reset(&c->arena);
    free(c);
    if (!t->in->closing) {
        queue_changed(t->queue);
    }
}

static enum status run_rows(struct journal *j, struct journal_op *op, struct error *err)
{
    struct reconcile *c = container_of(op, struct reconcile, op);
    enum status s = STATUS_OK;
    if (!c->begun) {
        s = journal_store_list_begin(j, err);
    }
    for (size_t i = 0; i < c->n && s == STATUS_OK; i++) {
        s = journal_store_has(j, c->rows[i].document, c->rows[i].path, c->rows[i].sequence, err);
    }
    if (s == STATUS_OK && c->ended) {
        s = journal_store_list_end(j, &c->requeued, err);
    }
    return s;
}

static void write_rows(struct reconcile *c);

static void rows_done(struct journal_op *op)
{
    struct reconcile *c = container_of(op, struct reconcile, op);
    c->writing = false;
    c->begun = true;
    if (op->err.code != STATUS_OK || c->t->in->closing) {
        struct error err = op->err;
        if (err.code == STATUS_OK) {
            err.code = STATUS_CANCELLED;
        }
        if (c->request != NULL) {
            rpc_request_cancel(c->request);
        }
        finish(c, &err);
    } else if (c->ended) {
        finish(c, &op->err);
    } else if (c->request == NULL) {
        if (c->end.code != STATUS_OK) {
            finish(c, &c->end);
        } else {
            c->ended = true;
            c->n = 0;
            write_rows(c);
        }
    } else {
        c->n = 0;
        arena_reset(&c->arena);
        rpc_request_resume(c->request);
    }
}

static void write_rows(struct reconcile *c)
{
    c->writing = true;
    c->op.run = run_rows;
    c->op.done = rows_done;
    journal_submit(&c->t->journal, &c->op);
}

static void on_list(struct rpc_request *r, const ProtobufCMessage *m, void *data)
{
    struct reconcile *c = data;
    const Vs__ListReply *reply = vs_list_reply(m);
    if (reply == NULL || reply->n_documents == 0 || c->writing) {
        return;
    }
    c->rows = arena_array(&c->arena, reply->n_documents, sizeof *c->rows);
    for (size_t i = 0; c->rows != NULL && i < reply->n_documents; i++) {
        const Vs__Location *l = reply->documents[i]->location;
        const char *path = arena_strndup(&c->arena, (const char *)l->path.data, l->path.len);
        if (path == NULL || !id_valid(l->document) ||
            !(strcmp(l->source, "watch") == 0 || strcmp(l->source, "member") == 0) ||
            l->path.len > INGEST_PATH_MAX) {
            continue;
        }
        struct stored *s = &c->rows[c->n++];
        memcpy(s->document, l->document, ID_CAP);
        s->path = (struct str){.ptr = path, .len = l->path.len};
        s->sequence = l->sequence;
    }
    if (c->n > 0) {
        rpc_request_pause(r);
        write_rows(c);
    }
}

static void on_list_end(struct rpc_request *r, const struct error *err, void *data)
{
    (void)r;
    struct reconcile *c = data;
    c->request = NULL;
    c->end = *err;
    if (c->writing) {
        return; /* rows_done goes on */
    }
    if (err->code != STATUS_OK) {
        finish(c, err);
        return;
    }
    c->ended = true;
    c->n = 0;
    write_rows(c);
}

void reconcile_start(struct tenant *t)
{
    struct reconcile *c = calloc(1, sizeof *c);
    t->reconcile_due = clock_monotonic_ms() + AGAIN_MS;
    if (c == NULL) {
        return;
    }
    c->t = t;
    arena_init(&c->arena, 16 << 20);
    Vs__ListRequest m = VS__LIST_REQUEST__INIT;
    struct rpc_options o = {.tenant = t->id, .priority = 1, .timeout_ms = 600000};
    struct rpc_callbacks cb = {.on_reply = on_list, .on_finish = on_list_end};
    c->request = vs_list(service_client(t->in->svc, PEER_VECTORSTORE), &o, &m, &cb, c);
    if (c->request == NULL) {
        free(c);
        return;
    }
    t->reconciling = true;
}
