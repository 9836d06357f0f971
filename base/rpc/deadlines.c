#include "base/rpc/deadlines.h"

#include <stdlib.h>

#include "base/clock.h"
#include "base/list.h"

void deadlines_init(struct deadlines *ds, uv_loop_t *loop, void (*on_due)(struct deadline *d))
{
    *ds = (struct deadlines){.on_due = on_due};
    (void)uv_timer_init(loop, &ds->timer);
}

static void place(struct deadlines *ds, size_t slot, struct deadline *d)
{
    ds->heap[slot] = d;
    d->slot = slot;
}

static void sift_up(struct deadlines *ds, size_t i, struct deadline *d)
{
    while (i > 0 && ds->heap[(i - 1) / 2]->at_ms > d->at_ms) {
        place(ds, i, ds->heap[(i - 1) / 2]);
        i = (i - 1) / 2;
    }
    place(ds, i, d);
}

static void sift_down(struct deadlines *ds, size_t i, struct deadline *d)
{
    for (;;) {
        size_t child = 2 * i + 1;
        if (child >= ds->n) {
            break;
        }
        if (child + 1 < ds->n && ds->heap[child + 1]->at_ms < ds->heap[child]->at_ms) {
            child++;
        }
        if (ds->heap[child]->at_ms >= d->at_ms) {
            break;
        }
        place(ds, i, ds->heap[child]);
        i = child;
    }
    place(ds, i, d);
}

void deadlines_remove(struct deadlines *ds, struct deadline *d)
{
    if (d->slot == DEADLINE_NONE) {
        return;
    }
    size_t i = d->slot;
    d->slot = DEADLINE_NONE;
    struct deadline *last = ds->heap[--ds->n];
    if (last != d) {
        if (i > 0 && ds->heap[(i - 1) / 2]->at_ms > last->at_ms) {
            sift_up(ds, i, last);
        } else {
            sift_down(ds, i, last);
        }
    }
    if (ds->n == 0) {
        (void)uv_timer_stop(&ds->timer);
    }
}

static void on_timer(uv_timer_t *timer);

/* A timer that fires early (libuv's clock stands still within a turn) only arms itself again. */
static void arm(struct deadlines *ds, int64_t now)
{
    int64_t wait = ds->heap[0]->at_ms - now;
    (void)uv_timer_start(&ds->timer, on_timer, wait < 1 ? 1 : (uint64_t)wait, 0);
}

static void on_timer(uv_timer_t *timer)
{
    struct deadlines *ds = container_of(timer, struct deadlines, timer);
    int64_t now = clock_monotonic_ms();
    while (ds->n > 0 && ds->heap[0]->at_ms <= now) {
        struct deadline *d = ds->heap[0];
        deadlines_remove(ds, d);
        ds->on_due(d);
    }
    if (ds->n > 0 && !uv_is_closing((uv_handle_t *)timer)) {
        arm(ds, now);
    }
}

bool deadlines_add(struct deadlines *ds, struct deadline *d)
{
    if (ds->n == ds->cap) {
        size_t cap = ds->cap == 0 ? 64 : ds->cap * 2;
        struct deadline **heap = realloc(ds->heap, cap * sizeof(struct deadline *));
        if (heap == NULL) {
            return false;
        }
        ds->heap = heap;
        ds->cap = cap;
    }
    sift_up(ds, ds->n++, d);
    if (d->slot == 0) {
        arm(ds, clock_monotonic_ms());
    }
    return true;
}

void deadlines_close(struct deadlines *ds, uv_close_cb on_closed)
{
    for (size_t i = 0; i < ds->n; i++) {
        ds->heap[i]->slot = DEADLINE_NONE;
    }
    free(ds->heap);
    ds->heap = NULL;
    ds->n = ds->cap = 0;
    uv_close((uv_handle_t *)&ds->timer, on_closed);
}
