/* Keys and values in pages of KV_PAGE tokens. A sequence is a list of pages; sequences with the
 * same beginning share its pages, counted, and copy the last one when they part. Pages are of one
 * model and are handed out by one pool, whose size is fixed when it is made: reserving fails with
 * BUSY instead of growing. One thread at a time.
 *
 * Two groups of layers have pages of their own, since they forget differently:
 *   group 0, the layers that see all before them: one page for every KV_PAGE tokens, for good;
 *   group 1, the layers with a window: as many pages as a window and a pass need (the ring), whose
 *   oldest is written over when the sequence goes on.
 * A page of a group holds all layers of that group. Page i (position / KV_PAGE) of a sequence is
 * pages[i] in group 0 and window_pages[i % kv_ring] in group 1; kv_page_number says it. A sequence
 * that was reserved for more pages than the ring has owns its ring alone: forking it copies the
 * window before the place where the fork begins, where that is still there (kv_can_fork), else the
 * caller computes it again. A shorter one never comes round and shares both groups' pages.
 *
 * After Kwon et al. 2023, "Efficient Memory Management for Large Language Model Serving with
 * PagedAttention". */
#ifndef CARREL_MODEL_KV_H
#define CARREL_MODEL_KV_H

#include "base/status.h"
#include "model/kernels.h"
#include "model/tensor.h"

#define KV_PAGE 16U /* tokens */
#define KV_GROUPS 2U
#define KV_LAYERS_MAX 256U

struct kv_pool;

struct kv_shape {
    uint32_t layers;
    uint32_t key_width, value_width;       /* floats of a token in one layer, all heads together */
    uint32_t heads;                        /* that they belong to, in equal parts; 0 is 1 */
    enum tensor_type type;                 /* TENSOR_F32, TENSOR_F16 or TENSOR_Q8_0 */
    uint64_t windowed[KV_LAYERS_MAX / 64]; /* a bit a layer: group 1 */
    uint32_t window;                       /* tokens that those see, the newest among them */
    /* A sequence's tokens in one pass at most, which the ring has room for beside the window; 0:
     * no limit, and group 1 forgets nothing. */
    uint32_t pass_tokens;
};

struct kv_sequence { /* zeroed: empty */
    uint32_t *pages; /* group 0 */
    uint32_t n_pages, cap_pages;
    uint32_t *window_pages; /* group 1: at most the ring */
    uint32_t n_window, cap_window;
    uint32_t window_first; /* no older page is there in group 1 (behind a fork) */
    uint32_t length;       /* tokens whose keys and values are there */
};

/* Where the pages of the first `layers` layers lie when not in the pool's own memory: a copy of one
 * page, done before the next pass. Layers count their places in a page apart on both sides. */
struct kv_device {
    void (*copy)(void *data, uint32_t group, uint32_t to, uint32_t from);
    void *data;
    uint32_t layers;
};

struct kv_room {
    uint32_t pages[KV_GROUPS];
};

/* What so many sequences of so many tokens each need; group 1 without windowed layers: none. */
struct kv_room kv_room_for(const struct kv_shape *shape, uint32_t sequences, uint32_t tokens);
/* A page of a group: all its layers. */
uint64_t kv_group_bytes(const struct kv_shape *shape, uint32_t group);
uint64_t kv_room_bytes(const struct kv_shape *shape, const struct kv_room *room);
/* Pages of the ring; UINT32_MAX: group 1 forgets nothing. */
uint32_t kv_ring(const struct kv_shape *shape);

/* With that many pages in each group that has layers. */
enum status kv_pool_new(const struct kv_shape *shape, uint32_t pages, struct kv_pool **out,
                        struct error *err) MUST_CHECK;
/* device: NULL: all in the pool's own memory. kv_put and kv_page are not for a device's layers. */
enum status kv_pool_new_with(const struct kv_shape *shape, const struct kv_room *room,
                             const struct kv_device *device, struct kv_pool **out,
                             struct error *err) MUST_CHECK;
void kv_pool_free(struct kv_pool *p);             /* NULL is fine; all sequences released before */
uint32_t kv_pool_left(const struct kv_pool *p);   /* free pages of group 0 */
uint32_t kv_window_left(const struct kv_pool *p); /* and of group 1 */
enum tensor_type kv_type(const struct kv_pool *p);
enum attend_form kv_form(const struct kv_pool *p);
/* "f32", "f16" or "q8_0", as settings and options name them. */
bool kv_type_parse(const char *name, enum tensor_type *out);
const char *kv_type_name(enum tensor_type t);

/* Room for n more tokens, the pages to be written this sequence's own. BUSY: the pool has too few
 * pages; nothing changed. */
enum status kv_reserve(struct kv_pool *p, struct kv_sequence *s, uint32_t n,
                       struct error *err) MUST_CHECK;
/* Tokens that the next pass may have of this sequence: what is reserved, within pass_tokens. */
uint32_t kv_pass_most(const struct kv_pool *p, const struct kv_sequence *s);
/* Is all there that a sequence of from's first n tokens (at most from's length) needs? */
bool kv_can_fork(const struct kv_pool *p, const struct kv_sequence *from, uint32_t n);
/* out (empty) becomes a sequence of from's first n tokens, sharing its pages or with copies of a
 * ring's. NOT_FOUND: the window before that place is gone; BUSY: no pages for copies. */
enum status kv_fork(struct kv_pool *p, const struct kv_sequence *from, uint32_t n,
                    struct kv_sequence *out, struct error *err) MUST_CHECK;
void kv_release(struct kv_pool *p, struct kv_sequence *s);

/* A layer's group, and its place among that group's layers on the same side. */
uint32_t kv_group(const struct kv_pool *p, uint32_t layer, uint32_t *place);
/* The number in the layer's group of page `page` of the sequence. */
uint32_t kv_page_number(const struct kv_pool *p, const struct kv_sequence *s, uint32_t layer,
                        uint32_t page);
/* Writes what a position holds. key and value: of the widths of the shape. The page must be
 * reserved and, for kv_put, not shared. */
void kv_put(struct kv_pool *p, const struct kv_sequence *s, uint32_t layer, uint32_t position,
            const float *key, const float *value);
/* One head's part of page `page` of the sequence, as the attention kernels read it (attend_tile in
 * kernels.h, where enum attend_form says how they lie). */
void kv_page(const struct kv_pool *p, const struct kv_sequence *s, uint32_t layer, uint32_t head,
             uint32_t page, const void **keys, const void **values);

#endif
