/* The part of CUDA's runtime that model/cuda calls: memory of the device is the process's own,
 * streams do everything at once. Allocations have exact bounds under AddressSanitizer and begin as
 * 0xFF. */
#ifndef CARREL_TESTS_GPU_CUDA_API_H
#define CARREL_TESTS_GPU_CUDA_API_H

#include "cuda_threads.h"

enum cudaMemcpyKind {
    cudaMemcpyHostToHost,
    cudaMemcpyHostToDevice,
    cudaMemcpyDeviceToHost,
    cudaMemcpyDeviceToDevice,
    cudaMemcpyDefault
};
enum cudaFuncAttribute { cudaFuncAttributeMaxDynamicSharedMemorySize = 8 };

enum cudaDeviceAttr { cudaDevAttrMaxSharedMemoryPerBlockOptin = 97 };
static inline cudaError_t cudaDeviceGetAttribute(int *value, cudaDeviceAttr, int)
{
    *value = static_cast<int>(emulate::shared_most());
    return cudaSuccess;
}

static inline cudaError_t cudaGetDevice(int *device)
{
    *device = 0;
    return cudaSuccess;
}

cudaError_t cudaMalloc(void **p, size_t bytes);
cudaError_t cudaFree(void *p);
cudaError_t cudaGetLastError();
const char *cudaGetErrorString(cudaError_t e);

template <typename T> static inline cudaError_t cudaMalloc(T **p, size_t bytes)
{
    void *at = nullptr;
    cudaError_t e = cudaMalloc(&at, bytes);
    *p = static_cast<T *>(at);
    return e;
}
static inline cudaError_t cudaMallocHost(void **p, size_t bytes)
{
    return cudaMalloc(p, bytes);
}
static inline cudaError_t cudaFreeHost(void *p)
{
    return cudaFree(p);
}
static inline cudaError_t cudaMemcpy(void *to, const void *from, size_t bytes, cudaMemcpyKind)
{
    std::memmove(to, from, bytes);
    return cudaSuccess;
}
static inline cudaError_t cudaMemcpyAsync(void *to, const void *from, size_t bytes,
                                          cudaMemcpyKind kind, cudaStream_t = nullptr)
{
    return cudaMemcpy(to, from, bytes, kind);
}
static inline cudaError_t cudaMemset(void *to, int byte, size_t bytes)
{
    std::memset(to, byte, bytes);
    return cudaSuccess;
}
static inline cudaError_t cudaMemsetAsync(void *to, int byte, size_t bytes, cudaStream_t = nullptr)
{
    return cudaMemset(to, byte, bytes);
}
static inline cudaError_t cudaStreamCreate(cudaStream_t *s)
{
    *s = nullptr;
    return cudaSuccess;
}
static inline cudaError_t cudaStreamDestroy(cudaStream_t)
{
    return cudaSuccess;
}
static inline cudaError_t cudaStreamSynchronize(cudaStream_t)
{
    return cudaSuccess;
}
static inline cudaError_t cudaDeviceSynchronize()
{
    return cudaSuccess;
}
template <typename... A>
static inline cudaError_t cudaFuncSetAttribute(void (*kernel)(A...), cudaFuncAttribute, int bytes)
{
    return emulate::allow_shared(reinterpret_cast<const void *>(kernel),
                                 static_cast<size_t>(bytes));
}

#endif
