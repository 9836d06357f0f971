/* Parts of the full-text index: what a batch added is found in its image, in its file, encrypted or
 * not, and after merges, without what was dropped. */
#include "tests/unit/test.h"

#include <unistd.h>

#include "base/text/text.h"
#include "vectorstore/text_build.h"

#define CHUNKS 700U

static uint64_t state = 3;

static uint32_t rnd(uint32_t n)
{
    state = state * 6364136223846793005U + 1442695040888963407U;
    return (uint32_t)(state >> 33) % n;
}

/* Chunk c has term t with this tf; 0: not. Frequent terms, rare ones, one in each chunk. */
static uint32_t tf(uint32_t c, uint32_t t)
{
    uint32_t h = (c * 2654435761U) ^ (t * 40503U);
    h = (h ^ h >> 15) * 2246822519U;
    h ^= h >> 13;
    return h % (t % 40 + 1) == 0 ? 1 + h / 64 % 20 : 0;
}

#define TERMS 400U

static struct str name(uint32_t t, char out[32])
{
    int n = snprintf(out, 32, "%s%u", t % 3 == 0 ? "prefix" : t % 3 == 1 ? "w" : "\303\244", t);
    return (struct str){out, (size_t)n};
}

static struct text_part *part(chunk_no first, uint32_t n)
{
    struct text_batch *b = NULL;
    struct text_part *p = NULL;
    struct error err;
    assert_int_equal(text_batch_new(first, n, &b, &err), STATUS_OK);
    for (uint32_t c = first; c < first + n; c++) {
        struct lexical_posting postings[TERMS];
        char names[TERMS][32];
        uint32_t buckets[4] = {c % 7, 100 + c % 3, 5000, LEXICAL_GRAM_BUCKETS - 1};
        struct lexical_entry e = {
            .postings = postings, .gram_buckets = buckets, .n_gram_buckets = 4};
        for (uint32_t t = 0; t < TERMS; t++) {
            if (tf(c, t) > 0) {
                postings[e.n_postings++] = (struct lexical_posting){
                    .term = name(t, names[t]), .tf_text = tf(c, t), .tf_title = c % 2};
            }
        }
        e.length = 10 + c % 50;
        e.plain_length = c % 50;
        e.gram_length = 100 + c;
        assert_int_equal(text_batch_add(b, c, &e, &err), STATUS_OK);
    }
    assert_int_equal(text_batch_part(b, 7, &p, &err), STATUS_OK);
    text_batch_free(b);
    return p;
}

static void check_list(struct text_part *p, uint32_t t, const struct lexical_allowed *there)
{
    struct text_pins pins = {0};
    struct lexical_list list;
    struct lexical_reader r;
    struct lexical_postings block;
    struct error err;
    char room[32];
    const struct text_about *a = text_part_about(p);
    chunk_no c = a->first;
    assert_int_equal(text_part_list(p, name(t, room), &pins, &list, &err), STATUS_OK);
    uint32_t seen = 0;
    if (list.df > 0) {
        assert_int_equal(lexical_list_open(&list, &r, &err), STATUS_OK);
        for (uint32_t b = 0; b < r.n_blocks; b++) {
            assert_int_equal(lexical_list_block(&r, b, &block, &err), STATUS_OK);
            for (uint32_t i = 0; i < block.n; i++, c++, seen++) {
                while (tf(c, t) == 0 || !lexical_allowed(there, c)) {
                    c++;
                }
                assert_int_equal(block.chunk[i] + list.base, c);
                assert_int_equal(block.tf_text[i], tf(c, t));
                assert_int_equal(block.tf_title[i], c % 2);
            }
        }
    }
    assert_int_equal(seen, list.df);
    for (; c <= a->last; c++) {
        assert_false(tf(c, t) > 0 && lexical_allowed(there, c));
    }
    text_pins_drop(&pins);
}

static void check_part(struct text_part *p, const struct lexical_allowed *there)
{
    struct text_pins pins = {0};
    struct lexical_list list;
    struct error err;
    const struct text_about *a = text_part_about(p);
    uint32_t chunks = 0;
    uint64_t length = 0;
    for (uint32_t t = 0; t < TERMS; t++) {
        check_list(p, t, there);
    }
    static const char *const absent[] = {"", "a", "prefix", "prefix12x", "zzz", "\377", "w4000"};
    for (size_t i = 0; i < COUNT_OF(absent); i++) {
        assert_int_equal(text_part_list(p, str_from(absent[i]), &pins, &list, &err), STATUS_OK);
        assert_int_equal(list.df, 0);
    }
    for (chunk_no c = a->first; c <= a->last; c++) {
        const struct lexical_length *l = &text_part_lengths(p)[c - a->first];
        bool is = lexical_allowed(there, c);
        assert_int_equal(l->length, is ? 10 + c % 50 : 0);
        assert_int_equal(l->grams, is ? 100 + c : 0);
        chunks += is;
        length += is ? 10 + c % 50 : 0;
    }
    assert_int_equal(a->chunks, chunks);
    assert_int_equal(a->length_total, length);
    /* in order, each once */
    struct text_terms terms = {.part = p};
    struct str term;
    char last[32] = "";
    uint64_t n = 0;
    bool more = true;
    for (;;) {
        assert_int_equal(text_terms_next(&terms, &term, &pins, &list, &more, &err), STATUS_OK);
        if (!more) {
            break;
        }
        char now[32];
        (void)snprintf(now, sizeof now, "%.*s", STR_ARG(term));
        assert_true(strcmp(last, now) < 0);
        memcpy(last, now, sizeof last);
        n++;
    }
    assert_int_equal(n, a->terms);
    text_terms_end(&terms);
    text_pins_drop(&pins);
    assert_int_equal(text_part_check(p, NULL, &err), STATUS_OK);
}

static uint64_t everything[CHUNKS / 64 + 20];
static const struct lexical_allowed all = {.bits = everything, .limit = CHUNKS + 1000};

static uint64_t grams_of(struct text_part *p, uint32_t bucket)
{
    struct error err;
    _Atomic uint32_t *counts = calloc(LEXICAL_GRAM_BUCKETS, sizeof *counts);
    assert_non_null(counts);
    assert_int_equal(text_part_grams(p, 1, counts, &err), STATUS_OK);
    uint64_t n = counts[bucket];
    assert_int_equal(text_part_grams(p, -1, counts, &err), STATUS_OK);
    assert_int_equal(counts[bucket], 0);
    free(counts);
    return n;
}

static void test_image(void **unused)
{
    (void)unused;
    static const uint32_t sizes[] = {1, 2, 31, 300};
    for (size_t i = 0; i < COUNT_OF(sizes); i++) {
        struct text_part *p = part(5, sizes[i]);
        check_part(p, &all);
        assert_int_equal(grams_of(p, LEXICAL_GRAM_BUCKETS - 1), sizes[i]);
        struct str bytes = text_part_bytes(p); /* as it is read back from a row */
        struct error err;
        struct text_part *again = NULL;
        char *copy = malloc(bytes.len);
        assert_non_null(copy);
        memcpy(copy, bytes.ptr, bytes.len);
        assert_int_equal(text_part_image(copy, bytes.len, &again, &err), STATUS_OK);
        check_part(again, &all);
        text_part_drop(again);
        for (int k = 0; k < 200; k++) { /* damaged or cut short: refused */
            size_t len = k < 100 ? bytes.len : rnd((uint32_t)bytes.len);
            copy = malloc(len + 1);
            assert_non_null(copy);
            memcpy(copy, bytes.ptr, len);
            if (k < 100) {
                copy[rnd((uint32_t)len)] ^= 4;
            }
            assert_int_equal(text_part_image(copy, len, &again, &err), STATUS_CORRUPT);
        }
        text_part_drop(p);
    }
}

static void test_merge(void **unused)
{
    (void)unused;
    static const struct segment_key key = {.bytes = {5}};
    static uint64_t bits[CHUNKS / 64 + 20];
    struct lexical_allowed there = {.bits = bits, .limit = CHUNKS + 1000};
    struct segment_cache *cache = NULL;
    struct error err;
    char dir[64], path[128];
    test_folder(dir);
    (void)snprintf(path, sizeof path, "%s/part", dir);
    assert_int_equal(segment_cache_new((size_t)1 << 20, &cache, &err), STATUS_OK);
    struct text_part *parts[5];
    chunk_no at = 1;
    for (size_t i = 0; i < 5; i++) {
        static const uint32_t sizes[] = {1, 50, 200, 3, 400};
        parts[i] = part(at, sizes[i]);
        at += sizes[i];
    }
    for (int round = 0; round < 3; round++) { /* nothing is dropped, some is, all is */
        for (size_t i = 0; i < COUNT_OF(bits); i++) {
            bits[i] = round == 0 ? UINT64_MAX : round == 1 ? (uint64_t)rnd(UINT32_MAX) << 20 : 0;
        }
        struct text_pace pace = {.there = &there};
        struct text_part *image = NULL, *file = NULL, *locked = NULL, *again = NULL;
        assert_int_equal(text_merge_image(parts, 5, &pace, &image, &err), STATUS_OK);
        check_part(image, &there);
        assert_int_equal(text_merge_file(parts, 5, &pace, path, NULL, &err), STATUS_OK);
        assert_int_equal(text_part_open(path, NULL, NULL, &file, &err), STATUS_OK);
        check_part(file, &there);
        assert_int_equal(text_merge_image(&file, 1, &pace, &again, &err), STATUS_OK);
        check_part(again, &there);
        assert_int_equal(text_merge_file(parts, 5, &pace, path, &key, &err), STATUS_OK);
        assert_int_equal(text_part_open(path, &key, cache, &locked, &err), STATUS_OK);
        check_part(locked, &there);
        const struct text_about *a = text_part_about(image);
        assert_int_equal(a->chunks + a->dropped, 654);
        assert_int_equal(grams_of(image, 5000), a->chunks);
        text_part_drop(image);
        text_part_drop(file);
        text_part_drop(locked);
        text_part_drop(again);
    }
    struct text_pace none = {.there = NULL};
    struct text_part *kept = NULL;
    assert_int_equal(text_merge_image(parts, 5, &none, &kept, &err), STATUS_OK);
    check_part(kept, &all);
    text_part_drop(kept);
    for (size_t i = 0; i < 5; i++) {
        text_part_drop(parts[i]);
    }
    segment_cache_free(cache);
    test_folder_remove(dir);
}

static int fill(void **unused)
{
    (void)unused;
    memset(everything, 0xff, sizeof everything);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_image),
        cmocka_unit_test(test_merge),
    };
    return cmocka_run_group_tests(tests, fill, NULL);
}
