#include "atrous/autograd/lattice.h"

#include <algorithm>
#include <type_traits>
#include <utility>
#include <vector>

namespace atrous {
namespace {

template <class T>
Span<const T> span_of(const Tensor& t) {
  return t.defined() ? std::as_const(t).span<T>() : Span<const T>();
}
Span<const std::int32_t> ints(const Tensor& t) { return t.span<std::int32_t>(); }
Span<std::int32_t> ints(Tensor& t) { return t.span<std::int32_t>(); }
Span<std::uint64_t> words_of(Tensor& t) { return {static_cast<std::uint64_t*>(t.data()), t.numel()}; }

}  // namespace

template <class T>
Lattice<T>::Lattice(const char* op, Stream stream, const kernels::LatticeDims& dims, Span<const T> features,
                    bool allow_tiles)
    : dims_(dims), keys_(), stream_(stream) {
  const Device device = stream.device;
  Tensor strips = Tensor::empty({kernels::lattice_bounds_workspace_size(dims, device)}, Dtype::f64, device);
  Tensor bounds = Tensor::empty({2 * dims.features}, Dtype::f64, device);
  kernels::lattice_bounds<T>(stream, dims, features, strips.span<double>(), bounds.span<double>());
  bounds = bounds.to(kCpu);
  keys_ = kernels::lattice_keys(op, dims, bounds.span<double>());
  if (std::is_same_v<T, float> && device.is_cpu() && allow_tiles && kernels::tiled::takes(dims, keys_))
    build_tiled(features);
  else
    build_plain(op, features);
}

template <class T>
void Lattice<T>::build_plain(const char* op, Span<const T> features) {
  const Device device = stream_.device;
  const auto integers = [&](std::int64_t n) { return Tensor::empty({n}, Dtype::i32, device); };
  weight_ = Tensor::empty({dims_.splats()}, dtype_of<T>(), device);
  vertex_ = integers(dims_.splats());
  Tensor words = Tensor::empty({dims_.splats() * keys_.words}, Dtype::i64, device);
  Tensor slots = integers(kernels::lattice_slots(dims_)), first = integers(dims_.splats()),
         count = integers(1);
  {
    Tensor workspace = integers(kernels::lattice_number_workspace_size(dims_, device));
    kernels::lattice_number<T>(stream_, dims_, keys_, features, weight_.span<T>(), ints(vertex_),
                               words_of(words), ints(slots), ints(first), ints(workspace), ints(count));
  }
  vertices_ = std::int64_t(count.to(kCpu).item());
  begin_ = integers(vertices_ + 1);
  splats_ = integers(dims_.splats());
  ATROUS_CHECK(ValueError, vertices_ > 0, op, "a lattice without points");
  neighbours_ = integers(2 * dims_.corners() * vertices_);
  Tensor workspace = integers(kernels::lattice_link_workspace_size(dims_, vertices_, device));
  kernels::lattice_link<T>(stream_, dims_, keys_, vertices_, span_of<T>(weight_), ints(vertex_),
                           words_of(words), ints(slots), ints(first), ints(workspace), ints(begin_),
                           ints(splats_), ints(neighbours_));
}

template <class T>
void Lattice<T>::build_tiled(Span<const T> features) {
  if constexpr (std::is_same_v<T, float>) {
    namespace tiled = kernels::tiled;
    const auto integers = [](std::int64_t n) { return Tensor::empty({n}, Dtype::i32); };
    weight_ = Tensor::empty({dims_.splats()});
    local_ = Tensor::empty({2 * dims_.splats()}, Dtype::u8);
    const Span<std::uint16_t> local{static_cast<std::uint16_t*>(local_.data()), dims_.splats()};
    tile_begin_ = integers(tiled::Tiling(dims_).tiles() + 1);
    Tensor found = Tensor::empty({dims_.splats()}, Dtype::i64);
    const std::int64_t locals = tiled::number_locals(dims_, keys_, features, local, weight_.span<float>(),
                                                     ints(tile_begin_), words_of(found));
    Tensor keys = Tensor::empty({locals}, Dtype::i64), slots = integers(tiled::table_size(locals)),
           first = integers(locals);
    vertex_ = integers(locals);
    const tiled::Numbered numbered = tiled::number_vertices(
        dims_, ints(tile_begin_), words_of(found), words_of(keys), ints(slots), ints(vertex_), ints(first));
    found = {};
    vertices_ = numbered.vertices;
    const std::int64_t corners = dims_.corners();
    vertex_begin_ = integers(tile_begin_.numel());
    Tensor shared = integers(vertices_), shared_begin = integers(vertices_ + 1);
    splats_ = integers(locals - vertices_);
    neighbours_ = integers(corners * vertices_);
    chain_counts_ = Tensor::empty({corners}, Dtype::i64);
    Tensor plus = integers(corners * vertices_);
    const std::int64_t count =
        tiled::link(dims_, keys_, numbered, words_of(keys), ints(slots), ints(tile_begin_), ints(vertex_),
                    ints(first), ints(vertex_begin_), ints(shared), ints(shared_begin), ints(splats_),
                    ints(plus), ints(neighbours_), chain_counts_.span<std::int64_t>());
    shared_ = shared, begin_ = shared_begin;
    tiled_ = {dims_,
              vertices_,
              locals,
              count,
              local.data(),
              weight_.span<float>().data(),
              ints(tile_begin_).data(),
              ints(vertex_begin_).data(),
              ints(vertex_).data(),
              ints(shared_).data(),
              ints(begin_).data(),
              ints(splats_).data(),
              ints(neighbours_).data(),
              chain_counts_.span<std::int64_t>().data()};
  }
}

template <class T>
std::int64_t Lattice<T>::bytes() const {
  std::int64_t sum = 0;
  for (const Tensor* t : {&weight_, &vertex_, &begin_, &splats_, &neighbours_, &local_, &tile_begin_,
                          &vertex_begin_, &shared_, &chain_counts_})
    sum += t->bytes();
  return sum;
}

// The table of pre * values after the blur: [M + 1, classes] or, tiled, [L, stride].
template <class T>
Tensor Lattice<T>::blurred(std::int64_t classes, const Tensor& pre, bool transposed,
                           Span<const T> values) const {
  if constexpr (std::is_same_v<T, float>)
    if (tiled()) {
      Tensor table = Tensor::empty({tiled_.rows * kernels::tiled::stride_of(classes)});
      float* const rows = table.span<float>().data();
      kernels::tiled::splat(tiled_, classes, span_of<float>(pre).data(), values.data(), rows);
      kernels::tiled::blur(tiled_, classes, transposed, rows);
      return table;
    }
  Tensor table = Tensor::empty({(vertices_ + 1) * classes}, dtype_of<T>(), stream_.device);
  Tensor other = Tensor::empty({(vertices_ + 1) * classes}, dtype_of<T>(), stream_.device);
  kernels::lattice_splat<T>(stream_, dims_, vertices_, classes, span_of<T>(weight_), ints(vertex_),
                            ints(begin_), ints(splats_), span_of<T>(pre), values, table.span<T>());
  kernels::lattice_blur<T>(stream_, dims_, vertices_, classes, transposed, ints(neighbours_), table.span<T>(),
                           other.span<T>());
  return dims_.corners() % 2 == 1 ? other : table;
}

template <class T>
void Lattice<T>::filter(std::int64_t classes, const FilterScales& scales, double scale, bool transposed,
                        Span<const T> values, Span<T> out) const {
  const Tensor table = blurred(classes, scales.pre, transposed, values);
  if constexpr (std::is_same_v<T, float>)
    if (tiled())
      return kernels::tiled::slice(tiled_, classes, scale, span_of<float>(scales.post).data(),
                                   table.span<float>().data(), out.data());
  kernels::lattice_slice<T>(stream_, dims_, classes, scale, span_of<T>(weight_), ints(vertex_),
                            span_of<T>(scales.post), table.span<T>(), out);
}

template <class T>
void Lattice<T>::backward_features(std::int64_t classes, const FilterScales& scales, double scale,
                                   Span<const T> features, Span<const T> values, Span<const T> dout,
                                   Span<T> dfeatures) const {
  Tensor forward = blurred(classes, scales.pre, false, values);
  Tensor backward = blurred(classes, scales.post, true, dout);
  Tensor vertex = vertex_;
  if constexpr (std::is_same_v<T, float>)
    if (tiled()) {  // into the plain form's shapes: this is not the inner loop of anything
      vertex = Tensor::empty({dims_.splats()}, Dtype::i32);
      kernels::tiled::vertices_of_splats(tiled_, ints(vertex));
      const std::int64_t stride = kernels::tiled::stride_of(classes);
      for (Tensor* table : {&forward, &backward}) {
        Tensor narrow = Tensor::zeros({(vertices_ + 1) * classes});
        for (std::int64_t u = 0; u < vertices_; ++u)
          std::copy_n(std::as_const(*table).span<float>().data() + u * stride, classes,
                      narrow.span<float>().data() + u * classes);
        *table = narrow;
      }
    }
  kernels::lattice_backward_features<T>(stream_, dims_, keys_, classes, scale, features,
                                        std::as_const(vertex).span<std::int32_t>(), span_of<T>(scales.pre),
                                        span_of<T>(scales.post), values, dout, span_of<T>(forward),
                                        span_of<T>(backward), dfeatures);
}

template class Lattice<float>;
template class Lattice<double>;

}  // namespace atrous
