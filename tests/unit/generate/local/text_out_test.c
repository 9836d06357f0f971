#include "generate/local/text_out.h"

#include "tests/fixture/model_writer.h"
#include "tests/unit/test.h"

struct vocabulary {
    struct buf file;
    struct gguf *g;
    struct tokenizer *t;
};

/* The fixture's: token 3 + b is the byte b, 300 is "w300", 2 ends a text. last: what 399 is
 * written; NULL: as the others. */
static void open_vocabulary_with(struct vocabulary *v, const char *last)
{
    struct model_writer w = {.architecture = "llama",
                             .type = TENSOR_F32,
                             .layers = 1,
                             .width = 32,
                             .feed_forward = 32,
                             .heads = 2,
                             .kv_heads = 1,
                             .vocabulary = 400,
                             .context = 64,
                             .mark = last};
    struct error err;
    buf_init(&v->file, 1 << 24);
    model_write(&w, &v->file);
    assert_int_equal(gguf_read(v->file.ptr, v->file.len, "fixture", &v->g, &err), STATUS_OK);
    assert_int_equal(tokenizer_new(v->g, &v->t, &err), STATUS_OK);
}

static void open_vocabulary(struct vocabulary *v)
{
    open_vocabulary_with(v, NULL);
}

static void close_vocabulary(struct vocabulary *v)
{
    tokenizer_free(v->t);
    gguf_close(v->g);
    buf_deinit(&v->file);
}

/* Bytes go in one token each; whatever came out after each is whole characters. */
static void say(const struct vocabulary *v, const char *bytes, const struct str *stops, size_t n,
                const char *expected)
{
    struct text_out t;
    struct buf out;
    struct error err;
    buf_init(&out, 4096);
    assert_int_equal(text_out_init(&t, v->t, stops, n, &err), STATUS_OK);
    for (size_t i = 0; bytes[i] != '\0'; i++) {
        bool stopped = text_out_add(&t, 3U + (unsigned char)bytes[i], &out);
        assert_int_equal(tokenizer_incomplete(buf_view(&out)), 0);
        if (stopped) {
            break;
        }
    }
    text_out_end(&t, &out);
    buf_char(&out, '\0');
    assert_string_equal(out.ptr, expected);
    text_out_deinit(&t);
    buf_deinit(&out);
}

static void characters_stay_whole(void **state)
{
    (void)state;
    struct vocabulary v;
    open_vocabulary(&v);
    say(&v, "na\xC3\xAFve \xF0\x9F\xA6\x85 \xE4\xB8\xAD", NULL, 0, "naïve 🦅 中");
    close_vocabulary(&v);
}

static void what_is_no_utf8_is_marked(void **state)
{
    (void)state;
    struct vocabulary v;
    open_vocabulary(&v);
    say(&v,
        "a\xFF"
        "b",
        NULL, 0,
        "a\xEF\xBF\xBD"
        "b");
    say(&v,
        "a\xC3"
        "b",
        NULL, 0,
        "a\xEF\xBF\xBD"
        "b");
    say(&v, "\xED\xA0\x80", NULL, 0, "\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBD"); /* a surrogate */
    say(&v, "\xC0\xAF", NULL, 0, "\xEF\xBF\xBD\xEF\xBF\xBD");                 /* over-long */
    say(&v, "end\xE4\xB8", NULL, 0, "end\xEF\xBF\xBD\xEF\xBF\xBD");
    close_vocabulary(&v);
}

static void stop_strings_end_it(void **state)
{
    (void)state;
    struct vocabulary v;
    struct str stops[] = {STR("\n\n"), STR("中")};
    open_vocabulary(&v);
    say(&v, "one\ntwo\n\nthree", stops, 2, "one\ntwo");
    say(&v, "one\xE4\xB8\xAD two", stops, 2, "one");
    say(&v, "one\n", stops, 2, "one\n");
    close_vocabulary(&v);
}

/* A hostile vocabulary: the answer fails instead of going on without its text. */
static void a_token_of_many_pages_is_an_error(void **state)
{
    (void)state;
    static char piece[70001];
    struct vocabulary v;
    struct text_out t;
    struct buf out;
    struct error err;
    memset(piece, 'x', sizeof piece - 1);
    open_vocabulary_with(&v, piece);
    buf_init(&out, 1 << 20);
    assert_int_equal(text_out_init(&t, v.t, NULL, 0, &err), STATUS_OK);
    assert_false(text_out_add(&t, 3U + 'a', &out));
    assert_true(text_out_add(&t, 399, &out));
    assert_int_equal(buf_status(&out), STATUS_TOO_LARGE);
    text_out_deinit(&t);
    buf_deinit(&out);
    close_vocabulary(&v);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(characters_stay_whole),
        cmocka_unit_test(what_is_no_utf8_is_marked),
        cmocka_unit_test(stop_strings_end_it),
        cmocka_unit_test(a_token_of_many_pages_is_an_error),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
