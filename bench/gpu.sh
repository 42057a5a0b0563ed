#!/usr/bin/env bash
# One command for a machine with a GPU: builds for that GPU, tests on it, and measures.
#
#   ./bench/gpu.sh                     all stages: build, test, sanitize, bench
#   ./bench/gpu.sh build test          those stages alone
#
#   build      the library, its CUDA tests, the programs and atrous_bench, in build/gpu, for this GPU's architecture alone
#   test       the CUDA tests, the CUDA rung of every operation, and selftest, on the GPU
#   sanitize   compute-sanitizer's four tools on the small cases, where it is installed
#   bench      atrous_bench on CUDA, cuDNN beside it where its header is found; writes bench/results/<gpu>.json and .md
#
# Each stage ends within 10 minutes on 16 cores; build, test and sanitize together do. Nothing is fetched: what the build
# needs (cmake/packages.txt) is installed, or lies unpacked in a folder named by CMAKE_PREFIX_PATH, or in .deps/usr.
# CUDNN_ROOT names a folder with cuDNN's include/ and lib/. The GPU's settings are left as they are.
#
# Status: 0 done; 1 a stage failed (the others still ran, unless it was the build); 2 wrong use; 77 no GPU here.
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

readonly out=build/gpu logs=build/gpu/logs no_gpu=77
readonly jobs=$(nproc)
[ -n "$(command -v nvcc)" ] || PATH=$PATH:/usr/local/cuda/bin

say() { printf '== %s\n' "$*"; }

# "NVIDIA H200, 9.0": the first GPU's name and compute capability; nothing where there is none.
gpu() { nvidia-smi --query-gpu=name,compute_cap --format=csv,noheader 2>/dev/null | head -n 1; }

need_gpu() {
  [ -n "$(gpu)" ] && return 0
  echo "gpu.sh: $1: no NVIDIA GPU was found here (nvidia-smi names none), so there is nothing to run on." >&2
  return "$no_gpu"
}

need_program() {
  [ -x "$out/$2" ] && return 0
  echo "gpu.sh: $1: $out/$2 is missing: run the stage build first." >&2
  return 1
}

# Runs a command with its output in a log, at most so many seconds; says how it went and shows the end of a failure.
#   logged NAME SECONDS COMMAND...
logged() {
  local name=$1 seconds=$2 start=$SECONDS status=0
  shift 2
  timeout "$seconds" "$@" >"$logs/$name.log" 2>&1 || status=$?
  if [ "$status" -eq 0 ]; then
    say "$name: ok, $((SECONDS - start)) s: $(tail -n 1 "$logs/$name.log")"
  else
    [ "$status" -eq 124 ] && echo "$name: stopped after $seconds s" >&2
    tail -n 30 "$logs/$name.log" >&2
    say "$name: FAILED with status $status after $((SECONDS - start)) s; the whole output is in $logs/$name.log"
  fi
  return "$status"
}

# ---- build

# The folder above cuDNN's include/, if it has a header: a place of its own, the toolkit, the system, a Python package.
find_cudnn() {
  local folder
  for folder in "${CUDNN_ROOT:-}" "$(dirname "$(dirname "$(command -v nvcc || echo /usr/local/cuda/bin/nvcc)")")" /usr/local/cuda /usr \
    "$(python3 -c 'import nvidia.cudnn as c; print(list(c.__path__)[0])' 2>/dev/null)"; do
    if [ -n "$folder" ] && [ -e "$folder/include/cudnn.h" ]; then
      echo "$folder"
      return
    fi
  done
}

stage_build() {
  local capability architectures cudnn options=()
  capability=$(gpu | sed 's/.*, *//')
  if [ -z "$capability" ]; then
    capability=9.0
    say "no GPU was found: building for compute capability $capability"
  fi
  architectures=${capability/./}-real
  [ "$capability" = 9.0 ] && architectures+=';90a-real'
  if [ -z "${CMAKE_PREFIX_PATH:-}" ] && [ -d .deps/usr ]; then export CMAKE_PREFIX_PATH=$PWD/.deps/usr; fi
  cudnn=$(find_cudnn)
  if [ -n "$cudnn" ]; then
    options+=(-DATROUS_BENCH_CUDNN=ON "-DCUDNN_ROOT=$cudnn")
  else
    say "cuDNN's header was not found: no column of it (CUDNN_ROOT can name its folder)"
  fi
  command -v ninja >/dev/null && options+=(-G Ninja)
  command -v ccache >/dev/null && options+=(-DCMAKE_CXX_COMPILER_LAUNCHER=ccache)
  logged configure 120 cmake -S . -B "$out" -DCMAKE_BUILD_TYPE=Release -DATROUS_WITH_CUDA=ON \
    "-DATROUS_CUDA_ARCHITECTURES=$architectures" -DATROUS_BUILD_TESTS=ON -DATROUS_BUILD_BENCH=ON -DATROUS_BUILD_EXAMPLES=ON \
    "${options[@]}" || return 1
  grep -E '^-- atrous:' "$logs/configure.log"
  logged build 580 cmake --build "$out" -j "$jobs" --target atrous_bench selftest train segment evaluate test_core test_autograd \
    test_cuda_device
}

# ---- test

stage_test() {
  need_gpu test || return
  need_program test tests/test_core || return
  local status=0
  logged selftest 90 "$out/examples/selftest" --device cuda --json "$logs/selftest.json" || status=1
  logged test_core 60 "$out/tests/test_core" || status=1
  logged test_cuda 150 "$out/tests/cuda/test_cuda_device" || status=1
  logged test_autograd 150 "$out/tests/test_autograd" '[cuda]' || status=1
  # Tests pass where they see no device: then nothing was shown.
  if grep -qs 'no CUDA device' "$logs"/test_*.log; then
    echo "gpu.sh: test: the tests saw no CUDA device, though nvidia-smi names one: see $logs" >&2
    status=1
  fi
  return "$status"
}

# ---- sanitize

stage_sanitize() {
  need_gpu sanitize || return
  need_program sanitize examples/selftest || return
  if ! command -v compute-sanitizer >/dev/null; then
    say "sanitize: compute-sanitizer is not installed, so nothing was checked"
    return 0
  fi
  local status=0 tool
  for tool in memcheck racecheck initcheck synccheck; do
    logged "$tool" 75 compute-sanitizer --tool "$tool" --error-exitcode 1 \
      "$out/examples/selftest" --device cuda --quick --checks oracle,repeats && continue
    if grep -q 'Device not supported' "$logs/$tool.log"; then
      say "sanitize: compute-sanitizer does not work on this machine (Device not supported), so nothing was checked"
      return 0
    fi
    status=1
  done
  return "$status"
}

# ---- bench

# The rows that matter most come first; each step may take what its line says and the stage 9 minutes and a half in all.
stage_bench() {
  need_gpu bench || return
  need_program bench bench/atrous_bench || return
  command -v python3 >/dev/null || { echo "gpu.sh: bench: python3 is missing; it makes the table" >&2; return 1; }
  local begin=$SECONDS step=0 runs=() name slug
  name=$(gpu | sed 's/, *[0-9.]*$//')
  slug=$(printf '%s' "$name" | tr '[:upper:]' '[:lower:]' | tr -cs 'a-z0-9' '-' | sed 's/-*$//')
  measure() {
    local limit=$1 left=$((570 - (SECONDS - begin)))
    shift
    [ "$left" -lt 15 ] && { say "bench: no time is left for $1"; return; }
    [ "$limit" -gt "$left" ] && limit=$left
    step=$((step + 1))
    rm -f "$logs/bench_$step.json"
    runs+=("$logs/bench_$step.json")
    # A step that its limit cuts off has written the rows it got to.
    logged "bench_$step" "$limit" "$out/bench/atrous_bench" --device=cuda --benchmark_min_time=0.5 \
      --benchmark_out_format=json "--benchmark_out=$logs/bench_$step.json" "--benchmark_filter=$1" || true
  }
  measure 330 'b8/.*(bf16|tf32)|^(yardstick/copy/)?(bilinear|bn|xent|upxent)/.*b8/.*f32'
  measure 90 '^(model|train)/'
  measure 240 '^(yardstick/[a-z]*/)?(conv|deconv|dw|sep).*b8/.*/f32'
  measure 240 'b1/([a-z_]*/)?cuda/bf16'
  python3 bench/gpu_table.py --gpu "$name" --targets bench/targets.txt --out "bench/results/$slug" "${runs[@]}" || return 1
  say "bench: wrote bench/results/$slug.json and bench/results/$slug.md"
}

# ---- main

stages=("$@")
[ "${#stages[@]}" -gt 0 ] || stages=(build test sanitize bench)
for stage in "${stages[@]}"; do
  case "$stage" in
    build | test | sanitize | bench) ;;
    -h | --help)
      sed -n '2,/^set/p' "${BASH_SOURCE[0]}" | sed '$d; s/^# \{0,1\}//'
      exit 0
      ;;
    *)
      echo "gpu.sh: unknown stage \"$stage\"; known are build, test, sanitize, bench" >&2
      exit 2
      ;;
  esac
done

mkdir -p "$logs"
say "${stages[*]}: $(gpu | grep . || echo 'no GPU'), $jobs processors"
status=0
for stage in "${stages[@]}"; do
  start=$SECONDS
  "stage_$stage"
  result=$?
  say "$stage: $([ "$result" -eq 0 ] && echo done || echo "ended with status $result") after $((SECONDS - start)) s"
  [ "$status" -eq 0 ] && status=$result
  if [ "$result" -ne 0 ] && { [ "$stage" = build ] || [ "$result" -eq "$no_gpu" ]; }; then break; fi
done
exit "$status"
