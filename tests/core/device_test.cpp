#include "atrous/core/device.h"

#include <sstream>

#include "atrous/core/config.h"
#include "atrous/core/cpu_isa.h"
#include "atrous/core/error.h"
#include "tests/support/catch.h"

namespace atrous::tests {

TEST_CASE("device: cpu is read and printed", "[core][device]") {
  CHECK(Device::parse("cpu") == kCpu);
  std::ostringstream text;
  text << kCpu << ' ' << Device{DeviceType::cuda, 1};
  CHECK(text.str() == "cpu cuda:1");
}

TEST_CASE("device: what is no device is refused, and so is cuda without CUDA", "[core][device]") {
  for (const char* text : {"", "gpu", "CPU", "cpu:0", "cuda:", "cuda:-1", "cuda:+1", "cuda:1x", "cuda: 1",
                           "cuda1", "cuda:99999999999999999999"})
    CHECK_THROWS_AS(Device::parse(text), DeviceError);
#if !ATROUS_WITH_CUDA
  CHECK_THROWS_AS(Device::parse("cuda"), DeviceError);
  CHECK_THROWS_AS(Device::parse("cuda:1"), DeviceError);
#endif
}

TEST_CASE("error: the text names the operation, then the pieces", "[core][error]") {
  try {
    fail<ShapeError>("conv2d", "x has ", 3, " channels");
    FAIL("nothing was thrown");
  } catch (const Error& e) {
    CHECK(std::string(e.what()) == "[conv2d] x has 3 channels");
  }
  const auto check = [](int n) { ATROUS_CHECK(ValueError, n > 0, "op", "n is ", n); };
  CHECK_NOTHROW(check(1));
  CHECK_THROWS_AS(check(0), ValueError);
}

TEST_CASE("cpu_isa: stays what it was first found to be, and has a name", "[core][device]") {
  CHECK(cpu_isa() == cpu_isa());
  CHECK(std::string(cpu_isa_name(CpuIsa::baseline)) == "baseline");
  CHECK(std::string(cpu_isa_name(CpuIsa::avx512)) == "avx512");
}

}  // namespace atrous::tests
