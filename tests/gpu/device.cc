/* The device's side of the CUDA backend on the emulator: struct gpu_ops as the plug-in has it. */
#include "model/cuda/device.cu"
