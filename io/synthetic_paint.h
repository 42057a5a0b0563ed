#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>

// What scenes are drawn with: colours, integer-hashed noise, patterns with soft edges and distances to
// outlines. Only + - * / and sqrt on floats: these are exact to the last bit by IEEE 754, so every machine
// draws the same scene. Nothing here calls sin, pow or exp, whose last bits differ between mathematics
// libraries.

namespace atrous::io::paint {

struct Color {
  float r = 0, g = 0, b = 0;
};
inline Color operator+(Color a, Color c) { return {a.r + c.r, a.g + c.g, a.b + c.b}; }
inline Color operator*(Color a, float k) { return {a.r * k, a.g * k, a.b * k}; }
inline Color operator*(Color a, Color c) { return {a.r * c.r, a.g * c.g, a.b * c.b}; }
/// a at t = 0, c at t = 1.
inline Color mix(Color a, Color c, float t) { return a * (1 - t) + c * t; }

inline float clamp01(float x) { return std::min(std::max(x, 0.0f), 1.0f); }
/// 0 below `low`, 1 above `high`, a cubic between.
inline float smooth_step(float low, float high, float x) {
  const float t = clamp01((x - low) / (high - low));
  return t * t * (3 - 2 * t);
}
inline std::int32_t floor_int(float x) {
  const auto i = std::int32_t(x);
  return i - (float(i) > x);
}
inline float fraction(float x) { return x - float(floor_int(x)); }

/// Hue in turns (0 red, 1/3 green, 2/3 blue), saturation and value in 0..1.
inline Color hsv(float hue, float saturation, float value) {
  const float h = fraction(hue) * 6;
  const auto channel = [&](float shift) {
    float k = h + shift;
    if (k >= 6) k -= 6;
    return value - value * saturation * clamp01(std::min(k, 4 - k));
  };
  return {channel(5), channel(3), channel(1)};
}

/// A well mixed 32-bit word of a lattice point.
inline std::uint32_t hash(std::int32_t x, std::int32_t y, std::uint32_t key) {
  std::uint32_t h = std::uint32_t(x) * 0x8da6b343u ^ std::uint32_t(y) * 0xd8163841u ^ key * 0xcb1ab31fu;
  h = (h ^ (h >> 16)) * 0x7feb352du;
  h = (h ^ (h >> 15)) * 0x846ca68bu;
  return h ^ (h >> 16);
}
/// The same as a number in [0, 1).
inline float hash01(std::int32_t x, std::int32_t y, std::uint32_t key) {
  return float(hash(x, y, key) >> 8) * 0x1p-24f;
}

/// Value noise in [0, 1]: random numbers on the integer lattice, smoothly interpolated.
inline float value_noise(float x, float y, std::uint32_t key) {
  const std::int32_t ix = floor_int(x), iy = floor_int(y);
  float fx = x - float(ix), fy = y - float(iy);
  fx = fx * fx * (3 - 2 * fx);
  fy = fy * fy * (3 - 2 * fy);
  const float top = hash01(ix, iy, key) * (1 - fx) + hash01(ix + 1, iy, key) * fx;
  const float bottom = hash01(ix, iy + 1, key) * (1 - fx) + hash01(ix + 1, iy + 1, key) * fx;
  return top * (1 - fy) + bottom * fy;
}

/// Octaves of value noise, each of half the size and half the strength; in [0, 1].
inline float cloud_noise(float x, float y, std::uint32_t key, int octaves) {
  float sum = 0, weight = 0.5f, total = 0;
  for (int octave = 0; octave < octaves; ++octave) {
    sum += weight * value_noise(x, y, key + std::uint32_t(octave));
    total += weight;
    x = x * 2 + 17.3f;
    y = y * 2 + 5.7f;
    weight *= 0.5f;
  }
  return sum / total;
}

/// A square wave of period 1 between 0 and 1; `soft` is half the width of an edge, in periods.
inline float square_wave(float t, float soft) {
  const float f = fraction(t);
  return smooth_step(-soft, soft, f - 0.25f) * (1 - smooth_step(-soft, soft, f - 0.75f));
}
/// A checkerboard of period 1.
inline float checks(float u, float v, float soft) {
  const float a = square_wave(u, soft), b = square_wave(v, soft);
  return a + b - 2 * a * b;
}
/// 1 on lines at whole numbers, 0 elsewhere; `width` is the width of a line in periods.
inline float grid_line(float t, float width, float soft) {
  const float f = fraction(t + 0.5f) - 0.5f;
  return 1 - smooth_step(width * 0.5f - soft, width * 0.5f + soft, std::fabs(f));
}

// Signed distances to outlines: negative inside, in the units of the arguments. The shape is centred on 0.

inline float length(float x, float y) { return std::sqrt(x * x + y * y); }
inline float disc_distance(float x, float y, float radius) { return length(x, y) - radius; }
inline float box_distance(float x, float y, float half_w, float half_h, float rounding) {
  const float qx = std::fabs(x) - half_w + rounding, qy = std::fabs(y) - half_h + rounding;
  return length(std::max(qx, 0.0f), std::max(qy, 0.0f)) + std::min(std::max(qx, qy), 0.0f) - rounding;
}
inline float segment_distance(float x, float y, float ax, float ay, float bx, float by) {
  const float dx = bx - ax, dy = by - ay;
  const float t = clamp01(((x - ax) * dx + (y - ay) * dy) / std::max(dx * dx + dy * dy, 1e-6f));
  return length(x - ax - t * dx, y - ay - t * dy);
}
/// A polygon of `count` corners: the distance to the nearest edge, its sign by the number of edges that a ray
/// crosses.
struct Point {
  float x, y;
};
inline float polygon_distance(float x, float y, const Point* corners, int count, float size) {
  float nearest = 1e30f;
  bool inside = false;
  for (int i = 0, j = count - 1; i < count; j = i++) {
    const float ax = corners[j].x * size, ay = corners[j].y * size;
    const float bx = corners[i].x * size, by = corners[i].y * size;
    nearest = std::min(nearest, segment_distance(x, y, ax, ay, bx, by));
    if ((ay > y) != (by > y) && x < (bx - ax) * (y - ay) / (by - ay) + ax) inside = !inside;
  }
  return inside ? -nearest : nearest;
}

}  // namespace atrous::io::paint
