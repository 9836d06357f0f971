/* What a device does for the pass, as plain C: pass.c drives it, device.cu implements it, in the
 * plug-in with nvcc and in the tests with tests/gpu/emulate.
 *
 * Everything runs in order on the device's one stream and is not waited for unless said. Pointers
 * are the device's unless named host_. Arrays are row-major floats of n rows, a token each. A
 * failed call sets err with file, line and what to do; after one of a kernel the device is lost,
 * and every later call says so.
 *
 * Determinism: a row's result depends on that row's inputs alone. No operation gives other bits
 * for another n, another grid or another neighbour: sums run in an order that the shape of one row
 * fixes (columns, positions), so that a token has the same bits read alone, in a slice of 512 or
 * in a captured graph. Whatever the number of tokens, the same instructions add in the same order:
 * where the matrix units are used for many rows they are used for one. */
#ifndef CARREL_MODEL_CUDA_KERNELS_H
#define CARREL_MODEL_CUDA_KERNELS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#include "base/status.h"
#include "model/tensor.h"

#define GPU_ABI 2U               /* raise it with every change of what is declared here */
#define GPU_SYMBOL "carrel_cuda" /* of the plug-in: const struct gpu_ops *(void) */
#define GPU_NONE UINT32_MAX      /* a row of a batch that no token is in */
#define GPU_PRODUCTS_MAX 4U
#define GPU_PAGE 16U   /* tokens of a page of keys and values */
#define GPU_SPLIT 256U /* keys of one part of a sum over keys: parts are added in their order */
#define GPU_TILE 64U   /* queries of a tile at most, where a token has no more heads of one key */
#define GPU_TOP 64U    /* likeliest tokens that come back of a row of logits */

struct gpu; /* one device, its stream and scratch; one thread at a time */

struct gpu_info {
    char name[96];
    int index, major, minor; /* compute capability */
    int driver, runtime;     /* 13000: CUDA 13.0 */
    uint32_t processors;
    uint32_t shared; /* bytes that a block may share: 227 KiB on a 9.0, 99 on an 8.6 */
    uint64_t memory, memory_free;
};

/* A weight on the device, laid out for the kernels (gpu_pack in matmul.cuh). */
struct gpu_matrix {
    uint32_t type; /* enum tensor_type of the file */
    uint32_t columns, rows;
    uint64_t bytes; /* on the device */
    void *data;     /* NULL: absent */
};

struct gpu_product {
    const struct gpu_matrix *w;
    const float *bias; /* NULL: none */
    float *y;          /* n x rows */
};

/* Where the tokens of a batch stand. */
struct gpu_batch {
    uint32_t n;                /* rows, those of GPU_NONE too */
    const uint32_t *tokens;    /* n ids */
    const uint32_t *positions; /* n; GPU_NONE: no token, its row's results are not used */
    const uint32_t *owners;    /* n: which row of the tables */
    /* Tokens of one owner behind each other: n_tiles pairs of the first row and how many; GPU_NONE:
     * none. At most tile_tokens each. They decide who works together, never the bits. */
    const uint32_t *tiles;
    uint32_t n_tiles, tile_tokens;
};

/* Keys and values of one layer. A page of a head: keys [GPU_PAGE][key_width], then values
 * [GPU_PAGE][value_width], as halves; Q8_0: bytes in place of the halves, each row rounded up to
 * whole blocks of 32, and behind all rows of keys (values) a half for each block, its scale. */
struct gpu_keys {
    uint32_t type; /* TENSOR_F16 or TENSOR_Q8_0 */
    uint32_t kv_heads, key_width, value_width;
    unsigned char *data;   /* of this layer in page 0 */
    uint64_t page_bytes;   /* from one page to the next */
    const uint32_t *table; /* owners x table_width: page numbers by position / GPU_PAGE */
    uint32_t table_width;
};

#ifdef __CUDACC__
#define GPU_BOTH __host__ __device__
#else
#define GPU_BOTH
#endif

/* GPU_PAGE rows of a head's keys, or of its values: bytes of the rows, and with their scales. */
GPU_BOTH static inline uint64_t gpu_codes_bytes(uint32_t type, uint32_t width)
{
    return type == TENSOR_Q8_0 ? (uint64_t)GPU_PAGE * ((width + 31) / 32 * 32)
                               : (uint64_t)GPU_PAGE * width * 2;
}
GPU_BOTH static inline uint64_t gpu_rows_bytes(uint32_t type, uint32_t width)
{
    return gpu_codes_bytes(type, width) +
           (type == TENSOR_Q8_0 ? (uint64_t)GPU_PAGE * ((width + 31) / 32) * 2 : 0);
}
/* One head's part of a page; the heads' parts lie behind each other. */
GPU_BOTH static inline uint64_t gpu_head_bytes(uint32_t type, uint32_t key_width,
                                               uint32_t value_width)
{
    return gpu_rows_bytes(type, key_width) + gpu_rows_bytes(type, value_width);
}

struct gpu_attend {
    const struct gpu_batch *batch;
    const struct gpu_keys *keys;
    const float *q; /* n x heads x key_width */
    float *out;     /* n x heads x value_width */
    uint32_t heads;
    uint32_t window; /* tokens a query sees, itself among them; 0: all before it */
    float scale, cap;
    uint32_t most; /* no query sees more keys; decides the grid, never the bits */
};

/* Queries and keys are normed by head, turned to their positions, and keys and values go into
 * their pages. */
struct gpu_place {
    const struct gpu_batch *batch;
    const struct gpu_keys *keys;
    float *q;                           /* n x heads x key_width, in place */
    const float *k;                     /* n x kv_heads x key_width */
    const float *v;                     /* n x kv_heads x value_width */
    const float *query_norm, *key_norm; /* NULL: none */
    uint32_t heads;
    float epsilon;
    uint32_t rope_width;
    bool rope_halves;
    const float *cosines, *sines; /* n x rope_width / 2 */
};

/* What a row's sampler changes before the choice (model/sampler.h): tokens it has a bias for or
 * has seen, and the constraint's mask. */
struct gpu_touched {
    uint32_t row, token;
    float bias; /* added first */
    uint32_t seen;
};
struct gpu_sampling { /* of one row */
    float temperature, repetition_penalty, presence_penalty, frequency_penalty;
    uint32_t masked; /* 1: the row's bits of the masks say which tokens are allowed */
};
struct gpu_choice {
    uint32_t n;          /* of `top`; fewer than GPU_TOP only when there are no more candidates */
    uint32_t candidates; /* tokens allowed that are numbers */
    double total; /* of exp((logit - largest) / temperature) over the candidates; 0 for greedy */
    struct {
        float logit;
        uint32_t token;
    } top[GPU_TOP]; /* likeliest first, of equals the lower id */
};

/* A key of captured work: the same key must mean the same calls with the same arguments. */
struct gpu_graph_key {
    uint32_t rows, splits, wanted, kind;
};

struct gpu_ops {
    uint32_t abi;
    /* ---- the device ---- */
    /* UNAVAILABLE: no driver, one that is too old, or no device, saying which. */
    enum status (*probe)(int index, struct gpu_info *out, struct error *err);
    enum status (*open)(int index, struct gpu **out, struct error *err);
    void (*close)(struct gpu *g); /* NULL is fine */
    enum status (*allocate)(struct gpu *g, uint64_t bytes, void **out, struct error *err);
    void (*release)(struct gpu *g, void *p); /* NULL is fine */
    /* Scratch of the operations for batches of at most `rows` rows of at most `widest` floats,
     * attention over at most `most` keys and choices for `choices` rows. Before the first of them.
     */
    uint64_t (*scratch_bytes)(uint32_t rows, uint32_t choices, uint32_t widest, uint32_t heads,
                              uint32_t value_width, uint32_t most);
    enum status (*scratch)(struct gpu *g, uint32_t rows, uint32_t choices, uint32_t widest,
                           uint32_t heads, uint32_t value_width, uint32_t most, struct error *err);
    /* Host memory that the device reads and writes by itself (pinned). */
    enum status (*host_allocate)(struct gpu *g, uint64_t bytes, void **out, struct error *err);
    void (*host_release)(struct gpu *g, void *p);
    enum status (*to_device)(struct gpu *g, void *to, const void *host_from, uint64_t bytes,
                             struct error *err);
    enum status (*to_host)(struct gpu *g, void *host_to, const void *from, uint64_t bytes,
                           struct error *err);
    enum status (*copy)(struct gpu *g, void *to, const void *from, uint64_t bytes,
                        struct error *err);
    enum status (*zero)(struct gpu *g, void *p, uint64_t bytes, struct error *err);
    /* Waits; the first error of what ran since the last time. */
    enum status (*finish)(struct gpu *g, struct error *err);
    /* Markers for the ring of pinned buffers: `mark` sets number `n` behind what was asked for so
     * far, `wait` waits until it has been reached. n < 8. */
    enum status (*mark)(struct gpu *g, uint32_t n, struct error *err);
    enum status (*wait)(struct gpu *g, uint32_t n, struct error *err);

    /* ---- weights: rows are packed on the host, in whole groups, and copied ---- */
    uint32_t group_rows; /* rows of a group; the last one is filled up with zeros */
    uint64_t (*matrix_bytes)(uint32_t type, uint32_t columns, uint32_t rows); /* 0: cannot */
    uint64_t (*group_bytes)(uint32_t type, uint32_t columns);
    /* n (at most group_rows) rows as they lie in the file to one group. */
    void (*pack)(uint32_t type, uint32_t columns, uint32_t n, const void *rows, size_t row_bytes,
                 void *out);

    /* ---- the pass ---- */
    /* Can heads of these widths, so many experts (0: none) and tokens be had there? */
    bool (*takes)(const struct gpu_info *on, uint32_t key_width, uint32_t value_width,
                  uint32_t experts, uint32_t vocabulary);
    /* x[t] = row tokens[t] of the table, times scale. */
    enum status (*embed)(struct gpu *g, const struct gpu_matrix *table, const struct gpu_batch *b,
                         float scale, float *x, struct error *err);
    /* h = rms_norm(x) * weight, after x += h (post != NULL: h normed by it first) where add. */
    enum status (*norm)(struct gpu *g, float *x, float *h, const float *weight, const float *post,
                        bool add, uint32_t n, uint32_t width, float epsilon, struct error *err);
    /* y = W x + bias, for matrices of the same columns. */
    enum status (*multiply)(struct gpu *g, const float *x, uint32_t n,
                            const struct gpu_product *products, uint32_t n_products,
                            struct error *err);
    /* Cosines and sines of the batch's positions: n x pairs. frequencies: pairs doubles. */
    enum status (*angles)(struct gpu *g, const struct gpu_batch *b, const double *frequencies,
                          uint32_t pairs, float magnitude, float *cosines, float *sines,
                          struct error *err);
    enum status (*place)(struct gpu *g, const struct gpu_place *p, struct error *err);
    enum status (*attend)(struct gpu *g, const struct gpu_attend *a, struct error *err);
    /* gate = silu(gate) * up, or gelu: n rows of `width`. */
    enum status (*gate)(struct gpu *g, float *gate, const float *up, uint32_t n, uint32_t width,
                        bool gelu, struct error *err);
    /* x = cap tanh(x / cap) */
    enum status (*cap)(struct gpu *g, float *x, uint64_t n, float cap, struct error *err);
    /* to[i] = from[rows[i]] (or zeros: GPU_NONE) for n rows. */
    enum status (*gather)(struct gpu *g, float *to, const float *from, const uint32_t *rows,
                          uint32_t n, uint32_t width, struct error *err);
    /* to[rows[i]] = from[i] */
    enum status (*scatter)(struct gpu *g, float *to, const float *from, const uint32_t *rows,
                           uint32_t n, uint32_t width, struct error *err);
    /* The `used` largest of each row's scores, of equals the lower number, and their softmax. */
    enum status (*route)(struct gpu *g, const float *scores, uint32_t n, uint32_t experts,
                         uint32_t used, uint32_t *chosen, float *shares, struct error *err);
    /* h[t] = sum over k, in order, of shares[t][k] * results[t * used + k] */
    enum status (*mix)(struct gpu *g, const float *results, const float *shares, uint32_t n,
                       uint32_t used, uint32_t width, float *h, struct error *err);

    /* ---- the choice; room: as large as the logits, and changed ---- */
    enum status (*choose)(struct gpu *g, const float *logits, float *room, uint32_t rows,
                          uint32_t vocabulary, const struct gpu_sampling *samplings,
                          const struct gpu_touched *touched, uint32_t n_touched,
                          const uint64_t *masks, struct gpu_choice *out, struct error *err);

    /* ---- captured work ---- */
    /* *known: it ran again. Otherwise what is asked for until graph_end is captured, and runs
     * there; nothing that waits may be asked for between. */
    enum status (*graph_begin)(struct gpu *g, const struct gpu_graph_key *key, bool *known,
                               struct error *err);
    enum status (*graph_end)(struct gpu *g, struct error *err);
};

const struct gpu_ops *carrel_cuda(void);

#ifdef __cplusplus
}
#endif
#endif
