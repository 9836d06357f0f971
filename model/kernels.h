/* The processor's kernels, one table a set of instructions, chosen once by cpuid. All sets run the
 * same operations in the same order on sixteen lanes (cpu_body.h), so they give the same bits; and
 * what a row of activations gives never depends on the rows beside it.
 *
 * Weights are packed (pack.h): sixteen rows side by side, block by block of 32 columns. Activations
 * come in panels of 1, 2, 4 or 8 tokens: for quantized weights as bytes with a scale for every 32
 * (`quantize`), for float weights as they are (`interleave`). */
#ifndef CARREL_MODEL_KERNELS_H
#define CARREL_MODEL_KERNELS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define KERNEL_ROWS 16U  /* rows of a packed group */
#define KERNEL_BLOCK 32U /* columns of a block */
#define KERNEL_TILE 8U   /* tokens of a panel at most; queries of an attention tile */
#define KERNEL_KEYS 16U  /* keys of an attention page */

enum pack_kind {
    PACK_NONE, /* read row by row through floats */
    PACK_F32,
    PACK_F16,
    PACK_BF16,
    PACK_Q8_0,
    PACK_Q4_0,
    PACK_Q4_1,
    PACK_Q5_0,
    PACK_Q5_1,
    PACK_Q4_K,
    PACK_Q5_K,
    PACK_Q6_K, /* Q3_K too */
    PACK_IQ4_NL,
    PACK_IQ4_XS,
    PACK_KINDS
};

/* A block of a quantized panel of T tokens: float scale[T], scaled_sum[T] (scale times the sum of
 * the bytes); int32_t minus[3][T] (minus the sum of the bytes, of the first sixteen, of the last
 * sixteen); int8_t bytes[8][T][4]. */
#define PANEL_BLOCK_BYTES(tile) ((size_t)(tile) * (2 * 4 + 3 * 4 + KERNEL_BLOCK))
/* A block of a float panel: float value[32][T]. */
#define PANEL_FLOAT_BYTES(tile) ((size_t)(tile)*KERNEL_BLOCK * 4)

/* How keys and values lie in a page of sixteen tokens, `keys` and `values` of `attend`:
 * floats or halves: keys[d][16], values[16][value width, a multiple of 16];
 * bytes (Q8_0): of keys, for every 32 of d, half scale[16] and then int8_t code[d][16] of those 32
 * (fewer in the last); of values, half scale[every 32 of the width][16], then int8_t code[16][value
 * width]. A value is code times scale. */
enum attend_form { ATTEND_FLOATS, ATTEND_HALVES, ATTEND_BYTES };
#define ATTEND_SCALES(width) (((size_t)(width) + KERNEL_BLOCK - 1) / KERNEL_BLOCK * KERNEL_KEYS * 2)

/* Eight queries at most that look at the same keys, a page of sixteen at a time. */
struct attend_tile {
    const float *q;                  /* key_width x KERNEL_TILE, scaled */
    float *out;                      /* KERNEL_TILE x value_width, not yet divided by sum */
    uint32_t n;                      /* queries; q of the others is 0 */
    uint32_t key_width, value_width; /* value_width: a multiple of 16 */
    float cap;                       /* scores become cap tanh(score / cap); 0: they stay */
    bool partly;                     /* some query sees less than the whole page: */
    uint32_t keys[KERNEL_TILE];      /* of this page that each query sees: 0 to 16 */
    uint32_t skip[KERNEL_TILE];      /* but not the first so many */
    float most[KERNEL_TILE];         /* largest score so far; -INFINITY at first */
    /* of the weights so far, by the place in their page; 0 at first */
    float sum[KERNEL_TILE * KERNEL_KEYS];
};

struct kernels {
    const char *name; /* "scalar", "avx2" or "avx512" */
    /* out[t * 16 + r] = row r of the group . token t of the panel, for all t < tile */
    void (*dot[PACK_KINDS])(const unsigned char *group, size_t blocks, const unsigned char *panel,
                            unsigned tile, float *out);
    /* Panels of n tokens (n <= tile, the rest zeros) of `columns` floats each, x[t * stride]. */
    void (*quantize)(const float *x, size_t stride, size_t columns, unsigned n, unsigned tile,
                     unsigned char *panel);
    void (*interleave)(const float *x, size_t stride, size_t columns, unsigned n, unsigned tile,
                       unsigned char *panel);
    /* One page. */
    void (*attend)(struct attend_tile *t, const void *keys, const void *values,
                   enum attend_form form);
    /* As in ops.h, which is their meaning; sums run over sixteen lanes and then a fixed tree. */
    float (*dot_f32)(const float *a, const float *b, size_t n);
    void (*rms_norm)(const float *x, const float *weight, size_t n, float epsilon, float *y);
    void (*layer_norm)(const float *x, const float *weight, const float *bias, size_t n,
                       float epsilon, float *y);
    void (*swiglu)(float *gate, const float *up, size_t n);
    void (*geglu)(float *gate, const float *up, size_t n);
    void (*cap)(float *x, size_t n, float cap);
    void (*gelu)(float *x, size_t n);
    void (*rope)(float *head, const float *cosines, const float *sines, size_t n, bool halves);
    /* As many byte products as the registers allow, `rounds` times, without memory: how many
     * multiplications and additions that were. For measuring the machine. */
    uint64_t (*peak)(uint32_t rounds);
    void (*add)(float *x, const float *y, size_t n); /* x += y */
};

/* The fastest that this processor has; the environment's CARREL_CPU names a lesser one. */
const struct kernels *kernels_choose(void);
/* NULL: no such set, or the processor lacks it. */
const struct kernels *kernels_named(const char *name);

/* The sets beyond dispatch; called only where the processor has them. */
extern const struct kernels kernels_scalar;
#if defined(__x86_64__)
extern const struct kernels kernels_avx2;
extern const struct kernels kernels_avx512;
#endif

#endif
