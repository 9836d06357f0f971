/* The part of CUDA that model/cuda uses, for g++: the same kernels run, thread by thread, without a
 * device. tests/gpu/README.md says what that proves. */
#ifndef CARREL_TESTS_GPU_CUDA_HOST_H
#define CARREL_TESTS_GPU_CUDA_HOST_H

#include "cuda_api.h"
#include "cuda_half.h"
#include "cuda_math.h"
#include "cuda_tensor.h"
#include "cuda_threads.h"
#include "cuda_types.h"

/* kernel<<<grid, block, shared, stream>>>(...) */
#define GPU_LAUNCH(kernel, grid, block, shared, stream, ...)                                       \
    ((void)(stream), (void)emulate::launch(reinterpret_cast<const void *>(kernel), (grid),         \
                                           (block), (shared), [&]() { kernel(__VA_ARGS__); }))

#endif
