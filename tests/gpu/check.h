/* Checks of the device's tests, under the emulator and under nvcc alike. */
#ifndef CARREL_TESTS_GPU_CHECK_H
#define CARREL_TESTS_GPU_CHECK_H

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <vector>

#include "model/cuda/device.cuh"

#define CHECK(condition)                                                                           \
    do {                                                                                           \
        check::count()++;                                                                          \
        if (!(condition)) {                                                                        \
            std::fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #condition);                   \
            std::exit(1);                                                                          \
        }                                                                                          \
    } while (0)

namespace check
{
inline size_t &count()
{
    static size_t n;
    return n;
}

/* The same numbers in every run. */
inline uint32_t random_u32()
{
    static uint64_t state = 42;
    state = state * 6364136223846793005U + 1442695040888963407U;
    return static_cast<uint32_t>(state >> 32);
}
inline uint32_t below(uint32_t n)
{
    return random_u32() % n;
}
inline float number() /* -1 to 1 */
{
    return static_cast<float>(random_u32() >> 8) / 8388608.0F - 1.0F;
}
inline void fill(std::vector<int8_t> &v)
{
    for (int8_t &x : v) {
        x = static_cast<int8_t>(random_u32() >> 24);
    }
}
inline void fill(std::vector<float> &v, float scale)
{
    for (float &x : v) {
        x = number() * scale;
    }
}

/* Which thread goes first, on the emulator. */
inline void any_order()
{
#ifndef __CUDACC__
    static unsigned turn;
    static const emulate::order orders[] = {emulate::ASCENDING, emulate::DESCENDING,
                                            emulate::SHUFFLED};
    emulate::set_order(orders[turn++ % 3]);
#endif
}

inline int end(const char *name)
{
    std::printf("%s: %zu checks\n", name, count());
    return 0;
}
} // namespace check

#endif
