/* Rows of what lies in containers: they live with the row they came out of. */
#include "tests/unit/test.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/file.h"
#include "ingest/journal.h"
#include "tests/unit/ingest/place.h"

static const struct take_limits all = {.most_bytes = INT64_MAX};
static const struct container_limits limits = {
    .members = 1000, .bytes = 1 << 20, .ratio = 10, .ratio_from = 1 << 20};

/* ---- what the disk and the jobs do ---- */

static void check(struct place *p, const char *path)
{
    enum checked out = CHECKED_SAME;
    bool more = true;
    while (more) {
        struct error err = {0};
        if (journal_check(p->j, p->disk, str_from(path), 3, &out, &more, &err) != STATUS_OK) {
            fail_msg("%s", err.text);
        }
    }
}

static void moved(struct place *p, const char *from, const char *to)
{
    assert_int_equal(renameat(p->root, from, p->root, to), 0);
    enum checked out = CHECKED_SAME;
    bool more = true;
    while (more) {
        struct error err = {0};
        if (journal_moved(p->j, p->disk, str_from(from), str_from(to), 3, &out, &more, &err) !=
            STATUS_OK) {
            fail_msg("%s", err.text);
        }
    }
}

static bool find(struct place *p, const char *path, struct file_row *r)
{
    return journal_get_path(p->j, str_from(path), &p->arena, r, NULL) == STATUS_OK;
}

static struct file_row at(struct place *p, const char *path)
{
    struct file_row r;
    if (!find(p, path, &r)) {
        fail_msg("no row at %s", path);
    }
    return r;
}

static void hash_of(const char *content, uint8_t out[SHA256_BYTES])
{
    sha256_of(content, strlen(content), out);
}

static void done(struct place *p, const struct file_row *r, const char *content)
{
    uint8_t hash[SHA256_BYTES];
    hash_of(content, hash);
    struct job_result result = {.hash = hash, .format = "zip", .title = "", .chunks = 3};
    assert_int_equal(journal_done(p->j, r->id, r->wanted, &result, NULL), STATUS_OK);
}

struct inside {
    const char *name, *content;
};

/* The container at path holds these; returns how many of their jobs want bytes. */
static size_t holds(struct place *p, const char *path, const char *content,
                    const struct inside *list, size_t n, struct members_left_out *left_out)
{
    struct file_row r = at(p, path);
    struct journal_member m[16];
    uint8_t hashes[16][SHA256_BYTES];
    uint8_t own[SHA256_BYTES];
    struct error err = {0};
    struct members_left_out unused = {0};
    size_t wanted = 0;
    hash_of(content, own);
    for (size_t i = 0; i < n; i++) {
        hash_of(list[i].content, hashes[i]);
        m[i] = (struct journal_member){.name = str_from(list[i].name),
                                       .size = strlen(list[i].content),
                                       .modified_ms = 1000,
                                       .hash = hashes[i],
                                       .format = "txt"};
    }
    if (journal_members(p->j, &r, own, &limits, m, n, left_out == NULL ? &unused : left_out,
                        &err) != STATUS_OK ||
        journal_members_end(p->j, &r, &err) != STATUS_OK) {
        fail_msg("%s", err.text);
    }
    for (size_t i = 0; i < n; i++) {
        wanted += m[i].wanted;
    }
    done(p, &r, content);
    return wanted;
}

/* Every job that is due comes to its end; how many there were. */
static size_t work(struct place *p)
{
    size_t jobs = 0;
    for (size_t n = 1; n > 0; jobs += n) {
        struct file_row *rows;
        int64_t next = 0;
        assert_int_equal(
            journal_take(p->j, clock_wall_ms(), &all, 64, &p->arena, &rows, &n, &next, NULL),
            STATUS_OK);
        for (size_t i = 0; i < n; i++) {
            const struct file_row *r = &rows[i];
            if (r->op == FILE_OP_PUT) {
                done(p, r, "anything");
            } else if (r->op == FILE_OP_MOVE) {
                assert_int_equal(journal_moved_done(p->j, r->id, r->wanted, NULL), STATUS_OK);
            } else if (r->op == FILE_OP_MOVE_PUT) {
                assert_int_equal(journal_moved_put(p->j, r->id, r->wanted, NULL), STATUS_OK);
            } else {
                assert_int_equal(
                    journal_removed(p->j, r->id, r->wanted, r->op == FILE_OP_EXCLUDE, NULL),
                    STATUS_OK);
            }
        }
    }
    return jobs;
}

static const struct inside two[] = {{"a.txt", "A"}, {"sub/in.zip", "B"}};
static const struct inside deep[] = {{"deep.txt", "D"}};

/* x.zip with a.txt and sub/in.zip, and in that deep.txt; all are in the store. */
static void fill(struct place *p)
{
    put_file(p, "x.zip", "X");
    check(p, "x.zip");
    assert_int_equal(holds(p, "x.zip", "X", two, 2, NULL), 2);
    assert_int_equal(holds(p, "x.zip/sub/in.zip", "B", deep, 1, NULL), 1);
    assert_int_equal(work(p), 2);
}

static void assert_rows(struct place *p, size_t expected)
{
    struct file_row *rows;
    size_t n = 0;
    assert_int_equal(journal_list(p->j, "", 100, &p->arena, &rows, &n, NULL), STATUS_OK);
    assert_int_equal(n, expected);
}

/* ---- tests ---- */

static void they_have_rows_of_their_own(void **state)
{
    struct place *p = *state;
    fill(p);
    assert_rows(p, 4);
    struct file_row x = at(p, "x.zip");
    struct file_row in = at(p, "x.zip/sub/in.zip");
    struct file_row d = at(p, "x.zip/sub/in.zip/deep.txt");
    assert_int_equal(d.parent, in.id);
    assert_int_equal(in.parent, x.id);
    assert_string_equal(d.parent_document, in.document);
    assert_int_equal(d.depth, 2);
    assert_int_equal(d.real, 5);
    assert_true(str_eq(file_row_real(&d), STR("x.zip")));
    assert_string_equal(d.collection, "default");
    assert_int_equal(d.state, FILE_READY);
}

static void nothing_looks_for_their_files(void **state)
{
    struct place *p = *state;
    fill(p);
    int64_t cursor = 0;
    bool changed = false;
    bool end = false;
    assert_int_equal(journal_verify(p->j, p->disk, STR(""), &cursor, 100, &changed, &end, NULL),
                     STATUS_OK);
    assert_false(changed);
    check(p, "x.zip/a.txt");
    check(p, "x.zip");
    assert_int_equal(work(p), 0);
    assert_rows(p, 4);
}

static void gone_with_the_file(void **state)
{
    struct place *p = *state;
    fill(p);
    assert_int_equal(unlinkat(p->root, "x.zip", 0), 0);
    check(p, "x.zip");
    assert_rows(p, 0);
    assert_int_equal(work(p), 4);
    struct file_row r;
    assert_false(find(p, "x.zip/a.txt", &r));
}

static void gone_with_the_folder(void **state)
{
    struct place *p = *state;
    assert_int_equal(mkdirat(p->root, "f", 0700), 0);
    put_file(p, "f/x.zip", "X");
    put_file(p, "f/y.txt", "Y");
    check(p, "f/x.zip");
    check(p, "f/y.txt");
    (void)holds(p, "f/x.zip", "X", two, 2, NULL);
    (void)work(p);
    assert_string_equal(at(p, "f/x.zip/a.txt").collection, "f");
    moved(p, "f", "g");
    assert_int_equal(work(p), 4);
    assert_rows(p, 4);
    assert_string_equal(at(p, "g/x.zip/a.txt").collection, "g");
    assert_int_equal(at(p, "g/x.zip/sub/in.zip").real, 7);
    assert_int_equal(unlinkat(p->root, "g/x.zip", 0), 0);
    assert_int_equal(unlinkat(p->root, "g/y.txt", 0), 0);
    assert_int_equal(unlinkat(p->root, "g", AT_REMOVEDIR), 0);
    check(p, "g");
    assert_int_equal(work(p), 4);
    assert_rows(p, 0);
}

static void moved_with_the_file(void **state)
{
    struct place *p = *state;
    fill(p);
    struct file_row before = at(p, "x.zip/sub/in.zip/deep.txt");
    moved(p, "x.zip", "longer name.zip");
    struct file_row after = at(p, "longer name.zip/sub/in.zip/deep.txt");
    assert_string_equal(before.document, after.document);
    assert_int_equal(after.op, FILE_OP_MOVE);
    assert_int_equal(after.real, strlen("longer name.zip"));
    assert_true(after.wanted > before.wanted);
    assert_int_equal(work(p), 4); /* locations only */
    struct file_row r;
    assert_false(find(p, "x.zip/a.txt", &r));
}

static void moved_over_another(void **state)
{
    struct place *p = *state;
    fill(p);
    put_file(p, "y.zip", "Y");
    check(p, "y.zip");
    static const struct inside other[] = {{"a.txt", "other A"}, {"b.txt", "other B"}};
    (void)holds(p, "y.zip", "Y", other, 2, NULL);
    (void)work(p);
    struct file_row old = at(p, "x.zip/a.txt");
    moved(p, "y.zip", "x.zip");
    struct file_row new = at(p, "x.zip/a.txt");
    assert_string_not_equal(old.document, new.document);
    assert_rows(p, 3);
    (void)work(p);
    assert_rows(p, 3);
    struct file_row r;
    assert_false(find(p, "x.zip/sub/in.zip", &r));
    assert_true(find(p, "x.zip/b.txt", &r));
}

static void replaced_they_are_compared(void **state)
{
    struct place *p = *state;
    fill(p);
    static const struct inside next[] = {
        {"a.txt", "A changed"}, {"sub/in.zip", "B"}, {"c.txt", "C"}};
    struct file_row a = at(p, "x.zip/a.txt");
    struct file_row in = at(p, "x.zip/sub/in.zip");
    put_file(p, "x.zip", "X2");
    check(p, "x.zip");
    assert_int_equal(at(p, "x.zip/a.txt").state, FILE_READY); /* until it has been read */
    assert_int_equal(holds(p, "x.zip", "X2", next, 3, NULL), 2);
    struct file_row a2 = at(p, "x.zip/a.txt");
    assert_string_equal(a.document, a2.document);
    assert_int_equal(a2.state, FILE_QUEUED);
    assert_true(a2.wanted > a.wanted);
    struct file_row in2 = at(p, "x.zip/sub/in.zip");
    assert_int_equal(in2.wanted, in.wanted);
    assert_int_equal(in2.state, FILE_READY);
    assert_int_equal(work(p), 2);
    put_file(p, "x.zip", "X3");
    check(p, "x.zip");
    assert_int_equal(holds(p, "x.zip", "X3", next, 1, NULL), 0);
    assert_rows(p, 2); /* what lay in in.zip is gone with it */
    assert_int_equal(work(p), 3);
}

static void failed_nothing_of_it_stays(void **state)
{
    struct place *p = *state;
    fill(p);
    put_file(p, "x.zip", "broken");
    check(p, "x.zip");
    struct file_row x = at(p, "x.zip");
    assert_int_equal(journal_failed(p->j, x.id, x.wanted, "it is damaged", NULL), STATUS_OK);
    assert_rows(p, 1);
    assert_int_equal(work(p), 3);
}

static void deleted_only_with_the_file(void **state)
{
    struct place *p = *state;
    fill(p);
    struct file_row out;
    struct error err = {0};
    assert_int_equal(
        journal_delete(p->j, at(p, "x.zip/a.txt").document, false, &p->arena, &out, &err),
        STATUS_UNSUPPORTED);
    assert_non_null(strstr(err.text, "x.zip"));
    assert_rows(p, 4);
    assert_int_equal(journal_delete(p->j, at(p, "x.zip").document, false, &p->arena, &out, &err),
                     STATUS_OK);
    assert_rows(p, 0);
    assert_int_equal(work(p), 4);
}

static void a_folder_where_an_archive_was(void **state)
{
    struct place *p = *state;
    fill(p);
    assert_int_equal(unlinkat(p->root, "x.zip", 0), 0);
    assert_int_equal(mkdirat(p->root, "x.zip", 0700), 0);
    put_file(p, "x.zip/a.txt", "a real file");
    check(p, "x.zip/a.txt"); /* before anybody has looked at x.zip */
    check(p, "x.zip");
    (void)work(p);
    assert_rows(p, 1);
    struct file_row r = at(p, "x.zip/a.txt");
    assert_int_equal(r.parent, 0);
    assert_int_equal(r.real, 0);
}

static void limits_hold_over_all_depths(void **state)
{
    struct place *p = *state;
    const struct container_limits few = {
        .members = 3, .bytes = 1000, .ratio = 10, .ratio_from = 1000};
    struct container_look look;
    uint8_t hash[SHA256_BYTES];
    fill(p);
    hash_of("B", hash);
    struct file_row in = at(p, "x.zip/sub/in.zip");
    assert_int_equal(journal_container(p->j, &in, hash, false, &few, &look, NULL), STATUS_OK);
    assert_true(look.unpack);
    assert_int_equal(look.members, 1); /* a.txt and in.zip are the others */
    assert_int_equal(look.bytes, 998);
    struct file_row x = at(p, "x.zip");
    assert_int_equal(journal_container(p->j, &x, hash, false, &few, &look, NULL), STATUS_OK);
    assert_int_equal(look.members, 3);
    /* by the size of the file on the disk, which has one byte */
    const struct container_limits bomb = {
        .members = 9, .bytes = 1000, .ratio = 10, .ratio_from = 5};
    assert_int_equal(journal_container(p->j, &x, hash, false, &bomb, &look, NULL), STATUS_OK);
    assert_int_equal(look.bytes, 10);
    assert_int_equal(journal_container(p->j, &in, hash, false, &bomb, &look, NULL), STATUS_OK);
    assert_int_equal(look.bytes, 8);
}

static void an_archive_that_holds_itself(void **state)
{
    struct place *p = *state;
    struct members_left_out left_out = {0};
    put_file(p, "x.zip", "X");
    check(p, "x.zip");
    static const struct inside self[] = {{"x.zip", "X"}, {"a.zip", "A"}};
    static const struct inside back[] = {{"again.zip", "X"}, {"a.zip", "A"}, {"b.txt", "B"}};
    (void)holds(p, "x.zip", "X", self, 2, &left_out);
    assert_int_equal(left_out.itself, 1);
    (void)holds(p, "x.zip/a.zip", "A", back, 3, &left_out);
    assert_int_equal(left_out.itself, 2); /* x.zip's content is known only when it is done */
    assert_rows(p, 4);
}

static void names_that_meet(void **state)
{
    struct place *p = *state;
    put_file(p, "x.zip", "X");
    check(p, "x.zip");
    /* "in.zip" holds "a"; beside it the archive has a folder of that name with "a" in it */
    static const struct inside both[] = {{"in.zip", "I"}, {"in.zip/a", "folder's"}};
    static const struct inside own[] = {{"a", "file's"}};
    (void)holds(p, "x.zip", "X", both, 2, NULL);
    assert_int_equal(holds(p, "x.zip/in.zip", "I", own, 1, NULL), 1);
    struct file_row in = at(p, "x.zip/in.zip");
    struct file_row numbered = at(p, "x.zip/in.zip/a (2)");
    assert_int_equal(numbered.parent, in.id);
    assert_int_equal(at(p, "x.zip/in.zip/a").parent, at(p, "x.zip").id);
    (void)work(p);
    assert_int_equal(holds(p, "x.zip/in.zip", "I", own, 1, NULL), 0); /* the same again */
    assert_rows(p, 4);
}

static void lost_bytes_are_unpacked_again(void **state)
{
    struct place *p = *state;
    struct container_look look;
    uint8_t hash[SHA256_BYTES];
    hash_of("X", hash);
    put_file(p, "x.zip", "X");
    check(p, "x.zip");
    (void)holds(p, "x.zip", "X", two, 2, NULL);
    struct file_row x = at(p, "x.zip");
    struct file_row a = at(p, "x.zip/a.txt");
    int64_t later = clock_wall_ms() + 60000;
    assert_int_equal(x.state, FILE_READY);
    assert_int_equal(journal_member_waits(p->j, &a, later, NULL), STATUS_OK);
    x = at(p, "x.zip");
    assert_int_equal(x.state, FILE_QUEUED);
    assert_int_equal(x.op, FILE_OP_PUT);
    assert_true(at(p, "x.zip/a.txt").next_attempt_ms == later);
    assert_int_equal(journal_container(p->j, &x, hash, true, &limits, &look, NULL), STATUS_OK);
    assert_true(look.unpack); /* though the store knows it, and it has not changed */
    assert_int_equal(holds(p, "x.zip", "X", two, 2, NULL), 2);
    assert_int_equal(at(p, "x.zip/a.txt").next_attempt_ms, 0);
    assert_int_equal(work(p), 2);
    x = at(p, "x.zip");
    assert_int_equal(journal_container(p->j, &x, hash, true, &limits, &look, NULL), STATUS_OK);
    assert_false(look.unpack); /* its own content, and nothing waits */
    hash_of("another", hash);
    assert_int_equal(journal_container(p->j, &x, hash, true, &limits, &look, NULL), STATUS_OK);
    assert_true(look.unpack);
}

static void copies_have_members_of_their_own(void **state)
{
    struct place *p = *state;
    struct container_look look;
    uint8_t hash[SHA256_BYTES];
    struct job_result result = {.hash = hash, .format = "pdf", .title = "", .note = ""};
    result.author = result.language = "";
    hash_of("P", hash);
    put_file(p, "a.pdf", "P");
    put_file(p, "b.pdf", "P");
    check(p, "a.pdf");
    check(p, "b.pdf");
    struct file_row a = at(p, "a.pdf");
    struct file_row b = at(p, "b.pdf");
    /* nothing lies in a: so nothing lies in b */
    assert_int_equal(journal_done(p->j, a.id, a.wanted, &result, NULL), STATUS_OK);
    assert_int_equal(journal_container(p->j, &b, hash, true, &limits, &look, NULL), STATUS_OK);
    assert_false(look.unpack);
    /* something was left out of it, or it was never looked into */
    assert_int_equal(journal_requeue(p->j, a.id, NULL), STATUS_OK);
    a = at(p, "a.pdf");
    result.note = "a bomb";
    assert_int_equal(journal_done(p->j, a.id, a.wanted, &result, NULL), STATUS_OK);
    assert_string_equal(at(p, "a.pdf").note, "a bomb");
    assert_int_equal(journal_container(p->j, &b, hash, true, &limits, &look, NULL), STATUS_OK);
    assert_true(look.unpack);
    /* known by its own hash it keeps what was said of it */
    assert_int_equal(journal_requeue(p->j, a.id, NULL), STATUS_OK);
    a = at(p, "a.pdf");
    result.note = NULL;
    assert_int_equal(journal_done(p->j, a.id, a.wanted, &result, NULL), STATUS_OK);
    assert_string_equal(at(p, "a.pdf").note, "a bomb");
    (void)work(p);
    fill(p);
    put_file(p, "y.zip", "X");
    check(p, "y.zip");
    hash_of("X", hash);
    struct file_row y = at(p, "y.zip");
    assert_int_equal(journal_container(p->j, &y, hash, true, &limits, &look, NULL), STATUS_OK);
    assert_true(look.unpack);
}

static void a_lost_journal_finds_them_again(void **state)
{
    struct place *p = *state;
    static const char doc[] = "a0000000000000000000000001";
    static const char stale[] = "a0000000000000000000000002";
    int64_t cursor = 0;
    bool changed = false;
    bool end = false;
    put_file(p, "x.zip", "X");
    assert_int_equal(journal_store_has(p->j, doc, STR("x.zip/a.txt"), 5, NULL), STATUS_OK);
    assert_int_equal(journal_store_has(p->j, stale, STR("x.zip/old.txt"), 6, NULL), STATUS_OK);
    check(p, "x.zip/a.txt"); /* before and after the archive is known */
    check(p, "x.zip");
    check(p, "x.zip/a.txt");
    assert_int_equal(journal_verify(p->j, p->disk, STR(""), &cursor, 100, &changed, &end, NULL),
                     STATUS_OK);
    assert_rows(p, 3);
    (void)holds(p, "x.zip", "X", two, 1, NULL);
    struct file_row a = at(p, "x.zip/a.txt");
    assert_string_equal(a.document, doc);
    assert_int_equal(a.parent, at(p, "x.zip").id);
    assert_int_equal(a.real, 5);
    check(p, "x.zip/old.txt"); /* the archive has been read, and has no such file */
    (void)work(p);
    assert_rows(p, 2);
}

static void a_member_that_is_not_there_again_goes(void **state)
{
    struct place *p = *state;
    fill(p);
    struct file_row a = at(p, "x.zip/a.txt");
    struct file_row x = at(p, "x.zip");
    assert_int_equal(journal_requeue(p->j, a.id, NULL), STATUS_OK);
    a = at(p, "x.zip/a.txt");
    put_file(p, "x.zip", "broken");
    check(p, "x.zip");
    x = at(p, "x.zip");
    assert_int_equal(journal_failed(p->j, x.id, x.wanted, "damaged", NULL), STATUS_OK);
    assert_int_equal(journal_member_waits(p->j, &a, 1, NULL), STATUS_OK); /* too late: it goes */
    (void)work(p);
    assert_rows(p, 1);
}

static void another_pipeline_takes_all_again(void **state)
{
    struct place *p = *state;
    fill(p);
    journal_close(p->j);
    open_journal(p, "x2c1");
    assert_int_equal(at(p, "x.zip").state, FILE_QUEUED);
    assert_int_equal(at(p, "x.zip/sub/in.zip/deep.txt").state, FILE_QUEUED);
    assert_int_equal(work(p), 4);
}

static void changed_while_it_was_unpacked(void **state)
{
    struct place *p = *state;
    put_file(p, "x.zip", "X");
    check(p, "x.zip");
    struct file_row x = at(p, "x.zip");
    put_file(p, "x.zip", "X2");
    check(p, "x.zip");
    uint8_t hash[SHA256_BYTES];
    struct members_left_out left_out = {0};
    hash_of("A", hash);
    struct journal_member m = {.name = STR("a"), .size = 1, .hash = hash};
    assert_int_equal(journal_members(p->j, &x, hash, &limits, &m, 1, &left_out, NULL),
                     STATUS_CONFLICT);
    assert_rows(p, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(they_have_rows_of_their_own, setup, teardown),
        cmocka_unit_test_setup_teardown(nothing_looks_for_their_files, setup, teardown),
        cmocka_unit_test_setup_teardown(gone_with_the_file, setup, teardown),
        cmocka_unit_test_setup_teardown(gone_with_the_folder, setup, teardown),
        cmocka_unit_test_setup_teardown(moved_with_the_file, setup, teardown),
        cmocka_unit_test_setup_teardown(moved_over_another, setup, teardown),
        cmocka_unit_test_setup_teardown(replaced_they_are_compared, setup, teardown),
        cmocka_unit_test_setup_teardown(failed_nothing_of_it_stays, setup, teardown),
        cmocka_unit_test_setup_teardown(deleted_only_with_the_file, setup, teardown),
        cmocka_unit_test_setup_teardown(a_folder_where_an_archive_was, setup, teardown),
        cmocka_unit_test_setup_teardown(limits_hold_over_all_depths, setup, teardown),
        cmocka_unit_test_setup_teardown(an_archive_that_holds_itself, setup, teardown),
        cmocka_unit_test_setup_teardown(names_that_meet, setup, teardown),
        cmocka_unit_test_setup_teardown(lost_bytes_are_unpacked_again, setup, teardown),
        cmocka_unit_test_setup_teardown(copies_have_members_of_their_own, setup, teardown),
        cmocka_unit_test_setup_teardown(a_lost_journal_finds_them_again, setup, teardown),
        cmocka_unit_test_setup_teardown(a_member_that_is_not_there_again_goes, setup, teardown),
        cmocka_unit_test_setup_teardown(another_pipeline_takes_all_again, setup, teardown),
        cmocka_unit_test_setup_teardown(changed_while_it_was_unpacked, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
