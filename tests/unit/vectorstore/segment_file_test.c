/* The container of segments: what goes in comes out, mapped and encrypted; whatever is damaged is
 * said so. */
#include "tests/unit/test.h"

#include <fcntl.h>
#include <pthread.h>
#include <sys/stat.h>
#include <unistd.h>

#include "vectorstore/segment_file.h"

#define BIG ((size_t)300 * 1000)

static const struct segment_key key = {.bytes = {1, 2, 3, 4}};
static const struct segment_key other = {.bytes = {9}};

struct fixture {
    char dir[64], path[128];
    struct error err;
    unsigned char *big;
};

static void setup(struct fixture *f)
{
    test_folder(f->dir);
    (void)snprintf(f->path, sizeof f->path, "%s/segment", f->dir);
    f->big = malloc(BIG);
    assert_non_null(f->big);
    for (size_t i = 0; i < BIG; i++) {
        f->big[i] = (unsigned char)(i * 31 + i / 251);
    }
}

static void teardown(struct fixture *f)
{
    free(f->big);
    test_folder_remove(f->dir);
}

static void write_file(struct fixture *f, const struct segment_key *k)
{
    struct segment_writer *w = NULL;
    assert_int_equal(segment_writer_begin(f->path, "test", 3, k, &w, &f->err), STATUS_OK);
    assert_int_equal(segment_writer_section(w, "small", &f->err), STATUS_OK);
    assert_int_equal(segment_writer_add(w, "hello", 5, &f->err), STATUS_OK);
    assert_int_equal(segment_writer_section(w, "empty", &f->err), STATUS_OK);
    assert_int_equal(segment_writer_section(w, "big", &f->err), STATUS_OK);
    for (size_t at = 0; at < BIG; at += 777) {
        size_t n = BIG - at < 777 ? BIG - at : 777;
        assert_int_equal(segment_writer_at(w), at);
        assert_int_equal(segment_writer_add(w, f->big + at, n, &f->err), STATUS_OK);
    }
    assert_int_equal(segment_writer_finish(w, &f->err), STATUS_OK);
    segment_writer_end(w);
}

static void read_range(struct fixture *f, struct segment_file *file, uint64_t at, size_t len)
{
    struct segment_section s;
    struct segment_view v;
    assert_int_equal(segment_file_section(file, "big", &s, &f->err), STATUS_OK);
    assert_int_equal(s.size, BIG);
    assert_int_equal(segment_file_view(file, &s, at, len, &v, &f->err), STATUS_OK);
    assert_int_equal(v.len, len);
    assert_memory_equal(v.ptr, f->big + at, len);
    assert_int_equal((uintptr_t)v.ptr % SEGMENT_ALIGN,
                     len == 0 ? (uintptr_t)v.ptr % SEGMENT_ALIGN : at % SEGMENT_ALIGN);
    segment_view_drop(&v);
    segment_view_drop(&v);
}

/* The same by copy: through the map, and once the file is kept, by reads. */
static void copy_ranges(struct fixture *f, struct segment_file *file)
{
    static unsigned char out[BIG];
    struct segment_section s;
    assert_int_equal(segment_file_section(file, "big", &s, &f->err), STATUS_OK);
    for (size_t i = 0; i < 40; i++) {
        size_t at = i * 7919 % BIG;
        size_t len = i * 104729 % (BIG - at);
        assert_int_equal(segment_file_read(file, &s, at, len, out, &f->err), STATUS_OK);
        assert_memory_equal(out, f->big + at, len);
    }
    assert_int_equal(segment_file_read(file, &s, BIG - 1, 2, out, &f->err), STATUS_CORRUPT);
}

static void check_reading(struct fixture *f, const struct segment_key *k, struct segment_cache *c)
{
    struct segment_file *file = NULL;
    struct segment_section s;
    struct segment_view v;
    assert_int_equal(segment_file_open(f->path, "test", 3, k, c, &file, &f->err), STATUS_OK);
    assert_int_equal(segment_file_section(file, "small", &s, &f->err), STATUS_OK);
    assert_int_equal(segment_file_view(file, &s, 0, 5, &v, &f->err), STATUS_OK);
    assert_memory_equal(v.ptr, "hello", 5);
    segment_view_drop(&v);
    assert_int_equal(segment_file_view(file, &s, 1, 5, &v, &f->err), STATUS_CORRUPT);
    assert_int_equal(segment_file_view(file, &s, 6, 0, &v, &f->err), STATUS_CORRUPT);
    assert_int_equal(segment_file_section(file, "nothing", &s, &f->err), STATUS_CORRUPT);
    assert_int_equal(segment_file_section(file, "empty", &s, &f->err), STATUS_OK);
    assert_int_equal(s.size, 0);
    if (c == NULL) { /* kept from the start: blocks are checked by reads first */
        struct segment_file *kept = NULL;
        assert_int_equal(segment_file_open(f->path, "test", 3, k, c, &kept, &f->err), STATUS_OK);
        assert_int_equal(segment_file_keep(kept, &f->err), STATUS_OK);
        copy_ranges(f, kept);
        segment_file_close(kept);
    }
    copy_ranges(f, file);
    read_range(f, file, 0, BIG);
    read_range(f, file, BIG, 0);
    read_range(f, file, BIG - 1, 1);
    for (size_t i = 0; i < 300; i++) {
        size_t at = i * 7919 % BIG;
        size_t len = i * 104729 % (BIG - at);
        read_range(f, file, at, len);
    }
    assert_int_equal(segment_file_check(file, NULL, &f->err), STATUS_OK);
    segment_file_close(file);
}

static void test_round_trip(void **unused)
{
    (void)unused;
    struct fixture f;
    struct segment_cache *c = NULL;
    struct segment_file *file = NULL;
    setup(&f);
    write_file(&f, NULL);
    check_reading(&f, NULL, NULL);
    assert_int_equal(segment_file_open(f.path, "test", 4, NULL, NULL, &file, &f.err),
                     STATUS_CORRUPT);
    assert_int_equal(segment_file_open(f.path, "toast", 3, NULL, NULL, &file, &f.err),
                     STATUS_CORRUPT);
    assert_int_equal(segment_cache_new(1, &c, &f.err), STATUS_OK);
    check_reading(&f, &key, c); /* of before there was a key */
    write_file(&f, &key);
    check_reading(&f, &key, c);
    assert_int_equal(segment_file_open(f.path, "test", 3, &other, c, &file, &f.err),
                     STATUS_CORRUPT);
    assert_int_equal(segment_file_open(f.path, "test", 3, NULL, NULL, &file, &f.err),
                     STATUS_CORRUPT);
    segment_cache_free(c);
    assert_int_equal(unlink(f.path), 0);
    assert_int_equal(segment_file_open(f.path, "test", 3, NULL, NULL, &file, &f.err),
                     STATUS_NOT_FOUND);
    teardown(&f);
}

static bool holds(const char *path, const char *what)
{
    static char content[BIG * 2];
    int fd = open(path, O_RDONLY);
    ssize_t n = read(fd, content, sizeof content);
    (void)close(fd);
    assert_true(n > 0);
    return memmem(content, (size_t)n, what, strlen(what)) != NULL;
}

static void test_encrypted_hides(void **unused)
{
    (void)unused;
    struct fixture f;
    setup(&f);
    write_file(&f, NULL);
    assert_true(holds(f.path, "hello"));
    write_file(&f, &key);
    assert_false(holds(f.path, "hello"));
    teardown(&f);
}

/* Every read of a damaged file says so, or gives the bytes that were written. */
static void read_damaged(struct fixture *f, const struct segment_key *k, struct segment_cache *c,
                         bool *noticed)
{
    struct segment_file *file = NULL;
    *noticed = true;
    enum status s = segment_file_open(f->path, "test", 3, k, c, &file, &f->err);
    if (s != STATUS_OK) {
        assert_int_equal(s, STATUS_CORRUPT);
        return;
    }
    struct segment_section section;
    assert_int_equal(segment_file_section(file, "big", &section, &f->err), STATUS_OK);
    assert_int_equal(segment_file_keep(file, &f->err), STATUS_OK);
    for (size_t at = 0; at < BIG; at += 10000) {
        static unsigned char copy[10000];
        struct segment_view v;
        if (segment_file_read(file, &section, at, sizeof copy, copy, &f->err) == STATUS_OK) {
            assert_memory_equal(copy, f->big + at, sizeof copy);
        }
        s = segment_file_view(file, &section, at, 10000, &v, &f->err);
        if (s == STATUS_OK) {
            assert_memory_equal(v.ptr, f->big + at, 10000);
            segment_view_drop(&v);
        } else {
            assert_int_equal(s, STATUS_CORRUPT);
        }
    }
    *noticed = segment_file_check(file, NULL, &f->err) == STATUS_CORRUPT;
    segment_file_close(file);
}

static void flip(const char *path, off_t at)
{
    unsigned char b;
    int fd = open(path, O_RDWR);
    assert_int_equal(pread(fd, &b, 1, at), 1);
    b ^= 0x10;
    assert_int_equal(pwrite(fd, &b, 1, at), 1);
    (void)close(fd);
}

static void damage(struct fixture *f, const struct segment_key *k, struct segment_cache *c)
{
    struct stat st;
    bool noticed;
    write_file(f, k);
    assert_int_equal(stat(f->path, &st), 0);
    for (off_t at = 0; at < st.st_size; at += at < 1024 ? 13 : at < 4096 ? 1024 : 9973) {
        flip(f->path, at);
        read_damaged(f, k, c, &noticed);
        assert_true(noticed || (at >= 912 && at < 4096)); /* the header's unused rest */
        flip(f->path, at);
    }
    read_damaged(f, k, c, &noticed);
    assert_false(noticed);
    for (off_t size = st.st_size - 1; size > 0; size = size * 2 / 3) {
        assert_int_equal(truncate(f->path, size), 0);
        read_damaged(f, k, c, &noticed);
        assert_true(noticed);
    }
}

static void test_damage(void **unused)
{
    (void)unused;
    struct fixture f;
    struct segment_cache *c = NULL;
    setup(&f);
    damage(&f, NULL, NULL);
    assert_int_equal(segment_cache_new((size_t)1 << 20, &c, &f.err), STATUS_OK);
    damage(&f, &key, c);
    segment_cache_free(c);
    teardown(&f);
}

static void test_given_up(void **unused)
{
    (void)unused;
    struct fixture f;
    struct segment_writer *w = NULL;
    char beside[160];
    setup(&f);
    assert_int_equal(segment_writer_begin(f.path, "test", 3, NULL, &w, &f.err), STATUS_OK);
    assert_int_equal(segment_writer_add(w, "x", 1, &f.err), STATUS_INTERNAL);
    assert_int_equal(segment_writer_section(w, "late", &f.err), STATUS_INTERNAL);
    assert_int_equal(segment_writer_finish(w, &f.err), STATUS_INTERNAL);
    segment_writer_end(w);
    (void)snprintf(beside, sizeof beside, "%s.new", f.path);
    assert_int_not_equal(access(f.path, F_OK), 0);
    assert_int_not_equal(access(beside, F_OK), 0);
    teardown(&f);
}

struct reading {
    struct fixture *f;
    struct segment_file *file;
    unsigned seed;
};

static void *read_much(void *data)
{
    struct reading *r = data;
    struct segment_section s;
    struct error err;
    if (segment_file_section(r->file, "big", &s, &err) != STATUS_OK) {
        return data;
    }
    for (unsigned i = 0; i < 400; i++) {
        struct segment_view v;
        r->seed = r->seed * 1664525U + 1013904223U;
        size_t at = r->seed % (BIG - 1000);
        if (segment_file_view(r->file, &s, at, 1000, &v, &err) != STATUS_OK ||
            memcmp(v.ptr, r->f->big + at, 1000) != 0) {
            return data;
        }
        segment_view_drop(&v);
    }
    return NULL;
}

static void test_threads(void **unused)
{
    (void)unused;
    struct fixture f;
    struct segment_cache *c = NULL;
    struct segment_file *file = NULL;
    pthread_t threads[4];
    struct reading r[4];
    setup(&f);
    write_file(&f, &key);
    assert_int_equal(segment_cache_new(1, &c, &f.err), STATUS_OK);
    assert_int_equal(segment_file_open(f.path, "test", 3, &key, c, &file, &f.err), STATUS_OK);
    for (unsigned i = 0; i < 4; i++) {
        r[i] = (struct reading){&f, file, i};
        assert_int_equal(pthread_create(&threads[i], NULL, read_much, &r[i]), 0);
    }
    for (unsigned i = 0; i < 4; i++) {
        void *bad = NULL;
        assert_int_equal(pthread_join(threads[i], &bad), 0);
        assert_null(bad);
    }
    segment_file_close(file);
    segment_cache_free(c);
    teardown(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_round_trip), cmocka_unit_test(test_encrypted_hides),
        cmocka_unit_test(test_damage),     cmocka_unit_test(test_given_up),
        cmocka_unit_test(test_threads),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
