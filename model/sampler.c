#include "model/sampler.h"

#include <math.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

struct sampler {
    struct sampler_options o;
    uint32_t vocabulary;
    float *logits;        /* this step's, changed */
    uint32_t *candidates; /* ids, likeliest first as far as they are ordered */
    uint16_t *seen;       /* by token: how often within the window */
    uint32_t *last;       /* ring of the window's tokens */
    size_t n_last, next_last;
    uint64_t *listed; /* one bit a token, for sampler_touched; 0 between calls */
    struct logit_bias *biases;
};

static bool in_range(float v, float low, float high)
{
    return v >= low && v <= high; /* false for NaN */
}

static enum status check(const struct sampler_options *o, uint32_t vocabulary, struct error *err)
{
    const struct {
        const char *name;
        float value, low, high;
    } rules[] = {{"temperature", o->temperature, 0, 2},
                 {"top_p", o->top_p, 0, 1},
                 {"min_p", o->min_p, 0, 1},
                 {"repetition_penalty", o->repetition_penalty, .01F, 100},
                 {"presence_penalty", o->presence_penalty, -2, 2},
                 {"frequency_penalty", o->frequency_penalty, -2, 2}};
    for (size_t i = 0; i < sizeof rules / sizeof rules[0]; i++) {
        if (!in_range(rules[i].value, rules[i].low, rules[i].high)) {
            return error_set(err, STATUS_INVALID, "%s must be from %g to %g", rules[i].name,
                             (double)rules[i].low, (double)rules[i].high);
        }
    }
    if (o->n_biases > SAMPLER_BIASES_MAX || o->window > SAMPLER_WINDOW_MAX) {
        return error_set(err, STATUS_INVALID, "at most %u biased tokens and a window of %u",
                         SAMPLER_BIASES_MAX, SAMPLER_WINDOW_MAX);
    }
    for (size_t i = 0; i < o->n_biases; i++) {
        if (o->biases[i].token >= vocabulary || !in_range(o->biases[i].bias, -100, 100)) {
            return error_set(
                err, STATUS_INVALID,
                "logit_bias: token %u is not in the vocabulary, or its bias is not from "
                "-100 to 100",
                o->biases[i].token);
        }
    }
    return STATUS_OK;
}

enum status sampler_new(const struct sampler_options *o, uint32_t vocabulary, struct sampler **out,
                        struct error *err)
{
    enum status st = check(o, vocabulary, err);
    struct sampler *s = st == STATUS_OK ? calloc(1, sizeof *s) : NULL;
    if (s == NULL) {
        return st == STATUS_OK ? error_set(err, STATUS_NO_MEMORY, "out of memory") : st;
    }
    s->o = *o;
    s->vocabulary = vocabulary;
    s->logits = calloc((size_t)vocabulary + 1, sizeof *s->logits);
    s->candidates = calloc((size_t)vocabulary + 1, sizeof *s->candidates);
    s->seen = calloc((size_t)vocabulary + 1, sizeof *s->seen);
    s->last = calloc((size_t)o->window + 1, sizeof *s->last);
    s->biases = calloc(o->n_biases + 1, sizeof *s->biases);
    s->listed = calloc((size_t)vocabulary / 64 + 1, sizeof *s->listed);
    if (s->logits == NULL || s->candidates == NULL || s->seen == NULL || s->last == NULL ||
        s->biases == NULL || s->listed == NULL) {
        sampler_free(s);
        return error_set(err, STATUS_NO_MEMORY, "out of memory");
    }
    if (o->n_biases > 0) {
        memcpy(s->biases, o->biases, o->n_biases * sizeof *s->biases);
    }
    s->o.biases = s->biases;
    *out = s;
    return STATUS_OK;
}

uint64_t sampler_bytes(uint32_t vocabulary)
{
    return vocabulary * (uint64_t)(sizeof(float) + sizeof(uint32_t) + sizeof(uint16_t));
}

void sampler_free(struct sampler *s)
{
    if (s != NULL) {
        free(s->logits);
        free(s->candidates);
        free(s->seen);
        free(s->last);
        free(s->biases);
        free(s->listed);
        free(s);
    }
}

void sampler_accept(struct sampler *s, uint32_t token)
{
    if (s->o.window == 0 || token >= s->vocabulary) {
        return;
    }
    if (s->n_last == s->o.window) {
        s->seen[s->last[s->next_last]]--;
    } else {
        s->n_last++;
    }
    s->last[s->next_last] = token;
    s->next_last = (s->next_last + 1) % s->o.window;
    s->seen[token]++;
}

static void penalise(struct sampler *s)
{
    for (size_t i = 0; i < s->o.n_biases; i++) {
        s->logits[s->biases[i].token] += s->biases[i].bias;
    }
    for (uint32_t t = 0; t < s->vocabulary && s->n_last > 0; t++) {
        if (s->seen[t] > 0) {
            float *l = &s->logits[t];
            *l = *l > 0 ? *l / s->o.repetition_penalty : *l * s->o.repetition_penalty;
            *l -= s->o.presence_penalty + (float)s->seen[t] * s->o.frequency_penalty;
        }
    }
}

/* Larger first, of equals the lower id: one order, so that ties never depend on chance. */
static bool ahead(const struct sampler *s, uint32_t a, uint32_t b)
{
    return s->logits[a] > s->logits[b] || (s->logits[a] >= s->logits[b] && a < b);
}

/* Sifts down a heap whose root is the likeliest. */
static void sift(struct sampler *s, size_t n, size_t i)
{
    uint32_t moved = s->candidates[i];
    for (size_t child = 2 * i + 1; child < n; child = 2 * i + 1) {
        if (child + 1 < n && ahead(s, s->candidates[child + 1], s->candidates[child])) {
            child++;
        }
        if (!ahead(s, s->candidates[child], moved)) {
            break;
        }
        s->candidates[i] = s->candidates[child];
        i = child;
    }
    s->candidates[i] = moved;
}

/* SplitMix64 (Steele et al. 2014) of seed and step: 53 bits, 0 <= r < 1. */
static double random_of(uint64_t seed, uint64_t step)
{
    uint64_t z = seed + (step + 1) * UINT64_C(0x9e3779b97f4a7c15);
    z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
    z ^= z >> 31;
    return (double)(z >> 11) * 0x1p-53;
}

/* Takes the likeliest off the heap one by one until every limit has cut the rest; what has been
 * taken is at the end of the array, likeliest last. */
static size_t take_nucleus(struct sampler *s, size_t n, double most, double total)
{
    size_t limit = s->o.top_k == 0 || s->o.top_k > n ? n : s->o.top_k;
    double temperature = (double)s->o.temperature;
    double sum = 0;
    size_t taken = 0;
    while (taken < limit) {
        uint32_t best = s->candidates[0];
        double p = exp(((double)s->logits[best] - most) / temperature);
        if (taken > 0 && (p < (double)s->o.min_p || sum >= (double)s->o.top_p * total)) {
            break;
        }
        sum += p;
        taken++;
        s->candidates[0] = s->candidates[n - taken];
        s->candidates[n - taken] = best;
        sift(s, n - taken, 0);
    }
    return taken;
}

/* The sum that top-p is a share of: of what top-k has left. */
static double total_of(const struct sampler *s, size_t n, double most)
{
    double sum = 0;
    for (size_t i = 0; i < n; i++) {
        sum += exp(((double)s->logits[s->candidates[i]] - most) / (double)s->o.temperature);
    }
    return sum;
}

static uint32_t draw(const struct sampler *s, size_t n, size_t taken, double most, uint64_t step)
{
    double temperature = (double)s->o.temperature;
    double sum = 0;
    for (size_t i = 0; i < taken; i++) {
        sum += exp(((double)s->logits[s->candidates[n - 1 - i]] - most) / temperature);
    }
    double r = random_of(s->o.seed, step) * sum;
    for (size_t i = 0; i < taken; i++) {
        uint32_t id = s->candidates[n - 1 - i];
        r -= exp(((double)s->logits[id] - most) / temperature);
        if (r < 0) {
            return id;
        }
    }
    return s->candidates[n - taken];
}

uint32_t sampler_pick(struct sampler *s, const float *logits, const uint64_t *allowed,
                      uint64_t step)
{
    size_t n = 0;
    memcpy(s->logits, logits, s->vocabulary * sizeof *s->logits);
    penalise(s);
    for (uint32_t i = 0; i < s->vocabulary; i++) {
        if ((allowed == NULL || (allowed[i / 64] >> i % 64 & 1U) != 0) && !isnan(s->logits[i])) {
            s->candidates[n++] = i;
        }
    }
    if (n == 0) {
        return UINT32_MAX;
    }
    uint32_t best = s->candidates[0];
    for (size_t i = 1; i < n; i++) {
        best = ahead(s, s->candidates[i], best) ? s->candidates[i] : best;
    }
    if (!(s->o.temperature > 0)) {
        return best;
    }
    for (size_t i = n / 2; i-- > 0;) {
        sift(s, n, i);
    }
    double most = (double)s->logits[best];
    double total = total_of(s, n, most);
    if (s->o.top_k > 0 && s->o.top_k < n && s->o.top_p < 1) { /* of the k likeliest only */
        struct sampler_options o = s->o;
        s->o.top_p = 1;
        s->o.min_p = 0;
        size_t k = take_nucleus(s, n, most, total);
        s->o = o;
        memmove(s->candidates, s->candidates + n - k, k * sizeof *s->candidates);
        n = k;
        total = total_of(s, n, most);
        for (size_t i = n / 2; i-- > 0;) {
            sift(s, n, i);
        }
    }
    size_t taken = take_nucleus(s, n, most, total);
    return draw(s, n, taken, most, step);
}

/* ---- from the likeliest alone ---- */

/* How far a sum in another order, or a device's exp, may be off: then the choice is the host's. */
#define DOUBT 1e-9

const struct sampler_options *sampler_given(const struct sampler *s)
{
    return &s->o;
}

/* Was it listed before? It is now. */
static bool list_once(struct sampler *s, uint32_t token)
{
    bool before = (s->listed[token / 64] >> token % 64 & 1U) != 0;
    s->listed[token / 64] |= UINT64_C(1) << token % 64;
    return before;
}

static bool penalised(const struct sampler_options *o)
{
    return o->repetition_penalty < 1 || o->repetition_penalty > 1 || o->presence_penalty < 0 ||
           o->presence_penalty > 0 || o->frequency_penalty < 0 || o->frequency_penalty > 0;
}

bool sampler_touched(struct sampler *s, struct sampler_touched *out, size_t *n)
{
    size_t found = 0;
    bool single = true;
    for (size_t i = 0; i < s->o.n_biases; i++) {
        uint32_t token = s->biases[i].token;
        single = !list_once(s, token) && single;
        out[found++] = (struct sampler_touched){
            .token = token,
            .bias = s->biases[i].bias,
            .seen = penalised(&s->o) && s->n_last > 0 ? s->seen[token] : 0};
    }
    for (size_t i = 0; i < s->n_last && penalised(&s->o); i++) {
        if (!list_once(s, s->last[i])) {
            out[found++] =
                (struct sampler_touched){.token = s->last[i], .seen = s->seen[s->last[i]]};
        }
    }
    for (size_t i = 0; i < found; i++) {
        s->listed[out[i].token / 64] = 0;
    }
    *n = found;
    return single;
}

static double share_of(const struct sampler *s, const struct sampler_top *t, size_t i)
{
    return exp(((double)t->top[i].logit - (double)t->top[0].logit) / (double)s->o.temperature);
}

/* How many of the likeliest sampler_pick keeps, and the sum of their shares. false: not known. With
 * *all, what was kept goes on behind the end of top, and the sum is of all of it. */
static bool keep(const struct sampler *s, const struct sampler_top *t, size_t *kept, double *sum,
                 bool *all)
{
    size_t limit = s->o.top_k == 0 || s->o.top_k > t->candidates ? t->candidates : s->o.top_k;
    double total = t->total;
    *sum = 0;
    *all = false;
    if (limit < t->candidates && s->o.top_p < 1) { /* top-p is a share of what top-k has left */
        if (limit > t->n) {
            return false;
        }
        total = 0;
        for (size_t i = 0; i < limit; i++) {
            total += share_of(s, t, i);
        }
    }
    for (size_t i = 0; i < limit; i++) {
        double edge = (double)s->o.top_p * total;
        if (i == t->n) { /* there are more than came */
            bool unlimited = limit == t->candidates && !(s->o.top_p < 1) && !(s->o.min_p > 0);
            *sum = total;
            *kept = i;
            *all = unlimited;
            return unlimited;
        }
        double share = share_of(s, t, i);
        if (i > 0 && share < (double)s->o.min_p) {
            *kept = i;
            return true;
        }
        if (i > 0 && *sum >= edge * (1 - DOUBT)) {
            /* surely over, or what may follow is too little to matter */
            *kept = i;
            return *sum > edge * (1 + DOUBT) || share * (double)(limit - i) <= DOUBT * *sum;
        }
        *sum += share;
    }
    *kept = limit;
    return true;
}

bool sampler_pick_top(const struct sampler *s, const struct sampler_top *t, uint64_t step,
                      uint32_t *token)
{
    size_t kept = 0;
    double sum = 0;
    bool all = false;
    if (t->candidates == 0) {
        *token = UINT32_MAX;
        return true;
    }
    if (!(s->o.temperature > 0)) {
        *token = t->top[0].token;
        return true;
    }
    if (!isfinite(t->top[0].logit) || !keep(s, t, &kept, &sum, &all)) {
        return false;
    }
    double doubt = DOUBT * 4 * sum;
    double r = random_of(s->o.seed, step) * sum;
    for (size_t i = 0; i < kept; i++) {
        double share = share_of(s, t, i);
        bool last = i + 1 == kept && !all; /* rounding may leave it the rest */
        if (r < doubt && i > 0) {
            return false; /* at the border to the one before */
        }
        r -= share;
        if (r < -doubt || last) {
            *token = t->top[i].token;
            return true;
        }
    }
    return false;
}

void sampler_logprobs(const float *logits, uint32_t vocabulary, uint32_t token, float *own,
                      struct token_logprob *top, size_t n)
{
    double sum = 0;
    float most = -INFINITY;
    size_t found = 0;
    for (uint32_t i = 0; i < vocabulary; i++) {
        most = logits[i] > most ? logits[i] : most;
    }
    for (uint32_t i = 0; i < vocabulary; i++) {
        sum += exp((double)logits[i] - (double)most);
    }
    double shift = (double)most + log(sum);
    *own = token < vocabulary ? (float)((double)logits[token] - shift) : -INFINITY;
    n = n > SAMPLER_LOGPROBS_MAX ? SAMPLER_LOGPROBS_MAX : n;
    for (uint32_t i = 0; i < vocabulary; i++) {
        float p = (float)((double)logits[i] - shift);
        size_t at = found;
        while (at > 0 && top[at - 1].logprob < p) {
            at--;
        }
        if (at < n) {
            size_t last = found < n ? found : n - 1;
            memmove(top + at + 1, top + at, (last - at) * sizeof *top);
            top[at] = (struct token_logprob){.token = i, .logprob = p};
            found += found < n ? 1 : 0;
        }
    }
    for (size_t i = found; i < n; i++) {
        top[i] = (struct token_logprob){.token = UINT32_MAX, .logprob = -INFINITY};
    }
}
