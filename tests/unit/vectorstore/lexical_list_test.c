/* Posting lists: what is packed comes out again; what is damaged is refused or read within bounds.
 */
#include "tests/unit/test.h"

#include "vectorstore/lexical_internal.h"

#define BASE 1000U
#define CHUNKS 200000U

static uint64_t state = 42;
static struct lexical_length lengths[CHUNKS];

static uint32_t rnd(uint32_t n)
{
    state = state * 6364136223846793005U + 1442695040888963407U;
    return (uint32_t)(state >> 33) % n;
}

static uint32_t make(struct lexical_add *adds, uint32_t most, uint32_t gap)
{
    uint32_t chunk = BASE + rnd(100);
    uint32_t n = 0;
    for (; n < most && chunk < BASE + CHUNKS; n++) {
        adds[n] = (struct lexical_add){
            .chunk = chunk, .tf_text = rnd(10) == 0 ? rnd(60000) : rnd(20), .tf_title = rnd(8)};
        lengths[chunk - BASE] = (struct lexical_length){.length = (uint16_t)rnd(70000)};
        chunk += 1 + rnd(gap);
    }
    return n;
}

static struct lexical_list list_of(const struct buf *b, uint32_t n)
{
    return (struct lexical_list){
        .bytes = buf_view(b), .df = n, .base = BASE, .lengths = lengths, .n_lengths = CHUNKS};
}

static void expect(const struct lexical_list *list, const struct lexical_add *adds)
{
    struct lexical_reader r;
    struct lexical_postings p;
    struct error err;
    uint32_t at = 0;
    assert_int_equal(lexical_list_open(list, &r, &err), STATUS_OK);
    for (uint32_t b = 0; b < r.n_blocks; b++) {
        struct lexical_head h = lexical_list_head(&r, b);
        assert_int_equal(lexical_list_block(&r, b, &p, &err), STATUS_OK);
        for (uint32_t i = 0; i < p.n; i++, at++) {
            assert_int_equal(p.chunk[i] + BASE, adds[at].chunk);
            assert_int_equal(p.tf_text[i], adds[at].tf_text);
            assert_int_equal(p.tf_title[i], adds[at].tf_title);
            uint32_t tf = adds[at].tf_text + 4U * adds[at].tf_title;
            if (r.n_blocks > 1) { /* the head's classes bound it */
                size_t k = tf <= 1 ? 0 : tf == 2 ? 1 : tf <= 4 ? 2 : 3;
                assert_true(h.max_tf >= tf && h.last >= p.chunk[i]);
                assert_true(h.shortest[k] <= lengths[p.chunk[i]].length);
                assert_true(h.shortest[k] != LEXICAL_NO_LENGTH);
            }
        }
    }
    assert_int_equal(at, list->df);
}

static void test_round_trip(void **unused)
{
    (void)unused;
    static struct lexical_add adds[4000];
    static const uint32_t gaps[] = {1, 10, 100000, 3};
    for (uint32_t round = 0; round < 200; round++) {
        struct buf b;
        struct error err;
        uint32_t n = make(adds, 1 + rnd(round % 3 == 0 ? 3999 : 200), gaps[round % 4]);
        buf_init(&b, (size_t)1 << 20);
        buf_z(&b, "before");
        assert_int_equal(lexical_list_encode(adds, n, BASE, lengths, &b, &err), STATUS_OK);
        struct lexical_list list = list_of(&b, n);
        list.bytes.ptr += 6;
        list.bytes.len -= 6;
        expect(&list, adds);
        buf_deinit(&b);
    }
}

static void test_order_is_kept(void **unused)
{
    (void)unused;
    const struct lexical_add same[] = {{.chunk = BASE + 7, .tf_text = 1},
                                       {.chunk = BASE + 7, .tf_text = 1}};
    const struct lexical_add below[] = {{.chunk = BASE - 1, .tf_text = 1}};
    struct buf b;
    struct error err;
    buf_init(&b, 4096);
    assert_int_equal(lexical_list_encode(same, 2, BASE, lengths, &b, &err), STATUS_INVALID);
    assert_int_equal(lexical_list_encode(below, 1, BASE, lengths, &b, &err), STATUS_INVALID);
    buf_deinit(&b);
}

static void test_any(void **unused)
{
    (void)unused;
    static struct lexical_add adds[3000];
    static uint64_t bits[(BASE + CHUNKS) / 64 + 1];
    for (int round = 0; round < 100; round++) {
        struct buf b;
        struct error err;
        uint32_t n = make(adds, 1 + rnd(2999), 30);
        struct lexical_allowed allowed = {.bits = bits, .limit = BASE + rnd(CHUNKS)};
        bool any = false, expected = false;
        memset(bits, 0, sizeof bits);
        for (uint32_t i = rnd(20); i > 0; i--) {
            uint32_t c = BASE + rnd(CHUNKS);
            bits[c / 64] |= (uint64_t)1 << (c % 64);
        }
        for (uint32_t i = 0; i < n; i++) {
            expected = expected || lexical_allowed(&allowed, adds[i].chunk);
        }
        buf_init(&b, (size_t)1 << 20);
        assert_int_equal(lexical_list_encode(adds, n, BASE, lengths, &b, &err), STATUS_OK);
        struct lexical_list list = list_of(&b, n);
        assert_int_equal(lexical_list_any(&list, &allowed, &any, &err), STATUS_OK);
        assert_int_equal(any, expected);
        buf_deinit(&b);
    }
}

static bool read_all(const struct lexical_list *list)
{
    struct lexical_reader r;
    struct lexical_postings p;
    struct error err;
    if (lexical_list_open(list, &r, &err) != STATUS_OK) {
        return false;
    }
    for (uint32_t b = 0; b < r.n_blocks; b++) {
        if (lexical_list_block(&r, b, &p, &err) != STATUS_OK) {
            return false;
        }
        for (uint32_t i = 0; i < p.n; i++) {
            assert_true(p.chunk[i] < list->n_lengths && (i == 0 || p.chunk[i] > p.chunk[i - 1]));
        }
    }
    return true;
}

static void test_damage_is_refused_or_harmless(void **unused)
{
    (void)unused;
    static struct lexical_add adds[300];
    struct buf b;
    struct error err;
    uint32_t n = make(adds, 300, 50);
    buf_init(&b, (size_t)1 << 20);
    assert_int_equal(lexical_list_encode(adds, n, BASE, lengths, &b, &err), STATUS_OK);
    for (size_t i = 0; i < 20000; i++) { /* cut short anywhere, or a byte changed */
        size_t len = i < b.len ? i : b.len;
        char *copy = malloc(len + 1);
        assert_non_null(copy);
        memcpy(copy, b.ptr, len);
        if (i >= b.len) {
            copy[rnd((uint32_t)len)] = (char)rnd(256);
        }
        struct lexical_list list = list_of(&b, n);
        list.bytes = (struct str){copy, len};
        bool whole = read_all(&list);
        assert_false(whole && len < b.len && i < b.len);
        free(copy);
    }
    buf_deinit(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_round_trip),
        cmocka_unit_test(test_order_is_kept),
        cmocka_unit_test(test_any),
        cmocka_unit_test(test_damage_is_refused_or_harmless),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
