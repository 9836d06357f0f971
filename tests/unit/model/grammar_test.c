#include "model/grammar.h"

#include "tests/unit/test.h"

static struct grammar *parse(const char *text)
{
    struct grammar *g = NULL;
    struct error err;
    if (grammar_parse(str_from(text), &g, &err) != STATUS_OK) {
        fail_msg("%s: %s", text, err.text);
    }
    return g;
}

static bool matches(const char *grammar, const char *text)
{
    struct grammar *g = parse(grammar);
    struct error err;
    bool yes = false;
    assert_int_equal(grammar_matches(g, str_from(text), &yes, &err), STATUS_OK);
    grammar_free(g);
    return yes;
}

static void texts_of_a_grammar(void **state)
{
    static const struct {
        const char *grammar;
        const char *yes[6], *no[6];
    } cases[] = {
        {"root ::= \"yes\" | \"no\"", {"yes", "no"}, {"", "y", "yesno", "maybe"}},
        {"root ::= \"\"", {""}, {"a"}},
        {"root ::= [a-c]+ \"!\"?", {"a", "abc!", "ccc"}, {"", "!", "ad", "a!!"}},
        {"root ::= \"a\"{2,3} b{0,1}\nb ::= \"b\"", {"aa", "aaa", "aaab"}, {"a", "aaaa", "aabb"}},
        {"root ::= \"a\"{2} \"b\"{1,}", {"aab", "aabbbb"}, {"aa", "ab", "aaab"}},
        {"root ::= (\"x\" | \"y\" \"z\")* # a comment\n", {"", "x", "yzx", "xxyz"}, {"y", "xy"}},
        {"root ::= [^a-y\\n]",
         {"z", "A", "\xC3\xA9", "\xF0\x9F\x98\x80"},
         {"a", "\n", "\xC3", "zz"}},
        {"root ::= [\\u00e4-\\u00fc]+", {"\xC3\xA4", "\xC3\xBC\xC3\xB6"}, {"a", "\xC3\xBD"}},
        {"root ::= [\\u0700-\\U0001F600]",
         {"\xDC\x80", "\xE0\xA0\x80", "\xF0\x9F\x98\x80"},
         {"\xDB\xBF", "\xF0\x9F\x98\x81", "\xED\xA0\x80"}},
        {"root ::= .", {"a", "\"", "\xC3\xA9"}, {"\n", "", "ab"}},
        {"root ::= \"\\\"\\\\\\x41\\t\\u20AC\"", {"\"\\A\t\xE2\x82\xAC"}, {"\"\\A\t"}},
        {"root ::= list\nlist ::= \"(\" list* \")\"", {"()", "(()())", "((()))"}, {"", "(", "())"}},
        {"root ::=\n  \"a\"\n  | \"b\"\n  other\nother ::= \"c\"", {"a", "bc"}, {"b", "ac"}},
        {"root ::= ((\"a\"?)*)* \"b\"", {"b", "aab"}, {"a", ""}},
        {"root ::= e\ne ::= t (\"+\" t)*\nt ::= [0-9]+ | \"(\" e \")\"",
         {"1", "1+2", "(1+(22))+3"},
         {"1+", "()", "1)"}},
    };
    (void)state;
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        for (size_t k = 0; k < 6 && cases[i].yes[k] != NULL; k++) {
            if (!matches(cases[i].grammar, cases[i].yes[k])) {
                fail_msg("%s does not take \"%s\"", cases[i].grammar, cases[i].yes[k]);
            }
        }
        for (size_t k = 0; k < 6 && cases[i].no[k] != NULL; k++) {
            if (matches(cases[i].grammar, cases[i].no[k])) {
                fail_msg("%s takes \"%s\"", cases[i].grammar, cases[i].no[k]);
            }
        }
    }
}

static void mistakes_are_named(void **state)
{
    static const struct {
        const char *grammar, *says;
    } cases[] = {
        {"", "no rule named root"},
        {"a ::= \"x\"", "no rule named root"},
        {"root ::= other", "line 1 of the grammar: rule other is used and not defined"},
        {"root ::= \"x", "has no end"},
        {"root ::= [a", "no ]"},
        {"root ::= (\"a\"", "no )"},
        {"root ::= \"a\")", "without its ("},
        {"root ::= \"a\"\nroot ::= \"b\"", "line 2 of the grammar: rule root is there twice"},
        {"root = \"a\"", "expected ::="},
        {"root ::= \"\\q\"", "unknown escape"},
        {"root ::= \"\\x4\"", "two hexadecimal digits"},
        {"root ::= \"\\UFFFFFFFF\"", "no such character"},
        {"root ::= [z-a]", "backwards"},
        {"root ::= \"a\"{3,2}", "{n,m}"},
        {"root ::= \"a\"{,2", "{n,m}"},
        {"root ::= \"a\"{99999}", "more than 4096"},
        {"root ::= [\\x80-\\xFF", "no ]"},
        {"root ::= \"\xFF\"", "not UTF-8"},
        {"root ::= %", "expected a rule's name"},
        {"root ::= root \"a\" | \"b\"", "begins with itself"},
        {"root ::= a\na ::= b? c\nb ::= \"x\"\nc ::= a \"y\"", "begins with itself"},
        {"root ::= [^\\x00-\\U0010FFFF]", "no character is in"},
        {"root ::= \"a\" | b\nb ::= \"x\" b",
         "line 1 of the grammar: rule b has no text that ends"},
    };
    (void)state;
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct grammar *g = NULL;
        struct error err;
        if (grammar_parse(str_from(cases[i].grammar), &g, &err) == STATUS_OK) {
            fail_msg("taken: %s", cases[i].grammar);
        }
        if (strstr(err.text, cases[i].says) == NULL) {
            fail_msg("%s: says \"%s\"", cases[i].grammar, err.text);
        }
        assert_null(g);
    }
}

static void depth_is_bounded(void **state)
{
    char text[4096];
    struct grammar *g = NULL;
    struct error err;
    (void)state;
    size_t n = (size_t)snprintf(text, sizeof text, "root ::= ");
    memset(text + n, '(', 1000);
    text[n + 1000] = '\0';
    assert_int_equal(grammar_parse(str_from(text), &g, &err), STATUS_INVALID);
    assert_non_null(strstr(err.text, "too deep"));
}

/* ---- tokens ---- */

#define TOKENS 40U

static struct str pieces[TOKENS];
static bool ends[TOKENS];

static void make_vocabulary(struct grammar_vocabulary **v)
{
    static const char *const texts[TOKENS] = {
        "",     "a",    "b",        "c",     "ab", "abc", "bc", "ca", "(",   ")",
        "((",   "))",   "()",       "+",     "1",  "2",   "1+", "+1", "12",  "a",
        "\xC3", "\xA9", "\xC3\xA9", "a\xC3", "\n", " ",   "x",  "xx", "xxx", "xxxx",
        "y",    "yx",   "\"",       "\\",    "{",  "}",   ":",  ",",  "end", "0",
    };
    struct error err;
    for (uint32_t i = 0; i < TOKENS; i++) {
        pieces[i] = str_from(texts[i]);
        ends[i] = i == 38;
    }
    assert_int_equal(grammar_vocabulary_of(pieces, ends, TOKENS, v, &err), STATUS_OK);
}

static bool has(const uint64_t *mask, uint32_t t)
{
    return (mask[t >> 6] >> (t & 63) & 1) != 0;
}

static uint32_t next_random(uint64_t *s)
{
    *s = *s * 6364136223846793005U + 1442695040888963407U;
    return (uint32_t)(*s >> 33);
}

/* The mask has just the tokens that can be taken, at every step of random answers; what is taken
 * is a text of the grammar in the end. */
static void masks_are_what_can_be_taken(void **state)
{
    static const char *const grammars[] = {
        "root ::= [a-c]{1,20}",
        "root ::= e\ne ::= t (\"+\" t)*\nt ::= [0-9]{1,3} | \"(\" e \")\"",
        "root ::= (\"ab\" | \"abc\" | \"ca\"){1,9} \"x\"{3,17} (\"\xC3\xA9\" | [^a-z])?",
        "root ::= (\"x\" | \"xx\" | \"yx\"){1,30}",
    };
    struct grammar_vocabulary *v;
    uint64_t rnd = 7;
    struct error err;
    (void)state;
    make_vocabulary(&v);
    for (unsigned round = 0; round < 60; round++) {
        struct grammar *g = parse(grammars[round % COUNT_OF(grammars)]);
        struct grammar_run *r;
        char text[512];
        size_t len = 0;
        assert_int_equal(grammar_run_new(g, v, &r, &err), STATUS_OK);
        for (unsigned step = 0; step < 60; step++) {
            const uint64_t *mask;
            uint32_t choice[TOKENS];
            uint32_t n = 0;
            assert_int_equal(grammar_run_allowed(r, &mask, &err), STATUS_OK);
            for (uint32_t t = 0; t < TOKENS; t++) {
                bool in = has(mask, t);
                struct grammar_run *probe;
                bool whole = grammar_run_whole(r);
                if (ends[t]) {
                    assert_int_equal(in, whole);
                    continue;
                }
                /* the same text by single bytes, without masks */
                assert_int_equal(grammar_run_new(g, v, &probe, &err), STATUS_OK);
                bool fits = pieces[t].len > 0;
                for (size_t i = 0; i < len; i++) {
                    for (uint32_t b = 1; b < TOKENS; b++) {
                        if (!ends[b] && pieces[b].len == 1 && pieces[b].ptr[0] == text[i]) {
                            assert_int_equal(grammar_run_accept(probe, b, &err), STATUS_OK);
                            break;
                        }
                    }
                }
                fits = fits && grammar_run_accept(probe, t, &err) == STATUS_OK;
                grammar_run_free(probe);
                assert_int_equal(in, fits);
                if (in) {
                    choice[n++] = t;
                }
            }
            if (n == 0) {
                assert_true(grammar_run_ended(r));
                break;
            }
            uint32_t t = choice[next_random(&rnd) % n];
            assert_int_equal(grammar_run_accept(r, t, &err), STATUS_OK);
            memcpy(text + len, pieces[t].ptr, pieces[t].len);
            len += pieces[t].len;
        }
        if (grammar_run_whole(r)) {
            bool yes;
            assert_int_equal(grammar_matches(g, (struct str){.ptr = text, .len = len}, &yes, &err),
                             STATUS_OK);
            assert_true(yes);
        }
        grammar_run_free(r);
        grammar_free(g);
    }
    grammar_vocabulary_free(v);
}

static void a_refused_token_changes_nothing(void **state)
{
    struct grammar_vocabulary *v;
    struct grammar_run *r;
    const uint64_t *mask;
    struct error err;
    (void)state;
    make_vocabulary(&v);
    struct grammar *g = parse("root ::= \"ab\" \"c\"");
    assert_int_equal(grammar_run_new(g, v, &r, &err), STATUS_OK);
    assert_int_equal(grammar_run_accept(r, 8, &err), STATUS_INVALID);  /* ( */
    assert_int_equal(grammar_run_accept(r, 0, &err), STATUS_INVALID);  /* no bytes */
    assert_int_equal(grammar_run_accept(r, 38, &err), STATUS_INVALID); /* not whole yet */
    assert_int_equal(grammar_run_accept(r, TOKENS, &err), STATUS_INVALID);
    assert_int_equal(grammar_run_accept(r, 4, &err), STATUS_OK); /* ab */
    assert_false(grammar_run_ended(r));
    assert_int_equal(grammar_run_accept(r, 3, &err), STATUS_OK); /* c */
    assert_true(grammar_run_ended(r));
    assert_int_equal(grammar_run_allowed(r, &mask, &err), STATUS_OK);
    for (uint32_t t = 0; t < TOKENS; t++) {
        assert_int_equal(has(mask, t), t == 38);
    }
    assert_int_equal(grammar_run_accept(r, 38, &err), STATUS_OK);
    grammar_run_free(r);
    grammar_free(g);
    grammar_vocabulary_free(v);
}

/* Far more states than the table keeps: it begins anew and the answer goes on. */
static void a_long_answer_goes_on(void **state)
{
    struct grammar_vocabulary *v;
    struct grammar_run *r;
    struct error err;
    (void)state;
    make_vocabulary(&v);
    struct grammar *g = parse("root ::= l\nl ::= \"(\" l \")\" l | \"x\"");
    assert_int_equal(grammar_run_new(g, v, &r, &err), STATUS_OK);
    for (unsigned i = 0; i < 1500; i++) {
        const uint64_t *mask;
        assert_int_equal(grammar_run_accept(r, 8, &err), STATUS_OK);
        assert_int_equal(grammar_run_allowed(r, &mask, &err), STATUS_OK);
        assert_false(has(mask, 9));
    }
    assert_int_equal(grammar_run_accept(r, 26, &err), STATUS_OK);
    for (unsigned i = 0; i < 1500; i++) {
        const uint64_t *mask;
        assert_int_equal(grammar_run_allowed(r, &mask, &err), STATUS_OK);
        assert_true(has(mask, 9));
        assert_false(grammar_run_whole(r));
        assert_int_equal(grammar_run_accept(r, 9, &err), STATUS_OK);
        assert_int_equal(grammar_run_accept(r, 26, &err), STATUS_OK);
    }
    assert_true(grammar_run_ended(r));
    grammar_run_free(r);
    grammar_free(g);
    grammar_vocabulary_free(v);
}

/* What a short grammar asks for must not take long: people wait for the same thread. */

static void a_rule_of_very_many_ways_is_refused(void **state)
{
    struct buf text;
    struct grammar *g = NULL;
    struct error err;
    (void)state;
    buf_init(&text, GRAMMAR_TEXT_MAX);
    buf_z(&text, "root ::= ");
    for (unsigned i = 0; i < 200; i++) {
        buf_z(&text, "x ");
    }
    buf_z(&text, "\nx ::= \"a\" ");
    for (unsigned i = 0; i < 200000; i++) {
        buf_char(&text, '|');
    }
    assert_int_equal(grammar_parse(buf_view(&text), &g, &err), STATUS_INVALID);
    assert_non_null(strstr(err.text, "too many ways to begin"));
    buf_deinit(&text);
}

/* After k letters there are k + 1 ways to have come there. */
static const char ambiguous[] = "root ::= a b\na ::= \"a\"{0,4000}\nb ::= \"a\"{0,4000}";

static void ways_to_read_are_bounded(void **state)
{
    static char text[4000];
    struct error err;
    bool yes = false;
    (void)state;
    struct grammar *g = parse(ambiguous);
    memset(text, 'a', sizeof text);
    assert_int_equal(grammar_matches(g, (struct str){text, 1000}, &yes, &err), STATUS_OK);
    assert_true(yes);
    assert_int_equal(grammar_matches(g, (struct str){text, sizeof text}, &yes, &err),
                     STATUS_TOO_LARGE);
    grammar_free(g);
}

static void work_for_a_token_is_bounded(void **state)
{
    static char text[2500];
    static const bool none[2] = {false};
    struct str two[2] = {{text, 1}, {text, sizeof text}};
    struct grammar_vocabulary *v;
    struct grammar_run *r;
    struct error err;
    const uint64_t *mask;
    (void)state;
    struct grammar *g = parse(ambiguous);
    memset(text, 'a', sizeof text);
    assert_int_equal(grammar_vocabulary_of(two, none, 2, &v, &err), STATUS_OK);
    assert_int_equal(grammar_run_new(g, v, &r, &err), STATUS_OK);
    assert_int_equal(grammar_run_allowed(r, &mask, &err), STATUS_TOO_LARGE);
    assert_non_null(strstr(err.text, "make it simpler"));
    grammar_run_free(r);
    grammar_vocabulary_free(v);
    grammar_free(g);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(texts_of_a_grammar),
        cmocka_unit_test(mistakes_are_named),
        cmocka_unit_test(depth_is_bounded),
        cmocka_unit_test(masks_are_what_can_be_taken),
        cmocka_unit_test(a_refused_token_changes_nothing),
        cmocka_unit_test(a_long_answer_goes_on),
        cmocka_unit_test(a_rule_of_very_many_ways_is_refused),
        cmocka_unit_test(ways_to_read_are_bounded),
        cmocka_unit_test(work_for_a_token_is_bounded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
