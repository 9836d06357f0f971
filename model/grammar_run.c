#include "model/grammar.h"

#include <stdlib.h>

#include "base/map.h"
#include "model/grammar_internal.h"
#include "model/grammar_vocabulary.h"

#define BOTTOM 0U /* the stack with nothing left to read */
#define CLOSURE_MAX (1U << 16)
#define CLOSURE_WORK_MAX (1U << 20) /* ways looked at in one: a rule may have very many */
#define CHECK_MAX (1U << 25)
#define STEP_WORK_MAX (1U << 22) /* for one token: the model waits for it, and so does everybody   \
                                  */
#define READINGS_MAX 4096U       /* stacks in one state */
#define STATES_SOFT 2048U
#define STATES_HARD (8U * STATES_SOFT)
#define SETS_SOFT (1U << 19)
#define SETS_HARD (8U * SETS_SOFT)
#define NODES_SOFT (1U << 18)
#define NODES_HARD (8U * NODES_SOFT)
#define MASKS 256U
#define DEAD UINT32_MAX
#define UNKNOWN (UINT32_MAX - 1)

/* A stack: `at` is read next, then `below`. Equal stacks are one node. */
struct node {
    uint32_t at, below;
    uint32_t seen; /* the closure that came by last */
};

struct state {
    uint32_t first, n; /* of sets */
    bool whole;        /* BOTTOM is among them */
    uint32_t mask;     /* slot, or GRAMMAR_NONE */
};

/* The part of the table of states that was needed so far. */
struct automaton {
    const struct grammar *g;
    struct node *nodes;
    uint32_t n_nodes, cap_nodes;
    uint32_t *node_index; /* open addressing; 0: free, since BOTTOM is never looked up */
    uint32_t node_slots;
    struct state *states;
    uint32_t n_states, cap_states;
    uint32_t *next; /* a row a state: for each group of bytes a state, DEAD or UNKNOWN */
    uint32_t cap_next;
    uint32_t *sets;
    uint32_t n_sets, cap_sets;
    struct map by_set; /* state + 1 */
    uint32_t *todo;    /* of a closure */
    uint32_t n_todo, cap_todo;
    uint32_t *found;
    uint32_t n_found;
    uint32_t epoch;
    uint64_t steps; /* work done so far */
};

struct grammar_run {
    struct automaton a;
    const struct grammar_vocabulary *v;
    uint32_t state;
    uint32_t *path; /* states at the depths of a walk */
    uint64_t *masks;
    uint32_t words;
    uint32_t mask_of[MASKS]; /* the state that has the slot, or GRAMMAR_NONE */
    uint32_t next_mask;
};

/* ---- stacks ---- */

static enum status too_many(struct error *err)
{
    return error_set(err, STATUS_TOO_LARGE,
                     "the grammar can read the answer so far in too many ways; make it simpler");
}

static void *grown(void *array, uint32_t need, uint32_t *cap, size_t size)
{
    uint32_t want = *cap < 64 ? 64 : *cap;
    while (want < need) {
        want *= 2;
    }
    if (want == *cap) {
        return array;
    }
    void *p = realloc(array, want * size);
    if (p != NULL) {
        *cap = want;
    }
    return p;
}

static uint32_t slot_of(const struct automaton *a, uint32_t at, uint32_t below)
{
    uint64_t h = ((uint64_t)at << 32 | below) * 0x9E3779B97F4A7C15U;
    return (uint32_t)(h >> 32) & (a->node_slots - 1);
}

static enum status reindex(struct automaton *a, struct error *err)
{
    uint32_t slots = a->node_slots < 256 ? 256 : a->node_slots * 2;
    uint32_t *index = calloc(slots, sizeof *index);
    if (index == NULL) {
        return error_set(err, STATUS_NO_MEMORY, "out of memory");
    }
    free(a->node_index);
    a->node_index = index;
    a->node_slots = slots;
    for (uint32_t i = 1; i < a->n_nodes; i++) {
        uint32_t k = slot_of(a, a->nodes[i].at, a->nodes[i].below);
        while (index[k] != 0) {
            k = (k + 1) & (slots - 1);
        }
        index[k] = i;
    }
    return STATUS_OK;
}

/* The stack that reads on at element `at`, then below. At an END that is below itself. */
static enum status stack_of(struct automaton *a, uint32_t at, uint32_t below, uint32_t *out,
                            struct error *err)
{
    if (a->g->elements[at].kind == ELEMENT_END) {
        *out = below;
        return STATUS_OK;
    }
    if (a->n_nodes * 2 >= a->node_slots) {
        enum status s = reindex(a, err);
        if (s != STATUS_OK) {
            return s;
        }
    }
    uint32_t k = slot_of(a, at, below);
    for (; a->node_index[k] != 0; k = (k + 1) & (a->node_slots - 1)) {
        const struct node *n = &a->nodes[a->node_index[k]];
        if (n->at == at && n->below == below) {
            *out = a->node_index[k];
            return STATUS_OK;
        }
    }
    if (a->n_nodes >= NODES_HARD) {
        return too_many(err);
    }
    struct node *p = grown(a->nodes, a->n_nodes + 1, &a->cap_nodes, sizeof *p);
    if (p == NULL) {
        return error_set(err, STATUS_NO_MEMORY, "out of memory");
    }
    a->nodes = p;
    p[a->n_nodes] = (struct node){.at = at, .below = below, .seen = 0};
    a->node_index[k] = a->n_nodes;
    *out = a->n_nodes++;
    return STATUS_OK;
}

/* ---- closures ---- */

static void begin_closure(struct automaton *a)
{
    a->n_todo = 0;
    a->n_found = 0;
    if (++a->epoch == 0) { /* wrapped: nobody was here */
        for (uint32_t i = 0; i < a->n_nodes; i++) {
            a->nodes[i].seen = 0;
        }
        a->epoch = 1;
    }
}

static enum status want(struct automaton *a, uint32_t node, struct error *err)
{
    if (a->nodes[node].seen == a->epoch) {
        return STATUS_OK;
    }
    uint32_t *t = grown(a->todo, a->n_todo + 1, &a->cap_todo, sizeof *t);
    if (t == NULL) {
        return error_set(err, STATUS_NO_MEMORY, "out of memory");
    }
    a->nodes[node].seen = a->epoch;
    a->todo = t;
    t[a->n_todo++] = node;
    return STATUS_OK;
}

/* From the wanted stacks to those that read a byte next, and BOTTOM. */
static enum status run_closure(struct automaton *a, struct error *err)
{
    const struct grammar *g = a->g;
    const uint64_t enough = a->steps + CLOSURE_WORK_MAX;
    enum status s = STATUS_OK;
    for (uint32_t step = 0; a->n_todo > 0 && s == STATUS_OK; step++) {
        uint32_t n = a->todo[--a->n_todo];
        struct node top = a->nodes[n];
        a->steps++;
        if (step == CLOSURE_MAX || a->steps > enough) {
            return too_many(err);
        }
        if (n == BOTTOM || g->elements[top.at].kind == ELEMENT_CLASS) {
            if (a->n_found == READINGS_MAX) {
                return too_many(err);
            }
            a->found[a->n_found++] = n;
            continue;
        }
        uint32_t after;
        const struct rule *r = &g->rules[g->elements[top.at].arg];
        s = stack_of(a, top.at + 1, top.below, &after, err);
        for (uint32_t i = r->first; i != GRAMMAR_NONE && s == STATUS_OK;
             i = g->alternates[i].next) {
            uint32_t into;
            a->steps++;
            s = stack_of(a, g->alternates[i].start, after, &into, err);
            if (s == STATUS_OK) {
                s = want(a, into, err);
            }
        }
    }
    return s;
}

static int by_number(const void *x, const void *y)
{
    uint32_t a = *(const uint32_t *)x;
    uint32_t b = *(const uint32_t *)y;
    return (a > b) - (a < b);
}

/* What the closure found, as a state. */
static enum status intern(struct automaton *a, uint32_t *out, struct error *err)
{
    if (a->n_found == 0) {
        *out = DEAD;
        return STATUS_OK;
    }
    qsort(a->found, a->n_found, sizeof *a->found, by_number);
    struct str key = {.ptr = (const char *)a->found, .len = a->n_found * sizeof *a->found};
    uintptr_t known = (uintptr_t)map_get(&a->by_set, key);
    if (known != 0) {
        *out = (uint32_t)known - 1;
        return STATUS_OK;
    }
    if (a->n_states >= STATES_HARD || a->n_sets + a->n_found > SETS_HARD) {
        return too_many(err);
    }
    struct state *p = grown(a->states, a->n_states + 1, &a->cap_states, sizeof *p);
    if (p != NULL) {
        a->states = p;
    }
    uint32_t row = a->n_states * a->g->n_groups;
    uint32_t *next = grown(a->next, row + a->g->n_groups, &a->cap_next, sizeof *next);
    if (next != NULL) {
        a->next = next;
    }
    uint32_t *sets = grown(a->sets, a->n_sets + a->n_found, &a->cap_sets, sizeof *sets);
    if (sets != NULL) {
        a->sets = sets;
    }
    if (p == NULL || next == NULL || sets == NULL ||
        map_put(&a->by_set, key, (void *)((uintptr_t)a->n_states + 1), NULL) != STATUS_OK) {
        return error_set(err, STATUS_NO_MEMORY, "out of memory");
    }
    p += a->n_states;
    p->first = a->n_sets;
    p->n = a->n_found;
    p->whole = a->found[0] == BOTTOM;
    p->mask = GRAMMAR_NONE;
    for (uint32_t i = 0; i < a->g->n_groups; i++) {
        next[row + i] = UNKNOWN;
    }
    memcpy(sets + a->n_sets, a->found, a->n_found * sizeof *a->found);
    a->n_sets += a->n_found;
    *out = a->n_states++;
    return STATUS_OK;
}

static enum status compute(struct automaton *a, uint32_t from, unsigned group, uint32_t *out,
                           struct error *err)
{
    enum status s = STATUS_OK;
    unsigned byte = a->g->sample[group];
    a->steps += a->states[from].n;
    begin_closure(a);
    for (uint32_t i = 0; i < a->states[from].n && s == STATUS_OK; i++) {
        uint32_t n = a->sets[a->states[from].first + i];
        struct node top = a->nodes[n];
        uint32_t on;
        if (n == BOTTOM || !byte_class_has(&a->g->classes[a->g->elements[top.at].arg], byte)) {
            continue;
        }
        s = stack_of(a, top.at + 1, top.below, &on, err);
        if (s == STATUS_OK) {
            s = want(a, on, err);
        }
    }
    if (s == STATUS_OK) {
        s = run_closure(a, err);
    }
    if (s == STATUS_OK) {
        s = intern(a, out, err);
    }
    if (s == STATUS_OK) {
        a->next[from * a->g->n_groups + group] = *out;
    }
    return s;
}

static inline enum status step(struct automaton *a, uint32_t from, unsigned byte, uint32_t *out,
                               struct error *err)
{
    unsigned group = a->g->group[byte];
    *out = a->next[from * a->g->n_groups + group];
    return *out == UNKNOWN ? compute(a, from, group, out, err) : STATUS_OK;
}

/* ---- life ---- */

static void automaton_deinit(struct automaton *a)
{
    free(a->nodes);
    free(a->node_index);
    free(a->states);
    free(a->next);
    free(a->sets);
    free(a->todo);
    free(a->found);
    map_deinit(&a->by_set);
}

static enum status automaton_init(struct automaton *a, const struct grammar *g, struct error *err)
{
    *a = (struct automaton){.g = g};
    map_init(&a->by_set);
    a->found = calloc(READINGS_MAX, sizeof *a->found);
    a->nodes = grown(NULL, 1, &a->cap_nodes, sizeof *a->nodes);
    if (a->found == NULL || a->nodes == NULL) {
        return error_set(err, STATUS_NO_MEMORY, "out of memory");
    }
    a->nodes[a->n_nodes++] = (struct node){.at = 0, .below = 0, .seen = 0}; /* BOTTOM */
    return reindex(a, err);
}

static enum status start_at(struct automaton *a, uint32_t rule, uint32_t *out, struct error *err)
{
    enum status s = STATUS_OK;
    begin_closure(a);
    for (uint32_t i = a->g->rules[rule].first; i != GRAMMAR_NONE && s == STATUS_OK;
         i = a->g->alternates[i].next) {
        uint32_t into;
        s = stack_of(a, a->g->alternates[i].start, BOTTOM, &into, err);
        if (s == STATUS_OK) {
            s = want(a, into, err);
        }
    }
    if (s == STATUS_OK) {
        s = run_closure(a, err);
    }
    return s == STATUS_OK ? intern(a, out, err) : s;
}

/* Every place where reading may go on leads to bytes in a bounded number of steps: a rule that
 * begins with itself does not. */
enum status grammar_check(const struct grammar *g, struct error *err)
{
    struct automaton a;
    enum status s = automaton_init(&a, g, err);
    for (uint32_t r = 0; r < g->n_rules && s == STATUS_OK; r++) {
        const char *name = g->rules[r].name;
        for (uint32_t i = g->rules[r].first; i != GRAMMAR_NONE && s == STATUS_OK;
             i = g->alternates[i].next) {
            for (uint32_t e = g->alternates[i].start;
                 g->elements[e].kind != ELEMENT_END && s == STATUS_OK; e++) {
                uint32_t n;
                begin_closure(&a);
                s = stack_of(&a, e, BOTTOM, &n, err);
                if (s == STATUS_OK) {
                    s = want(&a, n, err);
                }
                if (s == STATUS_OK) {
                    s = run_closure(&a, err);
                }
                if (s == STATUS_OK && a.steps > CHECK_MAX) {
                    s = error_set(err, STATUS_TOO_LARGE, "the grammar is too large");
                }
            }
        }
        if (s == STATUS_TOO_LARGE) {
            s = error_set(err, STATUS_INVALID,
                          "line %u of the grammar: %s%s begins with itself, or has too many ways "
                          "to begin; a list is written item*, not list item",
                          g->rules[r].line, name[0] == '\0' ? "a group" : "rule ", name);
        }
    }
    automaton_deinit(&a);
    return s;
}

enum status grammar_matches(const struct grammar *g, struct str text, bool *out, struct error *err)
{
    struct automaton a;
    uint32_t state = DEAD;
    enum status s = automaton_init(&a, g, err);
    if (s == STATUS_OK) {
        s = start_at(&a, g->root, &state, err);
    }
    for (size_t i = 0; i < text.len && state != DEAD && s == STATUS_OK; i++) {
        s = step(&a, state, (unsigned char)text.ptr[i], &state, err);
    }
    *out = s == STATUS_OK && state != DEAD && a.states[state].whole;
    automaton_deinit(&a);
    return s;
}

enum status grammar_run_new(const struct grammar *g, const struct grammar_vocabulary *v,
                            struct grammar_run **out, struct error *err)
{
    *out = NULL;
    struct grammar_run *r = calloc(1, sizeof *r);
    if (r == NULL) {
        return error_set(err, STATUS_NO_MEMORY, "out of memory");
    }
    r->v = v;
    r->words = (v->n + 63) / 64;
    r->path = calloc((size_t)v->longest + 1, sizeof *r->path);
    r->masks = malloc((size_t)MASKS * r->words * sizeof *r->masks + 1);
    for (uint32_t i = 0; i < MASKS; i++) {
        r->mask_of[i] = GRAMMAR_NONE;
    }
    enum status s = automaton_init(&r->a, g, err);
    if (s == STATUS_OK && (r->path == NULL || r->masks == NULL)) {
        s = error_set(err, STATUS_NO_MEMORY, "out of memory");
    }
    if (s == STATUS_OK) {
        s = start_at(&r->a, g->root, &r->state, err);
    }
    if (s == STATUS_OK && r->state == DEAD) {
        s = error_set(err, STATUS_INVALID, "no text keeps to the grammar");
    }
    if (s != STATUS_OK) {
        grammar_run_free(r);
        return s;
    }
    *out = r;
    return STATUS_OK;
}

void grammar_run_free(struct grammar_run *r)
{
    if (r != NULL) {
        automaton_deinit(&r->a);
        free(r->path);
        free(r->masks);
        free(r);
    }
}

/* ---- starting the table anew ---- */

/* The stack `node` of old, made in a; its elements from the bottom up. */
static enum status carry_stack(struct automaton *a, const struct automaton *old, uint32_t node,
                               uint32_t *out, struct error *err)
{
    uint32_t depth = 0;
    for (uint32_t n = node; n != BOTTOM; n = old->nodes[n].below) {
        depth++;
    }
    a->steps += depth;
    if (a->steps > STEP_WORK_MAX) { /* a's first steps: it was just begun */
        return too_many(err);
    }
    uint32_t *chain = calloc((size_t)depth + 1, sizeof *chain);
    if (chain == NULL) {
        return error_set(err, STATUS_NO_MEMORY, "out of memory");
    }
    uint32_t k = depth;
    for (uint32_t n = node; n != BOTTOM; n = old->nodes[n].below) {
        chain[--k] = old->nodes[n].at;
    }
    enum status s = STATUS_OK;
    *out = BOTTOM;
    for (uint32_t i = 0; i < depth && s == STATUS_OK; i++) {
        s = stack_of(a, chain[i], *out, out, err);
    }
    free(chain);
    return s;
}

/* Where the table has grown large only the state that is needed goes on. */
static enum status tidy(struct grammar_run *r, struct error *err)
{
    if (r->a.n_states < STATES_SOFT && r->a.n_nodes < NODES_SOFT && r->a.n_sets < SETS_SOFT) {
        return STATUS_OK;
    }
    struct automaton a;
    const struct state *now = &r->a.states[r->state];
    enum status s = automaton_init(&a, r->a.g, err);
    if (s == STATUS_OK) {
        begin_closure(&a);
    }
    for (uint32_t i = 0; i < now->n && s == STATUS_OK; i++) {
        s = carry_stack(&a, &r->a, r->a.sets[now->first + i], &a.found[a.n_found], err);
        a.n_found++;
    }
    uint32_t state = DEAD;
    if (s == STATUS_OK) {
        s = intern(&a, &state, err);
    }
    if (s != STATUS_OK) {
        automaton_deinit(&a);
        return s;
    }
    automaton_deinit(&r->a);
    r->a = a;
    r->state = state;
    for (uint32_t i = 0; i < MASKS; i++) {
        r->mask_of[i] = GRAMMAR_NONE;
    }
    return STATUS_OK;
}

/* ---- tokens ---- */

/* Every token whose bytes can be read from the state. */
static enum status walk(struct grammar_run *r, uint64_t *mask, struct error *err)
{
    const struct grammar_vocabulary *v = r->v;
    const uint64_t enough = r->a.steps + STEP_WORK_MAX;
    enum status s = STATUS_OK;
    memset(mask, 0, r->words * sizeof *mask);
    r->path[0] = r->state;
    for (uint32_t i = 0; i < v->n_nodes;) {
        const struct trie_node *n = &v->nodes[i];
        uint32_t to;
        s = step(&r->a, r->path[n->depth - 1], n->byte, &to, err);
        if (s != STATUS_OK) {
            return s;
        }
        if (r->a.steps > enough) {
            return too_many(err);
        }
        if (to == DEAD) {
            i = n->end;
            continue;
        }
        r->path[n->depth] = to;
        for (uint32_t t = n->token; t != TOKEN_NONE; t = v->twin[t]) {
            mask[t >> 6] |= (uint64_t)1 << (t & 63);
        }
        i++;
    }
    for (uint32_t t = 0; t < v->n && r->a.states[r->state].whole; t++) {
        mask[t >> 6] |= v->ends[t] ? (uint64_t)1 << (t & 63) : 0;
    }
    return STATUS_OK;
}

enum status grammar_run_allowed(struct grammar_run *r, const uint64_t **out, struct error *err)
{
    enum status s = tidy(r, err);
    if (s != STATUS_OK) {
        return s;
    }
    uint32_t slot = r->a.states[r->state].mask;
    if (slot == GRAMMAR_NONE) {
        slot = r->next_mask;
        r->next_mask = (r->next_mask + 1) % MASKS;
        if (r->mask_of[slot] != GRAMMAR_NONE) {
            r->a.states[r->mask_of[slot]].mask = GRAMMAR_NONE;
            r->mask_of[slot] = GRAMMAR_NONE;
        }
        s = walk(r, r->masks + (size_t)slot * r->words, err);
        if (s != STATUS_OK) {
            return s;
        }
        r->a.states[r->state].mask = slot;
        r->mask_of[slot] = r->state;
    }
    *out = r->masks + (size_t)slot * r->words;
    return STATUS_OK;
}

enum status grammar_run_accept(struct grammar_run *r, uint32_t token, struct error *err)
{
    if (token >= r->v->n) {
        return error_set(err, STATUS_INVALID, "token %u is not in the vocabulary", token);
    }
    if (r->v->ends[token] && r->a.states[r->state].whole) {
        return STATUS_OK;
    }
    struct str bytes = grammar_vocabulary_bytes(r->v, token);
    uint32_t state = bytes.len == 0 ? DEAD : r->state;
    enum status s = STATUS_OK;
    for (size_t i = 0; i < bytes.len && state != DEAD && s == STATUS_OK; i++) {
        s = step(&r->a, state, (unsigned char)bytes.ptr[i], &state, err);
    }
    if (s == STATUS_OK && state == DEAD) {
        s = error_set(err, STATUS_INVALID, "token %u does not keep to the grammar", token);
    }
    if (s == STATUS_OK) {
        r->state = state;
    }
    return s;
}

bool grammar_run_whole(const struct grammar_run *r)
{
    return r->a.states[r->state].whole;
}

bool grammar_run_ended(const struct grammar_run *r)
{
    const struct state *s = &r->a.states[r->state];
    return s->whole && s->n == 1;
}
