#include "serve/usage/prices.h"

#include "tests/unit/test.h"

static void costs(void **state)
{
    (void)state;
    struct settings s = {.prices = {.currency = "EUR",
                                    .cpu_second = 0.0001,
                                    .gb_month = 0.10,
                                    .embedding_million = 0.02,
                                    .external_prompt_million = 1,
                                    .external_completion_million = 2}};
    struct model_price_settings own = {
        .name = "phi", .prompt_million = 0.15, .completion_million = 0.6};
    struct prices p;
    s.model_prices = &own;
    s.n_model_prices = 1;
    prices_read(&s, &p);
    struct usage u = {.external = true, .prompt_tokens = 1000, .completion_tokens = 10};
    struct cost c = prices_cost(&p, &u);
    assert_int_equal(c.micro, 1020);
    assert_int_equal(c.external, 1020);
    struct usage here = {.prompt_tokens = 1000000, .completion_tokens = 1000000, .cpu_us = 2500000};
    usage_model(&here, "phi (sha256 0123456789ab, avx2)");
    assert_string_equal(here.model, "phi");
    c = prices_cost(&p, &here);
    assert_int_equal(c.micro, 150000 + 600000 + 250);
    assert_int_equal(c.external, 0);
    struct usage words = {.embedding_tokens = 51};
    assert_int_equal(prices_cost(&p, &words).micro, 1); /* 1.02 */
    struct usage huge = {
        .prompt_tokens = INT64_MAX, .completion_tokens = INT64_MAX, .external = true};
    assert_true(prices_cost(&p, &huge).micro > 0);
    assert_int_equal(prices_storage_day(&p, INT64_C(30) * 1000000000, 30),
                     100000); /* 30 GB: 0.10 a day */
}

static void what_money_pays(void **state)
{
    (void)state;
    struct settings s = {
        .prices = {.currency = "EUR", .external_completion_million = 2, .prompt_million = 1}};
    struct model_price_settings own = {.name = "dear", .completion_million = 1e6};
    struct prices p;
    s.model_prices = &own;
    s.n_model_prices = 1;
    prices_read(&s, &p);
    assert_int_equal(prices_tokens(&p, "far", true, 2), 1);
    assert_int_equal(prices_tokens(&p, "far", true, 1), 0);
    assert_int_equal(prices_tokens(&p, "far", true, 2000001), 1000000);
    assert_int_equal(prices_tokens(&p, "far", true, 0), 0);
    assert_int_equal(prices_tokens(&p, "far", true, -5), 0);
    assert_int_equal(prices_tokens(&p, "far", true, INT64_C(1000000000000000)), UINT32_MAX);
    assert_int_equal(prices_tokens(&p, "far", true, INT64_MAX), UINT32_MAX);
    assert_int_equal(prices_tokens(&p, "near", false, 0), UINT32_MAX); /* what it writes is free */
    assert_int_equal(prices_tokens(&p, "dear", false, 2999999), 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(costs), cmocka_unit_test(what_money_pays)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
