/* Conversations' days and links' ends, to the millisecond; what a link shows by what may be read.
 */
#include "serve/conversations.h"

#include <string.h>

#include "base/db.h"
#include "tests/unit/test.h"

#define DAY INT64_C(86400000)

static sqlite3 *db;

static void sql(const char *text)
{
    struct error err;
    if (db_exec(db, text, &err) != STATUS_OK) {
        fail_msg("%s", err.text);
    }
}

/* Anna's conversation c of three answers, the second made from the document "secret" too. */
static int setup(void **state)
{
    (void)state;
    assert_int_equal(SQLITE_OK, sqlite3_open(":memory:", &db));
    sql("PRAGMA foreign_keys = ON;"
        "CREATE TABLE answers(id TEXT PRIMARY KEY, user TEXT, created_wall_ms INTEGER,"
        " question TEXT, asked_model TEXT, outcome TEXT, passages TEXT) WITHOUT ROWID;"
        "CREATE TABLE feedback(answer TEXT, passage INTEGER, verdict INTEGER, comment TEXT);");
    sql(CONVERSATIONS_SCHEMA CONVERSATION_ITEMS_SCHEMA CONVERSATION_CALLS_SCHEMA);
    sql("INSERT INTO answers VALUES"
        "('a1','anna',1000,'Where?','carrel','answered','[{\"document\":\"open\"}]'),"
        "('a2','anna',2000,'How much?','carrel','answered','[{\"document\":\"open\"},"
        "{\"document\":\"secret\"}]'),"
        "('a3','anna',3000,'When?','carrel','answered','[{\"document\":\"open\"}]');"
        "INSERT INTO conversations VALUES('c','anna','',1000,3000,'');"
        "INSERT INTO exchanges(answer,conversation,number,text,facts) VALUES('a1','c',1,'By the "
        "tower.','{\"citations\":[]}'),"
        "('a2','c',2,'Ninety crowns.','{\"citations\":[]}'),"
        "('a3','c',3,'On Monday.','{\"citations\":[]}');");
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    (void)sqlite3_close(db);
    return 0;
}

typedef enum status (*ask_fn)(sqlite3 *db, struct conversation_ask *a, struct error *err);

static enum status run(ask_fn f, struct conversation_ask a, char said[4096])
{
    struct error err;
    struct buf out;
    buf_init(&out, 65536);
    a.out = &out;
    enum status s = f(db, &a, &err);
    if (said != NULL) {
        (void)snprintf(said, 4096, "%.*s", (int)out.len, out.ptr == NULL ? "" : out.ptr);
    }
    buf_deinit(&out);
    return s;
}

static void share(int64_t now_ms, int64_t expires_ms)
{
    struct conversation_ask a = {.user = "anna",
                                 .id = "c",
                                 .share = "s",
                                 .token = "t",
                                 .hash = {7},
                                 .now_ms = now_ms,
                                 .expires_ms = expires_ms};
    assert_int_equal(STATUS_OK, run(share_create, a, NULL));
}

static void a_link_ends_on_time(void **state)
{
    (void)state;
    struct conversation_ask a = {.hash = {7}, .readable = "[\"open\",\"secret\"]"};
    char said[4096];
    share(4000, 4000 + DAY);
    a.now_ms = 4000 + DAY - 1;
    assert_int_equal(STATUS_OK, run(share_documents, a, said));
    assert_int_equal(STATUS_OK, run(share_read, a, said));
    assert_non_null(strstr(said, "Ninety crowns."));
    a.now_ms = 4000 + DAY; /* told to nobody from that moment, swept or not */
    assert_int_equal(STATUS_NOT_FOUND, run(share_documents, a, NULL));
    assert_int_equal(STATUS_NOT_FOUND, run(share_read, a, said));
    assert_null(strstr(said, "crowns"));
    struct error err;
    assert_int_equal(STATUS_OK, conversations_expire(db, a.now_ms, 0, &err));
    sql("CREATE TABLE none(n INTEGER CHECK (n = 0));"
        "INSERT INTO none SELECT count(*) FROM shares;");
    a.hash[0] = 8; /* another's secret */
    a.now_ms = 0;
    assert_int_equal(STATUS_NOT_FOUND, run(share_read, a, NULL));
}

static void a_link_hides_what_may_not_be_read(void **state)
{
    (void)state;
    struct conversation_ask a = {.hash = {7}, .now_ms = 5000, .readable = "[\"open\"]"};
    char said[4096];
    share(4000, 4000 + DAY);
    assert_int_equal(STATUS_OK, run(share_read, a, said));
    assert_non_null(strstr(said, "By the tower."));
    assert_null(strstr(said, "crowns"));
    assert_null(strstr(said, "How much?"));
    assert_null(strstr(said, "Monday")); /* it may repeat what came before */
    a.readable = "[]";
    assert_int_equal(STATUS_OK, run(share_read, a, said));
    assert_non_null(strstr(said, "\"title\":\"\""));
    assert_null(strstr(said, "tower"));
    /* what an answer was made from is not known any more: nobody may */
    sql("UPDATE answers SET passages = 'broken' WHERE id = 'a1';");
    a.readable = "[\"open\",\"secret\"]";
    assert_int_not_equal(STATUS_OK, run(share_read, a, said));
    assert_null(strstr(said, "tower"));
}

static void conversations_go_after_their_days(void **state)
{
    (void)state;
    struct conversation_ask a = {.user = "anna", .id = "c", .limit = 10};
    struct error err;
    char said[4096];
    share(4000, 4000 + 99 * DAY);
    a.expired_ms = 3000;
    assert_int_equal(STATUS_OK, run(conversation_read, a, NULL));
    a.expired_ms = 3001; /* over: told to nobody, though it is still there */
    assert_int_equal(STATUS_NOT_FOUND, run(conversation_read, a, NULL));
    assert_int_equal(STATUS_NOT_FOUND, run(conversations_export, a, NULL));
    struct conversation_ask look = {
        .hash = {7}, .now_ms = 5000, .expired_ms = 3001, .readable = "[\"open\",\"secret\"]"};
    assert_int_equal(STATUS_NOT_FOUND, run(share_read, look, NULL));
    assert_int_equal(STATUS_OK, conversations_expire(db, 5000, 3000, &err));
    assert_int_equal(STATUS_OK, run(conversations_list,
                                    (struct conversation_ask){.user = "anna", .limit = 9}, said));
    assert_non_null(strstr(said, "\"id\":\"c\""));
    assert_int_equal(STATUS_OK, conversations_expire(db, 5000, 3001, &err));
    sql("CREATE TABLE none(n INTEGER CHECK (n = 0));"
        "INSERT INTO none SELECT count(*) FROM conversations;"
        "INSERT INTO none SELECT count(*) FROM exchanges;"
        "INSERT INTO none SELECT count(*) FROM shares;");
}

static void titles_are_found_in_any_alphabet(void **state)
{
    (void)state;
    static const char *const found[] = {"", "gruss", "GRÜSSE", "école", "MOCK", "москва"};
    char said[4096];
    sql("UPDATE conversations SET title = 'Grüße, ÉCOLE, МОСКВА 100%';");
    for (size_t i = 0; i < sizeof found / sizeof found[0]; i++) {
        struct conversation_ask a = {.user = "anna", .limit = 9, .like = found[i]};
        assert_int_equal(STATUS_OK, run(conversations_list, a, said));
        assert_int_equal(i != 4, strstr(said, "\"id\":\"c\"") != NULL); /* Latin MOCK is none */
    }
    struct conversation_ask a = {.user = "anna", .limit = 9, .like = "1_0%"};
    assert_int_equal(STATUS_OK, run(conversations_list, a, said));
    assert_null(strstr(said, "\"id\":\"c\""));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_link_ends_on_time, setup, teardown),
        cmocka_unit_test_setup_teardown(a_link_hides_what_may_not_be_read, setup, teardown),
        cmocka_unit_test_setup_teardown(conversations_go_after_their_days, setup, teardown),
        cmocka_unit_test_setup_teardown(titles_are_found_in_any_alphabet, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
