#pragma once

#include <memory>
#include <string>

#include "atrous/io/weight_file.h"

namespace atrous::io {

/// Whether a file's first bytes may be those of a .caffemodel.
bool is_caffemodel(Span<const std::uint8_t> head);

/// The blobs of a .caffemodel (a NetParameter), as "layer/0", "layer/1", ...: of a convolution its weight [K,
/// C, R, S] and bias [K]; of a BatchNorm layer mean, variance and the factor that both have to be divided by;
/// of a Scale layer gamma and beta. Layers of both generations (LayerParameter, V1LayerParameter); blobs of
/// the time before shapes have four sizes ([1, 1, 1, K] for a bias). Single precision, or double.
/// Source: BVLC Caffe, src/caffe/proto/caffe.proto.
std::unique_ptr<WeightFile> open_caffemodel(const std::string& path);

}  // namespace atrous::io
