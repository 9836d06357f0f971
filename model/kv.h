/* Keys and values in pages of KV_PAGE tokens, every layer's side by side. A sequence is a list of
 * pages; sequences with the same beginning share its pages, counted, and copy the last one when
 * they part. Pages are of one model and are handed out by one pool, whose size is fixed when it is
 * made: reserving fails with BUSY instead of growing. One thread at a time.
 *
 * After Kwon et al. 2023, "Efficient Memory Management for Large Language Model Serving with
 * PagedAttention". */
#ifndef CARREL_MODEL_KV_H
#define CARREL_MODEL_KV_H

#include "base/status.h"
#include "model/kernels.h"
#include "model/tensor.h"

#define KV_PAGE 16U /* tokens */

struct kv_pool;

struct kv_shape {
    uint32_t layers;
    uint32_t key_width, value_width; /* floats of a token in one layer, all heads together */
    uint32_t heads;                  /* that they belong to, in equal parts; 0 is 1 */
    enum tensor_type type;           /* TENSOR_F32, TENSOR_F16 or TENSOR_Q8_0 */
};

struct kv_sequence { /* zeroed: empty */
    uint32_t *pages;
    uint32_t n_pages, cap_pages;
    uint32_t length; /* tokens whose keys and values are there */
};

enum status kv_pool_new(const struct kv_shape *shape, uint32_t pages, struct kv_pool **out,
                        struct error *err) MUST_CHECK;
void kv_pool_free(struct kv_pool *p);           /* NULL is fine; all sequences released before */
uint32_t kv_pool_left(const struct kv_pool *p); /* free pages */
enum tensor_type kv_type(const struct kv_pool *p);
enum attend_form kv_form(const struct kv_pool *p);
/* "f32", "f16" or "q8_0", as settings and options name them. */
bool kv_type_parse(const char *name, enum tensor_type *out);
const char *kv_type_name(enum tensor_type t);
uint64_t kv_page_bytes(const struct kv_shape *shape);

/* Room for n more tokens, the last page this sequence's own. BUSY: the pool has too few pages;
 * nothing changed. */
enum status kv_reserve(struct kv_pool *p, struct kv_sequence *s, uint32_t n,
                       struct error *err) MUST_CHECK;
/* out (empty) becomes a sequence of from's first n tokens, sharing its pages. */
enum status kv_fork(struct kv_pool *p, const struct kv_sequence *from, uint32_t n,
                    struct kv_sequence *out, struct error *err) MUST_CHECK;
void kv_release(struct kv_pool *p, struct kv_sequence *s);

/* Writes what a position holds. key and value: of the widths of the shape. The page must be
 * reserved and, for kv_put, not shared. */
void kv_put(struct kv_pool *p, const struct kv_sequence *s, uint32_t layer, uint32_t position,
            const float *key, const float *value);
/* One head's part of page `page` of the sequence, as the attention kernels read it (attend_tile in
 * kernels.h, where enum attend_form says how they lie). */
void kv_page(const struct kv_pool *p, const struct kv_sequence *s, uint32_t layer, uint32_t head,
             uint32_t page, const void **keys, const void **values);

#endif
