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

// Which functions of the library have given work to the device (the functions on the host's stack at a
// launch, by name), and which device kernels were launched: by address, since most are local to their file.
// With ATROUS_EMU_COVERAGE=folder in the environment both are written to a file there when the program ends;
// tests/cuda/coverage.sh compares them with the kernels that the headers declare and that the program holds.

extern "C" void atrous_emu_switch_stack(void** save, void* load);

namespace atrous::emu {
namespace {

std::unordered_set<void*> g_return_addresses;
std::unordered_set<const void*> g_kernels;

bool wanted() {
  static const bool yes = std::getenv("ATROUS_EMU_COVERAGE") != nullptr;
  return yes;
}

void write_names() {
  std::string path = std::string(std::getenv("ATROUS_EMU_COVERAGE")) + "/XXXXXX";
  const int descriptor = mkstemp(path.data());
  FILE* file = descriptor < 0 ? nullptr : fdopen(descriptor, "w");
  if (!file) return;
  for (const std::string& name : covered_functions()) std::fprintf(file, "%s\n", name.c_str());
  // The program may be loaded anywhere: addresses are told by their distance from a function with a name.
  for (const void* kernel : g_kernels)
    std::fprintf(
        file, "kernel %ld\n",
        long(static_cast<const char*>(kernel) - reinterpret_cast<const char*>(&atrous_emu_switch_stack)));
  std::fclose(file);
}

}  // namespace

void note_callers() {
  if (!wanted()) return;
  static const int registered = std::atexit(write_names);
  static_cast<void>(registered);
  void* frames[24];
  const int depth = backtrace(frames, 24);
  g_return_addresses.insert(frames, frames + depth);
}

void note_kernel(const void* kernel) {
  if (wanted()) g_kernels.insert(kernel);
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
