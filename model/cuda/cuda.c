/* The CUDA backend: how many layers fit, what is allocated, and the doors of struct backend. */
#include "model/cuda/cuda.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "model/cuda/cuda_internal.h"
#include "model/plan.h"

/* Left alone: captured graphs, modules and what other programs take meanwhile. */
#define RESERVE_LEAST ((uint64_t)384 << 20)
#define RESERVE_SHARE 64U

static struct cuda *cuda_of(struct backend *b)
{
    return (struct cuda *)(void *)b;
}

/* ---- memory ---- */

static uint64_t aligned(uint64_t bytes)
{
    return (bytes + 255) / 256 * 256;
}

/* One array of the scratch: counted, and placed once there is memory. */
static void array(struct cuda *c, uint64_t *at, void *to, uint64_t n, uint64_t bytes)
{
    if (c->scratch != NULL) {
        unsigned char *p = (unsigned char *)c->scratch + *at;
        memcpy(to, &p, sizeof p);
    }
    *at += aligned(n * bytes);
}

static uint64_t heads_of(const struct model_info *i)
{
    return (uint64_t)i->heads * (i->head_width > i->value_width ? i->head_width : i->value_width);
}

static uint32_t widest_of(const struct model *m)
{
    uint64_t heads = heads_of(&m->info);
    uint32_t widest = m->info.width > m->info.feed_forward ? m->info.width : m->info.feed_forward;
    return heads > widest ? (uint32_t)heads : widest;
}

static uint32_t rows_of(const struct cuda *c)
{
    return c->tokens > CUDA_ROWS_GRAPH ? c->tokens : CUDA_ROWS_GRAPH;
}

/* All arrays of a pass; the bytes they take. */
static uint64_t arrays(struct cuda *c)
{
    const struct model_info *i = &c->m->info;
    uint64_t at = 0;
    uint64_t rows = rows_of(c);
    uint64_t f = sizeof(float);
    array(c, &at, &c->x, rows * i->width, f);
    array(c, &at, &c->h, rows * i->width, f);
    array(c, &at, &c->q, rows * heads_of(i), f);
    array(c, &at, &c->k, rows * i->kv_heads * i->head_width, f);
    array(c, &at, &c->v, rows * i->kv_heads * i->value_width, f);
    array(c, &at, &c->attended, rows * heads_of(i), f);
    array(c, &at, &c->gate, rows * i->feed_forward, f);
    array(c, &at, &c->up, rows * i->feed_forward, f);
    for (uint32_t r = 0; r < c->m->n_ropes; r++) {
        array(c, &at, &c->cosines[r], rows * c->m->rope_width / 2, f);
        array(c, &at, &c->sines[r], rows * c->m->rope_width / 2, f);
    }
    if (c->whole) {
        uint64_t words = ((uint64_t)i->vocabulary + 63) / 64;
        array(c, &at, &c->wanted, (uint64_t)c->choices * i->width, f);
        array(c, &at, &c->logits, (uint64_t)c->choices * i->vocabulary, f);
        array(c, &at, &c->room, (uint64_t)c->choices * i->vocabulary, f);
        array(c, &at, &c->samplings, c->choices, sizeof *c->samplings);
        array(c, &at, &c->touched, (uint64_t)c->choices * SAMPLER_TOUCHED_MAX, sizeof *c->touched);
        array(c, &at, &c->masks, c->choices * words, sizeof *c->masks);
        array(c, &at, &c->picked, c->choices, sizeof *c->picked);
    }
    if (i->experts > 0) {
        array(c, &at, &c->scores, rows * i->experts, f);
        array(c, &at, &c->shares, rows * i->experts_used, f);
        array(c, &at, &c->chosen, rows * i->experts_used, sizeof *c->chosen);
        array(c, &at, &c->places, 2 * (uint64_t)c->places_most, sizeof *c->places);
        array(c, &at, &c->results, rows * i->experts_used * i->width, f);
        array(c, &at, &c->expert_in, rows * i->width, f);
        array(c, &at, &c->expert_out, rows * i->width, f);
    }
    array(c, &at, &c->batch, c->batch_words, sizeof *c->batch);
    return at;
}

/* Of all pages of a group: its layers on the device. */
static uint64_t group_bytes(const struct cuda *c, const struct kv_shape *shape, uint32_t group,
                            uint32_t layers)
{
    uint64_t n = 0;
    for (uint32_t i = 0; i < layers; i++) {
        bool windowed = (shape->windowed[i / 64] >> i % 64 & 1) != 0;
        n += windowed == (group == 1) ? 1 : 0;
    }
    return n * c->layer_bytes;
}

/* With so many layers on the device. false: it cannot have them. */
static bool need_of(struct cuda *c, const struct kv_shape *shape, const struct kv_room *room,
                    uint32_t layers, struct cuda_need *out)
{
    const struct model_info *i = &c->m->info;
    struct cuda counted = *c;
    counted.scratch = NULL;
    counted.layers = layers;
    counted.whole = layers == i->layers;
    struct cuda_need n = {.weights = cuda_weight_bytes(&counted, layers)};
    for (uint32_t g = 0; g < KV_GROUPS; g++) {
        n.keys += room->pages[g] * group_bytes(c, shape, g, layers);
    }
    n.scratch = arrays(&counted) + c->ops->scratch_bytes(rows_of(c), c->choices, widest_of(c->m),
                                                         i->heads, i->value_width, c->most);
    n.all = n.weights + n.keys + n.scratch;
    *out = n;
    return n.weights > 0;
}

static double gib(uint64_t bytes)
{
    return (double)bytes * 0x1p-30;
}

/* What the layers that are left to the processor take there, beside the memory it has. */
static enum status check_host(const struct cuda *c, const struct backend_options *o,
                              const struct kv_shape *shape, const struct kv_room *room,
                              struct error *err)
{
    const struct model *m = c->m;
    uint32_t all = m->info.layers;
    /* packed in memory they are packed whole */
    uint32_t from = m->weights->pack_path == NULL ? 0 : c->layers;
    uint64_t weights = plan_packed_from(m, from) + plan_vocabulary(m);
    uint64_t pass = workspace_bytes(&m->info, o->tokens) +
                    (uint64_t)o->choices * m->info.vocabulary * sizeof(float);
    uint64_t keys = 0;
    for (uint32_t g = 0; g < KV_GROUPS; g++) {
        uint64_t there = group_bytes(c, shape, g, all);
        uint64_t here = there - group_bytes(c, shape, g, c->layers);
        keys += there == 0
                    ? 0
                    : room->pages[g] * (kv_group_bytes(shape, g) / (there / c->layer_bytes)) *
                          (here / c->layer_bytes);
    }
    if (o->memory == 0 || weights + keys + pass <= o->memory) {
        return STATUS_OK;
    }
    return error_set(err, STATUS_NO_MEMORY,
                     "%u of %u layers fit on the GPU; the others need %.1f GiB of the processor's "
                     "memory (weights %.1f, keys and values %.1f, a pass %.1f) of %.1f: lower "
                     "generate.users or generate.context",
                     c->layers, all, gib(weights + keys + pass), gib(weights), gib(keys), gib(pass),
                     gib(o->memory));
}

/* The most layers that fit, or as many as were asked for. */
static enum status choose_layers(struct cuda *c, const struct backend_options *o,
                                 const struct kv_shape *shape, const struct kv_room *room,
                                 uint32_t most, struct error *err)
{
    uint64_t reserve = c->info.memory / RESERVE_SHARE;
    reserve =
        reserve > RESERVE_LEAST || c->info.memory < 4 * RESERVE_LEAST ? reserve : RESERVE_LEAST;
    uint64_t room_there = c->info.memory_free > reserve ? c->info.memory_free - reserve : 0;
    struct cuda_need n = {0};
    struct cuda_need all = {0};
    uint32_t layers = most;
    if (!need_of(c, shape, room, most, &all)) {
        return error_set(err, STATUS_UNSUPPORTED,
                         "a type of tensor that the GPU's kernels lack, or rows too wide for them");
    }
    for (n = all; layers > 0 && n.all > room_there; layers--) {
        (void)need_of(c, shape, room, layers - 1, &n);
    }
    if (layers == 0 || (o->gpu_layers != BACKEND_LAYERS_FIT && layers < most)) {
        return error_set(err, STATUS_NO_MEMORY,
                         "%u layers need %.1f GiB on the GPU (weights %.1f, keys and values %.1f, "
                         "a pass %.1f), %.1f are free: %s",
                         most, gib(all.all), gib(all.weights), gib(all.keys), gib(all.scratch),
                         gib(room_there),
                         layers == 0 ? "lower generate.users or generate.context"
                                     : "lower generate.gpu_layers, or leave it out");
    }
    c->layers = layers;
    c->whole = layers == c->m->info.layers;
    c->need = n;
    return c->whole ? STATUS_OK : check_host(c, o, shape, room, err);
}

/* ---- opening ---- */

static void copy_page(void *data, uint32_t group, uint32_t to, uint32_t from)
{
    struct cuda *c = data;
    unsigned char *pages = c->pages[group];
    uint64_t bytes = c->page_bytes[group];
    struct error *err = c->broken.code == STATUS_OK ? &c->broken : NULL;
    if (bytes > 0) { /* on the stream: before the next pass */
        (void)!c->ops->copy(c->gpu, pages + to * bytes, pages + from * bytes, bytes, err);
    }
}

static enum status open_pages(struct cuda *c, const struct kv_shape *shape,
                              const struct kv_room *room, struct error *err)
{
    struct kv_device device = {.copy = copy_page, .data = c, .layers = c->layers};
    enum status s = STATUS_OK;
    for (uint32_t g = 0; g < KV_GROUPS && s == STATUS_OK; g++) {
        c->page_bytes[g] = group_bytes(c, shape, g, c->layers);
        uint64_t bytes = room->pages[g] * c->page_bytes[g];
        s = c->ops->allocate(c->gpu, bytes, &c->pages[g], err);
        if (s == STATUS_OK) {
            s = c->ops->zero(c->gpu, c->pages[g], bytes, err);
        }
    }
    return s == STATUS_OK ? kv_pool_new_with(shape, room, &device, &c->b.keys, err) : s;
}

static enum status pinned(struct cuda *c, struct error *err)
{
    const struct model_info *i = &c->m->info;
    size_t words = ((size_t)i->vocabulary + 63) / 64;
    uint64_t logits = (uint64_t)c->choices * i->vocabulary; /* the processor's too */
    uint64_t chosen = (uint64_t)rows_of(c) * (i->experts_used + 1);
    const struct {
        void *to;
        uint64_t bytes;
    } all[] = {
        {&c->host_batch, c->batch_words * sizeof *c->host_batch},
        {&c->host_chosen, chosen * sizeof *c->host_chosen},
        {&c->host_places, 2 * (uint64_t)c->places_most * sizeof *c->host_places},
        {&c->host_samplings, c->choices * sizeof *c->host_samplings},
        {&c->host_touched, (uint64_t)c->choices * SAMPLER_TOUCHED_MAX * sizeof *c->host_touched},
        {&c->host_masks, c->choices * words * sizeof *c->host_masks},
        {&c->host_picked, c->choices * sizeof *c->host_picked},
        {&c->host_logits, logits * sizeof *c->host_logits},
        {&c->host_x, (uint64_t)c->tokens * i->width * sizeof *c->host_x}};
    enum status s = STATUS_OK;
    for (size_t n = 0; n < sizeof all / sizeof all[0] && s == STATUS_OK; n++) {
        void *p = NULL;
        s = c->ops->host_allocate(c->gpu, all[n].bytes, &p, err);
        memcpy(all[n].to, &p, sizeof p);
    }
    return s;
}

static enum status open_scratch(struct cuda *c, struct error *err)
{
    const struct model_info *i = &c->m->info;
    uint64_t bytes = arrays(c);
    enum status s = c->ops->allocate(c->gpu, bytes, &c->scratch, err);
    if (s == STATUS_OK) {
        (void)arrays(c);
        s = c->ops->zero(c->gpu, c->scratch, bytes, err);
    }
    if (s == STATUS_OK) {
        s = c->ops->scratch(c->gpu, rows_of(c), c->choices, widest_of(c->m), i->heads,
                            i->value_width, c->most, err);
    }
    return s == STATUS_OK ? pinned(c, err) : s;
}

static void close_cuda(struct backend *b)
{
    struct cuda *c = cuda_of(b);
    void *const pinned_all[] = {c->host_batch,     c->host_chosen,  c->host_places,
                                c->host_samplings, c->host_touched, c->host_masks,
                                c->host_picked,    c->host_logits,  c->host_x};
    kv_pool_free(c->b.keys);
    workspace_free(c->workspace);
    free(c->touched_room);
    if (c->gpu != NULL) {
        for (size_t i = 0; i < sizeof pinned_all / sizeof pinned_all[0]; i++) {
            c->ops->host_release(c->gpu, pinned_all[i]);
        }
        cuda_weights_free(c);
        c->ops->release(c->gpu, c->scratch);
        for (uint32_t g = 0; g < KV_GROUPS; g++) {
            c->ops->release(c->gpu, c->pages[g]);
        }
        c->ops->close(c->gpu);
    }
    cuda_plug_in_close(c->plug_in);
    free(c);
}

/* How many layers, at most `most`, and what they need. */
static enum status reckon(struct cuda *c, const struct backend_options *o, uint32_t most,
                          struct kv_shape *shape, struct kv_room *room, struct error *err)
{
    *shape = model_kv_shape(c->m, o->kv_type);
    shape->pass_tokens = o->tokens;
    *room = kv_room_for(shape, o->sequences, o->context);
    return choose_layers(c, o, shape, room, most, err);
}

static uint32_t layers_asked(const struct model *m, const struct backend_options *o)
{
    return o->gpu_layers < m->info.layers ? o->gpu_layers : m->info.layers;
}

/* most: in: layers; out, after NO_MEMORY: so many were reckoned to fit and the device refused them,
 * 0: that was not the cause. */
static enum status open_parts(struct cuda *c, const struct backend_options *o, uint32_t *most,
                              struct error *err)
{
    const struct model_info *i = &c->m->info;
    struct kv_shape shape;
    struct kv_room room;
    enum status s = reckon(c, o, *most, &shape, &room, err);
    *most = s == STATUS_OK ? c->layers : 0;
    s = s == STATUS_OK ? open_pages(c, &shape, &room, err) : s;
    s = s == STATUS_OK ? open_scratch(c, err) : s;
    s = s == STATUS_OK ? cuda_weights(c, o->pool, err) : s; /* last: what is refused was not sent */
    if (s == STATUS_NO_MEMORY && *most > 0) {
        return error_prefix(err,
                            "%u layers need %.1f GiB on the GPU (weights %.1f, keys and values "
                            "%.1f, a pass %.1f), %.1f were free",
                            c->layers, gib(c->need.all), gib(c->need.weights), gib(c->need.keys),
                            gib(c->need.scratch), gib(c->info.memory_free));
    }
    *most = 0;
    if (s == STATUS_OK && !c->whole) {
        s = workspace_new_with(c->m, o->tokens, o->pool, &c->workspace, err);
    }
    s = s == STATUS_OK ? c->ops->finish(c->gpu, err) : s;
    if (s == STATUS_OK) {
        c->b.bytes = cuda_weight_bytes(c, c->layers);
        (void)snprintf(c->b.name, sizeof c->b.name, "cuda %d.%d, %u of %u layers%s%s",
                       c->info.major, c->info.minor, c->layers, i->layers, c->whole ? "" : ", ",
                       c->whole ? "" : workspace_kernels(c->workspace));
    }
    return s;
}

static enum status check_model(const struct model *m, const struct gpu_ops *ops,
                               const struct gpu_info *on, const struct backend_options *o,
                               struct error *err)
{
    const struct model_info *i = &m->info;
    if (i->encoder) {
        return error_set(err, STATUS_UNSUPPORTED, "encoders run on the processor");
    }
    if (i->experts > CUDA_EXPERTS_MAX ||
        !ops->takes(on, i->head_width, i->value_width, i->experts, i->vocabulary)) {
        return error_set(err, STATUS_UNSUPPORTED,
                         "the GPU's kernels take no heads of %u and %u, %u experts, %u tokens",
                         i->head_width, i->value_width, i->experts, i->vocabulary);
    }
    if (o->kv_type != TENSOR_F16 && o->kv_type != TENSOR_Q8_0) {
        return error_set(err, STATUS_UNSUPPORTED, "keys and values on a GPU are f16 or q8_0");
    }
    if (o->tokens == 0 || o->tokens > MODEL_BATCH_MAX || o->choices == 0 ||
        o->choices > CUDA_CHOICES_MAX || o->sequences == 0) {
        return error_set(err, STATUS_INVALID, "a pass takes 1 to %u tokens and %u choices",
                         MODEL_BATCH_MAX, CUDA_CHOICES_MAX);
    }
    return STATUS_OK;
}

/* ---- the doors ---- */

static enum status run_pass(struct cuda *c, const struct model_piece *pieces, size_t n,
                            const struct backend_pick *picks, float *logits, struct cuda_pass *p,
                            struct error *err)
{
    uint32_t tokens = 0;
    enum status s = pieces_check(c->m, c->tokens, c->b.keys, pieces, n, &tokens, err);
    if (s == STATUS_OK && c->broken.code != STATUS_OK) {
        s = error_set(err, c->broken.code, "%s", c->broken.text);
    }
    s = s == STATUS_OK ? cuda_batch(c, pieces, n, picks, p, err) : s;
    return s == STATUS_OK ? cuda_run(c, p, logits, err) : s;
}

static void grow(const struct model_piece *pieces, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        pieces[i].sequence->length += pieces[i].n;
    }
}

static enum status forward(struct backend *b, const struct model_piece *pieces, size_t n,
                           float *logits, struct error *err)
{
    struct cuda *c = cuda_of(b);
    struct cuda_pass p;
    enum status s = run_pass(c, pieces, n, NULL, logits, &p, err);
    if (s == STATUS_OK && !c->whole) {
        return decoder_rest(c->m, c->workspace, b->keys, pieces, n, c->layers, c->host_x, logits,
                            err);
    }
    if (s == STATUS_OK) {
        grow(pieces, n);
    }
    return s;
}

/* The processor has the last layers and the head: it chooses too. */
static enum status choose_there(struct cuda *c, const struct model_piece *pieces, size_t n,
                                struct backend_pick *picks, struct error *err)
{
    enum status s = decoder_rest(c->m, c->workspace, c->b.keys, pieces, n, c->layers, c->host_x,
                                 c->host_logits, err);
    for (size_t i = 0; i < n && s == STATUS_OK; i++) {
        const float *row = c->host_logits + i * c->m->info.vocabulary;
        picks[i].logits = row;
        if (picks[i].wanted) {
            picks[i].token = sampler_pick(picks[i].sampler, row, picks[i].allowed, picks[i].step);
        }
    }
    return s;
}

static enum status choose(struct backend *b, const struct model_piece *pieces, size_t n,
                          struct backend_pick *picks, struct error *err)
{
    struct cuda *c = cuda_of(b);
    struct cuda_pass p;
    if (n > c->choices) {
        return error_set(err, STATUS_INVALID, "a pass of %zu pieces, at most %u", n, c->choices);
    }
    enum status s = run_pass(c, pieces, n, picks, NULL, &p, err);
    if (s == STATUS_OK && !c->whole) {
        return choose_there(c, pieces, n, picks, err);
    }
    s = s == STATUS_OK ? cuda_pick(c, &p, picks, err) : s;
    if (s == STATUS_OK) {
        grow(pieces, n);
    }
    return s;
}

static enum status embed(struct backend *b, const struct model_tokens *texts, size_t n, float *out,
                         struct error *err)
{
    (void)b;
    (void)texts;
    (void)n;
    (void)out;
    return error_set(err, STATUS_UNSUPPORTED, "texts are embedded on the processor");
}

static enum status rank(struct backend *b, const uint32_t *tokens, uint32_t n, uint32_t second,
                        float *score, struct error *err)
{
    (void)b;
    (void)tokens;
    (void)n;
    (void)second;
    (void)score;
    return error_set(err, STATUS_UNSUPPORTED, "pairs are scored on the processor");
}

static const struct backend_ops cuda_ops = {.name = "cuda",
                                            .forward = forward,
                                            .choose = choose,
                                            .embed = embed,
                                            .rank = rank,
                                            .close = close_cuda};

/* What does not need the device's memory. */
static enum status prepare(struct cuda *c, const struct gpu_ops *ops, const struct model *m,
                           const struct backend_options *o, struct error *err)
{
    c->b = (struct backend){.ops = &cuda_ops, .model = m};
    c->ops = ops;
    c->m = m;
    c->tokens = o->tokens;
    c->most = cuda_most(o->context);
    c->kv_type = o->kv_type;
    c->places_most = o->tokens * m->info.experts_used;
    c->choices = cuda_power_above(o->choices); /* a captured step has a power of two of rows */
    enum status s = ops->probe(0, &c->info, err);
    s = s == STATUS_OK ? check_model(m, ops, &c->info, o, err) : s;
    if (s == STATUS_OK) {
        c->batch_words = cuda_batch_words(o->tokens, o->sequences, o->context);
        c->layer_bytes = (uint64_t)m->info.kv_heads *
                         gpu_head_bytes(o->kv_type, m->info.head_width, m->info.value_width);
    }
    return s;
}

/* most: as open_parts has it. */
static enum status open_once(const struct gpu_ops *ops, const struct model *m,
                             const struct backend_options *o, uint32_t *most, struct cuda **out,
                             struct error *err)
{
    uint32_t layers = *most;
    struct cuda *c = calloc(1, sizeof *c);
    struct sampler_touched *room = calloc(SAMPLER_TOUCHED_MAX, sizeof *room);
    *most = 0;
    if (c == NULL || room == NULL) {
        free(c);
        free(room);
        return error_set(err, STATUS_NO_MEMORY, "out of memory");
    }
    c->touched_room = room;
    enum status s = prepare(c, ops, m, o, err);
    s = s == STATUS_OK ? ops->open(0, &c->gpu, err) : s;
    if (s == STATUS_OK) {
        s = open_parts(c, o, &layers, err);
        *most = layers;
    }
    if (s != STATUS_OK) {
        close_cuda(&c->b);
        return s;
    }
    *out = c;
    return STATUS_OK;
}

enum status cuda_open_with(const struct gpu_ops *ops, void *plug_in, const struct model *m,
                           const struct backend_options *o, struct backend **out, struct error *err)
{
    struct cuda *c = NULL;
    uint32_t layers = layers_asked(m, o);
    enum status s = open_once(ops, m, o, &layers, &c, err);
    /* the free memory is no promise: it lies in pieces, and others take of it */
    while (s == STATUS_NO_MEMORY && o->gpu_layers == BACKEND_LAYERS_FIT && layers > 1) {
        layers -= 1 + layers / 8;
        s = open_once(ops, m, o, &layers, &c, err);
    }
    if (s != STATUS_OK) {
        cuda_plug_in_close(plug_in);
        return s;
    }
    c->plug_in = plug_in;
    *out = &c->b;
    return STATUS_OK;
}

enum status backend_open_cuda(const struct model *m, const struct backend_options *o,
                              struct backend **out, struct error *err)
{
    const struct gpu_ops *ops = NULL;
    void *plug_in = NULL;
    enum status s = cuda_plug_in(&plug_in, &ops, err);
    return s == STATUS_OK ? cuda_open_with(ops, plug_in, m, o, out, err) : s;
}

enum status cuda_probe(struct gpu_info *out, struct error *err)
{
    const struct gpu_ops *ops = NULL;
    void *plug_in = NULL;
    enum status s = cuda_plug_in(&plug_in, &ops, err);
    s = s == STATUS_OK ? ops->probe(0, out, err) : s;
    cuda_plug_in_close(plug_in);
    return s;
}

enum status cuda_fit(const struct model *m, const struct backend_options *o, struct cuda_fit *out,
                     struct error *err)
{
    struct cuda c = {0};
    const struct gpu_ops *ops = NULL;
    void *plug_in = NULL;
    struct kv_shape shape;
    struct kv_room room;
    enum status s = cuda_plug_in(&plug_in, &ops, err);
    s = s == STATUS_OK ? prepare(&c, ops, m, o, err) : s;
    s = s == STATUS_OK ? reckon(&c, o, layers_asked(m, o), &shape, &room, err) : s;
    if (s == STATUS_OK) {
        *out = (struct cuda_fit){.gpu = c.info,
                                 .layers = c.layers,
                                 .weights = c.need.weights,
                                 .keys_values = c.need.keys,
                                 .pass = c.need.scratch};
    }
    cuda_plug_in_close(plug_in);
    return s;
}

#define MEASURED_BYTES ((uint64_t)512 << 20)
#define MEASURED_TIMES 20

enum status cuda_measure(struct backend *b, double *bytes_per_s, struct error *err)
{
    struct cuda *c = cuda_of(b);
    void *from = NULL;
    void *to = NULL;
    int64_t start = 0;
    enum status s = c->ops->allocate(c->gpu, MEASURED_BYTES, &from, err);
    s = s == STATUS_OK ? c->ops->allocate(c->gpu, MEASURED_BYTES, &to, err) : s;
    for (int i = 0; i <= MEASURED_TIMES && s == STATUS_OK; i++) {
        if (i == 1) { /* the first is for warming up */
            s = c->ops->finish(c->gpu, err);
            start = clock_monotonic_us();
        }
        s = s == STATUS_OK ? c->ops->copy(c->gpu, to, from, MEASURED_BYTES, err) : s;
    }
    s = s == STATUS_OK ? c->ops->finish(c->gpu, err) : s;
    double us = (double)(clock_monotonic_us() - start);
    *bytes_per_s = 2.0 * MEASURED_TIMES * (double)MEASURED_BYTES * 1e6 / (us > 0 ? us : 1);
    c->ops->release(c->gpu, from);
    c->ops->release(c->gpu, to);
    return s;
}
