/* Secrets of second factors in system/serve.db: sealed, under a key in a file of its own. */
#include "serve/secrets.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/file.h"
#include "serve/auth_internal.h"
#include "tests/unit/test.h"

static const uint8_t secret[TOTP_SECRET_BYTES] = {0xd3, 0x1f, 0x77, 0xa0, 0x5c, 0xee, 0x09,
                                                  0x42, 0xb1, 0x8d, 0x6a, 0xf4, 0x13, 0x97,
                                                  0x2b, 0xc8, 0x50, 0xe6, 0x3a, 0x81};

static bool lies_in(const char *home, const char *name)
{
    char path[128];
    struct buf b;
    struct error err;
    (void)snprintf(path, sizeof path, "%s/system/%s", home, name);
    if (access(path, F_OK) != 0) {
        return false;
    }
    buf_init(&b, 64U * 1024 * 1024);
    assert_int_equal(file_read(path, &b, &err), STATUS_OK);
    bool found = b.len > 0 && memmem(b.ptr, b.len, secret, sizeof secret) != NULL;
    buf_deinit(&b);
    return found;
}

static bool lies_anywhere(const char *home)
{
    return lies_in(home, "serve.db") || lies_in(home, "serve.db-wal");
}

static struct user somebody(const char *id)
{
    struct user u = {.totp = true, .n_recovery = 1};
    (void)snprintf(u.who.user, sizeof u.who.user, "%s", id);
    (void)snprintf(u.who.name, sizeof u.who.name, "%s", id);
    (void)snprintf(u.who.tenant, sizeof u.who.tenant, "main");
    u.who.created_wall_ms = 1;
    auth_set_role(&u.who, ROLE_READER);
    memcpy(u.totp_secret, secret, sizeof secret);
    return u;
}

static struct auth *open_home(const char *home)
{
    struct auth *a;
    struct error err;
    struct auth_options o = {home, 1};
    assert_int_equal(auth_open(&o, &a, &err), STATUS_OK);
    return a;
}

/* As the version before wrote it: the test that it is found shows that looking finds. */
static void put_in_clear(const char *home, const char *id)
{
    sqlite3 *db;
    sqlite3_stmt *st;
    struct error err;
    assert_int_equal(auth_database(home, &db, &err), STATUS_OK);
    assert_int_equal(db_prepare(db, "UPDATE users SET totp_secret=?2 WHERE id=?1", &st, &err),
                     STATUS_OK);
    (void)sqlite3_bind_text(st, 1, id, -1, SQLITE_STATIC);
    (void)sqlite3_bind_blob(st, 2, secret, sizeof secret, SQLITE_STATIC);
    assert_int_equal(db_run(st, &err), STATUS_OK);
    (void)sqlite3_finalize(st);
    db_close(db);
    assert_true(lies_anywhere(home));
}

static void sealed_at_rest(void **state)
{
    (void)state;
    char home[64];
    char path[128];
    struct error err;
    test_folder(home);
    struct auth *a = open_home(home);
    struct user anna = somebody("anna");
    struct user ben = somebody("ben");
    assert_int_equal(auth_store_user(home, &anna, USER_NEW | USER_TOTP, NULL, &err), STATUS_OK);
    assert_int_equal(auth_store_user(home, &ben, USER_NEW | USER_TOTP | USER_RECOVERY, NULL, &err),
                     STATUS_OK);
    assert_false(lies_anywhere(home));
    auth_close(a);
    put_in_clear(home, "anna");
    a = open_home(home);
    assert_false(lies_anywhere(home));
    assert_memory_equal(auth_user_by_id(a, "anna")->totp_secret, secret, sizeof secret);
    assert_memory_equal(auth_user_by_id(a, "ben")->totp_secret, secret, sizeof secret);
    assert_false(auth_user_by_id(a, "ben")->totp_lost);
    auth_close(a);
    /* the key is gone: nobody's code is right, and none is made in its place */
    (void)snprintf(path, sizeof path, "%s/system/secrets.key", home);
    char away[160];
    (void)snprintf(away, sizeof away, "%s.away", path);
    assert_int_equal(rename(path, away), 0);
    a = open_home(home);
    assert_true(auth_user_by_id(a, "anna")->totp && auth_user_by_id(a, "anna")->totp_lost);
    assert_int_equal(auth_user_by_id(a, "ben")->n_recovery, 1);
    assert_int_not_equal(access(path, F_OK), 0);
    assert_int_equal(auth_store_user(home, &anna, USER_TOTP, NULL, &err), STATUS_UNAVAILABLE);
    auth_close(a);
    assert_int_equal(rename(away, path), 0);
    a = open_home(home);
    assert_false(auth_user_by_id(a, "anna")->totp_lost);
    auth_close(a);
}

/* Who can write into the database cannot give somebody his own second factor. */
static void not_anothers(void **state)
{
    (void)state;
    char home[64];
    sqlite3 *db;
    struct error err;
    test_folder(home);
    auth_close(open_home(home));
    struct user anna = somebody("anna");
    struct user ben = somebody("ben");
    assert_int_equal(auth_store_user(home, &anna, USER_NEW | USER_TOTP, NULL, &err), STATUS_OK);
    assert_int_equal(auth_store_user(home, &ben, USER_NEW | USER_TOTP, NULL, &err), STATUS_OK);
    assert_int_equal(auth_database(home, &db, &err), STATUS_OK);
    assert_int_equal(db_exec(db,
                             "UPDATE users SET totp_secret=(SELECT totp_secret FROM users"
                             " WHERE id='ben') WHERE id='anna'",
                             &err),
                     STATUS_OK);
    db_close(db);
    struct auth *a = open_home(home);
    assert_true(auth_user_by_id(a, "anna")->totp_lost);
    assert_false(auth_user_by_id(a, "ben")->totp_lost);
    auth_close(a);
}

static void boxes(void **state)
{
    (void)state;
    struct secrets key = {.key = {1, 2, 3}};
    uint8_t box[TOTP_SECRET_BYTES + SECRETS_MORE];
    uint8_t again[sizeof box];
    uint8_t out[TOTP_SECRET_BYTES];
    secrets_seal(&key, STR("a"), secret, sizeof secret, box);
    secrets_seal(&key, STR("a"), secret, sizeof secret, again);
    assert_memory_not_equal(box, again, sizeof box);
    struct str view = {(const char *)box, sizeof box};
    assert_true(secrets_unseal(&key, STR("a"), view, out));
    assert_memory_equal(out, secret, sizeof secret);
    assert_false(secrets_unseal(&key, STR("b"), view, out));
    for (size_t i = 0; i < sizeof box; i++) {
        box[i] ^= 1;
        assert_false(secrets_unseal(&key, STR("a"), view, out));
        box[i] ^= 1;
        assert_false(secrets_unseal(&key, STR("a"), (struct str){view.ptr, i}, out));
    }
    key.key[0] ^= 1;
    assert_false(secrets_unseal(&key, STR("a"), view, out));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sealed_at_rest),
        cmocka_unit_test(not_anothers),
        cmocka_unit_test(boxes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
