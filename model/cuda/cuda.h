/* A decoder on an NVIDIA GPU, through the plug-in carrel-cuda.so: all its layers, or the first so
 * many, the processor having the rest. Linux driver 580 or newer (CUDA 13), compute capability 8.0
 * or newer. */
#ifndef CARREL_MODEL_CUDA_CUDA_H
#define CARREL_MODEL_CUDA_CUDA_H

#include "model/backend.h"
#include "model/cuda/kernels.h"

/* UNAVAILABLE: no plug-in, driver or GPU, saying which; UNSUPPORTED: the model cannot run there;
 * NO_MEMORY: with the plan's figures. */
enum status backend_open_cuda(const struct model *m, const struct backend_options *o,
                              struct backend **out, struct error *err) MUST_CHECK;
/* The same on another's operations (the tests' emulated device). plug_in: taken; NULL: none. */
enum status cuda_open_with(const struct gpu_ops *ops, void *plug_in, const struct model *m,
                           const struct backend_options *o, struct backend **out,
                           struct error *err) MUST_CHECK;
/* What the first GPU could take of a model, without loading it: its layers, and the bytes of
 * weights, keys and values and a pass. */
struct cuda_fit {
    struct gpu_info gpu;
    uint32_t layers;
    uint64_t weights, keys_values, pass;
};
enum status cuda_fit(const struct model *m, const struct backend_options *o, struct cuda_fit *out,
                     struct error *err) MUST_CHECK;
/* Bytes a second that the backend's device reads and writes when it copies. */
enum status cuda_measure(struct backend *b, double *bytes_per_s, struct error *err) MUST_CHECK;
/* The first GPU, for those who ask before anything is loaded. UNAVAILABLE says why there is none.
 */
enum status cuda_probe(struct gpu_info *out, struct error *err) MUST_CHECK;

#endif
