#include <filesystem>
#include <fstream>
#include <string>

#include "tests/support/catch.h"

// What CUDA sources leave to kernels/cuda.cuh, mma.cuh and wgmma.cuh, so that the emulator can run them.

namespace atrous::tests {
namespace {

namespace fs = std::filesystem;

// Why a line may not stand in a kernel's source; empty if it may.
std::string objection(const std::string& line) {
  const std::string code = line.substr(0, line.find("//"));
  const auto has = [&](const char* word) { return code.find(word) != std::string::npos; };
  if (has("<<<")) return "launches go through ATROUS_LAUNCH";
  if (has("__shared__")) return "shared memory comes from ATROUS_SHARED and ATROUS_DYN_SHARED";
  if (has("asm(") || has("asm volatile"))
    return "PTX stands in kernels/cuda.cuh, mma.cuh and wgmma.cuh, with a twin in the emulator";
  if (has("__activemask")) return "warp functions have explicit masks";
  if (has("#pragma unroll")) return "write ATROUS_UNROLL";
  return {};
}

}  // namespace

TEST_CASE("CUDA rule: kernels keep to what the emulator can run", "[rules]") {
  const fs::path kernels = fs::path(ATROUS_SOURCE_DIR) / "kernels";
  int files = 0;
  for (const auto& entry : fs::recursive_directory_iterator(kernels)) {
    const fs::path& path = entry.path();
    if (path.extension() != ".cu" && path.extension() != ".cuh") continue;
    if (path == kernels / "cuda.cuh" || path == kernels / "mma.cuh" || path == kernels / "wgmma.cuh")
      continue;
    ++files;
    std::ifstream text(path);
    int number = 0;
    for (std::string line; std::getline(text, line);) {
      ++number;
      const std::string why = objection(line);
      if (!why.empty()) FAIL_CHECK(path.filename().string() << ':' << number << ": " << why);
    }
  }
  CHECK(files > 10);
}

TEST_CASE("CUDA rule: the rule itself tells right from wrong", "[rules]") {
  CHECK(objection("  kernel<<<1, 32>>>(x);") != "");
  CHECK(objection("  __shared__ float tile[32];") != "");
  CHECK(objection("  asm volatile(\"bar.sync 0;\");") != "");
  CHECK(objection("  ATROUS_SHARED(float, tile, [32]);  // not __shared__") == "");
  CHECK(objection("  std::int64_t i = a << 3;") == "");
}

}  // namespace atrous::tests
