/* Processor time spent for somebody: a call, a request, a document. The loop thread enters an
 * effort while it works for it; what lanes, other services and other processes spent is added. One
 * who works for an effort that may end before he does holds a use of it: when the effort ends, its
 * uses point nowhere, and entering, leaving and adding through them does nothing.
 *
 * Microseconds of CLOCK_THREAD_CPUTIME_ID. Loop thread. */
#ifndef CARREL_BASE_EFFORT_H
#define CARREL_BASE_EFFORT_H

#include <stdint.h>

#include "base/list.h"

struct effort {
    int64_t cpu_us;   /* without what runs now */
    int64_t since_us; /* where depth is not 0: this thread's clock when it began */
    unsigned depth;
    struct list uses;
};

struct effort_use {
    struct list link;
    struct effort *effort; /* NULL: none, or it is over */
};

void effort_init(struct effort *e);
/* Before its memory goes; safe for one that is all zeros. */
void effort_end(struct effort *e);
void effort_add(struct effort *e, int64_t cpu_us); /* less than 0 is passed over */
/* So far, with what runs now. */
int64_t effort_cpu_us(const struct effort *e);

/* e NULL: none. Dropped before its memory goes; safe for one that is all zeros. */
void effort_use_init(struct effort_use *u, struct effort *e);
void effort_use_drop(struct effort_use *u);
/* In pairs; they nest. */
void effort_enter(struct effort_use *u);
void effort_leave(struct effort_use *u);
void effort_use_add(struct effort_use *u, int64_t cpu_us);

#endif
