#include <algorithm>
#include <filesystem>
#include <fstream>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "tests/support/catch.h"

// The layers of the library, read off every #include in the tree:
//   core <- kernels <- autograd <- layers <- models;  io stands beside and includes core and kernels.
// tests, bench and examples may include anything.

namespace atrous::tests {
namespace {

namespace fs = std::filesystem;

const std::map<std::string, std::set<std::string>> kMayInclude = {
    {"core", {"core"}},
    {"kernels", {"core", "kernels"}},
    {"autograd", {"core", "kernels", "autograd"}},
    {"layers", {"core", "kernels", "autograd", "layers"}},
    {"models", {"core", "kernels", "autograd", "layers", "models", "io"}},
    {"io", {"core", "kernels", "io"}},
};

// Kernels work on spans: a test, a bench or a CUDA source calls one without any of these.
const std::set<std::string> kNotInKernels = {"core/tensor.h", "core/storage.h", "core/memory.h"};

// What a source that is compiled for one instruction set may take from outside: nothing with inline
// functions, which the linker would merge with everybody else's and run on processors without that set.
const std::set<std::string> kSimdMayInclude = {"cstddef", "cstdint", "immintrin.h"};

// "atrous/core/span.h" or "vector" from a line, or nothing.
std::string included(const std::string& line) {
  std::size_t at = line.find_first_not_of(" \t");
  if (at == std::string::npos || line[at] != '#') return {};
  at = line.find_first_not_of(" \t", at + 1);
  if (at == std::string::npos || line.compare(at, 7, "include") != 0) return {};
  const std::size_t open = line.find_first_of("\"<", at);
  if (open == std::string::npos) return {};
  const std::size_t close = line.find_first_of("\">", open + 1);
  return close == std::string::npos ? std::string() : line.substr(open + 1, close - open - 1);
}

// Why `file` (its path from the root) must not include `target`; empty if it may.
std::string objection(const std::string& file, const std::string& target) {
  const std::string folder = file.substr(0, file.find('/'));
  const bool simd = file.find("_simd.") != std::string::npos;
  if (target.rfind("atrous/", 0) != 0) {
    if (target.rfind("tests/", 0) == 0 || target.rfind("bench/", 0) == 0 || target.rfind("examples/", 0) == 0)
      return "the library does not include " + target.substr(0, target.find('/'));
    if (simd && !kSimdMayInclude.count(target))
      return "a source of one instruction set has no <" + target + ">";
    // Our own headers by another road ("span.h", "core/span.h", "../core/span.h").
    if (kMayInclude.count(target.substr(0, target.find('/'))) || target.find("..") != std::string::npos)
      return "headers are included from the root, as \"atrous/...\"";
    return {};
  }
  const std::string path = target.substr(7), to = path.substr(0, path.find('/'));
  if (!kMayInclude.count(to)) return "a library file includes headers of the folders alone";
  if (!kMayInclude.at(folder).count(to)) return folder + " does not include " + to;
  if (folder == "kernels" && kNotInKernels.count(path)) return "kernels know spans, not tensors";
  return {};
}

bool is_source(const fs::path& path) {
  static const std::set<std::string> endings = {".h", ".cpp", ".inc", ".cu", ".cuh"};
  return endings.count(path.extension().string()) > 0;
}

}  // namespace

TEST_CASE("include rule: no line goes the wrong way", "[rules]") {
  const fs::path root = ATROUS_SOURCE_DIR;
  int files = 0, lines = 0;
  for (const auto& [folder, allowed] : kMayInclude)
    for (const auto& entry : fs::recursive_directory_iterator(root / folder)) {
      if (!entry.is_regular_file() || !is_source(entry.path())) continue;
      ++files;
      const std::string file = fs::relative(entry.path(), root).generic_string();
      std::ifstream text(entry.path());
      int number = 0;
      for (std::string line; std::getline(text, line);) {
        ++number;
        const std::string target = included(line);
        if (target.empty()) continue;
        ++lines;
        const std::string why = objection(file, target);
        if (!why.empty()) FAIL_CHECK(file << ':' << number << " includes " << target << ": " << why);
        // A sibling by its bare name.
        if (line.find('"') != std::string::npos && target.rfind("atrous/", 0) != 0 &&
            fs::exists(entry.path().parent_path() / target))
          FAIL_CHECK(file << ':' << number << " includes " << target << ": write the path from the root");
      }
    }
  INFO(files << " files, " << lines << " lines");
  CHECK(files > 50);
  CHECK(lines > 200);
}

TEST_CASE("include rule: the rule itself tells right from wrong", "[rules]") {
  CHECK(included("#include <vector>") == "vector");
  CHECK(included("  #  include \"atrous/core/span.h\"  // why") == "atrous/core/span.h");
  CHECK(included("// #include <vector>").empty());
  CHECK(included("#define X").empty());

  CHECK(objection("kernels/relu/relu.h", "atrous/core/span.h").empty());
  CHECK(objection("models/net.cpp", "atrous/io/image.h").empty());
  CHECK(objection("kernels/gemm/gemm_cpu.cpp", "Eigen/Core").empty());
  CHECK(objection("kernels/a/a_simd.cpp", "atrous/kernels/simd_vector.h").empty());

  CHECK(!objection("core/span.h", "atrous/kernels/kernel.h").empty());
  CHECK(!objection("kernels/relu/relu.h", "atrous/core/tensor.h").empty());
  CHECK(!objection("kernels/relu/relu.h", "atrous/autograd/op.h").empty());
  CHECK(!objection("autograd/op.h", "atrous/layers/layer.h").empty());
  CHECK(!objection("io/npy.h", "atrous/autograd/op.h").empty());
  CHECK(!objection("layers/layer.h", "atrous/io/npy.h").empty());
  CHECK(!objection("core/span.h", "tests/support/catch.h").empty());
  CHECK(!objection("core/span.h", "core/device.h").empty());
  CHECK(!objection("core/span.h", "atrous/atrous.h").empty());
  CHECK(!objection("kernels/a/a_simd.cpp", "vector").empty());
  CHECK(!objection("kernels/a/a_simd.cpp", "Eigen/Core").empty());
}

}  // namespace atrous::tests
