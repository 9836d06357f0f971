/* Who of the waiting documents is read next, so that neither kind holds up the other: a book of two
 * thousand pages does not keep a hundred memos waiting, and a stream of memos does not keep the
 * book waiting. A pure function of what runs and waits. */
#ifndef CARREL_INGEST_TURNS_H
#define CARREL_INGEST_TURNS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* From this size on a document is large; so is one that is being read for longer than this. */
#define TURN_LARGE_BYTES ((uint64_t)1 << 20)
#define TURN_LARGE_MS 2000

struct turns {
    size_t places;       /* readers at once */
    size_t small, large; /* being read */
    bool small_waits, large_waits;
};

enum turn { TURN_NONE, TURN_SMALL, TURN_LARGE };

/* Where only one kind waits, it gets all places. Where both do, large ones have one place at least
 * and half of them at most. Where large ones have taken all places, one small document at a time is
 * read beside them. */
enum turn turn_next(const struct turns *t);

#endif
