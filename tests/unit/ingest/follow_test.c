/* What stands on the disk must end up in the journal. */
#include "tests/unit/ingest/followed.h"

#include <sys/inotify.h>

static void finds_what_is_there_and_what_comes(void **state)
{
    struct followed *p = *state;
    make_dir(p, "law/old");
    write_file(p, "law/old/a.txt", "a");
    write_file(p, "b.md", "b");
    write_file(p, ".hidden", "no");
    write_file(p, "b.md~", "no");
    start_following(p);
    EXPECT(p, "law/old/a.txt", "b.md");
    write_file(p, "c.txt", "c");
    EXPECT(p, "law/old/a.txt", "b.md", "c.txt");
    write_file(p, "d.txt.tmp", "d");
    move(p, "d.txt.tmp", "d.txt"); /* as editors save */
    EXPECT(p, "law/old/a.txt", "b.md", "c.txt", "d.txt");
    char path[512];
    path_in(p, "c.txt", path);
    assert_int_equal(unlink(path), 0);
    EXPECT(p, "law/old/a.txt", "b.md", "d.txt");
}

static void a_new_folder_with_a_file_at_once(void **state)
{
    struct followed *p = *state;
    start_following(p);
    wait_scanned(p);
    for (int i = 0; i < 20; i++) {
        char dir[64];
        char file[80];
        (void)snprintf(dir, sizeof dir, "n%d/x/y", i);
        (void)snprintf(file, sizeof file, "n%d/x/y/f.txt", i);
        make_dir(p, dir);
        write_file(p, file, "f");
    }
    struct file_row *rows;
    int64_t end = clock_monotonic_ms() + 60000;
    size_t n = 0;
    while (n != 20 && clock_monotonic_ms() < end) {
        n = look(p, &rows, true);
        uv_update_time(&p->loop);
        (void)uv_timer_start(&p->timer, on_tick, 10, 0);
        (void)uv_run(&p->loop, UV_RUN_ONCE);
    }
    assert_int_equal(n, 20);
}

static void moves_keep_documents(void **state)
{
    struct followed *p = *state;
    char before[ID_CAP];
    char after[ID_CAP];
    make_dir(p, "a");
    make_dir(p, "b");
    write_file(p, "a/one.txt", "1");
    start_following(p);
    EXPECT(p, "a/one.txt");
    document_at(p, "a/one.txt", before);
    move(p, "a/one.txt", "b/uno.txt");
    EXPECT(p, "b/uno.txt");
    document_at(p, "b/uno.txt", after);
    assert_string_equal(before, after);
    move(p, "b", "c"); /* a whole folder; then its files are still followed under the new name */
    EXPECT(p, "c/uno.txt");
    document_at(p, "c/uno.txt", after);
    assert_string_equal(before, after);
    write_file(p, "c/two.txt", "2");
    EXPECT(p, "c/uno.txt", "c/two.txt");
    char out[512];
    char in[512];
    (void)snprintf(out, sizeof out, "%s/outside", p->dir);
    path_in(p, "c", in);
    assert_int_equal(rename(in, out), 0);
    write_file(p, "d.txt", "d");
    EXPECT(p, "d.txt");
    assert_int_equal(rename(out, in), 0);
    EXPECT(p, "d.txt", "c/uno.txt", "c/two.txt");
    char cmd[600];
    (void)snprintf(cmd, sizeof cmd, "rm -rf %s", in);
    assert_int_equal(system(cmd), 0);
    EXPECT(p, "d.txt");
}

static void replaced_by_rename_keeps_the_document(void **state)
{
    struct followed *p = *state;
    char before[ID_CAP];
    char after[ID_CAP];
    write_file(p, "a.txt", "1");
    start_following(p);
    EXPECT(p, "a.txt");
    document_at(p, "a.txt", before);
    uint64_t size = 0;
    write_file(p, "a.txt.tmp", "22");
    move(p, "a.txt.tmp", "a.txt");
    int64_t end = clock_monotonic_ms() + 60000;
    while (size != 2 && clock_monotonic_ms() < end) {
        struct file_row *rows;
        size_t n = look(p, &rows, true);
        assert_int_equal(n, 1);
        size = rows[0].stamp.size;
        uv_update_time(&p->loop);
        (void)uv_timer_start(&p->timer, on_tick, 10, 0);
        (void)uv_run(&p->loop, UV_RUN_ONCE);
    }
    assert_int_equal(size, 2);
    document_at(p, "a.txt", after);
    assert_string_equal(before, after);
}

static void replaced_then_moved_into_a_new_folder(void **state)
{
    struct followed *p = *state;
    char before[ID_CAP];
    char after[ID_CAP];
    char from[64];
    char dir[64];
    char to[64];
    p->settle_ms = 400; /* longer than it takes a path to count as gone */
    start_following(p);
    wait_scanned(p);
    for (int i = 0; i < 5; i++) {
        (void)snprintf(from, sizeof from, "from%d.txt", i);
        (void)snprintf(dir, sizeof dir, "new%d", i);
        (void)snprintf(to, sizeof to, "new%d/to.txt", i);
        write_file(p, ".drop.tmp", "1");
        move(p, ".drop.tmp", from);
        EXPECT(p, from);
        write_file(p, ".drop.tmp", "22");
        move(p, ".drop.tmp", from);
        struct file_row *rows = NULL;
        uint64_t size = 0;
        int64_t end = clock_monotonic_ms() + 60000;
        while (size != 2 && clock_monotonic_ms() < end) {
            assert_int_equal(look(p, &rows, true), 1);
            size = rows[0].stamp.size;
            uv_update_time(&p->loop);
            (void)uv_timer_start(&p->timer, on_tick, 10, 0);
            (void)uv_run(&p->loop, UV_RUN_ONCE);
        }
        assert_int_equal(size, 2);
        document_at(p, from, before);
        make_dir(p, dir);
        move(p, from, to); /* before the new folder has a watch */
        EXPECT(p, to);
        document_at(p, to, after);
        assert_string_equal(before, after);
        char path[512];
        path_in(p, to, path);
        assert_int_equal(unlink(path), 0);
        while (look(p, &rows, true) != 0 && clock_monotonic_ms() < end) {
            uv_update_time(&p->loop);
            (void)uv_timer_start(&p->timer, on_tick, 10, 0);
            (void)uv_run(&p->loop, UV_RUN_ONCE);
        }
        assert_int_equal(look(p, &rows, true), 0);
    }
}

static void odd_names_and_other_things(void **state)
{
    struct followed *p = *state;
    static const char *const names[] = {"new\nline.txt", "\xd9\x85\xd9\x84\xd9\x81.txt",
                                        "\xff\xfe bytes.txt", "a'b\"c%s.txt", NULL};
    start_following(p);
    wait_scanned(p);
    for (size_t i = 0; names[i] != NULL; i++) {
        write_file(p, names[i], "x");
    }
    char path[512];
    char outside[512];
    (void)snprintf(outside, sizeof outside, "%s/secret", p->dir);
    assert_int_equal(mkdir(outside, 0700), 0);
    (void)snprintf(outside, sizeof outside, "%s/secret/s.txt", p->dir);
    int fd = open(outside, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    assert_true(fd >= 0);
    (void)close(fd);
    path_in(p, "link.txt", path);
    assert_int_equal(symlink(outside, path), 0);
    (void)snprintf(outside, sizeof outside, "%s/secret", p->dir);
    path_in(p, "linked", path);
    assert_int_equal(symlink(outside, path), 0);
    path_in(p, "pipe.txt", path);
    assert_int_equal(mkfifo(path, 0600), 0);
    expect(p, names);
    follow_rescan(p->f);
    for (int i = 0; i < 40; i++) {
        uv_update_time(&p->loop);
        (void)uv_timer_start(&p->timer, on_tick, 10, 0);
        (void)uv_run(&p->loop, UV_RUN_ONCE);
    }
    expect(p, names);
    struct follow_status st;
    follow_status(p->f, &st);
    assert_int_equal(st.passed_over, 3);
}

static void lost_events_are_made_up_for(void **state)
{
    struct followed *p = *state;
    write_file(p, "a.txt", "a");
    write_file(p, "b.txt", "b");
    start_following(p);
    EXPECT(p, "a.txt", "b.txt");
    /* While the loop does not run: more events than the kernel keeps, where its limit is a usual
     * one. */
    struct buf limit;
    buf_init(&limit, 64);
    bool overflows =
        file_read("/proc/sys/fs/inotify/max_queued_events", &limit, NULL) == STATUS_OK &&
        strtol(limit.ptr, NULL, 10) <= 16384;
    buf_deinit(&limit);
    make_dir(p, "many");
    for (int i = 0; overflows && i < 9000; i++) {
        write_file(p, "many/churn.txt", "x");
        write_file(p, "churn2.txt", "x");
    }
    char path[512];
    path_in(p, "b.txt", path);
    assert_int_equal(unlink(path), 0);
    path_in(p, "churn2.txt", path);
    (void)unlink(path);
    write_file(p, "many/churn.txt", "last");
    write_file(p, "c.txt", "c");
    if (!overflows) {
        follow_lost(p->f, "test");
    }
    EXPECT(p, "a.txt", "c.txt", "many/churn.txt");
    struct follow_status st;
    follow_status(p->f, &st);
    assert_true(st.lost >= 1);
}

static void a_missing_folder_keeps_its_documents(void **state)
{
    struct followed *p = *state;
    char away[512];
    write_file(p, "a.txt", "a");
    start_following(p);
    EXPECT(p, "a.txt");
    (void)snprintf(away, sizeof away, "%s/away", p->dir);
    assert_int_equal(rename(p->root, away), 0);
    follow_rescan(p->f);
    struct follow_status st = {0};
    int64_t end = clock_monotonic_ms() + 60000;
    while (!st.missing && clock_monotonic_ms() < end) {
        uv_update_time(&p->loop);
        (void)uv_timer_start(&p->timer, on_tick, 10, 0);
        (void)uv_run(&p->loop, UV_RUN_ONCE);
        follow_status(p->f, &st);
    }
    assert_true(st.missing);
    EXPECT(p, "a.txt");
    assert_int_equal(rename(away, p->root), 0);
    write_file(p, "b.txt", "b");
    follow_rescan(p->f);
    EXPECT(p, "a.txt", "b.txt");
}

static void found_after_being_off(void **state)
{
    struct followed *p = *state;
    char before[ID_CAP];
    char after[ID_CAP];
    write_file(p, "a.txt", "a");
    write_file(p, "gone.txt", "g");
    make_dir(p, "x");
    start_following(p);
    EXPECT(p, "a.txt", "gone.txt");
    document_at(p, "a.txt", before);
    follow_close(p->f, on_closed, p);
    while (!p->closed) {
        (void)uv_run(&p->loop, UV_RUN_ONCE);
    }
    p->closed = false;
    move(p, "a.txt", "x/moved.txt");
    write_file(p, "new.txt", "n");
    char path[512];
    path_in(p, "gone.txt", path);
    assert_int_equal(unlink(path), 0);
    start_following(p);
    EXPECT(p, "x/moved.txt", "new.txt");
    document_at(p, "x/moved.txt", after);
    assert_string_equal(before, after);
}

static void thousands_moved_at_once(void **state)
{
    struct followed *p = *state;
    char from[64];
    char to[64];
    make_dir(p, "a");
    make_dir(p, "b");
    for (int i = 0; i < 3000; i++) {
        (void)snprintf(from, sizeof from, "a/%d.txt", i);
        write_file(p, from, from);
    }
    start_following(p);
    struct file_row *rows;
    size_t n = 0;
    size_t moved = 0;
    int64_t end = clock_monotonic_ms() + 60000;
    while (n != 3000 && clock_monotonic_ms() < end) {
        n = look(p, &rows, true);
        uv_update_time(&p->loop);
        (void)uv_timer_start(&p->timer, on_tick, 10, 0);
        (void)uv_run(&p->loop, UV_RUN_ONCE);
    }
    assert_int_equal(n, 3000);
    for (int i = 0; i < 3000; i++) {
        (void)snprintf(from, sizeof from, "a/%d.txt", i);
        (void)snprintf(to, sizeof to, "b/%d.txt", i);
        move(p, from, to);
    }
    while (moved != 3000 && clock_monotonic_ms() < end) {
        n = look(p, &rows, true);
        moved = 0;
        for (size_t i = 0; i < n; i++) {
            moved += str_starts(rows[i].path, STR("b/"));
        }
        moved = n == 3000 ? moved : 0;
        uv_update_time(&p->loop);
        (void)uv_timer_start(&p->timer, on_tick, 10, 0);
        (void)uv_run(&p->loop, UV_RUN_ONCE);
    }
    assert_int_equal(moved, 3000);
}

static void what_is_ignored_leaves_and_comes_back(void **state)
{
    struct followed *p = *state;
    make_dir(p, "a/deep");
    write_file(p, "a/one.txt", "1");
    write_file(p, "a/two.log", "2");
    write_file(p, "a/deep/three.log", "3");
    write_file(p, "four.log", "4");
    write_file(p, ".carrelignore", "/four.log\n");
    start_following(p);
    EXPECT(p, "a/one.txt", "a/two.log", "a/deep/three.log");
    write_file(p, "a/.carrelignore", "*.log\n");
    EXPECT(p, "a/one.txt");
    write_file(p, "a/five.log", "5"); /* no event of it gets through */
    write_file(p, "a/five.txt", "5");
    EXPECT(p, "a/one.txt", "a/five.txt");
    move(p, "a/one.txt", "a/one.log"); /* under a name that is ignored it is none */
    EXPECT(p, "a/five.txt");
    move(p, "a/.carrelignore", "a/.carrelignore~"); /* as an editor does */
    EXPECT(p, "a/five.txt", "a/one.log", "a/two.log", "a/five.log", "a/deep/three.log");
    write_file(p, ".carrelignore", "a/\n");
    EXPECT(p, "four.log");
}

static void folders_tell_of_their_readers(void **state)
{
    struct followed *p = *state;
    make_dir(p, "a");
    write_file(p, "a/one.txt", "1");
    write_file(p, "a/.carrel.yaml", "readers: [hr]\n");
    start_following(p);
    EXPECT(p, "a/one.txt");
    wait_scanned(p);
    assert_int_equal(p->rules, 1);
    write_file(p, "a/.carrel.yaml", "readers: [board]\n");
    write_file(p, "b.txt", "b");
    EXPECT(p, "a/one.txt", "b.txt");
    assert_true(p->rules > 1);
}

/* An empty folder where something was mounted is not an emptied one. */
static void documents_of_an_unmounted_folder_stay(void **state)
{
    struct followed *p = *state;
    struct follow_status st = {0};
    char path[512];
    make_dir(p, "nas/law");
    write_file(p, "nas/law/a.txt", "a");
    write_file(p, "own.txt", "o");
    start_following(p);
    EXPECT(p, "nas/law/a.txt", "own.txt");
    follow_close(p->f, on_closed, p);
    while (!p->closed) {
        (void)uv_run(&p->loop, UV_RUN_ONCE);
    }
    path_in(p, "nas/law/a.txt", path);
    assert_int_equal(unlink(path), 0);
    path_in(p, "nas/law", path);
    assert_int_equal(rmdir(path), 0);
    disk_set_mounts(p->disk, STR("3:nas")); /* as the journal's note has it */
    start_following(p);
    wait_scanned(p);
    write_file(p, "later.txt", "l");
    EXPECT(p, "nas/law/a.txt", "own.txt", "later.txt");
    follow_rescan(p->f);
    for (int i = 0; i < 60 || st.scanning; i++) {
        uv_update_time(&p->loop);
        (void)uv_timer_start(&p->timer, on_tick, 10, 0);
        (void)uv_run(&p->loop, UV_RUN_ONCE);
        follow_status(p->f, &st);
    }
    EXPECT(p, "nas/law/a.txt", "own.txt", "later.txt");
    assert_true(disk_is_away(p->disk, STR("nas/law/a.txt")));
    make_dir(p, "nas/law"); /* back again, with other things */
    write_file(p, "nas/law/b.txt", "b");
    follow_rescan(p->f);
    EXPECT(p, "nas/law/b.txt", "own.txt", "later.txt");
    assert_false(disk_is_away(p->disk, STR("nas/law/a.txt")));
}

/* The time of writing is set before an upload takes its place: it may be years ago. */
static void an_upload_under_way_stays(void **state)
{
    struct followed *p = *state;
    static const struct timespec old[2] = {{.tv_sec = 1}, {.tv_sec = 1}};
    char path[512];
    write_file(p, ".carrel-upload-x", "u");
    path_in(p, ".carrel-upload-x", path);
    assert_int_equal(utimensat(AT_FDCWD, path, old, 0), 0);
    start_following(p);
    wait_scanned(p);
    move(p, ".carrel-upload-x", "u.txt");
    EXPECT(p, "u.txt");
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(finds_what_is_there_and_what_comes),
        TEST(a_new_folder_with_a_file_at_once),
        TEST(moves_keep_documents),
        TEST(replaced_by_rename_keeps_the_document),
        TEST(replaced_then_moved_into_a_new_folder),
        TEST(odd_names_and_other_things),
        TEST(lost_events_are_made_up_for),
        TEST(a_missing_folder_keeps_its_documents),
        TEST(found_after_being_off),
        TEST(what_is_ignored_leaves_and_comes_back),
        TEST(folders_tell_of_their_readers),
        TEST(documents_of_an_unmounted_folder_stay),
        TEST(thousands_moved_at_once),
        TEST(an_upload_under_way_stays),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
