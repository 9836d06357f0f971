/* A few threads that take the chunks of one job at a time, the caller among them. Whoever is free
 * takes the next chunk, so results must not depend on who does which. Threads without work spin for
 * some microseconds, then sleep. Where another program holds up one of them, the caller goes on
 * alone for a while, so that two threads are not slower than one. */
#ifndef CARREL_MODEL_POOL_H
#define CARREL_MODEL_POOL_H

#include <stdbool.h>
#include <stdint.h>

#include "base/status.h"

#define POOL_THREADS_MAX 64U
#define POOL_CHUNKS_MAX ((1U << 20) - 1)

struct pool;

/* threads: the caller's included, 1 to POOL_THREADS_MAX. */
enum status pool_new(uint32_t threads, struct pool **out, struct error *err) MUST_CHECK;
void pool_free(struct pool *p);              /* NULL is fine; no job runs */
uint32_t pool_threads(const struct pool *p); /* NULL: 1 */

/* Processor time of the caller and of the pool's threads so far, in microseconds: what a job cost is
 * the difference over it, where nobody else has jobs in the pool meanwhile. p NULL: the caller's. */
int64_t pool_cpu_us(const struct pool *p);

/* Runs fn for every chunk below `chunks` (at most POOL_CHUNKS_MAX) and returns when all are done.
 * worker: below pool_threads, no two at once with the same. Nothing is allocated. p NULL, or
 * another thread's job in it: all by the caller, as worker 0. */
typedef void (*pool_fn)(void *data, uint32_t chunk, uint32_t worker);
void pool_run(struct pool *p, uint32_t chunks, pool_fn fn, void *data);

/* What a caller did of a job, and how long it then waited for the others. */
struct pool_share {
    uint32_t chunks, taken; /* of the job; by the caller */
    int64_t worked_ns, waited_ns;
};
/* Does a neighbour hold the others up, so that the caller is better off alone? To wait for their
 * last chunks is fair, and what they took off it may cost half of what it saved. A caller that took
 * none came late itself. */
bool pool_held_up(const struct pool_share *s);

#endif
