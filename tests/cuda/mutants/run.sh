#!/usr/bin/env bash
# Compiles one mutant of mutants.txt into the checked test program, runs its tests, and passes if they say what they must.
#   run.sh <settings of the build> <mutant>
set -euo pipefail
source "$1"  # compile, include, link, objects, rest, root, folder: written by CMake
name=$2

# The value of one key of this mutant.
value() {
  awk -v name="$name" -v key="$1" '
    $1 == "mutant" { inside = $2 == name }
    inside && $1 == key { sub(/^[a-z]+ +/, ""); print; exit }' "$root/tests/cuda/mutants/mutants.txt"
}
file=$(value file) source=$(value source) find=$(value find) write=$(value write) test=$(value test) says=$(value says) nth=$(value nth)
: "${source:=$file}"

work=$folder/$name
rm -rf "$work"
mkdir -p "$work/atrous/kernels/$(dirname "$file")"
mutated=$work/atrous/kernels/$file
if ! FIND=$find WRITE=$write NTH=$nth awk '
  BEGIN { nth = ENVIRON["NTH"] }
  { line = $0; gsub(/^ +| +$/, "", line) }
  line == ENVIRON["FIND"] && (++found == nth || nth == "") { print ENVIRON["WRITE"]; next }
  { print }
  END { exit (nth == "" ? found == 1 : found >= nth) ? 0 : 1 }' "$root/kernels/$file" >"$mutated"; then
  echo "stale mutant: kernels/$file does not hold this line once: $find"
  exit 1
fi

input=$root/kernels/$source
[ "$source" = "$file" ] && input=$mutated
$compile -w -I"$work" $include -x c++ -c "$input" -o "$work/mutant.o"
# The mutant's objects in place of the originals.
kept=()
for object in $objects; do
  [[ $object == *"/kernels/$source.o" ]] || kept+=("$object")
done
# shellcheck disable=SC2086
$link "$work/mutant.o" "${kept[@]}" $rest -o "$work/test"

status=0
timeout 300 "$work/test" "$test" --abort >"$work/output" 2>&1 || status=$?
rm -f "$work/test"
if [ "$status" -eq 0 ]; then
  echo "not caught: $test passes"
  exit 1
fi
says=${says//wrong result/FAILED}
if ! grep -m 1 -E -e "${says// | /|}" "$work/output"; then
  echo "caught (status $status), and nowhere called \"$says\":"
  grep -E "emulator:|FAILED|message|[Aa]ssert" "$work/output" | head -20
  exit 1
fi
