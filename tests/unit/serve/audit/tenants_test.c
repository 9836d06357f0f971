/* Several tenants' audits at once: nobody's records wait for another's, each chain is written by
 * one thread at a time, and more tenants than have a place take turns. */
#include "tests/unit/test.h"

#include <semaphore.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/audit/verify.h"
#include "base/clock.h"
#include "base/file.h"
#include "serve/audit/audit.h"
#include "serve/audit/chain_write.h"
#include "serve/audit/signer.h"

#define MANY 70 /* tenants, more than chains are open at once */
#define ROUNDS 3

static char home[64];
static uv_loop_t loop;
static struct audit *a;
static struct settings set;
static struct arena arena;
static int signer;
static sem_t held; /* what blocks on the lane waits for it */
static size_t n_told;
static bool closed;

/* carrel-sign's place taken: it signs nothing, and tells when it is asked by two at once. */
static int signer_new(void)
{
    int pair[2];
    assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, pair), 0);
    if (fork() == 0) {
        struct signer_ask ask, other;
        (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
        (void)close(pair[0]);
        while (recv(pair[1], &ask, sizeof ask, 0) == (ssize_t)sizeof ask) {
            struct signer_reply reply;
            memset(&reply, 0, sizeof reply);
            (void)usleep(500);
            bool two = recv(pair[1], &other, sizeof other, MSG_DONTWAIT | MSG_PEEK) > 0;
            reply.to = ask;
            reply.verdict = two ? SIGNER_FAILED : SIGNER_SIGNED;
            memset(reply.key, 7, sizeof reply.key);
            (void)send(pair[1], &reply, sizeof reply, MSG_NOSIGNAL);
        }
        _exit(0);
    }
    (void)close(pair[1]);
    return pair[0];
}

static int setup(void **state)
{
    struct error err;
    (void)state;
    test_folder(home);
    arena_init(&arena, (size_t)4 << 20);
    n_told = 0;
    closed = false;
    signer = signer_new();
    return sem_init(&held, 0, 0) == 0 && uv_loop_init(&loop) == 0 &&
                   settings_parse(home, STR("audit:\n  checkpoint: 1s\n"), "test", &arena, &set,
                                  &err) == STATUS_OK &&
                   audit_open(&loop, home, &set, signer, &a, &err) == STATUS_OK
               ? 0
               : -1;
}

static void on_closed(void *data)
{
    (void)data;
    closed = true;
}

static void end(void)
{
    audit_close(a, on_closed, NULL);
    (void)uv_run(&loop, UV_RUN_DEFAULT);
    assert_true(closed);
    assert_int_equal(uv_loop_close(&loop), 0);
}

static int teardown(void **state)
{
    (void)state;
    (void)close(signer);
    arena_reset(&arena);
    test_folder_remove(home);
    return 0;
}

/* A record, or work, and when it was told that it is over. */
struct told {
    size_t at; /* 0: not yet */
    enum status code;
};

static void on_told(const struct error *err, void *data)
{
    struct told *t = data;
    assert_int_equal(t->at, 0);
    t->at = ++n_told;
    t->code = err->code;
}

static enum status hold(struct audit *unused, struct chain *c, void *data, struct error *err)
{
    (void)unused;
    (void)data;
    (void)err;
    assert_non_null(c);
    while (sem_wait(&held) != 0) {
    }
    return STATUS_OK;
}

static void put(const char *tenant, struct told *t)
{
    struct audit_item *i = audit_item_new(tenant, "refused");
    assert_non_null(i);
    audit_field_z(&i->fields, "reason", "test");
    buf_str(&i->text, STR("{\"question\":\"Mariposa?\"}"));
    audit_put(a, i, on_told, t);
}

static void until(const struct told *t)
{
    while (t->at == 0) {
        (void)uv_run(&loop, UV_RUN_ONCE);
    }
    assert_int_equal(t->code, STATUS_OK);
}

static void whole(const char *tenant, int64_t refusals)
{
    char folder[PATH_MAX], payload[PATH_MAX];
    struct audit_report *r = calloc(1, sizeof *r);
    struct error err;
    assert_non_null(r);
    (void)snprintf(folder, sizeof folder, "%s/tenants/%s/audit", home, tenant);
    (void)snprintf(payload, sizeof payload, "%s/tenants/%s/payload.db", home, tenant);
    const struct audit_verify_options o = {.folder = folder, .payload = payload};
    assert_int_equal(audit_verify(&o, r, &err), STATUS_OK);
    for (size_t i = 0; i < r->n_findings; i++) { /* the signature is none: nothing else is wrong */
        if (strstr(r->findings[i].text, "sign") == NULL) {
            fail_msg("%s: record %lld: %s", tenant, (long long)r->findings[i].seq,
                     r->findings[i].text);
        }
    }
    assert_int_equal(r->texts, refusals);
    free(r);
}

/* One's disk stands still: the other's records are written, his own wait behind him, in order. */
static void nobody_waits_for_another(void **state)
{
    struct told slow = {0}, behind = {0}, other[8] = {{0}};
    (void)state;
    audit_run(a, "slow", hold, on_told, &slow);
    put("slow", &behind);
    for (size_t i = 0; i < COUNT_OF(other); i++) {
        put("quick", &other[i]);
        until(&other[i]);
    }
    assert_int_equal(slow.at + behind.at, 0);
    (void)sem_post(&held);
    until(&behind);
    assert_true(slow.at != 0 && slow.at < behind.at);
    end();
    whole("slow", 1);
    whole("quick", COUNT_OF(other));
}

/* However much of one waits, another who comes later has the next turn. */
static void turns_go_round(void **state)
{
    struct told block[3] = {{0}}, first[20] = {{0}}, second[20] = {{0}}, late = {0}, more = {0};
    static const char *const blocking[] = {"x", "y", "z"};
    (void)state;
    for (size_t i = 0; i < COUNT_OF(block); i++) { /* all places at the disk are taken */
        audit_run(a, blocking[i], hold, on_told, &block[i]);
    }
    for (size_t i = 0; i < COUNT_OF(first); i++) {
        put("first", &first[i]);
        put("second", &second[i]);
    }
    put("late", &late);
    (void)sem_post(&held); /* one place for the three of them */
    until(&first[0]);
    put("first", &more);
    until(&more);
    assert_true(late.at != 0 && late.at < more.at);
    assert_int_equal(block[0].at != 0 ? 1 : block[1].at != 0 ? 1 : block[2].at != 0, 1);
    (void)sem_post(&held);
    (void)sem_post(&held);
    for (size_t i = 0; i < COUNT_OF(first); i++) {
        until(&first[i]);
        until(&second[i]);
        assert_true(i == 0 || first[i].at > first[i - 1].at);
    }
    end();
    whole("first", COUNT_OF(first) + 1);
    whole("second", COUNT_OF(second));
    whole("late", 1);
}

/* More tenants than places: chains are closed and opened again, and each of them holds. What is
 * under way when the audit closes is written. */
static void more_tenants_than_places(void **state)
{
    static struct told told[MANY][ROUNDS];
    char name[16];
    (void)state;
    memset(told, 0, sizeof told);
    for (size_t k = 0; k < ROUNDS; k++) {
        for (size_t i = 0; i < MANY; i++) {
            (void)snprintf(name, sizeof name, "t%zu", i);
            put(name, &told[i][k]);
        }
        if (k % 2 == 0) {
            until(&told[k][k]);
        }
    }
    end();
    for (size_t i = 0; i < MANY; i++) {
        (void)snprintf(name, sizeof name, "t%zu", i);
        for (size_t k = 0; k < ROUNDS; k++) {
            assert_true(told[i][k].at != 0 && told[i][k].code == STATUS_OK);
            assert_true(k == 0 || told[i][k].at > told[i][k - 1].at);
        }
        whole(name, ROUNDS);
    }
}

static bool flooding;

static void flood(const char *tenant);

static void on_flood(const struct error *err, void *data)
{
    assert_int_equal(err->code, STATUS_OK);
    if (flooding) {
        flood(data);
    }
}

static void flood(const char *tenant)
{
    struct audit_item *i = audit_item_new(tenant, "refused");
    assert_non_null(i);
    audit_field_z(&i->fields, "reason", "test");
    audit_put(a, i, on_flood, (void *)(uintptr_t)tenant);
}

static int64_t checkpoints(const char *tenant)
{
    char folder[PATH_MAX];
    struct audit_report *r = calloc(1, sizeof *r);
    struct error err;
    assert_non_null(r);
    (void)snprintf(folder, sizeof folder, "%s/tenants/%s/audit", home, tenant);
    const struct audit_verify_options o = {.folder = folder};
    assert_int_equal(audit_verify(&o, r, &err), STATUS_OK);
    int64_t n = r->checkpoints;
    free(r);
    return n;
}

/* Three who never stop do not keep the head of one who is still now from being signed. */
static void signed_beside_floods(void **state)
{
    static const char *const loud[] = {"x", "y", "z"};
    struct told quiet = {0};
    (void)state;
    put("quiet", &quiet);
    until(&quiet);
    assert_int_equal(checkpoints("quiet"), 0);
    flooding = true;
    for (size_t i = 0; i < 4 * COUNT_OF(loud); i++) {
        flood(loud[i % COUNT_OF(loud)]);
    }
    int64_t from = clock_monotonic_ms(), looked = from;
    bool is_signed = false;
    while (!is_signed && clock_monotonic_ms() - from < 20000) {
        (void)uv_run(&loop, UV_RUN_ONCE);
        if (clock_monotonic_ms() - looked >= 200) {
            is_signed = checkpoints("quiet") > 0;
            looked = clock_monotonic_ms();
        }
    }
    flooding = false;
    end();
    assert_true(is_signed);
    whole("quiet", 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(nobody_waits_for_another, setup, teardown),
        cmocka_unit_test_setup_teardown(turns_go_round, setup, teardown),
        cmocka_unit_test_setup_teardown(more_tenants_than_places, setup, teardown),
        cmocka_unit_test_setup_teardown(signed_beside_floods, setup, teardown),
    };
    (void)alarm(240); /* what waits for ever fails */
    return cmocka_run_group_tests(tests, NULL, NULL);
}
