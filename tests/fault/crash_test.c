/* The store is killed, or loses power, at random moments of every kind of work; afterwards it
 * opens, verifies, and holds what was acknowledged.
 *
 * A short run by default. CARREL_FAULT_KILLS=500 CARREL_FAULT_CUTS=500 is the long one;
 * CARREL_FAULT_SEED repeats a run, CARREL_FAULT_DIR says where (default /dev/shm). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <poll.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "tests/fault/powerloss.h"
#include "tests/fault/store_model.h"

#define PATIENCE_MS 60000
#define WARM_ACTS 6U /* at most, before the wanted kind */

struct world {
    char top[300], home[320], kept[320], scratch[320];
    struct model model;
    uint64_t rnd;
    unsigned hit[ACT_KINDS]; /* in flight when it ended */
    unsigned idle;           /* between two acts */
    unsigned snapshots;      /* compared */
};

static unsigned long number_of(const char *name, unsigned long fallback)
{
    const char *v = getenv(name);
    return v == NULL ? fallback : strtoul(v, NULL, 10);
}

static void drop(const char *dir)
{
    char command[400];
    (void)snprintf(command, sizeof command, "rm -rf '%s'", dir);
    assert_int_equal(system(command), 0);
}

static int setup(void **state)
{
    struct world *w = calloc(1, sizeof *w);
    const char *dir = getenv("CARREL_FAULT_DIR");
    assert_non_null(w);
    if (dir == NULL) {
        dir = access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp";
    }
    (void)snprintf(w->top, sizeof w->top, "%.200s/carrel-crash-XXXXXX", dir);
    assert_non_null(mkdtemp(w->top));
    (void)snprintf(w->home, sizeof w->home, "%s/home", w->top);
    (void)snprintf(w->kept, sizeof w->kept, "%s/kept", w->top);
    (void)snprintf(w->scratch, sizeof w->scratch, "%s/scratch", w->top);
    assert_int_equal(mkdir(w->home, 0700), 0);
    w->rnd = number_of("CARREL_FAULT_SEED", (unsigned long)clock_wall_ms());
    print_message("CARREL_FAULT_SEED=%lu\n", (unsigned long)w->rnd);
    *state = w;
    return 0;
}

static int teardown(void **state)
{
    struct world *w = *state;
    drop(w->top);
    free(w);
    return 0;
}

/* ---- the one that is killed ---- */

static void say(int fd, struct act a, bool done)
{
    a.done = done;
    if (write(fd, &a, sizeof a) != sizeof a) {
        _exit(3);
    }
}

/* Warm-up, then the wanted kind again and again until the end comes. */
static void live(struct world *w, int fd, enum act_kind wanted, bool power)
{
    struct store *s = NULL;
    struct error err;
    if (power) {
        powerloss_arm(w->home, w->kept);
    }
    if (store_open(w->home, &s, &err) != STATUS_OK) {
        (void)fprintf(stderr, "child: open: %s\n", err.text);
        _exit(2);
    }
    uint32_t warm = model_random(&w->rnd, WARM_ACTS);
    for (uint32_t i = 0; i < 200; i++) {
        struct act a = model_choose(&w->model, &w->rnd, i < warm ? ACT_KINDS : wanted);
        say(fd, a, false);
        if (model_do(s, &a, w->scratch, &err) != STATUS_OK) {
            (void)fprintf(stderr, "child: %s: %s\n", act_name(a.kind), err.text);
            _exit(4);
        }
        model_apply(&w->model, &a);
        say(fd, a, true);
    }
    _exit(0); /* not closed: as if it had been killed between two acts */
}

/* ---- the one that watches ---- */

struct watching {
    struct act flight;
    bool in_flight;
};

static bool take(struct world *w, int fd, struct watching *k, int timeout_ms)
{
    struct act a;
    struct pollfd p = {.fd = fd, .events = POLLIN};
    if (poll(&p, 1, timeout_ms) <= 0 || read(fd, &a, sizeof a) != sizeof a) {
        return false;
    }
    if (a.done) {
        model_apply(&w->model, &a);
    }
    k->in_flight = !a.done;
    k->flight = a;
    return true;
}

static void end_one(struct world *w, enum act_kind wanted, bool power, struct watching *k)
{
    int ends[2];
    *k = (struct watching){.in_flight = false};
    assert_int_equal(pipe(ends), 0);
    uint64_t seed = w->rnd;
    (void)model_random(&w->rnd, 2);
    (void)fflush(NULL);
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        (void)close(ends[0]);
        w->rnd = seed ^ 0x5bd1e995U;
        live(w, ends[1], wanted, power);
    }
    (void)close(ends[1]);
    /* some end while opening, most in the wanted kind */
    bool early = model_random(&w->rnd, 16) == 0;
    uint32_t passes = 1 + model_random(&w->rnd, 4);
    while (!early && passes > 0) {
        if (!take(w, ends[0], k, PATIENCE_MS)) {
            break;
        }
        passes -= k->in_flight && k->flight.kind == wanted ? 1 : 0;
    }
    uint32_t spread = wanted == ACT_PUT || wanted == ACT_PUBLISH ? 60000 : 6000;
    struct timespec nap = {.tv_nsec = (long)model_random(&w->rnd, spread) * 1000};
    (void)nanosleep(&nap, NULL);
    (void)kill(pid, SIGKILL);
    int status = 0;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    while (take(w, ends[0], k, 0)) {
    }
    (void)close(ends[0]);
    if (WIFEXITED(status) && WEXITSTATUS(status) != 0) {
        fail_msg("the child ended with %d before it was killed", WEXITSTATUS(status));
    }
    if (WIFSIGNALED(status) && WTERMSIG(status) != SIGKILL) {
        fail_msg("the child died of signal %d before it was killed", WTERMSIG(status));
    }
    if (k->in_flight) {
        w->hit[k->flight.kind]++;
    } else {
        w->idle++;
    }
}

static void compare(struct world *w, const struct watching *k, unsigned long round)
{
    struct store *s = NULL;
    struct error err;
    uint64_t rnd = w->rnd;
    enum status st = store_open(w->home, &s, &err);
    if (st != STATUS_OK) {
        fail_msg("round %lu, %s in flight: it does not open: %s", round,
                 k->in_flight ? act_name(k->flight.kind) : "nothing", err.text);
    }
    unsigned wrong = model_check(s, &w->model, k->in_flight ? &k->flight : NULL, &rnd);
    if (wrong > 0) {
        fail_msg("round %lu, %s in flight: %u things are wrong", round,
                 k->in_flight ? act_name(k->flight.kind) : "nothing", wrong);
    }
    store_close(s);
}

/* A snapshot is a store as the model has it. */
static void compare_snapshot(struct world *w)
{
    struct store *s = NULL;
    struct error err;
    uint64_t rnd = w->rnd;
    const struct act a = {.kind = ACT_SNAPSHOT};
    assert_int_equal(store_open(w->home, &s, &err), STATUS_OK);
    assert_int_equal(model_do(s, &a, w->scratch, &err), STATUS_OK);
    store_close(s);
    if (store_open(w->scratch, &s, &err) != STATUS_OK) {
        fail_msg("the snapshot does not open: %s", err.text);
    }
    assert_int_equal(model_check(s, &w->model, NULL, &rnd), 0);
    store_close(s);
    w->snapshots++;
}

static void tell(const struct world *w)
{
    print_message("in flight:");
    for (unsigned i = 0; i < ACT_KINDS; i++) {
        print_message(" %s %u,", act_name((enum act_kind)i), w->hit[i]);
    }
    print_message(" nothing %u; %u snapshots compared\n", w->idle, w->snapshots);
}

static void rounds(struct world *w, unsigned long n, bool power)
{
    for (unsigned long i = 0; i < n; i++) {
        struct watching k;
        enum act_kind wanted = i < 3 ? ACT_PUT : (enum act_kind)(i % ACT_KINDS);
        if (power) {
            assert_true(powerloss_begin(w->home, w->kept));
        }
        end_one(w, wanted, power, &k);
        if (power) {
            char image[340];
            (void)snprintf(image, sizeof image, "%s/image", w->top);
            assert_true(
                powerloss_image(w->home, w->kept, image, model_random(&w->rnd, 3) > 0, &w->rnd));
            drop(w->home);
            assert_int_equal(rename(image, w->home), 0);
        }
        compare(w, &k, i);
        if (!power && i % 6 == 5) {
            compare_snapshot(w);
        }
    }
    tell(w);
}

static void killed(void **state)
{
    rounds(*state, number_of("CARREL_FAULT_KILLS", 12), false);
}

static void without_power(void **state)
{
    rounds(*state, number_of("CARREL_FAULT_CUTS", 12), true);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(killed, setup, teardown),
        cmocka_unit_test_setup_teardown(without_power, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
