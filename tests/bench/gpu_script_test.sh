#!/usr/bin/env bash
# bench/gpu.sh as a stranger uses it, with a GPU and without: gpu_script_test.sh SOURCE_DIR ATROUS_BENCH. The GPU, the
# sanitizer and the built programs are stand-ins; the targets' rows are looked up in the real list of rows.
set -uo pipefail
source_dir=$1
atrous_bench=$2
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
failures=0

expect() {
  local what=$1
  shift
  "$@" && return
  echo "FAILED: $what" >&2
  failures=$((failures + 1))
}
# A stand-in: stand_in PATH 'shell text'
stand_in() {
  mkdir -p "$(dirname "$1")"
  printf '#!/usr/bin/env bash\n%s\n' "$2" >"$1"
  chmod +x "$1"
}
# Runs the script; leaves $status, $scratch/out and $scratch/err.
gpu() {
  "$scratch/bench/gpu.sh" "$@" >"$scratch/out" 2>"$scratch/err"
  status=$?
}

mkdir "$scratch/bench"
cp "$source_dir"/bench/{gpu.sh,gpu_table.py,targets.txt} "$scratch/bench"
export PATH=$scratch/path:$PATH

# ---- wrong use
gpu --help
expect "--help ends with 0" test "$status" -eq 0
expect "--help names the stages" grep -q sanitize "$scratch/out"
gpu test nonsense
expect "an unknown stage ends with 2" test "$status" -eq 2
expect "an unknown stage is named" grep -q nonsense "$scratch/err"

# ---- no GPU
stand_in "$scratch/path/nvidia-smi" 'exit 9'
for stage in test sanitize bench; do
  gpu "$stage"
  expect "$stage without a GPU has a status of its own" test "$status" -eq 77
  expect "$stage without a GPU says one sentence" test "$(wc -l <"$scratch/err")" -eq 1
done

# ---- a GPU, nothing built
stand_in "$scratch/path/nvidia-smi" 'echo "NVIDIA Stand-in 1, 9.0"'
gpu test
expect "test before build fails" test "$status" -eq 1
expect "test before build says what to do" grep -q 'run the stage build first' "$scratch/err"

# ---- build: for this GPU, with what lies in .deps, as far as it goes
mkdir -p "$scratch/.deps/usr"
cp "$source_dir/tests/bench/stand_in_cmake.sh" "$scratch/path/cmake"
export STAND_IN_SAID=$scratch/cmake_said
gpu build
expect "build passes" test "$status" -eq 0
expect "build is for this GPU's architecture, 90a beside it" grep -q 'ARCHITECTURES=90-real;90a-real' "$STAND_IN_SAID"
expect "build looks into .deps" grep -q "^prefix .*/.deps/usr$" "$STAND_IN_SAID"
expect "build makes what the other stages run" grep -q 'target atrous_bench .*selftest .*test_cuda_device' "$STAND_IN_SAID"
STAND_IN_BUILD=fails gpu build test
expect "a failed build fails" test "$status" -eq 1
expect "a failed build shows its end" grep -q 'error: something' "$scratch/err"
expect "a failed build lets the next stage look for itself" grep -q 'run the stage build first' "$scratch/err"
rm "$scratch/path/cmake"

# ---- everything there
bin=$scratch/build/gpu
stand_in "$bin/examples/selftest" 'echo "PASS: $*"'
for program in examples/{scenes,train,evaluate,segment} tests/test_core tests/test_autograd tests/test_models tests/cuda/test_cuda_device; do
  stand_in "$bin/$program" 'echo "All tests passed"'
done
gpu test
expect "passing tests pass" test "$status" -eq 0
stand_in "$bin/tests/test_core" 'echo "warning: no CUDA device: skipped"; echo "All tests passed"'
gpu test
expect "tests that saw no device fail" test "$status" -eq 1
stand_in "$bin/tests/test_core" 'echo "3 tests failed"; exit 3'
gpu test
expect "a failing test fails" test "$status" -eq 1
expect "a failing test shows its output" grep -q '3 tests failed' "$scratch/err"

stand_in "$bin/tests/test_core" 'echo "All tests passed"'
rm "$bin/tests/test_models"
gpu test
expect "a program that was not built fails" test "$status" -eq 1
expect "the others run all the same" grep -q '^== segment: ok' "$scratch/out"
stand_in "$bin/tests/test_models" 'sleep 60'
ATROUS_GPU_SECONDS=9 gpu test
expect "a test that is stopped fails" test "$status" -eq 1
expect "the call ends in its time, and says what it cut" grep -q '^== test_models: STOPPED after' "$scratch/out"
expect "and what it left out" grep -q '^== scenes: left out' "$scratch/out"
ATROUS_GPU_SECONDS=soon gpu test
expect "a time that is none is wrong use" test "$status" -eq 2
stand_in "$bin/tests/test_models" 'echo "3 tests failed"; exit 3'

stand_in "$scratch/path/compute-sanitizer" 'echo "$*"'
gpu sanitize
expect "a clean sanitizer passes" test "$status" -eq 0
for tool in memcheck racecheck initcheck synccheck; do expect "$tool ran" grep -q "^== $tool: ok" "$scratch/out"; done
stand_in "$scratch/path/compute-sanitizer" 'echo "hazard"; exit 1'
gpu sanitize
expect "a hazard fails" test "$status" -eq 1
stand_in "$scratch/path/compute-sanitizer" 'echo "Error: Device not supported"; exit 1'
gpu sanitize
expect "a sanitizer that does not work here is no failure" test "$status" -eq 0

if command -v python3 >/dev/null; then
  # The first row reaches its target, the second is a miss; the file ends in the middle of a row.
  stand_in "$bin/bench/atrous_bench" 'for a in "$@"; do case "$a" in --benchmark_out=*) file=${a#*=} ;; esac; done
cat >"$file" <<ROWS
{ "context": { "date": "today", "caches": [ { "level": 1 } ] },
  "benchmarks": [
    {"name": "a", "run_name": "dw3x3/h129w129c256r1b8/forward/cuda/bf16/iterations:1/manual_time", "run_type": "iteration", "real_time": 0.040, "time_unit": "ms"},
    {"name": "b", "run_name": "dw3x3/h129w129c256r1b8/backward_weight/cuda/bf16/iterations:1/manual_time", "run_type": "iteration", "real_time": 0.080, "time_unit": "ms"},
    {"name": "c", "run_name": "yardstick/copy/dw3x3/h129w129c256r1b8/cuda/bf16/iterations:1/manual_time", "run_type": "iteration", "real_time": 0.038, "time_unit": "ms"},
    {"name": "d", "run_name": "dw3x3/h129w129c256r1b8/backward_input/cuda/bf16/iterations:1/manual_time", "run_type": "iteration", "real_
ROWS'
  gpu bench
  table=$scratch/bench/results/nvidia-stand-in-1.md
  expect "bench with a missed target ends with 0" test "$status" -eq 0
  expect "a reached target is a pass" grep -q '^| depthwise 129x129 forward, against a copy | 40.0 | 38.0 | 0.95 | 0.85 | pass |' "$table"
  expect "a missed target is a miss" grep -q '^| depthwise 129x129 gradient of the weight .* | miss |' "$table"
  expect "a row that is not there is said" grep -q 'gradient of x .*not measured: no row' "$table"
  expect "the numbers are kept" grep -q '"seconds": 4' "${table%.md}.json"

  stand_in "$bin/tests/test_core" 'echo "3 tests failed"; exit 3'
  gpu test bench
  expect "a failed stage stays in the status" test "$status" -eq 1
  expect "the next stage runs all the same" grep -q '^== bench: done' "$scratch/out"
fi

# ---- the targets name rows that exist
"$atrous_bench" --device=cuda --benchmark_list_tests | sed 's|/iterations:1/manual_time||; s|/real_time||' | sort >"$scratch/rows"
grep -v '^#' "$source_dir/bench/targets.txt" | grep . | awk '{ print $2 "+" $3 }' | tr '+' '\n' | grep -v /cudnn/ | sort -u >"$scratch/wanted"
missing=$(comm -23 "$scratch/wanted" "$scratch/rows")
expect "every row of targets.txt exists; missing: $missing" test -z "$missing"
expect "the list of targets is not empty" test -s "$scratch/wanted"

[ "$failures" -eq 0 ] && echo "gpu.sh: all as expected"
exit "$((failures > 0))"
