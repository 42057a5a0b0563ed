#pragma once

#include <cstdint>

#include "atrous/core/stream.h"
#include "atrous/core/tensor.h"
#include "atrous/kernels/permutohedral/permutohedral.h"
#include "atrous/kernels/permutohedral/tiled_lattice.h"

// A built permutohedral lattice with its memory: what the kernels need around them.

namespace atrous {

/// What one step of a filter is multiplied by, point by point; an undefined one is all ones.
struct FilterScales {
  Tensor pre, post;  // [P]
  FilterScales transposed() const { return {post, pre}; }
};

/// The lattice of one set of points. On the CPU floats of few features get the tiled form, everything else
/// the plain one.
template <class T>
class Lattice {
 public:
  /// features [P, d], P >= 1. Throws ValueError in the name of `op`, see lattice_keys().
  Lattice(const char* op, Stream stream, const kernels::LatticeDims& dims, Span<const T> features,
          bool allow_tiles = true);

  const kernels::LatticeDims& dims() const { return dims_; }
  std::int64_t vertices() const { return vertices_; }
  /// Bytes that it holds.
  std::int64_t bytes() const;

  /// out = scale post K (pre values), or K transposed.   values, out [P, classes]
  void filter(std::int64_t classes, const FilterScales& scales, double scale, bool transposed,
              Span<const T> values, Span<T> out) const;
  /// dfeatures = the gradient of <dout, filter(values)> by the features.
  void backward_features(std::int64_t classes, const FilterScales& scales, double scale,
                         Span<const T> features, Span<const T> values, Span<const T> dout,
                         Span<T> dfeatures) const;

  /// Null unless this is the tiled form.
  const kernels::tiled::Lattice* tiled() const { return tiled_.local ? &tiled_ : nullptr; }

 private:
  void build_plain(const char* op, Span<const T> features);
  void build_tiled(Span<const T> features);
  Tensor blurred(std::int64_t classes, const Tensor& pre, bool transposed, Span<const T> values) const;

  kernels::LatticeDims dims_;
  kernels::LatticeKeys keys_;
  Stream stream_;
  std::int64_t vertices_ = 0;
  Tensor weight_, vertex_, begin_, splats_,
      neighbours_;  // of either form; tiled: global, shared_begin, extras, chains
  Tensor local_, tile_begin_, vertex_begin_, shared_, chain_counts_;  // of tiles alone
  kernels::tiled::Lattice tiled_{};
};

}  // namespace atrous
