#pragma once

#include <cstdint>
#include <functional>

#include "atrous/models/model.h"

// Images that are too large for one pass. A tile of the logits depends on a window of the image: the tile and
// as much around it as the network sees. Windows run one after another take the memory of one, and with
// ExactScope (core/exact.h) their tiles put together are the bits of the whole image's logits.

namespace atrous::models {

/// How many image pixels lie at most between an output of `network` and an input that it depends on.
/// Measured, not derived: the network is run on one row of pixels with a NaN among them, which arithmetic
/// carries to every output that sees it.
///
///   network        [1, 1, W, 3] to [1, 1, w, C], W = k * stride + 1
///   output_stride  that of the network: what windows have to be cut at
///
/// Throws ValueError that names `name` if the network sees more than 32768 pixels, as those that pool over
/// the whole image do.
std::int64_t reach(const std::function<Variable(const Variable&)>& network, std::int64_t output_stride,
                   const std::string& name);

/// model.forward(x), tile by tile. What the head takes from the whole image (the mean of its features) comes
/// from a first pass over all tiles.
///
///   x        [N, H, W, 3], preprocessed, H and W = k * output_stride + 1
///   tile     side of a tile in image pixels; at least the output stride
///   returns  logits [N, h, w, classes]
///
/// In evaluation mode without record. Throws ValueError for models that see the image at several scales or
/// pool inside of the backbone, ShapeError for other sizes.
Tensor tiled_logits(Model& model, const Tensor& x, std::int64_t tile);

}  // namespace atrous::models
