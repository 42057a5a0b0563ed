#!/usr/bin/env bash
# One command for a machine with a GPU: builds for that GPU, tests on it, and measures.
#
#   ./bench/gpu.sh                     all stages: build, test, sanitize, bench
#   ./bench/gpu.sh build test          those stages alone
#
#   build      the library, its CUDA tests, the programs and atrous_bench, in build/gpu, for this GPU's architecture alone
#   test       selftest, the CUDA tests, the CUDA rung of every operation, and train, evaluate and segment, on the GPU
#   sanitize   compute-sanitizer's four tools on the small cases, where it is installed
#   bench      atrous_bench on CUDA, cuDNN beside it where its header is found; writes bench/results/<gpu>.json and .md
#
# Each stage ends within 10 minutes on 16 cores; build, test and sanitize together do. Nothing is fetched: what the build
# needs (cmake/packages.txt) is installed, or lies unpacked in a folder named by CMAKE_PREFIX_PATH, or in .deps/usr.
# CUDNN_ROOT names a folder with cuDNN's include/ and lib/. The GPU's settings are left as they are. What is printed is short;
# whole outputs are in build/gpu/logs. ATROUS_GPU_SECONDS is the time of the whole call, for machines that are lent by the minute:
# steps are cut short or left out so that it ends by then, and says so.
#
# Status: 0 done; 1 a stage failed (the others still ran, with what was built); 2 wrong use; 77 no GPU here.
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

readonly out=build/gpu logs=build/gpu/logs no_gpu=77
jobs=$(nproc)
readonly jobs
[ -n "$(command -v nvcc)" ] || PATH=$PATH:/usr/local/cuda/bin

readonly limit=${ATROUS_GPU_SECONDS:-1000000}
case "$limit" in '' | *[!0-9]*) echo "gpu.sh: ATROUS_GPU_SECONDS=$limit is not a number of seconds" >&2; exit 2 ;; esac

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

# Runs a command with its output in a log, at most so many seconds (and what ATROUS_GPU_SECONDS leaves); says how it went and shows
# the end of a failure. Its status: 124 if it was stopped.
#   logged NAME SECONDS COMMAND...
logged() {
  local name=$1 seconds=$2 start=$SECONDS status=0
  shift 2
  [ "$seconds" -gt $((limit - SECONDS)) ] && seconds=$((limit - SECONDS))
  if [ "$seconds" -lt 5 ]; then
    say "$name: left out: the time is up"
    return 124
  fi
  timeout -k 10 "$seconds" "$@" >"$logs/$name.log" 2>&1 || status=$?
  if [ "$status" -eq 0 ]; then
    say "$name: ok, $((SECONDS - start)) s: $(tail -n 1 "$logs/$name.log" | cut -c 1-300)"
    return 0
  fi
  tail -n 30 "$logs/$name.log" | cut -c 1-400 >&2
  if [ "$status" -eq 124 ] || [ "$status" -eq 137 ]; then
    say "$name: STOPPED after $((SECONDS - start)) s; the output so far is in $logs/$name.log"
    return 124
  fi
  say "$name: FAILED with status $status after $((SECONDS - start)) s; the whole output is in $logs/$name.log"
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
  # What can be built is built (-k): one target that does not compile on this machine leaves the others to be run.
  local on='-k'
  grep -q '^CMAKE_GENERATOR:INTERNAL=Ninja' "$out/CMakeCache.txt" && on='-k 0'
  local status=0
  # shellcheck disable=SC2086
  logged build 560 cmake --build "$out" -j "$jobs" --target atrous_bench selftest train segment evaluate scenes \
    test_core test_autograd test_models test_cuda_device -- $on || status=1
  if [ "$status" -ne 0 ] && [ -n "$cudnn" ] && grep -q cudnn "$logs/build.log" && [ ! -x "$out/bench/atrous_bench" ]; then
    say "build: once more without cuDNN"
    cp "$logs/build.log" "$logs/build_cudnn.log"
    cmake -B "$out" -DATROUS_BENCH_CUDNN=OFF >/dev/null && logged build 300 cmake --build "$out" -j "$jobs" --target atrous_bench
  fi
  return "$status"
}

# ---- test

# A program that the build could not make is a failure of its own, not of the rest.
checked() {
  local name=$1 seconds=$2 program=$3
  if [ -x "$program" ]; then
    shift 3
    logged "$name" "$seconds" "$program" "$@"
  else
    say "$name: FAILED: $program was not built"
    return 1
  fi
}

# train, evaluate and segment, as a user runs them.
programs() {
  local run=build/gpu/run
  rm -rf "$run"
  checked scenes 30 "$out/examples/scenes" --size 161x161 --train 16 --val 4 --out "$run/scenes" &&
    checked train 90 "$out/examples/train" --device cuda --data "folder:$run/scenes" --classes 6 --batch 8 --steps 40 --out "$run" &&
    checked train_tf32 60 "$out/examples/train" --device cuda --tf32 --data "folder:$run/scenes" --classes 6 --batch 8 --steps 10 \
      --out "$run/tf32" &&
    checked evaluate 30 "$out/examples/evaluate" --device cuda --data "folder:$run/scenes" --weights "$run/checkpoint.safetensors" &&
    checked segment 30 "$out/examples/segment" --device cuda --weights "$run/checkpoint.safetensors" --out "$run/pictures" \
      "$run/scenes/val/scene_0.png"
}

stage_test() {
  need_gpu test || return
  need_program test examples/selftest || return
  local status=0
  rm -f "$logs"/test_*.log
  checked selftest 90 "$out/examples/selftest" --device cuda --json "$logs/selftest.json" || status=1
  checked test_core 60 "$out/tests/test_core" || status=1
  checked test_cuda 120 "$out/tests/cuda/test_cuda_device" || status=1
  checked test_autograd 120 "$out/tests/test_autograd" '[cuda]' || status=1
  checked test_models 60 "$out/tests/test_models" '[cuda]' || status=1
  programs || status=1
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
  rm -f "$logs"/*check.log
  for tool in memcheck racecheck synccheck initcheck; do
    local result=0
    logged "$tool" 75 compute-sanitizer --tool "$tool" --error-exitcode 1 \
      "$out/examples/selftest" --device cuda --quick --checks oracle,repeats || result=$?
    [ "$result" -eq 0 ] && continue
    if grep -q 'Device not supported' "$logs/$tool.log" 2>/dev/null; then
      say "sanitize: compute-sanitizer does not work on this machine (Device not supported), so nothing was checked"
      return 0
    fi
    status=1
    # A tool that was stopped may have had nothing to say: the difference matters to whoever reads this.
    if [ "$result" -eq 124 ] && [ -e "$logs/$tool.log" ]; then
      if grep -qE '^=+ +(Invalid|Error|ERROR|Warning|Uninitialized|Barrier|Race|Program hit)' "$logs/$tool.log"; then
        say "sanitize: $tool had found something by then"
      else
        say "sanitize: $tool had found nothing by then"
      fi
    fi
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
  rm -f "$logs"/bench_*.json
  name=$(gpu | sed 's/, *[0-9.]*$//')
  slug=$(printf '%s' "$name" | tr '[:upper:]' '[:lower:]' | tr -cs 'a-z0-9' '-' | sed 's/-*$//')
  measure() {
    local seconds=$1 left=$((570 - (SECONDS - begin)))
    shift
    [ "$left" -gt $((limit - SECONDS - 5)) ] && left=$((limit - SECONDS - 5))
    [ "$left" -lt 15 ] && { say "bench: no time is left for $1"; return; }
    [ "$seconds" -gt "$left" ] && seconds=$left
    step=$((step + 1))
    rm -f "$logs/bench_$step.json"
    runs+=("$logs/bench_$step.json")
    # A step that its limit cuts off has written the rows it got to.
    logged "bench_$step" "$seconds" "$out/bench/atrous_bench" --device=cuda --benchmark_min_time=0.5 \
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
  [ "$result" -eq "$no_gpu" ] && break
done
exit "$status"
