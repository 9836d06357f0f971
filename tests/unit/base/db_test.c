#include "tests/unit/test.h"

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
    assert_int_equal(db_open(path, 0, steps, 2, &db, &err), STATUS_FORBIDDEN); /* not there, not asked to create */
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
            db_exec(db, "INSERT INTO t(v) VALUES('kept'); BEGIN; INSERT INTO t(v) VALUES('not')", &err) != STATUS_OK) {
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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_layout_and_migrations),
        cmocka_unit_test(test_a_failed_migration_leaves_the_old_schema),
        cmocka_unit_test(test_a_committed_row_survives_a_kill),
        cmocka_unit_test(test_errors_and_statements),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
