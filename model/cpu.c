/* Which kernels this processor can run: cpuid, and the registers that the system saves (XGETBV). */
#include <stdlib.h>
#include <string.h>

#include "model/kernels.h"

#if defined(__x86_64__)
#include <cpuid.h>

static bool has_avx2(void)
{
    unsigned a = 0;
    unsigned b = 0;
    unsigned c = 0;
    unsigned d = 0;
    __builtin_cpu_init();
    /* clang 14 knows no "f16c"; AVX2 says that the registers are saved */
    return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") &&
           __get_cpuid(1, &a, &b, &c, &d) != 0 && (c & bit_F16C) != 0;
}

static bool has_avx512(void)
{
    return has_avx2() && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
           __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq") &&
           __builtin_cpu_supports("avx512vnni");
}

const struct kernels *kernels_named(const char *name)
{
    if (strcmp(name, kernels_avx512.name) == 0 && has_avx512()) {
        return &kernels_avx512;
    }
    if (strcmp(name, kernels_avx2.name) == 0 && has_avx2()) {
        return &kernels_avx2;
    }
    return strcmp(name, kernels_scalar.name) == 0 ? &kernels_scalar : NULL;
}
#else
const struct kernels *kernels_named(const char *name)
{
    return strcmp(name, kernels_scalar.name) == 0 ? &kernels_scalar : NULL;
}
#endif

const struct kernels *kernels_choose(void)
{
    static const char *const best_first[] = {"avx512", "avx2"};
    const char *forced = getenv("CARREL_CPU");
    const struct kernels *found = forced == NULL ? NULL : kernels_named(forced);
    for (size_t i = 0; found == NULL && i < sizeof best_first / sizeof best_first[0]; i++) {
        found = kernels_named(best_first[i]);
    }
    return found == NULL ? &kernels_scalar : found;
}
