/* The scratch memory of a pass and what decoders and encoders do with it alike. */
#include <math.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>

#include "model/model_internal.h"

#define THREADS_MOST 16U
#define SPARE_PAGES 64U /* for texts that do not fill theirs */

static float *floats(size_t a, size_t b)
{
    return calloc(a * b + 16, sizeof(float));
}

static bool make_rooms(const struct model_info *i, struct workspace *w)
{
    bool good = true;
    for (uint32_t n = 0; n < pool_threads(w->pool); n++) {
        w->rooms[n].q = floats(i->head_width, KERNEL_TILE);
        w->rooms[n].out = floats(ATTEND_PADDED(i->value_width), KERNEL_TILE);
        good = good && w->rooms[n].q != NULL && w->rooms[n].out != NULL;
    }
    return good;
}

void rope_frequencies(const struct model *m, uint32_t which, double *out)
{
    const struct rope *rope = &m->ropes[which];
    for (size_t i = 0; i < m->rope_width / 2; i++) {
        out[i] = pow((double)rope->base, -2.0 * (double)i / (double)m->rope_width) /
                 (double)rope->scale / (rope->factors == NULL ? 1 : (double)rope->factors[i]);
    }
}

static bool make_ropes(const struct model *m, struct workspace *w)
{
    size_t pairs = m->rope_width / 2;
    bool good = true;
    for (uint32_t r = 0; r < m->n_ropes; r++) {
        const struct rope *rope = &m->ropes[r];
        w->magnitudes[r] = rope->magnitude;
        w->cosines[r] = floats(w->tokens, m->info.head_width / 2);
        w->sines[r] = floats(w->tokens, m->info.head_width / 2);
        w->frequencies[r] = calloc(pairs + 1, sizeof **w->frequencies);
        good = good && w->cosines[r] != NULL && w->sines[r] != NULL && w->frequencies[r] != NULL;
        if (w->frequencies[r] != NULL) {
            rope_frequencies(m, r, w->frequencies[r]);
        }
    }
    return good;
}

/* Floats of a token's queries and attended values, and of its keys and values. */
static size_t query_floats(const struct model_info *i)
{
    return (size_t)i->heads * (i->head_width > i->value_width ? i->head_width : i->value_width);
}

static size_t key_floats(const struct model_info *i)
{
    return i->encoder ? query_floats(i) : query_floats(i) / i->heads * i->kv_heads;
}

static size_t encoder_page(const struct model_info *i)
{
    return (size_t)i->heads * KV_PAGE * (i->head_width + ATTEND_PADDED(i->value_width));
}

static uint32_t encoder_pages(const struct model_info *i, uint32_t tokens)
{
    return i->encoder ? tokens / KV_PAGE + SPARE_PAGES : 0;
}

static uint32_t widest_input(const struct model_info *i)
{
    uint32_t heads = i->heads * i->value_width;
    uint32_t widest = i->width > i->feed_forward ? i->width : i->feed_forward;
    return heads > widest ? heads : widest;
}

static struct matmul_room matmul_room_of(const struct model_info *i, uint32_t tokens)
{
    return (struct matmul_room){
        .tokens = tokens, .widest = widest_input(i), .quantized = i->bytes, .floats = i->floats};
}

/* What make_arrays, make_ropes and those they call take. */
uint64_t workspace_bytes(const struct model_info *i, uint32_t tokens)
{
    uint64_t ropes = i->window_layers > 0 ? 2 : 1;
    uint64_t n = 2ULL * i->width + 2 * query_floats(i) + 2 * key_floats(i) +
                 2ULL * i->feed_forward + ropes * i->head_width + 4; /* and four numbers */
    struct matmul_room room = matmul_room_of(i, tokens);
    n = n * tokens + encoder_pages(i, tokens) * encoder_page(i);
    return n * sizeof(float) + matmul_bytes(&room) +
           (i->experts > 0 ? expert_room_bytes(i, tokens) : 0);
}

static bool make_arrays(const struct model *m, struct workspace *w)
{
    const struct model_info *i = &m->info;
    uint32_t tokens = w->tokens;
    uint32_t widest = i->width > i->feed_forward ? i->width : i->feed_forward;
    size_t heads = query_floats(i);
    widest = heads > widest ? (uint32_t)heads : widest;
    w->x = floats(tokens, i->width);
    w->h = floats(tokens, i->width);
    w->q = floats(tokens, heads);
    w->k = floats(tokens, key_floats(i));
    w->v = floats(tokens, key_floats(i));
    w->attended = floats(tokens, heads);
    w->gate = floats(tokens, i->feed_forward);
    w->up = floats(tokens, i->feed_forward);
    w->row = floats(1, widest);
    w->firsts = calloc((size_t)tokens + 2, sizeof *w->firsts);
    w->first_tokens = calloc((size_t)tokens + 2, sizeof *w->first_tokens);
    w->positions = calloc((size_t)tokens + 1, sizeof *w->positions);
    w->owners = calloc((size_t)tokens + 1, sizeof *w->owners);
    w->n_pages = encoder_pages(i, tokens);
    w->pages = floats(w->n_pages, encoder_page(i));
    return w->x != NULL && w->h != NULL && w->q != NULL && w->k != NULL && w->v != NULL &&
           w->attended != NULL && w->gate != NULL && w->up != NULL && w->row != NULL &&
           w->firsts != NULL && w->first_tokens != NULL && w->positions != NULL &&
           w->owners != NULL && w->pages != NULL && make_ropes(m, w) && make_rooms(i, w);
}

enum status workspace_new_with(const struct model *m, uint32_t tokens, struct pool *pool,
                               struct workspace **out, struct error *err)
{
    if (tokens == 0 || tokens > MODEL_BATCH_MAX) {
        return error_set(err, STATUS_INVALID, "a pass takes 1 to %u tokens", MODEL_BATCH_MAX);
    }
    struct workspace *w = calloc(1, sizeof *w);
    if (w == NULL) {
        return error_set(err, STATUS_NO_MEMORY, "out of memory");
    }
    w->tokens = tokens;
    w->kernels = kernels_choose();
    w->pool = pool;
    struct matmul_room room = matmul_room_of(&m->info, tokens);
    enum status s = model_pack(m, pool, err);
    if (s == STATUS_OK) {
        s = matmul_new(w->kernels, pool, &room, &w->matmul, err);
    }
    if (s == STATUS_OK && m->info.experts > 0) {
        s = expert_room_new(m, tokens, &w->expert_room, err);
    }
    if (s == STATUS_OK && !make_arrays(m, w)) {
        s = error_set(err, STATUS_NO_MEMORY, "no memory for passes of %u tokens", tokens);
    }
    if (s != STATUS_OK) {
        workspace_free(w);
        return s;
    }
    *out = w;
    return STATUS_OK;
}

/* As many threads as this process may use, within reason: the memory's speed is the limit soon. */
static uint32_t usable_threads(void)
{
    cpu_set_t set;
    CPU_ZERO(&set);
    int n = sched_getaffinity(0, sizeof set, &set) == 0 ? CPU_COUNT(&set) : 1;
    return n < 1 ? 1 : n > (int)THREADS_MOST ? THREADS_MOST : (uint32_t)n;
}

enum status workspace_new(const struct model *m, uint32_t tokens, struct workspace **out,
                          struct error *err)
{
    struct pool *pool = NULL;
    struct error ignored = {0};
    if (pool_new(usable_threads(), &pool, &ignored) != STATUS_OK) {
        pool = NULL; /* one thread gives the same results */
    }
    enum status s = workspace_new_with(m, tokens, pool, out, err);
    if (s == STATUS_OK) {
        (*out)->own_pool = pool;
    } else {
        pool_free(pool);
    }
    return s;
}

void workspace_free(struct workspace *w)
{
    if (w == NULL) {
        return;
    }
    float *const arrays[] = {w->x,        w->h,    w->q,  w->k,   w->v,
                             w->attended, w->gate, w->up, w->row, w->pages};
    for (size_t i = 0; i < sizeof arrays / sizeof arrays[0]; i++) {
        free(arrays[i]);
    }
    for (size_t i = 0; i < POOL_THREADS_MAX; i++) {
        free(w->rooms[i].q);
        free(w->rooms[i].out);
    }
    for (size_t i = 0; i < ROPES_MAX; i++) {
        free(w->cosines[i]);
        free(w->sines[i]);
        free(w->frequencies[i]);
    }
    expert_room_free(w->expert_room);
    matmul_free(w->matmul);
    pool_free(w->own_pool);
    free(w->firsts);
    free(w->first_tokens);
    free(w->positions);
    free(w->owners);
    free(w);
}

const char *workspace_kernels(const struct workspace *w)
{
    return w->kernels->name;
}

void for_tokens(struct workspace *w, uint32_t n, pool_fn fn, void *data)
{
    pool_run(w->pool, (n + TOKENS_PER_CHUNK - 1) / TOKENS_PER_CHUNK, fn, data);
}

uint32_t piece_of_tile(const struct workspace *w, uint32_t n_pieces, uint32_t t)
{
    uint32_t low = 0;
    uint32_t high = n_pieces;
    while (high - low > 1) {
        uint32_t middle = low + (high - low) / 2;
        if (w->firsts[middle] <= t) {
            low = middle;
        } else {
            high = middle;
        }
    }
    return low;
}

void rope_angles(struct workspace *w, uint32_t pairs, uint32_t n)
{
    for (uint32_t r = 0; r < ROPES_MAX && w->cosines[r] != NULL; r++) {
        for (size_t t = 0; t < n; t++) {
            for (size_t i = 0; i < pairs; i++) {
                double angle = (double)w->positions[t] * w->frequencies[r][i];
                w->cosines[r][t * pairs + i] = (float)cos(angle) * w->magnitudes[r];
                w->sines[r][t * pairs + i] = (float)sin(angle) * w->magnitudes[r];
            }
        }
    }
}
