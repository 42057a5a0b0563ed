#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>

// Which outputs of one axis are computed together. Everything follows from sizes, one axis at a time, in
// plain numbers without storage.

namespace atrous::kernels {

/// Up to `group` outputs, `spacing` apart, whose taps coincide: output j's tap t reads input
/// start + (j*step + t)*rate.
struct SharedRun {
  std::int64_t first = 0;  ///< output
  int count = 0;
  std::int64_t start = 0;  ///< may lie outside of the image
  unsigned live = 0;       ///< bit k: input start + k*rate lies in the image
};

/// An axis with a few taps whose outputs share inputs. At rate r, stride 1, outputs r apart do: the axis is r
/// ordinary ones of rate 1, its phases, and costs what one of rate 1 costs. Runs are phases cut into nearly
/// equal groups.
struct SharedAxis {
  std::int64_t in, out, stride, rate, before;
  std::int64_t group;  ///< outputs of one run, at most
  int taps = 3;

  /// How far apart outputs that share are; 0 if none do.
  std::int64_t spacing() const { return rate % stride == 0 ? rate / stride : stride == 2 * rate ? 1 : 0; }
  /// Inputs of a phase between two such outputs: 1 or 2.
  int step() const { return rate % stride == 0 ? 1 : 2; }

  std::int64_t phases() const { return std::min(spacing(), out); }
  std::int64_t groups(std::int64_t phase) const { return (members(phase) + group - 1) / group; }
  std::int64_t runs() const {
    const std::int64_t longer = out % spacing();  // these phases have one output more than the others
    return longer * groups(0) + (phases() - longer) * (longer < phases() ? groups(longer) : 0);
  }
  /// Run `index` when phase follows upon phase, so that runs that read the same inputs are neighbours.
  SharedRun by_phase(std::int64_t index) const {
    const std::int64_t longer = out % spacing(), split = longer * groups(0);
    if (index < split) return run(index / groups(0), index % groups(0));
    const std::int64_t each = groups(longer);
    return run(longer + (index - split) / each, (index - split) % each);
  }
  /// call(run, whether another one follows) for all runs, roughly in the order of their places.
  template <class Call>
  void for_each_by_place(const Call& call) const {
    SharedRun now = run(0, 0);
    bool any = false;
    for (std::int64_t g = 0; g < groups(0); ++g)
      for (std::int64_t phase = 0; phase < phases() && g < groups(phase); ++phase) {
        const SharedRun next = run(phase, g);
        if (any) call(now, next.start - now.start, next.first - now.first);
        now = next;
        any = true;
      }
    call(now, 0, 0);
  }

 private:
  std::int64_t members(std::int64_t phase) const { return (out - phase + spacing() - 1) / spacing(); }
  SharedRun run(std::int64_t phase, std::int64_t g) const {
    const std::int64_t n = members(phase), count = groups(phase), from = n * g / count;
    SharedRun r;
    r.first = phase + from * spacing();
    r.count = int(n * (g + 1) / count - from);
    r.start = r.first * stride - before;
    for (int k = 0; k < (r.count - 1) * step() + taps; ++k) {
      const std::int64_t at = r.start + k * rate;
      if (at >= 0 && at < in) r.live |= 1u << k;
    }
    return r;
  }
};

/// An axis of any window up to kMost taps, forward (output o's tap t reads input o*stride + t*rate - before)
/// or turned round for the gradient (it reads (o + before - t*rate) / stride, where that is whole).
struct TapAxis {
  static constexpr int kMost = 8;
  std::int64_t in, out, stride, rate, before;
  int taps;
  bool turned;

  /// Outputs o, o + spacing() ... read inputs input_step() apart.
  std::int64_t spacing() const { return turned ? stride : 1; }
  std::int64_t input_step() const { return turned ? 1 : stride; }

  struct Live {
    int count = 0;
    int tap[kMost];
    std::int64_t input[kMost];
  };
  /// The taps of output o that read inside of the image.
  Live live(std::int64_t o) const {
    Live l;
    for (int t = 0; t < taps; ++t) {
      std::int64_t at = turned ? o + before - t * rate : o * stride + t * rate - before;
      if (at < 0 || (turned && at % stride != 0)) continue;
      if (turned) at /= stride;
      if (at >= in) continue;
      l.tap[l.count] = t;
      l.input[l.count++] = at;
    }
    return l;
  }
  /// How many outputs from o on, spacing() apart, have the live taps of o.
  std::int64_t alike(std::int64_t o) const {
    std::int64_t n = (out - 1 - o) / spacing() + 1;
    for (int t = 0; t < taps; ++t) {
      const std::int64_t at = turned ? o + before - t * rate : o * stride + t * rate - before;
      if (turned && at % stride != 0) continue;  // for all of them
      // Input number `at / stride` (turned) moves by 1, input number `at` by the stride.
      const std::int64_t unit = stride, end = turned ? in * stride : in;
      if (at < 0)
        n = std::min(n, (-at + unit - 1) / unit);
      else if (at < end)
        n = std::min(n, (end - 1 - at) / unit + 1);
    }
    return n;
  }
};

}  // namespace atrous::kernels
