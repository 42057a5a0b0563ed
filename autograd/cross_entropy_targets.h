#pragma once

#include <optional>

#include "atrous/autograd/op.h"
#include "atrous/autograd/softmax.h"

// What every loss on label maps checks, and how it reads labels.

namespace atrous {

/// Throws ValueError or ShapeError for options that do not fit logits [.., C].
void check_cross_entropy(Op op, const Variable& logits, const CrossEntropyOptions& options);

/// Labels u8 or i32 as class numbers i32, -1 for those to be left out. Throws ValueError for a label that is
/// neither a class nor `ignore`, naming it and its pixel; of labels on a CUDA device at the next value that
/// is read back from it (check_later).
Tensor targets_of(const char* op, std::int64_t classes, const Tensor& labels,
                  std::optional<std::int64_t> ignore);

}  // namespace atrous
