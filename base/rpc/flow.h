/* The credit of one direction of a call.
 *
 * A sender may send while its credit is above 0, so the last message may overshoot: a window need
 * not be as large as the largest message. Each message costs its body and FRAME_COST, so that empty
 * ones are not free. The first message of a request, and the last one of a reply (MESSAGE with
 * `end`), need no credit. The receiver gives credit back when a message was delivered, in portions
 * of half a window. */
#ifndef CARREL_BASE_RPC_FLOW_H
#define CARREL_BASE_RPC_FLOW_H

#include <stdlib.h>
#include <string.h>

#include "base/list.h"

#define FRAME_COST 32

struct flow_out {
    int64_t credit;
    bool blocked; /* told STATUS_BUSY: on_ready is owed */
};

struct flow_in {
    int64_t granted; /* what the sender may still send, as we know it */
    uint32_t window;
    uint32_t unpaid; /* delivered, not yet given back */
    bool paused;
    struct list held; /* struct held_message: arrived while paused */
};

struct held_message {
    struct list link;
    size_t len;
    uint8_t data[];
};

static inline int64_t flow_cost(size_t body_len)
{
    return (int64_t)body_len + FRAME_COST;
}

static inline void flow_in_init(struct flow_in *f, uint32_t window)
{
    *f = (struct flow_in){.granted = window, .window = window};
    list_init(&f->held);
}

/* false: the sender had no credit left. */
static inline bool flow_in_arrived(struct flow_in *f, size_t body_len)
{
    bool allowed = f->granted > 0;
    f->granted -= flow_cost(body_len);
    return allowed;
}

/* The credit to give back now; 0: not enough yet. */
static inline uint32_t flow_in_delivered(struct flow_in *f, size_t body_len)
{
    f->unpaid += (uint32_t)flow_cost(body_len);
    if (f->unpaid < f->window / 2) {
        return 0;
    }
    uint32_t credit = f->unpaid;
    f->granted += credit;
    f->unpaid = 0;
    return credit;
}

static inline bool flow_in_hold(struct flow_in *f, const uint8_t *body, size_t len)
{
    struct held_message *h = malloc(sizeof *h + len);
    if (h == NULL) {
        return false;
    }
    h->len = len;
    if (len > 0) {
        memcpy(h->data, body, len);
    }
    list_push(&f->held, &h->link);
    return true;
}

static inline void flow_in_drop(struct flow_in *f)
{
    list_for_each_safe(it, &f->held)
    {
        list_remove(it);
        free(list_entry(it, struct held_message, link));
    }
}

#endif
