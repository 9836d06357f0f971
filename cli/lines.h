/* Cuts a byte stream into lines. Pure; bounded: a line longer than LINES_MAX comes in pieces, none
 * lost. */
#ifndef CARREL_CLI_LINES_H
#define CARREL_CLI_LINES_H

#include <stdbool.h>
#include <stddef.h>

#include "base/str.h"

#define LINES_MAX 16384

struct lines {
    char pending[LINES_MAX];
    size_t len;
    bool inside; /* pieces of the present line were already given out */
};

/* line is without its newline; continued: it goes on the previous call's line; more: and is not its
 * end. */
typedef void lines_emit(void *data, struct str line, bool continued, bool more);

void lines_init(struct lines *l);
void lines_feed(struct lines *l, const char *p, size_t n, lines_emit *emit, void *data);
/* The stream is over: gives out what has no newline. */
void lines_end(struct lines *l, lines_emit *emit, void *data);

#endif
