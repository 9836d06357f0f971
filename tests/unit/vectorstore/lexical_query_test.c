/* What a question finds among a few passages: ranking, spellings, compounds, languages, the turns
 * before it and what it demands. */
#include "tests/unit/test.h"

#include "tests/unit/vectorstore/memory_source.h"
#include "vectorstore/lexical_internal.h"

static void search(struct memory_index *x, const char *text, struct arena *a,
                   struct lexical_result *r)
{
    struct lexical_source source;
    struct lexical_query q = {.text = str_from(text), .limit = 100};
    struct error err;
    memory_index_source(x, &source);
    assert_int_equal(lexical_search(x->text, &source, &q, a, r, &err), STATUS_OK);
}

static void test_ranking(void **unused)
{
    (void)unused;
    struct memory_index *x = memory_index_new();
    chunk_no far = memory_index_add(x,
                                    STR("The notice was given. Many other things were said before "
                                        "anyone spoke of the period, a long "
                                        "time later, when all had gone home."),
                                    STR("Minutes"), "en");
    chunk_no near = memory_index_add(x,
                                     STR("A period of notice: the notice period is three months. "
                                         "Many other things were said before "
                                         "anyone had gone home, a long time later."),
                                     STR("Minutes"), "en");
    chunk_no titled = memory_index_add(x, STR("Three months, or one in the first half year."),
                                       STR("Notice period"), "en");
    memory_index_add(x, STR("Parental leave is granted on request."), STR("Leave"), "en");
    memory_index_finish(x);
    struct arena a;
    struct lexical_result r;
    arena_init(&a, (size_t)64 << 20);
    search(x, "What is the notice period?", &a, &r);
    assert_true(r.n_hits >= 3);
    assert_int_equal(r.hits[0].chunk, titled);
    assert_int_equal(r.hits[1].chunk, near);
    assert_int_equal(r.hits[2].chunk, far);
    assert_true(r.n_terms >= 2);
    float on_subject = r.upper_bound_share;
    search(x, "noticing periods", &a, &r); /* stems */
    assert_int_equal(r.hits[0].chunk, titled);
    search(x, "zebra crossing regulations of Mongolia", &a, &r);
    assert_true(r.upper_bound_share < .2F && r.upper_bound_share < on_subject);
    search(x, "", &a, &r);
    assert_int_equal(r.n_hits, 0);
    search(x, "?!", &a, &r);
    assert_int_equal(r.n_hits, 0);
    search(x, "the of is", &a, &r); /* only function words: they count then */
    assert_true(r.n_hits > 0);
    arena_reset(&a);
    memory_index_free(x);
}

/* The first document of a new house is asked for what it says: what it lacks ("how", "much", "may")
 * does not drown what it has. */
static void test_few_chunks(void **unused)
{
    (void)unused;
    static const struct {
        const char *question;
        bool on_subject;
    } rows[] = {
        {"How much may a hotel room cost?", true},
        {"How many days of paid leave does an employee have?", true},
        {"Who must agree to trips by plane?", true},
        {"What is the capital of France?", false},
        {"How much does the soup cost in the canteen on Fridays?", false},
        {"Who painted the Mona Lisa?", false},
    };
    struct memory_index *x = memory_index_new();
    memory_index_add(x,
                     STR("Every employee has 30 days of paid leave a year. Leave that is not taken "
                         "by 31 March of the next year is lost."),
                     STR("Leave policy"), "en");
    memory_index_add(x,
                     STR("Trips by train are booked in second class. Trips by plane need the "
                         "agreement of the head of the department. Hotel rooms cost at most 120 "
                         "euros a night."),
                     STR("Travel"), "en");
    memory_index_finish(x);
    struct arena a;
    arena_init(&a, (size_t)64 << 20);
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        struct lexical_result r;
        search(x, rows[i].question, &a, &r);
        if ((r.upper_bound_share >= .2F) != rows[i].on_subject) {
            fail_msg("%s: share %f", rows[i].question, (double)r.upper_bound_share);
        }
    }
    arena_reset(&a);
    memory_index_free(x);
}

/* The chunks found, by number, as "0 2". */
static const char *found(struct memory_index *x, const char *text, const char *phrase,
                         const char *excluded, const char *in_title)
{
    static char out[64];
    struct lexical_source source;
    struct str p = str_from(phrase), e = str_from(excluded), t = str_from(in_title);
    struct lexical_query q = {.text = str_from(text),
                              .limit = 10,
                              .phrases = &p,
                              .n_phrases = phrase != NULL,
                              .excluded = &e,
                              .n_excluded = excluded != NULL,
                              .in_title = &t,
                              .n_in_title = in_title != NULL};
    struct lexical_result r;
    struct arena a;
    struct error err;
    memory_index_source(x, &source);
    arena_init(&a, (size_t)64 << 20);
    assert_int_equal(lexical_search(x->text, &source, &q, &a, &r, &err), STATUS_OK);
    out[0] = '\0';
    for (chunk_no c = 0; c < x->n_chunks; c++) {
        for (size_t i = 0; i < r.n_hits; i++) {
            if (r.hits[i].chunk == c) {
                size_t n = strlen(out);
                (void)snprintf(out + n, sizeof out - n, "%s%u", n == 0 ? "" : " ", c);
            }
        }
    }
    arena_reset(&a);
    return out;
}

static void test_codes(void **unused)
{
    (void)unused;
    struct memory_index *x = memory_index_new();
    chunk_no parts = memory_index_add(x, STR("Part 7 of AB, box 1234. Box AB, 7."), STR(""), "en");
    chunk_no whole =
        memory_index_add(x, STR("The pump has the number AB-1234/7 since May."), STR(""), "en");
    memory_index_add(x, STR("Pay to GB82 WEST 1234 5698 7654 32 by May."), STR(""), "en");
    memory_index_finish(x);
    struct arena a;
    struct lexical_result r;
    arena_init(&a, (size_t)64 << 20);
    static const char *const spelled[] = {"AB-1234/7", "AB1234/7", "ab-1234-7"};
    for (size_t i = 0; i < COUNT_OF(spelled); i++) {
        search(x, spelled[i], &a, &r);
        assert_true(r.n_hits >= 2);
        assert_int_equal(r.hits[0].chunk, whole);
        assert_int_equal(r.hits[1].chunk, parts);
    }
    search(x, "GB82WEST12345698765432", &a, &r);
    assert_int_equal(r.n_hits, 1);
    assert_string_equal(found(x, "pump", "AB-1234/7", NULL, NULL), "1");
    assert_string_equal(found(x, "may", NULL, "AB1234/7", NULL), "2");
    arena_reset(&a);
    memory_index_free(x);
}

static uint32_t edits(const char *a, const char *b, uint32_t most)
{
    struct lexical_spelling x;
    struct lexical_spelling y;
    lexical_spell(str_from(a), &x);
    lexical_spell(str_from(b), &y);
    return lexical_apart(&x, &y, most);
}

static void test_edits(void **unused)
{
    (void)unused;
    static const struct {
        const char *a, *b;
        uint32_t most, edits;
    } cases[] = {
        {"", "", 2, 0},
        {"tenant", "tenant", 1, 0},
        {"tennant", "tenant", 2, 1},
        {"teannt", "tenant", 2, 1},
        {"tenant", "tenent", 1, 1},
        {"tenant", "enant", 1, 1},
        {"kitten", "sitting", 2, 3},
        {"abcd", "wxyz", 1, 2},
        {"größe", "grösse", 2, 2},
        {"книга", "кинга", 1, 1},
        {"ab", "abcdef", 2, 3},
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        assert_int_equal(edits(cases[i].a, cases[i].b, cases[i].most), cases[i].edits);
    }
}

static void test_misspelled(void **unused)
{
    (void)unused;
    struct memory_index *x = memory_index_new();
    chunk_no tenants = memory_index_add(
        x, STR("The tenants are told of the agreement AB1234 in May."), STR(""), "en");
    memory_index_add(x, STR("The canteen opens at noon on every day of May."), STR(""), "en");
    chunk_no secret = memory_index_add(x, STR("The tennants of the moon."), STR(""), "en");
    memory_index_finish(x);
    struct arena a;
    struct lexical_result r;
    arena_init(&a, (size_t)64 << 20);
    search(x, "which tenant", &a, &r);
    assert_int_equal(r.n_similar, 0);
    search(x, "tenannt", &a, &r); /* both are one edit away */
    assert_int_equal(r.n_hits, 2);
    assert_int_equal(r.n_similar, 1);
    assert_true(str_eq(r.similar[0].word, STR("tenannt")));
    assert_int_equal(r.similar[0].n_tried, 2);
    x->chunks[secret].hidden = true;
    search(x, "tennants in may", &a, &r); /* who may not read it does not learn that it is there */
    assert_int_equal(r.hits[0].chunk, tenants);
    assert_int_equal(r.n_similar, 1);
    assert_int_equal(r.similar[0].n_tried, 1);
    assert_true(str_eq(r.similar[0].tried[0], STR("tenants"))); /* as spelled, not the stem */
    search(x, "agremeents", &a, &r);
    assert_int_equal(r.n_hits, 1);
    x->chunks[tenants].hidden = true;
    search(x, "tenannt", &a, &r);
    assert_int_equal(r.n_hits + r.n_similar, 0);
    x->chunks[tenants].hidden = false;
    static const char *const never[] = {"AB1235", "nay", "1235", "opqrst", "zzzz"};
    for (size_t i = 0; i < COUNT_OF(never); i++) {
        search(x, never[i], &a, &r);
        assert_int_equal(r.n_hits + r.n_similar, 0);
    }
    arena_reset(&a);
    memory_index_free(x);
}

static void test_compounds(void **unused)
{
    (void)unused;
    struct memory_index *x = memory_index_new();
    struct arena a;
    struct lexical_result r;
    chunk_no said = memory_index_add(
        x, STR("Die Konzentration von Sauerstoff in der Luft ist konstant."), STR(""), "de");
    memory_index_add(x, STR("Der Antrag ist bei der Verwaltung zu stellen."), STR(""), "de");
    chunk_no duty = memory_index_add(
        x, STR("Die Arbeit beginnt um acht, die Zeit wird gestempelt."), STR(""), "de");
    memory_index_add(x, STR("The paper and the works of the town are for sale."), STR(""), "en");
    memory_index_finish(x);
    arena_init(&a, (size_t)64 << 20);
    search(x, "Wie hoch ist die Sauerstoffkonzentration?", &a, &r);
    assert_int_equal(r.hits[0].chunk, said);
    search(x, "Was gilt f\303\274r die Arbeitszeit?", &a, &r); /* with a linking element */
    assert_int_equal(r.hits[0].chunk, duty);
    assert_int_equal(r.n_similar, 0);
    search(x, "What of the paperworks in the town of the works?", &a, &r); /* no German */
    for (size_t i = 0; i < r.n_terms; i++) {
        assert_false(str_eq(r.terms[i], STR("paper")));
    }
    x->chunks[said].hidden = true; /* then its words are none */
    search(x, "Wie hoch ist die Sauerstoffkonzentration?", &a, &r);
    for (size_t i = 0; i < r.n_terms; i++) {
        assert_false(str_eq(r.terms[i], STR("sauerstoff")));
    }
    arena_reset(&a);
    memory_index_free(x);
}

/* A spelling counts where the asker can read it, whosever chunks the index happens to name. */
static void test_misspelled_behind_stems(void **unused)
{
    (void)unused;
    struct memory_index *x = memory_index_new();
    struct arena a;
    struct lexical_result r;
    chunk_no others[12];
    for (size_t i = 0; i < COUNT_OF(others); i++) {
        others[i] = memory_index_add(x, STR("Notice of termination, twice."), STR(""), "en");
    }
    chunk_no visible =
        memory_index_add(x, STR("A contract that is terminated ends."), STR(""), "en");
    chunk_no late = memory_index_add(x, STR("Termination takes a month."), STR(""), "en");
    memory_index_finish(x);
    arena_init(&a, (size_t)64 << 20);
    search(x, "terminatoin", &a, &r); /* stems are far apart: "terminatoin", "termin" */
    assert_int_equal(r.n_hits, 14);
    assert_int_equal(r.n_similar, 1);
    assert_true(str_eq(r.similar[0].tried[0], STR("termination")));
    search(x, "xermination", &a, &r); /* the first letter too */
    assert_int_equal(r.n_similar, 1);
    for (size_t i = 0; i < COUNT_OF(others); i++) {
        x->chunks[others[i]].hidden = true;
    }
    search(x, "terminatoin", &a, &r); /* found in the text of the one that is left */
    assert_int_equal(r.n_hits, 2);
    assert_int_equal(r.n_similar, 1);
    assert_true(str_eq(r.similar[0].tried[0], STR("termination")));
    x->chunks[late].hidden = true;
    search(x, "terminatoin", &a, &r); /* its stem can be read, the spelling cannot */
    assert_int_equal(r.n_hits + r.n_similar, 0);
    search(x, "terminaetd", &a, &r);
    assert_int_equal(r.n_hits, 1);
    assert_int_equal(r.hits[0].chunk, visible);
    arena_reset(&a);
    memory_index_free(x);
}

static void test_languages(void **unused)
{
    (void)unused;
    struct memory_index *x = memory_index_new();
    chunk_no en = memory_index_add(x, STR("The houses were sold to their tenants."), STR(""), "en");
    chunk_no de =
        memory_index_add(x, STR("Die Häuser wurden an ihre Mieter verkauft."), STR(""), "de");
    chunk_no zh = memory_index_add(x, STR("房屋已出售给租户。"), STR(""), "zh");
    memory_index_finish(x);
    struct arena a;
    struct lexical_result r;
    arena_init(&a, (size_t)64 << 20);
    search(x, "house", &a, &r);
    assert_int_equal(r.n_hits, 1);
    assert_int_equal(r.hits[0].chunk, en);
    search(x, "Haus Mietern", &a, &r);
    assert_int_equal(r.n_hits, 1);
    assert_int_equal(r.hits[0].chunk, de);
    search(x, "租户", &a, &r);
    assert_int_equal(r.n_hits, 1);
    assert_int_equal(r.hits[0].chunk, zh);
    search(x, "租", &a, &r); /* one character is enough */
    assert_int_equal(r.n_hits, 1);
    arena_reset(&a);
    memory_index_free(x);
}

static void test_earlier_turns(void **unused)
{
    (void)unused;
    struct memory_index *x = memory_index_new();
    memory_index_add(x, STR("Part-time staff may use the canteen."), STR(""), "en");
    chunk_no leave =
        memory_index_add(x, STR("Parental leave is open to part-time staff."), STR(""), "en");
    memory_index_add(x, STR("Full-time staff have a locker."), STR(""), "en");
    memory_index_finish(x);
    struct lexical_source source;
    struct str earlier[] = {STR("How long is parental leave?")};
    struct lexical_query q = {
        .text = STR("and for part-time staff?"), .earlier = earlier, .n_earlier = 1, .limit = 10};
    struct lexical_result r;
    struct arena a;
    struct error err;
    memory_index_source(x, &source);
    arena_init(&a, (size_t)64 << 20);
    assert_int_equal(lexical_search(x->text, &source, &q, &a, &r, &err), STATUS_OK);
    assert_int_equal(r.hits[0].chunk, leave);
    arena_reset(&a);
    memory_index_free(x);
}

static void test_demands(void **unused)
{
    (void)unused;
    struct memory_index *x = memory_index_new();
    memory_index_add(x, STR("The notice period is three months."), STR("Leave"), "en");
    memory_index_add(x, STR("In this period a notice is given to leave."), STR("Minutes"), "en");
    memory_index_add(x, STR("Nothing here."), STR("Notice period"), "en");
    memory_index_add(x, STR("Notice periods vary by the État."), STR("Drafts"), "en");
    memory_index_add(x, STR("通知期为三个月。期通知"), STR(""), "zh");
    memory_index_add(x, STR("A secret notice period."), STR("Leave"), "en");
    x->chunks[5].hidden = true;
    memory_index_finish(x);
    assert_string_equal(found(x, "notice period", NULL, NULL, NULL), "0 1 2 3");
    /* side by side, in this order, as spelled; in the title too */
    assert_string_equal(found(x, "notice period", "Notice PERIOD", NULL, NULL), "0 2");
    assert_string_equal(found(x, "notice", "the etat", NULL, NULL), "3");
    assert_string_equal(found(x, "notice", "is the", NULL, NULL), "");
    assert_string_equal(found(x, "notice period", "unheard of", NULL, NULL), "");
    assert_string_equal(found(x, "通知", "通知期", NULL, NULL), "4");
    /* a word in all its forms, a phrase as it is */
    assert_string_equal(found(x, "notice", NULL, "leaves", NULL), "2 3");
    assert_string_equal(found(x, "notice period", NULL, "notice period", NULL), "1 3");
    assert_string_equal(found(x, "notice", NULL, "unheard", NULL), "0 1 2 3");
    assert_string_equal(found(x, "notice", NULL, "notice", NULL), "");
    assert_string_equal(found(x, "notice months", NULL, NULL, "leave"), "0");
    assert_string_equal(found(x, "notice", "notice period", "months", "notice"), "2");
    /* nothing to look for is no demand */
    assert_string_equal(found(x, "notice", "?!", "", "..."), "0 1 2 3");
    memory_index_free(x);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_ranking),       cmocka_unit_test(test_few_chunks),
        cmocka_unit_test(test_codes),         cmocka_unit_test(test_edits),
        cmocka_unit_test(test_misspelled),    cmocka_unit_test(test_misspelled_behind_stems),
        cmocka_unit_test(test_compounds),     cmocka_unit_test(test_languages),
        cmocka_unit_test(test_earlier_turns), cmocka_unit_test(test_demands),
    };
    return cmocka_run_group_tests_name("lexical query", tests, NULL, NULL);
}
