/* The open stores of the service: each tenant has its lanes and opens its store at the first job
 * that needs it. One that has not been used for a while is closed; of those idle, only the ones
 * used last stay open: TENANTS_OPEN of them, fewer (but TENANTS_KEPT) while the process holds more
 * than TENANTS_BYTES. Tenants in use are not closed, and at most TENANTS_MAX are known at once.
 *
 * Loop thread, except tenant_enter and tenant_leave, which jobs call on their threads. */
#ifndef CARREL_VECTORSTORE_TENANTS_H
#define CARREL_VECTORSTORE_TENANTS_H

#include <pthread.h>
#include <uv.h>

#include "base/lane.h"
#include "base/map.h"
#include "base/service.h"
#include "vectorstore/store.h"

#define TENANTS_MAX 512U
#define TENANTS_OPEN 32U
#define TENANTS_KEPT 8U
#define TENANTS_BYTES ((size_t)192 * 1024 * 1024)
#define TENANTS_SEALING                                                                            \
    2U /* at once: sealing stands back and must not hold the threads of searches */
#define TENANT_IDLE_MS 300000
#define TENANT_TICK_MS 10000 /* how often idle ones, graces and sealing are looked after */

struct tenants {
    struct service *svc;
    struct map by_name;
    struct segment_cache *decrypted; /* of tenants that have a key */
    uv_timer_t timer;
    uint32_t n_sealing;     /* tenants that seal now, at most TENANTS_SEALING */
    uint64_t sealing_asked; /* how often somebody had to wait for it */
    bool stopping;
};

struct tenant {
    struct tenants *all;
    char name[65];
    struct lane write, read, seal;
    struct lane sync; /* files of puts, on their way to the disk */
    uint32_t refs; /* calls that hold it */
    bool maintaining, sealing, closing;
    uint64_t waiting;       /* to seal, until another has done: its number in the queue; 0: no */
    bool more, due, sealed; /* what the last job of each kind found */
    int64_t used_ms;
    pthread_mutex_t lock;
    struct store *store; /* under lock */
    uint32_t inside;     /* under lock: jobs using the store */
};

enum status tenants_open(struct service *svc, struct tenants **out, struct error *err) MUST_CHECK;
/* Closes every store when its jobs are done, then calls service_closed. */
void tenants_close(struct tenants *all);
void tenants_health(const struct tenants *all, struct service_health *out);

/* A reference; BUSY when too many are in use. */
enum status tenant_take(struct tenants *all, const char *name, struct tenant **out,
                        struct error *err) MUST_CHECK;
void tenant_give(struct tenant *t);
/* The store, opened when it is not; tenant_leave after use. */
enum status tenant_enter(struct tenant *t, struct store **out, struct error *err) MUST_CHECK;
void tenant_leave(struct tenant *t);
/* Work for the sealing lane is about to be queued: a sealing that runs there makes way (loop
 * thread; store_purge_waits). */
void tenant_purge_waits(struct tenant *t, bool waits);
/* Of those that wait for a sealing to end the one that has waited longest; NULL: nobody does. */
struct tenant *tenant_next_to_seal(const struct tenants *all);
/* After something was written: housekeeping and sealing behind what is queued. */
void tenant_written(struct tenant *t);

#endif
