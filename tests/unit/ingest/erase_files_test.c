#include "tests/unit/test.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "base/file.h"
#include "ingest/erase_files.h"

static const uint8_t secret[KEYED_KEY_BYTES] = {7};

struct tree {
    char home[64];
    int root;
};

static void put(const struct tree *t, const char *name, const char *text)
{
    char path[256];
    char folder[256];
    struct error err = {0};
    (void)snprintf(path, sizeof path, "%s/%s", t->home, name);
    (void)snprintf(folder, sizeof folder, "%.*s", (int)(strrchr(path, '/') - path), path);
    assert_int_equal(file_mkdirs(folder, 0700, &err), STATUS_OK);
    assert_true(unlink(path) == 0 || errno == ENOENT); /* another inode, as by renaming over it */
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, text, strlen(text)), (ssize_t)strlen(text));
    (void)close(fd);
}

static bool there(const struct tree *t, const char *name)
{
    char path[256];
    (void)snprintf(path, sizeof path, "%s/%s", t->home, name);
    return access(path, F_OK) == 0;
}

static void make(struct tree *t)
{
    char path[256];
    struct error err = {0};
    (void)snprintf(t->home, sizeof t->home, "/tmp/carrel-erase-XXXXXX");
    assert_non_null(mkdtemp(t->home));
    (void)snprintf(path, sizeof path, "%s/w", t->home);
    assert_int_equal(file_mkdirs(path, 0700, &err), STATUS_OK);
    t->root = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    assert_true(t->root >= 0);
}

static void gone(struct tree *t)
{
    char cmd[128];
    (void)close(t->root);
    (void)snprintf(cmd, sizeof cmd, "rm -rf %s", t->home);
    assert_int_equal(system(cmd), 0);
}

static struct erasure_item item_of(const char *path, const char *text)
{
    struct erasure_item it = {.path = str_from(path), .size = strlen(text), .has_hash = true};
    id_new(it.document);
    sha256_of(text, strlen(text), it.hash);
    return it;
}

static enum erased_source erase(const struct tree *t, struct erasure_item *it,
                                const struct erase_contents *c)
{
    struct error err = {0};
    assert_int_equal(erase_source(t->root, it, c, true, &err), STATUS_OK);
    return it->source;
}

/* What lies at a document's path by now may be another's. */
static void only_its_own_file_goes(void **state)
{
    (void)state;
    struct tree t;
    struct stat st;
    uint8_t keyed[1][KEYED_BYTES];
    struct erase_contents none = {.key = secret};
    struct erase_contents former = {.key = secret, .keyed = keyed, .n = 1};
    struct erasure_item it = item_of("a/doc.txt", "the document");
    make(&t);

    assert_int_equal(erase(&t, &it, &none), SOURCE_NONE);
    put(&t, "w/a/doc.txt", "something else altogether");
    assert_int_equal(erase(&t, &it, &none), SOURCE_REPLACED);
    assert_true(there(&t, "w/a/doc.txt"));

    put(&t, "w/a/doc.txt", "the document"); /* its content */
    assert_int_equal(erase(&t, &it, &none), SOURCE_DELETED);
    assert_false(there(&t, "w/a/doc.txt"));

    put(&t, "w/a/doc.txt", "what it was before"); /* that of a version */
    sha256_of("what it was before", 18, it.hash);
    keyed_hash(secret, it.hash, sizeof it.hash, keyed[0]);
    it.has_hash = false;
    assert_int_equal(erase(&t, &it, &none), SOURCE_REPLACED);
    assert_int_equal(erase(&t, &it, &former), SOURCE_DELETED);

    put(&t, "w/a/doc.txt", "never read"); /* the one that was there when it was asked for */
    assert_int_equal(fstatat(t.root, "a/doc.txt", &st, AT_SYMLINK_NOFOLLOW), 0);
    it.has_stamp = true;
    it.stamp = file_stamp_of(&st);
    put(&t, "w/a/doc.txt", "another, not read either");
    assert_int_equal(erase(&t, &it, &former), SOURCE_REPLACED);
    assert_int_equal(fstatat(t.root, "a/doc.txt", &st, AT_SYMLINK_NOFOLLOW), 0);
    it.stamp = file_stamp_of(&st);
    assert_int_equal(erase(&t, &it, &former), SOURCE_DELETED);

    put(&t, "w/a/doc.txt", "as the backup has it"); /* what the journal knows it held */
    it.has_stamp = false;
    assert_int_equal(erase(&t, &it, &former), SOURCE_REPLACED);
    it.has_was = true;
    sha256_of("as the backup has it", 20, it.was);
    assert_int_equal(erase(&t, &it, &former), SOURCE_DELETED);

    put(&t, "w/a/doc.txt", "the document"); /* the same content, but a document that stays has it */
    it = item_of("a/doc.txt", "the document");
    it.taken = true;
    assert_int_equal(erase(&t, &it, &none), SOURCE_REPLACED);

    it.taken = false;
    it.source = SOURCE_TRASH; /* it lies elsewhere */
    assert_int_equal(erase(&t, &it, &none), SOURCE_TRASH);
    assert_true(there(&t, "w/a/doc.txt"));
    gone(&t);
}

/* A file in the trash that is an item by itself: its content under its path, and nothing else. */
static void the_trash_is_not_merged_by_path(void **state)
{
    (void)state;
    struct tree t;
    struct error err = {0};
    uint32_t n = 0;
    struct erase_contents none = {.key = secret};
    struct erasure_item it[3] = {item_of("a/x.txt", "names somebody"),
                                 item_of("a/x.txt", "names her too"),
                                 item_of("b/y.txt", "a letter")};
    make(&t);
    it[0].source = it[1].source = SOURCE_TRASH;
    it[0].content_stays = true; /* in the store, under another path */
    put(&t, "trash/main/2026-01-01/a/x.txt", "names somebody");
    put(&t, "trash/main/2026-01-02/a/x.txt", "names her too");
    put(&t, "trash/main/2026-01-03/a/x.txt", "names nobody");
    put(&t, "trash/main/2026-01-03/c/x.txt", "names somebody");
    put(&t, "trash/main/2026-01-04/b/y.txt", "an older letter");
    put(&t, "trash/main/2026-01-04/c/y.txt", "a letter");
    assert_int_equal(erase_trash(t.home, "main", it, 3, &none, &n, &err), STATUS_OK);
    assert_int_equal(n, 4);
    assert_false(there(&t, "trash/main/2026-01-01/a/x.txt"));
    assert_false(there(&t, "trash/main/2026-01-02/a/x.txt"));
    assert_true(there(&t, "trash/main/2026-01-03/a/x.txt"));
    assert_true(there(&t, "trash/main/2026-01-03/c/x.txt"));
    assert_false(
        there(&t, "trash/main/2026-01-04/b/y.txt")); /* of a document: by path or content */
    assert_false(there(&t, "trash/main/2026-01-04/c/y.txt"));
    gone(&t);
}

/* Contents that only their keyed hashes tell: of versions, of an erasure from a list. */
static void contents_known_by_their_keyed_hash(void **state)
{
    (void)state;
    struct tree t;
    struct error err = {0};
    uint32_t n = 0;
    uint8_t hash[SHA256_BYTES];
    uint8_t keyed[1][KEYED_BYTES];
    struct erase_contents c = {.key = secret, .keyed = keyed, .n = 1};
    make(&t);
    sha256_of("of old", 6, hash);
    keyed_hash(secret, hash, sizeof hash, keyed[0]);
    put(&t, "trash/main/2026-01-01/a/x.txt", "of old");
    put(&t, "trash/main/2026-01-01/a/y.txt", "of now");
    assert_int_equal(erase_trash(t.home, "main", NULL, 0, &c, &n, &err), STATUS_OK);
    assert_int_equal(n, 1);
    assert_false(there(&t, "trash/main/2026-01-01/a/x.txt"));
    assert_true(there(&t, "trash/main/2026-01-01/a/y.txt"));
    gone(&t);
}

static const char named[] = "Tessaly_Orrinwood.md";

static struct subject_set *subject(void)
{
    struct subject_mark mark;
    struct error err = {0};
    assert_int_equal(subject_mark_make(secret, STR("tessaly orrinwood"), &mark, &err), STATUS_OK);
    struct subject_set *set = subject_set_new(secret, &mark, 1);
    assert_non_null(set);
    return set;
}

/* What is told of files names nobody: not a path that could not be looked at, not one that still
 * holds something, and not the half of it either where it is cut. */
static void errors_and_findings_are_masked(void **state)
{
    (void)state;
    struct tree t;
    struct error err = {0};
    struct erase_scan scan;
    struct trace traces[64];
    char path[512] = "tenants/main";
    static const char text[] = "a text long enough to leave a trace in whatever file it is found";
    make(&t);
    struct erase_contents c = {.key = secret, .subject = subject()};
    size_t n = traces_take(secret, str_from(text), 64, traces);
    assert_true(n > 0);
    put(&t, "tenants/main/Tessaly_Orrinwood.md", text);
    size_t len = strlen(path);
    memset(path + len, 'f', 150 - len); /* so that the name is cut */
    path[len] = '/';
    path[100] = '/';
    (void)snprintf(path + 150, sizeof path - 150, "/%s", named);
    put(&t, path, text);
    assert_int_equal(erase_verify(t.home, "main", NULL, 0, &c, traces, n, &scan, &err), STATUS_OK);
    assert_int_equal(scan.n_residue, 2);
    for (size_t i = 0; i < scan.n_residue; i++) {
        assert_null(strstr(scan.residue[i], "essal"));
    }
    subject_set_free(c.subject);
    c.subject = NULL; /* an erasure of documents tells their paths */
    assert_int_equal(erase_verify(t.home, "main", NULL, 0, &c, traces, n, &scan, &err), STATUS_OK);
    assert_true(strstr(scan.residue[0], named) != NULL || strstr(scan.residue[1], named) != NULL);
    gone(&t);
}

static void a_folder_too_deep_is_told_masked(void **state)
{
    (void)state;
    struct tree t;
    struct error err = {0};
    uint32_t gone_from_trash = 0;
    char path[512];
    int len = snprintf(path, sizeof path, "trash/main/2026-01-01/%s", named);
    for (int i = 0; i < 30; i++) {
        len += snprintf(path + len, sizeof path - (size_t)len, "/d");
    }
    make(&t);
    struct erase_contents c = {.key = secret, .subject = subject()};
    put(&t, path, "x");
    assert_int_equal(erase_trash(t.home, "main", NULL, 0, &c, &gone_from_trash, &err), STATUS_IO);
    assert_null(strstr(err.text, "essal"));
    assert_non_null(strstr(err.text, "[...]"));
    assert_non_null(strstr(err.text, "cannot be looked through"));
    subject_set_free(c.subject);
    gone(&t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(only_its_own_file_goes),
        cmocka_unit_test(the_trash_is_not_merged_by_path),
        cmocka_unit_test(contents_known_by_their_keyed_hash),
        cmocka_unit_test(errors_and_findings_are_masked),
        cmocka_unit_test(a_folder_too_deep_is_told_masked),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
