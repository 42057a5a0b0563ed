#pragma once

#include <memory>
#include <string>

#include "atrous/io/weight_file.h"

namespace atrous::io {

/// A state dict that torch.save wrote (PyTorch 1.6 and later): a zip archive of "data.pkl" (pickle.h) and a
/// stored entry for each storage. Tensors may share a storage and have any strides; names are the dict's.
/// A tensor has at most as many elements as its storage.
std::unique_ptr<WeightFile> open_pth(const std::string& path);

}  // namespace atrous::io
