#include "atrous/core/device.h"

#include <sstream>

#include "atrous/core/config.h"
#include "atrous/core/cpu_isa.h"
#include "atrous/core/error.h"
#include "atrous/core/tensor.h"
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
  if (cuda_device_count() == 0) {
    CHECK_THROWS_AS(Device::parse("cuda"), DeviceError);
    CHECK_THROWS_AS(Device::parse("cuda:1"), DeviceError);
    CHECK_THROWS_AS(Tensor::empty({3}, Dtype::f32, {DeviceType::cuda, 0}), DeviceError);
  }
  CHECK_THROWS_AS(check_usable({DeviceType::cuda, 4096}), DeviceError);
}

TEST_CASE("device: code is found for a device, or a sentence says what to configure", "[core][device]") {
  CHECK_NOTHROW(check_architecture("A100", 80, "80-real;90-real"));
  CHECK_NOTHROW(check_architecture("RTX 3090", 86, "80-real;90-real"));  // the same major version
  CHECK_NOTHROW(check_architecture("H200", 90, "80-real;90-real;90a-real"));
  CHECK_NOTHROW(check_architecture("RTX 5090", 120, "80"));  // portable code comes with a bare number
  CHECK_NOTHROW(check_architecture("B200", 100, "90-virtual"));
  CHECK_THROWS_AS(check_architecture("T4", 75, "80;90"), DeviceError);
  CHECK_THROWS_AS(check_architecture("B200", 100, "80-real;90-real"), DeviceError);
  CHECK_THROWS_AS(check_architecture("B200", 100, "90a"), DeviceError);
  CHECK_THROWS_AS(check_architecture("A100", 80, "86-real"), DeviceError);
  CHECK_THROWS_AS(check_architecture("A100", 80, ""), DeviceError);
  try {
    check_architecture("Tesla T4", 75, "80-real");
    FAIL("nothing was thrown");
  } catch (const DeviceError& e) {
    const std::string text = e.what();
    CHECK(text.find("Tesla T4 has compute capability 7.5") != std::string::npos);
    CHECK(text.find("-DATROUS_CUDA_ARCHITECTURES=75") != std::string::npos);
  }
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
