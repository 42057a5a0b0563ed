#include "atrous/kernels/resize/resize.h"

#include "atrous/kernels/softmax/softmax.h"
#include "tests/support/against_double.h"
#include "tests/support/catch.h"
#include "tests/support/cuda.h"
#include "tests/support/guarded.h"

namespace atrous::tests {
namespace {

using kernels::ResizeDims;

// batch, in_h, in_w, out_h, out_w, channels, align_corners
const ResizeDims kSizes[] = {
    {2, 5, 7, 17, 25, 3, true},    {2, 5, 4, 13, 11, 21, true}, {1, 4, 6, 4, 6, 8, true},
    {2, 11, 9, 5, 3, 8, true},     {1, 3, 9, 8, 5, 40, true},   {2, 3, 4, 1, 1, 3, true},
    {2, 1, 1, 4, 3, 33, true},     {2, 4, 5, 16, 20, 8, false}, {1, 5, 4, 7, 11, 65, false},
    {2, 11, 9, 4, 4, 3, false},    {1, 4, 4, 1, 1, 8, false},   {1, 1, 5, 6, 9, 16, false},
    {1, 3, 40, 5, 160, 136, true}, {1, 2, 2, 150, 6, 8, true},  {1, 1, 1, 2, 600, 16, true},
};

std::string name_of(const ResizeDims& d) {
  std::ostringstream text;
  text << d.batch << 'x' << d.in_h << 'x' << d.in_w << 'x' << d.channels << " to " << d.out_h << 'x'
       << d.out_w << (d.align_corners ? ", aligned" : ", half-pixel");
  return text.str();
}

std::size_t in_size(const ResizeDims& d) { return std::size_t(d.batch * d.in_h * d.in_w * d.channels); }
std::size_t out_size(const ResizeDims& d) { return std::size_t(d.batch * d.out_h * d.out_w * d.channels); }

}  // namespace

TEMPLATE_TEST_CASE("resize_bilinear: CUDA agrees with double on the CPU", "[cuda][resize]", float, bf16,
                   double) {
  using T = TestType;
  for (const ResizeDims& d : kSizes) {
    INFO(name_of(d));
    const auto x = random_values<T>(std::int64_t(in_size(d)), 1),
               dy = random_values<T>(std::int64_t(out_size(d)), 2);
    std::vector<double> y(out_size(d)), dx(in_size(d));
    kernels::cpu::resize_bilinear_forward<double>({}, d, in_double(x), y);
    kernels::cpu::resize_bilinear_backward<double>({}, d, in_double(dy), dx);
    std::vector<T> first_y, first_dx;
    on_every_schedule([&] {
      const OnDevice<T> cx(x), cdy(dy);
      OnDevice<T> cy(cdy.size()), cdx(cx.size());
      kernels::cuda::resize_bilinear_forward<T>(kCudaStream, d, cx.span(), cy.span());
      kernels::cuda::resize_bilinear_backward<T>(kCudaStream, d, cdy.span(), cdx.span());
      CHECK((cy.intact() && cdx.intact()));
      const std::vector<T> got_y = cy.values(), got_dx = cdx.values();
      CHECK(gap(got_y, y) <= tolerance<T>());
      CHECK(gap(got_dx, dx) <= tolerance<T>());
      if (first_y.empty()) first_y = got_y, first_dx = got_dx;
      CHECK((same_bits(got_y, first_y) && same_bits(got_dx, first_dx)));
    });
  }
}

TEMPLATE_TEST_CASE("resize_bilinear: CUDA agrees with double where positions pass 32 bits", "[cuda][resize]",
                   float, bf16) {
  using T = TestType;
  const ResizeDims d{1, 1, 32769, 1, 16384, 1, true};  // not of the tuned kernel: resize_rule.h, is_small
  const auto x = random_values<T>(std::int64_t(in_size(d)), 1);
  std::vector<double> y(out_size(d));
  kernels::cpu::resize_bilinear_forward<double>({}, d, in_double(x), y);
  const OnDevice<T> cx(x);
  OnDevice<T> cy(std::int64_t(y.size()));
  kernels::cuda::resize_bilinear_forward<T>(kCudaStream, d, cx.span(), cy.span());
  CHECK(cy.intact());
  CHECK(gap(cy.values(), y) <= tolerance<T>());
}

TEMPLATE_TEST_CASE("resize_bilinear: on CUDA a pixel that is not read does not matter", "[cuda][resize]",
                   float, bf16) {
  using T = TestType;
  // 5 to 3 and 3 to 5 with corners aligned: every second pixel of the 5 lies on one of the 3.
  const T infinite(std::numeric_limits<float>::infinity());
  std::vector<T> x(5 * 8, T(1.0f)), dy(3 * 8, T(1.0f));
  for (int c = 0; c < 8; ++c) x[8 + std::size_t(c)] = infinite;
  const OnDevice<T> cx(x);
  OnDevice<T> y(3 * 8);
  kernels::cuda::resize_bilinear_forward<T>(kCudaStream, {1, 1, 5, 1, 3, 8, true}, cx.span(), y.span());
  CHECK(gap(y.values(), std::vector<double>(3 * 8, 1)) == 0);
  for (int c = 0; c < 8; ++c) dy[8 + std::size_t(c)] = infinite;
  const OnDevice<T> cdy(dy);
  OnDevice<T> dx(5 * 8);
  kernels::cuda::resize_bilinear_backward<T>(kCudaStream, {1, 1, 5, 1, 3, 8, true}, cdy.span(), dx.span());
  const auto got = dx.values();
  for (const int column : {0, 1, 3, 4})
    CHECK(float(got[std::size_t(column * 8)]) == (column == 0 || column == 4 ? 1.0f : 0.0f));
}

TEMPLATE_TEST_CASE("resize_argmax: on CUDA the bits of resizing and argmax", "[cuda][resize]", float, bf16,
                   double) {
  using T = TestType;
  for (const ResizeDims d : {ResizeDims{2, 5, 7, 17, 25, 3, true}, ResizeDims{1, 4, 5, 9, 7, 21, false}}) {
    INFO(name_of(d));
    const auto x = random_values<T>(std::int64_t(in_size(d)), 1);
    const std::int64_t pixels = d.batch * d.out_h * d.out_w;
    std::vector<T> y(out_size(d));
    kernels::cpu::resize_bilinear_forward<T>({}, d, x, y);
    on_every_schedule([&] {
      const OnDevice<T> cx(x);
      OnDevice<std::uint8_t> small(pixels);
      OnDevice<std::int32_t> large(pixels);
      kernels::cuda::resize_argmax<T>(kCudaStream, d, cx.span(), small.span(), {});
      kernels::cuda::resize_argmax<T>(kCudaStream, d, cx.span(), {}, large.span());
      CHECK((small.intact() && large.intact()));
      const auto labels = small.values();
      const auto wide = large.values();
      for (std::int64_t p = 0; p < pixels; ++p) {
        const auto logit = [&](std::int64_t c) {
          return double(Accumulator<T>(y[std::size_t(p * d.channels + c)]));
        };
        double best = logit(0);
        for (std::int64_t c = 1; c < d.channels; ++c) best = std::max(best, logit(c));
        // The CPU's vector code and the device may round a tie apart.
        CHECK(logit(labels[std::size_t(p)]) >= best - 1e-6);
        CHECK(wide[std::size_t(p)] == labels[std::size_t(p)]);
      }
    });
  }
}

TEMPLATE_TEST_CASE("resize_nearest: CUDA and the CPU pick the same pixels", "[cuda][resize]", std::uint8_t,
                   std::int32_t) {
  using T = TestType;
  for (const bool aligned : {true, false})
    for (const ResizeDims d :
         {ResizeDims{2, 5, 7, 13, 4, 1, aligned}, ResizeDims{1, 6, 5, 3, 11, 3, aligned}}) {
      INFO(name_of(d));
      std::vector<T> x;
      for (std::size_t i = 0; i < in_size(d); ++i) x.push_back(T(i % 251));
      std::vector<T> y(out_size(d));
      kernels::cpu::resize_nearest<T>({}, d, x, y);
      on_every_schedule([&] {
        const OnDevice<T> cx(x);
        OnDevice<T> cy(std::int64_t(y.size()));
        kernels::cuda::resize_nearest<T>(kCudaStream, d, cx.span(), cy.span());
        CHECK(cy.values() == y);
        CHECK(cy.intact());
      });
    }
}

TEMPLATE_TEST_CASE("resize_antialias: CUDA agrees with double on the CPU", "[cuda][resize]", float, bf16,
                   double) {
  using T = TestType;
  for (const ResizeDims& d : {ResizeDims{2, 11, 9, 4, 3, 3, false}, ResizeDims{1, 4, 13, 9, 5, 8, false}}) {
    INFO(name_of(d));
    const auto x = random_values<T>(std::int64_t(in_size(d)), 1);
    const std::int64_t scratch = kernels::resize_antialias_workspace_size(d);
    std::vector<double> y(out_size(d)), narrow(static_cast<std::size_t>(scratch));
    kernels::cpu::resize_antialias_forward<double>({}, d, in_double(x), narrow, y);
    on_every_schedule([&] {
      const OnDevice<T> cx(x);
      OnDevice<T> cy(std::int64_t(y.size())), workspace(scratch);
      kernels::cuda::resize_antialias_forward<T>(kCudaStream, d, cx.span(), workspace.span(), cy.span());
      // The intermediate is rounded to T.
      CHECK(gap(cy.values(), y) <= 2 * tolerance<T>());
      CHECK((cy.intact() && workspace.intact()));
    });
  }
}

#ifdef ATROUS_CUDA_EMULATED
TEMPLATE_TEST_CASE("resize_bilinear: CUDA asks for whole sectors", "[cuda][resize]", float, bf16) {
  using T = TestType;
  if (!emu::checked_build()) return;
  for (const ResizeDims d : {ResizeDims{1, 9, 9, 33, 33, 64, true}, ResizeDims{1, 5, 9, 20, 36, 16, false}}) {
    INFO(name_of(d));
    const OnDevice<T> x(random_values<T>(std::int64_t(in_size(d)), 1));
    OnDevice<T> y(std::int64_t(out_size(d)));
    const emu::AccessStats s =
        emu::stats_of([&] { kernels::cuda::resize_bilinear_forward<T>(kCudaStream, d, x.span(), y.span()); });
    INFO(emu::take_access_sites());
    CHECK(s.device_requests > 0);
    CHECK(s.sector_ratio() <= 1.05);
  }
}
#endif

}  // namespace atrous::tests
