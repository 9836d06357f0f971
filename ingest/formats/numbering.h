/* Automatic numbers of paragraphs (ECMA-376 part 1, 17.9): which label a paragraph has that is the
 * next of a list at a level. Pure; everything lives in the arena. */
#ifndef CARREL_INGEST_FORMATS_NUMBERING_H
#define CARREL_INGEST_FORMATS_NUMBERING_H

#include <stdbool.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/str.h"

#define NUMBERING_LEVELS 9U
#define NUMBERING_SLOTS 1024U /* a power of two; lists and schemes by their numbers */

enum numbering_format {
    NUMBERING_DECIMAL,
    NUMBERING_ZERO, /* 01 */
    NUMBERING_LOWER_LETTER,
    NUMBERING_UPPER_LETTER,
    NUMBERING_LOWER_ROMAN,
    NUMBERING_UPPER_ROMAN,
    NUMBERING_BULLET,
    NUMBERING_NONE,
};

struct numbering_level {
    enum numbering_format format;
    uint32_t start;
    struct str text; /* "%1.%2": the numbers of the levels */
    bool legal;      /* all of them in decimals */
};

struct numbering {
    struct arena *arena;
    struct numbering_scheme *schemes[NUMBERING_SLOTS]; /* the last made first */
    struct numbering_list *lists[NUMBERING_SLOTS];
    uint32_t n;
};

enum numbering_format numbering_format_of(struct str name);
/* A level of a scheme to be filled in, made when new; NULL: no such level, too many or no memory.
 */
struct numbering_level *numbering_level(struct numbering *n, uint32_t scheme, uint32_t level);
/* A list counts by a scheme, which it shares with others of that scheme, unless it begins a level
 * anew. */
void numbering_list(struct numbering *n, uint32_t list, uint32_t scheme);
void numbering_restart(struct numbering *n, uint32_t list, uint32_t level, uint32_t start);
/* Counts one more and appends its label, "" for a bullet; a list that is not known counts nothing.
 */
void numbering_next(struct numbering *n, uint32_t list, uint32_t level, struct buf *out);
/* v as it is written; 0 and what the format cannot write are decimals. */
void numbering_write(struct buf *out, uint32_t v, enum numbering_format format);

#endif
