/* Many deadlines on one timer: a binary heap. Loop thread only. */
#ifndef CARREL_BASE_RPC_DEADLINES_H
#define CARREL_BASE_RPC_DEADLINES_H

#include <stddef.h>
#include <stdint.h>
#include <uv.h>

#include "base/status.h"

#define DEADLINE_NONE SIZE_MAX

struct deadline {
    int64_t at_ms; /* clock_monotonic_ms time */
    size_t slot;   /* DEADLINE_NONE while it is not in the heap */
};

struct deadlines {
    uv_timer_t timer;
    struct deadline **heap;
    size_t n;
    size_t cap;
    void (*on_due)(struct deadline *d); /* d is out of the heap already */
};

/* Fails only as uv_timer_init does, which is never. */
void deadlines_init(struct deadlines *ds, uv_loop_t *loop, void (*on_due)(struct deadline *d));
/* d->at_ms is set by the caller. false when out of memory. */
bool deadlines_add(struct deadlines *ds, struct deadline *d);
void deadlines_remove(struct deadlines *ds, struct deadline *d); /* one that is not in it is fine */
/* Frees the heap and closes the timer; the deadlines in it are forgotten. */
void deadlines_close(struct deadlines *ds, uv_close_cb on_closed);

#endif
