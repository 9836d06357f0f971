#include "model/kv.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/half.h"

struct kv_pool {
    struct kv_shape shape;
    uint32_t n;
    uint16_t *uses; /* by page; 0: free */
    uint32_t *free_pages;
    uint32_t n_free;
    uint32_t heads, key_width, value_width;                /* of a head */
    size_t key_bytes, head_bytes, layer_bytes, page_bytes; /* keys of a head in a page, all of it */
    unsigned char *data;
};

static uint32_t heads_of(const struct kv_shape *shape)
{
    return shape->heads == 0 ? 1 : shape->heads;
}

/* Values of a head are padded to whole vectors. */
static uint32_t padded(uint32_t width)
{
    return (width + 15) / 16 * 16;
}

/* A page's keys or values of one head. */
static size_t part_bytes(enum tensor_type t, uint32_t width)
{
    size_t n = (size_t)KV_PAGE * width;
    return t == TENSOR_Q8_0 ? n + ATTEND_SCALES(width) : n * (t == TENSOR_F16 ? 2 : 4);
}

uint64_t kv_page_bytes(const struct kv_shape *shape)
{
    uint32_t heads = heads_of(shape);
    return (uint64_t)shape->layers * heads *
           (part_bytes(shape->type, shape->key_width / heads) +
            part_bytes(shape->type, padded(shape->value_width / heads)));
}

static const struct {
    const char *name;
    enum tensor_type type;
    enum attend_form form;
} types[] = {{"f32", TENSOR_F32, ATTEND_FLOATS},
             {"f16", TENSOR_F16, ATTEND_HALVES},
             {"q8_0", TENSOR_Q8_0, ATTEND_BYTES}};
#define TYPES (sizeof types / sizeof types[0])

bool kv_type_parse(const char *name, enum tensor_type *out)
{
    for (size_t i = 0; i < TYPES; i++) {
        if (strcmp(types[i].name, name) == 0) {
            *out = types[i].type;
            return true;
        }
    }
    return false;
}

const char *kv_type_name(enum tensor_type t)
{
    const char *name = "";
    for (size_t i = 0; i < TYPES; i++) {
        name = types[i].type == t ? types[i].name : name;
    }
    return name;
}

enum status kv_pool_new(const struct kv_shape *shape, uint32_t pages, struct kv_pool **out,
                        struct error *err)
{
    struct kv_pool *p = calloc(1, sizeof *p);
    if (p == NULL) {
        return error_set(err, STATUS_NO_MEMORY, "out of memory");
    }
    p->shape = *shape;
    p->n = p->n_free = pages;
    p->heads = heads_of(shape);
    p->key_width = shape->key_width / p->heads;
    p->value_width = shape->value_width / p->heads;
    p->key_bytes = part_bytes(shape->type, p->key_width);
    p->head_bytes = p->key_bytes + part_bytes(shape->type, padded(p->value_width));
    p->layer_bytes = p->heads * p->head_bytes;
    p->page_bytes = shape->layers * p->layer_bytes;
    p->uses = calloc((size_t)pages + 1, sizeof *p->uses);
    p->free_pages = calloc((size_t)pages + 1, sizeof *p->free_pages);
    p->data = calloc((size_t)pages + 1, p->page_bytes);
    if (p->uses == NULL || p->free_pages == NULL || p->data == NULL) {
        kv_pool_free(p);
        return error_set(err, STATUS_NO_MEMORY, "no memory for %u pages of keys and values", pages);
    }
    for (uint32_t i = 0; i < pages; i++) {
        p->free_pages[i] = pages - 1 - i;
    }
    *out = p;
    return STATUS_OK;
}

void kv_pool_free(struct kv_pool *p)
{
    if (p != NULL) {
        free(p->uses);
        free(p->free_pages);
        free(p->data);
        free(p);
    }
}

uint32_t kv_pool_left(const struct kv_pool *p)
{
    return p->n_free;
}

enum tensor_type kv_type(const struct kv_pool *p)
{
    return p->shape.type;
}

enum attend_form kv_form(const struct kv_pool *p)
{
    enum attend_form form = ATTEND_FLOATS;
    for (size_t i = 0; i < TYPES; i++) {
        form = types[i].type == p->shape.type ? types[i].form : form;
    }
    return form;
}

static bool grow(struct kv_sequence *s, uint32_t pages)
{
    if (pages <= s->cap_pages) {
        return true;
    }
    uint32_t cap = s->cap_pages == 0 ? 8 : s->cap_pages;
    while (cap < pages) {
        cap *= 2;
    }
    uint32_t *grown = realloc(s->pages, cap * sizeof *grown);
    if (grown != NULL) {
        s->pages = grown;
        s->cap_pages = cap;
    }
    return grown != NULL;
}

static uint32_t take(struct kv_pool *p)
{
    uint32_t page = p->free_pages[--p->n_free];
    p->uses[page] = 1;
    return page;
}

static void give(struct kv_pool *p, uint32_t page)
{
    if (--p->uses[page] == 0) {
        p->free_pages[p->n_free++] = page;
    }
}

enum status kv_reserve(struct kv_pool *p, struct kv_sequence *s, uint32_t n, struct error *err)
{
    uint32_t pages = (s->length + n + KV_PAGE - 1) / KV_PAGE;
    uint32_t last = s->length / KV_PAGE; /* the page that the next token goes into */
    bool shared = n > 0 && last < s->n_pages && p->uses[s->pages[last]] > 1;
    uint32_t more = (pages > s->n_pages ? pages - s->n_pages : 0) + (shared ? 1 : 0);
    if (more > p->n_free) {
        return error_set(err, STATUS_BUSY, "no room for %u more tokens: %u pages wanted, %u free",
                         n, more, p->n_free);
    }
    if (!grow(s, pages)) {
        return error_set(err, STATUS_NO_MEMORY, "out of memory");
    }
    if (shared) {
        uint32_t copy = take(p);
        memcpy(p->data + copy * p->page_bytes, p->data + s->pages[last] * p->page_bytes,
               p->page_bytes);
        give(p, s->pages[last]);
        s->pages[last] = copy;
    }
    while (s->n_pages < pages) {
        s->pages[s->n_pages++] = take(p);
    }
    return STATUS_OK;
}

enum status kv_fork(struct kv_pool *p, const struct kv_sequence *from, uint32_t n,
                    struct kv_sequence *out, struct error *err)
{
    n = n > from->length ? from->length : n;
    uint32_t pages = (n + KV_PAGE - 1) / KV_PAGE;
    for (uint32_t i = 0; i < pages; i++) {
        if (p->uses[from->pages[i]] == UINT16_MAX) {
            return error_set(err, STATUS_BUSY, "too many sequences share one beginning");
        }
    }
    if (!grow(out, pages)) {
        return error_set(err, STATUS_NO_MEMORY, "out of memory");
    }
    for (uint32_t i = 0; i < pages; i++) {
        out->pages[i] = from->pages[i];
        p->uses[from->pages[i]]++;
    }
    out->n_pages = pages;
    out->length = n;
    return STATUS_OK;
}

void kv_release(struct kv_pool *p, struct kv_sequence *s)
{
    for (uint32_t i = 0; i < s->n_pages; i++) {
        give(p, s->pages[i]);
    }
    free(s->pages);
    *s = (struct kv_sequence){0};
}

static unsigned char *head_of(const struct kv_pool *p, const struct kv_sequence *s, uint32_t layer,
                              uint32_t head, uint32_t page)
{
    return p->data + s->pages[page] * p->page_bytes + layer * p->layer_bytes + head * p->head_bytes;
}

static void put_halves(const struct kv_pool *p, unsigned char *at, uint32_t slot, const float *key,
                       const float *value)
{
    uint16_t *keys = (uint16_t *)(void *)at;
    uint16_t *values = (uint16_t *)(void *)(at + p->key_bytes) + slot * padded(p->value_width);
    for (uint32_t d = 0; d < p->key_width; d++) {
        keys[d * KV_PAGE + slot] = half_from_float(key[d]);
    }
    for (uint32_t d = 0; d < p->value_width; d++) {
        values[d] = half_from_float(value[d]);
    }
}

/* Q8_0's rounding (ggml): the largest of a block becomes 127. Codes go to code[i * stride]. */
static void put_block(const float *x, uint32_t n, unsigned char *scale, int8_t *code, size_t stride)
{
    float most = 0;
    for (uint32_t i = 0; i < n; i++) {
        float size = fabsf(x[i]);
        most = size > most ? size : most;
    }
    float each = most / 127.0F;
    float inverse = each > 0 ? 1.0F / each : 0.0F;
    uint16_t half = half_from_float(each);
    memcpy(scale, &half, sizeof half);
    for (uint32_t i = 0; i < n; i++) {
        code[i * stride] = (int8_t)roundf(x[i] * inverse);
    }
}

static uint32_t block_of(uint32_t width, uint32_t from)
{
    return width - from < KERNEL_BLOCK ? width - from : KERNEL_BLOCK;
}

static void put_bytes(const struct kv_pool *p, unsigned char *at, uint32_t slot, const float *key,
                      const float *value)
{
    unsigned char *keys = at;
    unsigned char *scales = at + p->key_bytes;
    int8_t *codes = (int8_t *)scales + ATTEND_SCALES(padded(p->value_width)) +
                    (size_t)slot * padded(p->value_width);
    for (uint32_t d = 0; d < p->key_width; d += KERNEL_BLOCK) {
        uint32_t n = block_of(p->key_width, d);
        unsigned char *block = keys + (size_t)KV_PAGE * 2;
        put_block(key + d, n, keys + (size_t)slot * 2, (int8_t *)block + slot, KV_PAGE);
        keys = block + (size_t)n * KV_PAGE;
    }
    for (uint32_t d = 0; d < p->value_width; d += KERNEL_BLOCK) {
        put_block(value + d, block_of(p->value_width, d), scales + (size_t)slot * 2, codes + d, 1);
        scales += (size_t)KV_PAGE * 2;
    }
}

static void put_floats(const struct kv_pool *p, unsigned char *at, uint32_t slot, const float *key,
                       const float *value)
{
    float *keys = (float *)(void *)at;
    float *values = (float *)(void *)(at + p->key_bytes) + slot * padded(p->value_width);
    for (uint32_t d = 0; d < p->key_width; d++) {
        keys[d * KV_PAGE + slot] = key[d];
    }
    memcpy(values, value, p->value_width * sizeof *value);
}

void kv_put(struct kv_pool *p, const struct kv_sequence *s, uint32_t layer, uint32_t position,
            const float *key, const float *value)
{
    for (uint32_t h = 0; h < p->heads; h++) {
        unsigned char *at = head_of(p, s, layer, h, position / KV_PAGE);
        const float *k = key + (size_t)h * p->key_width;
        const float *v = value + (size_t)h * p->value_width;
        if (p->shape.type == TENSOR_Q8_0) {
            put_bytes(p, at, position % KV_PAGE, k, v);
        } else if (p->shape.type == TENSOR_F16) {
            put_halves(p, at, position % KV_PAGE, k, v);
        } else {
            put_floats(p, at, position % KV_PAGE, k, v);
        }
    }
}

void kv_page(const struct kv_pool *p, const struct kv_sequence *s, uint32_t layer, uint32_t head,
             uint32_t page, const void **keys, const void **values)
{
    const unsigned char *at = head_of(p, s, layer, head, page);
    *keys = at;
    *values = at + p->key_bytes;
}
