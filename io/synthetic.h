#pragma once

#include <cstdint>

#include "atrous/io/colormap.h"
#include "atrous/io/dataset.h"

// Scenes that are drawn, not loaded: a data set that needs no download, for first runs, demonstrations and
// tests. A scene is a room, a yard or a table top with shaded, textured objects of several classes on it that
// overlap, cast shadows and differ in size from a few pixels to half the picture, with poles and wires among
// them, under uneven light and with sensor noise. Colours, patterns and outlines are shared between classes
// on purpose (a ball and a plate are both discs; a crate, a plate and a wall are all boxes; any of them can
// be red), so no one cue names the class. The outline of every object is a band of 255 one to two pixels
// wide, as in PASCAL VOC.

namespace atrous::io {

inline constexpr std::int64_t kSyntheticMaxClasses = 12;

struct SyntheticOptions {
  std::int64_t classes = 6;  ///< background included: 2 to kSyntheticMaxClasses
  std::int64_t height = 161;
  std::int64_t width = 161;  ///< pixels; 32 to 4096 each
  std::uint64_t seed = 0;
};

/// Scene `index` of a split: a function of its arguments alone, with the same bits on every machine.
///
/// Throws ValueError for options out of range.
Sample synthetic_scene(const SyntheticOptions& options, Split split, std::int64_t index);

/// "background", "ball", "crate", ...: names and colours of the first `classes` of them.
Colormap synthetic_colormap(std::int64_t classes);

}  // namespace atrous::io
