#include "atrous/kernels/permutohedral/permutohedral.h"

#include <cmath>
#include <cstring>

#include "tests/support/against_double.h"
#include "tests/support/catch.h"
#include "tests/support/cuda.h"
#include "tests/support/guarded.h"

namespace atrous::tests {
namespace {

using kernels::LatticeDims;
using kernels::LatticeKeys;
using Ints = std::vector<std::int32_t>;

constexpr Device kCuda = kCudaStream.device;

// Uniform in -scale..scale; the same numbers, which a float holds, for every T.
template <class T>
std::vector<T> scattered(std::int64_t n, double scale, std::uint64_t seed) {
  std::vector<T> v = random_values<T>(n, seed);
  for (T& x : v) x = T(float(double(x) * scale));
  return v;
}

// All that a build writes and a filter reads.
template <class T>
struct Built {
  LatticeKeys keys;
  std::vector<double> bounds;
  std::vector<T> weight;
  std::vector<std::uint64_t> words;
  Ints vertex, first, begin, splats, neighbours;
  std::int64_t vertices;
};

template <class T>
Built<T> built_on_cpu(const LatticeDims& d, const std::vector<T>& features) {
  Built<T> b;
  std::vector<double> strips(std::size_t(kernels::lattice_bounds_workspace_size(d)), 0.0);
  b.bounds.resize(std::size_t(2 * d.features));
  kernels::cpu::lattice_bounds<T>({}, d, features, strips, b.bounds);
  b.keys = kernels::lattice_keys("test", d, b.bounds);
  const auto splats = std::size_t(d.splats());
  b.weight.resize(splats);
  b.words.resize(splats * std::size_t(b.keys.words));
  b.vertex.resize(splats), b.first.resize(splats), b.splats.resize(splats);
  Ints slots(std::size_t(kernels::lattice_slots(d))), count(1), none;
  kernels::cpu::lattice_number<T>({}, d, b.keys, features, b.weight, b.vertex, b.words, slots, b.first, none,
                                  count);
  b.vertices = count[0];
  b.begin.resize(std::size_t(b.vertices + 1));
  b.neighbours.resize(std::size_t(2 * d.corners() * b.vertices));
  kernels::cpu::lattice_link<T>({}, d, b.keys, b.vertices, b.weight, b.vertex, b.words, slots, b.first, none,
                                b.begin, b.splats, b.neighbours);
  b.first.resize(std::size_t(b.vertices));
  return b;
}

template <class T>
Built<T> built_on_cuda(const LatticeDims& d, const std::vector<T>& features) {
  Built<T> b;
  const OnDevice<T> f(features);
  OnDevice<double> strips(kernels::lattice_bounds_workspace_size(d, kCuda)), bounds(2 * d.features);
  kernels::cuda::lattice_bounds<T>(kCudaStream, d, f.span(), strips.span(), bounds.span());
  b.bounds = bounds.values();
  b.keys = kernels::lattice_keys("test", d, b.bounds);
  OnDevice<T> weight(d.splats());
  OnDevice<std::uint64_t> words(d.splats() * b.keys.words);
  OnDevice<std::int32_t> vertex(d.splats()), first(d.splats()), splats(d.splats()),
      slots(kernels::lattice_slots(d)), count(1),
      number_workspace(kernels::lattice_number_workspace_size(d, kCuda));
  kernels::cuda::lattice_number<T>(kCudaStream, d, b.keys, f.span(), weight.span(), vertex.span(),
                                   words.span(), slots.span(), first.span(), number_workspace.span(),
                                   count.span());
  b.vertices = count.values()[0];
  OnDevice<std::int32_t> begin(b.vertices + 1), neighbours(2 * d.corners() * b.vertices),
      link_workspace(kernels::lattice_link_workspace_size(d, b.vertices, kCuda));
  const auto read = [](const auto& x) { return x.span(); };
  kernels::cuda::lattice_link<T>(kCudaStream, d, b.keys, b.vertices, read(weight), read(vertex), read(words),
                                 read(slots), read(first), link_workspace.span(), begin.span(), splats.span(),
                                 neighbours.span());
  CHECK((strips.intact() && bounds.intact() && weight.intact() && words.intact() && vertex.intact()));
  CHECK((first.intact() && splats.intact() && slots.intact() && number_workspace.intact()));
  CHECK((begin.intact() && neighbours.intact() && link_workspace.intact()));
  b.weight = weight.values(), b.words = words.values(), b.vertex = vertex.values();
  b.begin = begin.values(), b.splats = splats.values(), b.neighbours = neighbours.values();
  OnDevice<std::int32_t> numbered(b.vertices);  // of `first` the part that was written
  ATROUS_CUDA_CHECK("test",
                    cudaMemcpy(numbered.span().data(), first.span().data(),
                               std::size_t(b.vertices) * sizeof(std::int32_t), cudaMemcpyDeviceToDevice));
  b.first = numbered.values();
  return b;
}

// The filter and its gradient by the features, from a lattice that was built already.
template <class T>
struct Results {
  std::vector<T> table, out, transposed, dfeatures;
};

template <class T>
struct Problem {
  LatticeDims dims;
  std::int64_t classes;
  std::vector<T> features, pre, post, values, dout;
};

// Table and its partner after the blur: the one that holds the result.
template <class Memory>
Memory& blurred(const LatticeDims& d, Memory& table, Memory& other) {
  return d.corners() % 2 ? other : table;
}

template <class T>
Results<double> filtered_on_cpu(const Problem<T>& p, const Built<T>& b) {
  using D = std::vector<double>;
  const auto rows = std::size_t((b.vertices + 1) * p.classes);
  const D weight = in_double(b.weight), pre = in_double(p.pre), post = in_double(p.post),
          values = in_double(p.values), dout = in_double(p.dout);
  Results<double> r;
  const auto through = [&](bool reversed, const D& before, const D& after, const D& v, D& out) {
    D table(rows), other(rows);
    kernels::cpu::lattice_splat<double>({}, p.dims, b.vertices, p.classes, weight, b.vertex, b.begin,
                                        b.splats, before, v, table);
    if (!reversed) r.table = table;
    kernels::cpu::lattice_blur<double>({}, p.dims, b.vertices, p.classes, reversed, b.neighbours, table,
                                       other);
    const D& result = blurred(p.dims, table, other);
    out.resize(v.size());
    kernels::cpu::lattice_slice<double>({}, p.dims, p.classes, 0.75, weight, b.vertex, after, result, out);
    return result;
  };
  const D forward = through(false, pre, post, values, r.out),
          backward = through(true, post, pre, dout, r.transposed);
  r.dfeatures.resize(p.features.size());
  kernels::cpu::lattice_backward_features<double>({}, p.dims, b.keys, p.classes, 0.75, in_double(p.features),
                                                  b.vertex, pre, post, values, dout, forward, backward,
                                                  r.dfeatures);
  return r;
}

template <class T>
Results<T> filtered_on_cuda(const Problem<T>& p, const Built<T>& b) {
  const std::int64_t rows = (b.vertices + 1) * p.classes;
  const OnDevice<T> features(p.features), weight(b.weight), pre(p.pre), post(p.post), values(p.values),
      dout(p.dout);
  const OnDevice<std::int32_t> vertex(b.vertex), begin(b.begin), splats(b.splats), neighbours(b.neighbours);
  OnDevice<T> table(rows), other(rows), back(rows), back_other(rows), out(values.size()),
      transposed(values.size()), dfeatures(features.size());
  Results<T> r;
  const auto through = [&](bool reversed, Span<const T> before, Span<const T> after, Span<const T> v,
                           OnDevice<T>& one, OnDevice<T>& two, Span<T> to) {
    kernels::cuda::lattice_splat<T>(kCudaStream, p.dims, b.vertices, p.classes, weight.span(), vertex.span(),
                                    begin.span(), splats.span(), before, v, one.span());
    if (!reversed) r.table = one.values();
    kernels::cuda::lattice_blur<T>(kCudaStream, p.dims, b.vertices, p.classes, reversed, neighbours.span(),
                                   one.span(), two.span());
    OnDevice<T>& result = blurred(p.dims, one, two);
    kernels::cuda::lattice_slice<T>(kCudaStream, p.dims, p.classes, 0.75, weight.span(), vertex.span(), after,
                                    std::as_const(result).span(), to);
  };
  through(false, pre.span(), post.span(), values.span(), table, other, out.span());
  through(true, post.span(), pre.span(), dout.span(), back, back_other, transposed.span());
  kernels::cuda::lattice_backward_features<T>(
      kCudaStream, p.dims, b.keys, p.classes, 0.75, features.span(), vertex.span(), pre.span(), post.span(),
      values.span(), dout.span(), std::as_const(blurred(p.dims, table, other)).span(),
      std::as_const(blurred(p.dims, back, back_other)).span(), dfeatures.span());
  CHECK((table.intact() && other.intact() && back.intact() && back_other.intact()));
  CHECK((out.intact() && transposed.intact() && dfeatures.intact()));
  r.out = out.values(), r.transposed = transposed.values(), r.dfeatures = dfeatures.values();
  return r;
}

}  // namespace

TEMPLATE_TEST_CASE("permutohedral: CUDA builds the CPU's lattice to the bit, in any order of threads",
                   "[cuda][permutohedral]", float, double) {
  using T = TestType;
  struct Row {
    LatticeDims dims;
    double scale;  // of the features: how many points meet at a vertex
  };
  // Keys of one word and of several; one vertex for all and one for each; more than 2048 splats, which is a
  // tile of scans and of sorting; more than 65536 vertices would need a third pass, see below.
  for (const Row& row : {Row{{1, 1}, 1},
                         {{700, 1}, 1e5},
                         {{40, 2}, 0},
                         {{900, 2}, 3},
                         {{300, 3}, 50},
                         {{450, 5}, 1.5},
                         {{60, 12}, 1e5},
                         {{20, 32}, 3}}) {
    INFO(row.dims.points << " points of " << row.dims.features << " features up to " << row.scale);
    const auto features = scattered<T>(row.dims.points * row.dims.features, row.scale, 7);
    const Built<T> cpu = built_on_cpu<T>(row.dims, features);
    if (row.dims.features == 12) CHECK(cpu.keys.words > 2);
    on_every_schedule([&] {
      const Built<T> cuda = built_on_cuda<T>(row.dims, features);
      CHECK(same_bits(cuda.bounds, cpu.bounds));
      CHECK(same_bits(cuda.weight, cpu.weight));
      CHECK(cuda.words == cpu.words);
      CHECK(cuda.vertices == cpu.vertices);
      CHECK(cuda.vertex == cpu.vertex);
      CHECK(cuda.first == cpu.first);
      CHECK(cuda.begin == cpu.begin);
      CHECK(cuda.splats == cpu.splats);
      CHECK(cuda.neighbours == cpu.neighbours);
    });
  }
}

TEST_CASE("permutohedral: on CUDA numbers of vertices of more than 16 bits are sorted",
          "[cuda][permutohedral]") {
  const LatticeDims d{40000, 1};
  const auto features = scattered<float>(d.points, 1e6, 3);
  const Built<float> cpu = built_on_cpu<float>(d, features), cuda = built_on_cuda<float>(d, features);
  CHECK(cpu.vertices > 65536);
  CHECK(cuda.vertex == cpu.vertex);
  CHECK(cuda.begin == cpu.begin);
  CHECK(cuda.splats == cpu.splats);
  CHECK(cuda.neighbours == cpu.neighbours);
}

TEMPLATE_TEST_CASE("permutohedral: on CUDA bounds of many strips and features", "[cuda][permutohedral]",
                   float, double) {
  using T = TestType;
  for (const LatticeDims& d : {LatticeDims{5000, 3}, {3, 300}, {2100, 1}}) {
    auto features = scattered<T>(d.points * d.features, 10, 5);
    const auto bounds = [&] {
      const OnDevice<T> f(features);
      OnDevice<double> strips(kernels::lattice_bounds_workspace_size(d, kCuda)), result(2 * d.features);
      kernels::cuda::lattice_bounds<T>(kCudaStream, d, f.span(), strips.span(), result.span());
      CHECK((strips.intact() && result.intact()));
      return result.values();
    };
    std::vector<double> strips(std::size_t(kernels::lattice_bounds_workspace_size(d)), 0.0),
        truth(std::size_t(2 * d.features));
    const auto on_cpu = [&] {
      kernels::cpu::lattice_bounds<T>({}, d, features, strips, truth);
      return truth;
    };
    CHECK(same_bits(bounds(), on_cpu()));
    // Of what is not finite a NaN is left, on either device.
    features[features.size() / 2] = T(INFINITY);
    const std::size_t broken = features.size() / 2 % std::size_t(d.features);
    for (const auto& b : {bounds(), on_cpu()})
      for (std::size_t k = 0; k < std::size_t(d.features); ++k) {
        CHECK(std::isnan(b[k]) == (k == broken));
        CHECK(std::isnan(b[std::size_t(d.features) + k]) == (k == broken));
      }
  }
}

TEMPLATE_TEST_CASE("permutohedral: CUDA filters as the CPU does in double", "[cuda][permutohedral]", float,
                   double) {
  using T = TestType;
  struct Row {
    LatticeDims dims;
    std::int64_t classes;
    double scale;
    bool scaled;
  };
  // Every way through: short lists; one list of 150 and 400 splats; a long list of more classes than threads.
  for (const Row& row : {Row{{1, 1}, 1, 1, false},
                         {{90, 2}, 21, 2, true},
                         {{150, 2}, 3, 0, false},
                         {{130, 3}, 600, 0.01, true},
                         {{200, 5}, 2, 1.5, false},
                         {{400, 5}, 3, 0.05, true},
                         {{30, 8}, 5, 1, true}}) {
    const LatticeDims& d = row.dims;
    INFO(d.points << " points of " << d.features << " features up to " << row.scale << ", " << row.classes
                  << " classes");
    Problem<T> p{d, row.classes, scattered<T>(d.points * d.features, row.scale, 11), {}, {}, {}, {}};
    p.values = random_values<T>(d.points * row.classes, 12);
    p.dout = random_values<T>(d.points * row.classes, 13);
    if (row.scaled) p.pre = random_values<T>(d.points, 14), p.post = random_values<T>(d.points, 15);
    const Built<T> built = built_on_cpu<T>(d, p.features);
    const Results<double> truth = filtered_on_cpu(p, built);
    Results<T> before;
    on_every_schedule([&] {
      const Results<T> got = filtered_on_cuda(p, built);
      CHECK(gap(got.table, truth.table) <= tolerance<T>());
      CHECK(gap(got.out, truth.out) <= tolerance<T>());
      CHECK(gap(got.transposed, truth.transposed) <= tolerance<T>());
      CHECK(gap(got.dfeatures, truth.dfeatures) <= 10 * tolerance<T>());  // differences of corners
      if (before.out.empty()) before = got;
      CHECK(same_bits(got.out, before.out));
      CHECK(same_bits(got.transposed, before.transposed));
      CHECK(same_bits(got.dfeatures, before.dfeatures));
    });
  }
}

}  // namespace atrous::tests
