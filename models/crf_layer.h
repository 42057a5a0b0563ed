#pragma once

#include <cstdint>
#include <string>

#include "atrous/layers/module.h"
#include "atrous/models/dense_crf.h"

// The dense CRF as a layer: mean field unrolled, so that a network and its CRF are trained as one, by the
// gradients of the loss with respect to everything in it.

namespace atrous::models {

/// What is learned of how labels get along, beside each term's weight w. All of it starts at 0, from Potts.
enum class CrfLearning {
  potts,     ///< nothing
  diagonal,  ///< mu_m = -diag(w + label_weight): how much a label is drawn to its like
  matrix,    ///< mu_m = -w I + penalty: any pair of labels, for each term by itself
  factored   ///< mu_m = (-I + penalty) (w I + label_matrix): CRF-RNN's, one penalty for both terms
};
const char* crf_learning_name(CrfLearning learning);

struct CrfLayerSettings {
  std::int64_t classes = 0;
  std::int64_t image_channels = 3;
  CrfLearning learning = CrfLearning::matrix;
  /// Where learning starts, how often is iterated and how it is filtered. Deviations of colours are in the
  /// units of the layer's image.
  CrfParameters start = {.iterations = 5};
};

/// The parameters of a CRF layer: with two terms (gaussian, then bilateral) one of each in every array.
struct CrfWeights {
  Variable weight[2];     ///< [1, 1, 1, 1]
  Variable log_sigma[2];  ///< [2] and [2 + image_channels]: the logarithm of sigma / its start
  Variable labels[2];     ///< diagonal: label_weight [1, 1, C, 1]; matrix: penalty, factored: label_matrix,
                          ///< [1, 1, C, C], the second label first
  Variable penalty;       ///< factored: [1, 1, C, C], the second label first
};

/// Mean field, `start.iterations` times from q = logits:
///
///   q <- logits - sum over terms m of mu_m (k_m softmax(q))
///
///   logits   [N, H, W, C]
///   image    [N, H, W, image_channels], of the same type
///   returns  [N, H, W, C]: the last q, whose softmax are the marginals; a loss takes it as logits
///
/// Differentiable by logits, image and all weights. The gradient by deviations and image is that of the
/// method, see GaussianFilterOptions. Throws ShapeError for tensors that do not fit, ValueError for
/// deviations that are not finite. Source: Zheng et al., "CRF as RNN", ICCV 2015; Krahenbuhl and Koltun, ICML
/// 2013.
Variable mean_field(const Variable& logits, const Variable& image, const CrfWeights& weights,
                    const CrfLayerSettings& settings);

/// mean_field() with its parameters: "gaussian_weight", "gaussian_log_sigma", "gaussian_labels", the same of
/// "bilateral", "penalty". Publications train them much faster than the network: a rule of the optimiser's.
class CrfLayer : public layers::Module {
 public:
  /// Throws ValueError for fewer than 1 class, channel or iteration, and for a deviation that is not positive
  /// and finite.
  explicit CrfLayer(const CrfLayerSettings& settings);

  Variable forward(const Variable& logits, const Variable& image);

  /// The same CRF for inference: fused, with any number of iterations, free energies and early stop.
  ///   unary  [N, H, W, C] energies, f32 or f64: unary_from_logits() of what forward() would get
  ///   image  [N, H, W, image_channels], of any type
  DenseCrf dense_crf(const Tensor& unary, const Tensor& image) const;

  const CrfLayerSettings& settings() const { return settings_; }
  CrfWeights weights() const;
  /// What the weights and deviations have become, for people: means where there are several.
  CrfParameters learned() const;

 private:
  CrfLayerSettings settings_;
  Variable* weight_[2];
  Variable* log_sigma_[2];
  Variable* labels_[2] = {};
  Variable* penalty_ = nullptr;
};

}  // namespace atrous::models
