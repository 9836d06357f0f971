// The speed table of the kernels on the GPU at hand: what share of the memory's measured reading
// speed a matrix times few tokens gets, of the measured matrix rates a matrix times many. Random
// data; weights are rotated so that no cache holds them; runs are captured in a graph and the
// median of its replays is told. Built and run by run.sh.
#include <algorithm>
#include <functional>

#include "model/cuda/attend.cuh"
#include "tests/gpu/matrices.h"

namespace
{
constexpr int REPLAYS = 9;
constexpr size_t CACHE_BYTES = size_t{400} << 20; // several times any level-2 cache

void must(cudaError_t e)
{
    if (e != cudaSuccess) {
        std::fprintf(stderr, "%s\n", cudaGetErrorString(e));
        std::exit(1);
    }
}

// Seconds of one run of `work`, of `runs` behind each other.
double seconds(int runs, const std::function<void(cudaStream_t, int)> &work)
{
    cudaStream_t stream;
    cudaGraph_t graph;
    cudaGraphExec_t ready;
    cudaEvent_t from, to;
    std::vector<float> ms(REPLAYS);
    must(cudaStreamCreate(&stream));
    must(cudaEventCreate(&from));
    must(cudaEventCreate(&to));
    work(stream, 0); // attributes are set and code is loaded
    must(cudaStreamSynchronize(stream));
    must(cudaGetLastError());
    must(cudaStreamBeginCapture(stream, cudaStreamCaptureModeGlobal));
    for (int i = 0; i < runs; i++) {
        work(stream, i);
    }
    must(cudaStreamEndCapture(stream, &graph));
    must(cudaGraphInstantiate(&ready, graph, 0));
    for (int i = -2; i < REPLAYS; i++) {
        must(cudaEventRecord(from, stream));
        must(cudaGraphLaunch(ready, stream));
        must(cudaEventRecord(to, stream));
        must(cudaEventSynchronize(to));
        must(cudaEventElapsedTime(&ms[static_cast<size_t>(std::max(i, 0))], from, to));
    }
    must(cudaGraphExecDestroy(ready));
    must(cudaGraphDestroy(graph));
    must(cudaStreamDestroy(stream));
    std::sort(ms.begin(), ms.end());
    return static_cast<double>(ms[REPLAYS / 2]) / 1e3 / runs;
}

// ---- ceilings ----

__global__ void read_all(const uint4 *p, size_t n, unsigned *out)
{
    uint4 sum = make_uint4(0, 0, 0, 0);
    size_t step = static_cast<size_t>(gridDim.x) * blockDim.x;
    size_t i = static_cast<size_t>(blockIdx.x) * blockDim.x + threadIdx.x;
    for (; i + 3 * step < n; i += 4 * step) {
        GPU_UNROLL
        for (unsigned k = 0; k < 4; k++) {
            uint4 v = p[i + k * step];
            sum.x ^= v.x;
            sum.y ^= v.y;
            sum.z ^= v.z;
            sum.w ^= v.w;
        }
    }
    if ((sum.x ^ sum.y ^ sum.z ^ sum.w) == 0x12345678) {
        *out = 1;
    }
}

constexpr int PEAK_ROUNDS = 2000;

template <bool Bytes> __global__ void multiply_only(uint32_t seed, float *out)
{
    uint32_t a[4] = {seed * 3 + threadIdx.x, seed * 5, seed * 7, seed * 11};
    uint32_t b[2] = {seed * 13, seed * 17 + threadIdx.x};
    int32_t whole[8][4] = {};
    float sums[8][4] = {};
    for (int r = 0; r < PEAK_ROUNDS; r++) {
        GPU_UNROLL
        for (unsigned i = 0; i < 8; i++) {
            if (Bytes) {
                mma_s8(whole[i], a, b);
            } else {
                mma_bf16(sums[i], a, b);
            }
        }
    }
    float all = 0;
    for (unsigned i = 0; i < 32; i++) {
        all += Bytes ? static_cast<float>(whole[i / 4][i % 4]) : sums[i / 4][i % 4];
    }
    if (all == 1.25F) {
        *out = all;
    }
}

struct ceilings {
    double read_gb, copy_gb, bf16_tera, bytes_tera;
};

ceilings measure_ceilings(int processors)
{
    ceilings c = {};
    size_t bytes = size_t{2} << 30;
    device_array<unsigned char> p(bytes), q(bytes);
    device_array<float> out(1);
    c.read_gb = static_cast<double>(bytes) / 1e9 / seconds(4, [&](cudaStream_t s, int) {
                    GPU_LAUNCH(read_all, static_cast<unsigned>(processors) * 8, 512, 0, s,
                               reinterpret_cast<const uint4 *>(p.get()), bytes / 16,
                               reinterpret_cast<unsigned *>(out.get()));
                });
    c.copy_gb = 2 * static_cast<double>(bytes) / 1e9 / seconds(4, [&](cudaStream_t s, int) {
                    must(cudaMemcpyAsync(q.get(), p.get(), bytes, cudaMemcpyDeviceToDevice, s));
                });
    double warps = processors * 2 * 8.0;
    double flop = warps * PEAK_ROUNDS * 8 * 16 * 8 * 2;
    c.bf16_tera = flop * 16 / 1e12 / seconds(2, [&](cudaStream_t s, int) {
                      GPU_LAUNCH(multiply_only<false>, static_cast<unsigned>(processors) * 2, 256,
                                 0, s, 12345U, out.get());
                  });
    c.bytes_tera = flop * 32 / 1e12 / seconds(2, [&](cudaStream_t s, int) {
                       GPU_LAUNCH(multiply_only<true>, static_cast<unsigned>(processors) * 2, 256,
                                  0, s, 12345U, out.get());
                   });
    return c;
}

// ---- products ----

void product_speed(const ceilings &c, tensor_type type, uint32_t columns, uint32_t rows, uint32_t n)
{
    check::weights group(type, columns, 16);
    size_t bytes = group.packed.size() * ((rows + 15) / 16);
    size_t copies = CACHE_BYTES / bytes + 1;
    device_array<unsigned char> w(bytes * copies);
    must(cudaMemcpy(w.get(), group.packed.data(), group.packed.size(), cudaMemcpyHostToDevice));
    for (size_t done = group.packed.size(); done < bytes * copies;) {
        size_t more = std::min(done, bytes * copies - done);
        must(cudaMemcpy(w.get() + done, w.get(), more, cudaMemcpyDeviceToDevice));
        done += more;
    }
    std::vector<float> x(size_t{n} * columns);
    check::fill(x, 1);
    device_array<float> on_x(x), y(size_t{n} * rows);
    device_array<unsigned char> scratch(matmul_scratch_bytes(n, columns));
    double t = seconds(static_cast<int>(std::min<size_t>(copies, 24)), [&](cudaStream_t s, int i) {
        gpu_matrix m = {static_cast<uint32_t>(type), columns, rows, bytes,
                        w.get() + static_cast<size_t>(i) % copies * bytes};
        gpu_product p = {&m, nullptr, y.get()};
        matmul_run(s, scratch.get(), on_x.get(), n, &p, 1);
    });
    double gb = static_cast<double>(bytes) / 1e9 / t;
    double tera = 2.0 * rows * columns * n / 1e12 / t;
    std::printf("%-7s %6u x %-6u %5u tokens %9.1f us %8.0f GB/s %5.1f%% %8.1f TFLOP/s %5.1f%%\n",
                tensor_type_info(static_cast<uint32_t>(type))->name, rows, columns, n, t * 1e6, gb,
                100 * gb / c.read_gb, tera, 100 * tera / c.bf16_tera);
}

// ---- attention: 32 heads of 128, eight of keys ----

void attend_speed(const ceilings &c, uint32_t sequences, uint32_t keys, uint32_t n)
{
    constexpr uint32_t heads = 32, kv_heads = 8, width = 128;
    uint32_t pages = (keys + GPU_PAGE - 1) / GPU_PAGE;
    uint64_t page = kv_heads * gpu_head_bytes(TENSOR_F16, width, width);
    std::vector<uint32_t> table(size_t{sequences} * pages), positions, owners, tiles;
    for (uint32_t i = 0; i < table.size(); i++) {
        table[i] = (i * 7919U) % static_cast<uint32_t>(table.size());
    }
    uint32_t tile = std::max(1U, std::min(n, GPU_TILE / (heads / kv_heads)));
    for (uint32_t o = 0; o < sequences; o++) {
        for (uint32_t i = 0; i < n; i++) {
            positions.push_back(keys - n + i);
            owners.push_back(o);
            if (i % tile == 0) {
                tiles.insert(tiles.end(), {o * n + i, std::min(tile, n - i)});
            }
        }
    }
    std::vector<float> q(positions.size() * heads * width);
    check::fill(q, 1);
    std::vector<unsigned char> one_page(page);
    for (size_t i = 0; i < page; i += 2) {
        uint16_t h = half_from_float(check::number());
        memcpy(&one_page[i], &h, 2);
    }
    device_array<unsigned char> data(page * table.size());
    for (size_t i = 0; i < table.size(); i++) {
        must(cudaMemcpy(data.get() + i * page, one_page.data(), page, cudaMemcpyHostToDevice));
    }
    device_array<uint32_t> on_table(table), on_positions(positions), on_owners(owners),
        on_tiles(tiles);
    device_array<float> on_q(q), out(q.size());
    uint32_t rows = static_cast<uint32_t>(positions.size());
    device_array<unsigned char> scratch(attend_scratch_bytes(rows, heads, width, keys) + 1);
    gpu_batch b = {};
    b.n = rows;
    b.positions = on_positions.get();
    b.owners = on_owners.get();
    b.tiles = on_tiles.get();
    b.n_tiles = static_cast<uint32_t>(tiles.size() / 2);
    b.tile_tokens = tile;
    gpu_keys k = {};
    k.type = TENSOR_F16;
    k.kv_heads = kv_heads;
    k.key_width = width;
    k.value_width = width;
    k.data = data.get();
    k.page_bytes = page;
    k.table = on_table.get();
    k.table_width = pages;
    gpu_attend a = {};
    a.batch = &b;
    a.keys = &k;
    a.q = on_q.get();
    a.out = out.get();
    a.heads = heads;
    a.scale = 0.088F;
    a.most = keys;
    double t = seconds(8, [&](cudaStream_t s, int) { attend_run(s, scratch.get(), &a); });
    double pairs = 0; // of queries and keys
    for (uint32_t p : positions) {
        pairs += p + 1.0;
    }
    double gb = static_cast<double>(page) * static_cast<double>(table.size()) / 1e9 / t;
    double tera = pairs * heads * width * 4 / 1e12 / t;
    std::printf("attend %3u x %6u keys %5u queries %9.1f us %8.0f GB/s %5.1f%% %8.1f TFLOP/s "
                "%5.1f%%\n",
                sequences, keys, n, t * 1e6, gb, 100 * gb / c.read_gb, tera,
                100 * tera / c.bf16_tera);
}
} // namespace

int main()
{
    cudaDeviceProp d;
    must(cudaGetDeviceProperties(&d, 0));
    ceilings c = measure_ceilings(d.multiProcessorCount);
    std::printf("%s, %d multiprocessors: reads %.0f GB/s, copies %.0f GB/s (read and written), "
                "mma bf16 %.0f TFLOP/s, bytes %.0f TOP/s\n",
                d.name, d.multiProcessorCount, c.read_gb, c.copy_gb, c.bf16_tera, c.bytes_tera);
    std::printf("GB/s: of the weights (keys and values), and the share of the reading speed; "
                "TFLOP/s: and the share of mma bf16\n");
    for (tensor_type type : {TENSOR_Q8_0, TENSOR_Q4_0, TENSOR_Q4_K, TENSOR_Q6_K, TENSOR_F16}) {
        for (uint32_t n : {1U, 8U, 64U, 512U}) {
            product_speed(c, type, 4096, 4096, n);
            product_speed(c, type, 4096, 14336, n);
            product_speed(c, type, 14336, 4096, n);
        }
    }
    for (tensor_type type : check::types) {
        product_speed(c, type, 4096, 4096, 1);
        product_speed(c, type, 4096, 4096, 512);
    }
    attend_speed(c, 1, 8192, 1);
    attend_speed(c, 64, 2048, 1);
    attend_speed(c, 1, 512, 512);
    attend_speed(c, 1, 8192, 512);
    return 0;
}
