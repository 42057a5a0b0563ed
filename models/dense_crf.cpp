#include "atrous/models/dense_crf.h"

#include <algorithm>
#include <cmath>
#include <sstream>
#include <utility>

#include "atrous/autograd/point_filter.h"
#include "atrous/autograd/reduce.h"
#include "atrous/autograd/softmax.h"
#include "atrous/core/error.h"
#include "atrous/core/parallel.h"
#include "atrous/kernels/dense_crf/dense_crf.h"
#include "atrous/kernels/elementwise/elementwise.h"
#include "atrous/kernels/softmax/softmax.h"

namespace atrous::models {
namespace {

constexpr const char* kOp = "dense_crf";
constexpr double kSeparableSigma = 2;  // pixels; up to here rows and columns are faster than a lattice

template <class T>
Span<const T> part(const Tensor& t, std::int64_t image, std::int64_t size) {
  return t.span<T>().part(image * size, size);
}
template <class T>
Span<T> part(Tensor& t, std::int64_t image, std::int64_t size) {
  return t.span<T>().part(image * size, size);
}

kernels::CrfCompatibility kernel_kind(Compatibility::Kind kind) {
  switch (kind) {
    case Compatibility::Kind::diagonal:
      return kernels::CrfCompatibility::diagonal;
    case Compatibility::Kind::matrix:
      return kernels::CrfCompatibility::matrix;
    case Compatibility::Kind::potts:
      break;
  }
  return kernels::CrfCompatibility::potts;
}

// A term with its filters, one for each image; of the two vectors the one of the unary's type is used.
struct Term {
  Compatibility compatibility;
  std::vector<PointFilter<float>> f32;
  std::vector<PointFilter<double>> f64;

  template <class T>
  std::vector<PointFilter<T>>& filters() {
    if constexpr (std::is_same_v<T, float>)
      return f32;
    else
      return f64;
  }
};

void check_sigma(const char* what, double sigma) {
  ATROUS_CHECK(ValueError, sigma > 0 && std::isfinite(sigma), kOp, what, " ", sigma,
               " must be positive and finite");
}

}  // namespace

Compatibility Compatibility::matrix(std::vector<double> penalty, bool symmetrize) {
  Compatibility c{Kind::matrix, std::move(penalty)};
  if (!symmetrize) return c;
  const auto n = std::size_t(std::llround(std::sqrt(double(c.values.size()))));
  ATROUS_CHECK(ShapeError, n * n == c.values.size(), kOp, "a compatibility matrix of ", c.values.size(),
               " values is not square");
  for (std::size_t a = 0; a < n; ++a)
    for (std::size_t b = 0; b < a; ++b)
      c.values[a * n + b] = c.values[b * n + a] = (c.values[a * n + b] + c.values[b * n + a]) / 2;
  return c;
}

struct DenseCrf::State {
  Shape shape;  // of the unary
  std::int64_t batch, height, width, classes;
  Tensor logits;  // -U
  Tensor q;
  std::vector<Term> terms;
  std::int64_t iterations = 0;
  double last_change = 0;  // of an image's last iteration, where it was asked for

  std::int64_t points() const { return height * width; }
  std::int64_t elements() const { return points() * classes; }
  kernels::LatticeDims lattice_dims(std::int64_t features) const {
    return {points(), features, height > 1 ? width : 0};
  }
  bool is_double() const { return logits.dtype() == Dtype::f64; }

  /// f.operator()<T>() in the type of the unary.
  template <class F>
  decltype(auto) visit(const F& f) const {
    return is_double() ? f.template operator()<double>() : f.template operator()<float>();
  }

  void check_compatibility(const Compatibility& c) const {
    const std::size_t wanted = c.kind == Compatibility::Kind::potts      ? 1
                               : c.kind == Compatibility::Kind::diagonal ? std::size_t(classes)
                                                                         : std::size_t(classes * classes);
    ATROUS_CHECK(ShapeError, c.values.size() == wanted, kOp, "the compatibility has ", c.values.size(),
                 " values; ", classes, " classes need ", wanted);
    for (const double v : c.values)
      ATROUS_CHECK(ValueError, std::isfinite(v), kOp, "a compatibility of ", v, " is not finite");
  }
  void check_points(std::int64_t features) const {
    ATROUS_CHECK(ValueError, points() < (std::int64_t(1) << 31) / (features + 1), kOp, "an image of ", height,
                 " x ", width, " pixels with ", features, " features has ", points(), " x ", features + 1,
                 " splats, and one lattice holds less than 2^31: cut it into tiles that overlap");
  }

  /// [N, H, W, sigma.size()]; the image may be undefined.
  Tensor pixel_features(const Tensor& image, const std::vector<double>& sigma) const {
    const auto count = std::int64_t(sigma.size());
    const Tensor sigmas = Tensor::from({count}, sigma).to(logits.dtype()).to(logits.device());
    Tensor features = Tensor::empty({batch, height, width, count}, logits.dtype(), logits.device());
    visit([&]<class T>() {
      kernels::pixel_features_forward<T>(logits.stream(), {batch, height, width, count - 2},
                                         image.defined() ? image.span<T>() : Span<const T>(),
                                         sigmas.span<T>(), features.span<T>());
    });
    return features;
  }

  void add_features(const Compatibility& compatibility, const TermOptions& options, std::int64_t count,
                    const Tensor& features) {
    Term term{compatibility, {}, {}};
    visit([&]<class T>() {
      for (std::int64_t n = 0; n < batch; ++n)
        term.filters<T>().emplace_back(
            kOp, features.stream(), lattice_dims(count), part<T>(features, n, points() * count),
            GaussianFilterOptions{options.method, options.normalization, options.scale});
    });
    terms.push_back(std::move(term));
  }

  template <class T>
  Tensor compatibility_tensor(const Compatibility& c) const {
    Tensor mu = Tensor::empty({std::int64_t(c.values.size())}, dtype_of<T>());
    std::transform(c.values.begin(), c.values.end(), mu.span<T>().begin(), [](double v) { return T(v); });
    return mu.to(logits.device());
  }

  template <class T>
  void softmax_of(Span<const T> z, Span<T> out) const {
    kernels::softmax_forward<T>(logits.stream(), {points(), classes}, z, out);
  }

  template <class T>
  std::int64_t infer_plain(std::int64_t n, const InferenceOptions& options, bool from_q);
  template <class T>
  bool fused(std::int64_t n);
  std::int64_t infer_fused(std::int64_t n, const InferenceOptions& options, bool from_q);
  template <class T>
  double energy(double pairwise_factor, bool potts_as_gain);
};

// All iterations of one image by the separate kernels: any type, method and device. Returns the number of
// iterations. The host waits for a device only where it has to know how far the marginals moved.
template <class T>
std::int64_t DenseCrf::State::infer_plain(std::int64_t n, const InferenceOptions& options, bool from_q) {
  const Stream stream = logits.stream();
  Tensor z = Tensor::empty({elements()}, dtype_of<T>(), logits.device());
  Tensor message = Tensor::empty({elements()}, dtype_of<T>(), logits.device());
  const Span<const T> read_z = std::as_const(z).span<T>(), read_message = std::as_const(message).span<T>(),
                      start = part<T>(std::as_const(logits), n, elements());
  std::vector<Tensor> mu;
  for (const Term& term : terms) mu.push_back(compatibility_tensor<T>(term.compatibility));
  const Span<T> now = part<T>(q, n, elements());
  const bool tracked = options.tolerance > 0 || from_q;
  if (!from_q) softmax_of<T>(start, now);
  for (std::int64_t t = 1; t <= options.iterations; ++t) {
    kernels::scale_forward<T>(stream, 1.0, start, z.span<T>());
    for (std::size_t m = 0; m < terms.size(); ++m) {
      terms[m].filters<T>()[std::size_t(n)].apply(classes, false, now, message.span<T>());
      kernels::crf_add_message<T>(stream, {points(), classes}, kernel_kind(terms[m].compatibility.kind),
                                  mu[m].span<T>(), read_message, z.span<T>());
    }
    if (!tracked && options.relax == 1) {
      softmax_of<T>(read_z, now);
      continue;
    }
    softmax_of<T>(read_z, message.span<T>());
    if (options.relax != 1) kernels::crf_relax<T>(stream, options.relax, now, message.span<T>());
    if (tracked) {
      kernels::scale_forward<T>(stream, -1.0, now, z.span<T>());
      kernels::add_forward<T>(stream, read_z, read_message, z.span<T>());
      last_change = max_abs(z);
    }
    kernels::scale_forward<T>(stream, 1.0, read_message, now);
    if (options.tolerance > 0 && last_change <= options.tolerance) return t;
  }
  return options.iterations;
}

template <class T>
bool DenseCrf::State::fused(std::int64_t n) {
  if constexpr (!std::is_same_v<T, float>) return false;
  if (terms.empty() || std::int64_t(terms.size()) > kernels::tiled::kMostUpdateTerms ||
      classes > kernels::tiled::kMostUpdateClasses)
    return false;
  return std::all_of(terms.begin(), terms.end(), [&](const Term& term) {
    const auto* lattice = term.f32[std::size_t(n)].lattice();
    return lattice && lattice->tiled();
  });
}

// All iterations of one image on tiles: slices, compatibilities, softmax and the next splat in one pass.
// Returns the number of iterations.
std::int64_t DenseCrf::State::infer_fused(std::int64_t n, const InferenceOptions& options, bool from_q) {
  namespace tiled = kernels::tiled;
  struct Buffers {
    Tensor table, other;  // which take turns: one is read while the next values are splatted into the other
    Tensor mu;
  };
  const std::int64_t stride = tiled::stride_of(classes);
  std::vector<Buffers> buffers;
  std::vector<tiled::Term> fused_terms;
  for (Term& term : terms) {
    const PointFilter<float>& filter = term.f32[std::size_t(n)];
    const tiled::Lattice& lattice = *filter.lattice()->tiled();
    Buffers b;
    b.table = Tensor::empty({lattice.rows * stride});
    b.other = Tensor::empty({lattice.rows * stride});
    if (term.compatibility.kind == Compatibility::Kind::diagonal) {
      b.mu = Tensor::zeros({stride});
      for (std::int64_t c = 0; c < classes; ++c)
        b.mu.span<float>()[c] = float(term.compatibility.values[std::size_t(c)]);
    } else if (term.compatibility.kind == Compatibility::Kind::matrix) {
      b.mu = Tensor::zeros({classes, stride});
      for (std::int64_t a = 0; a < classes; ++a)
        for (std::int64_t c = 0; c < classes; ++c)
          b.mu.span<float>()[c * stride + a] =
              -float(term.compatibility.values[std::size_t(a * classes + c)]);
    }
    const auto scale_of = [](const Tensor& t) { return t.defined() ? t.span<float>().data() : nullptr; };
    const double weight =
        term.compatibility.kind == Compatibility::Kind::potts ? term.compatibility.values[0] : 1.0;
    fused_terms.push_back({lattice, scale_of(filter.scales().pre), scale_of(filter.scales().post),
                           float(weight * filter.factor()), nullptr, b.other.span<float>().data()});
    buffers.push_back(std::move(b));
  }
  Tensor changes = Tensor::empty({tiled::Tiling(fused_terms[0].lattice.dims).tiles()});
  const float* const z = part<float>(std::as_const(logits), n, elements()).data();
  float* const marginals = part<float>(q, n, elements()).data();
  const bool tracked = options.tolerance > 0 || options.relax != 1 || from_q;
  if (from_q) {
    for (const tiled::Term& t : fused_terms) tiled::splat(t.lattice, classes, t.pre, marginals, t.next);
  } else {
    const bool last = options.iterations == 0;
    tiled::update(fused_terms, classes, z, 1, nullptr, tracked || last ? marginals : nullptr,
                  changes.span<float>());
  }
  for (std::int64_t t = 1; t <= options.iterations; ++t) {
    for (std::size_t m = 0; m < terms.size(); ++m) {
      tiled::Term& term = fused_terms[m];
      float *table = term.next, *other = buffers[m].table.span<float>().data();
      if (table == other) other = buffers[m].other.span<float>().data();
      if (!(from_q && t == 1)) tiled::merge(term.lattice, classes, table);
      tiled::blur(term.lattice, classes, false, table);
      if (terms[m].compatibility.kind == Compatibility::Kind::diagonal)
        tiled::scale_rows(term.lattice, classes, buffers[m].mu.span<float>().data(), table);
      if (terms[m].compatibility.kind == Compatibility::Kind::matrix)
        tiled::mix_rows(term.lattice, classes, buffers[m].mu.span<float>().data(), table);
      term.table = table;
      term.next = t < options.iterations ? other : nullptr;
    }
    const bool last = t == options.iterations;
    const float change =
        tiled::update(fused_terms, classes, z, float(options.relax), tracked ? marginals : nullptr,
                      tracked || last ? marginals : nullptr, changes.span<float>());
    last_change = double(change);
    if (options.tolerance > 0 && double(change) <= options.tolerance) return t;
  }
  return options.iterations;
}

DenseCrf::DenseCrf(const Tensor& unary) : state_(std::make_unique<State>()) {
  State& s = *state_;
  ATROUS_CHECK(
      ShapeError,
      unary.defined() && (unary.rank() == 4 || unary.rank() == 2) && unary.dim(-1) >= 1 && unary.numel() > 0,
      kOp, "unary ", unary.shape(), " must be [N, H, W, C] or, for points, [P, C], and not empty");
  ATROUS_CHECK(DtypeError, unary.dtype() == Dtype::f32 || unary.dtype() == Dtype::f64, kOp,
               "unary is f32 or f64, not ", unary.dtype());
  s.shape = unary.shape();
  const bool image = unary.rank() == 4;
  s.batch = image ? unary.dim(0) : 1;
  s.height = image ? unary.dim(1) : 1;
  s.width = image ? unary.dim(2) : unary.dim(0);
  s.classes = unary.dim(-1);
  s.logits = Tensor::empty(unary.shape(), unary.dtype(), unary.device());
  s.visit([&]<class T>() {
    kernels::scale_forward<T>(unary.stream(), -1.0, unary.span<T>(), s.logits.span<T>());
  });
  if (all_finite(s.logits)) return;
  const Tensor host = s.logits.to(kCpu).to(Dtype::f64);
  const Span<const double> z = host.span<double>();
  for (std::int64_t i = 0; i < z.size(); ++i)
    ATROUS_CHECK(ValueError, std::isfinite(z[i]), kOp, "the energy of pixel ", i / s.classes, ", class ",
                 i % s.classes, " is ", -z[i], ", not finite");
}
DenseCrf::~DenseCrf() = default;
DenseCrf::DenseCrf(DenseCrf&&) noexcept = default;
DenseCrf& DenseCrf::operator=(DenseCrf&&) noexcept = default;

void DenseCrf::add_gaussian(std::array<double, 2> sigma_xy, const Compatibility& compatibility,
                            const TermOptions& options) {
  State& s = *state_;
  for (const double sigma : sigma_xy) check_sigma("the standard deviation of places", sigma);
  s.check_compatibility(compatibility);
  TermOptions chosen = options;
  if (chosen.method == FilterMethod::automatic)
    chosen.method = std::max(sigma_xy[0], sigma_xy[1]) <= kSeparableSigma ? FilterMethod::separable
                                                                          : FilterMethod::lattice;
  if (chosen.method == FilterMethod::separable) {
    Term term{compatibility, {}, {}};
    s.visit([&]<class T>() {
      for (std::int64_t n = 0; n < s.batch; ++n)
        term.filters<T>().emplace_back(
            s.logits.stream(),
            kernels::SeparableGaussianDims{s.height, s.width, s.classes, sigma_xy[0], sigma_xy[1]},
            chosen.normalization);
    });
    s.terms.push_back(std::move(term));
    return;
  }
  s.check_points(2);
  s.add_features(compatibility, chosen, 2, s.pixel_features({}, {sigma_xy[0], sigma_xy[1]}));
}

void DenseCrf::add_bilateral(const Tensor& image, std::array<double, 2> sigma_xy,
                             const std::vector<double>& sigma_image, const Compatibility& compatibility,
                             const TermOptions& options) {
  State& s = *state_;
  ATROUS_CHECK(ShapeError,
               image.defined() && image.rank() == 4 && image.dim(0) == s.batch && image.dim(1) == s.height &&
                   image.dim(2) == s.width && image.dim(3) >= 1,
               kOp, "image ", image.shape(), " must be [", s.batch, ", ", s.height, ", ", s.width,
               ", channels]: unary is ", s.shape);
  const std::int64_t channels = image.dim(3);
  ATROUS_CHECK(ShapeError, sigma_image.size() == 1 || std::int64_t(sigma_image.size()) == channels, kOp,
               sigma_image.size(), " standard deviations of colours for ", channels,
               " channels: one, or one each");
  for (const double sigma : sigma_xy) check_sigma("the standard deviation of places", sigma);
  for (const double sigma : sigma_image) check_sigma("the standard deviation of colours", sigma);
  s.check_compatibility(compatibility);
  s.check_points(2 + channels);
  std::vector<double> sigma(sigma_xy.begin(), sigma_xy.end());
  for (std::int64_t c = 0; c < channels; ++c)
    sigma.push_back(sigma_image[sigma_image.size() == 1 ? 0 : std::size_t(c)]);
  TermOptions chosen = options;
  if (chosen.method == FilterMethod::automatic) chosen.method = FilterMethod::lattice;
  s.add_features(compatibility, chosen, 2 + channels,
                 s.pixel_features(image.to(s.logits.dtype()).to(s.logits.device()), sigma));
}

void DenseCrf::add_pairwise(const Tensor& features, const Compatibility& compatibility,
                            const TermOptions& options) {
  State& s = *state_;
  ATROUS_CHECK(ShapeError,
               features.defined() && features.rank() == s.shape.rank() && features.dim(-1) >= 1 &&
                   features.numel() / features.dim(-1) == s.shape.numel() / s.classes,
               kOp, "features ", features.shape(), " do not belong to unary ", s.shape);
  for (int axis = 0; axis + 1 < s.shape.rank(); ++axis)
    ATROUS_CHECK(ShapeError, features.dim(axis) == s.shape[axis], kOp, "features ", features.shape(),
                 " do not belong to unary ", s.shape);
  s.check_compatibility(compatibility);
  s.check_points(features.dim(-1));
  TermOptions chosen = options;
  if (chosen.method == FilterMethod::automatic) chosen.method = FilterMethod::lattice;
  s.add_features(compatibility, chosen, features.dim(-1),
                 features.to(s.logits.dtype()).to(s.logits.device()));
}

void DenseCrf::set_compatibility(std::size_t term, const Compatibility& compatibility) {
  ATROUS_CHECK(ValueError, term < state_->terms.size(), kOp, "there is no term ", term);
  state_->check_compatibility(compatibility);
  state_->terms[term].compatibility = compatibility;
}

const Tensor& DenseCrf::inference(const InferenceOptions& options) {
  State& s = *state_;
  ATROUS_CHECK(ValueError, options.iterations >= 0, kOp, options.iterations, " iterations");
  ATROUS_CHECK(ValueError, options.relax > 0 && options.relax <= 1, kOp, "relax ", options.relax,
               " is not in (0, 1]");
  ATROUS_CHECK(ValueError, options.tolerance >= 0, kOp, "tolerance ", options.tolerance, " is below 0");
  s.q = Tensor::empty(s.shape, s.logits.dtype(), s.logits.device());
  s.iterations = 0;
  s.visit([&]<class T>() {
    for (std::int64_t n = 0; n < s.batch; ++n) {
      const std::int64_t done =
          s.fused<T>(n) ? s.infer_fused(n, options, false) : s.infer_plain<T>(n, options, false);
      s.iterations = std::max(s.iterations, done);
    }
  });
  return s.q;
}

void DenseCrf::start() { inference({.iterations = 0}); }

double DenseCrf::step(double relax) {
  State& s = *state_;
  ATROUS_CHECK(ValueError, s.q.defined(), kOp, "step() before start()");
  ATROUS_CHECK(ValueError, relax > 0 && relax <= 1, kOp, "relax ", relax, " is not in (0, 1]");
  double change = 0;
  s.visit([&]<class T>() {
    for (std::int64_t n = 0; n < s.batch; ++n) {
      const InferenceOptions once{.iterations = 1, .relax = relax};
      s.fused<T>(n) ? s.infer_fused(n, once, true) : s.infer_plain<T>(n, once, true);
      change = std::max(change, s.last_change);
    }
  });
  ++s.iterations;
  return change;
}

const Tensor& DenseCrf::q() const {
  ATROUS_CHECK(ValueError, state_->q.defined(), kOp, "q() before inference() or start()");
  return state_->q;
}
Tensor DenseCrf::map() const { return argmax_channels(q()); }
std::int64_t DenseCrf::iterations() const { return state_->iterations; }
std::int64_t DenseCrf::classes() const { return state_->classes; }

// sum of Q (log Q + U) + factor sum over terms of <Q, mu k Q>
template <class T>
double DenseCrf::State::energy(double factor, bool potts_as_gain) {
  double total = 0;
  Tensor message = Tensor::empty({elements()}, dtype_of<T>(), logits.device());
  const Tensor of_q = q.to(kCpu), of_logits = logits.to(kCpu);
  for (std::int64_t n = 0; n < batch; ++n) {
    const Span<const T> p = part<T>(of_q, n, elements()), z = part<T>(of_logits, n, elements());
    // One sum for each row of the image, then all of them in order.
    const auto add_rows = [&](auto&& of_pixel) {
      std::vector<double> rows(std::size_t(height), 0.0);
      parallel_for(height, [&](std::int64_t begin, std::int64_t end) {
        for (std::int64_t i = begin * width; i < end * width; ++i)
          rows[std::size_t(i / width)] += of_pixel(i * classes);
      });
      double sum = 0;
      for (const double row : rows) sum += row;
      return sum;
    };
    total += add_rows([&](std::int64_t at) {
      double sum = 0;
      for (std::int64_t c = at; c < at + classes; ++c)
        sum += double(p[c]) * (std::log(std::max(double(p[c]), 1e-300)) - double(z[c]));
      return sum;
    });
    for (Term& term : terms) {
      term.filters<T>()[std::size_t(n)].apply(classes, false, part<T>(std::as_const(q), n, elements()),
                                              message.span<T>());
      const Tensor host = message.to(kCpu);
      const Span<const T> f = host.span<T>();
      const std::vector<double>& mu = term.compatibility.values;
      total += factor * add_rows([&](std::int64_t at) {
                 double sum = 0, all = 0, same = 0;
                 switch (term.compatibility.kind) {
                   case Compatibility::Kind::potts:
                     for (std::int64_t c = at; c < at + classes; ++c) {
                       all += double(f[c]);
                       same += double(p[c]) * double(f[c]);
                     }
                     sum = mu[0] * ((potts_as_gain ? 0 : all) - same);
                     break;
                   case Compatibility::Kind::diagonal:
                     for (std::int64_t c = 0; c < classes; ++c)
                       sum -= mu[std::size_t(c)] * double(p[at + c]) * double(f[at + c]);
                     break;
                   case Compatibility::Kind::matrix:
                     for (std::int64_t a = 0; a < classes; ++a)
                       for (std::int64_t b = 0; b < classes; ++b)
                         sum += mu[std::size_t(a * classes + b)] * double(p[at + a]) * double(f[at + b]);
                     break;
                 }
                 return sum;
               });
    }
  }
  return total;
}

double DenseCrf::free_energy() const {
  q();
  return state_->visit([&]<class T>() { return state_->energy<T>(0.5, false); });
}
double DenseCrf::kl_divergence_pydensecrf() const {
  q();
  return state_->visit([&]<class T>() { return state_->energy<T>(1, true); });
}

std::int64_t DenseCrf::vertices(std::size_t term) const {
  Term& t = state_->terms.at(term);
  std::int64_t sum = 0;
  state_->visit([&]<class T>() {
    for (const auto& filter : t.filters<T>()) sum += filter.lattice() ? filter.lattice()->vertices() : 0;
  });
  return sum;
}

std::int64_t DenseCrf::bytes() const {
  std::int64_t sum = state_->logits.bytes() + state_->q.bytes();
  state_->visit([&]<class T>() {
    for (Term& term : state_->terms)
      for (const auto& filter : term.filters<T>()) sum += filter.bytes();
  });
  return sum;
}

std::string CrfParameters::describe() const {
  std::ostringstream text;
  text << "gaussian " << gaussian_weight << ',' << gaussian_sigma << " bilateral " << bilateral_weight << ','
       << bilateral_sigma_xy << ',' << bilateral_sigma_rgb << ' ' << normalization_name(normalization) << ", "
       << iterations << " iterations";
  return text.str();
}

CrfParameters crf_preset(const std::string& name) {
  std::string stem = name;
  const std::string suffix = ":caffe";
  const bool caffe = stem.size() > suffix.size() && stem.ends_with(suffix);
  if (caffe) stem.resize(stem.size() - suffix.size());
  CrfParameters p;
  if (stem == "v1")
    p = {3, 3, 4, 121, 5};
  else if (stem == "v2")
    p = {3, 1, 4, 67, 3};
  else if (stem == "crf_rnn")
    p = {3, 3, 5, 160, 3};
  else
    ATROUS_CHECK(ValueError, stem == "demo", kOp, "no CRF preset is called ", name,
                 "; there are v1, v2, demo and crf_rnn, each also with :caffe");
  p.iterations = stem == "demo" ? 5 : 10;
  if (caffe) p.normalization = Normalization::after;
  return p;
}

Tensor dense_crf(const Tensor& unary, const Tensor& image, const CrfParameters& p) {
  DenseCrf crf(unary);
  const bool separable = p.method == FilterMethod::separable;
  crf.add_gaussian({p.gaussian_sigma, p.gaussian_sigma}, Compatibility::potts(p.gaussian_weight),
                   {.normalization = p.normalization, .method = p.method});
  crf.add_bilateral(
      image, {p.bilateral_sigma_xy, p.bilateral_sigma_xy}, {p.bilateral_sigma_rgb},
      Compatibility::potts(p.bilateral_weight),
      {.normalization = p.normalization, .method = separable ? FilterMethod::lattice : p.method});
  return crf.inference({.iterations = p.iterations});
}

Tensor grid_features(const Shape& grid, const std::vector<double>& sigma, const Tensor& values,
                     const std::vector<double>& sigma_values) {
  const auto axes = std::int64_t(grid.rank());
  const std::int64_t points = grid.numel(), channels = values.defined() ? values.dim(-1) : 0;
  ATROUS_CHECK(ShapeError, axes >= 1 && std::int64_t(sigma.size()) == axes, kOp, sigma.size(),
               " standard deviations for a grid ", grid);
  ATROUS_CHECK(ShapeError, !values.defined() || values.numel() == points * channels, kOp, "values ",
               values.shape(), " do not belong to a grid ", grid);
  ATROUS_CHECK(ShapeError, std::int64_t(sigma_values.size()) == channels, kOp, sigma_values.size(),
               " standard deviations for ", channels, " channels");
  for (const double s : sigma) check_sigma("the standard deviation of places", s);
  for (const double s : sigma_values) check_sigma("the standard deviation of values", s);
  Tensor features = Tensor::empty({points, axes + channels});
  const Tensor floats = values.defined() ? values.to(kCpu).to(Dtype::f32) : Tensor();
  const Span<float> f = features.span<float>();
  for (std::int64_t i = 0; i < points; ++i) {
    std::int64_t rest = i;
    for (std::int64_t a = axes - 1; a >= 0; --a) {
      f[i * (axes + channels) + a] = float(double(rest % grid[int(a)]) / sigma[std::size_t(a)]);
      rest /= grid[int(a)];
    }
    for (std::int64_t c = 0; c < channels; ++c)
      f[i * (axes + channels) + axes + c] =
          float(double(floats.span<float>()[i * channels + c]) / sigma_values[std::size_t(c)]);
  }
  return features;
}

}  // namespace atrous::models
