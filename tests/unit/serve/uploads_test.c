#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/db.h"
#include "serve/uploads.h"

#define HOUR UPLOAD_LIFE_MS

struct world {
    char home[64];
    sqlite3 *db;
    struct arena a;
};

static int begin(void **state)
{
    static const struct db_migration schema[] = {{1, FILES_SCHEMA UPLOADS_SCHEMA}};
    struct world *w = calloc(1, sizeof *w);
    struct error err;
    char path[PATH_MAX];
    assert_non_null(w);
    (void)snprintf(w->home, sizeof w->home, "/tmp/carrel-uploads-XXXXXX");
    assert_non_null(mkdtemp(w->home));
    (void)snprintf(path, sizeof path, "%s/serve.db", w->home);
    assert_int_equal(db_open(path, DB_CREATE, schema, 1, &w->db, &err), STATUS_OK);
    arena_init(&w->a, (size_t)1 << 20);
    *state = w;
    return 0;
}

static int end(void **state)
{
    struct world *w = *state;
    char command[128];
    db_close(w->db);
    arena_reset(&w->a);
    (void)snprintf(command, sizeof command, "rm -rf %s", w->home);
    int rc = system(command);
    free(w);
    return rc;
}

static struct upload announced(const char *id, int64_t bytes)
{
    return (struct upload){.id = id,
                           .user = "u1",
                           .name = "a.txt",
                           .purpose = "assistants",
                           .type = "",
                           .bytes = bytes,
                           .created_wall_ms = 1000,
                           .expires_wall_ms = 1000 + HOUR};
}

static void write_bytes(const struct world *w, const char *id, char path[PATH_MAX])
{
    struct error err;
    assert_int_equal(files_path(w->home, "t", id, path, &err), STATUS_OK);
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    assert_int_equal(fputs("12345", f) >= 0, 1);
    assert_int_equal(fclose(f), 0);
}

/* After an hour it takes nothing more, and the next sweep takes rows and bytes. */
static void test_expires(void **state)
{
    struct world *w = *state;
    struct error err;
    struct upload u = announced("upload_1", 10), got;
    char path[PATH_MAX];
    assert_int_equal(uploads_add(w->db, &u, 100, &err), STATUS_OK);
    assert_int_equal(uploads_add_part(w->db, u.id, "part_1", 5, 2000, &err), STATUS_OK);
    assert_int_equal(uploads_get(w->db, "u1", u.id, 2000, &w->a, &got, &err), STATUS_OK);
    assert_string_equal(got.state, "pending");
    assert_int_equal(got.parts_bytes, 5);
    assert_int_equal(uploads_get(w->db, "u2", u.id, 2000, &w->a, &got, &err), STATUS_NOT_FOUND);
    assert_int_equal(uploads_get(w->db, NULL, u.id, 1000 + HOUR, &w->a, &got, &err), STATUS_OK);
    assert_string_equal(got.state, "expired");
    assert_int_equal(uploads_add_part(w->db, u.id, "part_2", 5, 1000 + HOUR, &err),
                     STATUS_CONFLICT);
    write_bytes(w, "part_1", path);
    assert_int_equal(uploads_expire(w->db, w->home, "t", HOUR, &err), STATUS_OK);
    assert_int_equal(access(path, F_OK), 0);
    assert_int_equal(files_sweep(w->db, w->home, "t", 1000 + HOUR, &err), STATUS_OK);
    assert_int_not_equal(access(path, F_OK), 0);
    assert_int_equal(uploads_get(w->db, NULL, u.id, 2000, &w->a, &got, &err), STATUS_NOT_FOUND);
}

/* What is announced counts as room until it is over, and no upload holds more than it announced. */
static void test_bounds(void **state)
{
    struct world *w = *state;
    struct error err;
    struct upload a = announced("upload_1", 60), b = announced("upload_2", 60);
    int64_t bytes = 0, rows = 0;
    assert_int_equal(uploads_add(w->db, &a, 100, &err), STATUS_OK);
    assert_int_equal(uploads_add(w->db, &b, 100, &err), STATUS_TOO_LARGE);
    assert_int_equal(files_total(w->db, &bytes, &rows, &err), STATUS_OK);
    assert_int_equal(bytes, 60);
    assert_int_equal(uploads_add_part(w->db, a.id, "part_1", 40, 2000, &err), STATUS_OK);
    assert_int_equal(uploads_add_part(w->db, a.id, "part_2", 40, 2000, &err), STATUS_CONFLICT);
    assert_int_equal(uploads_part(w->db, b.id, "part_1", &bytes, &err), STATUS_INVALID);
    assert_int_equal(uploads_end(w->db, w->home, "t", a.id, "cancelled", "", &err), STATUS_OK);
    assert_int_equal(uploads_end(w->db, w->home, "t", a.id, "completed", "f", &err),
                     STATUS_CONFLICT);
    assert_int_equal(uploads_add(w->db, &b, 100, &err), STATUS_OK);
    for (int i = 3; i < 3 + UPLOADS_MAX; i++) {
        char id[32];
        (void)snprintf(id, sizeof id, "upload_%d", i);
        struct upload u = announced(id, 1);
        enum status s = uploads_add(w->db, &u, 1 << 20, &err);
        assert_int_equal(s, i < 2 + UPLOADS_MAX ? STATUS_OK : STATUS_TOO_LARGE);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test_setup_teardown(test_expires, begin, end),
                                       cmocka_unit_test_setup_teardown(test_bounds, begin, end)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
