/* What is read as more than text, and what is not. */
#include "tests/unit/test.h"

#include "retrieve/query.h"

static struct text_analyzer *analyzer;

static int setup(void **state)
{
    (void)state;
    struct error err;
    return text_analyzer_new(&analyzer, &err) == STATUS_OK ? 0 : -1;
}

static int teardown(void **state)
{
    (void)state;
    text_analyzer_free(analyzer);
    return 0;
}

static void list(char *out, size_t cap, const char *name, const struct query_list *l)
{
    for (size_t i = 0; i < l->n; i++) {
        size_t n = strlen(out);
        (void)snprintf(out + n, cap - n, " %s[%s]", name, l->items[i]);
    }
}

static void check(const char *typed, const char *expected)
{
    struct arena a;
    struct query q;
    struct error err;
    char got[4096];
    arena_init(&a, 1 << 20);
    assert_int_equal(query_read(analyzer, str_from(typed), &a, &q, &err), STATUS_OK);
    (void)snprintf(got, sizeof got, "%.*s", STR_ARG(q.text));
    list(got, sizeof got, "phrase", &q.phrases);
    list(got, sizeof got, "not", &q.excluded);
    list(got, sizeof got, "title", &q.in_title);
    list(got, sizeof got, "collection", &q.collections);
    list(got, sizeof got, "label", &q.labels);
    list(got, sizeof got, "tag", &q.tags);
    list(got, sizeof got, "language", &q.languages);
    list(got, sizeof got, "format", &q.formats);
    list(got, sizeof got, "path", &q.paths);
    list(got, sizeof got, "name", &q.names);
    list(got, sizeof got, "author", &q.authors);
    list(got, sizeof got, "hash", &q.hashes);
    if (q.has_pages_from || q.has_pages_to) {
        (void)snprintf(got + strlen(got), sizeof got - strlen(got), " pages %u-%u", q.pages_from,
                       q.pages_to);
    }
    if (q.has_from) {
        (void)snprintf(got + strlen(got), sizeof got - strlen(got), " from %lld",
                       (long long)(q.from_ms / 86400000));
    }
    if (q.has_until) {
        (void)snprintf(got + strlen(got), sizeof got - strlen(got), " until %lld",
                       (long long)(q.until_ms / 86400000));
    }
    assert_string_equal(got, expected);
    arena_reset(&a);
}

static void test_composed(void **state)
{
    (void)state;
    check("\"notice period\" tenants", "notice period tenants phrase[notice period]");
    check("“notice period” tenants", "notice period tenants phrase[notice period]");
    check("„Kündigungsfrist der Mieter“ Berlin",
          "Kündigungsfrist der Mieter Berlin phrase[Kündigungsfrist der Mieter]");
    check("«délai de préavis»", "délai de préavis phrase[délai de préavis]");
    check("\"notice period\" for tenants", "notice period for tenants phrase[notice period]");
    check("\"notice period\", tenants", "notice period , tenants phrase[notice period]");
    check("lease -draft -\"old plan\"", "lease not[draft] not[old plan]");
    check("leave title:parental", "leave parental title[parental]");
    check("title:\"parental leave\" weeks", "parental leave weeks title[parental leave]");
    check("leave type:PDF lang:de", "leave language[de] format[pdf]");
    check("leave type:word", "leave format[docx]");
    check("leave collection:hr tag:policy tag:2024", "leave collection[hr] tag[policy] tag[2024]");
    check("leave label:internal", "leave label[internal]");
    check("leave path:/contracts/2024", "leave path[contracts/2024]");
    check("leave file:Handbook.pdf filename:\"my plan\"", "leave name[Handbook.pdf] name[my plan]");
    check("leave path:\"my contracts\"", "leave path[my contracts]");
    check("leave after:2024 before:2024-12-31", "leave from 19723 until 20088");
    check("leave after:2024-05", "leave from 19844");
    check("leave author:berg author:\"Anna Berg\"", "leave author[berg] author[Anna Berg]");
    check("leave pages:10", "leave pages 10-10");
    check("leave pages:10-50 pages:20+", "leave pages 20-50");
    check("leave hash:9F86D081", "leave hash[9f86d081]");
    check("leave since:31.5.2024", "leave from 19874");
    check("What is the notice period of tenants? type:pdf",
          "What is the notice period of tenants? format[pdf]");
}

static void test_text_stays_text(void **state)
{
    (void)state;
    static const char *const as_they_are[] = {
        "", " ", "\"", "\"\"", "-", "- -", "--", "-\"", "\"unclosed phrase", "5\" pipe", "12:30",
        "https://example.com/a?b=c", "title:", "title: leave", "title:\"", "file://server/share",
        "unknown:field", "a:b:c", "re: your mail", "label:blue", "after:tomorrow", "after:2024-13",
        "before:2024-02-30-1", "before:20245", "lang:english", "temperatures -5", "ls -l",
        "rock 'n' roll", "type:", "type:../etc", "pages:many", "pages:9-3", "hash:12",
        "hash:xyzxyzxy",
        /* sentences keep their quotes and dashes */
        "He said \"no way\" and left the house.", "what is the \"garden leave\" of an employee",
        "Is \"garden leave\" paid?", "什么是“通知期”？",
        /* conditions alone are no question */
        "type:pdf", "-draft", "after:2024 before:2025", "collection:hr -old"};
    for (size_t i = 0; i < COUNT_OF(as_they_are); i++) {
        struct arena a;
        struct query q;
        struct error err;
        arena_init(&a, 1 << 20);
        assert_int_equal(query_read(analyzer, str_from(as_they_are[i]), &a, &q, &err), STATUS_OK);
        assert_false(q.composed);
        assert_true(str_eq(q.text, str_from(as_they_are[i])));
        assert_int_equal(q.phrases.n + q.excluded.n + q.formats.n + q.shown.n, 0);
        arena_reset(&a);
    }
}

static void test_bounds(void **state)
{
    (void)state;
    struct arena a;
    struct query q;
    struct error err;
    char *many = malloc(1 << 16);
    assert_non_null(many);
    memcpy(many, "x", 2);
    static const char piece[] = " -word tag:t \"a b\"";
    for (size_t i = 0; i < 40; i++) {
        memcpy(many + 1 + i * (sizeof piece - 1), piece, sizeof piece);
    }
    arena_init(&a, 1 << 20);
    assert_int_equal(query_read(analyzer, str_from(many), &a, &q, &err), STATUS_OK);
    assert_int_equal(q.excluded.n, QUERY_LIST_MAX);
    assert_int_equal(q.tags.n, QUERY_LIST_MAX);
    assert_int_equal(q.phrases.n, QUERY_LIST_MAX);
    for (size_t i = 0; i < 4000; i++) {
        memcpy(many + i * 3, "\"a ", 4);
    }
    assert_int_equal(query_read(analyzer, str_from(many), &a, &q, &err), STATUS_OK);
    assert_false(q.composed); /* too long to have been typed */
    assert_int_equal(q.text.len, strlen(many));
    arena_reset(&a);
    free(many);
}

/* Anything at all: sanitizers watch, and words are never lost. */
static void test_noise(void **state)
{
    (void)state;
    static const char *const bits[] = {"\"", "-",    ":",  " ",     "title", "type:", "“",  "»",
                                       "a",  "\xFF", "ß",  "after", "2024",  "\n",    "--", "x:\"",
                                       ".",  "\"\"", "of", "tag:",  "界",    "path:/"};
    uint32_t x = 1;
    for (uint32_t round = 0; round < 20000; round++) {
        char text[256] = "";
        for (size_t i = 0; i < 12; i++) {
            x = x * 1664525U + 1013904223U;
            const char *bit = bits[(x >> 16) % COUNT_OF(bits)];
            memcpy(text + strlen(text), bit, strlen(bit) + 1);
        }
        struct arena a;
        struct query q;
        struct error err;
        arena_init(&a, 1 << 20);
        assert_int_equal(query_read(analyzer, str_from(text), &a, &q, &err), STATUS_OK);
        assert_true(q.composed || str_eq(q.text, str_from(text)));
        arena_reset(&a);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_composed),
        cmocka_unit_test(test_text_stays_text),
        cmocka_unit_test(test_bounds),
        cmocka_unit_test(test_noise),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
