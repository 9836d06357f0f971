/* A store after many changes, and after kills, agrees with a model of a few lines beside it. */
#include "tests/unit/vectorstore/one_store.h"

#include <signal.h>
#include <sys/wait.h>

#define DOCUMENTS 12

static uint32_t rng;

static uint32_t pick(uint32_t n)
{
    rng = rng * 1664525U + 1013904223U;
    return (rng >> 8) % n;
}

struct model {
    int content[DOCUMENTS]; /* -1: absent */
    uint64_t sequence;
};

static char body[24][3][80];
static const char *bodies[24][3];

static void make_bodies(void)
{
    for (size_t i = 0; i < 24; i++) {
        for (size_t j = 0; j < 3; j++) {
            (void)snprintf(body[i][j], sizeof body[i][j],
                           "token%zu of part%zu among common harbour words", i, j);
            bodies[i][j] = body[i][j];
        }
    }
}

static void step(struct store *s, struct model *m)
{
    struct error err;
    Vs__PutReply r;
    uint32_t d = pick(DOCUMENTS);
    char name[16];
    (void)snprintf(name, sizeof name, "doc%u", d);
    m->sequence++;
    if (pick(4) == 0) {
        (void)remove_document(s, name, m->sequence);
        m->content[d] = -1;
    } else {
        uint32_t k = pick(24);
        struct draft dr = draft(name, m->sequence, bodies[k], 1 + k % 3);
        OK(put_draft(s, &dr, &r, &err));
        assert_true(r.applied);
        m->content[d] = (int)k;
    }
    bool more;
    if (pick(3) == 0) {
        OK(store_maintain(s, clock_wall_ms(), &more, &err));
    }
}

static void check_model(struct store *s, const struct model *m)
{
    uint32_t documents = 0;
    uint32_t chunks = 0;
    bool seen[24] = {false};
    for (size_t d = 0; d < DOCUMENTS; d++) {
        if (m->content[d] >= 0) {
            documents++;
            chunks += seen[m->content[d]] ? 0 : 1 + (uint32_t)m->content[d] % 3;
            seen[m->content[d]] = true;
        }
    }
    assert_verified(s, documents, chunks);
    for (size_t k = 0; k < 24; k++) {
        char query[16];
        char got[256];
        (void)snprintf(query, sizeof query, "token%zu", k);
        found(s, &appliance, query, NULL, 0, got, sizeof got);
        assert_int_equal(got[0] != '\0', seen[k]);
    }
}

static void random_changes_agree_with_a_model(void **state)
{
    struct fixture *f = *state;
    struct model m = {.sequence = 0};
    rng = 7;
    make_bodies();
    memset(m.content, -1, sizeof m.content);
    for (int round = 0; round < 12; round++) {
        for (int i = 0; i < 25; i++) {
            step(f->s, &m);
        }
        if (round % 4 == 3) {
            reopen(f);
        }
        if (round % 3 == 2) {
            settle(f->s);
        }
        check_model(f->s, &m);
    }
}

static void killing_loses_nothing(void **state)
{
    struct fixture *f = *state;
    struct error err;
    make_bodies();
    store_close(f->s);
    f->s = NULL;
    for (uint32_t round = 0; round < 8; round++) {
        int told[2];
        assert_int_equal(pipe(told), 0);
        pid_t child = fork();
        assert_true(child >= 0);
        if (child ==
            0) { /* puts until killed; each number it writes is of a put that was answered */
            struct store *s = NULL;
            (void)close(told[0]);
            if (store_open(f->dir, &s, &err) != STATUS_OK) {
                _exit(3);
            }
            for (uint64_t i = 1;; i++) {
                Vs__PutReply r;
                char name[16];
                (void)snprintf(name, sizeof name, "doc%u", (unsigned)(i % DOCUMENTS));
                struct draft d = draft(name, round * 100000 + i, bodies[i % 24], 3);
                bool more;
                if (put_draft(s, &d, &r, &err) != STATUS_OK ||
                    store_maintain(s, clock_wall_ms(), &more, &err) != STATUS_OK ||
                    write(told[1], &i, sizeof i) != (ssize_t)sizeof i) {
                    _exit(4);
                }
            }
        }
        (void)close(told[1]);
        uint64_t last = 0;
        uint64_t i;
        while (last < 10 + round && read(told[0], &i, sizeof i) == (ssize_t)sizeof i) {
            last = i;
        }
        (void)usleep(round * 3000);
        (void)kill(child, SIGKILL);
        int status = 0;
        assert_int_equal(waitpid(child, &status, 0), child);
        assert_true(WIFSIGNALED(status));
        while (read(told[0], &i, sizeof i) == (ssize_t)sizeof i) {
            last = i;
        }
        (void)close(told[0]);
        OK(store_open(f->dir, &f->s, &err));
        struct arena a;
        Vs__VerifyReply r;
        arena_init(&a, (size_t)1024 * 1024);
        OK(store_verify(f->s, &appliance, &a, &r, &err));
        for (size_t k = 0; k < r.n_problem; k++) {
            print_error("problem: %s\n", r.problem[k]);
        }
        assert_int_equal(r.problems, 0);
        Vs__DocumentInfo info;
        char name[16];
        (void)snprintf(name, sizeof name, "doc%u", (unsigned)(last % DOCUMENTS));
        OK(store_document(f->s, &appliance, name, NULL, &a, &info, &err));
        assert_true(info.location->sequence >=
                    round * 100000 + last); /* what was answered is there */
        settle(f->s);
        arena_reset(&a);
        store_close(f->s);
        f->s = NULL;
    }
    OK(store_open(f->dir, &f->s, &err));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(random_changes_agree_with_a_model, setup, teardown),
        cmocka_unit_test_setup_teardown(killing_loses_nothing, setup, teardown),
    };
    return cmocka_run_group_tests_name("store changes", tests, NULL, NULL);
}
