#include "model/pool.h"

#include <pthread.h>
#include <stdatomic.h>

#include "tests/unit/test.h"

#define THREADS 4U
#define CHUNKS 64U

struct job {
    _Atomic uint32_t runs[CHUNKS];
    _Atomic uint32_t at_once[THREADS]; /* chunks of one worker; 1 at most */
    _Atomic uint32_t wrong;
};

static void count_chunk(void *data, uint32_t chunk, uint32_t worker)
{
    struct job *j = data;
    if (worker >= THREADS || chunk >= CHUNKS) {
        atomic_fetch_add(&j->wrong, 1);
        return;
    }
    atomic_fetch_add(&j->wrong, atomic_fetch_add(&j->at_once[worker], 1));
    atomic_fetch_add(&j->runs[chunk], 1);
    atomic_fetch_sub(&j->at_once[worker], 1);
}

static void every_chunk_runs_once(void **state)
{
    (void)state;
    static struct job j;
    uint32_t expected[CHUNKS] = {0};
    struct pool *pool = NULL;
    struct error err;
    assert_int_equal(pool_new(THREADS, &pool, &err), STATUS_OK);
    for (uint32_t job = 0; job < 3000; job++) {
        uint32_t chunks = job * 29 % (CHUNKS + 1);
        pool_run(job % 7 == 0 ? NULL : pool, chunks, count_chunk, &j);
        for (uint32_t i = 0; i < chunks; i++) {
            expected[i]++;
        }
        for (uint32_t i = 0; i < CHUNKS; i++) {
            assert_int_equal(atomic_load(&j.runs[i]), expected[i]);
        }
    }
    assert_int_equal(atomic_load(&j.wrong), 0);
    pool_free(pool);
}

static void only_worker_0(void *data, uint32_t chunk, uint32_t worker)
{
    uint32_t *wrong = data;
    (void)chunk;
    *wrong += worker;
}

struct other {
    struct pool *pool;
    uint32_t wrong;
};

static void *run_beside(void *data)
{
    struct other *o = data;
    pool_run(o->pool, CHUNKS, only_worker_0, &o->wrong);
    return NULL;
}

/* While a job runs another thread asks for one: it does all of it itself. */
static void ask_beside(void *data, uint32_t chunk, uint32_t worker)
{
    struct other *o = data;
    pthread_t thread;
    (void)worker;
    if (chunk == 0) {
        o->wrong += pthread_create(&thread, NULL, run_beside, o) != 0 ? 1 : 0;
        (void)pthread_join(thread, NULL);
    }
}

static void a_job_beside_another_is_its_callers(void **state)
{
    (void)state;
    struct other o = {0};
    struct error err;
    assert_int_equal(pool_new(2, &o.pool, &err), STATUS_OK);
    pool_run(o.pool, 2, ask_beside, &o);
    assert_int_equal(o.wrong, 0);
    pool_free(o.pool);
}

static void threads_have_a_limit(void **state)
{
    (void)state;
    struct pool *p = NULL;
    struct error err;
    assert_int_equal(pool_new(0, &p, &err), STATUS_INVALID);
    assert_int_equal(pool_new(POOL_THREADS_MAX + 1, &p, &err), STATUS_INVALID);
    assert_null(p);
}

static void who_waits_longer_than_is_fair_is_held_up(void **state)
{
    (void)state;
    static const struct {
        struct pool_share share; /* chunks, taken, worked, waited */
        bool held_up;
    } rows[] = {
        {{4, 2, 200, 200}, false},      /* two chunks' time: the others' last */
        {{4, 2, 200, 201}, true},       /* longer */
        {{2, 1, 100, 150}, false},      /* a job of two */
        {{100, 50, 5000, 2500}, false}, /* fifty chunks saved: half of their time is fair */
        {{100, 50, 5000, 2501}, true},  /* more is not */
        {{100, 99, 9900, 3000}, true},  /* the other did one, and late */
        {{8, 0, 0, 1000000}, false},    /* the caller did nothing: it came late itself */
        {{3, 2, 199, 199}, false},      /* a chunk's time is not rounded down */
    };
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        if (pool_held_up(&rows[i].share) != rows[i].held_up) {
            fail_msg("row %zu", i);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_chunk_runs_once),
        cmocka_unit_test(a_job_beside_another_is_its_callers),
        cmocka_unit_test(threads_have_a_limit),
        cmocka_unit_test(who_waits_longer_than_is_fair_is_held_up),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
