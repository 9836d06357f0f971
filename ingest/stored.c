/* What the documents take, by collection: read on the journal's lane, told from the loop thread. */
#include "ingest/stored.h"

#include <stdlib.h>

#include "base/db.h"
#include "ingest/documents.h"

#define COLLECTIONS_MAX 10000U

struct stored {
    struct journal_op op;
    struct rpc_call *call; /* NULL: nobody waits any more */
    struct arena arena;
    Ig__StoredReply reply;
};

static enum status take(struct stored *s, sqlite3_stmt *st, struct error *err)
{
    Ig__StoredReply__Collection *c = arena_alloc(&s->arena, sizeof *c);
    struct str name = db_column(st, 0);
    if (c != NULL) {
        ig__stored_reply__collection__init(c);
        c->collection = arena_strndup(&s->arena, name.len == 0 ? "" : name.ptr, name.len);
        c->documents = (uint64_t)sqlite3_column_int64(st, 1);
        c->bytes = (uint64_t)sqlite3_column_int64(st, 2);
    }
    if (c == NULL || c->collection == NULL) {
        return error_set(err, STATUS_NO_MEMORY, "out of memory");
    }
    s->reply.collections[s->reply.n_collections++] = c;
    return STATUS_OK;
}

static enum status run(struct journal *j, struct journal_op *op, struct error *err)
{
    struct stored *s = container_of(op, struct stored, op);
    sqlite3_stmt *st = NULL;
    s->reply.collections = arena_array(&s->arena, COLLECTIONS_MAX, sizeof *s->reply.collections);
    if (s->reply.collections == NULL) {
        return error_set(err, STATUS_NO_MEMORY, "out of memory");
    }
    enum status status = db_prepare(journal_db(j),
                                    "SELECT collection, count(*), coalesce(sum(size), 0) FROM files"
                                    " WHERE state=1 AND op NOT IN (3,4,5) AND path IS NOT NULL"
                                    " GROUP BY collection ORDER BY 3 DESC LIMIT ?1",
                                    &st, err);
    bool row = status == STATUS_OK;
    if (row) {
        (void)sqlite3_bind_int64(st, 1, COLLECTIONS_MAX);
    }
    while (status == STATUS_OK && row) {
        status = db_row(st, &row, err);
        if (status == STATUS_OK && row) {
            status = take(s, st, err);
        }
    }
    (void)sqlite3_finalize(st);
    return status;
}

static void done(struct journal_op *op)
{
    struct stored *s = container_of(op, struct stored, op);
    if (s->call != NULL) {
        *rpc_call_data(s->call) = NULL;
        if (op->err.code == STATUS_OK) {
            ig_stored_return(s->call, &s->reply);
        } else {
            rpc_call_fail(s->call, &op->err);
        }
    }
    arena_reset(&s->arena);
    free(s);
}

void stored_tell(struct rpc_call *call, const ProtobufCMessage *m)
{
    (void)m;
    struct tenant *t = documents_tenant(call);
    if (t == NULL) {
        return;
    }
    struct stored *s = calloc(1, sizeof *s);
    if (s == NULL) {
        rpc_call_finish(call, STATUS_NO_MEMORY, NULL);
        return;
    }
    arena_init(&s->arena, (size_t)16 * 1024 * 1024);
    ig__stored_reply__init(&s->reply);
    s->call = call;
    s->op.run = run;
    s->op.done = done;
    *rpc_call_data(call) = s;
    journal_submit(&t->journal, &s->op);
}

void stored_cancel(struct rpc_call *call)
{
    struct stored *s = *rpc_call_data(call);
    if (s != NULL) {
        s->call = NULL;
        rpc_call_finish(call, STATUS_CANCELLED, NULL);
    }
}
