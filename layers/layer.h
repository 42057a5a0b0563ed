#pragma once

#include "atrous/layers/module.h"
#include "atrous/layers/summary.h"

namespace atrous::layers {

/// A module that is a function of one variable. trace() walks the same way as forward() with shapes alone:
/// it adds a row to the summary for each step that has parameters or costs arithmetic, and returns the shape
/// of the output. It throws what forward() would throw about the shape of x.
class Layer : public Module {
 public:
  virtual Variable forward(const Variable& x) = 0;
  /// `name` is the full name of this layer, for the rows.
  virtual Shape trace(const Shape& x, const std::string& name, Summary& summary) const = 0;
};

/// The table of a layer for an input of shape x ([N, H, W, C]). Nothing is computed, little is allocated.
Summary summarise(const Layer& layer, const Shape& x);

/// "a.b", or "b" if a is empty.
std::string join_names(const std::string& a, const std::string& b);

}  // namespace atrous::layers
