/* A grid's threads as coroutines of one processor thread, block by block. A thread runs until it
 * waits for others: at __syncthreads, or where lanes of a warp do something together. Who runs
 * first is chosen by emulate::set_order, so that a result that needs a missing barrier changes
 * with the order.
 *
 * Reported, with each thread's place, and the launch fails: a thread that has ended or waits
 * elsewhere while the others wait for it; copies under way at a thread's end; a grid, block or
 * shared memory that no device takes. */
#ifndef CARREL_TESTS_GPU_CUDA_THREADS_H
#define CARREL_TESTS_GPU_CUDA_THREADS_H

#include <functional>
#include <string>

#include "cuda_types.h"

enum cudaError_t {
    cudaSuccess = 0,
    cudaErrorInvalidValue = 1,
    cudaErrorMemoryAllocation = 2,
    cudaErrorInvalidConfiguration = 9,
    cudaErrorInvalidDevice = 101,
    cudaErrorNotReady = 600,
    cudaErrorLaunchFailure = 719
};
using cudaStream_t = struct emulate_stream *;

namespace emulate
{
enum order { ASCENDING, DESCENDING, SHUFFLED };
/* Which block, which warp and which thread goes first. In the first two a warp runs as far as it
 * can before the next one begins; shuffled, all go on side by side. */
void set_order(order o, uint32_t seed = 1);

uint3 thread_at();
uint3 block_at();
dim3 block_size();
dim3 grid_size();
void *dynamic_shared();
/* Runs the kernel; fills the dynamic shared memory with 0xFF before each block (no number). */
cudaError_t launch(const void *kernel, dim3 grid, dim3 block, size_t shared_bytes,
                   const std::function<void()> &body);
/* What was wrong with the last launch that failed; empty: nothing so far. */
const std::string &report();
void clear_report();
/* false: failing launches print their report to standard error. */
void expect_failure(bool expected);
/* What a block of the device may share: 227 KiB unless set. */
void set_shared_most(size_t bytes);
size_t shared_most();
/* The most dynamic shared memory that a kernel may be launched with: 48 KiB unless raised. */
cudaError_t allow_shared(const void *kernel, size_t bytes);

void wait_for_block(const char *file, int line);
/* in and out of the lanes that take part, by lane; NULL for the others. */
using warp_fn = void (*)(unsigned mask, const void *const *in, void *const *out);
void together(const char *name, unsigned mask, const void *in, void *out, warp_fn fn,
              const char *file, int line);

/* Asynchronous copies of the running thread: until their wait the place holds 0xFF. */
void copy_later(void *to, const void *from, size_t from_bytes, size_t bytes);
void copies_commit();
void copies_wait(unsigned left);
} // namespace emulate

#define threadIdx (emulate::thread_at())
#define blockIdx (emulate::block_at())
#define blockDim (emulate::block_size())
#define gridDim (emulate::grid_size())
constexpr int warpSize = 32;

#define EMULATE_HERE const char *file = __builtin_FILE(), int line = __builtin_LINE()

static inline void __syncthreads(EMULATE_HERE)
{
    emulate::wait_for_block(file, line);
}

/* ---- what lanes of a warp do together ---- */

static inline void __syncwarp(unsigned mask = 0xffffffff, EMULATE_HERE)
{
    emulate::together(
        "__syncwarp", mask, nullptr, nullptr, [](unsigned, const void *const *, void *const *) {},
        file, line);
}

namespace emulate
{
struct shuffle {
    uint64_t value;
    int from; /* the lane whose value this one takes */
};

inline void shuffle_lanes(unsigned mask, const void *const *in, void *const *out)
{
    for (unsigned lane = 0; lane < 32; lane++) {
        if ((mask >> lane & 1) != 0) {
            const shuffle *mine = static_cast<const shuffle *>(in[lane]);
            const shuffle *other = static_cast<const shuffle *>(in[mine->from]);
            /* of a lane that takes no part: undefined on the device */
            *static_cast<uint64_t *>(out[lane]) =
                other == nullptr ? 0xffffffffffffffff : other->value;
        }
    }
}

template <typename T> T shuffled(unsigned mask, T value, int from, const char *file, int line)
{
    static_assert(sizeof(T) <= 8, "at most eight bytes");
    shuffle in{0, from};
    uint64_t out = 0;
    std::memcpy(&in.value, &value, sizeof value);
    together("shuffle", mask, &in, &out, shuffle_lanes, file, line);
    std::memcpy(&value, &out, sizeof value);
    return value;
}

inline int lane()
{
    dim3 size = block_size();
    uint3 at = thread_at();
    return static_cast<int>((at.x + size.x * (at.y + size.y * at.z)) % 32);
}
} // namespace emulate

template <typename T>
static inline T __shfl_sync(unsigned mask, T value, int from, int width = 32, EMULATE_HERE)
{
    int lane = emulate::lane();
    return emulate::shuffled(mask, value, lane / width * width + from % width, file, line);
}
template <typename T>
static inline T __shfl_xor_sync(unsigned mask, T value, int bits, int width = 32, EMULATE_HERE)
{
    int lane = emulate::lane();
    int from = lane ^ bits;
    /* a lane of a later part of the warp cannot be read */
    return emulate::shuffled(mask, value, from / width > lane / width ? lane : from, file, line);
}
template <typename T>
static inline T __shfl_down_sync(unsigned mask, T value, unsigned by, int width = 32, EMULATE_HERE)
{
    int lane = emulate::lane();
    int from = lane + static_cast<int>(by);
    return emulate::shuffled(mask, value, from / width == lane / width ? from : lane, file, line);
}
template <typename T>
static inline T __shfl_up_sync(unsigned mask, T value, unsigned by, int width = 32, EMULATE_HERE)
{
    int lane = emulate::lane();
    int from = lane - static_cast<int>(by);
    return emulate::shuffled(mask, value, from >= lane / width * width ? from : lane, file, line);
}
static inline unsigned __ballot_sync(unsigned mask, int predicate, EMULATE_HERE)
{
    unsigned out = 0;
    emulate::together(
        "vote", mask, &predicate, &out,
        [](unsigned lanes, const void *const *in, void *const *results) {
            unsigned votes = 0;
            for (unsigned k = 0; k < 32; k++) {
                bool yes = (lanes >> k & 1) != 0 && *static_cast<const int *>(in[k]) != 0;
                votes |= static_cast<unsigned>(yes) << k;
            }
            for (unsigned k = 0; k < 32; k++) {
                if ((lanes >> k & 1) != 0) {
                    *static_cast<unsigned *>(results[k]) = votes;
                }
            }
        },
        file, line);
    return out;
}
static inline int __any_sync(unsigned mask, int predicate, EMULATE_HERE)
{
    return __ballot_sync(mask, predicate, file, line) != 0;
}
static inline int __all_sync(unsigned mask, int predicate, EMULATE_HERE)
{
    return __ballot_sync(mask, predicate, file, line) == mask;
}

#endif
