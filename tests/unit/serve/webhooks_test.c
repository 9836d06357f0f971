/* Signatures against a published example, waits, and what a receiver that takes nothing comes to.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/clock.h"
#include "base/db.h"
#include "base/file.h"
#include "serve/auth_internal.h"
#include "serve/webhooks_store.h"

#define HOUR INT64_C(3600000)

static char home[] = "/tmp/carrel-webhooks-XXXXXX"; /* with a key to seal with */

static void test_signature(void **state)
{
    (void)state;
    /* of the key "0123...", worked out with openssl dgst -sha256 -mac HMAC */
    uint8_t secret[WEBHOOK_SECRET_BYTES];
    char out[WEBHOOK_SIGNATURE_CAP], text[WEBHOOK_SECRET_CAP];
    (void)memcpy(secret, "0123456789abcdef0123456789abcdef", sizeof secret);
    webhook_sign(secret, "msg_1", 1700000000, STR("{\"test\":1}"), out);
    assert_string_equal(out, "v1,Z+/TRcXAirX5gV0lZDxYDworZp4nz0pFaG7DaqldHw0=");
    webhook_secret_text(secret, text);
    assert_string_equal(text, "whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=");
}

static void test_waits(void **state)
{
    (void)state;
    for (uint32_t r = 0; r < 5000; r += 7) {
        int64_t first = webhook_wait_ms(1, r), fourth = webhook_wait_ms(4, r * 77773U);
        assert_in_range(first, 4000, 6000);
        assert_in_range(fourth, 32000, 48000);
        assert_in_range(webhook_wait_ms(4000, UINT32_MAX - r), HOUR * 4 / 5, HOUR * 6 / 5);
    }
}

static sqlite3 *open_at(const char *path)
{
    struct error err;
    sqlite3 *db = NULL;
    static const struct db_migration m[] = {
        {1, "CREATE TABLE answers(id TEXT PRIMARY KEY) STRICT;"
            "CREATE TABLE erased(document TEXT PRIMARY KEY) STRICT, WITHOUT ROWID;"},
        {2, WEBHOOKS_SCHEMA},
        {3, WEBHOOKS_SCHEMA_2}};
    assert_int_equal(db_open(path, DB_CREATE, m, 3, &db, &err), STATUS_OK);
    return db;
}

static sqlite3 *open_db(void)
{
    return open_at(":memory:");
}

static void put(sqlite3 *db, const char *event, const char *ref, enum status expected)
{
    struct error err;
    const struct webhook_happening h = {.tenant = "main", .event = event, .ref = ref, .data = "{}"};
    assert_int_equal(webhooks_put(db, &h, &err), expected);
}

static bool take(sqlite3 *db, struct webhook_delivery *d)
{
    struct error err;
    bool found = false;
    assert_int_equal(webhooks_store_take(db, home, clock_wall_ms(), d, &found, &err), STATUS_OK);
    free(d->body);
    return found;
}

static void end(sqlite3 *db, const struct webhook_delivery *d, bool taken, int64_t now)
{
    struct error err;
    const struct webhook_outcome o = {.delivery = d->id,
                                      .webhook = d->webhook,
                                      .taken = taken,
                                      .error = "",
                                      .now_ms = now,
                                      .due_ms = 0,
                                      .disable_ms = 72 * HOUR};
    assert_int_equal(webhooks_store_outcome(db, &o, &err), STATUS_OK);
}

static void test_long_failure(void **state)
{
    (void)state;
    struct error err;
    sqlite3 *db = open_db();
    struct webhook_state st;
    struct webhook_delivery d;
    struct webhook_new n = {
        .name = "", .url = "https://a.example/", .events = "job.done,", .by = "u"};
    assert_int_equal(webhooks_store_add(db, home, &n, &err), STATUS_OK);
    put(db, "job.done", "", STATUS_OK);
    put(db, "budget.warning", "", STATUS_OK); /* nobody's */
    int64_t now = clock_wall_ms();
    for (int hour = 0; hour <= 73; hour++) {
        assert_int_equal(webhooks_store_state(db, &st, &err), STATUS_OK);
        assert_true(st.endpoints == (hour <= 72));
        if (!st.endpoints) {
            break;
        }
        assert_true(take(db, &d));
        end(db, &d, false, now + hour * HOUR);
    }
    assert_false(take(db, &d)); /* off: nothing is sent */
    assert_int_equal(webhooks_store_enable(db, n.id, true, &err), STATUS_OK);
    assert_true(take(db, &d));
    end(db, &d, true, now + 80 * HOUR);
    assert_false(take(db, &d));
    db_close(db);
}

static void test_bounds(void **state)
{
    (void)state;
    struct error err;
    sqlite3 *db = open_db();
    struct webhook_delivery d[3];
    struct webhook_new n = {
        .name = "", .url = "https://a.example/", .events = "document.ingested,", .by = "u"};
    assert_int_equal(webhooks_store_add(db, home, &n, &err), STATUS_OK);
    assert_int_equal(db_exec(db, "INSERT INTO erased VALUES('gone')", &err), STATUS_OK);
    put(db, "document.ingested", "gone", STATUS_OK);
    assert_false(take(db, &d[0])); /* what was erased is not told of */
    assert_int_equal(db_exec(db,
                             "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM n"
                             " WHERE i<9999) INSERT INTO deliveries(id,webhook,event,ref,body,"
                             "state,due_wall_ms,created_wall_ms) SELECT 'd'||i,"
                             "(SELECT id FROM webhooks),'document.ingested','doc','{}',0,1,1"
                             " FROM n",
                             &err),
                     STATUS_OK);
    put(db, "document.ingested", "doc", STATUS_OK);
    put(db, "document.ingested", "doc", STATUS_BUSY);
    assert_true(take(db, &d[0]) && take(db, &d[1]));
    assert_false(take(db, &d[2])); /* two of an endpoint at a time */
    struct webhook_state st;
    assert_int_equal(webhooks_store_begin(db, home, &st, &err), STATUS_OK);
    assert_true(take(db, &d[2])); /* after a kill what was under way waits again */
    assert_int_equal(db_exec(db, "INSERT INTO erased VALUES('doc')", &err), STATUS_OK);
    assert_int_equal(webhooks_store_begin(db, home, &st, &err), STATUS_OK);
    assert_false(take(db, &d[0]));
    for (int i = 1; i < WEBHOOKS_MAX; i++) {
        assert_int_equal(webhooks_store_add(db, home, &n, &err), STATUS_OK);
    }
    assert_int_equal(webhooks_store_add(db, home, &n, &err), STATUS_TOO_LARGE);
    db_close(db);
}

static void test_readers(void **state)
{
    (void)state;
    struct error err;
    sqlite3 *db = open_db();
    struct webhook_delivery d;
    static const char *const readers[] = {"board", "r"};
    static const struct {
        const char *groups;
        bool told;
    } rows[] = {{"hr,", false}, {"hr,board,", true}, {"", false}, {"onboard,boards,", false}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct webhook_new n = {.name = "",
                                .url = "https://a.example/",
                                .events = "document.ingested,",
                                .by = "u",
                                .groups = rows[i].groups};
        const struct webhook_happening h = {.tenant = "main",
                                            .event = "document.ingested",
                                            .ref = "",
                                            .data = "{}",
                                            .readers = readers,
                                            .n_readers = 2};
        assert_int_equal(webhooks_store_add(db, home, &n, &err), STATUS_OK);
        assert_int_equal(webhooks_put(db, &h, &err), STATUS_OK);
        assert_true(take(db, &d) == rows[i].told);
        assert_int_equal(webhooks_store_remove(db, n.id, &err), STATUS_OK);
    }
    db_close(db);
}

static void test_again_and_secrets(void **state)
{
    (void)state;
    struct error err;
    sqlite3 *db = open_db();
    struct webhook_delivery d, e;
    struct webhook_new n = {
        .name = "", .url = "https://a.example/", .events = "job.done,", .by = "u"};
    uint8_t secret[WEBHOOK_SECRET_BYTES];
    int64_t now = clock_wall_ms();
    assert_int_equal(webhooks_store_add(db, home, &n, &err), STATUS_OK);
    put(db, "job.done", "", STATUS_OK);
    assert_true(take(db, &d));
    assert_false(d.has_old);
    assert_int_equal(webhooks_store_again(db, n.id, d.id, now, &err), STATUS_CONFLICT);
    end(db, &d, true, now);
    assert_int_equal(webhooks_store_again(db, n.id, "none", now, &err), STATUS_NOT_FOUND);
    assert_int_equal(webhooks_store_again(db, "none", d.id, now, &err), STATUS_NOT_FOUND);
    assert_int_equal(webhooks_store_enable(db, n.id, false, &err), STATUS_OK);
    assert_int_equal(webhooks_store_again(db, n.id, d.id, now, &err), STATUS_CONFLICT);
    assert_int_equal(webhooks_store_enable(db, n.id, true, &err), STATUS_OK);
    /* an old one is not given up at once: its time counts from when it was sent again */
    assert_int_equal(db_exec(db, "UPDATE deliveries SET created_wall_ms=1", &err), STATUS_OK);
    assert_int_equal(webhooks_store_again(db, n.id, d.id, now, &err), STATUS_OK);
    assert_int_equal(webhooks_store_sweep(db, now, 24 * HOUR, 24 * HOUR, &err), STATUS_OK);
    assert_int_equal(webhooks_store_secret(db, home, n.id, secret, clock_wall_ms() + 60000, &err),
                     STATUS_OK);
    assert_true(take(db, &e));
    assert_string_equal(d.id, e.id);
    assert_int_equal(e.created_ms, now);
    assert_true(e.has_old);
    assert_memory_equal(e.secret, secret, sizeof secret);
    assert_memory_equal(e.secret_old, n.secret, sizeof secret);
    end(db, &e, true, now);
    /* over: it signs no more, and is gone */
    assert_int_equal(webhooks_store_secret(db, home, n.id, secret, 1, &err), STATUS_OK);
    assert_int_equal(webhooks_store_again(db, n.id, d.id, now, &err), STATUS_OK);
    assert_true(take(db, &e));
    assert_false(e.has_old);
    end(db, &e, true, now);
    assert_int_equal(webhooks_store_sweep(db, now, 24 * HOUR, 24 * HOUR, &err), STATUS_OK);
    assert_int_equal(db_exec(db,
                             "CREATE TABLE t(ok INTEGER NOT NULL CHECK(ok)) STRICT;"
                             "INSERT INTO t SELECT secret_old IS NULL FROM webhooks",
                             &err),
                     STATUS_OK);
    db_close(db);
}

/* What somebody asked is told to administrators and to himself. */
static void test_whose(void **state)
{
    (void)state;
    struct error err;
    sqlite3 *db = open_db();
    struct webhook_delivery d;
    static const struct {
        const char *by, *groups, *told;
    } rows[] = {{"k", NULL, "question"},
                {"u", "a,", "question"},
                {"k", "a,", "brief"},
                {"k", "", "brief"},
                {"", "", "brief"}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct webhook_new n = {.name = "",
                                .url = "https://a.example/",
                                .events = "answer.flagged,",
                                .by = rows[i].by,
                                .groups = rows[i].groups};
        const struct webhook_happening h = {.tenant = "main",
                                            .event = "answer.flagged",
                                            .ref = "",
                                            .data = "{\"is\":\"question\"}",
                                            .whose = "u",
                                            .brief = "{\"is\":\"brief\"}"};
        assert_int_equal(webhooks_store_add(db, home, &n, &err), STATUS_OK);
        assert_int_equal(webhooks_put(db, &h, &err), STATUS_OK);
        bool found = false;
        assert_int_equal(webhooks_store_take(db, home, clock_wall_ms(), &d, &found, &err),
                         STATUS_OK);
        assert_true(found);
        assert_non_null(strstr(d.body, rows[i].told));
        free(d.body);
        assert_int_equal(webhooks_store_remove(db, n.id, &err), STATUS_OK);
    }
    db_close(db);
}

static bool lies_in(const char *path, const uint8_t secret[WEBHOOK_SECRET_BYTES])
{
    struct buf b;
    struct error err;
    if (access(path, F_OK) != 0) {
        return false;
    }
    buf_init(&b, 64U * 1024 * 1024);
    assert_int_equal(file_read(path, &b, &err), STATUS_OK);
    bool found = b.len > 0 && memmem(b.ptr, b.len, secret, WEBHOOK_SECRET_BYTES) != NULL;
    buf_deinit(&b);
    return found;
}

static const char *in_home(const char *name)
{
    static char path[4][128];
    static unsigned at;
    char *out = path[at++ % 4];
    (void)snprintf(out, sizeof path[0], "%s/%s", home, name);
    return out;
}

static bool lies_anywhere(const uint8_t secret[WEBHOOK_SECRET_BYTES])
{
    return lies_in(in_home("tenants/main/serve.db"), secret) ||
           lies_in(in_home("tenants/main/serve.db-wal"), secret);
}

/* As the version before wrote both: that they are found shows that looking finds. */
static void put_in_clear(sqlite3 *db, const char *id, const uint8_t secret[WEBHOOK_SECRET_BYTES],
                         const uint8_t old[WEBHOOK_SECRET_BYTES])
{
    struct error err;
    sqlite3_stmt *st = NULL;
    assert_int_equal(db_prepare(db,
                                "UPDATE webhooks SET secret=?2, secret_old=?3,"
                                " secret_old_until_ms=9000000000000 WHERE id=?1",
                                &st, &err),
                     STATUS_OK);
    (void)sqlite3_bind_text(st, 1, id, -1, SQLITE_STATIC);
    (void)sqlite3_bind_blob(st, 2, secret, WEBHOOK_SECRET_BYTES, SQLITE_STATIC);
    (void)sqlite3_bind_blob(st, 3, old, WEBHOOK_SECRET_BYTES, SQLITE_STATIC);
    assert_int_equal(db_run(st, &err), STATUS_OK);
    (void)sqlite3_finalize(st);
    assert_true(lies_anywhere(secret) && lies_anywhere(old));
}

static void test_sealed(void **state)
{
    (void)state;
    struct error err;
    struct webhook_state st;
    struct webhook_delivery d;
    struct secrets key;
    bool sealed = true;
    uint8_t old[WEBHOOK_SECRET_BYTES], fresh[WEBHOOK_SECRET_BYTES];
    struct webhook_new n = {
        .name = "", .url = "https://a.example/", .events = "job.done,", .by = "u"};
    assert_int_equal(webhooks_any_sealed(home, &sealed, &err), STATUS_OK);
    assert_false(sealed); /* no tenants at all */
    assert_int_equal(file_mkdirs(in_home("tenants/main"), 0700, &err), STATUS_OK);
    sqlite3 *db = open_at(in_home("tenants/main/serve.db"));
    sqlite3 *system;
    assert_int_equal(auth_database(home, &system, &err), STATUS_OK);
    assert_int_equal(webhooks_store_add(db, home, &n, &err), STATUS_OK);
    assert_false(lies_anywhere(n.secret));

    memset(old, 0x5c, sizeof old);
    put_in_clear(db, n.id, n.secret, old);
    assert_int_equal(webhooks_any_sealed(home, &sealed, &err), STATUS_OK);
    assert_false(sealed);
    assert_int_equal(webhooks_store_begin(db, home, &st, &err), STATUS_OK);
    assert_false(lies_anywhere(n.secret) || lies_anywhere(old));
    assert_int_equal(webhooks_any_sealed(home, &sealed, &err), STATUS_OK);
    assert_true(sealed);
    put(db, "job.done", "", STATUS_OK);
    assert_true(take(db, &d));
    assert_false(d.lost);
    assert_memory_equal(d.secret, n.secret, sizeof d.secret);
    assert_true(d.has_old);
    assert_memory_equal(d.secret_old, old, sizeof old);

    /* without its key nothing is sent or made, and no new key takes the place of it */
    assert_int_equal(rename(in_home("system/secrets.key"), in_home("system/aside")), 0);
    assert_int_equal(auth_totp_key(system, home, &key, &err), STATUS_UNAVAILABLE);
    assert_int_equal(webhooks_store_add(db, home, &n, &err), STATUS_UNAVAILABLE);
    assert_int_equal(webhooks_store_secret(db, home, d.webhook, fresh, 0, &err),
                     STATUS_UNAVAILABLE);
    assert_int_equal(webhooks_store_begin(db, home, &st, &err), STATUS_OK);
    assert_true(take(db, &d));
    assert_true(d.lost && !d.has_old);
    /* a file that is no key is no fault of who asks, and tells no path */
    assert_int_equal(file_write_atomic(in_home("system/secrets.key"), "torn", 4, 0600, &err),
                     STATUS_OK);
    assert_int_equal(webhooks_store_add(db, home, &n, &err), STATUS_UNAVAILABLE);
    assert_null(strstr(err.text, home));
    assert_int_equal(unlink(in_home("system/secrets.key")), 0);
    /* nor with another; a new secret under it is good again */
    assert_int_equal(secrets_open(home, true, &key, &err), STATUS_OK);
    assert_int_equal(webhooks_store_begin(db, home, &st, &err), STATUS_OK);
    assert_true(take(db, &d));
    assert_true(d.lost && !d.has_old);
    assert_int_equal(webhooks_store_secret(db, home, d.webhook, fresh, 0, &err), STATUS_OK);
    assert_false(lies_anywhere(fresh));
    assert_int_equal(webhooks_store_begin(db, home, &st, &err), STATUS_OK);
    assert_true(take(db, &d));
    assert_false(d.lost);
    assert_memory_equal(d.secret, fresh, sizeof fresh);

    /* one endpoint's is no other's */
    uint8_t kept[WEBHOOK_SEALED_BYTES];
    assert_int_equal(webhook_secret_seal(home, "one", fresh, kept, &err), STATUS_OK);
    struct str bytes = {(const char *)kept, sizeof kept};
    assert_true(webhook_secret_unseal(home, "one", bytes, old));
    assert_false(webhook_secret_unseal(home, "two", bytes, old));
    db_close(db);
    db_close(system);
}

static int with_home(void **state)
{
    struct secrets key;
    struct error err;
    (void)state;
    return mkdtemp(home) != NULL && file_mkdirs(in_home("system"), 0700, &err) == STATUS_OK &&
                   secrets_open(home, true, &key, &err) == STATUS_OK
               ? 0
               : -1;
}

static int without_home(void **state)
{
    (void)state;
    static const char *const names[] = {"tenants/main/serve.db",     "tenants/main/serve.db-wal",
                                        "tenants/main/serve.db-shm", "system/serve.db",
                                        "system/serve.db-wal",       "system/serve.db-shm",
                                        "system/secrets.key",        "system/aside"};
    static const char *const folders[] = {"tenants/main", "tenants", "system", ""};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        (void)unlink(in_home(names[i]));
    }
    for (size_t i = 0; i < sizeof folders / sizeof *folders; i++) {
        (void)rmdir(in_home(folders[i]));
    }
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_signature),    cmocka_unit_test(test_waits),
        cmocka_unit_test(test_long_failure), cmocka_unit_test(test_bounds),
        cmocka_unit_test(test_readers),      cmocka_unit_test(test_again_and_secrets),
        cmocka_unit_test(test_whose),        cmocka_unit_test(test_sealed)};
    return cmocka_run_group_tests(tests, with_home, without_home);
}
