#include "tests/unit/test.h"

#include <math.h>

#include "base/half.h"

/* The meaning of a half, straight from the format. */
static double value(uint16_t h)
{
    int exponent = h >> 10 & 31;
    double m = h & 0x3ff;
    double v = exponent == 0 ? ldexp(m, -24) : ldexp(1024 + m, exponent - 25);
    return (h & 0x8000) != 0 ? -v : v;
}

static uint16_t encode(float f)
{
    uint8_t b[2];
    half_encode(&f, 1, b);
    return (uint16_t)(b[0] | b[1] << 8);
}

static void every_half_comes_back(void **state)
{
    (void)state;
    for (uint32_t h = 0; h < 0x7c00; h++) {
        assert_int_equal(encode((float)value((uint16_t)h)), h);
        assert_int_equal(encode((float)-value((uint16_t)h)), h | 0x8000);
    }
}

static void rounds_to_the_nearest(void **state)
{
    (void)state;
    for (uint32_t h = 0; h + 1 < 0x7c00; h++) {
        double a = value((uint16_t)h);
        double b = value((uint16_t)(h + 1));
        assert_int_equal(encode((float)(a + (b - a) * 0.4)), h);
        assert_int_equal(encode((float)(a + (b - a) * 0.6)), h + 1);
        assert_int_equal(encode((float)(a + (b - a) * 0.5)), h + (h & 1));
    }
    assert_int_equal(encode(1e30F), 0x7bff);
    assert_int_equal(encode(-INFINITY), 0xfbff);
    assert_int_equal(encode(NAN), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_half_comes_back),
        cmocka_unit_test(rounds_to_the_nearest),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
