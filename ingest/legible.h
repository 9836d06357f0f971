/* Whether a text says anything: its letters counted, and what is none though it stands for one. */
#ifndef CARREL_INGEST_LEGIBLE_H
#define CARREL_INGEST_LEGIBLE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/str.h"

struct legible {
    uint64_t letters; /* and digits, of any script */
    uint64_t bad;   /* replacement characters, private use: a font that does not tell its letters */
    uint64_t signs; /* the rest, white space aside */
};

/* Adds s, clean UTF-8, to the count. */
void legible_count(struct legible *l, struct str s);
/* More than an eighth of it stands for letters that nobody can tell. */
bool legible_garbled(const struct legible *l);
/* How much it is worth, to compare two readings of one page. */
uint64_t legible_worth(const struct legible *l);

#endif
