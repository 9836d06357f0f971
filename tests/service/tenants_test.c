/* Many small tenants in one process, searched one after another: each answers, and memory stays.
 *
 * CARREL_TENANTS=n sets how many (200); docs/benchmarks.md has the figure of 2,000 in a release
 * build. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <sys/stat.h>

#include "base/buf.h"
#include "base/clock.h"
#include "tests/service/one_service.h"
#include "tests/unit/vectorstore/fixture.h"
#include "vectorstore/vectorstore_rpc.h"

#define DOCUMENTS 10U
#define CHUNKS 10U
#define WORDS 60U
#define ROUNDS 2U

#if defined(__SANITIZE_ADDRESS__)
#define RESIDENT_KB 0 /* the sanitizer's memory is not ours */
#else
#define RESIDENT_KB (300 * 1024)
#endif

/* One tenant's files: a hundred passages of made-up words. */
static void make_tenant(const char *dir)
{
    struct error err;
    struct store *s = NULL;
    uint64_t random = 5;
    OK(store_open(dir, &s, &err));
    for (uint64_t d = 0; d < DOCUMENTS; d++) {
        char id[16];
        char text[CHUNKS][1024];
        const char *texts[CHUNKS];
        Vs__PutReply r;
        (void)snprintf(id, sizeof id, "d%llu", (unsigned long long)d);
        for (size_t c = 0; c < CHUNKS; c++) {
            size_t at = (size_t)snprintf(text[c], sizeof text[c], "harbour");
            for (size_t i = 0; i < WORDS; i++) {
                random = random * UINT64_C(6364136223846793005) + 1442695040888963407U;
                at += (size_t)snprintf(text[c] + at, sizeof text[c] - at, " w%c%c%c",
                                       (char)('a' + random % 26), (char)('a' + (random >> 20) % 26),
                                       (char)('a' + (random >> 40) % 6));
            }
            texts[c] = text[c];
        }
        struct draft draft = {
            .document = id, .sequence = d + 1, .texts = texts, .n = CHUNKS, .readers = {"staff"}};
        OK(put_draft(s, &draft, &r, &err));
    }
    store_close(s);
}

struct said {
    struct error err;
    bool finished;
    size_t hits;
};

static void on_reply(struct rpc_request *r, const ProtobufCMessage *m, void *data)
{
    struct said *s = data;
    const Vs__SearchTextReply *reply = vs_search_text_reply(m);
    (void)r;
    s->hits = reply == NULL ? 0 : reply->n_hits;
}

static void on_finish(struct rpc_request *r, const struct error *err, void *data)
{
    struct said *s = data;
    (void)r;
    s->err = *err;
    s->finished = true;
}

static void on_closed(void *data)
{
    *(bool *)data = true;
}

static const struct rpc_callbacks callbacks = {.on_reply = on_reply, .on_finish = on_finish};

static long resident_kb(pid_t pid, const char *what)
{
    char path[64];
    char line[256];
    long kb = 0;
    (void)snprintf(path, sizeof path, "/proc/%d/status", (int)pid);
    FILE *f = fopen(path, "r");
    assert_non_null(f);
    while (fgets(line, sizeof line, f) != NULL) {
        if (strncmp(line, what, strlen(what)) == 0) {
            kb = strtol(line + strlen(what), NULL, 10);
        }
    }
    (void)fclose(f);
    return kb;
}

static int by_time(const void *x, const void *y)
{
    int64_t a = *(const int64_t *)x;
    int64_t b = *(const int64_t *)y;
    return a < b ? -1 : a > b ? 1 : 0;
}

static void many_tenants_cost_little(void **state)
{
    (void)state;
    struct one_service service;
    uv_loop_t loop;
    const char *set = getenv("CARREL_TENANTS");
    unsigned long n = set == NULL ? 200 : strtoul(set, NULL, 10);
    char path[160];
    char command[512];
    assert_true(n > 0 && n <= 100000);
    assert_int_equal(uv_loop_init(&loop), 0);
    one_service_home(&service, NULL);
    (void)snprintf(path, sizeof path, "%s/tenants", service.home);
    assert_int_equal(mkdir(path, 0700), 0);
    (void)snprintf(path, sizeof path, "%s/tenants/t0", service.home);
    assert_int_equal(mkdir(path, 0700), 0);
    make_tenant(path);
    (void)snprintf(command, sizeof command,
                   "cd '%s/tenants' && for i in $(seq 1 %lu); do cp -r t0 t$i; done", service.home,
                   n - 1);
    assert_int_equal(system(command), 0);
    one_service_start(&service, "carrel-vectorstore", PEER_VECTORSTORE, "vectorstore.sock");
    struct rpc_client *client =
        one_service_client(&service, &loop, PEER_RETRIEVE, PEER_VECTORSTORE);
    int64_t *took_us = calloc(n * ROUNDS, sizeof *took_us);
    assert_non_null(took_us);
    for (unsigned long i = 0; i < n * ROUNDS; i++) {
        char tenant[32];
        struct said said = {0};
        (void)snprintf(tenant, sizeof tenant, "t%lu", i % n);
        const struct rpc_options options = {.tenant = tenant, .wait_for_ready = true};
        Vs__SearchTextRequest q = VS__SEARCH_TEXT_REQUEST__INIT;
        q.query = (ProtobufCBinaryData){.data = (uint8_t *)(uintptr_t) "harbour", .len = 7};
        q.limit = 20;
        int64_t before = clock_monotonic_us();
        assert_non_null(vs_search_text(client, &options, &q, &callbacks, &said));
        one_service_until(&loop, &said.finished);
        took_us[i] = clock_monotonic_us() - before;
        if (said.err.code != STATUS_OK) {
            print_error("%s: %s\n", tenant, said.err.text);
        }
        assert_int_equal(said.err.code, STATUS_OK);
        assert_int_equal(said.hits, 20);
    }
    qsort(took_us, n * ROUNDS, sizeof *took_us, by_time);
    long now = resident_kb(service.pids[0], "VmRSS:");
    long most = resident_kb(service.pids[0], "VmHWM:");
    print_message(
        "%lu tenants of %u passages, %u rounds: each opened, searched p50 %.1f ms, p99 %.1f "
        "ms; resident %ld MiB, at most %ld MiB\n",
        n, DOCUMENTS * CHUNKS, ROUNDS, (double)took_us[n * ROUNDS / 2] / 1000,
        (double)took_us[n * ROUNDS * 99 / 100] / 1000, now / 1024, most / 1024);
    assert_true(RESIDENT_KB == 0 || most < RESIDENT_KB);
    free(took_us);
    bool closed = false;
    rpc_client_close(client, on_closed, &closed);
    one_service_until(&loop, &closed);
    assert_int_equal(uv_run(&loop, UV_RUN_DEFAULT), 0);
    assert_int_equal(uv_loop_close(&loop), 0);
    one_service_stop(&service);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(many_tenants_cost_little)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
