// Matrices times activations, on the device. For every number of tokens and every tile a result has
// the same bits. Those of quantized types, F32 and Q2_K are the processor's (model/kernels.h):
// integer sums of 32 products are exact, and the float sums that follow go over the columns in
// their order everywhere. F16 and BF16 are as close as single precision lies to it.
//
// Host functions launch on the stream that they are given and check nothing: cudaGetLastError
// tells.
#ifndef CARREL_MODEL_CUDA_MATMUL_CUH
#define CARREL_MODEL_CUDA_MATMUL_CUH

#include "model/cuda/matmul_floats.cuh"
#include "model/cuda/matmul_halves.cuh"
#include "model/cuda/matmul_tiles.cuh"

extern "C" {
#include "model/pack.h"
}

constexpr uint32_t MATMUL_GROUP_ROWS = GROUP;

// From here on tiles; up to here vectors, eight tokens at a time. The bits are the same.
constexpr uint32_t MATMUL_SMALL_FROM = 25;
constexpr uint32_t MATMUL_LARGE_FROM = 97;

// ---- weights ----

inline pack_kind matmul_kind(uint32_t type)
{
    return pack_kind_of(static_cast<tensor_type>(type));
}

// Bytes of a group of sixteen rows; 0: no such type here.
inline uint64_t matmul_group_bytes(uint32_t type, uint32_t columns)
{
    const struct tensor_type_info *info = tensor_type_info(type);
    if (info == nullptr || columns == 0 || columns % info->block_values != 0) {
        return 0;
    }
    if (type == TENSOR_Q2_K) { // sixteen rows as they are
        return (uint64_t{columns} / Q2_K_VALUES * Q2_K_BYTES * GROUP + 15) / 16 * 16;
    }
    return matmul_kind(type) == PACK_NONE ? 0 : pack_group_bytes(matmul_kind(type), columns);
}

// n (at most sixteen) rows to one group; rows that are not there are zeros. On the host.
inline void matmul_pack(uint32_t type, uint32_t columns, uint32_t n, const void *rows,
                        size_t row_bytes, void *out)
{
    if (type == TENSOR_Q2_K) {
        size_t bytes = size_t{columns} / Q2_K_VALUES * Q2_K_BYTES;
        unsigned char *to = static_cast<unsigned char *>(out);
        memset(to, 0, matmul_group_bytes(type, columns));
        for (uint32_t r = 0; r < n; r++) {
            memcpy(to + r * bytes, static_cast<const unsigned char *>(rows) + r * row_bytes, bytes);
        }
        return;
    }
    struct matrix w = {};
    w.type = static_cast<tensor_type>(type);
    w.data = rows;
    w.columns = columns;
    w.rows = n;
    w.row_bytes = row_bytes;
    pack_group(&w, 0, n, static_cast<unsigned char *>(out));
}

// ---- products ----

// For passes of at most `rows` tokens and matrices of at most `widest` columns.
inline uint64_t matmul_scratch_bytes(uint32_t rows, uint32_t widest)
{
    return (panel_bytes(rows, widest) + 15) / 16 * 16 + halves_panel_bytes(rows, widest);
}

#define MATMUL_QUANTIZED(X)                                                                        \
    X(PACK_Q8_0)                                                                                   \
    X(PACK_Q4_0)                                                                                   \
    X(PACK_Q4_1)                                                                                   \
    X(PACK_Q5_0)                                                                                   \
    X(PACK_Q5_1)                                                                                   \
    X(PACK_Q4_K)                                                                                   \
    X(PACK_Q5_K)                                                                                   \
    X(PACK_Q6_K)                                                                                   \
    X(PACK_IQ4_NL)                                                                                 \
    X(PACK_IQ4_XS)
#define MATMUL_HALVES(X)                                                                           \
    X(PACK_F16)                                                                                    \
    X(PACK_BF16)

// May a block of this device share so much? Large tiles want 110 to 160 KB: compute capability 8.0
// and 9.0 have it; 8.6 and 8.9 take the small ones, with the same bits.
inline bool matmul_shares(size_t bytes)
{
    int device = 0;
    int most = 0;
    return cudaGetDevice(&device) == cudaSuccess &&
           cudaDeviceGetAttribute(&most, cudaDevAttrMaxSharedMemoryPerBlockOptin, device) ==
               cudaSuccess &&
           bytes <= static_cast<size_t>(most);
}

// Thread blocks of `groups` groups of rows each.
inline gpu_rows matmul_rows(const gpu_product *products, uint32_t n, unsigned groups)
{
    gpu_rows r = {};
    for (uint32_t i = 0; i < GPU_PRODUCTS_MAX; i++) {
        r.first[i + 1] = r.first[i];
        if (i < n) {
            const gpu_matrix &w = *products[i].w;
            r.w[i] = static_cast<const unsigned char *>(w.data);
            r.bias[i] = products[i].bias;
            r.y[i] = products[i].y;
            r.rows[i] = w.rows;
            r.first[i + 1] += (w.rows + GROUP * groups - 1) / (GROUP * groups);
        }
    }
    r.group_bytes = matmul_group_bytes(products[0].w->type, products[0].w->columns);
    return r;
}

template <pack_kind P>
inline void matmul_quantized(cudaStream_t stream, const gpu_panel &p, const gpu_product *products,
                             uint32_t n_products)
{
    if (p.n == 1) {
        launch_vectors<P, 1>(stream, matmul_rows(products, n_products, 1), p);
    } else if (p.n == 2) {
        launch_vectors<P, 2>(stream, matmul_rows(products, n_products, 1), p);
    } else if (p.n < MATMUL_SMALL_FROM) {
        launch_vectors<P, 8>(stream, matmul_rows(products, n_products, 1), p);
    } else if (p.n < MATMUL_LARGE_FROM ||
               !matmul_shares(tile_large::STAGES * tile_stage<P, tile_large>::ALL)) {
        launch_tiles<P, tile_small>(stream,
                                    matmul_rows(products, n_products, tile_small::ALL_GROUPS), p);
    } else {
        launch_tiles<P, tile_large>(stream,
                                    matmul_rows(products, n_products, tile_large::ALL_GROUPS), p);
    }
}

template <pack_kind P>
inline void matmul_halves(cudaStream_t stream, const halves_panel &p, const gpu_product *products,
                          uint32_t n_products)
{
    if (p.n < MATMUL_SMALL_FROM) {
        launch_halves_8<P>(stream, matmul_rows(products, n_products, 1), p);
    } else if (p.n < MATMUL_LARGE_FROM ||
               !matmul_shares(halves_large::STAGES * halves_stage<P, halves_large>::ALL)) {
        launch_halves_tiles<P, halves_small>(
            stream, matmul_rows(products, n_products, halves_small::ALL_GROUPS), p);
    } else {
        launch_halves_tiles<P, halves_large>(
            stream, matmul_rows(products, n_products, halves_large::ALL_GROUPS), p);
    }
}

inline void matmul_singles(cudaStream_t stream, const float *x, uint32_t n,
                           const gpu_product *products, uint32_t n_products)
{
    uint32_t columns = products[0].w->columns;
    if (n <= 2) {
        launch_float_vectors<1>(stream, matmul_rows(products, n_products, 1), x, columns, n);
    } else if (n < MATMUL_SMALL_FROM) {
        launch_float_vectors<8>(stream, matmul_rows(products, n_products, 1), x, columns, n);
    } else {
        launch_float_tiles(stream, matmul_rows(products, n_products, FLOAT_GROUPS), x, columns, n);
    }
}

// y = W x + bias for n tokens and matrices of the same columns. scratch: matmul_scratch_bytes,
// aligned to 16; x may not lie in it. ready: the panel at its beginning is of x already
// (panel_put).
inline void matmul_run(cudaStream_t stream, void *scratch, const float *x, uint32_t n,
                       const gpu_product *products, uint32_t n_products, bool ready = false)
{
    uint32_t columns = products[0].w->columns;
    gpu_panel p = ready ? panel_at(scratch, n, columns) : gpu_panel{};
    halves_panel h = halves_panel_at(static_cast<unsigned char *>(scratch) +
                                         (panel_bytes(n, columns) + 15) / 16 * 16,
                                     n, columns);
    for (uint32_t from = 0, to = 0; from < n_products; from = to) {
        uint32_t type = products[from].w->type;
        while (to < n_products && products[to].w->type == type) {
            to++;
        }
        const gpu_product *some = products + from;
        switch (matmul_kind(type)) {
#define MATMUL_CASE(kind)                                                                          \
    case kind:                                                                                     \
        if (p.bytes == nullptr) {                                                                  \
            p = panel_at(scratch, n, columns);                                                     \
            panel_make(stream, p, x);                                                              \
        }                                                                                          \
        matmul_quantized<kind>(stream, p, some, to - from);                                        \
        break;
            MATMUL_QUANTIZED(MATMUL_CASE)
#undef MATMUL_CASE
#define MATMUL_CASE(kind)                                                                          \
    case kind:                                                                                     \
        halves_panel_make<kind>(stream, h, x);                                                     \
        matmul_halves<kind>(stream, h, some, to - from);                                           \
        break;
            MATMUL_HALVES(MATMUL_CASE)
#undef MATMUL_CASE
        case PACK_F32:
            matmul_singles(stream, x, n, some, to - from);
            break;
        case PACK_NONE: // Q2_K: matmul_group_bytes lets nothing else through
        case PACK_KINDS:
            launch_q2_k(stream, matmul_rows(some, to - from, 1), x, columns, n);
            break;
        }
    }
}

// ---- rows of the embedding ----

constexpr unsigned EMBED_THREADS = 256;

template <pack_kind P>
__global__ void __launch_bounds__(EMBED_THREADS)
    embed_rows(const unsigned char *table, uint64_t group_bytes, uint32_t columns, uint32_t rows,
               gpu_batch b, float scale, float *x)
{
    unsigned column = blockIdx.x * EMBED_THREADS + threadIdx.x;
    unsigned t = blockIdx.y;
    if (column >= columns) {
        return;
    }
    unsigned token = b.tokens[t];
    float value = 0;
    if (b.positions[t] != GPU_NONE && token < rows) {
        const unsigned char *group = table + token / GROUP * group_bytes;
        unsigned row = token % GROUP;
        if constexpr (P == PACK_F32 || P == PACK_F16 || P == PACK_BF16) {
            value = float_weight<P>(group, column, row);
        } else if constexpr (P == PACK_NONE) {
            value = q2_k_value(
                group + static_cast<size_t>(row) * (columns / Q2_K_VALUES) * Q2_K_BYTES, column);
        } else {
            value = value_of<P>(group, column, row);
        }
    }
    x[static_cast<size_t>(t) * columns + column] = __fmul_rn(value, scale);
}

// x[t] = row tokens[t] of the table, times scale; zeros where there is no token.
inline void matmul_embed(cudaStream_t stream, const gpu_matrix *table, const gpu_batch *b,
                         float scale, float *x)
{
    dim3 grid((table->columns + EMBED_THREADS - 1) / EMBED_THREADS, b->n);
    const unsigned char *data = static_cast<const unsigned char *>(table->data);
    uint64_t bytes = matmul_group_bytes(table->type, table->columns);
#define MATMUL_CASE(kind)                                                                          \
    case kind:                                                                                     \
        GPU_LAUNCH(embed_rows<kind>, grid, EMBED_THREADS, 0, stream, data, bytes, table->columns,  \
                   table->rows, *b, scale, x);                                                     \
        break;
    switch (matmul_kind(table->type)) {
        MATMUL_QUANTIZED(MATMUL_CASE)
        MATMUL_HALVES(MATMUL_CASE)
        MATMUL_CASE(PACK_F32)
        MATMUL_CASE(PACK_NONE)
    case PACK_KINDS:
        break;
    }
#undef MATMUL_CASE
}

#endif
