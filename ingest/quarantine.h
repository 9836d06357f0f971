/* Files in which the malware scanner found something: the journal's book of them, what was done
 * with the file, and who let one in all the same. The functions on a journal are called on its
 * lane. */
#ifndef CARREL_INGEST_QUARANTINE_H
#define CARREL_INGEST_QUARANTINE_H

#include "ingest/journal.h"

#define QUARANTINE_LIST_MAX 10000U

struct quarantined {
    char id[ID_CAP];
    char document[ID_CAP];
    struct str path;  /* where it stood, below the watched folder */
    const char *name; /* of what was found */
    uint8_t hash[SHA256_BYTES];
    uint64_t size;
    int64_t found_ms;
    bool moved; /* to quarantine/<tenant>/<id>/ in the data directory; else it was left in place */
    int64_t released_ms;     /* 0: not */
    const char *released_by; /* "" */
};

/* Writes down that q was found; where the same content of the same document is in the book and not
 * released, that entry stays and q gets its id. */
enum status quarantine_add(struct journal *j, struct quarantined *q, struct error *err) MUST_CHECK;
/* It could not be moved after all, or has been put back. */
enum status quarantine_stays(struct journal *j, const char *id, struct error *err) MUST_CHECK;
/* Whether somebody has let this content in. */
enum status quarantine_allows(struct journal *j, const uint8_t hash[SHA256_BYTES], bool *out,
                              struct error *err) MUST_CHECK;
/* Whether the document's file was moved away and is kept for it. */
enum status quarantine_keeps(struct journal *j, const char *document, bool *out,
                             struct error *err) MUST_CHECK;
/* NOT_FOUND. Texts in the arena. */
enum status quarantine_get(struct journal *j, const char *id, struct arena *a,
                           struct quarantined *out, struct error *err) MUST_CHECK;
/* Newest first, at most QUARANTINE_LIST_MAX. */
enum status quarantine_list(struct journal *j, struct arena *a, struct quarantined **out, size_t *n,
                            struct error *err) MUST_CHECK;
/* From now on its content is let in; a document that stands in its place is read anew. CONFLICT
 * when it is released already. */
enum status quarantine_release(struct journal *j, const char *id, const char *by,
                               struct error *err) MUST_CHECK;

/* ---- files; on any lane. root: the watched folder, open ---- */

/* Moves the file at path (NOT_FOUND when its inode is another) to quarantine/<tenant>/<id>/. */
enum status quarantine_take(int root, const char *home, const char *tenant, const char *id,
                            struct str path, uint64_t ino, struct error *err) MUST_CHECK;
/* Back to where it was; CONFLICT when something stands there, NOT_FOUND when it is not in
 * quarantine. */
enum status quarantine_put_back(int root, const char *home, const char *tenant, const char *id,
                                struct str path, struct error *err) MUST_CHECK;

#endif
