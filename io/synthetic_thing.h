#pragma once

#include <array>
#include <cstdint>

#include "atrous/core/random.h"
#include "atrous/io/synthetic_paint.h"

// The things that stand in a scene: their outlines, their surfaces, and how one is dressed at random.

namespace atrous::io::paint {

enum Kind { kBackground, kBall, kCrate, kBush, kPole, kPlate, kCone, kRing, kKite, kStar, kWall, kPuddle };

struct Light {
  float x, y, z;        // towards the light: right, down, out of the picture; length 1
  float slant, ground;  // shadows on the ground: shift to the side and towards the viewer, per unit of height
  Color tint;
  float fall_x, fall_y, vignette;
};

struct Blob {
  float x, y, radius;
};

struct Thing {
  Kind kind;
  float x, y, size;  // centre and half size, pixels
  float cos_turn, sin_turn;
  float aspect;       // height over width
  float lift;         // how far above its ground shadow, pixels
  std::uint32_t key;  // of its noise
  int variant;
  float period;  // of its pattern, pixels
  Color a, b;
  std::array<Blob, 9> blobs;
  std::array<Point, 14> line;  // a wire's corners, relative to the centre
};

/// Distance from the outline at local coordinates (the thing's own axes, pixels); negative inside.
float outline(const Thing& t, float x, float y);

/// Colour at local coordinates (x, y); (dx, dy) are the same in the picture's axes, `d` the distance from the
/// outline.
Color surface(const Thing& t, const Light& light, float x, float y, float dx, float dy, float d);

/// Any hue; saturation and value within bounds.
Color random_color(Random& random, float low_saturation, float high_saturation, float low, float high);
/// A colour near a hue.
Color near_hue(Random& random, float hue, float spread, float saturation, float value);

/// Gives a thing of known kind and size its variant, proportions, pattern and colours. `unit` is a 161st of
/// the picture's side.
void dress(Thing& t, Random& random, float unit);

}  // namespace atrous::io::paint
