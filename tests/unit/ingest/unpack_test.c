/* What comes out of a container on its way into the file that holds it. */
#include "tests/unit/test.h"

#include <archive.h>
#include <archive_entry.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "ingest/unpack.h"

struct place {
    char home[64];
    uv_loop_t loop;
    struct lane lane;
};

static int setup(void **state)
{
    struct place *p = calloc(1, sizeof *p);
    assert_non_null(p);
    (void)snprintf(p->home, sizeof p->home, "/tmp/carrel-unpack-XXXXXX");
    assert_non_null(mkdtemp(p->home));
    assert_int_equal(uv_loop_init(&p->loop), 0);
    lane_init(&p->lane, &p->loop, 2, 16);
    *state = p;
    return 0;
}

static int teardown(void **state)
{
    struct place *p = *state;
    char cmd[128];
    assert_int_equal(uv_run(&p->loop, UV_RUN_DEFAULT), 0);
    assert_int_equal(uv_loop_close(&p->loop), 0);
    (void)snprintf(cmd, sizeof cmd, "rm -rf %s", p->home);
    assert_int_equal(system(cmd), 0);
    free(p);
    return 0;
}

/* ---- a child that says what we like ---- */

static enum status say(const struct extract_members *m, const char *name, const char *data,
                       bool end, bool drop)
{
    Ex__Child c = EX__CHILD__INIT;
    struct error err = {0};
    if (name != NULL) {
        c.has_name = 1;
        c.name.data = (uint8_t *)(uintptr_t)name;
        c.name.len = strlen(name);
    }
    if (data != NULL) {
        c.has_data = 1;
        c.data.data = (uint8_t *)(uintptr_t)data;
        c.data.len = strlen(data);
    }
    c.has_end = c.end = end;
    c.has_drop = c.drop = drop;
    return m->take(m->data, &c, &err);
}

static struct unpacking *begin(struct place *p, const char *container, struct extract_members *m)
{
    struct error err = {0};
    struct unpacking *u = unpacking_new(&p->lane, p->home, str_from(container), &err);
    assert_non_null(u);
    unpacking_wire(u, m);
    return u;
}

static void settle(struct place *p, const struct extract_members *m)
{
    if (m->settle(m->data)) {
        assert_int_equal(uv_run(&p->loop, UV_RUN_DEFAULT), 0);
    }
}

static void assert_member(const struct unpacking *u, size_t i, const char *name,
                          const char *content, const char *format)
{
    size_t n = 0;
    const struct member *m = unpacking_members(u, &n);
    char bytes[256];
    uint8_t hash[SHA256_BYTES];
    assert_true(i < n);
    assert_string_equal(m[i].name.ptr, name);
    assert_int_equal(m[i].size, strlen(content));
    assert_int_equal(m[i].offset % 4096, 0);
    assert_int_equal(pread(spool_fd(unpacking_spool(u)), bytes, sizeof bytes - 1,
                           (off_t)m[i].offset) >= (ssize_t)m[i].size,
                     1);
    assert_memory_equal(bytes, content, m[i].size);
    sha256_of(content, strlen(content), hash);
    assert_memory_equal(hash, m[i].hash, sizeof hash);
    if (format == NULL) {
        assert_null(m[i].format);
    } else {
        assert_string_equal(m[i].format, format);
    }
}

static size_t count(const struct unpacking *u)
{
    size_t n = 0;
    (void)unpacking_members(u, &n);
    return n;
}

static void test_members(void **state)
{
    struct place *p = *state;
    struct extract_members m = {0};
    struct unpacking *u = begin(p, "notes.txt.gz", &m);
    assert_false(m.settle(m.data)); /* nothing has come */
    assert_int_equal(say(&m, "sub/a.txt", "The first", true, false), STATUS_OK);
    assert_int_equal(say(&m, "b.md", "In two ", false, false), STATUS_OK);
    settle(p, &m);
    assert_int_equal(say(&m, NULL, "pieces", true, false), STATUS_OK);
    assert_int_equal(say(&m, "bad", "half of it", false, true), STATUS_OK); /* dropped */
    assert_int_equal(say(&m, ".hidden/x", "not taken", true, false), STATUS_OK);
    assert_int_equal(say(&m, "empty.txt", NULL, true, false), STATUS_OK);
    assert_int_equal(say(&m, "sub//./a.txt", "Again", true, false), STATUS_OK);
    settle(p, &m);
    assert_int_equal(say(&m, "", "without a name", true, false), STATUS_OK);
    settle(p, &m);
    assert_int_equal(count(u), 4);
    assert_member(u, 0, "sub/a.txt", "The first", "txt");
    assert_member(u, 1, "b.md", "In two pieces", "md");
    assert_member(u, 2, "sub/a (2).txt", "Again", "txt");
    assert_member(u, 3, "notes.txt", "without a name", "txt");
    unpacking_free(u);
}

static void test_a_child_that_lies(void **state)
{
    struct place *p = *state;
    struct extract_members m = {0};
    struct unpacking *u = begin(p, "x.zip", &m);
    (void)say(&m, NULL, "data of nothing", true, false);
    (void)say(&m, NULL, NULL, true, true);
    settle(p, &m);
    assert_int_equal(count(u), 0);
    (void)say(&m, "a", "A", false, false);
    (void)say(&m, "b", "begun before the other has ended", true, false);
    settle(p, &m); /* nobody is told: there is no extraction. It ends here */
    assert_int_equal(count(u), 0);
    unpacking_free(u);
}

static void test_freed_while_it_is_written(void **state)
{
    struct place *p = *state;
    struct extract_members m = {0};
    struct unpacking *u = begin(p, "x.zip", &m);
    (void)say(&m, "a", "A", false, false);
    assert_true(m.settle(m.data));
    unpacking_free(u); /* the lane has it still */
    assert_int_equal(uv_run(&p->loop, UV_RUN_DEFAULT), 0);
}

static void test_nothing_is_left_behind(void **state)
{
    struct place *p = *state;
    struct extract_members m = {0};
    struct unpacking *u = begin(p, "x.zip", &m);
    char tmp[96];
    (void)say(&m, "a", "A", true, false);
    settle(p, &m);
    (void)snprintf(tmp, sizeof tmp, "%s/tmp", p->home);
    assert_int_equal(rmdir(tmp), 0); /* the file that is open has no name */
    unpacking_free(u);
}

static void test_held(void **state)
{
    struct place *p = *state;
    struct extract_members m = {0};
    struct held h;
    struct spooled s;
    struct error err = {0};
    struct stat before;
    struct stat after;
    size_t n = 0;
    char *large = malloc(100001);
    assert_non_null(large);
    memset(large, 'x', 100000);
    large[100000] = '\0';
    held_init(&h);
    struct unpacking *u = begin(p, "x.zip", &m);
    (void)say(&m, "a.txt", large, true, false);
    (void)say(&m, "b.txt", "B", true, false);
    settle(p, &m);
    const struct member *list = unpacking_members(u, &n);
    assert_int_equal(n, 2);
    for (size_t i = 0; i < n; i++) {
        s = (struct spooled){unpacking_spool(u), list[i].offset, list[i].size};
        assert_int_equal(held_put(&h, (int64_t)i + 7, &s, &err), STATUS_OK);
    }
    assert_int_equal(h.bytes, 25 * 4096 + 4096);
    unpacking_free(u);
    assert_true(held_get(&h, 7, &s));
    assert_int_equal(s.size, 100000);
    assert_false(held_get(&h, 9, &s));
    assert_true(held_get(&h, 8, &s));
    spool_hold(s.spool); /* as a job does while it copies */
    assert_int_equal(fstat(spool_fd(s.spool), &before), 0);
    held_drop(&h, 7);
    assert_int_equal(fstat(spool_fd(s.spool), &after), 0);
    if (after.st_blocks == before.st_blocks) {
        print_message("this file system keeps the place of what was dropped\n");
    }
    assert_int_equal(h.bytes, 4096);
    held_drop(&h, 7); /* is nothing */
    held_clear(&h);
    assert_int_equal(h.bytes, 0);
    char b = 0;
    assert_int_equal(pread(spool_fd(s.spool), &b, 1, (off_t)s.offset), 1); /* one's own share */
    spool_release(s.spool);
    held_deinit(&h);
    free(large);
}

/* ---- the real one ---- */

struct real {
    struct unpacking *u;
    bool ended;
    struct error err;
    size_t blocks;
};

static void on_done(const struct error *err, const struct extracted *out, void *data)
{
    struct real *r = data;
    r->ended = true;
    unpacking_bind(r->u, NULL);
    if (err != NULL) {
        r->err = *err;
    } else {
        r->blocks = out->n_blocks;
    }
}

static void add(struct archive *a, const char *name, const void *data, size_t len)
{
    struct archive_entry *e = archive_entry_new();
    archive_entry_set_pathname(e, name);
    archive_entry_set_filetype(e, AE_IFREG);
    archive_entry_set_perm(e, 0644);
    archive_entry_set_size(e, (la_int64_t)len);
    archive_entry_set_mtime(e, 1600000000, 0);
    assert_int_equal(archive_write_header(a, e), ARCHIVE_OK);
    assert_int_equal(archive_write_data(a, data, len), (la_ssize_t)len);
    archive_entry_free(e);
}

static void unpack_really(struct place *p, uint64_t members, uint64_t bytes, struct real *r)
{
    static char zip[4 << 20];
    static char large[3 << 20];
    struct settings settings = {0};
    struct extractor_pool *pool = NULL;
    struct arena arena;
    size_t used = 0;
    struct archive *a = archive_write_new();
    assert_int_equal(archive_write_set_format_zip(a), ARCHIVE_OK);
    assert_int_equal(archive_write_open_memory(a, zip, sizeof zip, &used), ARCHIVE_OK);
    for (size_t i = 0; i < sizeof large; i++) { /* larger than any pipe */
        large[i] = (char)('a' + i * i % 23);
    }
    add(a, "first.txt", "First", 5);
    add(a, "large.txt", large, sizeof large);
    add(a, "last.txt", "Last", 4);
    assert_int_equal(archive_write_close(a), ARCHIVE_OK);
    (void)archive_write_free(a);

    char path[96];
    (void)snprintf(path, sizeof path, "%s/x.zip", p->home);
    int fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    assert_true(fd >= 0);
    assert_int_equal(file_write_all(fd, zip, used, NULL), STATUS_OK);
    settings.extract.memory_mb = 512;
    settings.extract.cpu_s = 20;
    settings.extract.wall_s = 30;
    settings.extract.output_mb = 1;
    settings.extract.processes = 16;
    settings.extract.open_files = 64;
    settings.ingest.workers = 1;
    settings.ingest.max_file_bytes = 300LL << 20;
    arena_init(&arena, (size_t)64 << 20);
    struct extract_members m = {.members = members, .bytes = bytes};
    *r = (struct real){.u = begin(p, "x.zip", &m)};
    assert_int_equal(
        extractor_pool_new(&p->loop, &settings, CARREL_BIN_DIR "/carrel-extract", &pool, &r->err),
        STATUS_OK);
    struct extraction *x = extractor_unpack(pool, fd, "zip", &arena, &m, on_done, r, &r->err);
    assert_non_null(x);
    unpacking_bind(r->u, x);
    while (!r->ended) {
        (void)uv_run(&p->loop, UV_RUN_ONCE);
    }
    extractor_pool_close(pool, NULL, NULL);
    (void)uv_run(&p->loop, UV_RUN_DEFAULT);
    arena_reset(&arena);
}

static void test_a_real_archive(void **state)
{
    struct place *p = *state;
    struct real r;
    size_t n = 0;
    unpack_really(p, 10, 8 << 20, &r);
    assert_string_equal(r.err.text, "");
    assert_int_equal(r.blocks, 3); /* the names */
    const struct member *m = unpacking_members(r.u, &n);
    assert_int_equal(n, 3);
    assert_int_equal(m[1].size, 3 << 20);
    assert_int_equal(m[1].modified_ms, 1600000000000);
    assert_member(r.u, 2, "last.txt", "Last", "txt");
    assert_string_equal(unpacking_notes(r.u), "");
    unpacking_free(r.u);
}

static void test_over_a_limit(void **state)
{
    struct place *p = *state;
    struct real r;
    unpack_really(p, 10, 1 << 20, &r);
    assert_string_equal(r.err.text, "");
    assert_int_equal(count(r.u), 2);
    assert_non_null(strstr(unpacking_notes(r.u), "more than 1 MB"));
    unpacking_free(r.u);
    unpack_really(p, 1, 8 << 20, &r);
    assert_int_equal(count(r.u), 1);
    assert_non_null(strstr(unpacking_notes(r.u), "more than 1 are not"));
    unpacking_free(r.u);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_members, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_child_that_lies, setup, teardown),
        cmocka_unit_test_setup_teardown(test_freed_while_it_is_written, setup, teardown),
        cmocka_unit_test_setup_teardown(test_nothing_is_left_behind, setup, teardown),
        cmocka_unit_test_setup_teardown(test_held, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_real_archive, setup, teardown),
        cmocka_unit_test_setup_teardown(test_over_a_limit, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
