#include <dlfcn.h>

#include <cstdarg>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <map>

#include "tests/support/cuda_emulator/state.h"

// What the emulator has to say about kernels: one line a finding, with the source line, kernel, block and
// thread.

namespace atrous::emu {
namespace {

constexpr unsigned kPrinted = 8;
Report g_report;
char g_first_of_launch[sizeof Report::first] = {0};
std::map<const void*, unsigned> g_findings_at;  // an access site is described once

}  // namespace

void device_fail(const char* format, ...) {
  char finding[400];
  std::va_list arguments;
  va_start(arguments, format);
  std::vsnprintf(finding, sizeof finding, format, arguments);
  va_end(arguments);
  char line[sizeof Report::first];
  if (g_current) {
    const uint3 b = g_current->block->index, t = g_current->index;
    std::snprintf(line, sizeof line, "%.330s [kernel %.80s, block (%u,%u,%u), thread (%u,%u,%u)]", finding,
                  g_launch.name, b.x, b.y, b.z, t.x, t.y, t.z);
  } else {
    std::snprintf(line, sizeof line, "%s", finding);
  }
  if (g_report.errors++ == 0) std::memcpy(g_report.first, line, sizeof line);
  if (!g_first_of_launch[0]) std::memcpy(g_first_of_launch, line, sizeof line);
  if (g_report.errors <= kPrinted && !g_config.quiet) std::fprintf(stderr, "emulator: %s\n", line);
  if (g_config.abort_on_error) std::abort();
}

void fail_at(const void* pc, const char* format, ...) {
  if (g_findings_at[pc]++ > 0) {
    ++g_report.errors;
    return;
  }
  char finding[300];
  std::va_list arguments;
  va_start(arguments, format);
  std::vsnprintf(finding, sizeof finding, format, arguments);
  va_end(arguments);
  device_fail("%s at %s", finding, source_line(pc).c_str());
}

// Asks addr2line, where there is one, for the line of the call before `pc`.
std::string source_line(const void* pc) {
  Dl_info program{};
  if (!pc || !dladdr(pc, &program)) return "?";
  char command[1024], line[256] = {0};
  const void* offset = reinterpret_cast<const void*>(static_cast<const char*>(pc) - 1 -
                                                     static_cast<const char*>(program.dli_fbase));
  std::snprintf(command, sizeof command, "addr2line -e '%s' -s %p 2>/dev/null", program.dli_fname, offset);
  if (FILE* pipe = popen(command, "r")) {
    if (std::fgets(line, sizeof line, pipe)) line[std::strcspn(line, " \n")] = 0;
    pclose(pipe);
  }
  return line[0] ? line : "?";
}

unsigned errors_reported() { return g_report.errors; }
const char* first_report_of_launch() { return g_first_of_launch; }
void start_launch_report() {
  g_first_of_launch[0] = 0;
  g_findings_at.clear();
}

Report take_report() {
  const Report report = g_report;
  g_report = {};
  g_findings_at.clear();
  return report;
}

}  // namespace atrous::emu

// assert() in a kernel ends the launch, not the program. (Stands before the C library's function of this
// name.)
extern "C" [[noreturn]] void __assert_fail(const char* text, const char* file, unsigned line,
                                           const char* function) noexcept {
  using namespace atrous::emu;  // NOLINT
  if (g_current) {
    device_fail("assertion `%s` failed at %s:%u", text, file, line);
    abandon_launch(cudaErrorLaunchFailure);
  }
  std::fprintf(stderr, "%s:%u: %s: assertion `%s` failed\n", file, line, function, text);
  std::abort();
}
