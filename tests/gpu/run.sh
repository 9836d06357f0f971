#!/usr/bin/env bash
# On a machine with an NVIDIA GPU and nvcc: builds the kernels' tests for it, compares every kernel
# with the processor's scalar ones, and prints the speed table. Needs nothing but nvcc and a C compiler;
# where the rest of Carrel can be built (scripts/packages.txt), whole models run through the plug-in too.
#   tests/gpu/run.sh [folder for what is built]     (default build/gpu)
#   tests/gpu/run.sh --compile [folder]             builds only, for sm_80, sm_90 and PTX
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

compile_only=0
if [ "${1:-}" = --compile ]; then
  compile_only=1
  shift
fi
out=${1:-build/gpu}
mkdir -p "$out"

command -v nvcc >/dev/null || { echo "no nvcc: nothing was checked" >&2; exit 1; }
arch=(-arch=native)
if [ "$compile_only" = 1 ]; then
  arch=(-gencode arch=compute_80,code=sm_80 -gencode 'arch=compute_90,code=[sm_90,compute_90]')
elif ! nvidia-smi -L; then
  echo "no GPU here: nothing was checked (--compile builds only)" >&2
  exit 1
fi

# What the tests compare with: the processor's side, plain C.
objects=()
for c in model/tensor.c model/quant.c model/quant_k.c model/pack.c model/pool.c model/cpu_scalar.c base/status.c; do
  o=$out/$(basename "$c" .c).o
  "${CC:-cc}" -std=c11 -D_GNU_SOURCE -O2 -ffp-contract=off -fPIC -I. -c "$c" -o "$o"
  objects+=("$o")
done

build() { # source program
  echo "building $1"
  nvcc -std=c++17 -O2 -fmad=false -Werror all-warnings -D_GNU_SOURCE -I. "${arch[@]}" -x cu -c "$1" -o "$out/$2.o"
  nvcc "${arch[@]}" "$out/$2.o" "${objects[@]}" -lpthread -o "$out/$2"
}

tests=(matmul attend)
for t in "${tests[@]}"; do
  build "tests/gpu/${t}_test.cc" "test-$t"
done
build tests/gpu/speed.cu speed
[ "$compile_only" = 0 ] || { echo "built for sm_80, sm_90 and PTX; nothing was run"; exit 0; }

for t in "${tests[@]}"; do
  "$out/test-$t"
done

if cmake --preset debug -B "$out/all" >"$out/cmake.log" 2>&1; then
  cmake --build "$out/all" --target cuda_plug_in test-gpu-pass >"$out/build.log" 2>&1 || { tail -30 "$out/build.log"; exit 1; }
  CARREL_CUDA_PLUG_IN=$(realpath "$out/all/bin/carrel-cuda.so") "$out/all/tests/test-gpu-pass"
else
  echo "whole models are left out: Carrel cannot be configured here ($out/cmake.log)"
fi
"$out/speed"

# The same arithmetic by PyTorch, where it is there: the ceiling that other runtimes reach.
if python3 -c 'import torch' 2>/dev/null; then
  python3 - <<'PY'
import torch
def seconds(f, runs=20):
    for _ in range(3): f()
    a, b = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
    a.record()
    for _ in range(runs): f()
    b.record(); torch.cuda.synchronize()
    return a.elapsed_time(b) / 1e3 / runs
d = dict(device='cuda', dtype=torch.bfloat16)
a, b = torch.randn(8192, 8192, **d), torch.randn(8192, 8192, **d)
print(f"PyTorch bf16 8192^3: {2 * 8192**3 / seconds(lambda: a @ b) / 1e12:.0f} TFLOP/s")
x, w = torch.randn(512, 4096, **d), torch.randn(14336, 4096, **d)
print(f"PyTorch bf16 14336 x 4096, 512 tokens: {2 * 512 * 4096 * 14336 / seconds(lambda: x @ w.T) / 1e12:.0f} TFLOP/s")
ws = [torch.randn(14336, 4096, **d) for _ in range(8)]; x = torch.randn(1, 4096, **d); i = [0]
def one():
    i[0] += 1
    return x @ ws[i[0] % 8].T
print(f"PyTorch bf16 14336 x 4096, 1 token: {2 * 4096 * 14336 / seconds(one, 80) / 1e9:.0f} GB/s")
PY
else
  echo "PyTorch is not here: its line is left out"
fi
