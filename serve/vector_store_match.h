/* Which documents of some collections a filter over attributes holds of, as far as the caller may
 * read them. */
#ifndef CARREL_SERVE_VECTOR_STORE_MATCH_H
#define CARREL_SERVE_VECTOR_STORE_MATCH_H

#include "serve/files.h"
#include "serve/request.h"

#define MATCH_WALK_MAX 50000      /* documents that filters are tried on */
#define MATCH_DOCUMENTS_MAX 2048U /* that a search can be narrowed to (vectorstore/access.h) */
#define MATCH_COLLECTIONS_MAX 32

struct match {
    struct request *q;
    const char *collections[MATCH_COLLECTIONS_MAX];
    size_t n_collections;
    const struct json *filters; /* checked; borrowed from the body */
    /* found, in order */
    char (*ids)[ID_CAP];
    size_t n;
    /* private */
    size_t cap, walked;
    bool full;
    struct attached_file *rows;
    size_t n_rows;
    void *op;
    void (*then)(struct request *q, struct match *m);
};

/* Fills m, which lies in the arena, then calls `then`; or answers an error. q->op is as it was. */
void match_run(struct request *q, struct match *m,
               void (*then)(struct request *q, struct match *m));
bool match_has(const struct match *m, const char *document);

#endif
