/* The continuous batch. A pass takes one token of each answer being written and slices of the
 * prompts being read: few tokens of prompts beside answers, so that nobody's answer stalls, many
 * when nobody writes. How prompts are sliced never changes a bit of what comes out. */
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "generate/local/runner_internal.h"
#include "model/pool.h"

#define SLICE_BESIDE_US 250000.0 /* how long prompts may hold up those who write */
#define SLICE_ALONE_US 1000000.0 /* and how long a cancelled reader is noticed after */
#define SLICE_LEAST 8U

uint32_t batch_active(const struct runner *r)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < r->config.users; i++) {
        n += r->slots[i].task != NULL ? 1 : 0;
    }
    return n;
}

/* ---- coming and going ---- */

static void end_slot(struct runner *r, struct slot *s, const struct error *why, const char *reason)
{
    struct runner_task *t = s->task;
    kv_release(r->pool, &s->sequence);
    sampler_free(s->sampler);
    grammar_run_free(s->form);
    uv_mutex_lock(&r->lock);
    r->shown.active--;
    if (why == NULL) {
        text_out_end(&s->text, &t->text);
        t->stopped = s->text.stop.stopped ? &t->stops[s->text.stop.which] : NULL;
        reason =
            t->stopped != NULL ? "stop" : reason; /* its end may have come with the last byte */
    }
    uv_mutex_unlock(&r->lock);
    text_out_deinit(&s->text);
    *s = (struct slot){0};
    runner_finish(r, t, why, reason);
}

static struct slot *free_slot(struct runner *r)
{
    for (uint32_t i = 0; i < r->config.users; i++) {
        if (r->slots[i].task == NULL) {
            return &r->slots[i];
        }
    }
    return NULL;
}

/* Pages for the prompt and the longest answer, at once: an answer that has begun is never short of
 * room. BUSY: not yet. */
static enum status reserve(struct runner *r, struct slot *s, struct error *err)
{
    const struct runner_task *t = s->task;
    uint32_t prompt = (uint32_t)t->prompt.n;
    s->fed = beginnings_find(&r->beginnings, t->scope, t->prompt.ids, prompt, clock_monotonic_ms(),
                             &s->sequence, &s->worth);
    uint32_t more = prompt - s->fed + t->max_tokens;
    enum status st = kv_reserve(r->pool, &s->sequence, more, err);
    while (st == STATUS_BUSY && beginnings_drop_one(&r->beginnings)) {
        st = kv_reserve(r->pool, &s->sequence, more, err);
    }
    if (st != STATUS_OK) {
        kv_release(r->pool, &s->sequence);
        s->fed = 0;
    }
    return st;
}

/* The special tokens that open and close calls belong to the text of an answer that may call. */
static void show_marks(const struct runner *r, struct slot *s)
{
    struct str marks[TOOL_MARKS_MAX];
    size_t n = tool_marks(s->task->shown, marks), found = 0;
    for (size_t i = 0; i < n; i++) {
        uint32_t id = tokenizer_find(model_tokenizer(r->model), marks[i]);
        if (id != TOKEN_NONE) {
            s->shown[found++] = id;
        } else if (i == 0) {
            s->shown[found++] = TOKEN_NONE; /* the opening is the first */
        }
    }
    s->text.shown = s->shown;
    s->text.n_shown = found;
}

static enum status seat(struct runner *r, struct slot *s, struct runner_task *t, struct error *err)
{
    s->task = t;
    enum status st = reserve(r, s, err);
    if (st == STATUS_OK) {
        st = sampler_new(&t->sampling, model_info(r->model)->vocabulary, &s->sampler, err);
    }
    if (st == STATUS_OK) {
        st = text_out_init(&s->text, model_tokenizer(r->model), t->stops, t->n_stops, err);
        show_marks(r, s);
    }
    bool held = t->grammar != NULL || t->call_grammar != NULL;
    if (st == STATUS_OK && held && r->words == NULL) {
        st = grammar_vocabulary_new(model_tokenizer(r->model), &r->words, err);
    }
    if (st == STATUS_OK && t->grammar != NULL) {
        st = grammar_run_new(t->grammar, r->words, &s->form, err);
    }
    if (st != STATUS_OK) {
        kv_release(r->pool, &s->sequence);
        sampler_free(s->sampler);
        text_out_deinit(&s->text);
        *s = (struct slot){0};
        return st;
    }
    s->ticket = ++r->tickets;
    t->shared_tokens = s->fed;
    r->shared += s->fed;
    return STATUS_OK;
}

void batch_admit(struct runner *r)
{
    struct slot *s = free_slot(r);
    while (s != NULL && !list_empty(&r->waiting)) {
        struct runner_task *t = list_entry(r->waiting.next, struct runner_task, link);
        struct error err = {0};
        enum status st = seat(r, s, t, &err);
        if (st == STATUS_BUSY) {
            return; /* in order: whoever came later does not overtake */
        }
        list_remove(&t->link);
        uv_mutex_lock(&r->lock);
        r->n_arrived--;
        r->shown.active += st == STATUS_OK ? 1 : 0;
        uv_mutex_unlock(&r->lock);
        if (st != STATUS_OK) {
            runner_finish(r, t, &err, NULL);
        }
        s = free_slot(r);
    }
}

static bool over(const struct runner_task *t, int64_t now_ms, struct error *why)
{
    if (atomic_load(&t->cancelled)) {
        (void)error_set(why, STATUS_CANCELLED, "the caller went away");
        return true;
    }
    if (now_ms >= t->deadline_ms) {
        (void)error_set(why, STATUS_DEADLINE, "no answer in the time allowed: the model is busy");
        return true;
    }
    return false;
}

void batch_sweep(struct runner *r, int64_t now_ms)
{
    struct error why = {0};
    list_for_each_safe(it, &r->waiting)
    {
        struct runner_task *t = list_entry(it, struct runner_task, link);
        if (over(t, now_ms, &why)) {
            list_remove(&t->link);
            uv_mutex_lock(&r->lock);
            r->n_arrived--;
            uv_mutex_unlock(&r->lock);
            runner_finish(r, t, &why, NULL);
        }
    }
    for (uint32_t i = 0; i < r->config.users; i++) {
        struct slot *s = &r->slots[i];
        if (s->task != NULL && over(s->task, now_ms, &why)) {
            bool late = why.code == STATUS_DEADLINE && s->written > 0;
            end_slot(r, s, late ? NULL : &why, "length"); /* what was said counts */
        }
    }
}

void batch_end(struct runner *r)
{
    struct error why = {0};
    (void)error_set(&why, STATUS_CANCELLED, "generate is stopping");
    list_for_each_safe(it, &r->waiting)
    {
        struct runner_task *t = list_entry(it, struct runner_task, link);
        list_remove(&t->link);
        runner_finish(r, t, &why, NULL);
    }
    for (uint32_t i = 0; i < r->config.users; i++) {
        if (r->slots[i].task != NULL) {
            end_slot(r, &r->slots[i], &why, NULL);
        }
    }
}

/* ---- a pass ---- */

struct pass {
    struct model_piece pieces[RUNNER_USERS_MAX];
    struct backend_pick picks[RUNNER_USERS_MAX];
    struct error refused[RUNNER_USERS_MAX]; /* by the answer's form; code OK: not */
    struct slot *slots[RUNNER_USERS_MAX];
    size_t n;
    uint32_t tokens;
};

static void add(struct pass *p, struct slot *s, const uint32_t *tokens, uint32_t n)
{
    p->pieces[p->n] = (struct model_piece){.sequence = &s->sequence, .tokens = tokens, .n = n};
    p->slots[p->n++] = s;
    p->tokens += n;
}

static uint32_t prompt_budget(const struct runner *r, bool beside)
{
    double tokens = (beside ? SLICE_BESIDE_US : SLICE_ALONE_US) / (r->us_per_token + 1);
    uint32_t n = tokens > RUNNER_PASS_TOKENS ? RUNNER_PASS_TOKENS : (uint32_t)tokens;
    return n < SLICE_LEAST ? SLICE_LEAST : n;
}

/* The reader who came first among those not yet in the pass. */
static struct slot *next_reader(struct runner *r, uint64_t after)
{
    struct slot *found = NULL;
    for (uint32_t i = 0; i < r->config.users; i++) {
        struct slot *s = &r->slots[i];
        if (s->task != NULL && !s->begun && s->ticket > after &&
            (found == NULL || s->ticket < found->ticket)) {
            found = s;
        }
    }
    return found;
}

static void gather(struct runner *r, struct pass *p)
{
    *p = (struct pass){0};
    for (uint32_t i = 0; i < r->config.users; i++) {
        if (r->slots[i].task != NULL && r->slots[i].begun) {
            add(p, &r->slots[i], &r->slots[i].next, 1);
        }
    }
    uint32_t left = prompt_budget(r, p->n > 0);
    uint32_t room = RUNNER_PASS_TOKENS - p->tokens;
    left = left > room ? room : left;
    for (struct slot *s = next_reader(r, 0); s != NULL && left > 0; s = next_reader(r, s->ticket)) {
        uint32_t n = (uint32_t)s->task->prompt.n - s->fed;
        n = n > left ? left : n;
        n = s->fed < s->worth && s->fed + n > s->worth ? s->worth - s->fed : n;
        add(p, s, s->task->prompt.ids + s->fed, n);
        left -= n;
    }
}

/* Room for one more; a failed allocation ends the record, not the answer. */
static void note_logprob(struct runner *r, struct runner_task *t, const float *logits,
                         uint32_t token)
{
    if (!t->logprobs) {
        return;
    }
    if ((t->n_probs & (t->n_probs - 1)) == 0) { /* full at every power of two */
        size_t cap = t->n_probs == 0 ? 1 : t->n_probs * 2;
        struct runner_logprob *grown = realloc(t->probs, cap * sizeof *grown);
        if (grown == NULL) {
            t->logprobs = false;
            return;
        }
        t->probs = grown;
    }
    struct runner_logprob *p = &t->probs[t->n_probs++];
    *p = (struct runner_logprob){.token = token};
    sampler_logprobs(logits, model_info(r->model)->vocabulary, token, &p->logprob, p->top,
                     t->n_top);
}

/* What the next token of a piece is chosen by, among those that the answer's form allows. */
static void ask(struct pass *p, size_t i)
{
    struct slot *s = p->slots[i];
    struct backend_pick *pick = &p->picks[i];
    if (!s->begun && s->fed + p->pieces[i].n < s->task->prompt.n) {
        return;
    }
    pick->sampler = s->sampler;
    pick->step = s->written;
    pick->logits_wanted = s->task->logprobs;
    pick->wanted = s->form == NULL ||
                   grammar_run_allowed(s->form, &pick->allowed, &p->refused[i]) == STATUS_OK;
}

/* The token is taken, or says why there is none. *whole: the form is complete with it. */
/* The opening mark, where it is one token: from here on the call's grammar holds. Where it is
 * words, nothing does, and what comes is only checked. */
static enum status begin_call(const struct runner *r, struct slot *s, uint32_t token,
                              struct error *err)
{
    bool opens = s->task->call_grammar != NULL && s->form == NULL && s->text.n_shown > 0 &&
                 token == s->shown[0];
    s->calling = s->calling || opens;
    return opens ? grammar_run_new(s->task->call_grammar, r->words, &s->form, err) : STATUS_OK;
}

static enum status take(const struct runner *r, struct slot *s, const struct backend_pick *pick,
                        bool *whole, struct error *err)
{
    enum status st = STATUS_OK;
    if (pick->token == UINT32_MAX) {
        return error_set(err, STATUS_INTERNAL,
                         s->form != NULL
                             ? "no token of the vocabulary goes on in the form asked for"
                             : "the model gave no usable numbers");
    }
    if (s->form != NULL && !tokenizer_is_end(model_tokenizer(r->model), pick->token)) {
        st = grammar_run_accept(s->form, pick->token, err);
        *whole = st == STATUS_OK && grammar_run_ended(s->form);
    }
    if (*whole && s->calling) { /* the answer goes on, free again */
        grammar_run_free(s->form);
        s->form = NULL;
        s->calling = *whole = false;
    } else if (st == STATUS_OK) {
        st = begin_call(r, s, pick->token, err);
    }
    return st;
}

/* The next token of an answer; the slot may be free afterwards. */
static void go_on(struct runner *r, struct slot *s, const struct backend_pick *pick,
                  const struct error *refused)
{
    struct runner_task *t = s->task;
    struct error why = *refused;
    bool whole = false;
    uint32_t token = pick->token;
    if (why.code != STATUS_OK || take(r, s, pick, &whole, &why) != STATUS_OK) {
        end_slot(r, s, &why, NULL);
        return;
    }
    s->written++;
    r->written++;
    sampler_accept(s->sampler, token);
    bool stop = tokenizer_is_end(model_tokenizer(r->model), token);
    if (!stop) {
        note_logprob(r, t, pick->logits, token);
    }
    uv_mutex_lock(&r->lock);
    t->completion_tokens = s->written;
    size_t before = t->text.len;
    stop = stop || text_out_add(&s->text, token, &t->text);
    r->changed = r->changed || t->text.len > before;
    enum status st = buf_status(&t->text);
    uv_mutex_unlock(&r->lock);
    s->next = token;
    if (st != STATUS_OK) {
        (void)error_set(&why, st, "the answer: %s", status_text(st));
        end_slot(r, s, &why, NULL);
    } else if (stop || whole || s->written >= t->max_tokens) {
        end_slot(r, s, NULL, stop || whole ? "stop" : "length");
    }
}

static void keep(struct runner *r, const struct slot *s)
{
    beginnings_keep(&r->beginnings, s->task->scope, s->task->prompt.ids, s->fed, &s->sequence,
                    clock_monotonic_ms());
}

static void after(struct runner *r, const struct pass *p)
{
    for (size_t i = 0; i < p->n; i++) {
        struct slot *s = p->slots[i];
        if (!s->begun) {
            s->fed += p->pieces[i].n;
            r->read += p->pieces[i].n;
            if (s->fed == s->worth) {
                keep(r, s);
            }
            if (s->fed < s->task->prompt.n) {
                continue;
            }
            s->begun = true;
            keep(r, s);
        }
        go_on(r, s, &p->picks[i], &p->refused[i]);
    }
}

/* What a pass cost is shared by the tokens that each had in it; what does not divide is the last
 * one's. A GPU is taken to be at work as long as the pass lasts. */
static void share_cost(struct runner *r, const struct pass *p, int64_t cpu_us, int64_t wall_us)
{
    bool gpu = strcmp(r->backend->ops->name, "cuda") == 0;
    int64_t cpu_left = cpu_us;
    int64_t gpu_left = gpu ? wall_us : 0;
    int64_t gpu_us = gpu_left;
    uv_mutex_lock(&r->lock);
    for (size_t i = 0; i < p->n; i++) {
        struct runner_task *t = p->slots[i]->task;
        bool last = i + 1 == p->n;
        int64_t cpu = last ? cpu_left : cpu_us * p->pieces[i].n / p->tokens;
        int64_t card = last ? gpu_left : gpu_us * p->pieces[i].n / p->tokens;
        t->cpu_us += cpu;
        t->gpu_us += card;
        t->read_tokens = p->slots[i]->begun ? t->read_tokens : p->slots[i]->fed + p->pieces[i].n;
        cpu_left -= cpu;
        gpu_left -= card;
    }
    uv_mutex_unlock(&r->lock);
}

void batch_pass(struct runner *r)
{
    struct pass p;
    struct error err = {0};
    gather(r, &p);
    if (p.n == 0) {
        return;
    }
    for (size_t i = 0; i < p.n; i++) {
        ask(&p, i);
    }
    int64_t from = clock_monotonic_us();
    int64_t cpu = pool_cpu_us(r->threads);
    enum status st = backend_choose(r->backend, p.pieces, p.n, p.picks, &err);
    int64_t took = clock_monotonic_us() - from;
    double each = (double)took / p.tokens;
    share_cost(r, &p, pool_cpu_us(r->threads) - cpu, took);
    r->us_per_token = r->us_per_token > 0 ? .7 * r->us_per_token + .3 * each : each;
    r->passes++;
    if (st == STATUS_OK) {
        after(r, &p);
        return;
    }
    for (size_t i = 0; i < p.n; i++) {
        end_slot(r, p.slots[i], &err, NULL);
    }
}
