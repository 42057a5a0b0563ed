#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "atrous/autograd/filter_options.h"
#include "atrous/core/tensor.h"
#include "atrous/models/unary.h"

// The fully connected CRF: every pixel talks to every other, the nearer the louder, and mean field finds what
// they agree on. It sharpens the coarse edges of a network to those of the photograph.
//
//   E(x) = sum over i of U[i, x_i] + sum over i < j, terms m of mu_m(x_i, x_j) k_m(i, j),   P(x) ~ exp(-E(x))
//   k_m(i, j) = exp(-|f_m[i] - f_m[j]|^2 / 2), normalised or not
//
// One sign everywhere: mu is a penalty. Potts(w) costs w where two labels differ; Diagonal(v) gains v[a]
// where both are a; positive numbers attract in both. Mean field repeats, from Q = softmax(-U),
//
//   Q[i] = softmax(-U[i] - sum over m of mu_m (k_m Q)[i])
//
// with the pixel itself among its neighbours, as everybody's code has it.
// Source: Krahenbuhl and Koltun, NIPS 2011, arXiv 1210.5644; Chen et al., DeepLab v1 and v2.

namespace atrous::models {

/// What labels cost each other.
struct Compatibility {
  enum class Kind { potts, diagonal, matrix };
  Kind kind = Kind::potts;
  std::vector<double> values = {1.0};  ///< [1], [C] or [C, C]

  static Compatibility potts(double weight) { return {Kind::potts, {weight}}; }
  static Compatibility diagonal(std::vector<double> v) { return {Kind::diagonal, std::move(v)}; }
  /// penalty[a C + b] for label a beside label b. With `symmetrize` it is replaced by its mean with its
  /// transpose.
  static Compatibility matrix(std::vector<double> penalty, bool symmetrize = false);
};

struct TermOptions {
  Normalization normalization = Normalization::symmetric;
  FilterMethod method = FilterMethod::lattice;
  FilterScale scale = FilterScale::alpha;
};

struct InferenceOptions {
  std::int64_t iterations = 10;
  double relax = 1;      ///< in (0, 1]: Q moves by this share of the step
  double tolerance = 0;  ///< above 0, an image is done when no marginal moved by more than this
};

/// A dense CRF over the pixels of images, or over points. The unary is copied; terms build what they need of
/// their features when they are added, once for all iterations. All of it is on the unary's device, to which
/// images and features are brought. On CUDA the host waits for a lattice twice while it is built (for the
/// range of its features and for the number of its vertices), and for iterations only where it has to know
/// their change: step(), and `tolerance`.
class DenseCrf {
 public:
  /// unary [N, H, W, C], or [P, C] for points without an image: energies, f32 or f64, C >= 1. Throws
  /// ShapeError, DtypeError, and ValueError (naming the pixel) for an energy that is not finite.
  explicit DenseCrf(const Tensor& unary);
  ~DenseCrf();
  DenseCrf(DenseCrf&&) noexcept;
  DenseCrf& operator=(DenseCrf&&) noexcept;

  /// The smoothness term, f = (x / sigma_x, y / sigma_y), in pixels. Method `automatic` is separable for
  /// sigma <= 2, where its window is small, and otherwise the lattice.
  void add_gaussian(std::array<double, 2> sigma_xy, const Compatibility& compatibility,
                    const TermOptions& options = {});
  /// The appearance term, f = (x / sigma_x, y / sigma_y, image[c] / sigma_image[c]).
  ///   image        [N, H, W, channels], u8, i32 or a float type, in the units of sigma_image (published
  ///                values are for 0..255)
  ///   sigma_image  one for all channels, or one each
  void add_bilateral(const Tensor& image, std::array<double, 2> sigma_xy,
                     const std::vector<double>& sigma_image, const Compatibility& compatibility,
                     const TermOptions& options = {});
  /// A term of any features, in standard deviations: [N, H, W, d], or [P, d] for points.
  void add_pairwise(const Tensor& features, const Compatibility& compatibility,
                    const TermOptions& options = {});
  // All three throw ShapeError for sizes that do not fit, and ValueError for a standard deviation that is not
  // positive and finite, or so small that the lattice cannot count (2^30 / (d + 1) of them across).

  /// Another compatibility for term m, whose filter stays.
  void set_compatibility(std::size_t term, const Compatibility& compatibility);

  /// Starts anew from softmax(-U), then iterates. Returns q().
  const Tensor& inference(const InferenceOptions& options = {});
  /// The same in steps: start() sets Q = softmax(-U), step() iterates once and returns the greatest change of
  /// a marginal.
  void start();
  double step(double relax = 1);
  /// The marginals, in the shape of the unary: f32 or f64.
  const Tensor& q() const;
  /// The most probable label of every pixel, the lowest of equals: u8 for up to 255 classes, else i32.
  Tensor map() const;
  /// Iterations since start(), of the image that took most.
  std::int64_t iterations() const;

  /// KL(Q || P) - log Z = sum of Q (log Q + U) + 1/2 sum over m of <Q, mu_m k_m Q>, over all images. What
  /// iterations bring down: for the exact filter with normalisation none, mean or symmetric and
  /// compatibilities that attract, always.
  double free_energy() const;
  /// The number that pydensecrf calls KL divergence: without the 1/2, and with Potts as -w where labels are
  /// equal. For comparisons.
  double kl_divergence_pydensecrf() const;

  std::int64_t classes() const;
  /// Vertices of term m's lattice, over all images; 0 for other methods.
  std::int64_t vertices(std::size_t term) const;
  /// Bytes that the terms hold between iterations.
  std::int64_t bytes() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

/// Parameters of the usual two-term CRF for photographs.
struct CrfParameters {
  double gaussian_weight = 3, gaussian_sigma = 3;                                   ///< pixels
  double bilateral_weight = 10, bilateral_sigma_xy = 80, bilateral_sigma_rgb = 13;  ///< pixels, 0..255
  Normalization normalization = Normalization::symmetric;
  std::int64_t iterations = 5;
  FilterMethod method = FilterMethod::lattice;  ///< of both terms; separable is of the first alone

  /// "gaussian 3,1 bilateral 4,67,3 symmetric, 10 iterations"
  std::string describe() const;
};

/// Published parameters: "v1" (DeepLab v1: gaussian 3,3, bilateral 4,121,5, 10 iterations), "v2" (DeepLab v2:
/// 3,1, 4,67,3, 10 iterations), "demo" (pydensecrf: 3,3, 10,80,13, 5 iterations), "crf_rnn" (3,3, 5,160,3, 10
/// iterations); normalised symmetrically, as ports do, and with ":caffe" behind as the original does, after.
/// Throws ValueError for other names, listing these.
CrfParameters crf_preset(const std::string& name);

/// The usual two terms on a photograph.
///   unary    [N, H, W, C] energies
///   image    [N, H, W, 3], u8 (or another type, in 0..255)
///   returns  marginals [N, H, W, C]
Tensor dense_crf(const Tensor& unary, const Tensor& image, const CrfParameters& parameters);

/// Features of the points of a grid of any number of axes, for add_pairwise: place[a] / sigma[a], then
/// values[.., c] / sigma_values[c].
///   grid          sizes of the axes, slowest first: {D, H, W}
///   sigma         one for each axis
///   values        [P, channels] or undefined
///   returns       [P, axes + channels], f32
Tensor grid_features(const Shape& grid, const std::vector<double>& sigma, const Tensor& values = {},
                     const std::vector<double>& sigma_values = {});

}  // namespace atrous::models
