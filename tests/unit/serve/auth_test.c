#include "serve/auth.h"

#include <sys/stat.h>

#include "base/buf.h"
#include "base/file.h"
#include "tests/unit/test.h"

static void first_key_text(const char *home, struct buf *out)
{
    char path[128];
    (void)snprintf(path, sizeof path, "%s/admin.key", home);
    struct stat st;
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
    buf_init(out, 256);
    assert_int_equal(file_read(path, out, NULL), STATUS_OK);
}

static void keys(void **state)
{
    (void)state;
    char home[64];
    struct auth *a;
    struct buf key;
    struct error err;
    test_folder(home);
    struct auth_options o = {home, 60, 1};
    assert_int_equal(auth_open(&o, &a, &err), STATUS_OK);
    first_key_text(home, &key);
    assert_int_equal(key.len, strlen("carrel_") + 52 + 1);
    struct str k = {key.ptr, key.len - 1};
    const struct principal *p = auth_key(a, k);
    assert_non_null(p);
    assert_string_equal(p->tenant, "main");
    assert_true(p->admin);
    assert_null(auth_key(a, (struct str){k.ptr, k.len - 1}));
    assert_null(auth_key(a, STR("")));
    assert_null(auth_key(a, STR("carrel_wrong")));
    auth_close(a);
    /* the same key after a restart, and no new one */
    assert_int_equal(auth_open(&o, &a, &err), STATUS_OK);
    assert_non_null(auth_key(a, k));
    auth_close(a);
    /* nothing in the database is the key itself */
    char path[128];
    struct buf db;
    (void)snprintf(path, sizeof path, "%s/system/serve.db", home);
    buf_init(&db, 1 << 20);
    assert_int_equal(file_read(path, &db, NULL), STATUS_OK);
    assert_null(memmem(db.ptr, db.len, k.ptr + 7, 20));
    buf_deinit(&db);
    buf_deinit(&key);
    test_folder_remove(home);
}

static void rates(void **state)
{
    (void)state;
    char home[64];
    struct auth *a;
    struct buf key;
    int64_t retry = 0;
    test_folder(home);
    struct auth_options o = {home, 60, 1};
    assert_int_equal(auth_open(&o, &a, NULL), STATUS_OK);
    first_key_text(home, &key);
    struct principal *p = auth_key(a, (struct str){key.ptr, key.len - 1});
    int64_t now = p->filled_ms;
    for (int i = 0; i < 60; i++) {
        assert_true(auth_may_ask(a, p, now, &retry));
    }
    assert_false(auth_may_ask(a, p, now, &retry));
    assert_in_range(retry, 1, 2);
    assert_true(auth_may_ask(a, p, now + 1100, &retry));
    assert_false(auth_may_ask(a, p, now + 1100, &retry));
    for (int i = 0; i < 30; i++) {
        assert_true(auth_note_failure(a, "10.0.0.1", now + 1, &retry));
    }
    assert_false(auth_note_failure(a, "10.0.0.1", now + 1, &retry));
    assert_true(auth_note_failure(a, "10.0.0.2", now + 1, &retry));
    auth_close(a);
    buf_deinit(&key);
    test_folder_remove(home);
}

static void sessions(void **state)
{
    (void)state;
    char home[64];
    struct auth *a;
    struct buf key;
    char token[SECRET_CAP];
    const struct session *s;
    test_folder(home);
    struct auth_options o = {home, 0, 2};
    assert_int_equal(auth_open(&o, &a, NULL), STATUS_OK);
    first_key_text(home, &key);
    struct principal *p = auth_key(a, (struct str){key.ptr, key.len - 1});
    assert_int_equal(auth_session_new(a, p, 1000, token, &s, NULL), STATUS_OK);
    assert_int_equal(strlen(token), 52);
    assert_ptr_equal(auth_session(a, str_from(token), 1001), s);
    assert_string_not_equal(s->csrf, token);
    assert_null(auth_session(a, str_from(s->csrf), 1001));
    assert_null(auth_session(a, str_from(token), 1000 + 2 * 3600 * 1000));
    auth_session_end(a, str_from(token));
    assert_null(auth_session(a, str_from(token), 1001));
    auth_session_end(a, str_from(token));
    assert_int_equal(auth_session_new(a, p, 1000, token, &s, NULL), STATUS_OK);
    auth_close(a);
    buf_deinit(&key);
    test_folder_remove(home);
}

static void comparing(void **state)
{
    (void)state;
    assert_true(auth_equal(STR("abc"), STR("abc")));
    assert_false(auth_equal(STR("abc"), STR("abd")));
    assert_false(auth_equal(STR("abc"), STR("ab")));
    assert_false(auth_equal((struct str){0}, STR("a")));
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(keys), cmocka_unit_test(rates),
                                       cmocka_unit_test(sessions), cmocka_unit_test(comparing)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
