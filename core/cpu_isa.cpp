#include "atrous/core/cpu_isa.h"

#include <cstdlib>
#include <string_view>

#include "atrous/core/error.h"

namespace atrous {
namespace {

CpuIsa best() {
#if defined(__x86_64__)
  __builtin_cpu_init();
  const bool avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
  const bool avx512 = avx2 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") &&
                      __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl");
  return avx512 ? CpuIsa::avx512 : avx2 ? CpuIsa::avx2 : CpuIsa::baseline;
#else
  return CpuIsa::baseline;
#endif
}

CpuIsa choose() {
  const CpuIsa here = best();
  const char* wish = std::getenv("ATROUS_CPU_ISA");
  if (!wish) return here;
  for (const CpuIsa isa : {CpuIsa::baseline, CpuIsa::avx2, CpuIsa::avx512})
    if (std::string_view(wish) == cpu_isa_name(isa)) {
      ATROUS_CHECK(DeviceError, isa <= here, "cpu", "ATROUS_CPU_ISA=", wish, ", and this processor offers ",
                   cpu_isa_name(here));
      return isa;
    }
  fail<ValueError>("cpu", "ATROUS_CPU_ISA=", wish, "; it may be baseline, avx2 or avx512");
}

}  // namespace

CpuIsa cpu_isa() {
  static const CpuIsa isa = choose();
  return isa;
}

bool cpu_multiplies_bf16() {
#if defined(__x86_64__)
  static const bool does = cpu_isa() == CpuIsa::avx512 && __builtin_cpu_supports("avx512bf16");
  return does;
#else
  return false;
#endif
}

const char* cpu_isa_name(CpuIsa isa) {
  switch (isa) {
    case CpuIsa::baseline:
      return "baseline";
    case CpuIsa::avx2:
      return "avx2";
    case CpuIsa::avx512:
      return "avx512";
  }
  return "?";
}

}  // namespace atrous
