#include "base/money.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define UNIT UINT64_C(1000000)

static uint64_t amount_of(int64_t micro)
{
    return micro < 0 ? UINT64_C(0) - (uint64_t)micro : (uint64_t)micro;
}

void money_exact(char out[MONEY_CAP], int64_t micro)
{
    uint64_t n = amount_of(micro);
    (void)snprintf(out, MONEY_CAP, "%s%" PRIu64 ".%06u", micro < 0 ? "-" : "", n / UNIT,
                   (unsigned)(n % UNIT));
}

void money_text(char out[MONEY_CAP], int64_t micro)
{
    uint64_t n = amount_of(micro);
    uint64_t step = n >= 100 * UNIT ? 10000 : n >= UNIT ? 100 : 1;
    n = (n + step / 2) / step * step;
    money_exact(out, micro < 0 ? -(int64_t)(n & INT64_MAX) : (int64_t)(n & INT64_MAX));
    char *end = out + strlen(out);
    for (int i = 0; i < 4 && end[-1] == '0'; i++) {
        *--end = '\0';
    }
}
