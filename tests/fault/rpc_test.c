/* The store's fuzz target (tests/fuzz/store_rpc_fuzz.c) on random inputs, under the suite's
 * sanitizers. CARREL_FAULT_INPUTS sets how many (default 4000), CARREL_FAULT_SEED repeats a run. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/clock.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static uint32_t next(uint64_t *state)
{
    *state = *state * 6364136223846793005U + 1442695040888963407U;
    return (uint32_t)(*state >> 33);
}

static void random_requests(void **state)
{
    (void)state;
    const char *n = getenv("CARREL_FAULT_INPUTS");
    const char *given = getenv("CARREL_FAULT_SEED");
    unsigned long inputs = n == NULL ? 4000 : strtoul(n, NULL, 10);
    uint64_t seed = given == NULL ? (uint64_t)clock_wall_ms() : strtoull(given, NULL, 10);
    print_message("CARREL_FAULT_SEED=%llu\n", (unsigned long long)seed);
    for (unsigned long i = 0; i < inputs; i++) {
        uint8_t data[1024];
        size_t size = next(&seed) % sizeof data;
        for (size_t k = 0; k < size; k++) {
            data[k] = (uint8_t)next(&seed);
        }
        assert_int_equal(LLVMFuzzerTestOneInput(data, size), 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(random_requests)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
