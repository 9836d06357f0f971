/* Whose search runs next. Searches, embeddings and reranking are work for the machine's cores; who
 * asks a thousand at once must not make others wait behind a thousand. Each tenant has a queue of
 * its own, and their heads run in turn. A tenant alone has SHARE_SLOTS_A_CORE searches under way
 * for each core (a search passes through several processes); while others are about it has one less
 * than there are cores, so that theirs find one free. Who runs nothing never waits.
 *
 * One search keeps more than one core busy. So what stood in line does not begin beside another
 * tenant's that did not have to, where the cores are too few for both: it waits until one of those
 * ends, at most SHARE_HOLD_MS, and then has its turn whatever has come meanwhile.
 *
 * A request stands in line only when its body has been read: nobody holds a slot by sending slowly.
 * Loop thread. Bounds: SHARE_WAITING_MAX a tenant; more are told to come back. */
#ifndef CARREL_SERVE_SHARE_H
#define CARREL_SERVE_SHARE_H

#include <uv.h>

#include "base/list.h"
#include "base/status.h"

#define SHARE_WAITING_MAX 64
#define SHARE_SLOTS_A_CORE 4
#define SHARE_ABOUT_MS 2000    /* a tenant counts as about so long after its last request */
#define SHARE_CORES_A_SEARCH 2 /* its words and its vectors are looked for side by side */
#define SHARE_HOLD_MS 50

struct share;
struct share_tenant;

/* Part of a request; zeroed at first. */
struct share_place {
    struct list link;
    struct share_tenant *tenant; /* NULL: neither waiting nor running */
    void (*go)(struct share_place *p);
    bool running, stood; /* stood: it had to wait in line */
};

/* cores: at least 1. */
enum status share_open(uv_loop_t *loop, unsigned cores, struct share **out,
                       struct error *err) MUST_CHECK;
/* When no place is taken any more. */
void share_close(struct share *s, void (*closed)(void *data), void *data);
/* go runs at once, or later in a turn of its own. BUSY: too many of this tenant wait already. */
enum status share_enter(struct share *s, const char *tenant, struct share_place *p,
                        void (*go)(struct share_place *p)) MUST_CHECK;
/* The request is over, whether it ran, waited or did neither. */
void share_leave(struct share *s, struct share_place *p);

#endif
