/* The emulator itself: what it computes for shuffles, votes, matrix instructions, halves and
 * copies is compared with plain loops, and each mistake that it promises to find is made. */
#include "model/cuda/ptx.cuh"
#include "tests/gpu/check.h"

namespace
{
constexpr unsigned all = 0xffffffff;

/* ---- threads, barriers, shared memory ---- */

__global__ void reverse(const int *in, int *out)
{
    int *room = static_cast<int *>(GPU_SHARED);
    __shared__ int sum;
    unsigned i = threadIdx.x;
    if (i == 0) {
        sum = 0;
    }
    room[i] = in[blockIdx.x * blockDim.x + i];
    __syncthreads();
    atomicAdd(&sum, room[i]);
    __syncthreads();
    out[blockIdx.x * blockDim.x + i] = room[blockDim.x - 1 - i] + sum;
}

void barriers_and_shared_memory()
{
    constexpr unsigned n = 70;
    std::vector<int> in(3 * n), out(3 * n);
    for (unsigned i = 0; i < 3 * n; i++) {
        in[i] = static_cast<int>(i * i % 97);
    }
    for (emulate::order o : {emulate::ASCENDING, emulate::DESCENDING, emulate::SHUFFLED}) {
        emulate::set_order(o);
        GPU_LAUNCH(reverse, 3, n, n * sizeof(int), nullptr, in.data(), out.data());
        CHECK(cudaGetLastError() == cudaSuccess);
        for (unsigned b = 0; b < 3; b++) {
            int sum = 0;
            for (unsigned i = 0; i < n; i++) {
                sum += in[b * n + i];
            }
            for (unsigned i = 0; i < n; i++) {
                CHECK(out[b * n + i] == in[b * n + n - 1 - i] + sum);
            }
        }
    }
}

__global__ void places(unsigned *out)
{
    unsigned in_block = threadIdx.x + blockDim.x * (threadIdx.y + blockDim.y * threadIdx.z);
    unsigned block = blockIdx.x + gridDim.x * (blockIdx.y + gridDim.y * blockIdx.z);
    out[block * blockDim.x * blockDim.y * blockDim.z + in_block] = block * 1000 + in_block;
}

void three_dimensions()
{
    std::vector<unsigned> out(2 * 3 * 2 * 4 * 2 * 3);
    GPU_LAUNCH(places, dim3(2, 3, 2), dim3(4, 2, 3), 0, nullptr, out.data());
    for (unsigned i = 0; i < out.size(); i++) {
        CHECK(out[i] == i / 24 * 1000 + i % 24);
    }
}

/* ---- mistakes ---- */

__global__ void some_leave(int *out)
{
    if (threadIdx.x == 5) {
        return;
    }
    __syncthreads();
    out[threadIdx.x] = 1;
}
__global__ void two_barriers(int *out)
{
    if (threadIdx.x < 3) {
        __syncthreads();
        out[threadIdx.x] = 1;
    } else {
        __syncthreads();
    }
}
__global__ void half_a_warp(int *out)
{
    if (threadIdx.x < 16) {
        out[threadIdx.x] = __shfl_xor_sync(all, 1, 1);
    }
}
__global__ void forgotten_copy(const int *in)
{
    cp_async_16(GPU_SHARED, in);
    cp_async_commit();
}
__global__ void nothing(int)
{
}
/* A missing barrier: some order shows it. */
__global__ void race(int *out)
{
    int *room = static_cast<int *>(GPU_SHARED);
    room[threadIdx.x] = static_cast<int>(threadIdx.x);
    out[threadIdx.x] = room[(threadIdx.x + 1) % blockDim.x];
}
/* A missing wait: the place holds 0xFF until then. */
template <bool Waits> __global__ void copied(const int *in, int *out)
{
    int *room = static_cast<int *>(GPU_SHARED);
    cp_async_16(room, in, 16);
    cp_async_commit();
    cp_async_16(room + 4, in + 4, 8);
    cp_async_commit();
    if (Waits) {
        cp_async_wait<1>();
        out[8] = room[4]; /* the second group is still under way */
        cp_async_wait<0>();
    }
    for (int i = 0; i < 8; i++) {
        out[i] = room[i];
    }
    cp_async_wait<0>();
}

void fails(const char *text)
{
    CHECK(cudaGetLastError() != cudaSuccess);
    if (emulate::report().find(text) == std::string::npos) {
        std::fprintf(stderr, "report: %s\n", emulate::report().c_str());
        CHECK(!"the report says so");
    }
    emulate::clear_report();
}

void mistakes_are_found()
{
    std::vector<int> out(64), in(64);
    emulate::set_order(emulate::ASCENDING);
    emulate::expect_failure(true);
    GPU_LAUNCH(some_leave, 1, 32, 0, nullptr, out.data());
    fails("thread 5 (of 1) ended");
    GPU_LAUNCH(two_barriers, 1, 32, 0, nullptr, out.data());
    fails("is stuck");
    GPU_LAUNCH(half_a_warp, 1, 32, 0, nullptr, out.data());
    fails("thread 0 (of 16) waits in shuffle");
    GPU_LAUNCH(forgotten_copy, 1, 1, 16, nullptr, in.data());
    fails("copies under way");
    GPU_LAUNCH(nothing, 1, 1025, 0, nullptr, 0);
    fails("a block of 1025 threads");
    GPU_LAUNCH(nothing, dim3(1, 70000), 32, 0, nullptr, 0);
    fails("a grid of");
    GPU_LAUNCH(nothing, 1, 32, 50000, nullptr, 0);
    fails("bytes of shared memory");
    CHECK(cudaFuncSetAttribute(nothing, cudaFuncAttributeMaxDynamicSharedMemorySize, 60000) ==
          cudaSuccess);
    GPU_LAUNCH(nothing, 1, 32, 50000, nullptr, 0);
    CHECK(cudaGetLastError() == cudaSuccess);
    emulate::expect_failure(false);

    std::vector<int> other(64);
    GPU_LAUNCH(race, 1, 64, 256, nullptr, out.data());
    emulate::set_order(emulate::DESCENDING);
    GPU_LAUNCH(race, 1, 64, 256, nullptr, other.data());
    CHECK(out != other);
}

void copies_wait_for_their_wait()
{
    struct __align__(16)
    {
        int in[8] = {1, 2, 3, 4, 5, 6, 7, 8};
    }
    room;
    int out[9];
    GPU_LAUNCH(copied<true>, 1, 1, 32, nullptr, room.in, out);
    for (int i = 0; i < 6; i++) {
        CHECK(out[i] == i + 1);
    }
    CHECK(out[6] == 0 && out[7] == 0 && out[8] == -1);
    GPU_LAUNCH(copied<false>, 1, 1, 32, nullptr, room.in, out);
    CHECK(out[0] == -1 && out[5] == -1);
}

/* ---- warps ---- */

__global__ void exchanges(int *out)
{
    int lane = static_cast<int>(threadIdx.x % 32);
    int *mine = out + 7 * threadIdx.x;
    mine[0] = __shfl_sync(all, lane * 10, 5);
    mine[1] = __shfl_xor_sync(all, lane, 3);
    mine[2] = __shfl_down_sync(all, lane, 4, 8);
    mine[3] = __shfl_up_sync(all, lane, 4, 8);
    mine[4] = static_cast<int>(__ballot_sync(all, lane % 3 == 0));
    mine[5] = __any_sync(all, lane == 7) * 2 + __all_sync(all, lane < 31);
    mine[6] = lane % 2 == 0 ? __shfl_xor_sync(0x55555555, lane, 2) : 0;
}

void lanes_exchange()
{
    std::vector<int> out(7 * 64);
    GPU_LAUNCH(exchanges, 1, 64, 0, nullptr, out.data());
    for (int i = 0; i < 64; i++) {
        int lane = i % 32;
        const int *mine = out.data() + 7 * i;
        CHECK(mine[0] == 50 && mine[1] == (lane ^ 3));
        CHECK(mine[2] == (lane % 8 < 4 ? lane + 4 : lane));
        CHECK(mine[3] == (lane % 8 < 4 ? lane : lane - 4));
        CHECK(static_cast<unsigned>(mine[4]) == 0x49249249U && mine[5] == 2);
        CHECK(mine[6] == (lane % 2 == 0 ? (lane ^ 2) : 0));
    }
}

/* ---- the matrix units: from rows in memory to rows in memory ---- */

__global__ void multiply_bytes(const int8_t *a, const int8_t *b, int32_t *d)
{
    int lane = static_cast<int>(threadIdx.x);
    int g = lane / 4;
    int t = lane % 4;
    uint32_t fa[4], fb[2];
    int32_t c[4] = {100, 200, 300, 400};
    for (int k = 0; k < 4; k++) {
        memcpy(&fa[k], a + (g + k % 2 * 8) * 32 + t * 4 + k / 2 * 16, 4);
    }
    for (int k = 0; k < 2; k++) {
        memcpy(&fb[k], b + g * 32 + t * 4 + k * 16, 4); /* b: column by column */
    }
    mma_s8(c, fa, fb);
    for (int k = 0; k < 4; k++) {
        d[(g + k / 2 * 8) * 8 + 2 * t + k % 2] = c[k];
    }
    uint32_t low[2] = {fa[0], fa[1]};
    int32_t e[4] = {0, 0, 0, 0};
    mma_s8_16(e, low, fb[0]);
    for (int k = 0; k < 4; k++) {
        d[128 + (g + k / 2 * 8) * 8 + 2 * t + k % 2] = e[k];
    }
}

void byte_products()
{
    std::vector<int8_t> a(16 * 32), b(8 * 32);
    std::vector<int32_t> d(256);
    check::fill(a);
    check::fill(b);
    GPU_LAUNCH(multiply_bytes, 1, 32, 0, nullptr, a.data(), b.data(), d.data());
    for (int r = 0; r < 16; r++) {
        for (int n = 0; n < 8; n++) {
            int sum = 0;
            int half = 0;
            for (int k = 0; k < 32; k++) {
                sum += a[static_cast<size_t>(r * 32 + k)] * b[static_cast<size_t>(n * 32 + k)];
                half = k == 15 ? sum : half;
            }
            int start = (r < 8 ? 100 : 300) + n % 2 * 100;
            CHECK(d[static_cast<size_t>(r * 8 + n)] == sum + start);
            CHECK(d[static_cast<size_t>(128 + r * 8 + n)] == half);
        }
    }
}

/* a: 16 x 16 by ldmatrix; b: 16 x 8 as it lies in memory, by ldmatrix transposed. */
template <bool Brain>
__global__ void multiply_halves(const uint16_t *a, const uint16_t *b, float *d)
{
    unsigned lane = threadIdx.x;
    uint32_t fa[4], fb[4];
    float c[4] = {0, 0, 0, 0};
    ldmatrix(fa, a + (lane % 8 + lane / 8 % 2 * 8) * 16 + lane / 16 * 8);
    ldmatrix_transposed(fb, b + lane % 16 * 8);
    uint32_t two[2] = {fb[0], fb[1]};
    if (Brain) {
        mma_bf16(c, fa, two);
    } else {
        mma_f16(c, fa, two);
    }
    for (unsigned k = 0; k < 4; k++) {
        d[(lane / 4 + k / 2 * 8) * 8 + 2 * (lane % 4) + k % 2] = c[k];
    }
}

template <bool Brain> void half_products()
{
    struct __align__(16)
    {
        uint16_t a[256], b[128];
    }
    m;
    float d[128];
    for (size_t i = 0; i < 384; i++) {
        float x = check::number();
        uint16_t bits = Brain ? __bfloat16_as_ushort(__float2bfloat16_rn(x))
                              : __half_as_ushort(__float2half_rn(x));
        (i < 256 ? m.a[i] : m.b[i - 256]) = bits;
    }
    GPU_LAUNCH(multiply_halves<Brain>, 1, 32, 0, nullptr, m.a, m.b, d);
    for (size_t r = 0; r < 16; r++) {
        for (size_t n = 0; n < 8; n++) {
            double sum = 0;
            for (size_t k = 0; k < 16; k++) {
                float x = Brain ? emulate::bfloat_value(m.a[r * 16 + k])
                                : emulate::half_value(m.a[r * 16 + k]);
                float y = Brain ? emulate::bfloat_value(m.b[k * 8 + n])
                                : emulate::half_value(m.b[k * 8 + n]);
                sum += static_cast<double>(x) * static_cast<double>(y);
            }
            CHECK(std::fabs(static_cast<double>(d[r * 8 + n]) - sum) < 1e-6);
        }
    }
}

/* ---- arithmetic ---- */

void arithmetic()
{
    CHECK(__dp4a(0x7f80ff01, 0x7f8002fe, 5) == 127 * 127 + 128 * 128 - 2 - 2 + 5);
    CHECK(__dp4a(0xff000001U, 0x02000003U, 1U) == 255 * 2 + 3 + 1);
    CHECK(__byte_perm(0x33221100, 0x77665544, 0x7d40) == 0x77554400U);
    CHECK(__float2int_rn(2.5F) == 2 && __float2int_rn(-3.5F) == -4);
    for (unsigned h = 0; h < 0x7c00; h++) { /* every finite half, and between neighbours */
        uint16_t bits = static_cast<uint16_t>(h);
        float x = emulate::half_value(bits);
        CHECK(__half_as_ushort(__float2half_rn(x)) == bits);
        CHECK(__half_as_ushort(__float2half_rn(-x)) == (bits | 0x8000));
        float next = h + 1 < 0x7c00 ? emulate::half_value(static_cast<uint16_t>(h + 1)) : 65536;
        float middle = (x + next) / 2;
        unsigned even = h % 2 == 0 ? h : h + 1;
        CHECK(__half_as_ushort(__float2half_rn(middle)) == even);
        CHECK(__half_as_ushort(__float2half_rn(std::nextafter(middle, 0.0F))) == h);
        CHECK(__half_as_ushort(__float2half_rn(std::nextafter(middle, 1e9F))) == h + 1);
    }
    for (int i = 0; i < 2000; i++) {
        float x = check::number();
        uint32_t bits = __float_as_uint(x);
        uint32_t expected = (bits + 0x7fff + (bits >> 16 & 1)) >> 16;
        CHECK(__bfloat16_as_ushort(__float2bfloat16_rn(x)) == expected);
    }
    /* one rounding: 1 + 2^-11 + 2^-22 lies above the middle, and 2^-11 alone on it */
    __half one = __float2half_rn(1);
    __half small = __float2half_rn(0x1p-11F);
    CHECK(__half_as_ushort(__hadd(one, small)) == 0x3c00);
    CHECK(__half_as_ushort(__hfma(__float2half_rn(1 + 0x1p-10F), small, one)) == 0x3c01);
}
} // namespace

int main()
{
    barriers_and_shared_memory();
    three_dimensions();
    mistakes_are_found();
    copies_wait_for_their_wait();
    for (emulate::order o : {emulate::ASCENDING, emulate::DESCENDING, emulate::SHUFFLED}) {
        emulate::set_order(o);
        lanes_exchange();
        byte_products();
        half_products<false>();
        half_products<true>();
    }
    arithmetic();
    return check::end("emulate");
}
