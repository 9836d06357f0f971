/* The journal's book of erasures (ingest.db): what is to be erased, how far it is, where it was,
 * and in the end the certificate. Everything an erasure needs to go on after a kill is here; no
 * text of a document is. Plain blocking functions for the journal's lane, inside its transactions.
 */
#ifndef CARREL_INGEST_ERASURES_H
#define CARREL_INGEST_ERASURES_H

#include "base/text/subject.h"
#include "base/trace.h"
#include "ingest/journal.h"

#define ERASURE_DOCUMENTS_MAX 10000U
#define ERASURE_PLACE_CAP 64

enum erasure_phase {                   /* numbers are stored; in the order in which they happen */
                     ERASURE_HIDE = 0, /* out of search, and onto the list of what was erased */
                     ERASURE_SOURCES =
                         1, /* files in the watched folder, trash, uploads, pictures */
                     ERASURE_CONTENTS = 2, /* chunks, vectors, blobs */
                     ERASURE_POSTINGS = 3,
                     ERASURE_VECTORS = 4,
                     ERASURE_FIT = 5, /* a fit without the documents; those with them go */
                     ERASURE_ANSWERS = 6,
                     ERASURE_FILES = 7,  /* free pages and logs of the databases */
                     ERASURE_VERIFY = 8, /* a look through every file, then the certificate */
                     ERASURE_DONE = 9,
};

enum erased_source {                  /* numbers are stored */
                     SOURCE_NONE = 0, /* there was no file any more */
                     SOURCE_DELETED = 1,
                     SOURCE_KEPT = 2,     /* it may not be deleted: its hash keeps it out */
                     SOURCE_REPLACED = 3, /* another file lies there now: left alone */
                     SOURCE_TRASH = 4,    /* the item is a file in the trash: it has no other */
};

struct erasure {
    char id[ID_CAP];
    int64_t created_ms, finished_ms;      /* finished 0: not yet */
    const char *by, *error, *certificate; /* "" none */
    enum erasure_phase phase;
    uint64_t sequence;
    uint32_t attempts;
    int64_t due_ms;
};

struct erasure_item {
    char document[ID_CAP];
    struct str path;
    bool has_hash;
    uint8_t hash[SHA256_BYTES];
    uint64_t size;
    uint32_t chunks, versions;
    bool content_stays; /* it is there under another path too, and stays */
    enum erased_source source;
    /* erasure_stamps: the file as it was when the erasure was asked for; the path is another
     * document's by now */
    bool has_stamp, taken;
    struct file_stamp stamp;
    bool has_was; /* what it held when it was last read; after a restore the stamp is another */
    uint8_t was[SHA256_BYTES];
};

struct erasure_place {
    const char *place;
    int64_t n;
};

/* ---- subjects.c: an erasure of everything that names a data subject ---- */

struct erasure_kept { /* names the subject and stays, as was asked */
    char document[ID_CAP];
    struct str path; /* masked */
};

struct erasure_subject {
    struct subject_mark *marks;
    size_t n_marks;
    struct erasure_kept *kept;
    size_t n_kept;
};

/* In the transaction of erasure_begin. */
enum status erasure_subject_begin(struct journal *j, const char *id,
                                  const struct erasure_subject *s, struct error *err) MUST_CHECK;
/* Without marks: it is about no subject. All in a. */
enum status erasure_subject_get(struct journal *j, const char *id, struct arena *a,
                                struct erasure_subject *out, struct error *err) MUST_CHECK;
/* The items' paths no longer name the subject: their files are gone. Nor do the collections in
 * what reading cost, as far as serve has not heard it yet. */
enum status erasure_subject_mask(struct journal *j, const char *id, struct subject_set *set,
                                 const struct erasure_item *items, size_t n,
                                 struct error *err) MUST_CHECK;

/* ---- */

/* Begins one: its row, its items, their traces, the keyed hashes of contents that go; the files'
 * rows leave every list and queue. e: id and by are set; the rest is filled in. */
enum status erasure_begin(struct journal *j, struct erasure *e, const struct erasure_item *items,
                          size_t n_items, const struct trace *traces, size_t n_traces,
                          const uint8_t key[KEYED_KEY_BYTES], struct error *err) MUST_CHECK;
/* The oldest that is not finished; NOT_FOUND. Texts in a. */
enum status erasure_open(struct journal *j, struct arena *a, struct erasure *out,
                         struct error *err) MUST_CHECK;
enum status erasure_get(struct journal *j, const char *id, struct arena *a, struct erasure *out,
                        struct error *err) MUST_CHECK;
enum status erasure_known(struct journal *j, const char *id, bool *known,
                          struct error *err) MUST_CHECK;
/* Newest first, at most limit. */
enum status erasure_list(struct journal *j, size_t limit, struct arena *a, struct erasure **out,
                         size_t *n, struct error *err) MUST_CHECK;
enum status erasure_items(struct journal *j, const char *id, struct arena *a,
                          struct erasure_item **out, size_t *n, struct error *err) MUST_CHECK;
/* What the journal knows of the files that lie at the items' paths. */
enum status erasure_stamps(struct journal *j, const char *id, struct erasure_item *items, size_t n,
                           struct error *err) MUST_CHECK;
enum status erasure_traces(struct journal *j, const char *id, struct arena *a, struct trace **out,
                           size_t *n, struct error *err) MUST_CHECK;
enum status erasure_places(struct journal *j, const char *id, struct arena *a,
                           struct erasure_place **out, size_t *n, struct error *err) MUST_CHECK;
/* It goes on with phase; n things were removed from that place (place NULL: none). */
enum status erasure_step(struct journal *j, const char *id, enum erasure_phase phase,
                         const char *place, int64_t n, struct error *err) MUST_CHECK;
/* Something hindered it: tried again at that wall time. */
enum status erasure_failed(struct journal *j, const char *id, const char *why, int64_t due_ms,
                           struct error *err) MUST_CHECK;
/* What became of an item's file, and of its row in the journal. */
enum status erasure_source(struct journal *j, const char *id, const struct erasure_item *item,
                           struct error *err) MUST_CHECK;
/* The certificate is written down and the traces go. */
enum status erasure_finish(struct journal *j, const char *id, const char *certificate,
                           struct error *err) MUST_CHECK;
/* A content, known by its keyed hash only, may not come in. */
enum status erasure_ban(struct journal *j, const char *id, const uint8_t keyed[KEYED_BYTES],
                        struct error *err) MUST_CHECK;
/* Every content that may not come in because of this erasure, ascending: also of versions. In a. */
enum status erasure_bans(struct journal *j, const char *id, struct arena *a,
                         uint8_t (**out)[KEYED_BYTES], size_t *n, struct error *err) MUST_CHECK;
/* Is there any such content? */
enum status erasure_any_ban(struct journal *j, bool *any, struct error *err) MUST_CHECK;
/* The erasure that this content fell to; NOT_FOUND when it may come in. */
enum status erasure_of_hash(struct journal *j, const uint8_t keyed[KEYED_BYTES], char id[ID_CAP],
                            struct error *err) MUST_CHECK;
/* Contents of this erasure may come in again; *n how many. */
enum status erasure_allow(struct journal *j, const char *id, uint32_t *n,
                          struct error *err) MUST_CHECK;

#endif
