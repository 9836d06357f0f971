/* Small vocabularies made here, whose cuttings can be told by hand. The published vectors of
 * fifteen real ones are compared by `bench-tokenizer` (docs/benchmarks.md). */
#include "model/tokenizer.h"

#include "tests/fixture/gguf_writer.h"
#include "tests/unit/test.h"

#define SPACE "\xE2\x96\x81"
#define TOKENS_MAX_HERE 600

struct vocabulary {
    struct gguf_writer w;
    struct str pieces[TOKENS_MAX_HERE];
    char store[TOKENS_MAX_HERE][24];
    float scores[TOKENS_MAX_HERE];
    int32_t types[TOKENS_MAX_HERE];
    uint32_t n;
    struct buf file;
    struct gguf *g;
    struct tokenizer *t;
};

static struct vocabulary *begin(const char *model)
{
    struct vocabulary *v = calloc(1, sizeof *v);
    assert_non_null(v);
    gguf_writer_init(&v->w);
    buf_init(&v->file, 1 << 24);
    gguf_write_string(&v->w, "tokenizer.ggml.model", str_from(model));
    return v;
}

static uint32_t add(struct vocabulary *v, const char *piece, float score, int32_t type)
{
    (void)snprintf(v->store[v->n], sizeof v->store[0], "%s", piece);
    v->pieces[v->n] = str_from(v->store[v->n]);
    v->scores[v->n] = score;
    v->types[v->n] = type;
    return v->n++;
}

static void end(struct vocabulary *v)
{
    struct error err = {0};
    gguf_write_strings(&v->w, "tokenizer.ggml.tokens", v->pieces, v->n);
    gguf_write_array(&v->w, "tokenizer.ggml.scores", GGUF_F32, v->scores, v->n, sizeof(float));
    gguf_write_array(&v->w, "tokenizer.ggml.token_type", GGUF_I32, v->types, v->n, sizeof(int32_t));
    gguf_writer_finish(&v->w, &v->file);
    if (gguf_read(v->file.ptr, v->file.len, "vocabulary", &v->g, &err) != STATUS_OK ||
        tokenizer_new(v->g, &v->t, &err) != STATUS_OK) {
        fail_msg("%s", err.text);
    }
}

static void drop(struct vocabulary *v)
{
    tokenizer_free(v->t);
    gguf_close(v->g);
    gguf_writer_deinit(&v->w);
    buf_deinit(&v->file);
    free(v);
}

/* The pieces of the text's tokens, joined by '|'. */
static void cut(const struct vocabulary *v, struct str text, unsigned flags, char out[512])
{
    struct token_list ids;
    struct error err;
    size_t at = 0;
    token_list_init(&ids, 1000);
    assert_int_equal(tokenizer_encode(v->t, text, flags, &ids, &err), STATUS_OK);
    out[0] = '\0';
    for (size_t i = 0; i < ids.n; i++) {
        at += (size_t)snprintf(out + at, 512 - at, "%s%s", i == 0 ? "" : "|", v->store[ids.ids[i]]);
    }
    token_list_deinit(&ids);
}

#define CUTS(v, text, flags, expected)                                                             \
    do {                                                                                           \
        char got[512];                                                                             \
        cut(v, STR(text), flags, got);                                                             \
        assert_string_equal(got, expected);                                                        \
    } while (0)

static void comes_back(const struct vocabulary *v, struct str text)
{
    struct token_list ids;
    struct buf back;
    struct error err;
    token_list_init(&ids, 100000);
    buf_init(&back, 1 << 20);
    assert_int_equal(tokenizer_encode(v->t, text, 0, &ids, &err), STATUS_OK);
    tokenizer_decode(v->t, ids.ids, ids.n, 0, &back);
    if (!str_eq(buf_view(&back), text)) {
        fail_msg("\"%.*s\" came back as \"%.*s\"", STR_ARG(text), STR_ARG(buf_view(&back)));
    }
    token_list_deinit(&ids);
    buf_deinit(&back);
}

/* All 256 bytes as characters of GPT-2's table, in order of the byte. */
static void add_byte_characters(struct vocabulary *v)
{
    unsigned extra = 0x100;
    for (unsigned b = 0; b < 256; b++) {
        bool printable = (b >= 0x21 && b <= 0x7E) || (b >= 0xA1 && b <= 0xAC) || b >= 0xAE;
        unsigned p = printable ? b : extra++;
        char c[3] = {(char)p, '\0', '\0'};
        if (p >= 0x80) {
            c[0] = (char)(0xC0U | p >> 6);
            c[1] = (char)(0x80U | (p & 0x3FU));
        }
        assert_int_equal(add(v, c, 0, 1), b);
    }
}

static struct vocabulary *byte_level(void)
{
    static const char *const merges[] = {"h e",          "l l",        "he ll",
                                         "hell o",       "\xC4\xA0 w", "o r",
                                         "\xC4\xA0w or", "l d",        "\xC4\xA0wor ld"};
    struct str rules[COUNT_OF(merges)];
    struct vocabulary *v = begin("gpt2");
    gguf_write_string(&v->w, "tokenizer.ggml.pre", STR("gpt-2"));
    add_byte_characters(v);
    for (size_t i = 0; i < COUNT_OF(merges); i++) {
        char joined[24];
        size_t n = 0;
        for (const char *p = merges[i]; *p != '\0'; p++) {
            if (*p != ' ') {
                joined[n++] = *p;
            }
        }
        joined[n] = '\0';
        (void)add(v, joined, 0, 1);
        rules[i] = str_from(merges[i]);
    }
    (void)add(v, "<|im_end|>", 0, 3);
    (void)add(v, "<tool>", 0, 4);
    (void)add(v, "</s>", 0, 4);
    gguf_write_strings(&v->w, "tokenizer.ggml.merges", rules, COUNT_OF(merges));
    end(v);
    return v;
}

static void byte_level_bpe(void **state)
{
    (void)state;
    struct vocabulary *v = byte_level();
    CUTS(v, "hello world", 0, "hello|\xC4\xA0world");
    CUTS(v, "hellhello", 0, "hell|hello");
    CUTS(v, "wo", 0, "w|o"); /* a space makes the word another */
    CUTS(v, "a<|im_end|>", 0, "a|<|||i|m|_|e|n|d|||>");
    CUTS(v, "a<|im_end|>b", TOKENIZER_SPECIALS, "a|<|im_end|>|b");
    CUTS(v, "a<tool>b", 0, "a|<tool>|b"); /* user-defined: always */
    CUTS(v, "a</s>", 0, "a|<|/|s|>");     /* but never an end, whatever the file calls it */
    CUTS(v, "a</s>", TOKENIZER_SPECIALS, "a|</s>");
    CUTS(v, "", TOKENIZER_AFFIX, "");
    assert_true(tokenizer_is_end(v->t, tokenizer_find(v->t, STR("<|im_end|>"))));
    assert_false(tokenizer_is_end(v->t, tokenizer_find(v->t, STR("<tool>"))));
    comes_back(
        v, STR("hello  world\n\n\tna\xC3\xAFve \xE6\x97\xA5\xE6\x9C\xAC \xF0\x9F\x9A\x80 12345"));
    comes_back(v, (struct str){"a\0b", 3});
    CUTS(v, "a\xFF", 0, "a|\xC3\xAF|\xC2\xBF|\xC2\xBD"); /* no UTF-8: U+FFFD, by its bytes */
    drop(v);
}

/* Every way to cut a stream of tokens: what is held back is never more than a character's
 * beginning. */
static void streams_end_on_characters(void **state)
{
    (void)state;
    struct vocabulary *v = byte_level();
    struct token_list ids;
    struct error err;
    struct buf sent;
    struct buf held;
    struct str text = STR("a\xC3\xA9\xE2\x82\xAC\xF0\x9F\x98\x80z");
    token_list_init(&ids, 100);
    buf_init(&sent, 100);
    buf_init(&held, 100);
    assert_int_equal(tokenizer_encode(v->t, text, 0, &ids, &err), STATUS_OK);
    for (size_t i = 0; i < ids.n; i++) {
        tokenizer_piece(v->t, ids.ids[i], i == 0, 0, &held);
        size_t ready = held.len - tokenizer_incomplete(buf_view(&held));
        buf_append(&sent, held.ptr, ready);
        buf_consume(&held, ready);
        assert_int_equal(tokenizer_incomplete(buf_view(&sent)), 0);
        assert_true(held.len <= 3);
    }
    assert_true(str_eq(buf_view(&sent), text));
    token_list_deinit(&ids);
    buf_deinit(&sent);
    buf_deinit(&held);
    drop(v);
}

static void sentencepiece_bpe(void **state)
{
    (void)state;
    struct vocabulary *v = begin("llama");
    (void)add(v, "<unk>", 0, 2);
    (void)add(v, "<s>", 0, 3);
    (void)add(v, "</s>", 0, 3);
    for (unsigned b = 0; b < 256; b++) {
        char name[8];
        (void)snprintf(name, sizeof name, "<0x%02X>", b);
        (void)add(v, name, 0, 6);
    }
    static const char *const pieces[] = {SPACE, "a", "b", "ab", SPACE "a", SPACE "ab", "ba"};
    static const float scores[] = {-10, -11, -12, -2, -3, -1, -4};
    for (size_t i = 0; i < COUNT_OF(pieces); i++) {
        (void)add(v, pieces[i], scores[i], 1);
    }
    end(v);
    /* "ab" (-2) joins before " a" (-3), then with the space */
    CUTS(v, "ab", 0, SPACE "ab");
    CUTS(v, "aba", 0, SPACE "ab|a");
    CUTS(v, "ab", TOKENIZER_AFFIX, "<s>|" SPACE "ab");
    CUTS(v, "a\xC3\xA9", 0, SPACE "a|<0xC3>|<0xA9>");
    CUTS(v, "\xFF", 0, SPACE "|<0xFF>");
    CUTS(v, "a</s>b", TOKENIZER_SPECIALS, SPACE "a|</s>|" SPACE "|b");
    comes_back(v, STR("ab ab  \xE2\x82\xAC x"));
    drop(v);
}

static void wordpiece(void **state)
{
    (void)state;
    struct vocabulary *v = begin("bert");
    static const char *const pieces[] = {
        "[PAD]", "[UNK]", "[CLS]",      "[SEP]",   SPACE "un",           "able",
        "a",     "ff",    SPACE "cafe", SPACE "!", SPACE "\xE6\x97\xA5", SPACE "\xE6\x9C\xAC"};
    for (size_t i = 0; i < COUNT_OF(pieces); i++) {
        (void)add(v, pieces[i], 0, i < 4 ? 3 : 1);
    }
    gguf_write_u32(&v->w, "tokenizer.ggml.bos_token_id", 2);
    gguf_write_u32(&v->w, "tokenizer.ggml.seperator_token_id", 3);
    gguf_write_u32(&v->w, "tokenizer.ggml.unknown_token_id", 1);
    end(v);
    CUTS(v, "unaffable", 0, SPACE "un|a|ff|able");
    CUTS(v, "UNaffable!", TOKENIZER_AFFIX, "[CLS]|" SPACE "un|a|ff|able|" SPACE "!|[SEP]");
    CUTS(v, "Caf\xC3\xA9", 0, SPACE "cafe");   /* lower case, no accents */
    CUTS(v, "unx un", 0, "[UNK]|" SPACE "un"); /* a word that does not come out even */
    CUTS(v, "\xE6\x97\xA5\xE6\x9C\xAC", 0, SPACE "\xE6\x97\xA5|" SPACE "\xE6\x9C\xAC");
    CUTS(v, " \t\n", 0, "");
    CUTS(v,
         "un\xFF"
         "able",
         0, SPACE "un|able");
    drop(v);
}

static void unigram(void **state)
{
    (void)state;
    struct vocabulary *v = begin("t5");
    (void)add(v, "<pad>", 0, 3);
    (void)add(v, "</s>", 0, 3);
    (void)add(v, "<unk>", 0, 2);
    static const char *const pieces[] = {SPACE, "a", "b", "ab", SPACE "a", "bab", "abab"};
    static const float scores[] = {-2, -3, -3, -4, -4, -5, -9.5F};
    for (size_t i = 0; i < COUNT_OF(pieces); i++) {
        (void)add(v, pieces[i], scores[i], 1);
    }
    gguf_write_bool(&v->w, "tokenizer.ggml.add_space_prefix", true);
    end(v);
    /* " a" + "bab" = -9 beats " " + "abab" = -11.5 and " a" + "b" + "ab" = -11 */
    CUTS(v, "abab", 0, SPACE "a|bab");
    CUTS(v, "ab", TOKENIZER_AFFIX, SPACE "|ab|</s>");
    CUTS(v, "axyb", 0, SPACE "a|<unk>|b"); /* unknown characters side by side are one token */
    CUTS(v, "", 0, "");
    drop(v);
}

static void damage_is_named(void **state)
{
    (void)state;
    static const struct {
        const char *model, *pre, *says;
        enum status status;
    } cases[] = {
        {"rwkv", "default", "kind \"rwkv\"", STATUS_UNSUPPORTED},
        {"gpt2", "martian", "\"martian\" is not known", STATUS_UNSUPPORTED},
        {"gpt2", "gpt-2", "no merge rules", STATUS_INVALID},
        {"llama", "", "types or scores", STATUS_INVALID},
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct error err = {0};
        struct tokenizer *t = NULL;
        struct vocabulary *v = begin(cases[i].model);
        gguf_write_string(&v->w, "tokenizer.ggml.pre", str_from(cases[i].pre));
        (void)add(v, "a", 0, 1);
        gguf_write_strings(&v->w, "tokenizer.ggml.tokens", v->pieces, 1);
        gguf_write_array(&v->w, "tokenizer.ggml.scores", GGUF_F32, v->scores, i == 3 ? 2 : 1,
                         sizeof(float));
        gguf_writer_finish(&v->w, &v->file);
        assert_int_equal(gguf_read(v->file.ptr, v->file.len, "v", &v->g, &err), STATUS_OK);
        assert_int_equal(tokenizer_new(v->g, &t, &err), cases[i].status);
        if (strstr(err.text, cases[i].says) == NULL) {
            fail_msg("%s", err.text);
        }
        drop(v);
    }
}

static void limits_hold(void **state)
{
    (void)state;
    struct vocabulary *v = byte_level();
    struct token_list ids;
    struct error err;
    token_list_init(&ids, 3);
    assert_int_equal(tokenizer_encode(v->t, STR("wxyz"), 0, &ids, &err), STATUS_TOO_LARGE);
    assert_non_null(strstr(err.text, "3 tokens"));
    token_list_deinit(&ids);
    drop(v);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(byte_level_bpe),    cmocka_unit_test(streams_end_on_characters),
        cmocka_unit_test(sentencepiece_bpe), cmocka_unit_test(wordpiece),
        cmocka_unit_test(unigram),           cmocka_unit_test(damage_is_named),
        cmocka_unit_test(limits_hold),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
