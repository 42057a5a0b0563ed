#include "atrous/layers/init.h"

#include <cmath>

#include "atrous/core/error.h"
#include "atrous/core/parallel.h"
#include "atrous/core/random.h"

namespace atrous::layers {
namespace {

double unit(std::uint32_t bits) { return (double(bits) + 0.5) * 0x1p-32; }  // in (0, 1)

// Box and Muller from two words.
double normal_from_bits(std::uint32_t a, std::uint32_t b) {
  return std::sqrt(-2.0 * std::log(unit(a))) * std::cos(6.283185307179586476925 * unit(b));
}

// Element i draws from the counters i, i + 2^40, i + 2^41..., two tries each: no element shares a counter
// with another, whatever is rejected.
double truncated_normal(std::uint64_t seed, std::uint64_t stream, std::uint64_t i) {
  for (std::uint64_t attempt = 0;; ++attempt) {
    const auto words = philox(seed, stream, i + (attempt << 40));
    for (std::size_t k = 0; k < 4; k += 2) {
      const double value = normal_from_bits(words[k], words[k + 1]);
      if (std::abs(value) <= 2) return value;
    }
  }
}

struct Fans {
  double in, out;
};

Fans fans_of(const Tensor& t, bool depthwise, std::string_view name) {
  ATROUS_CHECK(ShapeError, t.rank() == 4, "initialise", name, ' ', t.shape(),
               " has no fans: a convolution's weight has four axes");
  const double taps = double(t.dim(0) * t.dim(1));
  return {depthwise ? taps : taps * double(t.dim(2)), taps * double(t.dim(3))};
}

}  // namespace

std::uint64_t stream_of(std::string_view name) {
  std::uint64_t hash = 0xcbf29ce484222325u;
  for (const char c : name) hash = (hash ^ std::uint8_t(c)) * 0x100000001b3u;
  return hash;
}

void initialise(Tensor& t, const Initialiser& init, std::uint64_t seed, std::string_view name) {
  if (init.kind == InitKind::constant) {
    t.fill(init.value);
    return;
  }
  const Fans fans = init.kind == InitKind::truncated_normal ? Fans{1, 1} : fans_of(t, init.depthwise, name);
  double scale = init.value;
  if (init.kind == InitKind::he_fan_in) scale = std::sqrt(2 / fans.in);
  if (init.kind == InitKind::he_fan_out) scale = std::sqrt(2 / fans.out);
  if (init.kind == InitKind::fan_in_uniform) scale = std::sqrt(1 / fans.in);
  if (init.kind == InitKind::xavier_uniform) scale = std::sqrt(6 / (fans.in + fans.out));
  const bool uniform = init.kind == InitKind::fan_in_uniform || init.kind == InitKind::xavier_uniform;
  const std::uint64_t stream = stream_of(name);
  visit_float(t.dtype(), [&]<class T>() {
    const Span<T> elements = t.span<T>();
    parallel_for(elements.size(), 1 << 14, [&](std::int64_t begin, std::int64_t end) {
      for (std::int64_t i = begin; i < end; ++i) {
        double value = 0;
        if (init.kind == InitKind::truncated_normal) {
          value = truncated_normal(seed, stream, std::uint64_t(i));
        } else {
          const auto words = philox(seed, stream, std::uint64_t(i));
          value = uniform ? 2 * unit(words[0]) - 1 : normal_from_bits(words[0], words[1]);
        }
        elements[i] = T(scale * value);
      }
    });
  });
}

}  // namespace atrous::layers
