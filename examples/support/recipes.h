#pragma once

#include <string>
#include <utility>
#include <vector>

namespace atrous::examples {

/// Flags of `train` and their values: what decides a run.
using Recipe = std::vector<std::pair<std::string, std::string>>;

/// The training protocol of a paper, by name: "deeplab_v2", or "v2" for short. Throws UsageError.
Recipe named_recipe(const std::string& name);
/// "deeplab_v1, deeplab_v2, ..."
std::string recipe_names();
/// For CLI::Option::check(): empty for a name that named_recipe() takes, else what is wrong.
std::string check_recipe(const std::string& name);

/// A line a flag: "--crop 321".
std::string text_of(const Recipe& recipe);

}  // namespace atrous::examples
