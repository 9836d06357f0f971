#include "serve/http/multipart.h"

#include "base/buf.h"
#include "tests/unit/test.h"

/* "name=data;" or "name<filename,type>=data;" for each part, then "." at the closing delimiter, "!"
 * where it is refused. The body comes in two pieces cut at `cut`, and then in pieces of `step`. */
static void transcript(const char *type, const char *body, size_t len, size_t cut, size_t step,
                       char *out, size_t cap)
{
    struct multipart m;
    struct buf b;
    buf_init(&b, cap - 1);
    assert_int_equal(multipart_init(&m, str_from(type), NULL), STATUS_OK);
    size_t at = 0;
    bool over = false;
    while (!over && at < len) {
        size_t end = at < cut ? cut : at + step < len ? at + step : len;
        if (end > len) {
            end = len;
        }
        while (!over) {
            size_t used;
            struct str data;
            enum multipart_event e = multipart_next(&m, body + at, end - at, &used, &data);
            at += used;
            if (e == MULTIPART_MORE) {
                break;
            }
            if (e == MULTIPART_PART) {
                buf_z(&b, m.name);
                if (m.is_file) {
                    buf_printf(&b, "<%s,%s>", m.filename, m.type);
                }
                buf_char(&b, '=');
            } else if (e == MULTIPART_DATA) {
                buf_str(&b, data);
            } else if (e == MULTIPART_PART_END) {
                buf_char(&b, ';');
            } else {
                buf_char(&b, e == MULTIPART_END ? '.' : '!');
                over = e == MULTIPART_BAD;
            }
        }
    }
    (void)snprintf(out, cap, "%s", buf_view(&b).ptr);
    buf_deinit(&b);
}

static void every_split(void **state)
{
    (void)state;
    static const char type[] = "multipart/form-data; boundary=XyZ";
#define D "Content-Disposition: form-data; name="
    static const struct {
        const char *body;
        const char *expected;
    } cases[] = {
        {"--XyZ\r\n" D "\"a\"\r\n\r\none\r\n--XyZ\r\n" D
         "\"f\"; filename=\"b.txt\"\r\nContent-Type: text/plain\r\n\r\n"
         "two\r\nlines\r\n\r\n--XyZ--\r\nepilogue",
         "a=one;f<b.txt,text/plain>=two\r\nlines\r\n;."},
        {"preamble\r\n--XyZ\r\n" D "\"a\"\r\n\r\n\r\n--XyZ--", "a=;."},
        {"--XyZ  \r\n" D "a\r\n\r\n\r\n--Xy\r\n--XyQ\r\r\n-\r\n--XyZ--",
         "a=\r\n--Xy\r\n--XyQ\r\r\n-;."},
        {"--XyZ\r\n" D "\"a\\\"b\"; filename=\"q%22;x=1.txt\"\r\n\r\nz\r\n--XyZ--",
         "a\"b<q\";x=1.txt,>=z;."},
        {"--XyZ\r\nX: y\r\n\r\nz\r\n--XyZ--", "!"},
        {"--XyZ\r\n" D "\"a\"\r\n\r\nz\r\n--XyZx", "a=z;!"},
        {"--XyZ\r\n" D "\"a\"\n\r\nz\r\n--XyZ--", "!"},
        {"--XyZ\r\nnocolon\r\n\r\nz\r\n--XyZ--", "!"},
        {"--XyZ\r\nContent-Disposition: attachment; name=\"a\"\r\n\r\nz\r\n--XyZ--", "!"},
        {"--XyZ--", "."},
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        size_t len = strlen(cases[i].body);
        for (size_t cut = 0; cut <= len; cut++) {
            for (size_t step = 1; step < 5; step += 3) {
                char got[512];
                transcript(type, cases[i].body, len, cut, cut == 0 ? step : len, got, sizeof got);
                if (strcmp(got, cases[i].expected) != 0) {
                    fail_msg("case %zu cut at %zu: \"%s\", expected \"%s\"", i, cut, got,
                             cases[i].expected);
                }
            }
        }
    }
}

static void boundaries(void **state)
{
    (void)state;
    static const struct {
        const char *type;
        enum status expected;
    } cases[] = {
        {"multipart/form-data; boundary=abc", STATUS_OK},
        {"Multipart/Form-Data; charset=x; Boundary=\"a b:c\"", STATUS_OK},
        {"multipart/form-data", STATUS_INVALID},
        {"multipart/form-data; boundary=", STATUS_INVALID},
        {"multipart/form-data; boundary=\"a \"", STATUS_INVALID},
        {"multipart/form-data; boundary=\"a\x01\"", STATUS_INVALID},
        {"multipart/mixed; boundary=abc", STATUS_INVALID},
        {"multipart/form-data; "
         "boundary=01234567890123456789012345678901234567890123456789012345678901234567890",
         STATUS_INVALID},
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct multipart m;
        assert_int_equal(multipart_init(&m, str_from(cases[i].type), NULL), cases[i].expected);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(every_split), cmocka_unit_test(boundaries)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
