#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "atrous/core/shape.h"

// What a network costs, layer by layer: `model.summary()` of other frameworks.

namespace atrous::layers {

struct SummaryRow {
  std::string name;             ///< "backbone.block3.expand"
  std::string kind;             ///< "conv 3x3 /2 rate 2, batch norm, relu6"
  Shape output;                 ///< [N, H, W, C]
  std::int64_t parameters = 0;  ///< elements, batch norm's gamma and beta included, its statistics not
  std::int64_t macs = 0;        ///< multiply-adds of convolutions; everything else counts as nothing
};

struct Summary {
  std::vector<SummaryRow> rows;

  std::int64_t parameters() const;
  /// Multiply-adds of the whole batch.
  std::int64_t macs() const;
  /// Text with a line a row and the totals below.
  std::string table() const;
};

}  // namespace atrous::layers
