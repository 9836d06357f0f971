// Attention over pages of halves on the matrix units, for heads whose widths are multiples of 16
// (Dao 2023, "FlashAttention-2"). attend.cuh says how queries, parts of GPU_SPLIT keys and their
// merging make a query's bits independent of the batch; here it is the same, and one query alone
// runs the same instructions as sixty-four: a warp always has sixteen rows, of which some may be
// nobody's.
//
// Precision: queries and weights are split in two halves each (h and x - h), so that only the keys
// and values, which are stored as halves, bound it.
#ifndef CARREL_MODEL_CUDA_ATTEND_MMA_CUH
#define CARREL_MODEL_CUDA_ATTEND_MMA_CUH

#include "model/cuda/ptx.cuh"

constexpr unsigned MMA_ROWS = 16; // queries of a warp
constexpr unsigned MMA_KEYS = 32; // of a step
constexpr unsigned MMA_WIDEST = 256;

// What lies in shared memory; rows are 16 bytes longer than their values, so that eight of them
// lie in different banks.
struct mma_room {
    __half *queries; // [upper, rest][row][key_width + 8]
    __half *stages;  // two of: keys [MMA_KEYS][key_width + 8], values [MMA_KEYS][value_width + 8]
    float *totals;   // a warp's, as its lanes hold them: [value][lane]
    uint32_t query_stride, value_stride, stage_halves;
};

static inline size_t mma_room_bytes(unsigned warps, uint32_t key_width, uint32_t value_width,
                                    bool split)
{
    size_t halves = 2 * size_t{MMA_ROWS} * warps * (key_width + 8) +
                    2 * size_t{MMA_KEYS} * (key_width + 8 + value_width + 8);
    return halves * 2 + (split ? 0 : size_t{MMA_ROWS} * warps * value_width * 4);
}

__device__ __forceinline__ mma_room mma_room_at(unsigned warps, uint32_t key_width,
                                                uint32_t value_width)
{
    mma_room r;
    r.query_stride = key_width + 8;
    r.value_stride = value_width + 8;
    r.stage_halves = MMA_KEYS * (r.query_stride + r.value_stride);
    r.queries = static_cast<__half *>(GPU_SHARED);
    r.stages = r.queries + 2 * MMA_ROWS * warps * r.query_stride;
    r.totals = reinterpret_cast<float *>(r.stages + 2 * r.stage_halves);
    return r;
}

__device__ __forceinline__ uint32_t half_bits_of(float x)
{
    return __half_as_ushort(__float2half_rn(x));
}

// Two floats as halves, and what the halves leave.
__device__ __forceinline__ void split_pair(float x, float y, uint32_t &upper, uint32_t &rest)
{
    __half a = __float2half_rn(x);
    __half b = __float2half_rn(y);
    upper = static_cast<uint32_t>(__half_as_ushort(b)) << 16 | __half_as_ushort(a);
    rest = half_bits_of(__fsub_rn(y, __half2float(b))) << 16 |
           half_bits_of(__fsub_rn(x, __half2float(a)));
}

// ---- keys and values of a step ----

// Keys (or values) first to first + MMA_KEYS of the owner; those of pages before `begin`, which may
// be gone, and from `end` on are zeros. Half a warp a row.
__device__ __forceinline__ void load_step(const attend_job &j, const uint32_t *table,
                                          uint32_t kv_head, bool keys, uint32_t first,
                                          uint32_t begin, uint32_t end, __half *to, uint32_t stride)
{
    uint32_t width = keys ? j.key_width : j.value_width;
    uint64_t at = kv_head * gpu_head_bytes(j.type, j.key_width, j.value_width) +
                  (keys ? 0 : gpu_rows_bytes(j.type, j.key_width));
    for (uint32_t row = threadIdx.x / 16; row < MMA_KEYS; row += blockDim.x / 16) {
        uint32_t key = first + row;
        bool there = key >= begin / GPU_PAGE * GPU_PAGE && key < end;
        uint32_t slot = key % GPU_PAGE;
        const unsigned char *rows =
            there ? j.data + table[key / GPU_PAGE] * j.page_bytes + at : j.data;
        for (uint32_t d = threadIdx.x % 16 * 8; d < width; d += 128) {
            __half *out = to + row * stride + d;
            const unsigned char *from = there ? rows + (slot * width + d) * 2 : rows;
            cp_async_16(out, from, there ? 16 : 0);
        }
    }
}

// ---- a warp's sixteen queries ----

template <unsigned Values> struct mma_state {
    // of the rows g and g + 8; a lane's share of the weights' sum, until the part's end
    float most[2], sum[2];
    float values[Values / 8][4];
};

template <unsigned Values> __device__ __forceinline__ void clear_part(mma_state<Values> &s)
{
    GPU_UNROLL
    for (unsigned i = 0; i < 2; i++) {
        s.most[i] = -INFINITY;
        s.sum[i] = 0;
    }
    GPU_UNROLL
    for (unsigned i = 0; i < Values / 2; i++) {
        s.values[i / 4][i % 4] = 0;
    }
}

// scores[n]: 16 queries x keys 8n to 8n + 7.
__device__ __forceinline__ void step_scores(const mma_room &r, const __half *keys,
                                            uint32_t key_width, unsigned first_row,
                                            unsigned all_rows, float (&scores)[4][4])
{
    unsigned lane = threadIdx.x % 32;
    const __half *query = r.queries + (first_row + lane % 16) * r.query_stride + lane / 16 * 8;
    const __half *key = keys + (lane / 16 * 8 + lane % 8) * r.query_stride + lane / 8 % 2 * 8;
    GPU_UNROLL_2
    for (uint32_t d = 0; d < key_width; d += 16) {
        uint32_t upper[4], rest[4], k[2][4];
        ldmatrix(upper, query + d);
        ldmatrix(rest, query + all_rows * r.query_stride + d);
        ldmatrix(k[0], key + d);
        ldmatrix(k[1], key + 16 * r.query_stride + d);
        GPU_UNROLL
        for (unsigned n = 0; n < 4; n++) {
            const uint32_t b[2] = {k[n / 2][n % 2 * 2], k[n / 2][n % 2 * 2 + 1]};
            mma_f16(scores[n], upper, b);
            mma_f16(scores[n], rest, b);
        }
    }
}

// Scores become weights, the maximum and the sum go on, what was summed fades.
template <unsigned Values>
__device__ __forceinline__ void step_weights(float cap, uint32_t first, const uint32_t (&from)[2],
                                             const uint32_t (&sees)[2], float (&scores)[4][4],
                                             mma_state<Values> &s)
{
    float most[2] = {s.most[0], s.most[1]};
    GPU_UNROLL
    for (unsigned i = 0; i < 16; i++) {
        float &score = scores[i / 4][i % 4];
        uint32_t key = first + i / 4 * 8 + threadIdx.x % 4 * 2 + i % 2;
        unsigned row = i % 4 / 2;
        if (cap > 0) {
            score = __fmul_rn(cap, tanhf(__fdiv_rn(score, cap)));
        }
        score = key >= from[row] && key < sees[row] ? score : -INFINITY;
        most[row] = fmaxf(most[row], score);
    }
    GPU_UNROLL
    for (unsigned row = 0; row < 2; row++) {
        most[row] = fmaxf(most[row], __shfl_xor_sync(0xffffffffU, most[row], 1));
        most[row] = fmaxf(most[row], __shfl_xor_sync(0xffffffffU, most[row], 2));
        float fade = s.most[row] == -INFINITY ? 0.0F : expf(__fsub_rn(s.most[row], most[row]));
        s.most[row] = most[row];
        s.sum[row] = __fmul_rn(s.sum[row], fade);
        GPU_UNROLL
        for (unsigned n = 0; n < Values / 8; n++) {
            s.values[n][2 * row] = __fmul_rn(s.values[n][2 * row], fade);
            s.values[n][2 * row + 1] = __fmul_rn(s.values[n][2 * row + 1], fade);
        }
    }
    GPU_UNROLL
    for (unsigned i = 0; i < 16; i++) {
        float &score = scores[i / 4][i % 4];
        unsigned row = i % 4 / 2;
        score = score == -INFINITY ? 0.0F : expf(__fsub_rn(score, most[row]));
        s.sum[row] = __fadd_rn(s.sum[row], score);
    }
}

template <unsigned Values>
__device__ __forceinline__ void step_values(const mma_room &r, const __half *values,
                                            uint32_t value_width, const float (&weights)[4][4],
                                            mma_state<Values> &s)
{
    unsigned lane = threadIdx.x % 32;
    const __half *value = values + lane % 16 * r.value_stride + lane / 16 * 8;
    GPU_UNROLL
    for (unsigned c = 0; c < 2; c++) { // sixteen keys
        uint32_t upper[4], rest[4];
        GPU_UNROLL
        for (unsigned i = 0; i < 4; i++) {
            const float(&w)[4] = weights[2 * c + i / 2];
            split_pair(w[i % 2 * 2], w[i % 2 * 2 + 1], upper[i], rest[i]);
        }
        GPU_UNROLL
        for (unsigned n = 0; n < Values / 8; n += 2) {
            if (n * 8 < value_width) {
                uint32_t v[4];
                ldmatrix_transposed(v, value + 16 * c * r.value_stride + n * 8);
                const uint32_t left[2] = {v[0], v[1]};
                const uint32_t right[2] = {v[2], v[3]};
                mma_f16(s.values[n], upper, left);
                mma_f16(s.values[n], rest, left);
                mma_f16(s.values[n + 1], upper, right);
                mma_f16(s.values[n + 1], rest, right);
            }
        }
    }
}

// The lanes' shares of the sums become the rows'.
template <unsigned Values> __device__ __forceinline__ void end_part(mma_state<Values> &s)
{
    GPU_UNROLL
    for (unsigned row = 0; row < 2; row++) {
        s.sum[row] = __fadd_rn(s.sum[row], __shfl_xor_sync(0xffffffffU, s.sum[row], 1));
        s.sum[row] = __fadd_rn(s.sum[row], __shfl_xor_sync(0xffffffffU, s.sum[row], 2));
    }
}

// total = total and part, as merge_part in attend.cuh. totals: this lane's.
template <unsigned Values>
__device__ __forceinline__ void merge_into(float *totals, float (&most)[2], float (&sum)[2],
                                           const mma_state<Values> &s, uint32_t value_width)
{
    GPU_UNROLL
    for (unsigned row = 0; row < 2; row++) {
        if (s.most[row] == -INFINITY) {
            continue; // sees no key of this part
        }
        float both = fmaxf(most[row], s.most[row]);
        float a = most[row] == -INFINITY ? 0.0F : expf(__fsub_rn(most[row], both));
        float b = expf(__fsub_rn(s.most[row], both));
        most[row] = both;
        sum[row] = __fmaf_rn(sum[row], a, __fmul_rn(s.sum[row], b));
        GPU_UNROLL
        for (unsigned i = 0; i < Values / 4; i++) {
            unsigned n = i / 2;
            unsigned c = 2 * row + i % 2;
            if (n * 8 < value_width) {
                float &total = totals[(4 * n + c) * 32];
                total = __fmaf_rn(total, a, __fmul_rn(s.values[n][c], b));
            }
        }
    }
}

// ---- a tile ----

// Queries of the tile, scaled, in two halves each; nobody's rows are zeros.
__device__ __forceinline__ void load_queries(const attend_job &j, const mma_room &r, uint32_t token,
                                             uint32_t kv_head, uint32_t first, uint32_t last,
                                             unsigned rows)
{
    uint32_t group = j.heads / j.kv_heads;
    for (uint32_t row = threadIdx.x / 16; row < rows; row += blockDim.x / 16) {
        uint32_t query = first + row;
        size_t from =
            static_cast<size_t>(token + query / group) * j.heads + kv_head * group + query % group;
        for (uint32_t d = threadIdx.x % 16; d < j.key_width; d += 16) {
            float x = query <= last ? __fmul_rn(j.q[from * j.key_width + d], j.scale) : 0.0F;
            __half upper = __float2half_rn(x);
            r.queries[row * r.query_stride + d] = upper;
            r.queries[(rows + row) * r.query_stride + d] =
                __float2half_rn(__fsub_rn(x, __half2float(upper)));
        }
    }
}

// Blocks: (tiles x slices of 16 x Warps queries, heads of keys, parts or 1). Split: the part's
// state goes to j.parts, for attend_merge; otherwise the result to j.out.
template <unsigned Values, unsigned Warps, bool Split>
__global__ void __launch_bounds__(Warps * 32) attend_mma(attend_job j, uint32_t slices)
{
    constexpr unsigned ROWS = Warps * MMA_ROWS;
    uint32_t tile = blockIdx.x / slices;
    uint32_t kv_head = blockIdx.y;
    uint32_t group = j.heads / j.kv_heads;
    uint32_t token = j.tiles[2 * tile];
    uint32_t queries = j.tiles[2 * tile + 1] * group;
    uint32_t first_query = blockIdx.x % slices * ROWS;
    if (token == GPU_NONE || first_query >= queries) {
        return; // all of the block
    }
    uint32_t last_query = min(first_query + ROWS, queries) - 1;
    // what any query of the block sees
    uint32_t end = j.positions[token + last_query / group] + 1;
    uint32_t begin = j.positions[token + first_query / group] + 1;
    begin = j.window > 0 && begin > j.window ? begin - j.window : 0;
    uint32_t from = begin / MMA_KEYS * MMA_KEYS;
    uint32_t to = end;
    if (Split) {
        from = max(from, blockIdx.z * GPU_SPLIT);
        to = min(to, (blockIdx.z + 1) * GPU_SPLIT);
        if (from >= to) {
            return; // all of the block
        }
    }
    const mma_room r = mma_room_at(Warps, j.key_width, j.value_width);
    const uint32_t *table = j.table + static_cast<size_t>(j.owners[token]) * j.table_width;
    const unsigned lane = threadIdx.x % 32;
    const unsigned first_row = threadIdx.x / 32 * MMA_ROWS;
    uint32_t row_from[2], row_sees[2];
    GPU_UNROLL
    for (unsigned i = 0; i < 2; i++) {
        uint32_t query = first_query + first_row + lane / 4 + 8 * i;
        row_sees[i] = query <= last_query ? j.positions[token + query / group] + 1 : 0;
        row_from[i] = j.window > 0 && row_sees[i] > j.window ? row_sees[i] - j.window : 0;
    }
    float *totals = r.totals + threadIdx.x / 32 * (MMA_ROWS * j.value_width) + lane;
    for (uint32_t i = 0; !Split && i < j.value_width / 2; i++) {
        totals[i * 32] = 0;
    }
    float most[2] = {-INFINITY, -INFINITY};
    float sum[2] = {0, 0};
    mma_state<Values> s;
    clear_part(s);
    load_queries(j, r, token, kv_head, first_query, last_query, ROWS);
    load_step(j, table, kv_head, true, from, begin, to, r.stages, r.query_stride);
    load_step(j, table, kv_head, false, from, begin, to, r.stages + MMA_KEYS * r.query_stride,
              r.value_stride);
    cp_async_commit();
    for (uint32_t first = from, i = 0; first < to; first += MMA_KEYS, i++) {
        const __half *keys = r.stages + i % 2 * r.stage_halves;
        const __half *values = keys + MMA_KEYS * r.query_stride;
        cp_async_wait<0>();
        __syncthreads(); // everybody's copies are there; nobody reads the other stage any more
        if (first + MMA_KEYS < to) {
            __half *next = r.stages + (i + 1) % 2 * r.stage_halves;
            load_step(j, table, kv_head, true, first + MMA_KEYS, begin, to, next, r.query_stride);
            load_step(j, table, kv_head, false, first + MMA_KEYS, begin, to,
                      next + MMA_KEYS * r.query_stride, r.value_stride);
            cp_async_commit();
        }
        float scores[4][4] = {};
        step_scores(r, keys, j.key_width, first_row, ROWS, scores);
        step_weights(j.cap, first, row_from, row_sees, scores, s);
        step_values(r, values, j.value_width, scores, s);
        bool part_ends = (first + MMA_KEYS) % GPU_SPLIT == 0 || first + MMA_KEYS >= to;
        if (!Split && part_ends) {
            end_part(s);
            merge_into(totals, most, sum, s, j.value_width);
            clear_part(s);
        }
    }
    if (Split) {
        end_part(s);
    }
    GPU_UNROLL
    for (unsigned i = 0; i < 2; i++) {
        uint32_t query = first_query + first_row + lane / 4 + 8 * i;
        if (query > last_query) {
            continue;
        }
        size_t row =
            static_cast<size_t>(token + query / group) * j.heads + kv_head * group + query % group;
        float *out = Split ? j.parts + (row * j.splits + blockIdx.z) * (j.value_width + 2)
                           : j.out + row * j.value_width;
        GPU_UNROLL
        for (unsigned n = 0; n < Values / 8; n++) {
            GPU_UNROLL
            for (unsigned c = 0; c < 2; c++) {
                if (n * 8 < j.value_width) {
                    out[n * 8 + lane % 4 * 2 + c] =
                        Split ? s.values[n][2 * i + c]
                              : __fdiv_rn(totals[(4 * n + 2 * i + c) * 32], sum[i]);
                }
            }
        }
        if (Split && lane % 4 == 0) {
            out[j.value_width] = s.most[i];
            out[j.value_width + 1] = s.sum[i];
        }
    }
}

// ---- host ----

// By the type and the heads' shape alone, never by the batch. (Q8_0 rounded to halves would lose
// what it has.)
static inline bool attend_mma_takes(uint32_t type, uint32_t key_width, uint32_t value_width)
{
    return type == TENSOR_F16 && key_width % 16 == 0 && value_width % 16 == 0 && key_width > 0 &&
           value_width > 0 && key_width <= MMA_WIDEST && value_width <= MMA_WIDEST;
}

// The shared memory of a block at most, of an answer or of a prompt.
static inline size_t attend_mma_most(uint32_t key_width, uint32_t value_width)
{
    return mma_room_bytes(value_width <= 128 ? 4 : 2, key_width, value_width, false);
}

template <unsigned Values, unsigned Warps, bool Split>
static inline void attend_mma_as(cudaStream_t stream, const attend_job &j, uint32_t tiles,
                                 uint32_t tile_tokens)
{
    void (*kernel)(attend_job, uint32_t) = attend_mma<Values, Warps, Split>;
    uint32_t group = j.heads / j.kv_heads;
    uint32_t slices = (tile_tokens * group + Warps * MMA_ROWS - 1) / (Warps * MMA_ROWS);
    size_t shared = mma_room_bytes(Warps, j.key_width, j.value_width, Split);
    // a failure shows at the launch
    (void)cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize,
                               static_cast<int>(shared));
    GPU_LAUNCH(kernel, dim3(tiles * slices, j.kv_heads, Split ? j.splits : 1), Warps * 32, shared,
               stream, j, slices);
}

// splits: a block a part, whose states go to j.parts for attend_merge.
static inline void attend_mma_launch(cudaStream_t stream, const attend_job &j, uint32_t tiles,
                                     uint32_t tile_tokens, bool splits)
{
    if (splits && j.value_width <= 64) {
        attend_mma_as<64, 1, true>(stream, j, tiles, tile_tokens);
    } else if (splits && j.value_width <= 128) {
        attend_mma_as<128, 1, true>(stream, j, tiles, tile_tokens);
    } else if (splits) {
        attend_mma_as<256, 1, true>(stream, j, tiles, tile_tokens);
    } else if (j.value_width <= 64) {
        attend_mma_as<64, 4, false>(stream, j, tiles, tile_tokens);
    } else if (j.value_width <= 128) {
        attend_mma_as<128, 4, false>(stream, j, tiles, tile_tokens);
    } else {
        attend_mma_as<256, 2, false>(stream, j, tiles, tile_tokens);
    }
}

#endif
