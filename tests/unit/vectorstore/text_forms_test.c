/* The vocabulary of a part: what is one edit away is found, in an image and in a file, encrypted or
 * not, with trigrams and without; merges keep forms and forget those whose chunks are dropped. */
#include "tests/unit/test.h"

#include "vectorstore/lexical_edits.h"
#include "vectorstore/text_build.h"
#include "vectorstore/text_forms.h"

#define FORMS 12000U
#define CHUNKS 600U

static char spelled[FORMS][16];
static uint64_t state = 11;

static uint32_t rnd(uint32_t n)
{
    state = state * 6364136223846793005U + 1442695040888963407U;
    return (uint32_t)(state >> 33) % n;
}

static void invent(void)
{
    static const char *const parts[] = {"ter", "min", "ga", "le", "vor", "est", "u", "pli",
                                        "con", "dra", "ni", "so", "hal", "im",  "b", "\303\274"};
    for (uint32_t i = 0; i < FORMS; i++) {
        (void)snprintf(spelled[i], sizeof spelled[i], "%s%s%s%s", parts[i % 16], parts[i / 16 % 16],
                       parts[i / 256 % 16], parts[i / 4096 % 16]);
    }
}

/* Form i is in chunks i % CHUNKS and i * 7 % CHUNKS; its stem is its first four bytes. */
static struct lexical_form form(uint32_t i)
{
    struct str f = str_from(spelled[i]);
    return (struct lexical_form){.form = f, .stem = {f.ptr, f.len < 4 ? f.len : 4}};
}

static struct text_part *part(chunk_no first, chunk_no past, uint32_t n_forms)
{
    struct text_batch *b = NULL;
    struct text_part *p = NULL;
    struct error err;
    struct lexical_form *forms = calloc(n_forms + 1, sizeof *forms);
    assert_non_null(forms);
    assert_int_equal(text_batch_new(first, past - first, &b, &err), STATUS_OK);
    for (chunk_no c = first; c < past; c++) {
        struct lexical_posting posting = {.term = STR("word"), .tf_text = 1};
        struct lexical_entry e = {.postings = &posting,
                                  .n_postings = 1,
                                  .length = 1,
                                  .plain_length = 1,
                                  .gram_length = 1,
                                  .forms = forms};
        for (uint32_t i = 0; i < n_forms; i++) {
            if (i % CHUNKS == c || (uint64_t)i * 7 % CHUNKS == c) {
                forms[e.n_forms++] = form(i);
            }
        }
        assert_int_equal(text_batch_add(b, c, &e, &err), STATUS_OK);
    }
    assert_int_equal(text_batch_part(b, 7, &p, &err), STATUS_OK);
    text_batch_free(b);
    free(forms);
    return p;
}

struct finding {
    struct str want;
    uint32_t i; /* the form wanted */
    const struct lexical_allowed *there;
    uint32_t n;
    bool found;
};

static bool on_form(const struct lexical_form *f, const chunk_no *chunks, uint32_t n, void *data)
{
    struct finding *s = data;
    s->n++;
    assert_true(n >= 1 && n <= TEXT_FORM_CHUNKS);
    for (uint32_t k = 0; k < n; k++) {
        assert_true(s->there == NULL || lexical_allowed(s->there, chunks[k]));
        assert_true(k == 0 || chunks[k] > chunks[k - 1]);
    }
    if (str_eq(f->form, s->want)) {
        s->found = true;
        assert_int_equal(f->stem.len, s->want.len < 4 ? s->want.len : 4);
        assert_memory_equal(f->stem.ptr, s->want.ptr, f->stem.len);
        for (uint32_t k = 0; k < n; k++) {
            assert_true(s->i % CHUNKS == chunks[k] || (uint64_t)s->i * 7 % CHUNKS == chunks[k]);
        }
    }
    return true;
}

static bool kept(uint32_t i, const struct lexical_allowed *there)
{
    return there == NULL || lexical_allowed(there, i % CHUNKS) ||
           lexical_allowed(there, (uint64_t)i * 7 % CHUNKS);
}

/* One letter less, in any place, the first too: each finds the form. */
static void check(struct text_part *p, uint32_t n_forms, const struct lexical_allowed *there)
{
    struct error err;
    for (uint32_t round = 0; round < 300; round++) {
        char word[32];
        uint32_t i = rnd(n_forms);
        size_t len = strlen(spelled[i]);
        size_t at = rnd((uint32_t)len);
        if (strstr(spelled[i], "\303\274") != NULL || len < 6) {
            continue;
        }
        memcpy(word, spelled[i], at);
        memcpy(word + at, spelled[i] + at + 1, len - at);
        struct finding s = {.want = str_from(spelled[i]), .i = i, .there = there};
        assert_int_equal(text_forms_similar(p, str_from(word), 1, on_form, &s, &err), STATUS_OK);
        assert_int_equal(s.found, kept(i, there));
        assert_true(s.n < n_forms / 4);
    }
    struct finding nothing = {.want = STR("")};
    assert_int_equal(text_forms_similar(p, STR("xxxxyyyyzzzz"), 2, on_form, &nothing, &err),
                     STATUS_OK);
    assert_int_equal(nothing.n, 0);
    assert_int_equal(text_forms_similar(p, STR(""), 2, on_form, &nothing, &err), STATUS_OK);
    /* all in order, each once */
    struct text_forms_walk walk = {.part = p};
    char last[32] = "";
    bool more = true;
    uint32_t n = 0;
    for (;;) {
        char now[32];
        assert_int_equal(text_forms_next(&walk, &more, &err), STATUS_OK);
        if (!more) {
            break;
        }
        (void)snprintf(now, sizeof now, "%.*s", STR_ARG(walk.form.form));
        assert_true(strcmp(last, now) < 0);
        memcpy(last, now, sizeof last);
        n++;
    }
    text_forms_end(&walk);
    assert_true(n > 0 && n <= n_forms);
}

static void test_found(void **unused)
{
    (void)unused;
    struct text_part *few = part(0, CHUNKS, 900);
    struct text_part *many = part(0, CHUNKS, FORMS);
    check(few, 900, NULL);
    check(many, FORMS, NULL);
    text_part_drop(few);
    text_part_drop(many);
}

static void test_merged(void **unused)
{
    (void)unused;
    static const struct segment_key key = {.bytes = {9}};
    static uint64_t bits[CHUNKS / 64 + 1];
    const struct lexical_allowed there = {.bits = bits, .limit = CHUNKS};
    struct segment_cache *cache = NULL;
    struct text_part *parts[3] = {part(0, 100, FORMS), part(100, 350, FORMS),
                                  part(350, CHUNKS, FORMS)};
    struct error err;
    char dir[64], path[128];
    test_folder(dir);
    (void)snprintf(path, sizeof path, "%s/part", dir);
    assert_int_equal(segment_cache_new((size_t)1 << 20, &cache, &err), STATUS_OK);
    for (size_t i = 0; i < COUNT_OF(bits); i++) {
        bits[i] = 0x5555333300ff0f0fU;
    }
    for (int round = 0; round < 2; round++) {
        const struct lexical_allowed *left = round == 0 ? NULL : &there;
        struct text_pace pace = {.there = left};
        struct text_part *image = NULL, *file = NULL, *locked = NULL;
        assert_int_equal(text_merge_image(parts, 3, &pace, &image, &err), STATUS_OK);
        check(image, FORMS, left);
        assert_int_equal(text_merge_file(parts, 3, &pace, path, NULL, &err), STATUS_OK);
        assert_int_equal(text_part_open(path, NULL, NULL, &file, &err), STATUS_OK);
        check(file, FORMS, left);
        assert_int_equal(text_merge_file(parts, 3, &pace, path, &key, &err), STATUS_OK);
        assert_int_equal(text_part_open(path, &key, cache, &locked, &err), STATUS_OK);
        check(locked, FORMS, left);
        text_part_drop(image);
        text_part_drop(file);
        text_part_drop(locked);
    }
    for (size_t i = 0; i < 3; i++) {
        text_part_drop(parts[i]);
    }
    segment_cache_free(cache);
    test_folder_remove(dir);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_found),
        cmocka_unit_test(test_merged),
    };
    invent();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
