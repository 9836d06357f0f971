# carrel_cuda_plug_in(): carrel-cuda.so beside the programs, from model/cuda/device.cu. Needs nvcc of
# CUDA 13 (host driver 580 or newer when it runs); without one, or under sanitizers, it is left out:
# models then run on the processor, and tests/gpu checks the kernels by its emulator.
option(CARREL_CUDA "Build the plug-in for NVIDIA GPUs where nvcc is found" ON)

function(carrel_cuda_plug_in)
  find_program(NVCC nvcc)
  if(NOT CARREL_CUDA OR CARREL_SANITIZE OR CARREL_FUZZ)
    return()
  endif()
  if(NOT NVCC)
    message(STATUS "no nvcc: carrel-cuda.so is not built, models run on the processor")
    return()
  endif()
  set(object ${CMAKE_CURRENT_BINARY_DIR}/cuda-device.o)
  set(plug_in ${CMAKE_RUNTIME_OUTPUT_DIRECTORY}/carrel-cuda.so)
  file(GLOB sources CONFIGURE_DEPENDS ${CMAKE_CURRENT_SOURCE_DIR}/cuda/*.cuh)
  set(headers ${CMAKE_CURRENT_SOURCE_DIR}/cuda/kernels.h ${CMAKE_CURRENT_SOURCE_DIR}/kernels.h
    ${CMAKE_CURRENT_SOURCE_DIR}/pack.h ${CMAKE_CURRENT_SOURCE_DIR}/tensor.h)
  # sm_80: A100 and, being of the same major version, the cards of 8.6 and 8.9; sm_90: H100 and H200;
  # the PTX is for what comes later
  add_custom_command(OUTPUT ${object}
    COMMAND ${CMAKE_CXX_COMPILER_LAUNCHER} ${NVCC} -std=c++17 -O3 -fmad=false -Werror all-warnings
      -D_GNU_SOURCE -I${CMAKE_SOURCE_DIR} -Xcompiler=-fPIC,-fvisibility=hidden,-Wall,-Wextra
      -gencode=arch=compute_80,code=sm_80 -gencode=arch=compute_90,code=sm_90
      -gencode=arch=compute_90,code=compute_90 -c ${CMAKE_CURRENT_SOURCE_DIR}/cuda/device.cu -o ${object}
    DEPENDS ${CMAKE_CURRENT_SOURCE_DIR}/cuda/device.cu ${sources} ${headers}
    COMMENT "nvcc model/cuda/device.cu" VERBATIM)
  # the host's packing of weights is carrel_model's own; the rest of it stays out
  add_custom_command(OUTPUT ${plug_in}
    COMMAND ${NVCC} -shared -arch=sm_80 -cudart=static -o ${plug_in} ${object} $<TARGET_FILE:carrel_model>
      $<TARGET_FILE:carrel_base> -Xlinker=--exclude-libs,ALL,-z,defs,-z,relro,-z,now -lpthread -lm
    DEPENDS ${object} carrel_model carrel_base
    COMMENT "carrel-cuda.so" VERBATIM)
  add_custom_target(cuda_plug_in ALL DEPENDS ${plug_in})
endfunction()
