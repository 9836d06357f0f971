/* Legal holds over versions: a short table that ingest fills, asked for each version that would be
 * forgotten. */
#include <string.h>

#include "vectorstore/catalogue_query.h"

enum status catalogue_holds(struct catalogue *c, bool *known, int64_t *n, struct error *err)
{
    struct query q = query(c, Q_HOLDS_STATE, err);
    if (next(&q)) {
        *known = col_int(&q, 0) != 0;
        *n = col_int(&q, 1);
    }
    return done(&q);
}

enum status catalogue_holds_known(struct catalogue *c, bool known, struct error *err)
{
    return run_int(c, Q_HOLDS_KNOWN, known ? 1 : 0, err);
}

enum status catalogue_hold_set(struct catalogue *c, const char *id, enum hold_target kind,
                               struct str target, int64_t round, struct error *err)
{
    struct query q = query(c, Q_HOLD_SET, err);
    put_z(&q, id);
    put_int(&q, (int64_t)kind);
    put_blob(&q, target);
    put_int(&q, round);
    return run(&q);
}

enum status catalogue_holds_lift(struct catalogue *c, int64_t round, struct error *err)
{
    return run_int(c, Q_HOLDS_LIFT, round, err);
}

static enum status on(struct catalogue *c, enum hold_target kind, struct str target,
                      char hold[ID_CAP], struct error *err)
{
    if (target.len == 0) {
        return STATUS_OK;
    }
    struct query q = query(c, Q_HOLD_ON, err);
    put_int(&q, (int64_t)kind);
    put_blob(&q, target);
    if (next(&q)) {
        struct str id = db_column(q.st, 0);
        size_t n = id.len < ID_CAP ? id.len : ID_CAP - 1;
        memcpy(hold, id.ptr, n);
        hold[n] = '\0';
    }
    return done(&q);
}

enum status catalogue_held(struct catalogue *c, struct str document, struct str path,
                           struct str collection, char hold[ID_CAP], struct error *err)
{
    hold[0] = '\0';
    enum status s = on(c, HOLD_ON_DOCUMENT, document, hold, err);
    if (s == STATUS_OK && hold[0] == '\0') {
        s = on(c, HOLD_ON_COLLECTION, collection, hold, err);
    }
    for (size_t end = path.len; end > 0 && s == STATUS_OK && hold[0] == '\0'; end--) {
        if (end == path.len || path.ptr[end] == '/') {
            s = on(c, HOLD_ON_PATH, (struct str){.ptr = path.ptr, .len = end}, hold, err);
        }
    }
    return s;
}
