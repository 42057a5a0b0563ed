#include <cxxabi.h>
#include <dlfcn.h>
#include <execinfo.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <set>
#include <string>
#include <unordered_set>

#include "tests/support/cuda_emulator/state.h"

// Which functions of the library have given work to the device: the functions on the host's stack at a
// launch, by name. With ATROUS_EMU_COVERAGE=folder in the environment the names are written to a file there
// when the program ends; tests/cuda/coverage compares them with the kernels that the headers declare.

namespace atrous::emu {
namespace {

std::unordered_set<void*> g_return_addresses;

void write_names() {
  std::string path = std::string(std::getenv("ATROUS_EMU_COVERAGE")) + "/XXXXXX";
  const int descriptor = mkstemp(path.data());
  FILE* file = descriptor < 0 ? nullptr : fdopen(descriptor, "w");
  if (!file) return;
  for (const std::string& name : covered_functions()) std::fprintf(file, "%s\n", name.c_str());
  std::fclose(file);
}

}  // namespace

void note_callers() {
  static const bool wanted = [] {
    if (!std::getenv("ATROUS_EMU_COVERAGE")) return false;
    std::atexit(write_names);
    return true;
  }();
  if (!wanted) return;
  void* frames[24];
  const int depth = backtrace(frames, 24);
  g_return_addresses.insert(frames, frames + depth);
}

std::set<std::string> covered_functions() {
  std::set<std::string> names;
  for (void* address : g_return_addresses) {
    Dl_info info{};
    if (!dladdr(static_cast<char*>(address) - 1, &info) || !info.dli_sname) continue;
    int status = 0;
    char* name = abi::__cxa_demangle(info.dli_sname, nullptr, nullptr, &status);
    if (name && std::string(name).find("atrous::kernels::cuda::") != std::string::npos) names.insert(name);
    std::free(name);
  }
  return names;
}

}  // namespace atrous::emu
