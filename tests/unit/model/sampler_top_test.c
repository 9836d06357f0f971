/* The choice from the likeliest alone is the choice from the whole row: over random rows and
 * options, whenever the first says that it knows. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "model/sampler.h"

#define VOCABULARY 1000U
#define TOP 64U
#define ROUNDS 4000

static uint32_t state = 12345;

static uint32_t next(uint32_t below)
{
    state = state * 1664525U + 1013904223U;
    return (state >> 8) % below;
}

static float real(float low, float high)
{
    return low + (high - low) * (float)next(1U << 20) / (float)(1U << 20);
}

struct row {
    float logits[VOCABULARY];
    uint64_t allowed[VOCABULARY / 64 + 1];
    bool masked;
};

static void make_row(struct row *r)
{
    float scale = real(.1F, 12);
    bool coarse = next(3) == 0; /* many equal ones */
    for (uint32_t i = 0; i < VOCABULARY; i++) {
        float v = scale * (real(-1, 1) + real(-1, 1) + real(-1, 1));
        r->logits[i] = coarse ? roundf(v) : v;
    }
    r->masked = next(4) == 0;
    for (size_t i = 0; i < sizeof r->allowed / sizeof r->allowed[0]; i++) {
        r->allowed[i] = next(2) == 0 ? 0 : (uint64_t)next(1U << 20) << 20 | next(1U << 20);
    }
}

/* What a device does: changes, sorts, adds up in its own order. */
static int by_logit(const void *a, const void *b)
{
    const struct sampler_candidate *x = a;
    const struct sampler_candidate *y = b;
    if (x->logit > y->logit || x->logit < y->logit) {
        return x->logit > y->logit ? -1 : 1;
    }
    return x->token < y->token ? -1 : x->token > y->token;
}

static struct sampler_top device(const struct row *r, const struct sampler_options *o,
                                 const struct sampler_touched *touched, size_t n,
                                 struct sampler_candidate *room)
{
    struct sampler_top t = {.top = room};
    float logits[VOCABULARY];
    memcpy(logits, r->logits, sizeof logits);
    for (size_t i = 0; i < n; i++) {
        float *l = &logits[touched[i].token];
        *l += touched[i].bias;
        if (touched[i].seen > 0) {
            *l = *l > 0 ? *l / o->repetition_penalty : *l * o->repetition_penalty;
            *l -= o->presence_penalty + (float)touched[i].seen * o->frequency_penalty;
        }
    }
    for (uint32_t i = 0; i < VOCABULARY; i++) {
        if (!r->masked || (r->allowed[i / 64] >> i % 64 & 1U) != 0) {
            room[t.candidates++] = (struct sampler_candidate){logits[i], i};
        }
    }
    qsort(room, t.candidates, sizeof *room, by_logit);
    for (size_t i = t.candidates; i-- > 0 && o->temperature > 0;) {
        t.total += exp(((double)room[i].logit - (double)room[0].logit) / (double)o->temperature);
    }
    t.n = t.candidates < TOP ? t.candidates : TOP;
    return t;
}

static struct sampler_options make_options(void)
{
    static struct logit_bias biases[3];
    for (size_t i = 0; i < 3; i++) {
        biases[i] = (struct logit_bias){next(VOCABULARY), real(-20, 20)};
    }
    bool penalties = next(3) == 0;
    return (struct sampler_options){.temperature = next(5) == 0 ? 0 : real(.05F, 2),
                                    .top_k = next(3) == 0 ? 0 : next(80),
                                    .top_p = next(3) == 0 ? 1 : real(0, 1),
                                    .min_p = next(3) == 0 ? real(0, .3F) : 0,
                                    .repetition_penalty = penalties ? real(.8F, 1.4F) : 1,
                                    .presence_penalty = penalties ? real(-1, 1) : 0,
                                    .frequency_penalty = penalties ? real(-1, 1) : 0,
                                    .window = 64,
                                    .seed = next(1U << 20),
                                    .biases = biases,
                                    .n_biases = next(4) == 0 ? 3 : 0};
}

static void test_same_choice(void **unused)
{
    static struct sampler_candidate room[VOCABULARY];
    static struct sampler_touched touched[SAMPLER_TOUCHED_MAX];
    int known = 0;
    int greedy = 0;
    (void)unused;
    for (int round = 0; round < ROUNDS; round++) {
        struct row r;
        struct sampler *s = NULL;
        struct error err = {0};
        struct sampler_options o = make_options();
        size_t n = 0;
        uint32_t got = 0;
        make_row(&r);
        assert_int_equal(sampler_new(&o, VOCABULARY, &s, &err), STATUS_OK);
        for (uint32_t i = next(100); i > 0; i--) {
            sampler_accept(s, next(VOCABULARY));
        }
        uint32_t want = sampler_pick(s, r.logits, r.masked ? r.allowed : NULL, (uint64_t)round);
        if (sampler_touched(s, touched, &n)) {
            struct sampler_top t = device(&r, &o, touched, n, room);
            if (sampler_pick_top(s, &t, (uint64_t)round, &got)) {
                assert_int_equal(got, want);
                known++;
                greedy += o.temperature > 0 ? 0 : 1;
            }
        }
        sampler_free(s);
    }
    /* most rows here are flatter than a model's; still most choices are known */
    assert_true(known > ROUNDS / 2);
    assert_true(greedy > ROUNDS / 8);
}

static void test_two_biases_are_the_hosts(void **unused)
{
    struct logit_bias twice[] = {{7, 1}, {7, 2}};
    struct sampler_options o = {.temperature = 1,
                                .top_p = 1,
                                .repetition_penalty = 1,
                                .window = 8,
                                .biases = twice,
                                .n_biases = 2};
    static struct sampler_touched touched[SAMPLER_TOUCHED_MAX];
    struct sampler *s = NULL;
    struct error err = {0};
    size_t n = 0;
    (void)unused;
    assert_int_equal(sampler_new(&o, VOCABULARY, &s, &err), STATUS_OK);
    assert_false(sampler_touched(s, touched, &n));
    sampler_free(s);
    o.n_biases = 1;
    assert_int_equal(sampler_new(&o, VOCABULARY, &s, &err), STATUS_OK);
    sampler_accept(s, 9); /* no penalty is set: it changes nothing */
    assert_true(sampler_touched(s, touched, &n));
    assert_int_equal(n, 1);
    assert_true(sampler_touched(s, touched, &n)); /* and again */
    sampler_free(s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_same_choice),
        cmocka_unit_test(test_two_biases_are_the_hosts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
