#include <sqlite3.h>
#include <sys/stat.h>

#include "base/buf.h"
#include "base/db.h"
#include "base/file.h"
#include "serve/users.h"
#include "tests/unit/test.h"

/* SHA-256 of "one", "two", "three" */
#define H1 "7692c3ad3540bb803c020b3aee66cd8887123234ea0c6e7143c0add73ff431ed"
#define H2 "3fc4ccfe745870e2c0d99f71f30ff0656c8dedd41cc1d7d3d376b0dbe685e2f3"
#define H3 "8b5b9db0c13db24256c829aa364aa90c6d2eba318b9232a4ab9313b954d3555f"

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
    struct auth_options o = {home, 1};
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
    int64_t retry = 0;
    test_folder(home);
    struct auth_options o = {home, 1};
    assert_int_equal(auth_open(&o, &a, NULL), STATUS_OK);
    int64_t now = 1000;
    for (int i = 0; i < 30; i++) {
        assert_true(auth_note_failure(a, "10.0.0.1", now + 1, &retry));
    }
    assert_false(auth_note_failure(a, "10.0.0.1", now + 1, &retry));
    assert_true(auth_note_failure(a, "10.0.0.2", now + 1, &retry));
    auth_close(a);
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
    struct auth_options o = {home, 2};
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

/* A home that the version before roles made: an administrator's key and another one. */
static void homes_of_before(void **state)
{
    (void)state;
    static const char sql[] =
        "CREATE TABLE tenants(id TEXT PRIMARY KEY, created_wall_ms INTEGER NOT NULL) STRICT;"
        "CREATE TABLE users(id TEXT PRIMARY KEY, tenant TEXT NOT NULL REFERENCES tenants(id),"
        " name TEXT NOT NULL, admin INTEGER NOT NULL, created_wall_ms INTEGER NOT NULL) STRICT;"
        "CREATE TABLE keys(hash BLOB PRIMARY KEY, owner TEXT NOT NULL REFERENCES users(id),"
        " created_wall_ms INTEGER NOT NULL, revoked_wall_ms INTEGER) STRICT;"
        "ALTER TABLE users ADD COLUMN groups BLOB NOT NULL DEFAULT x'';"
        "INSERT INTO tenants VALUES('main', 1);"
        "INSERT INTO users VALUES('u1', 'main', 'administrator', 1, 1, x'');"
        "INSERT INTO users VALUES('u2', 'main', 'n8n', 0, 2, x'687200');"
        "INSERT INTO users VALUES('u3', 'main', 'old', 0, 2, x'');"
        "INSERT INTO keys VALUES(x'" H1 "', 'u1', 1, NULL);"
        "INSERT INTO keys VALUES(x'" H2 "', 'u2', 2, NULL);"
        "INSERT INTO keys VALUES(x'" H3 "', 'u3', 2, 5);"
        "PRAGMA user_version=2;";
    char home[64];
    char path[128];
    struct auth *a;
    sqlite3 *db = NULL;
    struct error err;
    test_folder(home);
    (void)snprintf(path, sizeof path, "%s/system", home);
    assert_int_equal(file_mkdirs(path, 0700, &err), STATUS_OK);
    (void)snprintf(path, sizeof path, "%s/system/serve.db", home);
    assert_int_equal(db_open(path, DB_CREATE, NULL, 0, &db, &err), STATUS_OK);
    assert_int_equal(db_exec(db, sql, &err), STATUS_OK);
    db_close(db);
    struct auth_options o = {home, 1};
    assert_int_equal(auth_open(&o, &a, &err), STATUS_OK);
    const struct principal *admin = auth_key(a, STR("one"));
    const struct principal *n8n = auth_key(a, STR("two"));
    assert_non_null(admin);
    assert_non_null(n8n);
    assert_null(auth_key(a, STR("three")));
    assert_int_equal(admin->role, ROLE_ADMIN);
    assert_true(admin->admin);
    assert_int_equal(admin->scopes, SCOPES_KEY);
    assert_int_equal(n8n->role, ROLE_READER);
    assert_string_equal(n8n->name, "n8n");
    assert_string_equal(n8n->user, "u2"); /* what it asked is still its own */
    assert_string_equal(n8n->key, "u2");
    assert_int_equal(n8n->n_groups, 1);
    assert_string_equal(n8n->groups[0], "hr");
    auth_close(a);
    test_folder_remove(home);
}

static void from_where(void **state)
{
    (void)state;
    static const struct {
        const char *range, *peer;
        bool good;
    } cases[] = {
        {"10.0.0.0/8", "10.1.2.3", true},
        {"10.0.0.0/8", "11.0.0.1", false},
        {"10.0.0.128/25", "10.0.0.129", true},
        {"10.0.0.128/25", "10.0.0.127", false},
        {"192.0.2.7", "192.0.2.7", true},
        {"192.0.2.7", "192.0.2.8", false},
        {"0.0.0.0/0", "203.0.113.9", true},
        {"0.0.0.0/0", "2001:db8::1", false},
        {"2001:db8::/32", "2001:db8:5::1", true},
        {"2001:db8::/32", "2001:db9::1", false},
        {"::1", "::1", true},
        {"10.0.0.0/8", "::ffff:10.1.2.3", true},
        {"10.0.0.0/8", "no address", false},
        {"::/0", "10.1.2.3", true},
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct principal p = {.role = ROLE_READER};
        bool expired;
        assert_int_equal(auth_add_address(&p, str_from(cases[i].range), NULL), STATUS_OK);
        assert_true((auth_key_now(NULL, &p, cases[i].peer, 1, &expired) == NULL) == cases[i].good);
        assert_false(expired);
    }
    struct principal p = {.role = ROLE_READER, .expires_wall_ms = 5000};
    bool expired;
    assert_null(auth_key_now(NULL, &p, "10.0.0.1", 4999, &expired));
    assert_non_null(auth_key_now(NULL, &p, "10.0.0.1", 5000, &expired));
    assert_true(expired);
}

/* The same after a restart. */
static void makers(void **state)
{
    (void)state;
    char home[64];
    char text[KEY_CAP];
    struct auth *a;
    struct error err;
    test_folder(home);
    struct auth_options o = {home, 1};
    assert_int_equal(auth_open(&o, &a, &err), STATUS_OK);
    struct user owner = {.who = {.tenant = "main", .user = "u", .name = "u"}};
    struct principal maker = {.tenant = "main", .user = "m"};
    struct principal key = {.tenant = "main", .name = "k", .user = "u"};
    const struct str both[] = {STR("a"), STR("b")};
    auth_set_role(&owner.who, ROLE_READER);
    auth_set_role(&maker, ROLE_MANAGER);
    assert_int_equal(auth_set_groups(&owner.who, both, 1, &err), STATUS_OK);
    assert_int_equal(auth_set_groups(&maker, both, 2, &err), STATUS_OK);
    assert_int_equal(auth_store_user(home, &owner, USER_NEW, NULL, &err), STATUS_OK);
    key.owner = &owner;
    auth_set_maker(&key, &maker);
    auth_follow_owner(&key);
    auth_key_new(&key, text);
    assert_int_equal(auth_store_key(home, &key, &err), STATUS_OK);
    const struct str three[] = {STR("board"), STR("b"), STR("c")};
    auth_set_role(&owner.who, ROLE_ADMIN);
    assert_int_equal(auth_set_groups(&owner.who, three, 3, &err), STATUS_OK);
    assert_int_equal(auth_store_user(home, &owner, USER_ROLE, NULL, &err), STATUS_OK);
    auth_close(a);
    assert_int_equal(auth_open(&o, &a, &err), STATUS_OK);
    const struct principal *p = auth_key(a, str_from(text));
    assert_non_null(p);
    assert_int_equal(p->role, ROLE_MANAGER);
    assert_false(p->admin);
    assert_int_equal(p->n_groups, 1);
    assert_string_equal(p->groups[0], "b");
    assert_string_equal(p->made_by, "m");
    auth_set_role(&owner.who, ROLE_AUDITOR);
    assert_int_equal(auth_store_user(home, &owner, USER_ROLE, NULL, &err), STATUS_OK);
    auth_close(a);
    assert_int_equal(auth_open(&o, &a, &err), STATUS_OK);
    assert_null(auth_key(a, str_from(text)));
    auth_close(a);
}

/* A key that is written while its owner becomes less: it is the less, not what was when it was
 * asked for. */
static void made_meanwhile(void **state)
{
    (void)state;
    char home[64];
    char text[4][KEY_CAP];
    struct auth *a;
    struct error err;
    test_folder(home);
    struct auth_options o = {home, 1};
    assert_int_equal(auth_open(&o, &a, &err), STATUS_OK);
    struct user owner = {.who = {.tenant = "main", .user = "u", .name = "u"}};
    struct principal maker = {.tenant = "main", .user = "m"};
    struct principal keys[4];
    const struct str both[] = {STR("a"), STR("b")};
    auth_set_role(&owner.who, ROLE_ADMIN);
    auth_set_role(&maker, ROLE_ADMIN);
    assert_int_equal(auth_set_groups(&owner.who, both, 2, &err), STATUS_OK);
    for (size_t i = 0; i < 4; i++) {
        keys[i] = (struct principal){.tenant = "main", .name = "k", .user = "u", .owner = &owner};
        auth_set_maker(&keys[i], &maker);
        auth_follow_owner(&keys[i]);
        auth_key_new(&keys[i], text[i]);
    }
    assert_int_equal(auth_add(a, &keys[0], &err), STATUS_OK);
    assert_true(auth_key(a, str_from(text[0]))->admin);
    auth_set_role(&owner.who, ROLE_READER);
    assert_int_equal(auth_set_groups(&owner.who, both, 1, &err), STATUS_OK);
    assert_int_equal(auth_add(a, &keys[1], &err), STATUS_OK);
    const struct principal *p = auth_key(a, str_from(text[1]));
    assert_non_null(p);
    assert_int_equal(p->role, ROLE_READER);
    assert_false(p->admin);
    assert_false((p->scopes & SCOPE_ADMIN) != 0);
    assert_int_equal(p->n_groups, 1);
    owner.disabled = true;
    assert_int_equal(auth_add(a, &keys[2], &err), STATUS_OK);
    assert_null(auth_key(a, str_from(text[2])));
    owner.disabled = false;
    owner.removed = true;
    assert_int_equal(auth_add(a, &keys[3], &err), STATUS_OK);
    assert_null(auth_key(a, str_from(text[3])));
    assert_null(auth_by_key(a, keys[3].key));
    auth_close(a);
}

/* A user from another system: made once, brought up to date at each sign-in, disabled for good. */
static void external(void **state)
{
    (void)state;
    char home[64];
    char token[SECRET_CAP];
    struct auth *a;
    struct user u;
    struct user again;
    struct error err;
    const struct session *s;
    test_folder(home);
    struct auth_options o = {home, 1};
    assert_int_equal(auth_open(&o, &a, &err), STATUS_OK);
    const struct str groups[] = {STR("hr"), STR("no good/name"), STR("board")};
    struct external_user e = {.tenant = "main",
                              .issuer = "https://idp.example",
                              .subject = "42",
                              .name = "An\nna",
                              .role = ROLE_EDITOR,
                              .groups = groups,
                              .n_groups = 3};
    assert_int_equal(auth_store_external(home, &e, &u, &err), STATUS_OK);
    assert_int_equal(auth_session_for_external(a, &u, 1000, token, &s, &err), STATUS_OK);
    assert_int_equal(s->who->role, ROLE_EDITOR);
    assert_int_equal(s->who->n_groups, 2);
    assert_string_equal(s->who->groups[1], "board");
    assert_string_equal(s->who->name, "An na");
    assert_true(auth_may(s->who, ROLE_BIT(ROLE_EDITOR), SCOPE_PERSON));
    assert_null(auth_user_by_name(a, "main", STR("An na"))); /* by the other system only */
    e.role = ROLE_READER;
    e.n_groups = 1;
    assert_int_equal(auth_store_external(home, &e, &again, &err), STATUS_OK);
    assert_string_equal(again.who.user, u.who.user);
    assert_int_equal(auth_session_for_external(a, &again, 1000, token, &s, &err), STATUS_OK);
    assert_int_equal(s->who->role, ROLE_READER);
    assert_int_equal(s->who->n_groups, 1);
    again.disabled = true;
    assert_int_equal(auth_store_user(home, &again, USER_DISABLED, NULL, &err), STATUS_OK);
    assert_int_equal(auth_take_user(a, &again, USER_DISABLED, NULL, &err), STATUS_OK);
    assert_null(auth_session(a, str_from(token), 1001));
    assert_int_equal(auth_store_external(home, &e, &again, &err), STATUS_OK);
    assert_int_equal(auth_session_for_external(a, &again, 1000, token, &s, &err), STATUS_FORBIDDEN);
    auth_close(a);
    assert_int_equal(auth_open(&o, &a, &err), STATUS_OK); /* after a restart too */
    assert_int_equal(auth_session_for_external(a, &again, 1000, token, &s, &err), STATUS_FORBIDDEN);
    auth_close(a);
    test_folder_remove(home);
}

/* A request waits, for its body or a hash, and meanwhile its asker or whom it is about become
 * others: nothing is written then. */
static void asked_by_others(void **state)
{
    (void)state;
    char home[64];
    char text[KEY_CAP];
    struct auth *a;
    struct error err;
    struct asker by;
    struct asker by_key;
    struct seen about;
    struct seen about_new;
    const struct str groups[] = {STR("ward"), STR("board")};
    test_folder(home);
    struct auth_options o = {home, 1};
    assert_int_equal(auth_open(&o, &a, &err), STATUS_OK);
    struct user boss = {.who = {.tenant = "main", .user = "boss", .name = "boss"}};
    struct user anna = {.who = {.tenant = "main", .user = "anna", .name = "anna"}};
    boss.who.owner = &boss;
    auth_set_role(&boss.who, ROLE_MANAGER);
    auth_set_role(&anna.who, ROLE_READER);
    assert_int_equal(auth_set_groups(&boss.who, groups, 1, &err), STATUS_OK);
    assert_int_equal(auth_set_groups(&anna.who, groups, 1, &err), STATUS_OK);
    assert_int_equal(auth_store_user(home, &boss, USER_NEW, NULL, &err), STATUS_OK);
    assert_int_equal(auth_store_user(home, &anna, USER_NEW, NULL, &err), STATUS_OK);
    struct principal key = {.tenant = "main", .name = "k", .user = "boss", .owner = &boss};
    auth_set_role(&key, ROLE_MANAGER);
    auth_asker(&boss.who, &by);
    auth_key_new(&key, text);
    assert_int_equal(auth_store_key_by(home, &key, &by, &err), STATUS_OK);
    auth_asker(&key, &by_key);
    assert_true(by_key.key);
    auth_seen(&anna.who, &about);
    /* nothing has changed */
    (void)snprintf(anna.password, sizeof anna.password, "one");
    assert_int_equal(auth_store_user_by(home, &anna, USER_PASSWORD, &by, &about, &err), STATUS_OK);
    assert_int_equal(auth_store_user_by(home, &anna, USER_PASSWORD, &by_key, &about, &err),
                     STATUS_OK);
    /* she became an administrator, or came into another group: the password is not theirs to set */
    struct user promoted = anna;
    auth_point_names(&promoted.who);
    auth_set_role(&promoted.who, ROLE_ADMIN);
    assert_int_equal(auth_store_user(home, &promoted, USER_ROLE, NULL, &err), STATUS_OK);
    (void)snprintf(anna.password, sizeof anna.password, "two");
    assert_int_equal(auth_store_user_by(home, &anna, USER_PASSWORD, &by, &about, &err),
                     STATUS_CONFLICT);
    auth_set_role(&promoted.who, ROLE_READER);
    assert_int_equal(auth_set_groups(&promoted.who, groups, 2, &err), STATUS_OK);
    assert_int_equal(auth_store_user(home, &promoted, USER_ROLE, NULL, &err), STATUS_OK);
    assert_int_equal(auth_store_user_by(home, &anna, USER_TOTP, &by, &about, &err),
                     STATUS_CONFLICT);
    auth_seen(&promoted.who, &about_new);
    assert_int_equal(auth_store_user_by(home, &anna, USER_SEEN, &by, &about_new, &err), STATUS_OK);
    /* the asker is less, or gone, and so is his key: nobody new, no key, no password by him */
    struct user fresh = {.who = {.tenant = "main", .user = "new", .name = "new"}};
    struct principal other = {.tenant = "main", .name = "k2"};
    auth_set_role(&fresh.who, ROLE_READER);
    auth_set_role(&other, ROLE_READER);
    auth_key_new(&other, text);
    struct user less = boss;
    auth_point_names(&less.who);
    auth_set_role(&less.who, ROLE_READER);
    const unsigned ways[] = {USER_ROLE, USER_DISABLED, USER_REMOVED};
    for (size_t i = 0; i < 3; i++) {
        less.disabled = ways[i] == USER_DISABLED;
        less.who.role = ways[i] == USER_ROLE ? ROLE_READER : ROLE_MANAGER;
        assert_int_equal(auth_store_user(home, &less, ways[i] | USER_ROLE, NULL, &err), STATUS_OK);
        assert_int_equal(auth_store_user_by(home, &fresh, USER_NEW, &by, NULL, &err),
                         STATUS_FORBIDDEN);
        assert_int_equal(auth_store_user_by(home, &fresh, USER_NEW, &by_key, NULL, &err),
                         STATUS_FORBIDDEN);
        assert_int_equal(auth_store_user_by(home, &anna, USER_SEEN, &by, &about_new, &err),
                         STATUS_FORBIDDEN);
        assert_int_equal(auth_store_key_by(home, &other, &by, &err), STATUS_FORBIDDEN);
    }
    /* and no key for an owner who is gone: his name would stay with it */
    auth_key_new(&key, text);
    assert_int_equal(auth_store_key(home, &key, &err), STATUS_NOT_FOUND);
    assert_int_equal(auth_store_user(home, &anna, USER_REMOVED, NULL, &err), STATUS_OK);
    auth_close(a);
    assert_int_equal(auth_open(&o, &a, &err), STATUS_OK);
    assert_null(auth_key(a, str_from(text)));
    assert_null(auth_user_by_id(a, "new"));
    auth_close(a);
}

/* Another system has vouched for him, his row was found, and an administrator removes him. */
static void removed_while_he_signs_in(void **state)
{
    (void)state;
    char home[64];
    char token[SECRET_CAP];
    struct auth *a;
    struct error err;
    struct user u;
    const struct session *s;
    const struct external_user e = {.tenant = "main",
                                    .issuer = "ldap:house",
                                    .subject = "1",
                                    .name = "Anna",
                                    .role = ROLE_READER};
    test_folder(home);
    struct auth_options o = {home, 1};
    assert_int_equal(auth_open(&o, &a, &err), STATUS_OK);
    assert_int_equal(auth_store_external(home, &e, &u, &err), STATUS_OK);
    assert_int_equal(auth_session_for_external(a, &u, 1000, token, &s, &err), STATUS_OK);
    assert_int_equal(auth_store_user(home, &u, USER_REMOVED, NULL, &err), STATUS_OK);
    assert_int_equal(auth_take_user(a, &u, USER_REMOVED, NULL, &err), STATUS_OK);
    assert_int_equal(auth_session_for_external(a, &u, 1000, token, &s, &err), STATUS_FORBIDDEN);
    assert_null(auth_user_by_id(a, u.who.user));
    auth_close(a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(keys),
                                       cmocka_unit_test(rates),
                                       cmocka_unit_test(sessions),
                                       cmocka_unit_test(comparing),
                                       cmocka_unit_test(homes_of_before),
                                       cmocka_unit_test(from_where),
                                       cmocka_unit_test(makers),
                                       cmocka_unit_test(made_meanwhile),
                                       cmocka_unit_test(asked_by_others),
                                       cmocka_unit_test(removed_while_he_signs_in),
                                       cmocka_unit_test(external)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
