/* Where the store's search for a data subject goes on: FindSubject is asked again with what its
 * reply said, until it is done. */
#ifndef CARREL_INGEST_SUBJECT_CURSOR_H
#define CARREL_INGEST_SUBJECT_CURSOR_H

#include <stdio.h>

#include "base/hash.h"
#include "vectorstore/vectorstore_rpc.h"

struct subject_cursor { /* zero: at the beginning */
    int64_t after;
    char names[ID_CAP];
    bool in_names; /* contents are through */
    bool done;
};

/* The request borrows the cursor. */
static inline void subject_cursor_ask(struct subject_cursor *c, Vs__FindSubjectRequest *m)
{
    m->has_after = 1;
    m->after = c->after;
    m->names_after = c->in_names ? c->names : NULL;
}

static inline void subject_cursor_take(struct subject_cursor *c, const Vs__FindSubjectReply *reply)
{
    c->after = reply->next;
    c->done = reply->done;
    if (reply->names_next != NULL) {
        (void)snprintf(c->names, sizeof c->names, "%s", reply->names_next);
        c->in_names = true;
    }
}

#endif
