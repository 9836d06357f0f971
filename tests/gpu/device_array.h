/* Arrays that lie on the device. */
#ifndef CARREL_TESTS_GPU_DEVICE_ARRAY_H
#define CARREL_TESTS_GPU_DEVICE_ARRAY_H

#include "tests/gpu/check.h"

/* n values on the device, copied there from a vector and back. */
template <typename T> class device_array
{
  public:
    explicit device_array(size_t n) : n_(n)
    {
        CHECK(cudaMalloc(&p_, n * sizeof(T)) == cudaSuccess);
        CHECK(cudaMemset(p_, 0xFF, n * sizeof(T)) == cudaSuccess);
    }
    explicit device_array(const std::vector<T> &from) : device_array(from.size())
    {
        CHECK(cudaMemcpy(p_, from.data(), n_ * sizeof(T), cudaMemcpyHostToDevice) == cudaSuccess);
    }
    device_array(const device_array &) = delete;
    device_array &operator=(const device_array &) = delete;
    ~device_array()
    {
        (void)cudaFree(p_);
    }
    T *get() const
    {
        return p_;
    }
    std::vector<T> host() const
    {
        std::vector<T> v(n_);
        CHECK(cudaDeviceSynchronize() == cudaSuccess);
        CHECK(cudaGetLastError() == cudaSuccess);
        CHECK(cudaMemcpy(v.data(), p_, n_ * sizeof(T), cudaMemcpyDeviceToHost) == cudaSuccess);
        return v;
    }

  private:
    size_t n_;
    T *p_ = nullptr;
};

#endif
