/* Where sentences end, in the languages and scripts that the chunker knows. */
#include "tests/unit/test.h"

#include "ingest/sentence.h"

struct sentences {
    const char *text;
    size_t n;
};

static void count_sentences(const struct sentences *cases, size_t n_cases)
{
    struct sentence_splitter *s;
    assert_int_equal(sentence_splitter_new(&s, NULL), STATUS_OK);
    for (size_t i = 0; i < n_cases; i++) {
        struct str t = str_from(cases[i].text);
        size_t n = 0;
        for (size_t at = 0; at < t.len; n++) {
            size_t end = sentence_end(s, t, at);
            assert_true(end > at);
            at = end;
        }
        if (n != cases[i].n) {
            fail_msg("%s: %zu sentences, not %zu", cases[i].text, n, cases[i].n);
        }
    }
    sentence_splitter_free(s);
}
#define COUNT(cases) count_sentences(cases, COUNT_OF(cases))

static void test_sentences_en(void **state)
{
    static const struct sentences cases[] = {
        {"One. Two! Three?", 3},
        {"Dr. Smith met Mr. J. Doe. They left.", 2},
        {"Costs 3.50 each. See e.g. this one.", 2},
        {"He said \u201CGo.\u201D Then he went.", 2},
        {"Bring pens, paper, etc. Then begin.", 2},
        {"Pens, paper, etc. are there.", 1},
        {"See Fig. 3 and No. 7 in Vol. II. Then go on.", 2},
        {"He said no. They left.", 2},
        {"\u201CWho?\u201D he asked. Nobody knew.", 2},
        {"Smith et al. show it. Others do not.", 2},
        {"At 5 p.m. the U.S. team met. It rained.", 2},
        {"Well \u2026 that was it. Done.", 2},
        {"line one\nline two", 2},
        {"no end", 1},
    };
    (void)state;
    COUNT(cases);
}

static void test_sentences_de(void **state)
{
    static const struct sentences cases[] = {
        {"Das gilt z.B. f\u00FCr alle. Am 3. M\u00E4rz auch.", 2},
        {"Das gilt z. B. hier. Dort nicht.", 2},
        {"Nach \u00A7 5 Abs. 2 Nr. 3 gilt das. Sonst nicht.", 2},
        {"Frau Dr. M\u00FCller und Hr. Prof. Kurz kamen. Dann ging es los.", 2},
        {"Stifte, Papier usw. liegen bereit. Danke.", 2},
        {"Das kostet ca. 3 Mio. Euro inkl. Steuern. Es lohnt sich.", 2},
        {"\u201EHalt!\u201C rief er. Sie lief weiter.", 2},
    };
    (void)state;
    COUNT(cases);
}

static void test_sentences_fr_es_it(void **state)
{
    static const struct sentences cases[] = {
        {"M. Dupont est l\u00E0. Voir p.ex. ceci.", 2},
        {"Mme Martin habite bd. Voltaire. Elle part en janv. prochain.", 2},
        {"Voir art. 5 et chap. IV. Ensuite, l\u2019annexe.", 2},
        {"N\u00E9 v. 50 av. J.-C. \u00E0 Rome. Mort ailleurs.", 2},
        {"El Sr. G\u00F3mez y la Sra. Ruiz llegaron. \u00BFQui\u00E9n falta? Nadie.", 3},
        {"V\u00E9ase la p\u00E1g. 12 y el art. 3. Despu\u00E9s, el anexo.", 2},
        {"Vive en la Avda. Mayor, n\u00FAm. 7. Llame a Uds. mismos.", 2},
        {"Il sig. Rossi e la dott.ssa Bianchi sono qui. Bene.", 2},
        {"Vedi pag. 4 e l\u2019art. 9 del cap. II. Grazie.", 2},
        {"Carta, penne ecc. sono pronti. Andiamo.", 2},
        {"La Ferri S.p.A. di Torino vende. Tutti comprano.", 2},
    };
    (void)state;
    COUNT(cases);
}

static void test_sentences_of_other_scripts(void **state)
{
    static const struct sentences cases[] = {
        {"\u4ECA\u5929\u5F88\u597D\u3002\u660E\u5929\u5462\uFF1F\u597D\uFF01", 3},
        {"\u4ED6\u8BF4\uFF1A\u201C\u8D70\u3002\u201D\u7136\u540E\u8D70\u4E86\u3002", 2},
        {"\u300C\u884C\u304F\u3002\u300D\u3068\u8A00\u3063\u305F\u3002", 2},
        /* Hindi, with and without a space behind the danda */
        {"\u092F\u0939 \u090F\u0915 \u0939\u0948\u0964 \u0935\u0939 \u0926\u094B "
         "\u0939\u0948\u0964\u0924\u0940\u0928",
         3},
        /* Arabic, Urdu */
        {"\u0645\u0646 \u0623\u0646\u062A\u061F \u0623\u0646\u0627 \u0647\u0646\u0627. "
         "\u0634\u0643\u0631\u0627.",
         3},
        {"\u06CC\u06C1 \u06C1\u06D2\u06D4 \u0648\u06C1 \u06C1\u06D2\u06D4", 2},
        /* Thai: a space between phrases; none before a figure or the mark that repeats */
        {"\u0E27\u0E31\u0E19\u0E19\u0E35\u0E49\u0E1D\u0E19\u0E15\u0E01 "
         "\u0E1E\u0E23\u0E38\u0E48\u0E07\u0E19\u0E35\u0E49\u0E41\u0E14\u0E14\u0E2D\u0E2D\u0E01",
         2},
        {"\u0E15\u0E48\u0E32\u0E07 \u0E46 10 \u0E19\u0E32\u0E17\u0E35", 1},
        /* Khmer, Burmese, Armenian */
        {"\u1781\u17D2\u1789\u17BB\u17C6\u17D4\u17A2\u17D2\u1793\u1780\u17D4", 2},
        {"\u1000\u102C\u104B\u1000\u102C\u104B", 2},
        {"\u0535\u057D\u0589 \u0534\u0578\u0582\u0589", 2},
        /* Russian: a small letter goes on */
        {"\u041E\u043D \u0438 \u0442. \u0434. \u043F\u0440\u0438\u0448\u0451\u043B. "
         "\u041E\u043D\u0430 \u043D\u0435\u0442.",
         2},
    };
    (void)state;
    COUNT(cases);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sentences_en),
        cmocka_unit_test(test_sentences_de),
        cmocka_unit_test(test_sentences_fr_es_it),
        cmocka_unit_test(test_sentences_of_other_scripts),
    };
    return cmocka_run_group_tests_name("sentence", tests, NULL, NULL);
}
