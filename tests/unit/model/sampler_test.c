#include "model/sampler.h"

#include <math.h>

#include "model/stop.h"
#include "tests/unit/test.h"

#define N 8U
#define DRAWS 20000U

static const float logits[N] = {0, 1, 2, 3, 3, -1, -2, 0.5F};

static struct sampler_options plain(void)
{
    return (struct sampler_options){
        .temperature = 1, .top_p = 1, .repetition_penalty = 1, .window = 16, .seed = 7};
}

static struct sampler *make(const struct sampler_options *o)
{
    struct sampler *s = NULL;
    struct error err;
    if (sampler_new(o, N, &s, &err) != STATUS_OK) {
        fail_msg("%s", err.text);
    }
    return s;
}

/* How often each token comes in DRAWS steps. */
static void draw_all(const struct sampler_options *o, uint32_t counts[N])
{
    struct sampler *s = make(o);
    memset(counts, 0, N * sizeof *counts);
    for (uint32_t i = 0; i < DRAWS; i++) {
        uint32_t t = sampler_pick(s, logits, NULL, i);
        assert_in_range(t, 0, N - 1);
        counts[t]++;
    }
    sampler_free(s);
}

static void zero_temperature_takes_the_largest(void **state)
{
    (void)state;
    struct sampler_options o = plain();
    o.temperature = 0;
    struct sampler *s = make(&o);
    assert_int_equal(sampler_pick(s, logits, NULL, 0), 3); /* of equals the lower */
    uint64_t allowed = 1U << 4 | 1U << 1;
    assert_int_equal(sampler_pick(s, logits, &allowed, 0), 4);
    allowed = 0;
    assert_int_equal(sampler_pick(s, logits, &allowed, 0), UINT32_MAX);
    sampler_free(s);
}

static void frequencies_are_those_of_softmax(void **state)
{
    (void)state;
    struct sampler_options o = plain();
    uint32_t counts[N];
    for (int hot = 0; hot < 2; hot++) {
        double sum = 0;
        o.temperature = hot == 1 ? 2.0F : .7F;
        draw_all(&o, counts);
        for (uint32_t i = 0; i < N; i++) {
            sum += exp((double)logits[i] / (double)o.temperature);
        }
        for (uint32_t i = 0; i < N; i++) { /* within five standard deviations */
            double p = exp((double)logits[i] / (double)o.temperature) / sum;
            double room = 5 * sqrt(p * (1 - p) * DRAWS) + 1;
            if (fabs((double)counts[i] - p * DRAWS) > room) {
                fail_msg("token %u came %u times, not about %.0f", i, counts[i], p * DRAWS);
            }
        }
    }
}

static void limits_cut_the_tail(void **state)
{
    (void)state;
    uint32_t counts[N];
    struct sampler_options o = plain();
    o.top_k = 3; /* 3, 4 and 2 */
    draw_all(&o, counts);
    assert_int_equal(counts[2] + counts[3] + counts[4], DRAWS);
    assert_true(counts[2] > 0);
    o = plain();
    o.top_p = .5F; /* 3 has .36, 4 the same: both are needed */
    draw_all(&o, counts);
    assert_int_equal(counts[3] + counts[4], DRAWS);
    o = plain();
    o.min_p = .3F; /* 2 has a share of e^-1 of the best, 1 of e^-2 */
    draw_all(&o, counts);
    assert_int_equal(counts[2] + counts[3] + counts[4], DRAWS);
    assert_true(counts[2] > 0);
    o.top_k = 1;
    draw_all(&o, counts);
    assert_int_equal(counts[3], DRAWS);
    o = plain();
    o.top_k = 3;
    o.top_p = .6F; /* of three with .42, .42 and .16 */
    draw_all(&o, counts);
    assert_int_equal(counts[3] + counts[4], DRAWS);
}

static void a_step_can_be_taken_up_again(void **state)
{
    (void)state;
    struct sampler_options o = plain();
    struct sampler *a = make(&o);
    struct sampler *b = make(&o);
    uint32_t tokens[64];
    for (uint32_t i = 0; i < 64; i++) {
        tokens[i] = sampler_pick(a, logits, NULL, i);
    }
    assert_int_equal(sampler_pick(b, logits, NULL, 40), tokens[40]);
    o.seed = 8;
    struct sampler *c = make(&o);
    uint32_t same = 0;
    for (uint32_t i = 0; i < 64; i++) {
        same += sampler_pick(c, logits, NULL, i) == tokens[i] ? 1 : 0;
    }
    assert_true(same < 60); /* another seed is another answer */
    sampler_free(a);
    sampler_free(b);
    sampler_free(c);
}

static void penalties_and_biases(void **state)
{
    (void)state;
    struct logit_bias bias = {.token = 6, .bias = 100};
    struct sampler_options o = plain();
    o.temperature = 0;
    o.frequency_penalty = .6F;
    o.window = 3;
    struct sampler *s = make(&o);
    sampler_accept(s, 3);
    assert_int_equal(sampler_pick(s, logits, NULL, 0), 4); /* 2.4 against 3 */
    sampler_accept(s, 4);
    sampler_accept(s, 4);
    assert_int_equal(sampler_pick(s, logits, NULL, 0), 3); /* 2.4 against 1.8 */
    sampler_accept(s, 0);                                  /* 3 falls out of the window */
    assert_int_equal(sampler_pick(s, logits, NULL, 0), 3);
    sampler_free(s);
    o = plain();
    o.temperature = 0;
    o.repetition_penalty = 4;
    s = make(&o);
    sampler_accept(s, 3);
    sampler_accept(s, 4);
    assert_int_equal(sampler_pick(s, logits, NULL, 0), 2);
    sampler_free(s);
    o = plain();
    o.temperature = 0;
    o.biases = &bias;
    o.n_biases = 1;
    s = make(&o);
    assert_int_equal(sampler_pick(s, logits, NULL, 0), 6);
    sampler_free(s);
}

static void bad_options_are_named(void **state)
{
    (void)state;
    struct sampler *s = NULL;
    struct error err;
    struct logit_bias bias = {.token = N, .bias = 1};
    struct sampler_options o = plain();
    o.top_p = 1.5F;
    assert_int_equal(sampler_new(&o, N, &s, &err), STATUS_INVALID);
    assert_non_null(strstr(err.text, "top_p"));
    o = plain();
    o.temperature = NAN;
    assert_int_equal(sampler_new(&o, N, &s, &err), STATUS_INVALID);
    o = plain();
    o.biases = &bias;
    o.n_biases = 1;
    assert_int_equal(sampler_new(&o, N, &s, &err), STATUS_INVALID);
    assert_non_null(strstr(err.text, "token 8"));
}

static void logprobs(void **state)
{
    (void)state;
    float own = 0;
    double sum = 0;
    struct token_logprob top[N + 1];
    for (uint32_t i = 0; i < N; i++) {
        sampler_logprobs(logits, N, i, &own, top, 3);
        sum += exp((double)own);
    }
    assert_float_equal(sum, 1, 1e-6);
    assert_int_equal(top[0].token, 3);
    assert_int_equal(top[1].token, 4);
    assert_int_equal(top[2].token, 2);
    sampler_logprobs(logits, N, 0, &own, top, N + 1);
    assert_int_equal(top[N - 1].token, 6);
    assert_int_equal(top[N].token, UINT32_MAX);
}

static void stops(struct str *strings, size_t n, const char *const *pieces, const char *sent,
                  const char *after, bool stopped)
{
    struct stop s;
    struct buf out;
    struct error err;
    bool done = false;
    buf_init(&out, 1000);
    assert_int_equal(stop_init(&s, strings, n, &err), STATUS_OK);
    for (; *pieces != NULL && !done; pieces++) {
        done = stop_feed(&s, str_from(*pieces), &out);
    }
    assert_true(str_eq(buf_view(&out), str_from(sent)));
    stop_end(&s, &out);
    assert_true(str_eq(buf_view(&out), str_from(after)));
    assert_int_equal(done, stopped);
    stop_deinit(&s);
    buf_deinit(&out);
}

static void stop_strings(void **state)
{
    (void)state;
    struct str strings[] = {STR("\n\nUser:"), STR("END")};
    const char *const split[] = {"Hello", " wor", "ld\n", "\nUs", "er:", " not this", NULL};
    stops(strings, 2, split, "Hello world", "Hello world", true);
    const char *const almost[] = {"a\n", "\nUse", " EN", "X E", NULL};
    stops(strings, 2, almost, "a\n\nUse ENX ", "a\n\nUse ENX E", false);
    const char *const first[] = {"xEND\n\nUser:", NULL};
    stops(strings, 2, first, "x", "x", true);
    struct str overlapping[] = {STR("aab")};
    const char *const repeated[] = {"a", "a", "a", "b", "c", NULL};
    stops(overlapping, 1, repeated, "a", "a", true);
    const char *const none[] = {"abc", NULL};
    stops(NULL, 0, none, "abc", "abc", false);
    struct stop s;
    struct error err;
    struct str empty = STR("");
    assert_int_equal(stop_init(&s, &empty, 1, &err), STATUS_INVALID);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(zero_temperature_takes_the_largest),
        cmocka_unit_test(frequencies_are_those_of_softmax),
        cmocka_unit_test(limits_cut_the_tail),
        cmocka_unit_test(a_step_can_be_taken_up_again),
        cmocka_unit_test(penalties_and_biases),
        cmocka_unit_test(bad_options_are_named),
        cmocka_unit_test(logprobs),
        cmocka_unit_test(stop_strings),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
