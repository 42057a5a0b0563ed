#pragma once

#include <string>
#include <string_view>

namespace atrous {

/// Whether the environment asks to be told of `topic`: ATROUS_VERBOSE is a list of topics with commas in
/// between. "dispatch": which kernel was chosen for which sizes, where there are several.
bool verbose(std::string_view topic);

/// Writes "atrous: <line>" to stderr, each line once in a process, from whatever thread.
void say_once(const std::string& line);

}  // namespace atrous
