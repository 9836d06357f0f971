#include "tests/unit/test.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/db.h"
#include "base/file.h"
#include "ingest/erasures.h"
#include "ingest/journal.h"
#include "tests/unit/ingest/place.h"

static const struct take_limits all = {.most_bytes = INT64_MAX};

static enum checked check(struct place *p, const char *path)
{
    enum checked out = CHECKED_SAME;
    bool more = false;
    struct error err = {0};
    if (journal_check(p->j, p->disk, str_from(path), 100, &out, &more, &err) != STATUS_OK) {
        fail_msg("%s", err.text);
    }
    return out;
}

static size_t take(struct place *p, struct file_row **rows)
{
    size_t n = 0;
    int64_t next = 0;
    assert_int_equal(
        journal_take(p->j, clock_wall_ms(), &all, 64, &p->arena, rows, &n, &next, NULL), STATUS_OK);
    return n;
}

static struct file_row take_one(struct place *p)
{
    struct file_row *rows;
    size_t n = take(p, &rows);
    assert_int_equal(n, 1);
    return rows[0];
}

static void finish(struct place *p, const struct file_row *r)
{
    static const uint8_t hash[SHA256_BYTES] = {1};
    struct job_result result = {
        .hash = hash, .format = "txt", .title = "", .author = "", .language = "", .chunks = 3};
    assert_int_equal(journal_done(p->j, r->id, r->wanted, &result, NULL), STATUS_OK);
}

static struct file_row row_at(struct place *p, const char *path)
{
    struct file_row r;
    assert_int_equal(journal_get_path(p->j, str_from(path), &p->arena, &r, NULL), STATUS_OK);
    return r;
}

static void new_change_and_back(void **state)
{
    struct place *p = *state;
    put_file(p, "a.txt", "A");
    assert_int_equal(check(p, "a.txt"), CHECKED_QUEUED);
    assert_int_equal(check(p, "a.txt"), CHECKED_SAME);
    struct file_row first = take_one(p);
    assert_int_equal(first.op, FILE_OP_PUT);
    assert_string_equal(first.collection, "default");
    finish(p, &first);
    assert_int_equal(row_at(p, "a.txt").state, FILE_READY);
    put_file(p, "a.txt", "B");
    assert_int_equal(check(p, "a.txt"), CHECKED_QUEUED);
    struct file_row second = take_one(p);
    put_file(p, "a.txt", "A");
    assert_int_equal(check(p, "a.txt"), CHECKED_QUEUED);
    finish(p, &second); /* late: the row has changed meanwhile and stays queued */
    struct file_row third = take_one(p);
    assert_string_equal(third.document, first.document);
    assert_true(first.wanted < second.wanted && second.wanted < third.wanted);
    finish(p, &third);
    struct file_row end = row_at(p, "a.txt");
    assert_int_equal(end.state, FILE_READY);
    assert_int_equal(end.done, third.wanted);
}

static void renames_keep_the_document(void **state)
{
    struct place *p = *state;
    enum checked out;
    bool more;
    put_file(p, "a.txt", "A");
    (void)check(p, "a.txt");
    struct file_row r = take_one(p);
    finish(p, &r);
    assert_int_equal(mkdirat(p->root, "law", 0700), 0);
    assert_int_equal(renameat(p->root, "a.txt", p->root, "law/b.txt"), 0);
    assert_int_equal(
        journal_moved(p->j, p->disk, STR("a.txt"), STR("law/b.txt"), 100, &out, &more, NULL),
        STATUS_OK);
    struct file_row moved = take_one(p);
    assert_int_equal(moved.op, FILE_OP_MOVE);
    assert_string_equal(moved.document, r.document);
    assert_string_equal(moved.collection, "law");
    assert_int_equal(journal_moved_done(p->j, moved.id, moved.wanted, NULL), STATUS_OK);
    assert_int_equal(row_at(p, "law/b.txt").state, FILE_READY);

    /* while nobody watched: found by inode, hashed again */
    assert_int_equal(renameat(p->root, "law/b.txt", p->root, "c.txt"), 0);
    assert_int_equal(check(p, "c.txt"), CHECKED_QUEUED);
    assert_int_equal(check(p, "law/b.txt"), CHECKED_IGNORED);
    struct file_row found = take_one(p);
    assert_int_equal(found.op, FILE_OP_PUT);
    assert_string_equal(found.document, r.document);
    finish(p, &found);

    /* over another document: that one is removed */
    put_file(p, "d.txt", "D");
    (void)check(p, "d.txt");
    struct file_row d = take_one(p);
    finish(p, &d);
    assert_int_equal(renameat(p->root, "c.txt", p->root, "d.txt"), 0);
    assert_int_equal(
        journal_moved(p->j, p->disk, STR("c.txt"), STR("d.txt"), 100, &out, &more, NULL),
        STATUS_OK);
    struct file_row *rows;
    assert_int_equal(take(p, &rows), 2);
    bool removed = false;
    for (size_t i = 0; i < 2; i++) {
        if (strcmp(rows[i].document, d.document) == 0) {
            removed = rows[i].op == FILE_OP_REMOVE && rows[i].path.len == 0;
        }
    }
    assert_true(removed);
    assert_string_equal(row_at(p, "d.txt").document, r.document);
}

static void folders_move_and_vanish(void **state)
{
    struct place *p = *state;
    enum checked out;
    bool more = true;
    assert_int_equal(mkdirat(p->root, "f", 0700), 0);
    for (int i = 0; i < 25; i++) {
        char path[32];
        (void)snprintf(path, sizeof path, "f/%02d.txt", i);
        put_file(p, path, path);
        (void)check(p, path);
    }
    struct file_row *rows;
    size_t n = take(p, &rows);
    assert_int_equal(n, 25);
    for (size_t i = 0; i < n; i++) {
        finish(p, &rows[i]);
    }
    put_file(p, "f2.txt", "not below f");
    (void)check(p, "f2.txt");
    struct file_row other = take_one(p);
    finish(p, &other);
    assert_int_equal(renameat(p->root, "f", p->root, "g"), 0);
    for (int rounds = 0; more; rounds++) {
        assert_true(rounds < 10);
        assert_int_equal(journal_moved(p->j, p->disk, STR("f"), STR("g"), 10, &out, &more, NULL),
                         STATUS_OK);
    }
    n = take(p, &rows);
    assert_int_equal(n, 25);
    for (size_t i = 0; i < n; i++) {
        assert_int_equal(rows[i].op, FILE_OP_MOVE);
        assert_memory_equal(rows[i].path.ptr, "g/", 2);
        assert_int_equal(journal_moved_done(p->j, rows[i].id, rows[i].wanted, NULL), STATUS_OK);
    }
    char cmd[128];
    (void)snprintf(cmd, sizeof cmd, "rm -rf %s/w/g", p->dir);
    assert_int_equal(system(cmd), 0);
    more = true;
    while (more) {
        assert_int_equal(journal_check(p->j, p->disk, STR("g"), 10, &out, &more, NULL), STATUS_OK);
    }
    n = take(p, &rows);
    assert_int_equal(n, 25);
    for (size_t i = 0; i < n; i++) {
        assert_int_equal(rows[i].op, FILE_OP_REMOVE);
        assert_int_equal(journal_removed(p->j, rows[i].id, rows[i].wanted, false, NULL), STATUS_OK);
    }
    assert_int_equal(take(p, &rows), 0);
    assert_int_equal(row_at(p, "f2.txt").state, FILE_READY);
}

static void verify_finds_what_is_gone(void **state)
{
    struct place *p = *state;
    put_file(p, "a.txt", "A");
    put_file(p, "b\n\xff.txt", "B");
    (void)check(p, "a.txt");
    (void)check(p, "b\n\xff.txt");
    struct file_row *rows;
    size_t n = take(p, &rows);
    assert_int_equal(n, 2);
    finish(p, &rows[0]);
    finish(p, &rows[1]);
    assert_int_equal(unlinkat(p->root, "b\n\xff.txt", 0), 0);
    assert_int_equal(symlinkat("a.txt", p->root, "b\n\xff.txt"), 0); /* a link is not the file */
    int64_t cursor = 0;
    bool changed = false;
    bool end = false;
    while (!end) {
        assert_int_equal(journal_verify(p->j, p->disk, STR(""), &cursor, 1, &changed, &end, NULL),
                         STATUS_OK);
    }
    assert_true(changed);
    struct file_row r = take_one(p);
    assert_int_equal(r.op, FILE_OP_REMOVE);
    /* back before it was removed: the same document */
    assert_int_equal(unlinkat(p->root, "b\n\xff.txt", 0), 0);
    put_file(p, "b\n\xff.txt", "B again");
    assert_int_equal(check(p, "b\n\xff.txt"), CHECKED_QUEUED);
    assert_int_equal(journal_removed(p->j, r.id, r.wanted, false, NULL), STATUS_OK); /* late */
    struct file_row again = take_one(p);
    assert_int_equal(again.op, FILE_OP_PUT);
    assert_string_equal(again.document, r.document);
}

static void failures_and_retries(void **state)
{
    struct place *p = *state;
    put_file(p, "a.txt", "A");
    (void)check(p, "a.txt");
    struct file_row r = take_one(p);
    assert_int_equal(
        journal_retry(p->j, r.id, r.wanted, "later", clock_wall_ms() + 60000, true, NULL),
        STATUS_OK);
    struct file_row *rows;
    size_t n;
    int64_t next = 0;
    assert_int_equal(
        journal_take(p->j, clock_wall_ms(), &all, 64, &p->arena, &rows, &n, &next, NULL),
        STATUS_OK);
    assert_int_equal(n, 0);
    assert_true(next > clock_wall_ms());
    assert_int_equal(row_at(p, "a.txt").attempts, 1);
    assert_int_equal(journal_failed(p->j, r.id, r.wanted, "it is encrypted", NULL), STATUS_OK);
    assert_int_equal(row_at(p, "a.txt").state, FILE_FAILED);
    assert_string_equal(row_at(p, "a.txt").error, "it is encrypted");
    put_file(p, "a.txt", "another");
    assert_int_equal(check(p, "a.txt"), CHECKED_QUEUED);
    assert_int_equal(row_at(p, "a.txt").attempts, 0);
}

static void deleted_by_people(void **state)
{
    struct place *p = *state;
    put_file(p, "a.txt", "A");
    put_file(p, "b.txt", "B");
    (void)check(p, "a.txt");
    (void)check(p, "b.txt");
    struct file_row r;
    struct file_row a = row_at(p, "a.txt");
    struct file_row b = row_at(p, "b.txt");
    assert_int_equal(journal_delete(p->j, a.document, false, &p->arena, &r, NULL), STATUS_OK);
    assert_int_equal(check(p, "a.txt"),
                     CHECKED_SAME); /* the file that is still there stays condemned */
    assert_int_equal(journal_get(p->j, a.document, &p->arena, &r, NULL), STATUS_NOT_FOUND);
    assert_int_equal(journal_delete(p->j, b.document, true, &p->arena, &r, NULL), STATUS_OK);
    assert_int_equal(journal_removed(p->j, r.id, r.wanted, true, NULL), STATUS_OK);
    put_file(p, "b.txt", "changed");
    assert_int_equal(check(p, "b.txt"), CHECKED_SAME); /* excluded stays excluded */
    struct file_row *rows;
    size_t n;
    assert_int_equal(journal_list(p->j, "", 64, &p->arena, &rows, &n, NULL), STATUS_OK);
    assert_int_equal(n, 0);
}

/* Kill -9 in the middle of a stream of transactions: what was told as committed is there, sequences
 * go on above it, and nothing is there twice. */
static void killed_in_the_middle(void **state)
{
    struct place *p = *state;
    journal_close(p->j);
    p->j = NULL;
    for (int round = 0; round < 5; round++) {
        int pipes[2];
        assert_int_equal(pipe(pipes), 0);
        pid_t child = fork();
        assert_true(child >= 0);
        if (child == 0) {
            open_journal(p, "x1c1");
            for (int i = 0; i < 100000; i++) {
                char path[32];
                enum checked out;
                bool more;
                (void)snprintf(path, sizeof path, "%d-%d.txt", round, i % 40);
                put_file(p, path, "x");
                if (db_exec(journal_db(p->j), "BEGIN IMMEDIATE", NULL) != STATUS_OK ||
                    journal_check(p->j, p->disk, str_from(path), 10, &out, &more, NULL) !=
                        STATUS_OK ||
                    db_exec(journal_db(p->j), "COMMIT", NULL) != STATUS_OK) {
                    _exit(1);
                }
                struct file_row r = row_at(p, path);
                if (write(pipes[1], &r.wanted, sizeof r.wanted) != (ssize_t)sizeof r.wanted) {
                    _exit(1);
                }
            }
            _exit(0);
        }
        uint64_t told = 0;
        for (int i = 0; i < 30 + 7 * round; i++) {
            assert_int_equal(read(pipes[0], &told, sizeof told), sizeof told);
        }
        assert_int_equal(kill(child, SIGKILL), 0);
        assert_int_equal(waitpid(child, NULL, 0), child);
        (void)close(pipes[0]);
        (void)close(pipes[1]);
        open_journal(p, "x1c1");
        struct file_row *rows;
        size_t n;
        uint64_t highest = 0;
        assert_int_equal(journal_list(p->j, "", 1000, &p->arena, &rows, &n, NULL), STATUS_OK);
        for (size_t i = 0; i < n; i++) {
            highest = rows[i].wanted > highest ? rows[i].wanted : highest;
            for (size_t k = 0; k < i; k++) {
                assert_false(str_eq(rows[i].path, rows[k].path));
            }
        }
        assert_true(highest >= told);
        put_file(p, "after.txt", "y");
        (void)check(p, "after.txt");
        assert_true(row_at(p, "after.txt").wanted > highest);
        journal_close(p->j);
        p->j = NULL;
    }
    open_journal(p, "x1c1");
}

static void another_pipeline_makes_all_anew(void **state)
{
    struct place *p = *state;
    put_file(p, "a.txt", "A");
    put_file(p, "b.txt", "B");
    (void)check(p, "a.txt");
    (void)check(p, "b.txt");
    struct file_row *rows;
    assert_int_equal(take(p, &rows), 2);
    finish(p, &rows[0]);
    finish(p, &rows[1]);
    uint64_t highest = rows[0].wanted > rows[1].wanted ? rows[0].wanted : rows[1].wanted;
    journal_close(p->j);
    open_journal(p, "x2c1");
    assert_int_equal(take(p, &rows), 2);
    assert_true(rows[0].wanted > highest && rows[1].wanted > highest);
    assert_true(rows[0].wanted != rows[1].wanted);
}

/* Ready documents that are cut otherwise than their collection is now. */
static void those_cut_otherwise_are_told(void **state)
{
    struct place *p = *state;
    struct error err = {0};
    struct file_row *rows;
    uint64_t left = 0;
    size_t n = 0;
    put_file(p, "a.txt", "A");
    put_file(p, "b.txt", "B");
    (void)check(p, "a.txt");
    (void)check(p, "b.txt");
    assert_int_equal(take(p, &rows), 2);
    for (size_t i = 0; i < 2; i++) {
        uint8_t hash[SHA256_BYTES] = {(uint8_t)i};
        struct job_result r = {.hash = hash, .format = "txt", .title = "", .cut = "x1c1-200"};
        assert_int_equal(journal_done(p->j, rows[i].id, rows[i].wanted, &r, &err), STATUS_OK);
    }
    assert_int_equal(journal_cut_count(p->j, &left, &err), STATUS_OK);
    assert_int_equal(left, 0); /* nobody has said how they are to be cut */
    assert_int_equal(journal_cut_set(p->j, NULL, "x1c1-200", &err), STATUS_OK);
    assert_int_equal(journal_cut_set(p->j, "elsewhere", "x1c1-90", &err), STATUS_OK);
    assert_int_equal(journal_cut_count(p->j, &left, &err), STATUS_OK);
    assert_int_equal(left, 0);
    assert_int_equal(journal_cut_set(p->j, rows[0].collection, "x1c1-300", &err), STATUS_OK);
    assert_int_equal(journal_cut_count(p->j, &left, &err), STATUS_OK);
    assert_int_equal(left, 2);
    int64_t first = rows[0].id < rows[1].id ? rows[0].id : rows[1].id;
    assert_int_equal(journal_cut_page(p->j, first, 10, &p->arena, &rows, &n, &err), STATUS_OK);
    assert_int_equal(n, 1);
    assert_int_equal(rows[0].op, FILE_OP_RECUT);
    assert_true(rows[0].id > first);
    struct file_row one = rows[0]; /* changed meanwhile: what was cut anew does not count */
    assert_int_equal(journal_cut_done(p->j, one.id, one.wanted - 1, "x1c1-300", 7, &err),
                     STATUS_OK);
    assert_int_equal(journal_cut_count(p->j, &left, &err), STATUS_OK);
    assert_int_equal(left, 2);
    assert_int_equal(journal_cut_done(p->j, one.id, one.wanted, "x1c1-300", 7, &err), STATUS_OK);
    assert_int_equal(journal_cut_count(p->j, &left, &err), STATUS_OK);
    assert_int_equal(left, 1);
    assert_int_equal(row_at(p, "b.txt").state, FILE_READY);
}

static void notes_outlive_the_process(void **state)
{
    struct place *p = *state;
    struct error err;
    char out[16];
    assert_int_equal(journal_note_get(p->j, "candidate", out, sizeof out, &err), STATUS_OK);
    assert_string_equal(out, "");
    assert_int_equal(journal_note_set(p->j, "candidate", "fit 24", &err), STATUS_OK);
    journal_close(p->j);
    open_journal(p, "x1c1");
    assert_int_equal(journal_note_get(p->j, "candidate", out, sizeof out, &err), STATUS_OK);
    assert_string_equal(out, "fit 24");
    assert_int_equal(journal_note_get(p->j, "candidate", out, 6, &err), STATUS_TOO_LARGE);
    assert_int_equal(journal_note_set(p->j, "candidate", "", &err), STATUS_OK);
    assert_int_equal(journal_note_get(p->j, "candidate", out, sizeof out, &err), STATUS_OK);
    assert_string_equal(out, "");
}

static void agrees_with_the_store(void **state)
{
    struct place *p = *state;
    char stranger[ID_CAP];
    char homeless[ID_CAP];
    uint64_t requeued = 0;
    id_new(stranger);
    id_new(homeless);
    put_file(p, "a.txt", "A");
    put_file(p, "lost.txt", "only in the store");
    (void)check(p, "a.txt");
    struct file_row a = take_one(p);
    finish(p, &a);
    assert_int_equal(journal_store_list_begin(p->j, NULL), STATUS_OK);
    assert_int_equal(journal_store_has(p->j, stranger, STR("lost.txt"), 500, NULL), STATUS_OK);
    assert_int_equal(journal_store_has(p->j, homeless, STR("a.txt"), 7, NULL), STATUS_OK);
    assert_int_equal(journal_store_list_end(p->j, &requeued, NULL), STATUS_OK);
    assert_int_equal(requeued, 1); /* a.txt's document is not in the store */
    struct file_row *rows;
    size_t n = take(p, &rows);
    assert_int_equal(n, 3);
    for (size_t i = 0; i < n; i++) {
        assert_true(rows[i].wanted > 500);
        if (strcmp(rows[i].document, homeless) == 0) {
            assert_int_equal(rows[i].op, FILE_OP_REMOVE);
        } else {
            assert_int_equal(rows[i].op, FILE_OP_PUT);
        }
    }
    assert_string_equal(row_at(p, "lost.txt").document, stranger);
    assert_int_equal(check(p, "lost.txt"), CHECKED_QUEUED);
    assert_string_equal(row_at(p, "lost.txt").document, stranger);
}

static size_t may_take(struct place *p, int64_t most_bytes, size_t newest, struct file_row **rows)
{
    struct take_limits may = {.most_bytes = most_bytes, .newest = newest};
    size_t n = 0;
    int64_t next = 0;
    assert_int_equal(
        journal_take(p->j, clock_wall_ms(), &may, 64, &p->arena, rows, &n, &next, NULL), STATUS_OK);
    return n;
}

/* What waits for the night, and what does not wait for anything. */
static void limits_hold_back_files_only(void **state)
{
    struct place *p = *state;
    struct file_row *rows;
    char name[32];
    for (int i = 0; i < 10; i++) {
        (void)snprintf(name, sizeof name, "f%d.txt", i);
        put_file(p, name, i == 9 ? "a longer text than that of the others" : "short");
        check(p, name);
    }
    assert_int_equal(may_take(p, INT64_MAX, 0, &rows), 10);
    assert_int_equal(may_take(p, 10, 0, &rows), 9);
    assert_int_equal(may_take(p, INT64_MAX, 3, &rows), 3);
    assert_true(str_eq(rows[0].path, STR("f7.txt")));
    assert_int_equal(may_take(p, 10, 3, &rows), 2);
    assert_int_equal(may_take(p, INT64_MAX, 50, &rows), 10);
    assert_int_equal(may_take(p, -1, 0, &rows), 0);
    assert_int_equal(unlinkat(p->root, "f0.txt", 0), 0);
    check(p, "f0.txt");
    assert_int_equal(may_take(p, -1, 0, &rows), 1);
    assert_int_equal(rows[0].op, FILE_OP_REMOVE);
}

static enum status for_hr(void *data, const struct file_row *row, struct arena *a, const char **out,
                          struct error *err)
{
    (void)data;
    (void)row;
    (void)a;
    (void)err;
    *out = "hr|||";
    return STATUS_OK;
}

static uint64_t reapply(struct place *p)
{
    int64_t cursor = 0;
    uint64_t changed = 0;
    bool end = false;
    assert_int_equal(journal_reapply(p->j, &cursor, 64, for_hr, NULL, &changed, &end, NULL),
                     STATUS_OK);
    assert_true(end);
    return changed;
}

static void rights_do_not_wait_for_the_new_version(void **state)
{
    struct place *p = *state;
    struct file_row *rows;
    put_file(p, "a.txt", "A");
    (void)check(p, "a.txt");
    struct file_row r = take_one(p);
    assert_int_equal(journal_applied(p->j, r.id, "", NULL), STATUS_OK);
    finish(p, &r);
    put_file(p, "new.txt", "N");
    (void)check(p, "new.txt");
    put_file(p, "a.txt", "B");
    (void)check(p, "a.txt");
    assert_int_equal(may_take(p, -1, 0, &rows), 0); /* reading is paused */
    assert_int_equal(reapply(p), 2);
    assert_int_equal(may_take(p, -1, 0, &rows), 1);
    struct file_row move = rows[0];
    assert_int_equal(move.id, r.id);
    assert_int_equal(move.op, FILE_OP_MOVE_PUT);
    assert_int_equal(journal_applied(p->j, move.id, "hr|||", NULL), STATUS_OK);
    assert_int_equal(journal_moved_put(p->j, move.id, move.wanted, NULL), STATUS_OK);
    assert_int_equal(may_take(p, -1, 0, &rows), 0);
    struct file_row put = row_at(p, "a.txt");
    assert_int_equal(put.op, FILE_OP_PUT);
    assert_int_equal(put.state, FILE_QUEUED);
    assert_true(put.wanted > move.wanted);
    assert_int_equal(reapply(p), 2); /* a job that asked before asks again; nothing moves */
    assert_int_equal(may_take(p, -1, 0, &rows), 0);
    put = row_at(p, "a.txt");
    finish(p, &put);
    assert_int_equal(row_at(p, "a.txt").state, FILE_READY);
    assert_int_equal(journal_moved_put(p->j, move.id, move.wanted, NULL), STATUS_OK); /* late */
    assert_int_equal(row_at(p, "a.txt").state, FILE_READY);
}

static void a_move_does_not_wait_for_the_new_version(void **state)
{
    struct place *p = *state;
    struct file_row *rows;
    put_file(p, "a.txt", "A");
    (void)check(p, "a.txt");
    struct file_row r = take_one(p);
    assert_int_equal(journal_applied(p->j, r.id, "", NULL), STATUS_OK);
    finish(p, &r);
    put_file(p, "a.txt", "B");
    (void)check(p, "a.txt");
    assert_int_equal(renameat(p->root, "a.txt", p->root, "b.txt"), 0);
    (void)check(p, "b.txt");
    assert_int_equal(may_take(p, -1, 0, &rows), 1);
    assert_int_equal(rows[0].id, r.id);
    assert_int_equal(rows[0].op, FILE_OP_MOVE_PUT);
    assert_true(str_eq(rows[0].path, STR("b.txt")));
    put_file(p, "b.txt", "C");
    (void)check(p, "b.txt");
    assert_int_equal(may_take(p, -1, 0, &rows), 1);
}

/* What reading cost is told until it was heard, with who uploaded the document, or what it lies
 * in; a listener ahead of this journal (it came out of a backup) hears all of it. */
static void what_reading_cost(void **state)
{
    struct place *p = *state;
    struct journal_work *list;
    size_t n;
    const struct journal_owner ann = {"ann", "key1", "law"};
    const struct file_row member = {.id = 4711, .parent = 1, .collection = "mail"};
    put_file(p, "a.txt", "A");
    (void)check(p, "a.txt");
    struct file_row r = take_one(p);
    assert_int_equal(journal_worked(p->j, &r, false, 5, NULL), STATUS_OK);
    assert_int_equal(journal_owned(p->j, r.id, &ann, NULL), STATUS_OK);
    assert_int_equal(journal_worked(p->j, &r, true, 1234, NULL), STATUS_OK);
    assert_int_equal(r.id, member.parent);
    assert_int_equal(journal_worked(p->j, &member, true, 9, NULL), STATUS_OK);
    for (int again = 0; again < 2; again++) {
        assert_int_equal(journal_worked_page(p->j, 0, 10, &p->arena, &list, &n, NULL), STATUS_OK);
        assert_int_equal(n, 3);
    }
    assert_string_equal(list[0].owner.user, "");
    assert_false(list[0].ready);
    assert_string_equal(list[1].owner.user, "ann");
    assert_string_equal(list[1].owner.team, "law");
    assert_string_equal(list[1].collection, "default");
    assert_true(list[1].ready && list[1].cpu_us == 1234 && list[1].day > 20000);
    assert_string_equal(list[2].owner.key, "key1");
    assert_string_equal(list[2].collection, "mail");
    assert_int_equal(journal_worked_page(p->j, 900, 10, &p->arena, &list, &n, NULL), STATUS_OK);
    assert_int_equal(n, 3);
    assert_int_equal(journal_worked_page(p->j, list[1].seq, 10, &p->arena, &list, &n, NULL),
                     STATUS_OK);
    assert_int_equal(n, 1);
    assert_int_equal(list[0].cpu_us, 9);
    assert_int_equal(journal_worked_page(p->j, list[0].seq, 10, &p->arena, &list, &n, NULL),
                     STATUS_OK);
    assert_int_equal(n, 0);
}

/* A collection called after somebody who is erased: what it cost stays, the name goes. */
static void what_reading_cost_names_nobody(void **state)
{
    struct place *p = *state;
    static const uint8_t key[KEYED_KEY_BYTES] = {7};
    struct subject_mark mark;
    struct journal_work *list;
    size_t n;
    static const char *const collections[] = {"erna-quast", "default", "erna-quast",
                                              "2024 Erna Quast"};
    for (size_t i = 0; i < 4; i++) {
        struct file_row r = {.id = (int64_t)i + 1, .collection = collections[i]};
        assert_int_equal(journal_worked(p->j, &r, true, 10, NULL), STATUS_OK);
    }
    assert_int_equal(subject_mark_make(key, STR("Erna Quast"), &mark, NULL), STATUS_OK);
    struct subject_set *set = subject_set_new(key, &mark, 1);
    assert_non_null(set);
    assert_int_equal(erasure_subject_mask(p->j, "none", set, NULL, 0, NULL), STATUS_OK);
    subject_set_free(set);
    assert_int_equal(journal_worked_page(p->j, 0, 10, &p->arena, &list, &n, NULL), STATUS_OK);
    assert_int_equal(n, 4);
    for (size_t i = 0; i < n; i++) {
        assert_null(strcasestr(list[i].collection, "quast"));
        assert_int_equal(list[i].cpu_us, 10);
    }
    assert_string_equal(list[0].collection, "[...]");
    assert_string_equal(list[1].collection, "default");
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(new_change_and_back),
        TEST(renames_keep_the_document),
        TEST(folders_move_and_vanish),
        TEST(verify_finds_what_is_gone),
        TEST(failures_and_retries),
        TEST(deleted_by_people),
        TEST(killed_in_the_middle),
        TEST(another_pipeline_makes_all_anew),
        TEST(those_cut_otherwise_are_told),
        TEST(agrees_with_the_store),
        TEST(notes_outlive_the_process),
        TEST(rights_do_not_wait_for_the_new_version),
        TEST(a_move_does_not_wait_for_the_new_version),
        TEST(limits_hold_back_files_only),
        TEST(what_reading_cost),
        TEST(what_reading_cost_names_nobody),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
