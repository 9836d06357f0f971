/* Legal holds (ingest.db, truth): what is under one may not be erased, nor deleted from the trash,
 * and its versions outlive their retention (the store is told: hold_rpc.c).
 * A hold names a document, a path with all below it, or a collection. Blocking functions for the
 * journal's lane. */
#ifndef CARREL_INGEST_HOLDS_H
#define CARREL_INGEST_HOLDS_H

#include "ingest/journal.h"

#define HOLDS_MAX 10000U
#define HOLD_REASON_MAX 500

enum hold_kind { HOLD_DOCUMENT = 1, HOLD_PATH = 2, HOLD_COLLECTION = 3 }; /* numbers are stored */

struct hold {
    char id[ID_CAP];
    enum hold_kind kind;
    struct str target; /* a document's id, a path without a slash at its end, a collection */
    struct str path;   /* of the document, when it was held; else "" */
    const char *reason, *by;
    int64_t created_ms;
};

/* Fills in id, time and a document's path; a document must be known. */
enum status hold_prepare(struct journal *j, struct hold *h, struct arena *a,
                         struct error *err) MUST_CHECK;
enum status hold_add(struct journal *j, const struct hold *h, struct error *err) MUST_CHECK;
enum status hold_remove(struct journal *j, const char *id, struct error *err) MUST_CHECK;
/* Oldest first. */
enum status hold_list(struct journal *j, struct arena *a, struct hold **out, size_t *n,
                      struct error *err) MUST_CHECK;
/* The first hold over this document at this path; NULL: none. document may be "". */
const struct hold *hold_over(const struct hold *list, size_t n, const char *document,
                             struct str path);
/* The one of that id; NULL: it was lifted. */
const struct hold *hold_named(const struct hold *list, size_t n, const char *id);
/* FORBIDDEN, naming the hold. */
enum status hold_refuse(const struct hold *h, struct str path, struct error *err);

#endif
