/* What is in a page of keys and values. */
#include <math.h>
#include <string.h>

#include "base/half.h"
#include "model/kv_internal.h"

uint32_t kv_group(const struct kv_pool *p, uint32_t layer, uint32_t *place)
{
    *place = p->places[layer];
    return kv_windowed(&p->shape, layer) ? 1 : 0;
}

uint32_t kv_page_number(const struct kv_pool *p, const struct kv_sequence *s, uint32_t layer,
                        uint32_t page)
{
    if (!kv_windowed(&p->shape, layer)) {
        return s->pages[page];
    }
    return s->window_pages[page < p->ring ? page : page % p->ring];
}

static unsigned char *head_of(const struct kv_pool *p, const struct kv_sequence *s, uint32_t layer,
                              uint32_t head, uint32_t page)
{
    uint32_t place = 0;
    const struct group *g = &p->groups[kv_group(p, layer, &place)];
    return g->data + kv_page_number(p, s, layer, page) * g->page_bytes + place * p->layer_bytes +
           head * p->head_bytes;
}

static void put_halves(const struct kv_pool *p, unsigned char *at, uint32_t slot, const float *key,
                       const float *value)
{
    uint16_t *keys = (uint16_t *)(void *)at;
    uint16_t *values = (uint16_t *)(void *)(at + p->key_bytes) + slot * kv_padded(p->value_width);
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
        float y = roundf(x[i] * inverse);
        /* 0: of what is no number, or without end */
        code[i * stride] = y >= -127 && y <= 127 ? (int8_t)y : 0;
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
    int8_t *codes = (int8_t *)scales + ATTEND_SCALES(kv_padded(p->value_width)) +
                    (size_t)slot * kv_padded(p->value_width);
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
    float *values = (float *)(void *)(at + p->key_bytes) + slot * kv_padded(p->value_width);
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
