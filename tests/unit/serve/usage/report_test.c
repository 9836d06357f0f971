#include "serve/usage/report.h"

#include "base/db.h"
#include "base/file.h"
#include "serve/json.h"
#include "tests/unit/test.h"

#define MONTH (INT64_C(2026) * 12 + 10)
#define ENTRIES 700

static const struct db_migration migrations[] = {
    {1, BOOKS_SCHEMA}, {2, BOOKS_WORK_SCHEMA}, {3, BOOKS_GUESS_SCHEMA}};

static uint64_t seed = 7;
static unsigned dice(unsigned below)
{
    seed = seed * 6364136223846793005U + 1442695040888963407U;
    return (unsigned)(seed >> 33) % below;
}

static sqlite3 *books_of(const char *home, const char *tenant)
{
    char path[128];
    sqlite3 *db;
    struct error err;
    (void)snprintf(path, sizeof path, "%s/tenants/%s", home, tenant);
    assert_int_equal(file_mkdirs(path, 0700, &err), STATUS_OK);
    (void)snprintf(path, sizeof path, "%s/tenants/%s/serve.db", home, tenant);
    assert_int_equal(db_open(path, DB_CREATE, migrations, 3, &db, &err), STATUS_OK);
    return db;
}

static void random_entry(struct book_entry *e, unsigned i, const char *tenant)
{
    unsigned key = dice(40);
    *e = (struct book_entry){.route = "/v1/chat/completions",
                             .status = 200,
                             .at_wall_ms =
                                 meter_month_start(MONTH) + dice(30 * 86400) * INT64_C(1000)};
    (void)snprintf(e->request, sizeof e->request, "%s-%u", tenant, i);
    (void)snprintf(e->key, sizeof e->key, "k%u", key);
    (void)snprintf(e->user, sizeof e->user, "u%u", key / 3);
    (void)snprintf(e->team, sizeof e->team, key % 7 == 0 ? "" : "team%u", key % 7);
    (void)snprintf(e->used.model, sizeof e->used.model, "m%u", dice(4));
    e->used.prompt_tokens = dice(100000);
    e->used.completion_tokens = dice(3000);
    e->used.embedding_tokens = dice(2) * dice(1000);
    e->used.cpu_us = dice(100000000);
    e->used.gpu_us = dice(1000);
    e->used.upload_bytes = dice(1U << 30);
    e->cost.micro = dice(1000003);
    e->cost.external = e->cost.micro / 3;
    e->cost.guessed = e->cost.external / 5;
    memcpy(e->found, "a\0b", 4);
    e->found_len = 4;
}

static void sum_used(sqlite3 *db, int64_t out[REPORT_AMOUNTS])
{
    sqlite3_stmt *st = NULL;
    struct error err;
    bool row;
    assert_int_equal(
        db_prepare(db,
                   "SELECT count(*), sum(prompt), sum(completion), sum(embedding),"
                   " sum(cpu_us), sum(gpu_us), sum(upload), sum(micro), sum(external), sum(guessed)"
                   " FROM used",
                   &st, &err),
        STATUS_OK);
    assert_int_equal(db_row(st, &row, &err), STATUS_OK);
    for (int i = 0; i < REPORT_AMOUNTS; i++) {
        out[i] += sqlite3_column_int64(st, i);
    }
    (void)sqlite3_finalize(st);
}

/* Reading documents is in every sum, by no request. */
static void read_documents(sqlite3 *db, int64_t want[REPORT_AMOUNTS])
{
    struct book_work list[40] = {0};
    struct books_working b = {.list = list, .n = 40};
    struct error err;
    for (unsigned i = 0; i < 40; i++) {
        list[i] = (struct book_work){.seq = 10 + i,
                                     .day = meter_month_start(MONTH) / METER_DAY_MS + dice(30),
                                     .documents = 1,
                                     .cpu_us = dice(5000000),
                                     .micro = dice(1000)};
        (void)snprintf(list[i].user, sizeof list[i].user, i % 3 == 0 ? "" : "u%u", i % 3);
        (void)snprintf(list[i].collection, sizeof list[i].collection, "c%u", i % 4);
        want[REPORT_CPU] += list[i].cpu_us;
        want[REPORT_MICRO] += list[i].micro;
    }
    assert_int_equal(books_work(db, &b, &err), STATUS_OK);
    b = (struct books_working){0};
    assert_int_equal(books_work(db, &b, &err), STATUS_OK);
    assert_int_equal(b.seen, 49);
}

static void group_adds_up(const struct json *doc, const char *group,
                          const int64_t total[REPORT_AMOUNTS])
{
    const struct json *list = jsonr_get(doc, group);
    int64_t sum[REPORT_AMOUNTS] = {0};
    double share = 0;
    struct error err;
    assert_true(jsonr_len(list) > 0);
    for (size_t i = 0; i < jsonr_len(list); i++) {
        for (int k = 0; k < REPORT_AMOUNTS; k++) {
            int64_t n = 0;
            assert_int_equal(
                jsonr_int(jsonr_at(list, i), report_amounts[k], 0, INT64_MAX, 0, &n, &err),
                STATUS_OK);
            sum[k] += n;
        }
        bool present;
        double part = 0;
        assert_int_equal(jsonr_number(jsonr_at(list, i), "share", 0, 1, &present, &part, &err),
                         STATUS_OK);
        share += part;
    }
    assert_memory_equal(sum, total, sizeof sum);
    assert_true(strcmp(group, "days") == 0 || (share > 0.999999 && share < 1.000001));
}

/* What requests used is what users, keys, teams, models, days and the whole used, to the last unit.
 */
static void adds_up(void **state)
{
    (void)state;
    char home[64];
    struct error err;
    int64_t want[REPORT_AMOUNTS] = {0};
    static const char *const tenants[] = {"main", "north"};
    static struct book_entry entries[ENTRIES];
    test_folder(home);
    for (size_t t = 0; t < 2; t++) {
        sqlite3 *db = books_of(home, tenants[t]);
        for (unsigned i = 0; i < ENTRIES; i++) {
            random_entry(&entries[i], i, tenants[t]);
        }
        int64_t now = meter_month_start(MONTH + 1);
        for (size_t i = 0; i < ENTRIES; i += 100) { /* twice: entered once */
            assert_int_equal(books_enter(db, entries + i, 100, 60, now, &err), STATUS_OK);
            assert_int_equal(books_enter(db, entries + i, 100, 60, now, &err), STATUS_OK);
        }
        sum_used(db, want);
        read_documents(db, want);
        db_close(db);
    }
    assert_int_equal(want[REPORT_REQUESTS], 2 * ENTRIES);
    struct report_ask ask = {.home = home,
                             .tenant = REPORT_TENANTS,
                             .appliance = true,
                             .month = MONTH,
                             .wall_ms = meter_month_start(MONTH + 1),
                             .prices = {.currency = "EUR"},
                             .local_model = "",
                             .cores = 2};
    struct report r;
    struct buf out;
    struct json *doc;
    assert_int_equal(report_read(&ask, &r, &err), STATUS_OK);
    assert_memory_equal(r.total, want, sizeof want);
    assert_int_equal(r.all_cpu_us, want[REPORT_CPU]);
    buf_init(&out, 1 << 24);
    report_json(&r, &out);
    assert_int_equal(jsonr_read(buf_view(&out), &doc, &err), STATUS_OK);
    static const char *const names[] = {"teams", "users", "keys", "models", "days"};
    for (size_t i = 0; i < COUNT_OF(names); i++) {
        group_adds_up(doc, names[i], want);
    }
    int64_t read = 0;
    int64_t read_cpu_us = 0;
    for (size_t i = 0; i < r.n_stored; i++) {
        read += r.stored[i].read;
        read_cpu_us += r.stored[i].read_cpu_us;
    }
    assert_int_equal(r.n_stored, 8);
    assert_int_equal(read, 80);
    assert_true(read_cpu_us > 0 && read_cpu_us < want[REPORT_CPU]);
    jsonr_free(doc);
    buf_deinit(&out);
    report_free(&r);
    /* one tenant alone, and another month */
    (void)snprintf(ask.tenant, sizeof ask.tenant, "north");
    assert_int_equal(report_read(&ask, &r, &err), STATUS_OK);
    assert_int_equal(r.total[REPORT_REQUESTS], ENTRIES);
    report_free(&r);
    ask.month++;
    assert_int_equal(report_read(&ask, &r, &err), STATUS_OK);
    assert_int_equal(r.total[REPORT_REQUESTS], 0);
    assert_int_equal(r.to_ms, r.from_ms);
    report_free(&r);
    test_folder_remove(home);
}

/* Single requests go after their days, sums of days stay. */
static void kept(void **state)
{
    (void)state;
    char home[64];
    struct error err;
    struct book_entry e;
    int64_t sum[REPORT_AMOUNTS] = {0};
    test_folder(home);
    sqlite3 *db = books_of(home, "main");
    random_entry(&e, 1, "old");
    assert_int_equal(books_enter(db, &e, 1, 35, e.at_wall_ms, &err), STATUS_OK);
    struct book_entry young = e;
    (void)snprintf(young.request, sizeof young.request, "young");
    young.at_wall_ms = e.at_wall_ms + 36 * METER_DAY_MS;
    assert_int_equal(books_enter(db, &young, 1, 35, young.at_wall_ms, &err), STATUS_OK);
    sum_used(db, sum);
    assert_int_equal(sum[REPORT_REQUESTS], 1);
    db_close(db);
    struct report_ask ask = {.home = home,
                             .tenant = "main",
                             .month = meter_month(e.at_wall_ms),
                             .wall_ms = young.at_wall_ms,
                             .local_model = "",
                             .cores = 1};
    struct report r;
    assert_int_equal(report_read(&ask, &r, &err), STATUS_OK);
    assert_true(r.total[REPORT_REQUESTS] >= 1);
    assert_true(r.total[REPORT_MICRO] >= e.cost.micro);
    report_free(&r);
    test_folder_remove(home);
}

/* What the cores could have done is counted from the day the appliance began. */
static void a_young_appliance(void **state)
{
    (void)state;
    static const struct db_migration tenants[] = {
        {1, "CREATE TABLE tenants(id TEXT PRIMARY KEY, created_wall_ms INTEGER NOT NULL) STRICT;"}};
    static const struct row {
        int64_t born_days, since_days; /* of the month; 10 of it have passed */
    } rows[] = {{-40, 0}, {0, 0}, {9, 9}, {12, 10}};
    char home[64], path[128], sql[128];
    struct error err;
    int64_t month = meter_month_start(MONTH);
    test_folder(home);
    (void)snprintf(path, sizeof path, "%s/system", home);
    assert_int_equal(file_mkdirs(path, 0700, &err), STATUS_OK);
    (void)snprintf(path, sizeof path, "%s/system/serve.db", home);
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        sqlite3 *db;
        assert_int_equal(db_open(path, DB_CREATE, tenants, 1, &db, &err), STATUS_OK);
        (void)snprintf(sql, sizeof sql, "INSERT OR REPLACE INTO tenants VALUES('main', %lld)",
                       (long long)(month + rows[i].born_days * METER_DAY_MS));
        assert_int_equal(db_exec(db, sql, &err), STATUS_OK);
        db_close(db);
        struct report_ask ask = {.home = home,
                                 .tenant = "main",
                                 .appliance = true,
                                 .month = MONTH,
                                 .wall_ms = month + 10 * METER_DAY_MS,
                                 .prices = {.currency = "EUR"},
                                 .local_model = "",
                                 .cores = 2};
        struct report r;
        struct buf out;
        char want[64];
        assert_int_equal(report_read(&ask, &r, &err), STATUS_OK);
        assert_int_equal(r.since_ms, month + rows[i].since_days * METER_DAY_MS);
        buf_init(&out, 1 << 20);
        report_json(&r, &out);
        (void)snprintf(want, sizeof want, "\"capacity_us\":%lld,",
                       (long long)((10 - rows[i].since_days) * METER_DAY_MS * 1000 * 2));
        assert_non_null(strstr(out.ptr, want));
        assert_int_equal(strstr(out.ptr, "cpu_idle") != NULL, rows[i].since_days <= 3);
        buf_deinit(&out);
        report_free(&r);
    }
    test_folder_remove(home);
}

static void csv(void **state)
{
    (void)state;
    struct report_ask ask = {.month = MONTH, .prices = {.currency = "EUR"}};
    struct report_row row = {
        .tenant = "main", .team = "=1+1", .user = "a\"b", .key = "k", .model = "m"};
    struct report r = {.ask = &ask, .rows = &row, .n_rows = 1};
    struct buf out;
    row.n[REPORT_MICRO] = 12;
    buf_init(&out, 1 << 16);
    report_csv(&r, &out);
    assert_int_equal(buf_status(&out), STATUS_OK);
    assert_non_null(strstr(out.ptr,
                           "\r\n\"2026-11\",\"main\",\"'=1+1\",\"a\"\"b\",\"a\"\"b\",\"k\",\"m\","
                           "0,0,0,0,0,0,0,12,0,0,EUR,0.000012\r\n"));
    buf_deinit(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(adds_up), cmocka_unit_test(kept),
                                       cmocka_unit_test(a_young_appliance), cmocka_unit_test(csv)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
