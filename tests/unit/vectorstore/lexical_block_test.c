#include "tests/unit/test.h"

#include "vectorstore/lexical_internal.h"

static uint64_t state = 42;

static uint32_t rnd(uint32_t n)
{
    state = state * 6364136223846793005U + 1442695040888963407U;
    return (uint32_t)(state >> 33) % n;
}

static size_t make(struct lexical_add *adds, size_t n, uint32_t gap)
{
    uint32_t chunk = rnd(1000);
    for (size_t i = 0; i < n; i++) {
        chunk += 1 + rnd(gap);
        uint32_t plain = rnd(300);
        adds[i] = (struct lexical_add){.chunk = chunk,
                                       .tf_text = rnd(10) == 0 ? rnd(100000) : rnd(20),
                                       .tf_title = rnd(10) == 0 ? rnd(1000) : rnd(3),
                                       .length = plain + rnd(200),
                                       .plain_length = plain};
    }
    return n;
}

static void expect(struct str block, const struct lexical_add *adds, size_t n)
{
    struct lexical_block b;
    struct lexical_cursor c;
    struct lexical_add add;
    struct error err;
    assert_int_equal(lexical_block_open(block, &b, &err), STATUS_OK);
    assert_int_equal(b.count, n);
    assert_int_equal(b.first, adds[0].chunk);
    assert_int_equal(b.last, adds[n - 1].chunk);
    lexical_cursor_init(&c, &b);
    for (size_t i = 0; i < n; i++) {
        assert_true(lexical_cursor_next(&c, &add));
        assert_int_equal(add.chunk, adds[i].chunk);
        assert_int_equal(add.tf_text, adds[i].tf_text);
        assert_int_equal(add.tf_title, adds[i].tf_title);
        assert_int_equal(add.length, adds[i].length);
        assert_int_equal(add.plain_length, adds[i].plain_length);
        uint64_t tf = add.tf_text + 4ULL * add.tf_title;
        assert_true(b.max_tf >= (tf > UINT16_MAX ? UINT16_MAX : tf));
    }
    assert_false(lexical_cursor_next(&c, &add));
    assert_false(c.bad);
}

static void test_round_trip(void **unused)
{
    (void)unused;
    static struct lexical_add adds[4000];
    for (int round = 0; round < 50; round++) {
        size_t n = make(adds, 1 + rnd(3999), round % 5 == 0 ? 100000 : 10), done = 0;
        struct buf b;
        buf_init(&b, LEXICAL_BLOCK_MAX);
        while (done < n) { /* grown a few at a time, as puts do, until full */
            size_t taken = 0, start = done;
            struct str block = {"", 0};
            struct error err;
            char copy[LEXICAL_BLOCK_MAX];
            do {
                size_t some = 1 + rnd(50);
                some = some < n - done ? some : n - done;
                assert_int_equal(lexical_block_append(block, adds + done, some, &b, &taken, &err),
                                 STATUS_OK);
                assert_true(b.len <= LEXICAL_BLOCK_MAX);
                done += taken;
                memcpy(copy, b.ptr, b.len);
                block = (struct str){copy, b.len};
                if (taken < some) {
                    break;
                }
            } while (done < n);
            assert_true(done > start);
            expect(block, adds + start, done - start);
        }
        buf_deinit(&b);
    }
}

static void test_order_is_kept(void **unused)
{
    (void)unused;
    struct lexical_add adds[] = {{.chunk = 7, .tf_text = 1}, {.chunk = 7, .tf_text = 1}};
    struct buf b;
    struct error err;
    size_t taken = 99;
    buf_init(&b, LEXICAL_BLOCK_MAX);
    assert_int_equal(lexical_block_append((struct str){"", 0}, adds, 2, &b, &taken, &err),
                     STATUS_INVALID);
    assert_int_equal(taken, 99);
    buf_deinit(&b);
}

static void test_lengths_are_clipped(void **unused)
{
    (void)unused;
    struct lexical_add add = {.chunk = 0, .tf_text = 1, .length = 1000000, .plain_length = 900000};
    struct buf b;
    struct error err;
    size_t taken;
    buf_init(&b, LEXICAL_BLOCK_MAX);
    assert_int_equal(lexical_block_append((struct str){"", 0}, &add, 1, &b, &taken, &err),
                     STATUS_OK);
    add.length = add.plain_length = UINT16_MAX;
    expect(buf_view(&b), &add, 1);
    buf_deinit(&b);
}

static bool is_gone(chunk_no n, void *data)
{
    uint32_t salt = *(uint32_t *)data;
    return salt == 1 || (n * 2654435761U ^ salt) % 3 == 0;
}

static void test_purge(void **unused)
{
    (void)unused;
    static struct lexical_add adds[800], kept[800];
    for (uint32_t salt = 0; salt < 60; salt++) {
        size_t n = make(adds, 1 + rnd(799), salt % 2 == 0 ? 5 : 1000000), taken, removed, k = 0;
        struct buf b, out;
        struct error err;
        buf_init(&b, LEXICAL_BLOCK_MAX);
        buf_init(&out, LEXICAL_BLOCK_MAX);
        assert_int_equal(lexical_block_append((struct str){"", 0}, adds, n, &b, &taken, &err),
                         STATUS_OK);
        for (size_t i = 0; i < taken; i++) {
            if (!is_gone(adds[i].chunk, &salt)) {
                kept[k++] = adds[i];
            }
        }
        assert_int_equal(lexical_block_purge(buf_view(&b), is_gone, &salt, &out, &removed, &err),
                         STATUS_OK);
        assert_int_equal(removed, taken - k);
        if (k == 0) {
            assert_int_equal(out.len, 0);
        } else {
            expect(buf_view(&out), kept, k);
        }
        buf_deinit(&b);
        buf_deinit(&out);
    }
}

static void test_damage_is_refused_or_harmless(void **unused)
{
    (void)unused;
    static struct lexical_add adds[300];
    struct buf b, out;
    struct error err;
    size_t taken, removed, refused = 0;
    uint32_t salt = 5;
    size_t n = make(adds, 300, 50);
    buf_init(&b, LEXICAL_BLOCK_MAX);
    buf_init(&out, LEXICAL_BLOCK_MAX);
    assert_int_equal(lexical_block_append((struct str){"", 0}, adds, n, &b, &taken, &err),
                     STATUS_OK);
    for (size_t cut = 0; cut < b.len;
         cut++) { /* cut short anywhere; an empty one is no block either */
        char *copy = malloc(cut + 1);
        assert_non_null(copy);
        memcpy(copy, b.ptr, cut);
        assert_int_equal(
            lexical_block_purge((struct str){copy, cut}, is_gone, &salt, &out, &removed, &err),
            STATUS_CORRUPT);
        free(copy);
    }
    for (int i = 0; i < 20000; i++) { /* a byte changed: refused, or read within bounds */
        char *copy = malloc(b.len);
        assert_non_null(copy);
        memcpy(copy, b.ptr, b.len);
        copy[rnd((uint32_t)b.len)] = (char)rnd(256);
        refused += lexical_block_purge((struct str){copy, b.len}, is_gone, &salt, &out, &removed,
                                       &err) == STATUS_CORRUPT;
        free(copy);
    }
    assert_true(refused > 5000);
    buf_deinit(&b);
    buf_deinit(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_round_trip),
        cmocka_unit_test(test_order_is_kept),
        cmocka_unit_test(test_lengths_are_clipped),
        cmocka_unit_test(test_purge),
        cmocka_unit_test(test_damage_is_refused_or_harmless),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
