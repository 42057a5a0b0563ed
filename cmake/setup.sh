# Sourced by examples/run.sh and tests/run.sh: installs what is missing and goes to the root of the clone.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

say() { printf '== %s\n' "$*"; }

missing=()
while read -r package _; do
  case "$package" in ''|'#'*) continue ;; esac
  dpkg-query -W -f '${Status}' "$package" 2>/dev/null | grep -q 'ok installed' || missing+=("$package")
done < cmake/packages.txt

if [ "${#missing[@]}" -gt 0 ]; then
  say "installing ${missing[*]}"
  as_root=()
  if [ "$(id -u)" -ne 0 ]; then
    command -v sudo >/dev/null || { echo "not root and no sudo: please install ${missing[*]}" >&2; exit 1; }
    as_root=(sudo)
  fi
  "${as_root[@]}" apt-get update -qq
  "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
fi

# Configures and builds a preset; a compiler cache is used where there is one.
build() {
  local preset=$1
  shift
  local launcher=()
  command -v ccache >/dev/null && launcher=(-DCMAKE_CXX_COMPILER_LAUNCHER=ccache -DCMAKE_CUDA_COMPILER_LAUNCHER=ccache)
  say "configuring $preset"
  mkdir -p "build/$preset"
  cmake --preset "$preset" "${launcher[@]}" >"build/$preset/configure.log" || { cat "build/$preset/configure.log"; exit 1; }
  grep -E '^-- atrous:' "build/$preset/configure.log" || true
  say "building $preset"
  cmake --build --preset "$preset" "$@"
}
