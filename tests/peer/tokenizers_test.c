/* Token ids beside llama.cpp's on the real vocabularies that node-llama-cpp's package carries
 * (tests/peer/install puts them there): the published vectors' texts, tests/peer/sample.txt (some
 * thirty languages, code, emoji, spaces), this tree's own documents and sources, mixtures of all
 * that, and bytes that are no UTF-8. Skipped, with the reason, where the package is not installed.
 */
#include <glob.h>
#include <unistd.h>
#include <utf8proc.h>

#include "base/file.h"

#include "model/tokenizer.h"
#include "tests/peer/engine.h"
#include "tests/unit/test.h"

#define SKIPPED 77
#define VOCABULARIES CARREL_PEER_MODULES "/.vocabularies"
#define SEPARATOR "\n__ggml_vocab_test__\n"
#define MIXTURES 1000U
#define SHOWN 5U

static struct engine *engine;

/* All texts, one behind the other. */
struct texts {
    struct buf bytes;
    size_t ends[8192];
    size_t n;
};

static void add(struct texts *t, const char *bytes, size_t len)
{
    if (len > 0 && t->n < COUNT_OF(t->ends)) {
        buf_append(&t->bytes, bytes, len);
        t->ends[t->n++] = t->bytes.len;
    }
}

static struct str text_at(const struct texts *t, size_t i)
{
    size_t from = i == 0 ? 0 : t->ends[i - 1];
    return (struct str){t->bytes.ptr + from, t->ends[i] - from};
}

static void add_parts(struct texts *t, const char *path, const char *separator)
{
    struct buf file;
    struct error err;
    buf_init(&file, (size_t)16 << 20);
    assert_int_equal(file_read(path, &file, &err), STATUS_OK);
    const char *at = file.ptr;
    const char *end = file.ptr + file.len;
    while (at < end) {
        const char *stop = memmem(at, (size_t)(end - at), separator, strlen(separator));
        size_t len = (size_t)((stop == NULL ? end : stop) - at);
        add(t, at, len);
        at += len + strlen(separator);
    }
    buf_deinit(&file);
}

static uint32_t next(uint64_t *seed)
{
    *seed = *seed * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (uint32_t)(*seed >> 33);
}

/* Pieces of the texts so far, cut between characters, or anywhere and with bytes changed. */
static void add_mixtures(struct texts *t, bool broken)
{
    uint64_t seed = broken ? 2 : 1;
    size_t known = t->n;
    for (uint32_t i = 0; i < MIXTURES; i++) {
        char mixture[512];
        size_t len = 0;
        uint32_t pieces = 1 + next(&seed) % 6;
        for (uint32_t k = 0; k < pieces; k++) {
            struct str s = text_at(t, next(&seed) % known);
            size_t from = next(&seed) % s.len;
            size_t n = 1 + next(&seed) % 60;
            while (!broken && from > 0 && ((unsigned char)s.ptr[from] & 0xC0) == 0x80) {
                from--;
            }
            n = n > s.len - from ? s.len - from : n;
            while (!broken && from + n < s.len && ((unsigned char)s.ptr[from + n] & 0xC0) == 0x80) {
                n++;
            }
            memcpy(mixture + len, s.ptr + from, n);
            len += n;
        }
        for (uint32_t k = 0; broken && k < 2; k++) {
            mixture[next(&seed) % len] = (char)next(&seed);
        }
        add(t, mixture, len);
    }
}

static void gather(struct texts *t)
{
    static const char *const own[] = {"docs/architecture.md", "docs/contributing.md", "base/utf8.c",
                                      "serve/web/src/main.ts"};
    char path[512];
    buf_init(&t->bytes, (size_t)16 << 20);
    add_parts(t, CARREL_SOURCE_DIR "/tests/peer/sample.txt", "\n");
    add_parts(t, VOCABULARIES "/ggml-vocab-llama-bpe.gguf.inp", SEPARATOR);
    add_mixtures(t, false);
    add_mixtures(t, true);
    /* behind the mixtures, which shall not change with them */
    for (size_t i = 0; i < COUNT_OF(own); i++) {
        (void)snprintf(path, sizeof path, "%s/%s", CARREL_SOURCE_DIR, own[i]);
        if (access(path, R_OK) == 0) {
            add_parts(t, path, "\n\n");
        }
    }
    assert_int_equal(buf_status(&t->bytes), STATUS_OK);
}

static bool same_ids(const struct tokenizer *ours, const struct engine_run *theirs, struct str text,
                     bool affix)
{
    struct token_list ids;
    struct error err;
    int32_t *wanted = calloc(3 * text.len + 16, sizeof *wanted);
    assert_non_null(wanted);
    token_list_init(&ids, 3 * text.len + 16);
    assert_int_equal(tokenizer_encode(ours, text, affix ? TOKENIZER_AFFIX : 0, &ids, &err),
                     STATUS_OK);
    int64_t n = engine_tokenize(theirs, text.ptr, text.len, affix, wanted);
    bool same = n == (int64_t)ids.n;
    for (size_t i = 0; same && i < ids.n; i++) {
        same = ids.ids[i] == (uint32_t)wanted[i];
    }
    token_list_deinit(&ids);
    free(wanted);
    return same;
}

/* The peer takes longer forms than a character needs, surrogates and numbers beyond Unicode for
 * characters; ours are U+FFFD, as the standard has it. */
static bool unlawful(struct str s)
{
    for (size_t i = 0; i < s.len; i++) {
        unsigned a = (unsigned char)s.ptr[i];
        unsigned b = i + 1 < s.len ? (unsigned char)s.ptr[i + 1] : 0;
        bool follows = (b & 0xC0) == 0x80;
        if ((follows &&
             (a == 0xC0 || a == 0xC1 || (a == 0xE0 && b < 0xA0) || (a == 0xED && b >= 0xA0) ||
              (a == 0xF0 && b < 0x90) || (a == 0xF4 && b >= 0x90))) ||
            a > 0xF4) {
            return true;
        }
    }
    return false;
}

/* BERT's own normaliser takes characters apart wholly and leaves out non-spacing marks alone; the
 * peer takes one step and leaves out every mark. Hangul, vowel signs of India, twice accented
 * letters; and ours leaves out what Unicode has not assigned. */
static bool normalised_otherwise(struct str s)
{
    for (size_t i = 0; i < s.len;) {
        utf8proc_int32_t point = 0;
        utf8proc_int32_t parts[8];
        int last = 0;
        utf8proc_ssize_t n = utf8proc_iterate((const utf8proc_uint8_t *)s.ptr + i,
                                              (utf8proc_ssize_t)(s.len - i), &point);
        if (n > 0) {
            utf8proc_category_t k = utf8proc_category(point);
            if (k == UTF8PROC_CATEGORY_MC || k == UTF8PROC_CATEGORY_ME ||
                k == UTF8PROC_CATEGORY_CN || (point >= 0xAC00 && point <= 0xD7A3) ||
                utf8proc_decompose_char(point, parts, 8, UTF8PROC_DECOMPOSE, &last) > 2) {
                return true;
            }
        }
        i += n > 0 ? (size_t)n : 1;
    }
    return false;
}

static void compare(const char *path, const struct texts *t)
{
    static const struct engine_options vocabulary_only = {.sequences = 1, .threads = 1};
    struct gguf *g = NULL;
    struct tokenizer *ours = NULL;
    struct error err = {0};
    const char *name = strrchr(path, '/') + 1;
    size_t differ = 0;
    size_t compared = 0;
    assert_int_equal(gguf_open(path, &g, &err), STATUS_OK);
    enum status s = tokenizer_new(g, &ours, &err);
    struct engine_run *theirs = engine_run_open(engine, path, &vocabulary_only);
    if (s != STATUS_OK || theirs == NULL) {
        fail_msg("%s: %s", name, s == STATUS_OK ? "the peer does not read it" : err.text);
    } else {
        for (size_t i = 0; i < t->n; i++) {
            struct str text = text_at(t, i);
            if (unlawful(text) ||
                (tokenizer_kind(ours) == TOKENIZER_WORDPIECE && normalised_otherwise(text))) {
                continue;
            }
            bool same = same_ids(ours, theirs, text, i % 8 == 0);
            compared++;
            if (!same && differ++ < SHOWN) {
                print_message("%s: text %zu differs: %.*s\n", name, i,
                              (int)(text.len > 200 ? 200 : text.len), text.ptr);
            }
        }
    }
    print_message("%s: %s: %zu of %zu texts differ\n", name,
                  s == STATUS_OK ? tokenizer_name(ours) : err.text, differ, compared);
    assert_int_equal(differ, 0);
    assert_true(compared > t->n / 2);
    engine_run_close(theirs);
    tokenizer_free(ours);
    gguf_close(g);
}

static void ids_agree(void **state)
{
    (void)state;
    static struct texts texts;
    glob_t found = {0};
    gather(&texts);
    assert_int_equal(glob(VOCABULARIES "/*.gguf", 0, NULL, &found), 0);
    for (size_t i = 0; i < found.gl_pathc; i++) {
        compare(found.gl_pathv[i], &texts);
    }
    globfree(&found);
    buf_deinit(&texts.bytes);
}

int main(void)
{
    char reason[256] = "";
    if (!engine_open(CARREL_PEER_MODULES, &engine, reason)) {
        (void)printf("SKIPPED: the comparison with llama.cpp does not run: %s\n", reason);
        return SKIPPED;
    }
    const struct CMUnitTest tests[] = {cmocka_unit_test(ids_agree)};
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    engine_close(engine);
    return failed;
}
