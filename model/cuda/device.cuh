// What every kernel includes: CUDA's own runtime under nvcc, and elsewhere the emulator of the
// tests, which runs kernels on the processor, so that they are checked where there is no GPU.
#ifndef CARREL_MODEL_CUDA_DEVICE_CUH
#define CARREL_MODEL_CUDA_DEVICE_CUH

#ifdef __CUDACC__
#include <cuda_fp16.h>
#include <cuda_runtime.h>
// kernel<<<...>>>(...): C++ compilers have no such syntax.
#define GPU_LAUNCH(kernel, grid, block, shared_bytes, stream, ...)                                 \
    kernel<<<(grid), (block), (shared_bytes), (stream)>>>(__VA_ARGS__)
#else
#include "tests/gpu/emulate/cuda_host.h" // defines GPU_LAUNCH too
#endif

#include "model/cuda/kernels.h"

#endif
