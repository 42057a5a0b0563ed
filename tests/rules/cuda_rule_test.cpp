#include <filesystem>
#include <fstream>
#include <iterator>
#include <regex>
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

TEST_CASE("CUDA rule: the names of device functions end in _kernel, as tests/cuda/coverage.sh looks for them",
          "[rules]") {
  const std::regex bounds("__launch_bounds__\\((?:[^()]|\\([^()]*\\))*\\)"),
      declared("__global__\\s+void\\s+(\\w+)\\s*\\(");
  int found = 0;
  for (const auto& entry : fs::recursive_directory_iterator(fs::path(ATROUS_SOURCE_DIR) / "kernels")) {
    if (entry.path().extension() != ".cu" && entry.path().extension() != ".cuh") continue;
    std::ifstream file(entry.path());
    const std::string text =
        std::regex_replace(std::string(std::istreambuf_iterator<char>(file), {}), bounds, "");
    for (std::sregex_iterator m(text.begin(), text.end(), declared), end; m != end; ++m, ++found) {
      INFO(entry.path().filename().string());
      CHECK_THAT((*m)[1].str(), Catch::Matchers::EndsWith("_kernel"));
    }
  }
  CHECK(found > 30);
}

TEST_CASE("CUDA rule: the rule itself tells right from wrong", "[rules]") {
  CHECK(objection("  kernel<<<1, 32>>>(x);") != "");
  CHECK(objection("  __shared__ float tile[32];") != "");
  CHECK(objection("  asm volatile(\"bar.sync 0;\");") != "");
  CHECK(objection("  ATROUS_SHARED(float, tile, [32]);  // not __shared__") == "");
  CHECK(objection("  std::int64_t i = a << 3;") == "");
}

}  // namespace atrous::tests
