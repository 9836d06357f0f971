/* A pool's insides: kv.c hands pages out, kv_page.c writes and finds what is in them. */
#ifndef CARREL_MODEL_KV_INTERNAL_H
#define CARREL_MODEL_KV_INTERNAL_H

#include "model/kv.h"

struct group {
    uint32_t layers, n, n_free; /* pages */
    uint16_t *uses;             /* by page; 0: free */
    uint32_t *free_pages;
    size_t page_bytes;
    unsigned char *data; /* NULL: on a device */
};

struct kv_pool {
    struct kv_shape shape;
    struct group groups[KV_GROUPS];
    struct kv_device device; /* copy NULL: none */
    uint32_t ring;
    uint32_t heads, key_width, value_width;    /* of a head */
    size_t key_bytes, head_bytes, layer_bytes; /* keys of a head in a page, both, of all heads */
    uint16_t places[KV_LAYERS_MAX];            /* of a layer in its group */
};

/* Values of a head are padded to whole vectors. */
static inline uint32_t kv_padded(uint32_t width)
{
    return (width + 15) / 16 * 16;
}

static inline bool kv_windowed(const struct kv_shape *shape, uint32_t layer)
{
    return (shape->windowed[layer / 64] >> layer % 64 & 1) != 0;
}

#endif
