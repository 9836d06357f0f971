#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "generate/extractive.h"

/* STR is no constant initialiser in ISO C */
#define LIT(z)                                                                                     \
    {                                                                                              \
        .ptr = (z), .len = sizeof(z) - 1                                                           \
    }

static const struct extractive_passage leave[] = {
    {LIT("Parental leave lasts 14 weeks for each parent. It is paid in full. Requests go to the "
         "personnel office at least two months ahead."),
     LIT("Staff handbook Leave > Parental leave")},
    {LIT("Annual leave is 30 days. Unused days expire in March of the next year. Parental leave "
         "does "
         "not reduce annual leave."),
     LIT("Staff handbook Leave > Annual leave")},
    {LIT("The canteen opens at noon. Soup costs 3.50 euros."), LIT("Canteen")},
};

static const struct extractive_passage german[] = {
    {LIT("Die Kündigungsfrist beträgt drei Monate zum Quartalsende. Die Probezeit dauert sechs "
         "Monate."),
     LIT("Arbeitsvertrag")},
    {LIT("Das Gehalt wird am letzten Werktag überwiesen."), LIT("Vergütung")},
};

static const struct extractive_passage chinese[] = {
    {LIT("北京是中国的首都。上海是最大的城市。"), LIT("")},
};

static const struct extractive_passage repeated[] = {
    {LIT("The reactor was shut down in 1998 after a leak in the cooling system."), LIT("")},
    {LIT("The reactor was shut down in 1998 after a leak in the cooling system."), LIT("")},
    {LIT("After the leak the reactor was shut down in 1998."), LIT("")},
};

#define N(a) (sizeof(a) / sizeof *(a))

static const struct row {
    const char *question;
    const struct extractive_passage *passages;
    size_t n_passages;
    float share;
    bool refused;
    const char *first;  /* what the answer begins with */
    const char *absent; /* what it must not hold, or NULL */
} rows[] = {
    {"How long is parental leave?", leave, N(leave), .8F, false,
     "Parental leave lasts 14 weeks for each parent. [1]", "canteen"},
    {"What does the soup cost?", leave, N(leave), .6F, false, "Soup costs 3.50 euros. [3]",
     "weeks"},
    {"When do unused days expire?", leave, N(leave), .7F, false,
     "Unused days expire in March of the next year. [2]", "Soup"},
    {"How long is parental leave?", leave, N(leave), .1F, true,
     "Nothing in these documents answers this.", "weeks"},
    {"How long is parental leave?", leave, N(leave), -1, false, "Parental leave lasts", NULL},
    /* a small share says nothing where a sentence has the question's words: among shorter notes
     * the share of the one that answers is small */
    {"For how many weeks does parental leave last?", leave, N(leave), .1F, false,
     "Parental leave lasts 14 weeks for each parent. [1]", "canteen"},
    {"Does the parental leave of a whale last weeks in Norway?", leave, N(leave), .1F, true,
     "Nothing in these documents", NULL},
    {"How long is parental leave?", leave, 0, .9F, true, "Nothing in these documents", NULL},
    {"Who painted the Mona Lisa?", leave, N(leave), .5F, true, "Nothing in these documents", NULL},
    {"Wie lange ist die Kündigungsfrist?", german, N(german), .7F, false,
     "Die Kündigungsfrist beträgt drei Monate zum Quartalsende. [1]", "Gehalt"},
    {"Wie hoch ist der Mount Everest?", german, N(german), .1F, true, "In diesen Dokumenten", NULL},
    /* Chinese, and questions of over 20 words, are not refused for their share */
    {"中国的首都是哪里？", chinese, N(chinese), .05F, false, "北京是中国的首都。 [1]", NULL},
    {"I would like to know, because my sister is expecting a child next spring and asked me about "
     "it, "
     "how long the parental leave that our firm grants to each parent is",
     leave, N(leave), .1F, false, "Parental leave lasts 14 weeks", NULL},
    {"When was the reactor shut down?", repeated, N(repeated), .9F, false,
     "The reactor was shut down in 1998 after a leak in the cooling system. [1]", "[2]"},
};

/* Without white space, so that a line end that became a space does not matter. */
static void squeeze(struct str s, struct buf *out)
{
    for (size_t i = 0; i < s.len; i++) {
        if (s.ptr[i] != ' ' && s.ptr[i] != '\n') {
            buf_char(out, s.ptr[i]);
        }
    }
}

/* Every quote stands in the passage that its mark names, and each mark is where its citation says.
 */
static void check_quotes(const struct extractive_question *q, const struct extractive_answer *a)
{
    struct str text = buf_view(&a->text);
    size_t from = 0;
    for (size_t i = 0; i < a->n_citations; i++) {
        const struct citation *c = &a->citations[i];
        size_t start = text_byte_offset(text, c->start), end = text_byte_offset(text, c->end);
        char mark[16];
        (void)snprintf(mark, sizeof mark, "[%u]", c->number);
        assert_true(str_eq((struct str){text.ptr + start, end - start}, str_from(mark)));
        assert_true(c->number >= 1 && c->number <= q->n_passages);
        struct buf quote, passage;
        buf_init(&quote, 65536);
        buf_init(&passage, 65536);
        squeeze((struct str){text.ptr + from, start - from}, &quote);
        squeeze(q->passages[c->number - 1].text, &passage);
        assert_non_null(strstr(buf_view(&passage).ptr, buf_view(&quote).ptr));
        buf_deinit(&quote);
        buf_deinit(&passage);
        from = end;
    }
    assert_int_equal(from, text.len); /* nothing but quotes and marks */
}

/* Rows stay rows: joined, the last cell of one would read as the first of the next. */
static void test_rows(void **state)
{
    (void)state;
    struct text_analyzer *analyzer = NULL;
    struct error err;
    assert_int_equal(text_analyzer_new(&analyzer, &err), STATUS_OK);
    struct extractive_passage p = {.text = STR("turbine | blades | metres\n1 | 3 | 40\n2 | 5 | 60"),
                                   .title = STR("")};
    struct extractive_question q = {.text = STR("turbine blades"),
                                    .language = "en",
                                    .passages = &p,
                                    .n_passages = 1,
                                    .upper_bound_share = -1,
                                    .max_sentences = 4};
    struct extractive_answer a = {0};
    buf_init(&a.text, 65536);
    assert_int_equal(extractive_answer(analyzer, &q, &a, &err), STATUS_OK);
    assert_true(
        str_eq(buf_view(&a.text), STR("turbine | blades | metres\n1 | 3 | 40\n2 | 5 | 60 [1]")));
    check_quotes(&q, &a);
    buf_deinit(&a.text);
    text_analyzer_free(analyzer);
}

static void test_table(void **state)
{
    (void)state;
    struct text_analyzer *analyzer = NULL;
    struct error err = {0};
    assert_int_equal(text_analyzer_new(&analyzer, &err), STATUS_OK);
    for (size_t i = 0; i < N(rows); i++) {
        const struct row *r = &rows[i];
        struct extractive_question q = {.text = str_from(r->question),
                                        .language = "",
                                        .passages = r->passages,
                                        .n_passages = r->n_passages,
                                        .upper_bound_share = r->share,
                                        .refuse_below = .2,
                                        .max_sentences = 4};
        struct extractive_answer a = {0};
        buf_init(&a.text, 65536);
        assert_int_equal(extractive_answer(analyzer, &q, &a, &err), STATUS_OK);
        const char *text = buf_view(&a.text).ptr;
        if (a.refused != r->refused || strstr(text, r->first) != text ||
            (r->absent != NULL && strstr(text, r->absent) != NULL)) {
            fail_msg("\"%s\": %s\"%s\"", r->question, a.refused ? "refused, " : "", text);
        }
        if (!a.refused) {
            check_quotes(&q, &a);
        }
        buf_deinit(&a.text);
    }
    text_analyzer_free(analyzer);
}

static void test_long_quotes_are_cut(void **state)
{
    (void)state;
    struct text_analyzer *analyzer = NULL;
    struct error err = {0};
    assert_int_equal(text_analyzer_new(&analyzer, &err), STATUS_OK);
    static char table[6000];
    for (size_t i = 0; i + 8 < sizeof table; i += 8) {
        memcpy(table + i, "turbine ", 8);
    }
    struct extractive_passage p = {.text = str_from(table), .title = STR("")};
    struct extractive_question q = {.text = STR("turbine"),
                                    .language = "en",
                                    .passages = &p,
                                    .n_passages = 1,
                                    .upper_bound_share = -1,
                                    .max_sentences = 4};
    struct extractive_answer a = {0};
    buf_init(&a.text, 65536);
    assert_int_equal(extractive_answer(analyzer, &q, &a, &err), STATUS_OK);
    assert_true(a.text.len < EXTRACTIVE_QUOTE_BYTES + 20);
    assert_true(str_ends(buf_view(&a.text), STR("turbine … [1]")));
    buf_deinit(&a.text);
    text_analyzer_free(analyzer);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_rows), cmocka_unit_test(test_table),
                                       cmocka_unit_test(test_long_quotes_are_cut)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
