// Attention over pages, for answers and prompts alike (Dao et al. 2022, with the keys split as in
// flash decoding).
//
// The keys of a query lie in parts of GPU_SPLIT by their positions. In a part, ATTEND_KEYS keys at
// a time, a running maximum, sum and weighted values are kept; parts are merged in the order of
// their positions. A key that a query does not see adds exactly nothing: its weight is 0 and the
// maximum stays. So a query's bits depend on its own keys alone, however tiles and grids are cut:
// few queries get a block a part and a second kernel that merges (answers, the memory's speed),
// many a block that goes through its parts itself (prompts).
#ifndef CARREL_MODEL_CUDA_ATTEND_CUH
#define CARREL_MODEL_CUDA_ATTEND_CUH

#include "model/cuda/device.cuh"
#include "model/cuda/ptx.cuh"

constexpr unsigned ATTEND_THREADS = 128;
constexpr unsigned ATTEND_ROWS = 16; // queries of a block, eight threads each
constexpr unsigned ATTEND_KEYS = 32;
constexpr unsigned ATTEND_WIDEST = 512; // of a head
constexpr unsigned ATTEND_BLOCKS = 512; // fewer than this with a block a tile: split the keys
constexpr uint64_t ATTEND_PARTS_BYTES = 64ULL << 20;

struct attend_job {
    const uint32_t *positions, *owners, *tiles, *table;
    uint32_t table_width;
    const unsigned char *data;
    uint64_t page_bytes;
    uint32_t type, heads, kv_heads, key_width, value_width, window, splits;
    float scale, cap;
    const float *q;
    float *out;   // n x heads x value_width
    float *parts; // n x heads x splits x (value_width + 2): the sums, the maximum, the weights' sum
};

#include "model/cuda/attend_mma.cuh"

// What a query has so far; the eight threads of its row agree on most and sum.
template <unsigned Dims> struct attend_state {
    float most, sum;
    float values[Dims]; // of dimension g + 8 i
};

// total = total and part, in this order.
template <unsigned Dims>
__device__ __forceinline__ void merge_part(attend_state<Dims> &total,
                                           const attend_state<Dims> &part)
{
    float most = fmaxf(total.most, part.most);
    if (part.most == -INFINITY) {
        return; // sees no key of this part
    }
    float a = total.most == -INFINITY ? 0.0F : expf(__fsub_rn(total.most, most));
    float b = expf(__fsub_rn(part.most, most));
    total.most = most;
    total.sum = __fmaf_rn(total.sum, a, __fmul_rn(part.sum, b));
    GPU_UNROLL
    for (unsigned i = 0; i < Dims; i++) {
        total.values[i] = __fmaf_rn(total.values[i], a, __fmul_rn(part.values[i], b));
    }
}

template <unsigned Dims> __device__ __forceinline__ void clear_state(attend_state<Dims> &s)
{
    s.most = -INFINITY;
    s.sum = 0;
    GPU_UNROLL
    for (unsigned i = 0; i < Dims; i++) {
        s.values[i] = 0;
    }
}

// Rows `from` to from + ATTEND_KEYS of the owner's keys (or values) as floats, `stride` apart.
// Those of pages before `begin`, which may be gone, and from `end` on are zeros.
__device__ __forceinline__ void load_rows(const attend_job &j, uint32_t owner, uint32_t kv_head,
                                          bool keys, uint32_t from, uint32_t begin, uint32_t end,
                                          float *to, uint32_t stride)
{
    uint32_t width = keys ? j.key_width : j.value_width;
    uint32_t blocks = (width + 31) / 32;
    uint64_t at = kv_head * gpu_head_bytes(j.type, j.key_width, j.value_width) +
                  (keys ? 0 : gpu_rows_bytes(j.type, j.key_width));
    bool wide = j.type != TENSOR_Q8_0 && j.key_width % 8 == 0 && j.value_width % 8 == 0;
    const uint32_t *table = j.table + static_cast<size_t>(owner) * j.table_width;
    GPU_UNROLL
    for (uint32_t pass = 0; pass < ATTEND_KEYS * 16 / ATTEND_THREADS; pass++) {
        uint32_t row = pass * (ATTEND_THREADS / 16) + threadIdx.x / 16;
        uint32_t key = from + row;
        uint32_t slot = key % GPU_PAGE;
        bool there = key >= begin / GPU_PAGE * GPU_PAGE && key < end;
        const unsigned char *rows =
            there ? j.data + table[key / GPU_PAGE] * j.page_bytes + at : nullptr;
        float *out = to + row * stride;
        for (uint32_t d = threadIdx.x % 16 * 8; wide && d < width; d += 128) {
            uint4 eight = make_uint4(0, 0, 0, 0);
            if (there) {
                eight = *reinterpret_cast<const uint4 *>(
                    rows + (static_cast<size_t>(slot) * width + d) * 2);
            }
            const uint32_t pairs[4] = {eight.x, eight.y, eight.z, eight.w};
            GPU_UNROLL
            for (unsigned i = 0; i < 4; i++) {
                unsigned short low = static_cast<unsigned short>(pairs[i] & 0xffffU);
                unsigned short high = static_cast<unsigned short>(pairs[i] >> 16);
                out[d + 2 * i] = __half2float(__ushort_as_half(low));
                out[d + 2 * i + 1] = __half2float(__ushort_as_half(high));
            }
        }
        for (uint32_t d = threadIdx.x % 16; !wide && d < width; d += 16) {
            float v = 0;
            if (there && j.type == TENSOR_Q8_0) {
                const int8_t *codes = reinterpret_cast<const int8_t *>(rows);
                const __half *scales =
                    reinterpret_cast<const __half *>(rows + gpu_codes_bytes(j.type, width));
                v = __fmul_rn(
                    static_cast<float>(codes[static_cast<size_t>(slot) * blocks * 32 + d]),
                    __half2float(scales[slot * blocks + d / 32]));
            } else if (there) {
                const __half *halves = reinterpret_cast<const __half *>(rows);
                v = __half2float(halves[static_cast<size_t>(slot) * width + d]);
            }
            out[d] = v;
        }
    }
}

// One row's part: keys of the whole tile from `begin` to `end` that lie in it, of which the row
// sees those from `sees_from` to `sees`. All threads of the block take part.
template <unsigned Dims>
__device__ __forceinline__ void
attend_part(const attend_job &j, uint32_t owner, uint32_t kv_head, uint32_t split, uint32_t begin,
            uint32_t end, uint32_t sees_from, uint32_t sees, float *shared, attend_state<Dims> &s)
{
    const uint32_t key_stride = j.key_width + 1; // odd where widths are even: no two in one bank
    const uint32_t value_stride = j.value_width + 1;
    float *queries = shared;
    float *keys = queries + ATTEND_ROWS * key_stride;
    float *values = keys + ATTEND_KEYS * key_stride;
    float *weights = values + ATTEND_KEYS * value_stride;
    const uint32_t row = threadIdx.x / 8;
    const uint32_t g = threadIdx.x % 8;
    const uint32_t to = min((split + 1) * GPU_SPLIT, end);
    uint32_t first = max(split * GPU_SPLIT, begin / ATTEND_KEYS * ATTEND_KEYS);
    clear_state(s);
    for (; first < to; first += ATTEND_KEYS) {
        __syncthreads();
        load_rows(j, owner, kv_head, true, first, begin, end, keys, key_stride);
        load_rows(j, owner, kv_head, false, first, begin, end, values, value_stride);
        __syncthreads();
        float scores[4] = {0, 0, 0, 0};
        for (uint32_t d = 0; d < j.key_width; d++) {
            float q = queries[row * key_stride + d];
            GPU_UNROLL
            for (unsigned i = 0; i < 4; i++) {
                scores[i] = __fmaf_rn(q, keys[(g + 8 * i) * key_stride + d], scores[i]);
            }
        }
        float most = s.most;
        GPU_UNROLL
        for (unsigned i = 0; i < 4; i++) {
            uint32_t key = first + g + 8 * i;
            if (j.cap > 0) {
                scores[i] = __fmul_rn(j.cap, tanhf(__fdiv_rn(scores[i], j.cap)));
            }
            if (key < sees_from || key >= sees) {
                scores[i] = -INFINITY;
            }
            most = fmaxf(most, scores[i]);
        }
        for (int step = 4; step > 0; step /= 2) {
            most = fmaxf(most, __shfl_xor_sync(0xffffffffU, most, step));
        }
        float sum = 0;
        GPU_UNROLL
        for (unsigned i = 0; i < 4; i++) {
            float p = scores[i] == -INFINITY ? 0.0F : expf(__fsub_rn(scores[i], most));
            sum = __fadd_rn(sum, p);
            weights[row * (ATTEND_KEYS + 1) + g + 8 * i] = p;
        }
        for (int step = 4; step > 0; step /= 2) {
            sum = __fadd_rn(sum, __shfl_xor_sync(0xffffffffU, sum, step));
        }
        __syncwarp(); // a row's weights are its own warp's
        float before = s.most == -INFINITY ? 0.0F : expf(__fsub_rn(s.most, most));
        s.most = most;
        s.sum = __fmaf_rn(s.sum, before, sum);
        GPU_UNROLL
        for (unsigned i = 0; i < Dims; i++) {
            uint32_t d = g + 8 * i;
            float v = 0;
            if (d < j.value_width) {
                for (unsigned k = 0; k < ATTEND_KEYS; k++) {
                    v = __fmaf_rn(weights[row * (ATTEND_KEYS + 1) + k],
                                  values[k * value_stride + d], v);
                }
            }
            s.values[i] = __fmaf_rn(s.values[i], before, v);
        }
    }
}

// Blocks: (tiles x slices of ATTEND_ROWS queries, heads of keys, parts or 1). Split: the part's
// state goes to j.parts, for attend_merge; otherwise the result to j.out.
template <unsigned Dims, bool Split> __global__ void attend_tiles(attend_job j, uint32_t slices)
{
    float *shared = static_cast<float *>(GPU_SHARED);
    uint32_t tile = blockIdx.x / slices;
    uint32_t kv_head = blockIdx.y;
    uint32_t group = j.heads / j.kv_heads;
    uint32_t token = j.tiles[2 * tile];
    uint32_t tokens = j.tiles[2 * tile + 1];
    uint32_t first = blockIdx.x % slices * ATTEND_ROWS; // query of the tile
    if (token == GPU_NONE || first >= tokens * group) {
        return; // all of the block
    }
    uint32_t last = min(first + ATTEND_ROWS, tokens * group) - 1;
    uint32_t query = first + threadIdx.x / 8;
    bool real = query <= last;
    uint32_t at = token + (real ? query / group : 0);
    uint32_t head = kv_head * group + query % group;
    uint32_t sees = real ? j.positions[at] + 1 : 0;
    uint32_t sees_from = j.window > 0 && sees > j.window ? sees - j.window : 0;
    uint32_t owner = j.owners[token];
    // what any query of the block sees
    uint32_t end = j.positions[token + last / group] + 1;
    uint32_t begin = j.positions[token + first / group] + 1;
    begin = j.window > 0 && begin > j.window ? begin - j.window : 0;
    uint32_t split = Split ? blockIdx.z : begin / GPU_SPLIT;
    uint32_t split_end = Split ? blockIdx.z + 1 : (end + GPU_SPLIT - 1) / GPU_SPLIT;
    if (Split && (split * GPU_SPLIT >= end || (split + 1) * GPU_SPLIT <= begin)) {
        return; // all of the block
    }
    const uint32_t stride = j.key_width + 1;
    for (uint32_t i = threadIdx.x; i < ATTEND_ROWS * j.key_width; i += ATTEND_THREADS) {
        uint32_t r = first + i / j.key_width;
        uint32_t d = i % j.key_width;
        float v = 0;
        if (r <= last) {
            size_t from =
                static_cast<size_t>(token + r / group) * j.heads + kv_head * group + r % group;
            v = __fmul_rn(j.q[from * j.key_width + d], j.scale);
        }
        shared[i / j.key_width * stride + d] = v;
    }
    attend_state<Dims> total;
    attend_state<Dims> part;
    clear_state(total);
    for (; split < split_end; split++) {
        attend_part<Dims>(j, owner, kv_head, split, begin, end, sees_from, sees, shared, part);
        if (!Split) {
            merge_part(total, part);
        }
    }
    if (!real) {
        return;
    }
    size_t row = static_cast<size_t>(at) * j.heads + head;
    const uint32_t g = threadIdx.x % 8;
    const attend_state<Dims> &result = Split ? part : total;
    float *to = Split ? j.parts + (row * j.splits + blockIdx.z) * (j.value_width + 2)
                      : j.out + row * j.value_width;
    GPU_UNROLL
    for (unsigned i = 0; i < Dims; i++) {
        if (g + 8 * i < j.value_width) {
            to[g + 8 * i] = Split ? result.values[i] : __fdiv_rn(result.values[i], result.sum);
        }
    }
    if (Split && g == 0) {
        to[j.value_width] = result.most;
        to[j.value_width + 1] = result.sum;
    }
}

// Blocks: (rows, heads). The parts that the query has keys in, in their order.
__global__ void attend_merge(attend_job j)
{
    uint32_t position = j.positions[blockIdx.x];
    if (position == GPU_NONE) {
        return;
    }
    uint32_t sees = position + 1;
    uint32_t from = j.window > 0 && sees > j.window ? sees - j.window : 0;
    size_t row = static_cast<size_t>(blockIdx.x) * j.heads + blockIdx.y;
    for (uint32_t d = threadIdx.x; d < j.value_width; d += ATTEND_THREADS) {
        attend_state<1> total;
        clear_state(total);
        for (uint32_t s = from / GPU_SPLIT; s * GPU_SPLIT < sees; s++) {
            const float *p = j.parts + (row * j.splits + s) * (j.value_width + 2);
            attend_state<1> part = {p[j.value_width], p[j.value_width + 1], {p[d]}};
            merge_part(total, part);
        }
        j.out[row * j.value_width + d] = __fdiv_rn(total.values[0], total.sum);
    }
}

// ---- host ----

static inline uint64_t attend_parts_bytes(uint64_t queries, uint32_t most, uint32_t value_width)
{
    uint64_t splits = (static_cast<uint64_t>(most) + GPU_SPLIT - 1) / GPU_SPLIT;
    return queries * splits * (value_width + 2) * sizeof(float);
}

// Parts go to different blocks only where there are few tiles, and room.
static inline uint64_t attend_scratch_bytes(uint32_t rows, uint32_t heads, uint32_t value_width,
                                            uint32_t most)
{
    uint64_t bytes = attend_parts_bytes(static_cast<uint64_t>(rows) * heads, most, value_width);
    return bytes < ATTEND_PARTS_BYTES ? bytes : ATTEND_PARTS_BYTES;
}

static inline uint32_t attend_shared_bytes(uint32_t key_width, uint32_t value_width)
{
    return static_cast<uint32_t>(sizeof(float)) *
           ((ATTEND_ROWS + ATTEND_KEYS) * (key_width + 1) + ATTEND_KEYS * (value_width + 1) +
            ATTEND_ROWS * (ATTEND_KEYS + 1));
}

template <unsigned Dims>
static inline void attend_launch(cudaStream_t stream, const attend_job &j, const gpu_attend *a)
{
    auto split_kernel = attend_tiles<Dims, true>;
    auto whole_kernel = attend_tiles<Dims, false>;
    uint32_t group = j.heads / j.kv_heads;
    uint32_t slices = (a->batch->tile_tokens * group + ATTEND_ROWS - 1) / ATTEND_ROWS;
    uint32_t shared = attend_shared_bytes(j.key_width, j.value_width);
    uint64_t queries = static_cast<uint64_t>(a->batch->n) * j.heads;
    bool split = a->batch->n_tiles * slices * j.kv_heads < ATTEND_BLOCKS &&
                 attend_parts_bytes(queries, a->most, j.value_width) <= ATTEND_PARTS_BYTES;
    dim3 grid(a->batch->n_tiles * slices, j.kv_heads, j.splits);
    if (split) {
        (void)cudaFuncSetAttribute(split_kernel, cudaFuncAttributeMaxDynamicSharedMemorySize,
                                   static_cast<int>(shared));
        GPU_LAUNCH(split_kernel, grid, dim3(ATTEND_THREADS), shared, stream, j, slices);
        GPU_LAUNCH(attend_merge, dim3(a->batch->n, j.heads), dim3(ATTEND_THREADS), 0, stream, j);
    } else {
        grid.z = 1;
        (void)cudaFuncSetAttribute(whole_kernel, cudaFuncAttributeMaxDynamicSharedMemorySize,
                                   static_cast<int>(shared));
        GPU_LAUNCH(whole_kernel, grid, dim3(ATTEND_THREADS), shared, stream, j, slices);
    }
}

// On the matrix units; few tiles of few queries get a block a part.
static inline void attend_mma_run(cudaStream_t stream, const attend_job &j, const gpu_attend *a)
{
    uint64_t queries = static_cast<uint64_t>(a->batch->n) * j.heads;
    uint32_t group = j.heads / j.kv_heads;
    uint32_t slices = (a->batch->tile_tokens * group + 63) / 64;
    bool splits = a->batch->n_tiles * slices * j.kv_heads < ATTEND_BLOCKS &&
                  attend_parts_bytes(queries, a->most, j.value_width) <= ATTEND_PARTS_BYTES;
    attend_mma_launch(stream, j, a->batch->n_tiles, a->batch->tile_tokens, splits);
    if (splits) {
        GPU_LAUNCH(attend_merge, dim3(a->batch->n, j.heads), dim3(ATTEND_THREADS), 0, stream, j);
    }
}

// shared: bytes that a block of this device may share, which decides between the two ways.
static inline void attend_run(cudaStream_t stream, void *scratch, const gpu_attend *a,
                              size_t shared = SIZE_MAX)
{
    const gpu_keys *k = a->keys;
    attend_job j = {};
    j.positions = a->batch->positions;
    j.owners = a->batch->owners;
    j.tiles = a->batch->tiles;
    j.table = k->table;
    j.table_width = k->table_width;
    j.data = k->data;
    j.page_bytes = k->page_bytes;
    j.type = k->type;
    j.heads = a->heads;
    j.kv_heads = k->kv_heads;
    j.key_width = k->key_width;
    j.value_width = k->value_width;
    j.window = a->window;
    j.splits = (a->most + GPU_SPLIT - 1) / GPU_SPLIT;
    j.scale = a->scale;
    j.cap = a->cap;
    j.q = a->q;
    j.out = a->out;
    j.parts = static_cast<float *>(scratch);
    if (attend_mma_takes(j.type, j.key_width, j.value_width) &&
        attend_mma_most(j.key_width, j.value_width) <= shared) {
        attend_mma_run(stream, j, a);
    } else if (j.value_width <= 64) {
        attend_launch<8>(stream, j, a);
    } else if (j.value_width <= 128) {
        attend_launch<16>(stream, j, a);
    } else if (j.value_width <= 256) {
        attend_launch<32>(stream, j, a);
    } else {
        attend_launch<64>(stream, j, a);
    }
}

#endif
