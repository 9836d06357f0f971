/* The journal of one tenant: tenants/<id>/ingest.db. One row a file; every change of a path gets a
 * sequence number, monotonic and never reused, committed before any work on it starts. A job is a
 * row whose `wanted` sequence is above what is `done`; killing the process at any moment leaves it
 * to be taken again.
 *
 * Plain blocking functions on one connection, called on the journal's lane (journal_lane.h) inside
 * its transactions; they look at the disk themselves (stat only), so that a row always says what
 * was there. */
#ifndef CARREL_INGEST_JOURNAL_H
#define CARREL_INGEST_JOURNAL_H

#include <sqlite3.h>

#include "base/arena.h"
#include "base/hash.h"
#include "ingest/disk.h"
#include "ingest/paths.h"

struct journal;

enum file_op { /* what the store still has to be told; numbers are stored */
               FILE_OP_NONE = 0,
               FILE_OP_PUT = 1,
               FILE_OP_MOVE = 2,
               FILE_OP_REMOVE = 3,  /* gone from the folder */
               FILE_OP_TRASH = 4,   /* deleted by a person: leave search, then move the file away */
               FILE_OP_EXCLUDE = 5, /* deleted by a person in a read-only folder */
               FILE_OP_MOVE_PUT = 6, /* who may read the version it has, then the new one */
               FILE_OP_RECUT = 7, /* of a ready document: its chunks anew (recut.h); never stored */
};

enum file_state { /* numbers are stored; "working" is known only to the process that works */
                  FILE_QUEUED = 0,
                  FILE_READY = 1,
                  FILE_FAILED = 2,
                  FILE_EXCLUDED = 3,
};

/* One row. Pointers live in the arena given to the call. */
struct file_row {
    int64_t id; /* row number: never leaves ingest */
    char document[ID_CAP];
    struct str path; /* "" for a displaced file that only waits to be removed */
    const char *collection;
    enum file_op op;
    enum file_state state;
    uint64_t wanted, done;
    struct file_stamp stamp;
    uint32_t attempts;
    int64_t next_attempt_ms; /* wall time */
    uint32_t chunks, pages;
    const char *format, *title, *error; /* "" when none */
    int64_t changed_ms;
    const char
        *access; /* what the rules said when the store was told, as rules_write; NULL: never */
    const char *author, *language; /* "" when none */
    bool dated, hashed;
    int64_t own_ms; /* the document's own date, where dated */
    uint8_t hash[SHA256_BYTES];
    const char *note; /* what was left out of it; "" */
    uint32_t members,
        members_done; /* in journal_list and journal_get: that lie in it, and are read */
    /* of a member of a container (journal_children.c) */
    int64_t parent;              /* the container's row; 0: a file on the disk */
    const char *parent_document; /* NULL: none, or no longer known */
    size_t real;                 /* bytes of the path that are the file's on the disk; 0: all */
    uint32_t depth;              /* containers above it */
    bool has_member;
    uint8_t member[SHA256_BYTES]; /* its content when it was unpacked */
};

/* The path of the file on the disk that the document is, or lies in. */
struct str file_row_real(const struct file_row *r);

enum status journal_open(const char *path, const char *pipeline, struct journal **out,
                         struct error *err) MUST_CHECK;
/* Beside the journal's lane, for reading only: no call but those of holds.h. */
enum status journal_open_reader(const char *path, struct journal **out,
                                struct error *err) MUST_CHECK;
void journal_close(struct journal *j);  /* NULL is fine */
sqlite3 *journal_db(struct journal *j); /* for the lane's transactions */

/* ---- what happened on the disk; disk: of the tenant ---- */

enum checked {
    CHECKED_SAME,    /* nothing new */
    CHECKED_QUEUED,  /* a new sequence number waits for work */
    CHECKED_FOLDER,  /* look inside it */
    CHECKED_IGNORED, /* not a document: a link, device, FIFO, temporary name */
};

/* Looks at path and writes down what has changed there: new, changed, replaced, gone. A folder that
 * is gone takes at most `limit` rows below it with it; *more says that there are others (call
 * again). */
enum status journal_check(struct journal *j, struct disk *disk, struct str path, size_t limit,
                          enum checked *out, bool *more, struct error *err) MUST_CHECK;
/* The same with a stamp just taken by a scan. */
enum status journal_seen(struct journal *j, struct disk *disk, struct str path,
                         const struct file_stamp *stamp, enum checked *out,
                         struct error *err) MUST_CHECK;
/* The same for a file not yet at rest: only a document that was renamed to path (same inode, size
 * and time, its old path empty) is written down, under its own id; anything else is left for
 * journal_seen. */
enum status journal_renamed(struct journal *j, struct disk *disk, struct str path,
                            const struct file_stamp *stamp, enum checked *out,
                            struct error *err) MUST_CHECK;
/* A rename seen by the kernel: the documents of `from` (a file or a folder) now stand at `to`.
 * Verified by inode; what does not fit is checked as if it were unrelated. */
enum status journal_moved(struct journal *j, struct disk *disk, struct str from, struct str to,
                          size_t limit, enum checked *out, bool *more,
                          struct error *err) MUST_CHECK;
/* Check rows at or below prefix ("": all) with ids above *cursor, at most limit; *end when none is
 * left. */
enum status journal_verify(struct journal *j, struct disk *disk, struct str prefix, int64_t *cursor,
                           size_t limit, bool *changed, bool *end, struct error *err) MUST_CHECK;

/* ---- work ---- */

/* What may be read now. Removals and moves always may. */
struct take_limits {
    int64_t most_bytes; /* larger files wait; INT64_MAX: none, -1: all do */
    size_t newest;      /* only so many that came last; 0: all */
};

/* Up to limit rows that are due: removals and moves first, then small files, with every fourth
 * place for the one that waits longest. *next_ms: wall time of the next attempt among those not yet
 * due, 0: none. */
enum status journal_take(struct journal *j, int64_t now_ms, const struct take_limits *may,
                         size_t limit, struct arena *a, struct file_row **rows, size_t *n,
                         int64_t *next_ms, struct error *err) MUST_CHECK;

struct job_result {
    const uint8_t *hash;
    const char *format, *title, *author, *language;
    bool dated;
    int64_t own_ms;   /* the document's own date */
    const char *note; /* what was left out of it; NULL: not unpacked, of the same content the old
                         one holds */
    uint32_t pages, chunks;
    const char *cut; /* pipeline: how it was read and cut */
};
/* The store has it. The row is ready unless it has changed meanwhile. */
enum status journal_done(struct journal *j, int64_t id, uint64_t sequence,
                         const struct job_result *r, struct error *err) MUST_CHECK;
/* A move reached the store. */
enum status journal_moved_done(struct journal *j, int64_t id, uint64_t sequence,
                               struct error *err) MUST_CHECK;
/* That of a FILE_OP_MOVE_PUT did: a put is next. */
enum status journal_moved_put(struct journal *j, int64_t id, uint64_t sequence,
                              struct error *err) MUST_CHECK;
/* The store has forgotten it: the row goes (or becomes excluded) unless it has changed meanwhile.
 */
enum status journal_removed(struct journal *j, int64_t id, uint64_t sequence, bool excluded,
                            struct error *err) MUST_CHECK;
/* It cannot be read; not tried again before the file changes. */
enum status journal_failed(struct journal *j, int64_t id, uint64_t sequence, const char *why,
                           struct error *err) MUST_CHECK;
/* It may pass: try again at that wall time. counted: it counts as an attempt. */
enum status journal_retry(struct journal *j, int64_t id, uint64_t sequence, const char *why,
                          int64_t at_ms, bool counted, struct error *err) MUST_CHECK;
/* The store does not know it: put it anew under a new sequence number. */
enum status journal_requeue(struct journal *j, int64_t id, struct error *err) MUST_CHECK;

/* ---- members of containers (archives, mails), in journal_children.c ---- */

/* They have no file of their own: what becomes of the container's row (gone, moved, deleted,
 * failed) becomes of theirs in the same transaction. */

struct container_limits {
    uint64_t members, bytes; /* of all that is in one file on the disk */
    uint64_t ratio;          /* and so many bytes for each of that file's, */
    uint64_t ratio_from;     /* where they are more than this */
};
struct container_look {
    bool unpack;             /* its members are not known, or wait for their bytes */
    bool same;               /* the row has this content already: its members stay as they are */
    uint64_t members, bytes; /* that it may have */
};
/* Before the container `row`, whose content is `hash`, is stored. known: the store has it. */
enum status journal_container(struct journal *j, const struct file_row *row,
                              const uint8_t hash[SHA256_BYTES], bool known,
                              const struct container_limits *limits, struct container_look *out,
                              struct error *err) MUST_CHECK;

/* The row has been stored, and nothing was unpacked of it: with `same` its members stay, else they
 * are those of what it was before, and go. */
enum status journal_not_unpacked(struct journal *j, int64_t id, bool same,
                                 struct error *err) MUST_CHECK;

struct journal_member {
    struct str name; /* clean: below the container's path */
    uint64_t size;
    int64_t modified_ms;
    const uint8_t *hash;
    const char *format; /* NULL: not known */
    int64_t row;        /* out; 0: it is left out */
    bool wanted;        /* out: its job will ask for its bytes */
};
/* In a container's note when a folder's settings kept something in it out: elsewhere, or another
 * time, it would be taken. */
#define JOURNAL_PASSED_OVER ".carrelignore"
struct members_left_out {
    uint64_t too_many, too_long, itself;
    uint64_t ignored; /* by a folder's .carrelignore */
};
/* Writes down some of what the container holds, under its sequence number: new ones, changed ones
 * (by name and content) under a new sequence number of theirs. CONFLICT: the container has changed
 * meanwhile. left_out is added to. */
enum status journal_members(struct journal *j, const struct file_row *container,
                            const uint8_t hash[SHA256_BYTES], const struct container_limits *limits,
                            struct journal_member *m, size_t n, struct members_left_out *left_out,
                            struct error *err) MUST_CHECK;
/* After the last of them: what is no longer in it goes. */
enum status journal_members_end(struct journal *j, const struct file_row *container,
                                struct error *err) MUST_CHECK;
/* A member whose bytes are not held (any more): it waits, and its container is unpacked again. */
enum status journal_member_waits(struct journal *j, const struct file_row *member, int64_t at_ms,
                                 struct error *err) MUST_CHECK;

/* ---- cutting anew: recut.h ---- */

/* How a collection's documents are to be cut; NULL: those of all others. Kept while the journal is
 * open. */
enum status journal_cut_set(struct journal *j, const char *collection, const char *cut,
                            struct error *err) MUST_CHECK;
/* Ready documents that are cut otherwise: how many; those above row number `after`, their op
 * FILE_OP_RECUT. */
enum status journal_cut_count(struct journal *j, uint64_t *out, struct error *err) MUST_CHECK;
enum status journal_cut_page(struct journal *j, int64_t after, size_t limit, struct arena *a,
                             struct file_row **rows, size_t *n, struct error *err) MUST_CHECK;
/* It was cut anew; nothing where it has changed meanwhile. */
enum status journal_cut_done(struct journal *j, int64_t id, uint64_t sequence, const char *cut,
                             uint32_t chunks, struct error *err) MUST_CHECK;

/* ---- what people ask ---- */

/* Marks it for removal (TRASH, or EXCLUDE) and gives the row; NOT_FOUND. */
enum status journal_delete(struct journal *j, const char *document, bool exclude, struct arena *a,
                           struct file_row *out, struct error *err) MUST_CHECK;
enum status journal_get(struct journal *j, const char *document, struct arena *a,
                        struct file_row *out, struct error *err) MUST_CHECK;
enum status journal_get_path(struct journal *j, struct str path, struct arena *a,
                             struct file_row *out, struct error *err) MUST_CHECK;
/* Rows people know of, by document id above `after`. */
enum status journal_list(struct journal *j, const char *after, size_t limit, struct arena *a,
                         struct file_row **rows, size_t *n, struct error *err) MUST_CHECK;

/* The same, of what waits and what has failed: at most JOURNAL_UNREADY_MAX of each are looked at.
 */
#define JOURNAL_UNREADY_MAX 1000
enum status journal_list_unready(struct journal *j, const char *after, size_t limit,
                                 struct arena *a, struct file_row **rows, size_t *n,
                                 struct error *err) MUST_CHECK;

/* The document at path, or those below it, that people know of. */
enum status journal_below(struct journal *j, struct str path, size_t limit, struct arena *a,
                          struct file_row **rows, size_t *n, struct error *err) MUST_CHECK;

struct journal_counts {
    uint64_t queued, ready, failed, excluded;
    uint64_t bytes;         /* of ready files */
    uint64_t waiting_bytes; /* of files to be read */
    uint64_t failed_bytes;
    uint64_t pages, chunks; /* of ready files */
};
enum status journal_count(struct journal *j, struct journal_counts *out,
                          struct error *err) MUST_CHECK;

/* Files that failed for want of room begin so (quota.h); they wait for it. */
#define JOURNAL_NO_ROOM "no room: "
/* How many, and the smallest's size; 0: none. */
enum status journal_without_room(struct journal *j, uint64_t *n, uint64_t *least,
                                 struct error *err) MUST_CHECK;
/* Those of at most `room` bytes are queued again; *n counts them. */
enum status journal_has_room(struct journal *j, uint64_t room, uint64_t *n,
                             struct error *err) MUST_CHECK;

/* ---- rules of access ---- */

/* What the store was told. */
enum status journal_applied(struct journal *j, int64_t id, const char *access,
                            struct error *err) MUST_CHECK;
/* A word to oneself that outlives a restart. get: "" where there is none. */
enum status journal_note_set(struct journal *j, const char *name, const char *value,
                             struct error *err) MUST_CHECK;
enum status journal_note_get(struct journal *j, const char *name, char *out, size_t cap,
                             struct error *err) MUST_CHECK;
/* Whether a row was stored under a rule. */
enum status journal_has_access(struct journal *j, bool *out, struct error *err) MUST_CHECK;
/* Rows above *cursor, at most limit, judged anew: where the verdict is another than what the store
 * was told, its location is sent again under a new sequence number; *changed counts them. *end when
 * none is left. */
typedef enum status (*journal_judge_fn)(void *data, const struct file_row *row, struct arena *a,
                                        const char **out, struct error *err);
enum status journal_reapply(struct journal *j, int64_t *cursor, size_t limit,
                            journal_judge_fn judge, void *data, uint64_t *changed, bool *end,
                            struct error *err) MUST_CHECK;

/* ---- events, for serve, which tells others (journal_events.c) ---- */

struct journal_event {
    uint64_t seq;
    bool failed; /* else it is ready, with a content that was not told of */
    bool known;  /* row is there; else the document has gone since then */
    int64_t at_ms;
    char document[ID_CAP];
    struct file_row row; /* as it is now */
};
/* Those above `after`, at most limit; the newest 50,000 are kept. */
enum status journal_events(struct journal *j, uint64_t after, size_t limit, struct arena *a,
                           struct journal_event **out, size_t *n, struct error *err) MUST_CHECK;
/* The number of the last one ever; 0: none. */
enum status journal_events_last(struct journal *j, uint64_t *out, struct error *err) MUST_CHECK;

/* ---- what reading documents costs (journal_worked.c) ---- */

struct journal_owner { /* ids of serve's; "" none */
    const char *user, *key, *team;
};
/* It was uploaded by them. */
enum status journal_owned(struct journal *j, int64_t id, const struct journal_owner *owner,
                          struct error *err) MUST_CHECK;
/* An attempt at this row has ended. Charged to who uploaded it, or what it lies in. */
enum status journal_worked(struct journal *j, const struct file_row *row, bool ready,
                           int64_t cpu_us, struct error *err) MUST_CHECK;
struct journal_work {
    uint64_t seq;
    int64_t day, cpu_us;
    bool ready;
    const char *collection;
    struct journal_owner owner;
};
/* Forgets those up to `after`; the next ones. */
enum status journal_worked_page(struct journal *j, uint64_t after, size_t limit, struct arena *a,
                                struct journal_work **out, size_t *n, struct error *err) MUST_CHECK;

/* ---- agreeing with the store ---- */

/* A document that the store has, remembered as seen; the counter stays above its sequence. Unknown
 * here: it gets a row, so that it is found again at its path or removed. */
enum status journal_store_has(struct journal *j, const char *document, struct str path,
                              uint64_t sequence, struct error *err) MUST_CHECK;
enum status journal_store_list_begin(struct journal *j, struct error *err) MUST_CHECK;
/* After the whole list: what is ready here and was not seen there is put again. */
enum status journal_store_list_end(struct journal *j, uint64_t *requeued,
                                   struct error *err) MUST_CHECK;

#endif
