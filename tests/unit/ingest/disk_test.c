/* What folders say, and mounted places that go and come back (with real mounts where the test may).
 */
#include "tests/unit/ingest/disk_place.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <sys/fsuid.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>
#include <uv.h>

#include "base/file.h"

static void path_of(const struct place *p, const char *name, char out[256])
{
    (void)snprintf(out, 256, "%s/%s", p->dir, name);
}

static void folder(const struct place *p, const char *name)
{
    char path[256];
    path_of(p, name, path);
    assert_int_equal(file_mkdirs(path, 0700, NULL), STATUS_OK);
}

static void put(const struct place *p, const char *name, const char *text)
{
    char path[256];
    path_of(p, name, path);
    FILE *f = fopen(path, "we");
    assert_non_null(f);
    assert_true(fputs(text, f) >= 0);
    assert_int_equal(fclose(f), 0);
}

static void drop(const struct place *p, const char *name)
{
    char path[256];
    path_of(p, name, path);
    assert_int_equal(unlink(path), 0);
}

static enum tree_kind kind_of(const struct place *p, const char *path)
{
    enum tree_kind kind = TREE_MISSING;
    struct file_stamp stamp;
    struct error err = {0};
    if (disk_stat(p->disk, str_from(path), &kind, &stamp, &err) != STATUS_OK) {
        fail_msg("%s: %s", path, err.text);
    }
    return kind;
}

static enum status status_of(const struct place *p, const char *path)
{
    enum tree_kind kind;
    struct file_stamp stamp;
    struct error err = {0};
    return disk_stat(p->disk, str_from(path), &kind, &stamp, &err);
}

static void ignored_files_are_none(void **state)
{
    struct place *p = *state;
    folder(p, "a/old/x");
    put(p, "a/one.txt", "1");
    put(p, "a/two.log", "2");
    put(p, "a/old/x/three.txt", "3");
    put(p, "a/old/keep.txt", "4");
    assert_int_equal(kind_of(p, "a/two.log"), TREE_FILE);

    put(p, ".carrelignore", "*.log\n");
    put(p, "a/.carrelignore", "old/\n!keep.txt\n");
    assert_int_equal(kind_of(p, "a/one.txt"), TREE_FILE);
    assert_int_equal(kind_of(p, "a/two.log"), TREE_OTHER);
    assert_int_equal(kind_of(p, "a/old"), TREE_OTHER);
    assert_int_equal(kind_of(p, "a/old/x/three.txt"), TREE_OTHER);
    assert_int_equal(kind_of(p, "a/old/keep.txt"), TREE_OTHER); /* its folder is out: as with git */
    assert_int_equal(kind_of(p, "a/missing.txt"), TREE_MISSING);
    assert_int_equal(kind_of(p, "b/missing.txt"), TREE_MISSING);

    put(p, "a/.carrelignore", "!two.log\nsize > 3\n"); /* the nearer folder counts */
    assert_int_equal(kind_of(p, "a/two.log"), TREE_FILE);
    assert_int_equal(kind_of(p, "a/old/keep.txt"), TREE_FILE);
    put(p, "a/one.txt", "12345");
    assert_int_equal(kind_of(p, "a/one.txt"), TREE_OTHER);

    drop(p, "a/.carrelignore");
    drop(p, ".carrelignore");
    assert_int_equal(kind_of(p, "a/one.txt"), TREE_FILE);
    assert_int_equal(kind_of(p, "a/two.log"), TREE_FILE);
}

static void links_say_nothing(void **state)
{
    struct place *p = *state;
    char from[256];
    folder(p, "a");
    put(p, "a/one.log", "1");
    put(p, "rules", "*.log\n");
    path_of(p, "a/.carrelignore", from);
    assert_int_equal(symlink("../rules", from), 0);
    assert_int_equal(kind_of(p, "a/one.log"), TREE_FILE);
}

/* The readers of a document by rule, joined by ','. */
static const char *readers(struct place *p, const char *path, const char *rules, char out[256],
                           const char **label)
{
    struct arena a;
    struct rules r = {0};
    struct verdict v;
    struct disk_view view;
    struct error err = {0};
    static char kept[32];
    arena_init(&a, 1 << 20);
    assert_int_equal(rules_parse(str_from(rules), "access.yaml", &a, &r, &err), STATUS_OK);
    rules_judge(&r, "main", str_from(path), "x", &v);
    struct str folder_path = {path, (size_t)(strrchr(path, '/') - path)};
    assert_int_equal(disk_look(p->disk, folder_path, &view, &err), STATUS_OK);
    disk_view_tighten(&view, str_from(path), &v);
    size_t used = 0;
    out[0] = '\0';
    for (size_t i = 0; i < v.n_readers; i++) {
        used += (size_t)snprintf(out + used, 256 - used, "%s%s", i > 0 ? "," : "", v.readers[i]);
    }
    (void)snprintf(kept, sizeof kept, "%s", v.label);
    *label = kept;
    disk_view_release(&view);
    arena_reset(&a);
    return out;
}

#define RULES                                                                                      \
    "access:\n- path: hr/**\n  readers: [hr, board]\n  label: internal\n- path: open/**\n  "       \
    "readers: [everyone]\n"

static void a_folder_only_tightens(void **state)
{
    struct place *p = *state;
    char out[256];
    char text[256] = "";
    const char *label;
    folder(p, "hr/pay");
    folder(p, "open/x");
    assert_false(disk_take_rules_changed(p->disk));
    put(p, "hr/.carrel.yaml", "readers: [hr]\nlabel: confidential\n");
    assert_string_equal(readers(p, "hr/a.txt", RULES, out, &label), "hr");
    assert_string_equal(label, "confidential");
    assert_true(disk_take_rules_changed(p->disk));
    assert_false(disk_take_rules_changed(p->disk));
    assert_int_equal(disk_trouble(p->disk, text, sizeof text), 0);

    put(p, "hr/pay/.carrel.yaml",
        "readers: [board]\nlabel: internal\n"); /* both widen what hr/ left */
    assert_string_equal(readers(p, "hr/pay/a.txt", RULES, out, &label), "hr");
    assert_string_equal(label, "confidential");
    assert_int_equal(disk_trouble(p->disk, text, sizeof text), 1);
    assert_non_null(strstr(text, "hr/pay/.carrel.yaml: "));
    assert_non_null(strstr(text, "has no effect"));

    put(p, "open/.carrel.yaml", "readers: [sales]\n");
    assert_string_equal(readers(p, "open/a.txt", RULES, out, &label), "sales");
    put(p, "open/x/.carrel.yaml", "readers: [everyone]\n");
    assert_string_equal(readers(p, "open/x/a.txt", RULES, out, &label), "sales");
    put(p, "open/x/.carrel.yaml",
        "readers: [nobody]\nlabel: public\n"); /* unlabelled: may not leave */
    assert_string_equal(readers(p, "open/x/a.txt", RULES, out, &label), "nobody");
    assert_string_equal(label, "");
}

static void a_mistake_closes(void **state)
{
    struct place *p = *state;
    char out[256];
    char text[256] = "";
    const char *label;
    folder(p, "open/x");
    put(p, "open/.carrel.yaml", "reader: [sales]\n");
    assert_string_equal(readers(p, "open/x/a.txt", RULES, out, &label), "nobody");
    assert_int_equal(disk_trouble(p->disk, text, sizeof text), 1);
    assert_non_null(strstr(text, "open/.carrel.yaml:1: "));
    put(p, "open/.carrel.yaml", "language: de\n");
    assert_string_equal(readers(p, "open/x/a.txt", RULES, out, &label), "");
    assert_int_equal(disk_trouble(p->disk, text, sizeof text), 0);
    struct disk_view v;
    assert_int_equal(disk_look(p->disk, STR("open/x"), &v, NULL), STATUS_OK);
    assert_string_equal(disk_view_language(&v), "de");
    disk_view_release(&v);
}

static void a_file_cut_to_nothing_closes(void **state)
{
    struct place *p = *state;
    char out[256];
    char text[256] = "";
    const char *label;
    folder(p, "open");
    put(p, "open/.carrel.yaml", "readers: [sales]\n");
    assert_string_equal(readers(p, "open/a.txt", RULES, out, &label), "sales");
    assert_true(disk_take_rules_changed(p->disk));
    put(p, "open/.carrel.yaml", ""); /* as in the middle of a write */
    assert_string_equal(readers(p, "open/a.txt", RULES, out, &label), "nobody");
    assert_true(disk_take_rules_changed(p->disk));
    assert_int_equal(disk_trouble(p->disk, text, sizeof text), 1);
    assert_non_null(strstr(text, "open/.carrel.yaml: is empty"));
    put(p, "open/.carrel.yaml", "# nothing yet\n");
    assert_string_equal(readers(p, "open/a.txt", RULES, out, &label), "");
    assert_int_equal(disk_trouble(p->disk, text, sizeof text), 0);
    assert_true(disk_take_rules_changed(p->disk));
}

static void what_was_mounted_is_away(void **state)
{
    struct place *p = *state;
    char first[64] = "";
    folder(p, "share");
    folder(p, "b");
    put(p, "b/own.txt", "1");
    disk_set_mounts(p->disk, STR("5:share4:gone1:b"));
    assert_int_equal(status_of(p, "share/a.txt"), STATUS_UNAVAILABLE);
    assert_int_equal(status_of(p, "gone/deep/a.txt"), STATUS_UNAVAILABLE);
    assert_int_equal(status_of(p, "gone"), STATUS_UNAVAILABLE);
    assert_int_equal(kind_of(p, "b/own.txt"),
                     TREE_FILE); /* something lies there: an ordinary folder */
    assert_int_equal(kind_of(p, "b/gone.txt"), TREE_MISSING);
    assert_int_equal(disk_away(p->disk, first, sizeof first), 2);
    assert_true(disk_is_away(p->disk, STR("share/a.txt")));
    assert_false(disk_is_away(p->disk, STR("shared/a.txt")));

    put(p, "share/.placeholder", "");
    assert_int_equal(status_of(p, "share/a.txt"), STATUS_UNAVAILABLE);
    put(p, "share/mine.txt", "1");
    assert_int_equal(kind_of(p, "share/a.txt"), TREE_MISSING);

    struct buf kept;
    buf_init(&kept, DISK_MOUNTS_TEXT);
    assert_true(disk_mounts(p->disk, &kept) > 0);
    assert_true(str_eq(buf_view(&kept), STR("4:gone")));
    buf_deinit(&kept);
}

/* As somebody whom modes of files bind, which root is not. */
static void bound_by_modes(const struct place *p)
{
    if (geteuid() == 0) {
        assert_int_equal(chmod(p->dir, 0711), 0);
        (void)setfsuid(65534);
    }
}

static void free_of_modes(void)
{
    if (geteuid() == 0) {
        (void)setfsuid(0);
    }
}

static void mode(const struct place *p, const char *name, mode_t m)
{
    char path[256];
    path_of(p, name, path);
    assert_int_equal(chmod(path, m), 0);
}

static void what_cannot_be_asked_says_not_nothing(void **state)
{
    struct place *p = *state;
    struct disk_view v;
    folder(p, "hr");
    put(p, "hr/.carrel.yaml", "readers: [hr]\n");
    put(p, "hr/a.txt", "1");
    assert_int_equal(kind_of(p, "hr/a.txt"), TREE_FILE);
    assert_true(disk_take_rules_changed(p->disk));
    mode(p, "hr", 0600);
    bound_by_modes(p);
    struct error err = {0};
    enum status s = disk_look(p->disk, STR("hr"), &v, &err);
    enum status file = status_of(p, "hr/a.txt");
    free_of_modes();
    mode(p, "hr", 0700);
    assert_int_equal(s, STATUS_FORBIDDEN);
    assert_int_equal(file, STATUS_FORBIDDEN);
    assert_false(disk_take_rules_changed(p->disk));
}

static void a_mount_that_cannot_be_read_is_away(void **state)
{
    struct place *p = *state;
    folder(p, "share");
    put(p, "share/a.txt", "1");
    disk_set_mounts(p->disk, STR("5:share"));
    mode(p, "share", geteuid() == 0 ? 0711 : 0300);
    bound_by_modes(p);
    enum status s = status_of(p, "share/b.txt");
    free_of_modes();
    mode(p, "share", 0700);
    assert_int_equal(s, STATUS_UNAVAILABLE); /* the server may not answer: nothing is gone */
    assert_int_equal(disk_away(p->disk, NULL, 0), 1);
    assert_false(disk_take_rules_changed(p->disk));
    assert_int_equal(kind_of(p, "share/a.txt"), TREE_FILE);
    assert_true(disk_take_rules_changed(p->disk)); /* rules came while nobody could look */
}

static void broken_notes_are_no_mounts(void **state)
{
    struct place *p = *state;
    static const char *const notes[] = {"", ":", "5", "5:ab", "99999999999999999999:a", "x"};
    for (size_t i = 0; i < sizeof notes / sizeof *notes; i++) {
        disk_set_mounts(p->disk, str_from(notes[i]));
        assert_int_equal(disk_mounts(p->disk, NULL), 0);
    }
}

static void a_real_mount_goes_and_comes_back(void **state)
{
    struct place *p = *state;
    char at[256];
    folder(p, "nas");
    path_of(p, "nas", at);
    if (unshare(CLONE_NEWNS) != 0 || mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0 ||
        mount("tmpfs", at, "tmpfs", 0, "size=1m") != 0) {
        print_message("skipped: needs root to mount a small tmpfs\n");
        skip();
    }
    (void)close(p->root); /* it belongs to the old name space, which sees no mount of ours */
    p->root = open(p->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    disk_set_root(p->disk, p->root);
    put(p, "nas/a.txt", "1");
    assert_int_equal(kind_of(p, "nas/a.txt"), TREE_FILE);
    assert_int_equal(umount(at), 0);
    assert_int_equal(status_of(p, "nas/a.txt"), STATUS_UNAVAILABLE);
    assert_int_equal(mount("tmpfs", at, "tmpfs", 0, "size=1m"), 0);
    put(p, "nas/a.txt", "1");
    assert_int_equal(kind_of(p, "nas/a.txt"), TREE_FILE);
    assert_int_equal(disk_away(p->disk, NULL, 0), 0);
    assert_int_equal(umount(at), 0);
}

/* ---- a share that hangs: files are not opened until they may be, or for HANG_S seconds ---- */

#define HANG_S 5

static struct {
    sem_t reached, free;
    atomic_bool on, gave_up;
} hang;

int __real_openat(int dir, const char *name, int flags);
int __wrap_openat(int dir, const char *name, int flags);

/* The linker puts it in the place of openat; nothing in this program makes a file by it. */
int __wrap_openat(int dir, const char *name, int flags)
{
    struct timespec until;
    if ((flags & O_PATH) == 0 && atomic_exchange(&hang.on, false)) {
        (void)sem_post(&hang.reached);
        (void)clock_gettime(CLOCK_REALTIME, &until);
        until.tv_sec += HANG_S;
        while (sem_timedwait(&hang.free, &until) != 0) {
            if (errno != EINTR) {
                atomic_store(&hang.gave_up, true);
                break;
            }
        }
    }
    return __real_openat(dir, name, flags);
}

struct asking {
    struct disk *disk;
    enum tree_kind kind;
    enum status status;
};

static void ask(void *data)
{
    struct asking *a = data;
    struct file_stamp stamp;
    a->status = disk_stat(a->disk, STR("share/a.txt"), &a->kind, &stamp, NULL);
}

/* Another thread asks for share/a.txt and hangs; what needs no look is answered meanwhile. */
static struct asking answered_while_it_hangs(struct place *p)
{
    struct asking a = {.disk = p->disk};
    struct disk_view own;
    uv_thread_t thread;
    char text[64] = "";
    assert_int_equal(sem_init(&hang.reached, 0, 0), 0);
    assert_int_equal(sem_init(&hang.free, 0, 0), 0);
    atomic_store(&hang.gave_up, false);
    atomic_store(&hang.on, true);
    assert_int_equal(uv_thread_create(&thread, ask, &a), 0);
    while (sem_wait(&hang.reached) != 0) {
    }
    assert_false(disk_is_away(p->disk, STR("own/a.txt")));
    assert_int_equal(disk_away(p->disk, text, sizeof text), 0);
    assert_int_equal(disk_trouble(p->disk, text, sizeof text), 0);
    assert_int_equal(disk_look(p->disk, STR("own"), &own, NULL), STATUS_OK);
    assert_int_equal(own.n, 1);
    disk_view_release(&own);
    assert_false(atomic_load(&hang.gave_up));
    assert_int_equal(sem_post(&hang.free), 0);
    assert_int_equal(uv_thread_join(&thread), 0);
    (void)sem_destroy(&hang.reached);
    (void)sem_destroy(&hang.free);
    return a;
}

static void a_share_that_hangs_keeps_nobody_waiting(void **state)
{
    struct place *p = *state;
    struct disk_view v;
    folder(p, "share");
    folder(p, "own");
    put(p, "share/a.txt", "1");
    put(p, "own/.carrel.yaml", "readers: [hr]\n");
    assert_int_equal(disk_look(p->disk, STR("own"), &v, NULL), STATUS_OK);
    disk_view_release(&v);
    put(p, "share/.carrel.yaml", "language: de\n"); /* to be read */
    struct asking a = answered_while_it_hangs(p);
    assert_int_equal(a.status, STATUS_OK);
    assert_int_equal(a.kind, TREE_FILE);

    disk_set_mounts(p->disk, STR("5:share")); /* is it empty? */
    a = answered_while_it_hangs(p);
    assert_int_equal(a.status, STATUS_OK);
    assert_int_equal(a.kind, TREE_FILE);
    assert_true(disk_mounts(p->disk, NULL) > 1); /* an ordinary folder: forgotten */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(ignored_files_are_none, setup, teardown),
        cmocka_unit_test_setup_teardown(links_say_nothing, setup, teardown),
        cmocka_unit_test_setup_teardown(a_folder_only_tightens, setup, teardown),
        cmocka_unit_test_setup_teardown(a_mistake_closes, setup, teardown),
        cmocka_unit_test_setup_teardown(a_file_cut_to_nothing_closes, setup, teardown),
        cmocka_unit_test_setup_teardown(what_was_mounted_is_away, setup, teardown),
        cmocka_unit_test_setup_teardown(what_cannot_be_asked_says_not_nothing, setup, teardown),
        cmocka_unit_test_setup_teardown(a_mount_that_cannot_be_read_is_away, setup, teardown),
        cmocka_unit_test_setup_teardown(a_share_that_hangs_keeps_nobody_waiting, setup, teardown),
        cmocka_unit_test_setup_teardown(broken_notes_are_no_mounts, setup, teardown),
        cmocka_unit_test_setup_teardown(a_real_mount_goes_and_comes_back, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
