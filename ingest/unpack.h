/* Members of a container as they come out of the sandbox: written into an unlinked file of our own
 * while they are hashed, then held for the jobs that read them. No name that a stranger chose ever
 * becomes a file's, and whatever ends the process leaves nothing behind: what was held is unpacked
 * again. docs/decisions/archives.md. Loop thread, except where it says so. */
#ifndef CARREL_INGEST_UNPACK_H
#define CARREL_INGEST_UNPACK_H

#include "base/arena.h"
#include "base/hash.h"
#include "base/lane.h"
#include "base/map.h"
#include "ingest/extractor.h"

/* ---- the file that members are written into ---- */

struct spool; /* one container's; counted */

/* Where one member lies. */
struct spooled {
    struct spool *spool;
    uint64_t offset, size;
};

/* Members that wait for their jobs, by their rows in the journal. */
struct held {
    struct map rows;
    uint64_t bytes; /* on the disk */
};

void held_init(struct held *h);
void held_deinit(struct held *h);
/* Takes a share of the spool. A row that has one already gets the new one. */
enum status held_put(struct held *h, int64_t row, const struct spooled *m,
                     struct error *err) MUST_CHECK;
/* False: it is not held (any more). Borrowed until held_drop. */
bool held_get(const struct held *h, int64_t row, struct spooled *out);
/* Its job is done with it: its place on the disk is given back. */
void held_drop(struct held *h, int64_t row);
/* All of them: those who still wait have their containers unpacked again. */
void held_clear(struct held *h);
/* A share of one's own, for as long as its bytes are read. */
void spool_hold(struct spool *s);
void spool_release(struct spool *s); /* NULL is fine */
int spool_fd(const struct spool *s); /* any thread that has a share */

/* ---- unpacking one container ---- */

struct member {
    struct str name; /* clean, and the only one of that name */
    uint64_t offset, size;
    int64_t modified_ms; /* 0: not known */
    uint8_t hash[SHA256_BYTES];
    const char *format; /* static; NULL: none that is read */
};

struct unpacking;

/* container: the name of its file; home: of the appliance, borrowed. */
struct unpacking *unpacking_new(struct lane *lane, const char *home, struct str container,
                                struct error *err);
/* What the extractor needs: members and bytes are the caller's to set. */
void unpacking_wire(struct unpacking *u, struct extract_members *out);
/* The extraction that it goes with, once that has begun; NULL when it has ended. */
void unpacking_bind(struct unpacking *u, struct extraction *x);
/* When the extraction has ended well: what came out, valid until unpacking_free. */
const struct member *unpacking_members(const struct unpacking *u, size_t *n);
/* "" or sentences on what was left out. */
const char *unpacking_notes(const struct unpacking *u);
/* One more of them. */
void unpacking_note(struct unpacking *u, const char *text);
struct spool *unpacking_spool(const struct unpacking *u);
/* NULL is fine; while a lane writes for it, afterwards. */
void unpacking_free(struct unpacking *u);

#endif
