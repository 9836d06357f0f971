/* What became of documents, for those who want to be told: rows that triggers write in the
 * transaction in which a document becomes ready with a content it was not ready with before, or
 * fails. */
#include <stdio.h>

#include "ingest/journal_internal.h"

enum status journal_events(struct journal *j, uint64_t after, size_t limit, struct arena *a,
                           struct journal_event **out, size_t *n, struct error *err)
{
    bool row = false;
    *n = 0;
    *out = arena_array(a, limit + 1, sizeof **out);
    if (*out == NULL) {
        return error_set(err, STATUS_NO_MEMORY, "out of memory");
    }
    (void)sqlite3_bind_int64(j->events, 1, (sqlite3_int64)after);
    (void)sqlite3_bind_int64(j->events, 2, (sqlite3_int64)limit);
    enum status s = STATUS_OK;
    while (s == STATUS_OK && *n < limit && (s = db_row(j->events, &row, err)) == STATUS_OK && row) {
        struct journal_event *e = &(*out)[(*n)++];
        e->seq = (uint64_t)sqlite3_column_int64(j->events, 0);
        e->failed = sqlite3_column_int(j->events, 1) == 2;
        e->at_ms = sqlite3_column_int64(j->events, 2);
        (void)snprintf(e->document, sizeof e->document, "%.*s", STR_ARG(db_column(j->events, 3)));
    }
    db_reset(j->events);
    for (size_t i = 0; i < *n && s == STATUS_OK; i++) {
        struct journal_event *e = &(*out)[i];
        struct error gone = {0};
        s = journal_get(j, e->document, a, &e->row, &gone);
        e->known = s == STATUS_OK;
        if (s == STATUS_NOT_FOUND) { /* deleted since then, or erased: nothing to tell */
            s = STATUS_OK;
        } else if (s != STATUS_OK) {
            *err = gone;
        }
    }
    return s;
}

enum status journal_events_last(struct journal *j, uint64_t *out, struct error *err)
{
    bool row = false;
    enum status s = db_row(j->events_last, &row, err);
    *out = s == STATUS_OK && row ? (uint64_t)sqlite3_column_int64(j->events_last, 0) : 0;
    db_reset(j->events_last);
    return s;
}
