#include <cublasLt.h>

#include <cstring>
#include <functional>
#include <string>
#include <vector>

#include "tests/support/catch.h"
#include "tests/support/cuda.h"
#include "tests/support/cuda_emulator/emulator.h"

// The twin of cuBLASLt: a product by hand, and what the real library demands of its callers.

namespace atrous::tests {
namespace {

// d = relu(a b + bias) of 2x3 by 3x2, column-major, with everything that a caller may get wrong in reach.
struct Product {
  OnDevice<float> a{std::vector<float>{1, 4, 2, 5, 3, 6}}, b{std::vector<float>{1, 0, -1, 2, 1, 0}},
      bias{std::vector<float>{10, -20}}, d{4}, unwritten{2};
  OnDevice<float> workspace{1 << 18};
  cublasLtHandle_t handle = nullptr;
  cublasLtMatmulDesc_t desc = nullptr;
  cublasLtMatrixLayout_t la = nullptr, lb = nullptr, ld = nullptr;
  cublasLtMatmulPreference_t preference = nullptr;
  cublasLtMatmulHeuristicResult_t chosen{};
  std::size_t workspace_bytes = 1 << 20;
  const float* a_place = a.span().data();

  Product() {
    REQUIRE(cublasLtCreate(&handle) == CUBLAS_STATUS_SUCCESS);
    REQUIRE(cublasLtMatmulDescCreate(&desc, CUBLAS_COMPUTE_32F, CUDA_R_32F) == CUBLAS_STATUS_SUCCESS);
    set(CUBLASLT_MATMUL_DESC_EPILOGUE, std::uint32_t(CUBLASLT_EPILOGUE_RELU_BIAS));
    set(CUBLASLT_MATMUL_DESC_BIAS_POINTER, static_cast<const void*>(bias.span().data()));
    REQUIRE(cublasLtMatrixLayoutCreate(&la, CUDA_R_32F, 2, 3, 2) == CUBLAS_STATUS_SUCCESS);
    REQUIRE(cublasLtMatrixLayoutCreate(&lb, CUDA_R_32F, 3, 2, 3) == CUBLAS_STATUS_SUCCESS);
    REQUIRE(cublasLtMatrixLayoutCreate(&ld, CUDA_R_32F, 2, 2, 2) == CUBLAS_STATUS_SUCCESS);
    REQUIRE(cublasLtMatmulPreferenceCreate(&preference) == CUBLAS_STATUS_SUCCESS);
    prefer(CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, std::uint64_t(1) << 20);
    prefer(CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK, std::uint32_t(CUBLASLT_REDUCTION_SCHEME_COMPUTE_TYPE));
  }
  Product(const Product&) = delete;
  Product& operator=(const Product&) = delete;
  ~Product() {
    cublasLtMatmulPreferenceDestroy(preference);
    for (const auto layout : {la, lb, ld}) cublasLtMatrixLayoutDestroy(layout);
    cublasLtMatmulDescDestroy(desc);
    cublasLtDestroy(handle);
  }
  template <class Value>
  void set(cublasLtMatmulDescAttributes_t which, Value value) {
    REQUIRE(cublasLtMatmulDescSetAttribute(desc, which, &value, sizeof value) == CUBLAS_STATUS_SUCCESS);
  }
  template <class Value>
  void prefer(cublasLtMatmulPreferenceAttributes_t which, Value value) {
    REQUIRE(cublasLtMatmulPreferenceSetAttribute(preference, which, &value, sizeof value) ==
            CUBLAS_STATUS_SUCCESS);
  }
  cublasStatus_t choose() {
    int found = 0;
    const cublasStatus_t status =
        cublasLtMatmulAlgoGetHeuristic(handle, desc, la, lb, ld, ld, preference, 1, &chosen, &found);
    CHECK(found == (status == CUBLAS_STATUS_SUCCESS ? 1 : 0));
    return status;
  }
  cublasStatus_t multiply() {
    const float one = 1, zero = 0;
    return cublasLtMatmul(handle, desc, &one, a_place, la, b.span().data(), lb, &zero, d.span().data(), ld,
                          d.span().data(), ld, &chosen.algo, workspace.span().data(), workspace_bytes,
                          nullptr);
  }
};

}  // namespace

TEST_CASE("emulator: cuBLASLt multiplies, adds the bias of each row and takes the positive part",
          "[cuda][emulator]") {
  Product p;
  REQUIRE(p.choose() == CUBLAS_STATUS_SUCCESS);
  REQUIRE(p.multiply() == CUBLAS_STATUS_SUCCESS);
  // [1 2 3; 4 5 6] [1 2; 0 1; -1 0] = [-2 4; -2 13], plus 10 and -20.
  CHECK(p.d.values() == std::vector<float>{8, 0, 14, 0});
  CHECK(p.d.intact());
}

TEST_CASE("emulator: cuBLASLt's demands are checked", "[cuda][emulator]") {
  struct Mistake {
    const char* name;
    std::function<void(Product&)> make;
    const char* report;  // part of it; empty where the status says it all
    bool when_chosen;    // refused when an algorithm is asked for, not when it runs
  };
  const Mistake mistakes[] = {
      {"sums in the output itself allowed",
       [](Product& p) {
         p.prefer(CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK, std::uint32_t(CUBLASLT_REDUCTION_SCHEME_MASK));
       },
       "reduction schemes", true},
      {"a bias epilogue without a bias",
       [](Product& p) { p.set(CUBLASLT_MATMUL_DESC_BIAS_POINTER, static_cast<const void*>(nullptr)); }, "",
       true},
      {"sizes that do not fit",
       [](Product& p) { p.set(CUBLASLT_MATMUL_DESC_TRANSA, std::int32_t(CUBLAS_OP_T)); }, "", true},
      {"an algorithm of another problem",
       [](Product& p) {
         REQUIRE(p.choose() == CUBLAS_STATUS_SUCCESS);
         p.set(CUBLASLT_MATMUL_DESC_EPILOGUE, std::uint32_t(CUBLASLT_EPILOGUE_BIAS));
       },
       "another problem", false},
      {"a factor less aligned than promised",
       [](Product& p) {
         p.prefer(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES, std::uint32_t(16));
         REQUIRE(p.choose() == CUBLAS_STATUS_SUCCESS);
         ++p.a_place;
       },
       "a lies at no multiple of 16 bytes", false},
      {"a bias less aligned than it was",
       [](Product& p) {
         REQUIRE(p.choose() == CUBLAS_STATUS_SUCCESS);
         p.set(CUBLASLT_MATMUL_DESC_BIAS_POINTER, static_cast<const void*>(p.bias.span().data() + 1));
       },
       "the bias is less aligned", false},
      {"a workspace smaller than promised",
       [](Product& p) {
         REQUIRE(p.choose() == CUBLAS_STATUS_SUCCESS);
         p.workspace_bytes = 256;
       },
       "needs a workspace", false},
      {"a bias that nothing has written",
       [](Product& p) {
         p.set(CUBLASLT_MATMUL_DESC_BIAS_POINTER, static_cast<const void*>(p.unwritten.span().data()));
         REQUIRE(p.choose() == CUBLAS_STATUS_SUCCESS);
       },
       emu::checked_build() ? "nothing wrote, in the bias" : nullptr, false},
  };
  const emu::Config before = emu::config();
  emu::config().quiet = true;
  for (const Mistake& mistake : mistakes) {
    if (!mistake.report) continue;  // only the checked build knows
    INFO(mistake.name);
    Product p;
    emu::take_report();
    mistake.make(p);
    if (mistake.when_chosen) {
      CHECK(p.choose() != CUBLAS_STATUS_SUCCESS);
    } else {
      const cublasStatus_t status = p.multiply();
      const bool late = status == CUBLAS_STATUS_SUCCESS;  // found when the stream came to it
      CHECK((late ? cudaGetLastError() != cudaSuccess : status == CUBLAS_STATUS_INVALID_VALUE));
    }
    const std::string report = emu::take_report().first;
    INFO("report: " << report);
    CHECK(report.find(mistake.report) != std::string::npos);
    cudaGetLastError();
  }
  emu::config() = before;
}

}  // namespace atrous::tests
