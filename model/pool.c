/* One word holds the job's number, its chunks and the next chunk to take, so that taking a chunk is
 * one compare-and-swap that fails if the job is over: a thread that slept through a job can never
 * take a chunk of the next one with the last one's function. */
#include "model/pool.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <time.h>

#include "base/clock.h"

#if defined(__x86_64__)
#define PAUSE() __builtin_ia32_pause()
#else
#define PAUSE() ((void)0)
#endif

#define SPINS 2000             /* some tens of microseconds */
#define ALONE_LEAST 8          /* a wait of 1 ms: 8 ms without the others; */
#define ALONE_MOST 128         /* twice as many each time it happens again soon */
#define ALONE_NS_MAX 400000000 /* then they get another chance */
#define SOON_NS 50000000
#define NUMBER_BITS 20

struct pool {
    _Atomic uint64_t work; /* job: 24 bits, chunks: 20, next: 20 */
    _Atomic(pool_fn) fn;
    _Atomic(void *) data;
    _Atomic uint32_t done; /* chunks of this job */
    _Atomic uint32_t sleepers;
    _Atomic bool waiting; /* the caller sleeps until done */
    _Atomic bool stop;
    pthread_mutex_t busy; /* a job runs */
    pthread_mutex_t lock; /* of the sleeping */
    pthread_cond_t more, all_done;
    int64_t alone_until, last_alone, factor; /* under busy */
    uint32_t threads, started;
    struct worker {
        struct pool *pool;
        uint32_t number;
        pthread_t thread;
    } workers[POOL_THREADS_MAX];
};

static uint32_t next_of(uint64_t work)
{
    return (uint32_t)work & POOL_CHUNKS_MAX;
}

static uint32_t chunks_of(uint64_t work)
{
    return (uint32_t)(work >> NUMBER_BITS) & POOL_CHUNKS_MAX;
}

static bool has_work(uint64_t work)
{
    return next_of(work) < chunks_of(work);
}

/* How many it took. */
static uint32_t take_chunks(struct pool *p, uint32_t worker)
{
    uint32_t taken = 0;
    uint64_t work = atomic_load(&p->work);
    while (has_work(work)) {
        pool_fn fn = atomic_load(&p->fn);
        void *data = atomic_load(&p->data);
        if (!atomic_compare_exchange_weak(&p->work, &work, work + 1)) {
            continue;
        }
        fn(data, next_of(work), worker);
        taken++;
        if (atomic_fetch_add(&p->done, 1) + 1 == chunks_of(work) && atomic_load(&p->waiting)) {
            (void)pthread_mutex_lock(&p->lock);
            (void)pthread_cond_signal(&p->all_done);
            (void)pthread_mutex_unlock(&p->lock);
        }
        work = atomic_load(&p->work);
    }
    return taken;
}

static void sleep_until_work(struct pool *p)
{
    for (int i = 0; i < SPINS; i++) {
        if (has_work(atomic_load_explicit(&p->work, memory_order_relaxed)) ||
            atomic_load_explicit(&p->stop, memory_order_relaxed)) {
            return;
        }
        PAUSE();
    }
    (void)pthread_mutex_lock(&p->lock);
    atomic_fetch_add(&p->sleepers, 1);
    while (!has_work(atomic_load(&p->work)) && !atomic_load(&p->stop)) {
        (void)pthread_cond_wait(&p->more, &p->lock);
    }
    atomic_fetch_sub(&p->sleepers, 1);
    (void)pthread_mutex_unlock(&p->lock);
}

static void *worker_main(void *data)
{
    struct worker *w = data;
    while (!atomic_load(&w->pool->stop)) {
        (void)take_chunks(w->pool, w->number);
        sleep_until_work(w->pool);
    }
    return NULL;
}

enum status pool_new(uint32_t threads, struct pool **out, struct error *err)
{
    if (threads == 0 || threads > POOL_THREADS_MAX) {
        return error_set(err, STATUS_INVALID, "%u threads; 1 to %u can be had", threads,
                         POOL_THREADS_MAX);
    }
    struct pool *p = calloc(1, sizeof *p);
    if (p == NULL) {
        return error_set(err, STATUS_NO_MEMORY, "out of memory");
    }
    (void)pthread_mutex_init(&p->busy, NULL);
    (void)pthread_mutex_init(&p->lock, NULL);
    (void)pthread_cond_init(&p->more, NULL);
    (void)pthread_cond_init(&p->all_done, NULL);
    p->threads = threads;
    for (p->started = 1; p->started < threads; p->started++) {
        struct worker *w = &p->workers[p->started];
        *w = (struct worker){.pool = p, .number = p->started};
        if (pthread_create(&w->thread, NULL, worker_main, w) != 0) {
            pool_free(p);
            return error_set(err, STATUS_NO_MEMORY, "cannot start %u threads", threads);
        }
    }
    *out = p;
    return STATUS_OK;
}

void pool_free(struct pool *p)
{
    if (p == NULL) {
        return;
    }
    (void)pthread_mutex_lock(&p->lock);
    atomic_store(&p->stop, true);
    (void)pthread_cond_broadcast(&p->more);
    (void)pthread_mutex_unlock(&p->lock);
    for (uint32_t i = 1; i < p->started; i++) {
        (void)pthread_join(p->workers[i].thread, NULL);
    }
    (void)pthread_mutex_destroy(&p->busy);
    (void)pthread_mutex_destroy(&p->lock);
    (void)pthread_cond_destroy(&p->more);
    (void)pthread_cond_destroy(&p->all_done);
    free(p);
}

uint32_t pool_threads(const struct pool *p)
{
    return p == NULL ? 1 : p->threads;
}

static int64_t now_ns(void)
{
    struct timespec t;
    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

bool pool_held_up(const struct pool_share *s)
{
    if (s->taken == 0) {
        return false;
    }
    uint32_t fair = (s->chunks - s->taken) / 2; /* chunks' time */
    return s->waited_ns > s->worked_ns * (fair > 2 ? fair : 2) / s->taken;
}

/* s: what the caller did of it; waited_ns is filled in. */
static void wait_until_done(struct pool *p, struct pool_share *s)
{
    for (int i = 0; i < SPINS; i++) {
        if (atomic_load(&p->done) == s->chunks) {
            return;
        }
        PAUSE();
    }
    int64_t start = now_ns();
    (void)pthread_mutex_lock(&p->lock);
    atomic_store(&p->waiting, true);
    while (atomic_load(&p->done) != s->chunks) {
        (void)pthread_cond_wait(&p->all_done, &p->lock);
    }
    atomic_store(&p->waiting, false);
    (void)pthread_mutex_unlock(&p->lock);
    int64_t end = now_ns();
    s->waited_ns = end - start;
    if (!pool_held_up(s)) {
        return;
    }
    bool again = start - p->last_alone < SOON_NS;
    p->factor = !again ? ALONE_LEAST : p->factor < ALONE_MOST ? p->factor * 2 : ALONE_MOST;
    int64_t alone = (end - start) * p->factor;
    p->alone_until = p->last_alone = end + (alone > ALONE_NS_MAX ? ALONE_NS_MAX : alone);
}

static bool goes_alone(struct pool *p)
{
    if (p->alone_until != 0 && now_ns() >= p->alone_until) {
        p->alone_until = 0;
    }
    return p->alone_until != 0;
}

static void run_here(uint32_t chunks, pool_fn fn, void *data)
{
    for (uint32_t i = 0; i < chunks; i++) {
        fn(data, i, 0);
    }
}

int64_t pool_cpu_us(const struct pool *p)
{
    int64_t us = clock_thread_cpu_us();
    for (uint32_t i = 1; p != NULL && i < p->started; i++) {
        clockid_t id;
        struct timespec t;
        if (pthread_getcpuclockid(p->workers[i].thread, &id) == 0 && clock_gettime(id, &t) == 0) {
            us += (int64_t)t.tv_sec * 1000000 + t.tv_nsec / 1000;
        }
    }
    return us;
}

void pool_run(struct pool *p, uint32_t chunks, pool_fn fn, void *data)
{
    if (p == NULL || p->threads == 1 || chunks < 2 || pthread_mutex_trylock(&p->busy) != 0) {
        run_here(chunks, fn, data);
        return;
    }
    if (goes_alone(p)) {
        run_here(chunks, fn, data);
    } else {
        uint64_t job = (atomic_load(&p->work) >> 2 * NUMBER_BITS) + 1;
        atomic_store(&p->fn, fn);
        atomic_store(&p->data, data);
        atomic_store(&p->done, 0);
        atomic_store(&p->work, job << 2 * NUMBER_BITS | (uint64_t)chunks << NUMBER_BITS);
        if (atomic_load(&p->sleepers) > 0) {
            (void)pthread_mutex_lock(&p->lock);
            (void)pthread_cond_broadcast(&p->more);
            (void)pthread_mutex_unlock(&p->lock);
        }
        int64_t start = now_ns();
        struct pool_share s = {.chunks = chunks, .taken = take_chunks(p, 0)};
        s.worked_ns = now_ns() - start;
        wait_until_done(p, &s);
    }
    (void)pthread_mutex_unlock(&p->busy);
}
