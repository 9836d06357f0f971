#include "model/plan.h"

#include <stdio.h>
#include <string.h>

#include "model/pack.h"
#include "model/sampler.h"

#define CONTEXT_MOST (1U << 24)

/* ---- what a pass works in ---- */

/* A workspace, and each user's row of logits and sampler. */
static uint64_t workspace_of(const struct model_info *i, uint64_t tokens, uint64_t users)
{
    return workspace_bytes(i, (uint32_t)tokens) +
           users * (i->vocabulary * sizeof(float) + sampler_bytes(i->vocabulary));
}

/* Pieces, types, flags and the tables that find them: measured at 60 to 110 bytes a token. */
static uint64_t vocabulary_of(const struct plan_request *r)
{
    return r->vocabulary > 0 ? r->vocabulary : r->info->vocabulary * UINT64_C(96);
}

/* ---- budget ---- */

static uint32_t pass_of(const struct plan_request *r)
{
    return r->pass_tokens == 0 ? PLAN_PASS_TOKENS : r->pass_tokens;
}

static struct kv_shape keys_of(const struct plan_request *r)
{
    const struct model_info *i = r->info;
    struct kv_shape kv = {.layers = i->encoder ? 0 : i->layers,
                          .key_width = i->kv_heads * i->head_width,
                          .value_width = i->kv_heads * i->value_width,
                          .heads = i->kv_heads,
                          .type = r->kv_type,
                          .window = i->window,
                          .pass_tokens = pass_of(r)};
    for (uint32_t n = 0; n < i->window_layers && n < kv.layers; n++) {
        kv.windowed[n / 64] |= UINT64_C(1) << n % 64; /* how many decides, not which */
    }
    return kv;
}

static uint64_t total_of(const struct plan_request *r, const struct plan *p, uint64_t users,
                         uint64_t context)
{
    struct kv_shape kv = keys_of(r);
    struct kv_room each = kv_room_for(&kv, 1, (uint32_t)context);
    return p->weights + p->vocabulary + users * kv_room_bytes(&kv, &each) +
           workspace_of(r->info, pass_of(r), users);
}

static uint32_t most_users(const struct plan_request *r, const struct plan *p)
{
    uint32_t low = 0;
    uint32_t high = PLAN_USERS_MAX;
    while (low < high) {
        uint32_t middle = low + (high - low + 1) / 2;
        if (total_of(r, p, middle, p->context) <= r->memory) {
            low = middle;
        } else {
            high = middle - 1;
        }
    }
    return low;
}

static uint32_t largest_context(const struct plan_request *r, const struct plan *p)
{
    uint32_t low = 0;
    uint32_t high = r->info->context / KV_PAGE;
    while (low < high) {
        uint32_t middle = low + (high - low + 1) / 2;
        if (total_of(r, p, p->users, (uint64_t)middle * KV_PAGE) <= r->memory) {
            low = middle;
        } else {
            high = middle - 1;
        }
    }
    return low * KV_PAGE;
}

/* By what the weights leave for users: three quarters, half, or just enough for what was asked. */
static enum plan_verdict judge(const struct plan_request *r, const struct plan *p)
{
    uint64_t weights = p->weights + p->vocabulary;
    if (!p->fits) {
        return PLAN_NO;
    }
    if (r->memory == 0 || weights <= r->memory / 4) {
        return PLAN_EASY;
    }
    return weights <= r->memory / 2 ? PLAN_COMFORTABLE : PLAN_TIGHT;
}

enum status plan_make(const struct plan_request *r, struct plan *out, struct error *err)
{
    const struct model_info *i = r->info;
    uint32_t context = r->context == 0 ? i->context : r->context;
    if (r->users == 0 || r->users > PLAN_USERS_MAX || context == 0 || context > CONTEXT_MOST) {
        return error_set(err, STATUS_INVALID, "a plan is for 1 to %u users at 1 to %u tokens",
                         PLAN_USERS_MAX, CONTEXT_MOST);
    }
    struct kv_shape kv = keys_of(r);
    struct kv_room each = kv_room_for(&kv, 1, context);
    struct plan p = {.context = context,
                     .users = r->users,
                     .weights = r->weights == 0 ? i->weight_bytes : r->weights,
                     .vocabulary = vocabulary_of(r),
                     .page_bytes = kv_group_bytes(&kv, 0),
                     .pages_each = each.pages[0],
                     .window_page_bytes = kv_group_bytes(&kv, 1),
                     .window_pages_each = each.pages[1],
                     .past_training = context > i->context};
    uint64_t pages = (uint64_t)p.pages_each * r->users;
    if (pages > UINT32_MAX) {
        return error_set(err, STATUS_INVALID, "%u users at %u tokens are too many", r->users,
                         context);
    }
    p.pages = (uint32_t)pages;
    p.keys_values = r->users * kv_room_bytes(&kv, &each);
    p.workspace = workspace_of(i, pass_of(r), r->users);
    p.total = total_of(r, &p, r->users, context);
    p.fits = r->memory == 0 || p.total <= r->memory;
    p.most_users = r->memory == 0 ? PLAN_USERS_MAX : most_users(r, &p);
    p.largest_context = r->memory == 0 ? i->context / KV_PAGE * KV_PAGE : largest_context(r, &p);
    p.verdict = judge(r, &p);
    *out = p;
    return STATUS_OK;
}

uint64_t plan_header(const struct model *m)
{
    uint64_t all = gguf_file_bytes(model_file(m));
    uint64_t tensors = model_info(m)->weight_bytes;
    return all > tensors ? all - tensors : 0;
}

uint64_t plan_vocabulary(const struct model *m)
{
    return plan_header(m) + tokenizer_bytes(model_tokenizer(m));
}

/* "blk.7.attn_q.weight": is it of one of the first `layers`? */
static bool of_first(struct str name, uint32_t layers)
{
    struct str before = STR("blk.");
    uint64_t n = 0;
    size_t i = before.len;
    if (!str_starts(name, before)) {
        return false;
    }
    for (; i < name.len && name.ptr[i] >= '0' && name.ptr[i] <= '9' && n < layers; i++) {
        n = n * 10 + (uint64_t)(name.ptr[i] - '0');
    }
    return i > before.len && n < layers;
}

uint64_t plan_packed_weights(const struct model *m)
{
    return plan_packed_from(m, 0);
}

uint64_t plan_packed_from(const struct model *m, uint32_t layer)
{
    const struct gguf *g = model_file(m);
    bool looked_up = model_info(m)->encoder || gguf_find_tensor(g, STR("output.weight")) != NULL;
    uint64_t bytes = 0;
    for (size_t n = 0; n < gguf_tensors(g); n++) {
        const struct gguf_tensor *t = gguf_tensor_at(g, n);
        enum pack_kind kind = t->n_dimensions >= 2 ? pack_kind_of(t->type) : PACK_NONE;
        bool rows_only = (looked_up && str_eq(t->name, STR("token_embd.weight"))) ||
                         str_eq(t->name, STR("position_embd.weight"));
        uint64_t groups = (t->dimensions[1] + KERNEL_ROWS - 1) / KERNEL_ROWS;
        bytes += rows_only || of_first(t->name, layer) ? 0
                 : kind == PACK_NONE
                     ? t->bytes
                     : groups * pack_group_bytes(kind, t->dimensions[0]) * t->dimensions[2] *
                           t->dimensions[3]; /* experts lie behind each other */
    }
    return bytes;
}

const char *plan_verdict_name(enum plan_verdict v)
{
    static const char *const names[] = {"easy", "comfortable", "tight", "no"};
    return (unsigned)v < 4 ? names[v] : "no";
}

/* ---- shapes ---- */

struct shape_row {
    const char *size;
    uint32_t layers, width, feed_forward, heads, kv_heads, vocabulary, context;
    bool wide_values; /* llama.cpp gives the values of its 70B shape more bits: eight heads share
                         them */
};

static const struct shape_row shapes[] = {
    {"8B", 32, 4096, 14336, 32, 8, 128256, 8192, false},
    {"13B", 40, 5120, 13824, 40, 40, 32000, 4096, false},
    {"34B", 48, 8192, 22016, 64, 8, 32000, 16384, false},
    {"70B", 80, 8192, 28672, 64, 8, 128256, 8192, true},
};

struct kind_row {
    const char *name;
    enum tensor_type most;   /* of the matrices */
    enum tensor_type better; /* of the layers that get more bits, and of the last matrix */
    enum tensor_type head;
};

static const struct kind_row kinds[] = {
    {"Q4_K_M", TENSOR_Q4_K, TENSOR_Q6_K, TENSOR_Q6_K},
    {"Q4_0", TENSOR_Q4_0, TENSOR_Q4_0, TENSOR_Q6_K},
    {"Q6_K", TENSOR_Q6_K, TENSOR_Q6_K, TENSOR_Q6_K},
    {"Q8_0", TENSOR_Q8_0, TENSOR_Q8_0, TENSOR_Q8_0},
    {"F16", TENSOR_F16, TENSOR_F16, TENSOR_F16},
};

/* llama.cpp's use_more_bits: the first and the last eighth of the layers and every third between.
 */
static bool more_bits(uint32_t layer, uint32_t layers)
{
    return layer < layers / 8 || layer >= 7 * layers / 8 || (layer - layers / 8) % 3 == 2;
}

static void add(struct model_info *i, enum tensor_type type, uint64_t columns, uint64_t rows)
{
    uint64_t bytes = 0;
    if (tensor_bytes(type, columns, &bytes)) {
        i->weight_bytes += bytes * rows;
        i->parameters += columns * rows;
    }
}

static void add_layers(const struct shape_row *s, const struct kind_row *k, struct model_info *i)
{
    uint64_t values = (uint64_t)s->kv_heads * i->head_width;
    for (uint32_t layer = 0; layer < s->layers; layer++) {
        bool better = more_bits(layer, s->layers);
        enum tensor_type value = better ? k->better : k->most;
        if (s->wide_values && k->most == TENSOR_Q4_K) {
            value = better ? k->better : TENSOR_Q5_K;
        }
        add(i, k->most, s->width, s->width);                             /* queries */
        add(i, k->most, s->width, values);                               /* keys */
        add(i, value, s->width, values);                                 /* values */
        add(i, k->most, s->width, s->width);                             /* output */
        add(i, k->most, s->width, s->feed_forward);                      /* gate */
        add(i, k->most, s->width, s->feed_forward);                      /* up */
        add(i, better ? k->better : k->most, s->feed_forward, s->width); /* down */
        add(i, TENSOR_F32, s->width, 2);                                 /* norms */
    }
}

enum status plan_shape(const char *size, const char *kind, struct model_info *out,
                       struct error *err)
{
    const struct shape_row *s = NULL;
    const struct kind_row *k = NULL;
    for (size_t n = 0; n < sizeof shapes / sizeof shapes[0]; n++) {
        s = strcasecmp(shapes[n].size, size) == 0 ? &shapes[n] : s;
    }
    for (size_t n = 0; n < sizeof kinds / sizeof kinds[0]; n++) {
        k = strcasecmp(kinds[n].name, kind) == 0 ? &kinds[n] : k;
    }
    if (s == NULL || k == NULL) {
        return error_set(err, STATUS_INVALID, "%.40s: known are %s", s == NULL ? size : kind,
                         s == NULL ? "the shapes 8B, 13B, 34B and 70B"
                                   : "weights of Q4_K_M, Q4_0, Q6_K, Q8_0 and F16");
    }
    struct model_info i = {.layers = s->layers,
                           .width = s->width,
                           .feed_forward = s->feed_forward,
                           .heads = s->heads,
                           .kv_heads = s->kv_heads,
                           .head_width = s->width / s->heads,
                           .value_width = s->width / s->heads,
                           .vocabulary = s->vocabulary,
                           .bytes = k->most != TENSOR_F16,
                           .floats = k->most == TENSOR_F16,
                           .context = s->context};
    (void)snprintf(i.architecture, sizeof i.architecture, "llama");
    (void)snprintf(i.name, sizeof i.name, "%s shape, %s", s->size, k->name);
    add(&i, k->most, s->width, s->vocabulary);
    add(&i, k->head, s->width, s->vocabulary);
    add(&i, TENSOR_F32, s->width, 1);
    add_layers(s, k, &i);
    *out = i;
    return STATUS_OK;
}
