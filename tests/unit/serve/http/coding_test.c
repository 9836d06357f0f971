#include "serve/http/coding.h"

#include <stdlib.h>
#include <zlib.h>
#include <zstd.h>

#include "tests/unit/test.h"

#define ALL (1U << CODING_IDENTITY | 1U << CODING_GZIP | 1U << CODING_ZSTD)

/* RFC 9110, 12.4.2 and 12.5.3 */
static void choosing(void **state)
{
    (void)state;
    static const struct {
        const char *header; /* NULL: none */
        unsigned have;
        enum http_coding wanted;
    } rows[] = {
        {NULL, ALL, CODING_IDENTITY},
        {"", ALL, CODING_IDENTITY},
        {"gzip", ALL, CODING_GZIP},
        {"GZIP", ALL, CODING_GZIP},
        {"x-gzip", ALL, CODING_GZIP},
        {"gzip, deflate, br", ALL, CODING_GZIP},
        {"gzip, deflate, br, zstd", ALL, CODING_ZSTD},
        {"gzip, zstd", 1U << CODING_GZIP, CODING_GZIP},
        {"gzip, zstd;q=0.9", ALL, CODING_GZIP},
        {"gzip;q=0.1 , zstd ; q=0.2", ALL, CODING_ZSTD},
        {"gzip;q=0.001", ALL, CODING_GZIP},
        {"gzip;q=0", ALL, CODING_IDENTITY},
        {"gzip;q=0.000", ALL, CODING_IDENTITY},
        {"gzip;q=1.000", ALL, CODING_GZIP},
        {"gzip;q=2", ALL, CODING_IDENTITY},
        {"gzip;q=1.5", ALL, CODING_IDENTITY},
        {"gzip;q=", ALL, CODING_IDENTITY},
        {"gzip;level=3", ALL, CODING_IDENTITY},
        {"identity", ALL, CODING_IDENTITY},
        {"identity;q=1, gzip;q=0.5", ALL, CODING_IDENTITY},
        {"identity;q=0, gzip;q=0.5", ALL, CODING_GZIP},
        {"*", ALL, CODING_ZSTD},
        {"*;q=0", ALL, CODING_IDENTITY},
        {"zstd;q=0, *", ALL, CODING_GZIP},
        {"gzipped", ALL, CODING_IDENTITY},
        {",,gzip,", ALL, CODING_GZIP},
        {"br", ALL, CODING_IDENTITY},
    };
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        struct http_header line;
        struct http_head h = {.headers = &line};
        if (rows[i].header != NULL) {
            h.headers[h.n_headers++] =
                (struct http_header){STR("accept-encoding"), str_from(rows[i].header)};
        }
        if (http_coding_choose(&h, rows[i].have) != rows[i].wanted) {
            fail_msg("row %zu: %s", i, rows[i].header);
        }
    }
    struct http_header lines[] = {{STR("accept-encoding"), STR("br")},
                                  {STR("accept-encoding"), STR("gzip")}};
    struct http_head two = {.n_headers = 2, .headers = lines};
    assert_int_equal(http_coding_choose(&two, ALL), CODING_GZIP);
}

static void making(void **state)
{
    (void)state;
    char text[20000];
    char back[sizeof text];
    for (size_t i = 0; i < sizeof text; i++) {
        text[i] = (char)('a' + (i * i / 7) % 20);
    }
    struct str whole = {text, sizeof text};
    for (int best = 0; best < 2; best++) {
        struct buf b;
        buf_init(&b, sizeof text);
        assert_int_equal(http_coding_make(CODING_ZSTD, whole, best, &b), STATUS_OK);
        assert_true(b.len < sizeof text);
        assert_int_equal(ZSTD_decompress(back, sizeof back, b.ptr, b.len), sizeof text);
        assert_memory_equal(back, text, sizeof text);
        buf_reset(&b);
        assert_int_equal(http_coding_make(CODING_GZIP, whole, best, &b), STATUS_OK);
        z_stream z = {.next_in = (Bytef *)b.ptr,
                      .avail_in = (uInt)b.len,
                      .next_out = (Bytef *)back,
                      .avail_out = sizeof back};
        assert_int_equal(inflateInit2(&z, 15 + 16), Z_OK);
        assert_int_equal(inflate(&z, Z_FINISH), Z_STREAM_END);
        assert_int_equal(z.total_out, sizeof text);
        (void)inflateEnd(&z);
        assert_memory_equal(back, text, sizeof text);
        buf_deinit(&b);
    }
    struct buf small; /* no room: said, not overrun */
    buf_init(&small, 16);
    assert_int_not_equal(http_coding_make(CODING_GZIP, whole, true, &small), STATUS_OK);
    buf_reset(&small);
    assert_int_not_equal(http_coding_make(CODING_ZSTD, whole, true, &small), STATUS_OK);
    buf_deinit(&small);
    assert_null(http_coding_name(CODING_IDENTITY));
    assert_string_equal(http_coding_name(CODING_ZSTD), "zstd");
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(choosing), cmocka_unit_test(making)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
