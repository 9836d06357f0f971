#include "tests/unit/test.h"

#include <pthread.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/db.h"

static const struct db_migration steps[] = {
    {1, "CREATE TABLE t(id INTEGER PRIMARY KEY, v TEXT) STRICT"},
    {2, "ALTER TABLE t ADD COLUMN w INTEGER"},
};
static const struct db_migration broken[] = {
    {1, "CREATE TABLE t(id INTEGER PRIMARY KEY, v TEXT) STRICT"},
    {2, "CREATE TABLE u(x); CREATE TABLE t(y)"},
};

static int64_t number(sqlite3 *db, const char *sql)
{
    sqlite3_stmt *st;
    struct error err;
    assert_int_equal(db_prepare(db, sql, &st, &err), STATUS_OK);
    bool row;
    assert_int_equal(db_row(st, &row, &err), STATUS_OK);
    int64_t n = row ? sqlite3_column_int64(st, 0) : -1;
    (void)sqlite3_finalize(st);
    return n;
}

static void test_layout_and_migrations(void **state)
{
    (void)state;
    char dir[64];
    test_folder(dir);
    char path[96];
    (void)snprintf(path, sizeof path, "%s/x.db", dir);
    struct error err;
    sqlite3 *db;
    assert_int_equal(db_open(path, 0, steps, 2, &db, &err),
                     STATUS_FORBIDDEN); /* not there, not asked to create */
    assert_int_equal(db_open(path, DB_CREATE, steps, 1, &db, &err), STATUS_OK);
    assert_int_equal(number(db, "PRAGMA page_size"), 8192);
    assert_int_equal(number(db, "PRAGMA mmap_size"), 0);
    assert_int_equal(number(db, "PRAGMA synchronous"), 2);
    assert_int_equal(number(db, "PRAGMA foreign_keys"), 1);
    db_close(db);
    struct stat st;
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
    unsigned char head[100];
    FILE *f = fopen(path, "rb");
    assert_non_null(f);
    assert_int_equal(fread(head, 1, sizeof head, f), sizeof head);
    (void)fclose(f);
    assert_int_equal(head[20], 32); /* reserved bytes a page, by the file format */
    assert_int_equal(db_open(path, 0, steps, 2, &db, &err), STATUS_OK);
    assert_int_equal(number(db, "PRAGMA user_version"), 2);
    db_close(db);
    assert_int_equal(db_open(path, 0, steps, 1, &db, &err), STATUS_UNSUPPORTED);
    assert_non_null(strstr(err.text, "newer"));
    test_folder_remove(dir);
}

#define OPENERS 4

struct opener {
    const char *path;
    pthread_barrier_t *together;
    enum status status;
    struct error err;
};

static void *open_together(void *data)
{
    static const struct db_migration several[] = {{1, "CREATE TABLE a(x INTEGER);"},
                                                  {2, "CREATE TABLE b(x INTEGER);"},
                                                  {3, "CREATE TABLE c(x INTEGER);"}};
    struct opener *o = data;
    sqlite3 *db = NULL;
    (void)pthread_barrier_wait(o->together);
    o->status = db_open(o->path, DB_CREATE, several, COUNT_OF(several), &db, &o->err);
    db_close(db);
    return NULL;
}

/* Several parts of a process may be the first to need a file. */
static void test_a_new_file_is_opened_by_several_at_once(void **state)
{
    (void)state;
    for (int round = 0; round < 40; round++) {
        char dir[64];
        char path[128];
        pthread_t threads[OPENERS];
        struct opener openers[OPENERS];
        pthread_barrier_t together;
        test_folder(dir);
        (void)snprintf(path, sizeof path, "%s/new.db", dir);
        assert_int_equal(pthread_barrier_init(&together, NULL, OPENERS), 0);
        for (size_t i = 0; i < OPENERS; i++) {
            openers[i] = (struct opener){.path = path, .together = &together};
            assert_int_equal(pthread_create(&threads[i], NULL, open_together, &openers[i]), 0);
        }
        for (size_t i = 0; i < OPENERS; i++) {
            assert_int_equal(pthread_join(threads[i], NULL), 0);
            if (openers[i].status != STATUS_OK) {
                fail_msg("%s", openers[i].err.text);
            }
        }
        (void)pthread_barrier_destroy(&together);
        test_folder_remove(dir);
    }
}

static void test_a_failed_migration_leaves_the_old_schema(void **state)
{
    (void)state;
    char dir[64];
    test_folder(dir);
    char path[96];
    (void)snprintf(path, sizeof path, "%s/x.db", dir);
    struct error err;
    sqlite3 *db;
    assert_int_not_equal(db_open(path, DB_CREATE, broken, 2, &db, &err), STATUS_OK);
    assert_int_equal(db_open(path, 0, broken, 1, &db, &err), STATUS_OK);
    assert_int_equal(number(db, "PRAGMA user_version"), 1);
    assert_int_equal(number(db, "SELECT count(*) FROM sqlite_schema WHERE name='u'"), 0);
    db_close(db);
    test_folder_remove(dir);
}

static void test_a_committed_row_survives_a_kill(void **state)
{
    (void)state;
    char dir[64];
    test_folder(dir);
    char path[96];
    (void)snprintf(path, sizeof path, "%s/x.db", dir);
    struct error err;
    sqlite3 *db;
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        if (db_open(path, DB_CREATE, steps, 2, &db, &err) != STATUS_OK ||
            db_exec(db, "INSERT INTO t(v) VALUES('kept'); BEGIN; INSERT INTO t(v) VALUES('not')",
                    &err) != STATUS_OK) {
            _exit(1);
        }
        (void)raise(SIGKILL);
    }
    int how;
    assert_int_equal(waitpid(child, &how, 0), child);
    assert_true(WIFSIGNALED(how));
    assert_int_equal(db_open(path, 0, steps, 2, &db, &err), STATUS_OK);
    assert_int_equal(number(db, "SELECT count(*) FROM t"), 1);
    db_close(db);
    test_folder_remove(dir);
}

static void test_errors_and_statements(void **state)
{
    (void)state;
    char dir[64];
    test_folder(dir);
    char path[96];
    (void)snprintf(path, sizeof path, "%s/x.db", dir);
    struct error err;
    sqlite3 *db;
    assert_int_equal(db_open(path, DB_CREATE, steps, 2, &db, &err), STATUS_OK);
    sqlite3_stmt *st;
    assert_int_not_equal(db_prepare(db, "SELECT nonsense FROM nowhere", &st, &err), STATUS_OK);
    assert_int_equal(db_prepare(db, "INSERT INTO t(id, v) VALUES(?1, ?2)", &st, &err), STATUS_OK);
    (void)sqlite3_bind_int(st, 1, 7);
    (void)sqlite3_bind_text(st, 2, "a\0b", 3, SQLITE_STATIC);
    assert_int_equal(db_run(st, &err), STATUS_OK);
    (void)sqlite3_bind_int(st, 1, 7);
    assert_int_equal(db_run(st, &err), STATUS_CONFLICT);
    (void)sqlite3_bind_int(st, 1, 8); /* usable after a failure */
    assert_int_equal(db_run(st, &err), STATUS_OK);
    sqlite3_stmt *get;
    assert_int_equal(db_prepare(db, "SELECT v FROM t WHERE id=7", &get, &err), STATUS_OK);
    bool row;
    assert_int_equal(db_row(get, &row, &err), STATUS_OK);
    assert_true(row);
    assert_true(str_eq(db_column(get, 0), (struct str){"a\0b", 3}));
    db_close(db); /* finalizes what is open */
    FILE *f = fopen(path, "r+b");
    assert_non_null(f);
    (void)fwrite("this is no database file at all", 1, 31, f);
    (void)fclose(f);
    assert_int_equal(db_open(path, 0, steps, 2, &db, &err), STATUS_CORRUPT);
    test_folder_remove(dir);
}

static void flip(const char *path, long at)
{
    FILE *f = fopen(path, "r+b");
    assert_non_null(f);
    assert_int_equal(fseek(f, at, SEEK_SET), 0);
    int c = fgetc(f);
    assert_int_equal(fseek(f, at, SEEK_SET), 0);
    assert_int_equal(fputc(c ^ 4, f), c ^ 4);
    assert_int_equal(fclose(f), 0);
}

static void test_a_page_that_the_disk_changed_is_refused_by_name(void **state)
{
    (void)state;
    char dir[64];
    test_folder(dir);
    char path[96];
    (void)snprintf(path, sizeof path, "%s/x.db", dir);
    struct error err;
    sqlite3 *db;
    static const char fill[] =
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM n WHERE i<400)"
        " INSERT INTO t(v) SELECT printf('%0500d', i) FROM n";
    assert_int_equal(db_open(path, DB_CREATE, steps, 2, &db, &err), STATUS_OK);
    assert_int_equal(db_exec(db, fill, &err), STATUS_OK);
    db_close(db);
    for (long page = 2; page < 20; page += 3) {
        flip(path, page * 8192 + 4000 + page);
        assert_int_equal(db_open(path, 0, steps, 2, &db, &err), STATUS_OK);
        assert_int_equal(db_exec(db, "SELECT sum(length(v)) FROM t", &err), STATUS_CORRUPT);
        assert_non_null(strstr(err.text, "x.db"));
        db_close(db);
        flip(path, page * 8192 + 4000 + page); /* and back */
    }
    assert_int_equal(db_open(path, 0, steps, 2, &db, &err), STATUS_OK);
    assert_int_equal(number(db, "SELECT count(*) FROM t"), 400);
    db_close(db);
    test_folder_remove(dir);
}

/* Made before pages had sums: it is read, and its pages get sums as they are written. */
static void test_an_older_file_is_read(void **state)
{
    (void)state;
    char dir[64];
    test_folder(dir);
    char path[96];
    (void)snprintf(path, sizeof path, "%s/x.db", dir);
    struct error err;
    sqlite3 *db;
    int reserve = 32;
    assert_int_equal(sqlite3_open_v2(path, &db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE, "unix"),
                     SQLITE_OK);
    assert_int_equal(sqlite3_exec(db, "PRAGMA page_size=8192", NULL, NULL, NULL), SQLITE_OK);
    assert_int_equal(sqlite3_file_control(db, "main", SQLITE_FCNTL_RESERVE_BYTES, &reserve),
                     SQLITE_OK);
    assert_int_equal(
        sqlite3_exec(
            db, "PRAGMA journal_mode=WAL; CREATE TABLE o(v TEXT); INSERT INTO o VALUES('kept')",
            NULL, NULL, NULL),
        SQLITE_OK);
    assert_int_equal(sqlite3_close(db), SQLITE_OK);
    assert_int_equal(db_open(path, 0, NULL, 0, &db, &err), STATUS_OK);
    assert_int_equal(number(db, "SELECT count(*) FROM o WHERE v='kept'"), 1);
    assert_int_equal(db_exec(db, "UPDATE o SET v='kept on'; PRAGMA wal_checkpoint(TRUNCATE)", &err),
                     STATUS_OK);
    db_close(db);
    flip(path, 8192 + 8150);
    assert_int_equal(db_open(path, 0, NULL, 0, &db, &err), STATUS_OK);
    assert_int_equal(db_exec(db, "SELECT * FROM o", &err), STATUS_CORRUPT);
    db_close(db);
    test_folder_remove(dir);
}

static void test_a_copy_is_of_one_moment(void **state)
{
    (void)state;
    char dir[64];
    test_folder(dir);
    char path[96];
    char to[96];
    (void)snprintf(path, sizeof path, "%s/x.db", dir);
    (void)snprintf(to, sizeof to, "%s/y.db", dir);
    struct error err;
    sqlite3 *db;
    sqlite3 *frozen;
    assert_int_equal(db_open(path, DB_CREATE, steps, 2, &db, &err), STATUS_OK);
    assert_int_equal(db_exec(db, "INSERT INTO t(v) VALUES('one')", &err), STATUS_OK);
    assert_int_equal(db_freeze(path, &frozen, &err), STATUS_OK);
    assert_int_equal(db_exec(db, "INSERT INTO t(v) VALUES('two')", &err), STATUS_OK);
    assert_int_equal(db_copy(frozen, to, NULL, &err), STATUS_OK);
    db_close(frozen);
    db_close(db);
    assert_int_equal(db_open(to, 0, steps, 2, &db, &err), STATUS_OK);
    assert_int_equal(number(db, "SELECT count(*) FROM t"), 1);
    db_close(db);
    test_folder_remove(dir);
}

static bool holds(const char *path, const char *needle)
{
    FILE *f = fopen(path, "rb");
    if (f == NULL) {
        return false;
    }
    static char bytes[16 << 20];
    size_t n = fread(bytes, 1, sizeof bytes, f);
    assert_true(n < sizeof bytes);
    assert_int_equal(fclose(f), 0);
    return memmem(bytes, n, needle, strlen(needle)) != NULL;
}

/* A row whose text says "secretly" from end to end, or "openly ". */
static void put_row(sqlite3 *db, uint64_t *seed, int id)
{
    static char text[20016];
    struct error err;
    sqlite3_stmt *st = NULL;
    *seed = *seed * 6364136223846793005U + 1442695040888963407U;
    size_t len = 8 + (size_t)(*seed >> 33) % ((*seed >> 60) == 0  ? 20000
                                              : (*seed >> 59) < 8 ? 2500
                                                                  : 150);
    const char *word = id % 3 == 0 ? "secretly" : "openly  ";
    for (size_t i = 0; i < len; i++) {
        text[i] = word[i % 8];
    }
    (void)snprintf(text + len, 16, "%d", id);
    assert_int_equal(db_prepare(db, "INSERT OR REPLACE INTO t VALUES(?1,?2)", &st, &err),
                     STATUS_OK);
    (void)sqlite3_bind_int(st, 1, id);
    (void)sqlite3_bind_text(st, 2, text, -1, SQLITE_TRANSIENT);
    assert_int_equal(db_run(st, &err), STATUS_OK);
    (void)sqlite3_finalize(st);
}

static void fill_and_delete(sqlite3 *db, uint64_t seed)
{
    struct error err;
    for (int round = 0; round < 4; round++) {
        assert_int_equal(db_exec(db, "BEGIN", &err), STATUS_OK);
        for (int i = 0; i < 700; i++) {
            seed = seed * 6364136223846793005U + 1442695040888963407U;
            put_row(db, &seed, (int)(seed >> 40) % 900);
            if (i % 5 == 0) {
                char sql[80];
                (void)snprintf(sql, sizeof sql, "DELETE FROM t WHERE id=%d",
                               (int)(seed >> 44) % 900);
                assert_int_equal(db_exec(db, sql, &err), STATUS_OK);
            }
        }
        assert_int_equal(db_exec(db, "COMMIT; PRAGMA wal_checkpoint", &err), STATUS_OK);
    }
    assert_true(number(db, "SELECT count(*) FROM t WHERE id%3=0") > 100);
    assert_int_equal(db_exec(db, "DELETE FROM t WHERE id%3=0", &err), STATUS_OK);
}

/* Rows moved between pages, overflowing ones, an index that holds them again: what is deleted is in
 * the file no more, though nothing was written anew. */
static void test_what_is_deleted_is_gone(void **state)
{
    (void)state;
    char dir[64];
    char path[96];
    char log[104];
    struct error err;
    test_folder(dir);
    for (uint64_t seed = 1; seed <= 6; seed++) {
        sqlite3 *db;
        bool done = false;
        (void)snprintf(path, sizeof path, "%s/x%d.db", dir, (int)seed);
        (void)snprintf(log, sizeof log, "%s-wal", path);
        assert_int_equal(db_open(path, DB_CREATE, steps, 1, &db, &err), STATUS_OK);
        assert_int_equal(db_exec(db, "CREATE INDEX by_v ON t(v)", &err), STATUS_OK);
        fill_and_delete(db, seed);
        int64_t pages = number(db, "PRAGMA page_count");
        int64_t rows = number(db, "SELECT count(*) FROM t");
        assert_int_equal(db_scrub(db, false, &done, &err), STATUS_OK);
        assert_true(done);
        assert_int_equal(number(db, "PRAGMA page_count"), pages); /* nothing was rewritten */
        assert_false(holds(path, "secretly"));
        assert_false(holds(log, "secretly"));
        assert_true(holds(path, "openly"));
        db_close(db);
        assert_int_equal(db_open(path, 0, steps, 1, &db, &err), STATUS_OK);
        assert_int_equal(number(db, "SELECT count(*) FROM t"), rows);
        assert_int_equal(
            number(db, "SELECT count(*) FROM pragma_integrity_check WHERE integrity_check='ok'"),
            1);
        db_close(db);
    }
    test_folder_remove(dir);
}

/* A file that others have written is written anew the first time, and then no more. */
static void test_an_older_file_is_written_anew_once(void **state)
{
    (void)state;
    char dir[64];
    char path[96];
    struct error err;
    sqlite3 *db;
    bool done = false;
    int reserve = 32;
    test_folder(dir);
    (void)snprintf(path, sizeof path, "%s/x.db", dir);
    assert_int_equal(sqlite3_open_v2(path, &db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE, "unix"),
                     SQLITE_OK);
    assert_int_equal(sqlite3_exec(db, "PRAGMA page_size=8192", NULL, NULL, NULL), SQLITE_OK);
    assert_int_equal(sqlite3_file_control(db, "main", SQLITE_FCNTL_RESERVE_BYTES, &reserve),
                     SQLITE_OK);
    assert_int_equal(db_exec(db,
                             "PRAGMA journal_mode=WAL; PRAGMA secure_delete=OFF;"
                             "CREATE TABLE t(id INTEGER PRIMARY KEY, v TEXT)",
                             &err),
                     STATUS_OK);
    fill_and_delete(db, 7);
    assert_int_equal(sqlite3_close(db), SQLITE_OK);
    assert_true(holds(path, "secretly"));
    assert_int_equal(db_open(path, 0, NULL, 0, &db, &err), STATUS_OK);
    assert_int_equal(db_scrub(db, false, &done, &err), STATUS_OK);
    assert_true(done);
    assert_false(holds(path, "secretly"));
    uint64_t seed = 9;
    put_row(db, &seed, 3);
    assert_int_equal(db_exec(db, "DELETE FROM t WHERE id=3", &err), STATUS_OK);
    int64_t pages = number(db, "PRAGMA page_count");
    assert_int_equal(db_scrub(db, false, &done, &err), STATUS_OK);
    assert_int_equal(number(db, "PRAGMA page_count"), pages);
    assert_false(holds(path, "secretly"));
    db_close(db);
    test_folder_remove(dir);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_layout_and_migrations),
        cmocka_unit_test(test_a_new_file_is_opened_by_several_at_once),
        cmocka_unit_test(test_a_failed_migration_leaves_the_old_schema),
        cmocka_unit_test(test_a_committed_row_survives_a_kill),
        cmocka_unit_test(test_errors_and_statements),
        cmocka_unit_test(test_a_page_that_the_disk_changed_is_refused_by_name),
        cmocka_unit_test(test_an_older_file_is_read),
        cmocka_unit_test(test_a_copy_is_of_one_moment),
        cmocka_unit_test(test_what_is_deleted_is_gone),
        cmocka_unit_test(test_an_older_file_is_written_anew_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
