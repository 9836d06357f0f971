/* A disk that changes what was written: bits flip in every kind of file of a store. It must be
 * noticed, by name, or made good where it is derived; nothing may crash, and no passage may say
 * what nobody wrote.
 *
 * CARREL_FAULT_FLIPS (default 8) is the number of tries a kind; CARREL_FAULT_SEED repeats a run. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/file.h"
#include "tests/fault/store_model.h"

#define FILES_MAX 4096

struct world {
    char top[64], home[80], copy[80];
    struct model model;
    uint64_t rnd;
};

static unsigned long number_of(const char *name, unsigned long fallback)
{
    const char *v = getenv(name);
    return v == NULL ? fallback : strtoul(v, NULL, 10);
}

static void do_act(struct world *w, struct store *s, enum act_kind wanted, uint32_t doc)
{
    struct error err;
    struct act a = model_choose(&w->model, &w->rnd, wanted);
    if (wanted == ACT_PUT) {
        a.doc = doc;
        a.version = w->model.docs[doc].tried + 1;
    }
    enum status st = model_do(s, &a, w->copy, &err);
    if (st != STATUS_OK) {
        fail_msg("%s: %s", act_name(a.kind), err.text);
    }
    model_apply(&w->model, &a);
}

/* A store with documents, an encoder, sealed segments, and a database without a log. */
static int setup(void **state)
{
    struct world *w = calloc(1, sizeof *w);
    struct store *s = NULL;
    struct error err;
    assert_non_null(w);
    (void)snprintf(w->top, sizeof w->top, "/tmp/carrel-rot-XXXXXX");
    assert_non_null(mkdtemp(w->top));
    (void)snprintf(w->home, sizeof w->home, "%s/home", w->top);
    (void)snprintf(w->copy, sizeof w->copy, "%s/copy", w->top);
    w->rnd = number_of("CARREL_FAULT_SEED", (unsigned long)clock_wall_ms());
    print_message("CARREL_FAULT_SEED=%lu\n", (unsigned long)w->rnd);
    assert_int_equal(mkdir(w->home, 0700), 0);
    assert_int_equal(store_open(w->home, &s, &err), STATUS_OK);
    for (uint32_t i = 0; i < MODEL_DOCS; i++) {
        do_act(w, s, ACT_PUT, i);
    }
    do_act(w, s, ACT_ENCODER, 0);
    do_act(w, s, ACT_PUBLISH, 0);
    for (uint32_t i = 0; i < 12; i++) {
        do_act(w, s, i % 3 == 0 ? ACT_REMOVE : ACT_PUT, i + 10);
    }
    do_act(w, s, ACT_SEAL, 0);
    do_act(w, s, ACT_MAINTAIN, 0);
    store_close(s);
    *state = w;
    return 0;
}

static int teardown(void **state)
{
    struct world *w = *state;
    assert_int_equal(file_remove_tree(w->top, NULL), STATUS_OK);
    free(w);
    return 0;
}

static void copy_home(const struct world *w)
{
    char command[300];
    (void)snprintf(command, sizeof command, "rm -rf '%s' && cp -a '%s' '%s'", w->copy, w->home,
                   w->copy);
    assert_int_equal(system(command), 0);
}

/* A random file of the kind, by folder and by the end of its name; false: there is none. */
static bool pick(struct world *w, const char *folder, const char *end, char out[512])
{
    char dir[128];
    size_t n = 0;
    (void)snprintf(dir, sizeof dir, "%s/%s", w->copy, folder);
    DIR *d = opendir(dir);
    for (const struct dirent *e = d == NULL ? NULL : readdir(d); e != NULL; e = readdir(d)) {
        size_t len = strlen(e->d_name);
        bool fits = end[0] == '\0'
                        ? (strchr(e->d_name, '.') == NULL && strcmp(e->d_name, "manifest") != 0)
                        : len >= strlen(end) && strcmp(e->d_name + len - strlen(end), end) == 0;
        if (e->d_name[0] != '.' && fits && model_random(&w->rnd, (uint32_t)++n) == 0) {
            (void)snprintf(out, 512, "%s/%s", dir, e->d_name);
        }
    }
    if (d != NULL) {
        (void)closedir(d);
    }
    return n > 0;
}

static void flip(struct world *w, const char *path)
{
    struct stat st;
    uint8_t b;
    int fd = open(path, O_RDWR | O_CLOEXEC);
    assert_true(fd >= 0);
    assert_int_equal(fstat(fd, &st), 0);
    assert_true(st.st_size > 0);
    off_t at = (off_t)model_random(&w->rnd, (uint32_t)st.st_size);
    assert_int_equal(pread(fd, &b, 1, at), 1);
    b ^= (uint8_t)(1U << model_random(&w->rnd, 8));
    assert_int_equal(pwrite(fd, &b, 1, at), 1);
    (void)close(fd);
}

enum finding { SILENT, NOTICED, REFUSED };

/* What a store does about it. Silence is right only where everything is as the model has it. */
static enum finding look(struct world *w, const char *what)
{
    struct store *s = NULL;
    struct error err = {0};
    struct arena a;
    Vs__VerifyReply r;
    unsigned failed = 0;
    uint64_t rnd = w->rnd;
    enum finding found = SILENT;
    if (store_open(w->copy, &s, &err) != STATUS_OK) {
        if (err.code != STATUS_CORRUPT || strstr(err.text, "store.db") == NULL) {
            fail_msg("%s: refused without saying what is wrong: %s", what, err.text);
        }
        return REFUSED;
    }
    unsigned wrong = model_texts(s, &w->model, &rnd, &failed);
    if (wrong > 0) {
        fail_msg("%s: %u passages say what nobody wrote", what, wrong);
    }
    arena_init(&a, (size_t)16 * 1024 * 1024);
    enum status st = store_verify(s, &(struct asker){.caller = NULL}, &a, &r, &err);
    if (st != STATUS_OK && st != STATUS_CORRUPT) {
        fail_msg("%s: verify: %s: %s", what, status_name(st), err.text);
    }
    if (st != STATUS_OK || r.problems > 0) {
        found = NOTICED;
    } else {
        struct model m = w->model;
        assert_int_equal(failed, 0);
        assert_int_equal(model_check(s, &m, NULL, &rnd), 0);
    }
    arena_reset(&a);
    store_close(s);
    return found;
}

static void seal(const struct world *w)
{
    struct store *s = NULL;
    struct error err;
    bool sealed = true;
    assert_int_equal(store_open(w->copy, &s, &err), STATUS_OK);
    for (int i = 0; i < 8 && sealed; i++) {
        assert_int_equal(store_seal(s, &sealed, &err), STATUS_OK);
    }
    store_close(s);
}

static void rot(void **state)
{
    static const struct {
        const char *what, *folder, *end;
        bool derived; /* silence is right: it is made again, and search is as before */
    } kinds[] = {{"database", "", "store.db", false},
                 {"original", "blobs", "", false},
                 {"text", "blobs", ".text", false},
                 {"segment", "segments", "", true},
                 {"manifest", "segments", "manifest", true}};
    struct world *w = *state;
    unsigned long tries = number_of("CARREL_FAULT_FLIPS", 8);
    for (size_t k = 0; k < sizeof kinds / sizeof kinds[0]; k++) {
        unsigned count[3] = {0};
        for (unsigned long i = 0; i < tries; i++) {
            char path[512];
            copy_home(w);
            if (!pick(w, kinds[k].folder, kinds[k].end, path)) {
                continue;
            }
            flip(w, path);
            enum finding f = look(w, kinds[k].what);
            count[f]++;
            if (f == SILENT && !kinds[k].derived && k > 0) {
                fail_msg("%s: nobody noticed", path);
            }
            if (f != SILENT && kinds[k].derived) { /* told; and made again by the next sealing */
                seal(w);
                if (f == REFUSED || look(w, kinds[k].what) != SILENT) {
                    fail_msg("%s: could have been made again", path);
                }
            }
        }
        print_message("%s: %u refused, %u noticed, %u made good or without effect\n", kinds[k].what,
                      count[REFUSED], count[NOTICED], count[SILENT]);
        assert_true(count[REFUSED] + count[NOTICED] + count[SILENT] == tries); /* each was there */
        assert_true(k > 0 || tries < 4 || count[REFUSED] + count[NOTICED] > 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test_setup_teardown(rot, setup, teardown)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
