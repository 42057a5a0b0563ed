#!/usr/bin/env bash
# What ptxas said of every kernel when the library was built: fails for a spill, for more registers or shared memory than
# ptxas_ceilings.txt allows.
#   ptxas.sh <folder with .ptxas files> <table>      ptxas.sh <folder> --print    prints the table as it is now
set -euo pipefail
logs=$(find "$1" -name '*.ptxas')
if [ -z "$logs" ]; then
  echo "no .ptxas files in $1"
  exit 1
fi
table=$2
[ "$table" = --print ] && table=/dev/null

# shellcheck disable=SC2086
cat $logs | c++filt | awk -v table="$table" '
  BEGIN {
    while ((getline line < table) > 0) {
      if (line ~ /^#/ || split(line, part, " ") < 3) continue
      most_registers[part[1]] = part[2]
      most_shared[part[1]] = part[3]
    }
  }
  function complain(text) { print text; failed = 1 }
  /Compiling entry function/ {
    name = $0
    sub(/.*Compiling entry function ./, "", name)
    architecture = $0
    sub(/.* for ./, "", architecture)
    sub(/.$/, "", architecture)
    full = name
    gsub(/\(anonymous namespace\)::/, "", name)
    match(name, /^[^<(]*/)
    name = substr(name, 1, RLENGTH)
    sub(/.*[: ]/, "", name)
  }
  /bytes spill stores/ && ($5 > 0 || $9 > 0) && table != "/dev/null" { complain("spills on " architecture ": " full "\n" $0) }
  /Used [0-9]+ registers/ {
    registers = shared = $0
    sub(/.*Used /, "", registers)
    registers += 0
    shared = match(shared, /[0-9]+ bytes smem/) ? substr(shared, RSTART, RLENGTH) + 0 : 0
    if (registers > seen_registers[name]) seen_registers[name] = registers
    if (shared > seen_shared[name]) seen_shared[name] = shared
    ++functions
    if (table == "/dev/null") next
    row = name in most_registers ? name : "others"
    if (registers > most_registers[row])
      complain(registers " registers on " architecture ", " most_registers[row] " allowed: " full)
    if (shared > most_shared[row])
      complain(shared " bytes of shared memory on " architecture ", " most_shared[row] " allowed: " full)
  }
  END {
    if (table == "/dev/null")
      for (name in seen_registers) printf "%-40s %3d %6d\n", name, seen_registers[name], seen_shared[name] | "sort"
    else
      print functions " functions"
    exit failed
  }'
