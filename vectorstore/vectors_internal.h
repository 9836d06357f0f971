/* What the files of the vectors share.
 *
 * Locks, in this order: `loading` while the tail is filled or segments are opened; `manifest` while
 * the list is written; `lock` for what the structs hold, never across I/O or a scan. A search
 * copies what it needs under `lock`, with references, and runs without any. */
#ifndef CARREL_VECTORSTORE_VECTORS_INTERNAL_H
#define CARREL_VECTORSTORE_VECTORS_INTERNAL_H

#include <pthread.h>

#include "vectorstore/vectors.h"

#define SEGMENTS_MAX 64U
#define ENCODERS_MAX 8U
#define TAIL_BLOCK_ROWS 256U
#define TAIL_BYTES ((size_t)64 * 1024 * 1024) /* of rows in memory, an encoder */
#define VECTORS_PATH 1200

struct sealed { /* covers the numbers (after, until] */
    int64_t after, until;
    uint64_t n;
    char name[32];
    struct dense *dense; /* NULL: not opened yet */
};

/* Rows are only added, at n; who holds the block reads those before the n it saw under the lock. */
struct tail_block {
    _Atomic uint32_t refs;
    uint32_t n;
    int64_t seqs[TAIL_BLOCK_ROWS];
    chunk_no chunks[TAIL_BLOCK_ROWS];
    uint16_t rows[]; /* TAIL_BLOCK_ROWS x dimensions */
};

struct tail {
    int64_t from, loaded; /* the numbers (from, loaded] are in the tail */
    bool full;            /* there is more in the catalogue than fits */
    struct tail_block **blocks;
    size_t n_blocks, cap;
};

struct encoder_vectors {
    int64_t encoder; /* 0: free */
    uint32_t dimensions;
    bool opened;                          /* its segments have been opened */
    struct sealed segments[SEGMENTS_MAX]; /* ascending, apart; gaps are read from the catalogue */
    size_t n_segments;
    struct tail tail; /* above all segments */
};

struct vectors {
    char dir[1088];
    const struct segment_keys *keys;
    const struct dot *dot;
    pthread_mutex_t loading, manifest, lock;
    struct encoder_vectors encoders[ENCODERS_MAX];
    _Atomic int64_t searched_ms; /* when the last search began */
    _Atomic int64_t slowed_ms;   /* when one last read rows from the catalogue */
    _Atomic bool stop;
    _Atomic bool yield; /* an erasure waits for the sealing thread */
    bool yielded;       /* [seal] to one, and no step has come to its end since */
};

/* Under lock; NULL when it is not there. */
struct encoder_vectors *vectors_find(struct vectors *v, int64_t encoder);
/* The encoder's place, its segments opened; those that cannot be are dropped. Takes loading. */
enum status vectors_prepare(struct vectors *v, const struct encoder *e,
                            struct error *err) MUST_CHECK;
/* Takes the segment of that name out and removes its file: it is damaged. */
void vectors_lose(struct vectors *v, int64_t encoder, const char *name, const char *why);
/* Under lock: drops tail rows up to and including that number. */
void tail_drop_until(struct tail *t, int64_t until);
void tail_clear(struct tail *t);
/* A reference. */
void tail_block_drop(struct tail_block *b);
/* Under lock: has the tail been read up to that number? */
bool vectors_is_ready(struct vectors *v, int64_t encoder, int64_t until);
/* The tail up to what the reader sees. Takes loading. */
enum status vectors_refresh(struct vectors *v, struct catalogue *c, int64_t until,
                            const struct encoder *e, struct error *err) MUST_CHECK;
int64_t sealed_until(const struct encoder_vectors *ev);
void vectors_path(const struct vectors *v, const char *name, char out[VECTORS_PATH]);

/* ---- vectors_manifest.c ---- */

/* Fills the empty v. A damaged manifest is the same as none: everything is derived. */
void manifest_read(struct vectors *v);
/* Atomically, from what v holds now. Takes manifest and lock. */
enum status manifest_write(struct vectors *v, struct error *err) MUST_CHECK;
/* Removes the files that it does not list. Before anything runs. */
void manifest_sweep(struct vectors *v);

#endif
