#include "serve/http/conditional.h"

#include "tests/unit/test.h"

static struct http_head head_of(enum verb verb, const char *const *lines)
{
    static struct http_header kept[8];
    struct http_head h = {.verb = verb, .headers = kept};
    for (; lines[0] != NULL; lines += 2) {
        h.headers[h.n_headers++] = (struct http_header){str_from(lines[0]), str_from(lines[1])};
    }
    return h;
}

#define DAY "Sun, 06 Nov 1994 08:49:37 GMT"
#define DAY_S 784111777

struct row {
    const char *lines[9];
    enum http_wanted wanted;
    uint64_t first, last;
};

/* RFC 9110: 13.1.1 to 13.2.2, 14.1 to 14.2; a file of 1000 bytes */
static const struct row rows[] = {
    {{NULL}, HTTP_WANTED_WHOLE, 0, 0},
    /* 13.1.1: strong comparison */
    {{"if-match", "\"v1\""}, HTTP_WANTED_WHOLE, 0, 0},
    {{"if-match", "*"}, HTTP_WANTED_WHOLE, 0, 0},
    {{"if-match", "\"a\", \"v1\""}, HTTP_WANTED_WHOLE, 0, 0},
    {{"if-match", "\"a\"", "if-match", "\"v1\""}, HTTP_WANTED_WHOLE, 0, 0},
    {{"if-match", "W/\"v1\""}, HTTP_WANTED_OTHER, 0, 0},
    {{"if-match", "\"v2\""}, HTTP_WANTED_OTHER, 0, 0},
    {{"if-match", "v1"}, HTTP_WANTED_OTHER, 0, 0},
    /* 13.1.2: weak comparison; a part of a tag is not the tag */
    {{"if-none-match", "\"v1\""}, HTTP_WANTED_UNCHANGED, 0, 0},
    {{"if-none-match", "W/\"v1\""}, HTTP_WANTED_UNCHANGED, 0, 0},
    {{"if-none-match", "*"}, HTTP_WANTED_UNCHANGED, 0, 0},
    {{"if-none-match", "\"x\" , \"v1\""}, HTTP_WANTED_UNCHANGED, 0, 0},
    {{"if-none-match", "\"xv1\""}, HTTP_WANTED_WHOLE, 0, 0},
    {{"if-none-match", "\"v1"}, HTTP_WANTED_WHOLE, 0, 0},
    {{"if-none-match", ""}, HTTP_WANTED_WHOLE, 0, 0},
    /* 13.1.3, 13.1.4: dates, in all three forms; a malformed one is ignored */
    {{"if-modified-since", DAY}, HTTP_WANTED_UNCHANGED, 0, 0},
    {{"if-modified-since", "Sunday, 06-Nov-94 08:49:37 GMT"}, HTTP_WANTED_UNCHANGED, 0, 0},
    {{"if-modified-since", "Sun Nov  6 08:49:37 1994"}, HTTP_WANTED_UNCHANGED, 0, 0},
    {{"if-modified-since", "Sun, 06 Nov 1994 08:49:36 GMT"}, HTTP_WANTED_WHOLE, 0, 0},
    {{"if-modified-since", "yesterday"}, HTTP_WANTED_WHOLE, 0, 0},
    {{"if-unmodified-since", DAY}, HTTP_WANTED_WHOLE, 0, 0},
    {{"if-unmodified-since", "Sun, 06 Nov 1994 08:49:36 GMT"}, HTTP_WANTED_OTHER, 0, 0},
    /* 13.2.2: tags come before dates */
    {{"if-none-match", "\"v2\"", "if-modified-since", DAY}, HTTP_WANTED_WHOLE, 0, 0},
    {{"if-match", "\"v1\"", "if-unmodified-since", "Sun, 06 Nov 1994 08:49:36 GMT"},
     HTTP_WANTED_WHOLE,
     0,
     0},
    {{"if-none-match", "\"v1\"", "range", "bytes=0-1"}, HTTP_WANTED_UNCHANGED, 0, 0},
    /* 14.1.2 */
    {{"range", "bytes=0-0"}, HTTP_WANTED_PART, 0, 0},
    {{"range", "bytes=0-499"}, HTTP_WANTED_PART, 0, 499},
    {{"range", "bytes=500-"}, HTTP_WANTED_PART, 500, 999},
    {{"range", "bytes=-1"}, HTTP_WANTED_PART, 999, 999},
    {{"range", "bytes=-5000"}, HTTP_WANTED_PART, 0, 999},
    {{"range", "bytes=999-5000"}, HTTP_WANTED_PART, 999, 999},
    {{"range", "BYTES=1-2"}, HTTP_WANTED_PART, 1, 2},
    {{"range", "bytes=0-99999999999999999999999"}, HTTP_WANTED_PART, 0, 999},
    {{"range", "bytes=1000-"}, HTTP_WANTED_OUTSIDE, 0, 0},
    {{"range", "bytes=99999999999999999999999-"}, HTTP_WANTED_OUTSIDE, 0, 0},
    {{"range", "bytes=-0"}, HTTP_WANTED_OUTSIDE, 0, 0},
    /* 14.2: malformed, unknown and several ranges are as if not there */
    {{"range", "bytes=5-4"}, HTTP_WANTED_WHOLE, 0, 0},
    {{"range", "bytes="}, HTTP_WANTED_WHOLE, 0, 0},
    {{"range", "bytes=-"}, HTTP_WANTED_WHOLE, 0, 0},
    {{"range", "bytes=a-b"}, HTTP_WANTED_WHOLE, 0, 0},
    {{"range", "bytes=+1-2"}, HTTP_WANTED_WHOLE, 0, 0},
    {{"range", "bytes=0-1,5-6"}, HTTP_WANTED_WHOLE, 0, 0},
    {{"range", "lines=1-2"}, HTTP_WANTED_WHOLE, 0, 0},
    /* 13.1.5 */
    {{"range", "bytes=0-1", "if-range", "\"v1\""}, HTTP_WANTED_PART, 0, 1},
    {{"range", "bytes=0-1", "if-range", "W/\"v1\""}, HTTP_WANTED_WHOLE, 0, 0},
    {{"range", "bytes=0-1", "if-range", "\"v2\""}, HTTP_WANTED_WHOLE, 0, 0},
    {{"range", "bytes=0-1", "if-range", "*"}, HTTP_WANTED_WHOLE, 0, 0},
    {{"range", "bytes=0-1", "if-range", DAY}, HTTP_WANTED_PART, 0, 1},
    {{"range", "bytes=0-1", "if-range", "Sun, 06 Nov 1994 08:49:38 GMT"}, HTTP_WANTED_WHOLE, 0, 0},
};

static void conditions(void **state)
{
    (void)state;
    static const struct http_version_of v = {"\"v1\"", DAY_S, 1000};
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        struct http_head h = head_of(VERB_GET, rows[i].lines);
        uint64_t first = 0;
        uint64_t last = 0;
        enum http_wanted got = http_wanted(&h, &v, &first, &last);
        if (got != rows[i].wanted || first != rows[i].first || last != rows[i].last) {
            fail_msg("row %zu: %s: %s gave %d, %llu to %llu", i, rows[i].lines[0], rows[i].lines[1],
                     got, (unsigned long long)first, (unsigned long long)last);
        }
    }
}

static void other_verbs_and_files(void **state)
{
    (void)state;
    uint64_t a = 0;
    uint64_t b = 0;
    static const struct http_version_of v = {"\"v1\"", 0, 1000}, empty = {"\"v1\"", 0, 0},
                                        weak = {"W/\"v1\"", 0, 1000}, none = {NULL, 0, 1000};
    struct http_head h = head_of(VERB_HEAD, (const char *const[]){"range", "bytes=0-1", NULL});
    assert_int_equal(http_wanted(&h, &v, &a, &b), HTTP_WANTED_WHOLE); /* 14.2: GET only */
    h = head_of(VERB_DELETE, (const char *const[]){"if-none-match", "*", NULL});
    assert_int_equal(http_wanted(&h, &v, &a, &b), HTTP_WANTED_OTHER);
    h = head_of(VERB_GET, (const char *const[]){"range", "bytes=0-", NULL});
    assert_int_equal(http_wanted(&h, &empty, &a, &b), HTTP_WANTED_OUTSIDE);
    h = head_of(VERB_GET, (const char *const[]){"if-match", "\"v1\"", NULL});
    assert_int_equal(http_wanted(&h, &weak, &a, &b), HTTP_WANTED_OTHER);
    assert_int_equal(http_wanted(&h, &none, &a, &b), HTTP_WANTED_OTHER);
    h = head_of(VERB_GET, (const char *const[]){"if-none-match", "\"\"", NULL});
    assert_int_equal(http_wanted(&h, &none, &a, &b), HTTP_WANTED_WHOLE);
}

static void dates(void **state)
{
    (void)state;
    char text[HTTP_DATE_CAP];
    int64_t t = 0;
    http_date_write(DAY_S, text);
    assert_string_equal(text, DAY);
    assert_true(http_date_read(str_from(text), &t));
    assert_int_equal(t, DAY_S);
    assert_false(http_date_read(STR(""), &t));
    assert_false(http_date_read(STR(DAY " and more"), &t));
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(conditions),
                                       cmocka_unit_test(other_verbs_and_files),
                                       cmocka_unit_test(dates)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
