/* A disk that is full in the middle of every kind of work: a clear error each time, nothing
 * acknowledged is lost, and with room again the work goes on. Needs root: a small tmpfs is mounted
 * where only this process sees it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <fcntl.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/file.h"
#include "tests/fault/store_model.h"

#define ROUNDS 3

struct world {
    char top[64], home[80], scratch[80], ballast[80];
    struct model model;
    uint64_t rnd;
    struct store *s;
    unsigned refused[ACT_KINDS];
};

static bool mounted(struct world *w)
{
    (void)snprintf(w->top, sizeof w->top, "/tmp/carrel-full-XXXXXX");
    assert_non_null(mkdtemp(w->top));
    return geteuid() == 0 && unshare(CLONE_NEWNS) == 0 &&
           mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0 &&
           mount("tmpfs", w->top, "tmpfs", 0, "size=64m,mode=755") == 0;
}

/* Takes all room but this much. */
static void fill(const struct world *w, uint64_t left)
{
    struct statvfs v;
    assert_int_equal(statvfs(w->top, &v), 0);
    uint64_t room = (uint64_t)v.f_bavail * v.f_frsize;
    int fd = open(w->ballast, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    assert_true(fd >= 0);
    if (room > left) {
        assert_int_equal(posix_fallocate(fd, 0, (off_t)(room - left)), 0);
    }
    (void)close(fd);
}

static void act(struct world *w, enum act_kind kind, uint32_t doc, bool may_fail)
{
    struct error err = {0};
    struct act a = model_choose(&w->model, &w->rnd, kind);
    if (kind == ACT_PUT) {
        a.doc = doc;
        a.version = w->model.docs[doc].tried + 1;
    }
    enum status st = model_do(w->s, &a, w->scratch, &err);
    if (st == STATUS_OK) {
        model_apply(&w->model, &a);
        return;
    }
    if (!may_fail || st != STATUS_DISK_FULL || err.text[0] == '\0') {
        fail_msg("%s: %s: %s", act_name(a.kind), status_name(st), err.text);
    }
    w->refused[a.kind]++;
    w->model.sequence = a.sequence; /* the next attempt is another change */
    w->model.docs[a.doc].tried = a.kind == ACT_PUT ? a.version : w->model.docs[a.doc].tried;
}

static void check(struct world *w, enum act_kind after, uint64_t left)
{
    uint64_t rnd = w->rnd;
    unsigned wrong = model_check(w->s, &w->model, NULL, &rnd);
    if (wrong > 0) {
        fail_msg("%u things are wrong after a %s with %llu bytes left", wrong, act_name(after),
                 (unsigned long long)left);
    }
}

static void full(void **state)
{
    (void)state;
    static const enum act_kind kinds[] = {ACT_PUT,    ACT_ENCODER,  ACT_PUBLISH, ACT_SEAL,
                                          ACT_REMOVE, ACT_MAINTAIN, ACT_MOVE,    ACT_SNAPSHOT};
    static const uint64_t left[ROUNDS] = {0, 100000, 700000};
    struct error err;
    struct world *w = calloc(1, sizeof *w);
    assert_non_null(w);
    if (!mounted(w)) {
        (void)rmdir(w->top);
        free(w);
        print_message("skipped: needs root to mount a small tmpfs\n");
        return;
    }
    (void)snprintf(w->home, sizeof w->home, "%s/home", w->top);
    (void)snprintf(w->scratch, sizeof w->scratch, "%s/scratch", w->top);
    (void)snprintf(w->ballast, sizeof w->ballast, "%s/ballast", w->top);
    const char *seed = getenv("CARREL_FAULT_SEED");
    w->rnd = seed == NULL ? (uint64_t)clock_wall_ms() : strtoull(seed, NULL, 10);
    print_message("CARREL_FAULT_SEED=%llu\n", (unsigned long long)w->rnd);
    assert_int_equal(mkdir(w->home, 0700), 0);
    assert_int_equal(store_open(w->home, &w->s, &err), STATUS_OK);
    for (uint32_t i = 0; i < MODEL_DOCS; i += 2) {
        act(w, ACT_PUT, i, false);
    }
    for (size_t r = 0; r < ROUNDS; r++) {
        for (size_t k = 0; k < sizeof kinds / sizeof kinds[0]; k++) {
            fill(w, left[r]);
            act(w, kinds[k], (uint32_t)(r * 9 + k), true);
            assert_int_equal(unlink(w->ballast), 0);
            assert_int_equal(file_remove_tree(w->scratch, &err), STATUS_OK);
            check(w, kinds[k], left[r]);
        }
        act(w, ACT_PUT, (uint32_t)r, false); /* and on */
        act(w, ACT_MAINTAIN, 0, false);
        store_close(w->s);
        assert_int_equal(store_open(w->home, &w->s, &err), STATUS_OK);
        check(w, ACT_MAINTAIN, UINT64_MAX);
    }
    store_close(w->s);
    for (unsigned i = 0; i < ACT_KINDS; i++) {
        print_message("%s refused %u times\n", act_name((enum act_kind)i), w->refused[i]);
    }
    assert_true(w->refused[ACT_PUT] > 0 && w->refused[ACT_SNAPSHOT] > 0);
    assert_int_equal(umount2(w->top, MNT_DETACH), 0);
    (void)rmdir(w->top);
    free(w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(full)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
