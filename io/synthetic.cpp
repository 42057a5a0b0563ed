#include "atrous/io/synthetic.h"

#include <array>

#include "atrous/core/error.h"
#include "atrous/core/random.h"
#include "atrous/io/synthetic_paint.h"

namespace atrous::io {
namespace {

using namespace paint;

enum Kind { kBackground, kBall, kCrate, kBush, kPole, kPlate, kCone, kRing, kKite, kStar, kWall, kPuddle };
const std::array<ClassColor, kSyntheticMaxClasses> kClasses = {{{"background", {0, 0, 0}},
                                                                {"ball", {230, 60, 60}},
                                                                {"crate", {214, 140, 40}},
                                                                {"bush", {70, 180, 70}},
                                                                {"pole", {60, 130, 230}},
                                                                {"plate", {190, 80, 210}},
                                                                {"cone", {240, 220, 60}},
                                                                {"ring", {70, 210, 210}},
                                                                {"kite", {240, 130, 170}},
                                                                {"star", {150, 220, 110}},
                                                                {"wall", {150, 90, 60}},
                                                                {"puddle", {120, 130, 200}}}};

void check_classes(std::int64_t classes) {
  ATROUS_CHECK(ValueError, classes >= 2 && classes <= kSyntheticMaxClasses, "synthetic",
               "the scenes have 2 to ", kSyntheticMaxClasses, " classes, background included, not ", classes);
}

// Independent streams of random numbers within one scene, so that a change in one part leaves the others
// alone.
enum Stream : std::uint64_t { kGroundStream, kLightStream, kNoiseStream, kPoleStream, kThingStream };

enum class Place { table, room, yard };  // seen from above; wall and floor; sky and ground

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

constexpr Point kTriangle[] = {{0, -1}, {0.72f, 1}, {-0.72f, 1}};
constexpr Point kDiamond[] = {{0, -1}, {0.68f, -0.22f}, {0, 1}, {-0.68f, -0.22f}};
// Five tips on the unit circle, inner corners at 0.45.
constexpr Point kStarCorners[] = {
    {0, -1},    {0.265f, -0.364f}, {0.951f, -0.309f}, {0.428f, 0.139f},   {0.588f, 0.809f},
    {0, 0.45f}, {-0.588f, 0.809f}, {-0.428f, 0.139f}, {-0.951f, -0.309f}, {-0.265f, -0.364f}};
constexpr Point kOctagon[] = {{0.414f, -1}, {1, -0.414f}, {1, 0.414f},   {0.414f, 1},
                              {-0.414f, 1}, {-1, 0.414f}, {-1, -0.414f}, {-0.414f, -1}};

// Distance from the outline at local coordinates (the thing's own axes, pixels).
float outline(const Thing& t, float x, float y) {
  switch (t.kind) {
    case kBall:
      return disc_distance(x, y, t.size);
    case kCrate:
    case kWall:
      return box_distance(x, y, t.size, t.size * t.aspect, t.size * 0.05f);
    case kPlate:
      if (t.variant == 0) return disc_distance(x, y, t.size);
      if (t.variant == 1) return box_distance(x, y, t.size * 0.88f, t.size * 0.88f, t.size * 0.18f);
      return polygon_distance(x, y, kOctagon, 8, t.size * 0.93f);
    case kBush:
    case kPuddle: {
      float nearest = 1e30f;
      for (const Blob& blob : t.blobs)
        nearest = std::min(nearest, disc_distance(x - blob.x, (y - blob.y) / t.aspect, blob.radius));
      return nearest * std::min(t.aspect, 1.0f);
    }
    case kPole: {
      if (t.variant == 2) {  // a wire
        float nearest = 1e30f;
        for (std::size_t i = 1; i < t.line.size(); ++i)
          nearest = std::min(
              nearest, segment_distance(x, y, t.line[i - 1].x, t.line[i - 1].y, t.line[i].x, t.line[i].y));
        return nearest - t.period;
      }
      return box_distance(x, y, t.size * t.aspect, t.size, t.size * t.aspect * 0.6f);
    }
    case kCone:
      return polygon_distance(x, y, kTriangle, 3, t.size);
    case kRing:
      return std::fabs(length(x, y) - t.size * 0.72f) - t.size * 0.28f;
    case kKite:
      return polygon_distance(x, y, kDiamond, 4, t.size);
    case kStar:
      return polygon_distance(x, y, kStarCorners, 10, t.size);
    case kBackground:
      break;
  }
  return 1e30f;
}

// How much light a surface that faces (nx, ny, nz) sends back.
float lambert(const Light& light, float nx, float ny, float nz) {
  return 0.42f + 0.72f * std::max(0.0f, nx * light.x + ny * light.y + nz * light.z);
}

// Colour at local coordinates (x, y); (dx, dy) are the same in the picture's axes, `d` the distance from the
// outline.
Color surface(const Thing& t, const Light& light, float x, float y, float dx, float dy, float d) {
  const float flat = lambert(light, 0, 0, 1);
  switch (t.kind) {
    case kBall: {
      const float u = dx / t.size, v = dy / t.size;
      const float z = std::sqrt(std::max(0.0f, 1 - u * u - v * v));
      // The pattern lies on the sphere: bands across a tilted axis, or spots, or one colour.
      const float px = x / t.size, py = y / t.size;
      float pattern = 0;
      if (t.variant == 0) pattern = square_wave((px * 0.8f + z * 0.6f) * 1.6f, 0.05f);
      if (t.variant == 1)
        pattern = checks(px * (1.25f - 0.35f * z) * 1.1f + 0.25f, py * (1.25f - 0.35f * z) * 0.55f, 0.04f);
      Color c = mix(t.a, t.b, pattern) * lambert(light, u, v, z);
      const float rim = 1 - z;
      float shine = std::max(0.0f, u * light.x * 0.6f + v * light.y * 0.6f + z * (0.5f + 0.5f * light.z));
      shine *= shine;
      shine *= shine;
      shine *= shine;
      shine *= shine;
      c = c * (1 - 0.35f * rim * rim) + Color{1, 1, 1} * (0.55f * clamp01(shine * 1.4f - 0.35f));
      return c;
    }
    case kCrate: {
      const float half_h = t.size * t.aspect;
      const float edge = std::min(t.size - std::fabs(x), half_h - std::fabs(y));
      const float frame = t.size * 0.2f;
      const bool on_frame = edge < frame;
      // Planks run along x; the frame's boards follow their edge.
      const bool upright = on_frame && t.size - std::fabs(x) < half_h - std::fabs(y);
      const float along = upright ? y : x, across = upright ? x : y;
      const float plank = across / t.period;
      const float grain = cloud_noise(along * 0.09f, across * 0.75f, t.key, 3);
      Color c = mix(t.a, t.b, 0.65f * grain + 0.35f * hash01(floor_int(plank), on_frame, t.key));
      float shade = on_frame ? 1.12f : 0.9f - 0.55f * grid_line(plank, 0.16f, 0.08f);
      shade *= 1 - 0.45f * (1 - smooth_step(0, 1.6f, std::fabs(edge - frame)));
      // A bevel: the edges that face the light are brighter.
      if (edge < 2)
        shade *= 1 + 0.22f * (upright ? (x > 0 ? 1.0f : -1.0f) * light.x : (y > 0 ? 1.0f : -1.0f) * light.y);
      return c * (shade * flat);
    }
    case kWall: {
      const float row = y / t.period;
      const float column = x / (t.period * 2.1f) + 0.5f * float(floor_int(row) & 1);
      const float mortar = std::max(grid_line(row, 0.2f, 0.08f), grid_line(column, 0.1f, 0.04f));
      const float tone = hash01(floor_int(column), floor_int(row), t.key);
      const float rough = cloud_noise(x * 0.35f, y * 0.35f, t.key, 2);
      const Color brick = mix(t.a, t.b, tone) * (0.82f + 0.36f * rough);
      return mix(brick, Color{0.72f, 0.7f, 0.66f}, mortar) *
             (flat * (1 - 0.25f * (1 - smooth_step(0, 3, -d))));
    }
    case kPlate: {
      const float rim = smooth_step(-0.2f * t.size - 0.7f, -0.2f * t.size + 0.7f, d);
      const float pattern = checks(x / t.period, y / t.period, std::min(0.12f, 0.6f / t.period));
      return mix(mix(t.a, t.b, pattern), t.variant == 1 ? t.a : t.b * 0.9f, rim) *
             (flat * (0.93f + 0.07f * light.x * x / t.size));
    }
    case kBush: {
      const float leaf = cloud_noise(x * 0.3f, y * 0.3f, t.key, 3);
      const float fine = value_noise(x * 0.85f, y * 0.85f, t.key + 9);
      const float round = clamp01(0.5f + 0.5f * (dx * light.x + dy * light.y) / t.size);
      const float depth = smooth_step(0, -0.55f * t.size, d);
      const float light_here =
          (0.45f + 0.45f * round + 0.25f * depth) * (0.55f + 0.9f * leaf * (0.45f + 0.75f * fine));
      return mix(t.a, t.b, leaf) * (light_here * 1.35f);
    }
    case kPole: {
      if (t.variant == 2) return t.a * flat;
      const float across = clamp01(0.5f + 0.5f * x / (t.size * t.aspect));
      const float n = across * 2 - 1;
      const float round = lambert(light, n * 0.9f, 0, std::sqrt(std::max(0.0f, 1 - n * n * 0.81f)));
      const float band = t.variant == 1 ? square_wave(y / t.period, 0.05f) : 0;
      return mix(t.a, t.b, band) * round;
    }
    case kCone: {
      const float band = square_wave(y / (t.size * 0.62f) + 0.1f, 0.03f);
      const float width = std::max(0.72f * (y + t.size) * 0.5f, 1.0f);
      const float n = std::min(std::max(x / width, -1.0f), 1.0f);
      return mix(t.a, t.b, band) *
             lambert(light, n * 0.95f, -0.2f, std::sqrt(std::max(0.0f, 1 - n * n * 0.9f)));
    }
    case kRing: {
      const float n = (length(x, y) - t.size * 0.72f) / (t.size * 0.28f);
      const float r = std::max(length(dx, dy), 1e-3f);
      const float nz = std::sqrt(std::max(0.05f, 1 - n * n));
      // Four painted quarters, as on a lifebuoy, or plain.
      const float quarter = t.variant == 0 ? smooth_step(-1.2f, 1.2f, std::fabs(x) - 0.45f * t.size) *
                                                 smooth_step(-1.2f, 1.2f, std::fabs(y) - 0.45f * t.size)
                                           : 0;
      return mix(t.a, t.b, quarter) * lambert(light, n * dx / r, n * dy / r, nz);
    }
    case kKite: {
      const float left = smooth_step(-0.7f, 0.7f, x), up = smooth_step(-0.7f, 0.7f, y + 0.22f * t.size);
      const float spar = 1 - smooth_step(0.5f, 1.3f, std::min(std::fabs(x), std::fabs(y + 0.22f * t.size)));
      const Color cloth = mix(t.a, t.b, left + up - 2 * left * up);
      return cloth * (flat * (1 - 0.5f * spar) * (0.9f + 0.2f * left));
    }
    case kStar: {
      // Facets: the side of each arm that faces the light is brighter.
      const float facet = cloud_noise(x * 0.08f, y * 0.08f, t.key, 1);
      const float centre = clamp01(1 - length(x, y) / t.size);
      return mix(t.a, t.b, centre) *
             (flat * (0.85f + 0.2f * facet + 0.25f * smooth_step(0, -0.2f * t.size, d)));
    }
    case kPuddle: {
      const float ripple = value_noise(dx * 0.05f, dy * 0.32f, t.key);
      const float glint = smooth_step(0.72f, 0.9f, ripple);
      const float depth = smooth_step(0, -0.5f * t.size * t.aspect, d);
      return mix(mix(t.a, t.b, depth), Color{0.93f, 0.96f, 1.0f}, 0.55f * glint);
    }
    case kBackground:
      break;
  }
  return {};
}

Color random_color(Random& random, float low_saturation, float high_saturation, float low, float high) {
  const float hue = random.uniform();
  const float saturation = float(random.uniform(low_saturation, high_saturation));
  return hsv(hue, saturation, float(random.uniform(low, high)));
}

// A colour near a hue.
Color near_hue(Random& random, float hue, float spread, float saturation, float value) {
  const float h = hue + spread * (random.uniform() * 2 - 1);
  return hsv(h, clamp01(saturation + 0.12f * (random.uniform() * 2 - 1)),
             clamp01(value + 0.14f * (random.uniform() * 2 - 1)));
}

void dress(Thing& t, Random& random, float unit) {
  t.key = random.bits();
  t.aspect = 1;
  t.variant = 0;
  t.period = 8 * unit;
  const float pick = random.uniform();
  switch (t.kind) {
    case kBall: {
      t.variant = int(random.below(3));
      t.a = random_color(random, 0.65f, 0.95f, 0.7f, 0.98f);
      t.b = pick < 0.6f ? Color{0.95f, 0.94f, 0.9f} : random_color(random, 0.6f, 0.9f, 0.55f, 0.95f);
      break;
    }
    case kCrate: {
      t.aspect = float(random.uniform(0.62, 1.1));
      t.period = std::max(t.size * float(random.uniform(0.28, 0.42)), 3.0f);
      const float hue = pick < 0.7f ? 0.08f : random.uniform();  // mostly wood, some painted
      t.a = near_hue(random, hue, 0.025f, 0.55f, 0.5f);
      t.b = t.a * 1.45f;
      break;
    }
    case kWall: {
      t.aspect = float(random.uniform(0.4, 0.75));
      t.period = std::max(t.size * 0.19f, 4.0f * unit);
      t.a = near_hue(random, pick < 0.7f ? 0.02f : 0.1f, 0.02f, 0.58f, 0.55f);
      t.b = t.a * 1.35f;
      break;
    }
    case kBush: {
      const float hue = pick < 0.75f ? 0.29f : (pick < 0.9f ? 0.12f : 0.95f);  // green, autumn, blossom
      t.a = near_hue(random, hue, 0.06f, 0.68f, 0.4f);
      t.b = near_hue(random, hue - 0.05f, 0.03f, 0.6f, 0.85f);
      for (Blob& blob : t.blobs) {
        blob.radius = t.size * float(random.uniform(0.3, 0.55));
        float x, y;
        do {
          x = random.uniform() * 2 - 1;
          y = random.uniform() * 2 - 1;
        } while (x * x + y * y > 1);
        blob.x = x * (t.size - blob.radius);
        blob.y = y * (t.size - blob.radius) * 0.9f;
      }
      break;
    }
    case kPole: {
      t.variant = pick < 0.35f ? 1 : 0;
      t.period = float(random.uniform(12, 22)) * unit;
      t.a = pick < 0.35f ? near_hue(random, random.below(2) ? 0.0f : 0.13f, 0.02f, 0.8f, 0.82f)
                         : near_hue(random, 0.58f, 0.08f, 0.15f, float(random.uniform(0.25, 0.7)));
      t.b = {0.93f, 0.93f, 0.9f};
      break;
    }
    case kPlate: {
      t.variant = int(random.below(3));
      t.period = std::max(t.size * float(random.uniform(0.5, 0.75)), 6.0f);
      t.a = random_color(random, 0.55f, 0.95f, 0.6f, 0.95f);
      t.b = pick < 0.5f ? Color{0.94f, 0.93f, 0.88f} : t.a * 0.38f;
      break;
    }
    case kCone: {
      t.a = near_hue(random, pick < 0.7f ? 0.05f : random.uniform(), 0.03f, 0.88f, 0.92f);
      t.b = {0.96f, 0.95f, 0.92f};
      break;
    }
    case kRing: {
      t.variant = pick < 0.6f ? 0 : 1;
      t.a = pick < 0.8f ? random_color(random, 0.6f, 0.95f, 0.6f, 0.95f) : Color{0.16f, 0.16f, 0.18f};
      t.b = {0.95f, 0.94f, 0.91f};
      break;
    }
    case kKite: {
      t.a = random_color(random, 0.6f, 0.95f, 0.7f, 0.98f);
      t.b = random_color(random, 0.6f, 0.95f, 0.7f, 0.98f);
      break;
    }
    case kStar: {
      t.a = pick < 0.6f ? near_hue(random, 0.13f, 0.03f, 0.75f, 0.9f)
                        : random_color(random, 0.5f, 0.9f, 0.7f, 0.95f);
      t.b = mix(t.a, Color{1, 1, 0.95f}, 0.4f);
      break;
    }
    case kPuddle: {
      t.aspect = float(random.uniform(0.35, 0.5));
      t.a = near_hue(random, 0.58f, 0.04f, 0.35f, 0.75f);
      t.b = near_hue(random, 0.6f, 0.04f, 0.5f, 0.5f);
      for (std::size_t i = 0; i < t.blobs.size(); ++i) {
        Blob& blob = t.blobs[i];
        blob.radius = t.size * float(random.uniform(0.25, 0.45));
        blob.x = (random.uniform() * 2 - 1) * (t.size - blob.radius);
        blob.y = (random.uniform() * 2 - 1) * t.size * 0.3f * t.aspect;
      }
      break;
    }
    case kBackground:
      break;
  }
}

// Lays picture, labels and the ignore band down from back to front.
class Canvas {
 public:
  Canvas(std::int64_t height, std::int64_t width)
      : height_(height),
        width_(width),
        color_(std::size_t(height * width)),
        label_(std::size_t(height * width), std::uint8_t(kBackground)) {}

  Color& color(std::int64_t y, std::int64_t x) { return color_[std::size_t(y * width_ + x)]; }
  std::uint8_t label(std::int64_t y, std::int64_t x) const { return label_[std::size_t(y * width_ + x)]; }

  // Calls f(row, column, x, y) for the pixels of a box, with the coordinates of their centres.
  template <class F>
  void over(float left, float top, float right, float bottom, F&& f) {
    const std::int64_t x0 = std::max<std::int64_t>(floor_int(left), 0),
                       x1 = std::min<std::int64_t>(floor_int(right) + 1, width_);
    const std::int64_t y0 = std::max<std::int64_t>(floor_int(top), 0),
                       y1 = std::min<std::int64_t>(floor_int(bottom) + 1, height_);
    for (std::int64_t y = y0; y < y1; ++y)
      for (std::int64_t x = x0; x < x1; ++x) f(y, x, float(x) + 0.5f, float(y) + 0.5f);
  }

  void shadow(std::int64_t y, std::int64_t x, float strength) { color(y, x) = color(y, x) * (1 - strength); }

  void draw(const Thing& t, const Light& light) {
    const float reach = reach_of(t) + 2;
    over(t.x - reach, t.y - reach, t.x + reach, t.y + reach,
         [&](std::int64_t row, std::int64_t column, float px, float py) {
           const float dx = px - t.x, dy = py - t.y;
           const float x = t.cos_turn * dx + t.sin_turn * dy, y = t.cos_turn * dy - t.sin_turn * dx;
           const float d = outline(t, x, y);
           if (d >= kBand) return;
           const float cover = clamp01(0.5f - d);
           Color& below = color(row, column);
           below = mix(below, surface(t, light, x, y, dx, dy, d), cover);
           std::uint8_t& label = label_[std::size_t(row * width_ + column)];
           label = d > -kBand ? kIgnore : std::uint8_t(t.kind);
         });
  }

  static float reach_of(const Thing& t) {
    const float longest = t.kind == kPole && t.variant != 2 ? 1.0f : std::max(1.0f, t.aspect);
    return t.size * longest * 1.42f;
  }

 private:
  static constexpr float kBand = 0.75f;  // half the width of the ignore band, pixels

  std::int64_t height_, width_;
  std::vector<Color> color_;
  std::vector<std::uint8_t> label_;
};

struct Ground {
  Place place;
  float horizon;   // pixels from the top
  int pattern[2];  // far (wall, sky) and near (floor, table)
  Color a[2], b[2];
  float period[2], cos_turn, sin_turn;
  std::uint32_t key;
};

Ground make_ground(Random random, float height, float unit) {
  Ground g;
  const float pick = random.uniform();
  g.place = pick < 0.25f ? Place::table : (pick < 0.6f ? Place::room : Place::yard);
  g.horizon = g.place == Place::table ? -1e6f : height * float(random.uniform(0.22, 0.5));
  g.key = random.bits();
  for (int part = 0; part < 2; ++part) {
    g.pattern[part] = int(random.below(4));
    g.a[part] = random_color(random, 0.06f, 0.42f, 0.42f, 0.85f);
    g.b[part] =
        mix(g.a[part], random_color(random, 0.1f, 0.4f, 0.3f, 0.95f), float(random.uniform(0.35, 0.8)));
    g.period[part] = float(random.uniform(9, 24)) * unit;
  }
  if (g.place == Place::yard) {
    const float hue = random.uniform() < 0.7f ? 0.57f : 0.07f;  // a blue day or a warm evening
    g.a[0] = near_hue(random, hue, 0.03f, 0.42f, 0.82f);
    g.b[0] = {0.95f, 0.95f, 0.96f};
    if (random.uniform() < 0.5f) {  // grass or earth
      const float ground = random.uniform() < 0.6f ? 0.25f : 0.1f;
      g.a[1] = near_hue(random, ground, 0.03f, 0.4f, 0.45f);
      g.b[1] = near_hue(random, ground - 0.03f, 0.03f, 0.38f, 0.68f);
      g.pattern[1] = 0;
    }
  }
  float x, y, square;
  do {
    x = random.uniform() * 2 - 1;
    y = random.uniform() * 2 - 1;
    square = x * x + y * y;
  } while (square > 1 || square < 0.01f);
  g.cos_turn = x / std::sqrt(square);
  g.sin_turn = y / std::sqrt(square);
  return g;
}

// Pattern `part` of the ground at coordinates in pixels; `fade` in 0..1 lowers its contrast (far away).
Color ground_pattern(const Ground& g, int part, float u, float v, float fade) {
  const float p = g.period[part];
  const float soft = std::min(0.2f, 1.2f / p);
  const float cloud = cloud_noise(u * 2.2f / p, v * 2.2f / p, g.key + std::uint32_t(part) * 31u, 4);
  float t = cloud;
  if (g.pattern[part] == 1) t = 0.25f * cloud + 0.75f * square_wave(u / p, soft);
  if (g.pattern[part] == 2) t = 0.25f * cloud + 0.7f * checks(u / p * 0.6f, v / p * 0.6f, soft * 0.6f);
  if (g.pattern[part] == 3)
    t = 0.55f * cloud + 0.45f * std::max(grid_line(u / p, 0.12f, soft), grid_line(v / p, 0.12f, soft));
  return mix(g.a[part], g.b[part], 0.5f + (t - 0.5f) * fade);
}

Color ground_color(const Ground& g, float x, float y, float width, float height) {
  if (g.place == Place::table)
    return ground_pattern(g, 1, g.cos_turn * x + g.sin_turn * y, g.cos_turn * y - g.sin_turn * x, 1);
  if (y < g.horizon) {
    const float up = clamp01((g.horizon - y) / std::max(g.horizon, 1.0f));
    if (g.place == Place::yard) {
      const float cloud = cloud_noise(x * 2.6f / width, (y * 5.2f) / width, g.key, 5);
      return mix(mix(g.b[0], g.a[0], 0.3f + 0.7f * up), Color{0.97f, 0.97f, 0.97f},
                 smooth_step(0.5f, 0.75f, cloud) * 0.75f);
    }
    const float skirting = smooth_step(0.055f, 0.045f, up);  // the board along the foot of the wall
    return mix(ground_pattern(g, 0, x, y, 0.8f), g.b[1] * 0.75f, skirting) * (1.02f - 0.1f * up);
  }
  // The floor in perspective: one over the distance below the eye.
  const float eye = 0.35f * height;
  const float near = eye + height - g.horizon;
  const float scale = near / (eye * 0.35f + (y - g.horizon) * 1.15f);
  const float fade = clamp01(1.35f - 0.3f * scale);
  return ground_pattern(g, 1, (x - 0.5f * width) * scale, scale * near * 1.1f, fade) *
         (0.88f + 0.14f * clamp01((y - g.horizon) / (height - g.horizon)));
}

Light make_light(Random random) {
  Light light;
  float x, y;
  do {
    x = random.uniform() * 2 - 1;
    y = random.uniform() * 2 - 1;
  } while (x * x + y * y > 1 || x * x + y * y < 0.1f);
  light.x = 0.75f * x;
  light.y = -0.35f - 0.4f * std::fabs(y);
  light.z = 0.75f;
  const float norm = std::sqrt(light.x * light.x + light.y * light.y + light.z * light.z);
  light.x /= norm;
  light.y /= norm;
  light.z /= norm;
  light.slant = -1.1f * x;
  light.ground = 0.28f + 0.15f * random.uniform();
  const float warm = random.uniform() * 2 - 1;
  light.tint = Color{1 + 0.07f * warm, 1, 1 - 0.09f * warm} * float(random.uniform(0.82, 1.12));
  light.fall_x = 0.3f * x;
  light.fall_y = 0.22f * (random.uniform() * 2 - 1);
  light.vignette = 0.28f * random.uniform();
  return light;
}

void turn(Thing& t, Random& random, float most) {
  // A rotation without sin and cos: the half angle's tangent.
  const float half = most * (random.uniform() * 2 - 1);
  t.cos_turn = (1 - half * half) / (1 + half * half);
  t.sin_turn = 2 * half / (1 + half * half);
}

std::vector<Thing> make_things(const SyntheticOptions& options, const Random& scene, const Ground& ground,
                               float unit) {
  const float width = float(options.width), height = float(options.height);
  const bool standing = ground.place != Place::table;
  std::vector<Thing> things;
  Random counts = scene.split(kThingStream);
  const int count = 5 + int(counts.below(6));
  for (int i = 0; i < count; ++i) {
    Random random = scene.split(kThingStream + 1 + std::uint64_t(i));
    Thing t{};
    do t.kind = Kind(1 + random.below(options.classes - 1));
    while (t.kind == kPole && options.classes > 2);
    const float nearness = random.uniform();  // 0 at the horizon, 1 in front
    // Many small things, few large ones; near ones larger.
    const float draw = random.uniform();
    t.size = unit * (7 + 26 * draw * draw * draw + (standing ? 13 * nearness : 8 * draw));
    if (t.kind == kWall || t.kind == kPuddle) t.size *= 1.35f;
    dress(t, random, unit);
    turn(t, random, standing ? 0.08f : 1);
    if (t.kind == kBall || t.kind == kRing || t.kind == kKite || t.kind == kStar) turn(t, random, 1);
    if (t.kind == kBush || t.kind == kPuddle || (t.kind == kCone && standing)) t.cos_turn = 1, t.sin_turn = 0;
    t.x = width * (random.uniform() * 1.1f - 0.05f);
    if (standing) {
      const float foot = ground.horizon + (height * 1.06f - ground.horizon) * (0.06f + 0.94f * nearness);
      const bool flies = t.kind == kKite || t.kind == kStar || (t.kind == kBall && random.uniform() < 0.25f);
      if (flies) t.lift = float(random.uniform(0.3, 1.6)) * t.size;
      t.y = foot - t.lift - (t.kind == kPuddle ? 0 : t.size * std::min(t.aspect, 1.0f) * 0.95f);
    } else {
      t.y = height * (random.uniform() * 1.1f - 0.05f);
      t.lift = unit * float(random.uniform(2, 6));
    }
    things.push_back(t);
  }
  if (options.classes > kPole) {
    Random random = scene.split(kPoleStream);
    const int poles = 1 + int(random.below(3));
    std::vector<Thing> tops;
    for (int i = 0; i < poles; ++i) {
      Thing t{};
      t.kind = kPole;
      t.size = unit * float(random.uniform(24, 62));
      dress(t, random, unit);
      t.aspect = unit * float(random.uniform(1.9, 4.2)) / t.size;
      turn(t, random, standing ? 0.05f : 1);
      t.x = width * (float(i) + 0.15f + 0.7f * random.uniform()) / float(poles);
      const float foot = standing
                             ? ground.horizon + (height - ground.horizon) * float(random.uniform(0.1, 0.95))
                             : height * float(random.uniform(0.5, 1.2));
      t.y = foot - t.size;
      t.lift = standing ? 0 : 3 * unit;
      things.push_back(t);
      tops.push_back(t);
    }
    for (std::size_t i = 1; i < tops.size() && standing; ++i) {
      if (random.uniform() < 0.35f) continue;
      // A wire from top to top, sagging as a parabola.
      const auto top = [](const Thing& t) {
        return Point{t.x + t.sin_turn * t.size * 0.96f, t.y - t.cos_turn * t.size * 0.96f};
      };
      const Point from = top(tops[i - 1]), to = top(tops[i]);
      Thing wire{};
      wire.kind = kPole;
      wire.variant = 2;
      wire.cos_turn = 1;
      wire.period = unit * float(random.uniform(0.95, 1.4));  // half its width
      wire.a = {0.17f, 0.17f, 0.19f};
      wire.x = 0.5f * (from.x + to.x);
      wire.y = 0.5f * (from.y + to.y);
      const float sag = unit * float(random.uniform(4, 16));
      wire.size = std::max(std::fabs(to.x - from.x), std::fabs(to.y - from.y)) * 0.5f + sag;
      wire.aspect = 1;
      for (std::size_t k = 0; k < wire.line.size(); ++k) {
        const float s = float(k) / float(wire.line.size() - 1);
        wire.line[k] = {from.x + (to.x - from.x) * s - wire.x,
                        from.y + (to.y - from.y) * s + 4 * sag * s * (1 - s) - wire.y};
      }
      wire.lift = -1;  // no shadow
      things.push_back(wire);
    }
  }
  // Back to front: by the foot. Puddles lie under everything.
  const auto depth = [&](const Thing& t) {
    if (t.kind == kPuddle) return -1e6f + t.y;
    if (t.lift < 0) return t.y + t.size;
    return standing ? t.y + t.size + t.lift : t.size * (t.kind == kPole ? 0.2f : -1.0f);
  };
  std::stable_sort(things.begin(), things.end(),
                   [&](const Thing& p, const Thing& q) { return depth(p) < depth(q); });
  return things;
}

// The shadow that a standing thing throws on the floor: a ground pixel is dark where the thing is in the way
// of the light at the matching height.
void floor_shadow(Canvas& canvas, const Thing& t, const Light& light, const Ground& ground, float unit) {
  const float foot = t.y + t.size * (t.kind == kPole ? 1.0f : std::min(t.aspect, 1.0f)) + t.lift;
  const float tall = 2 * t.size + t.lift;
  const float reach = Canvas::reach_of(t) + std::fabs(light.slant) * tall + 8 * unit;
  canvas.over(t.x - reach, foot - light.ground * tall - 8 * unit, t.x + reach, foot + 5 * unit,
              [&](std::int64_t row, std::int64_t column, float px, float py) {
                if (py < ground.horizon) return;
                const float high = (foot - py) / light.ground;
                const float dx = px - light.slant * high - t.x, dy = foot - high - t.y;
                const float d =
                    outline(t, t.cos_turn * dx + t.sin_turn * dy, t.cos_turn * dy - t.sin_turn * dx);
                const float soft = unit * 1.2f + 0.09f * std::max(high, 0.0f);
                canvas.shadow(row, column, 0.42f * (1 - smooth_step(-soft, soft, d)));
              });
  // Where it touches the floor.
  if (t.lift > 0) return;
  const float half = (t.kind == kPole ? t.size * t.aspect : t.size * 0.85f) + 2 * unit;
  canvas.over(t.x - 2 * half, foot - half, t.x + 2 * half, foot + half,
              [&](std::int64_t row, std::int64_t column, float px, float py) {
                if (py < ground.horizon) return;
                const float r = length((px - t.x) / half, (py - foot) / (0.22f * half + unit));
                canvas.shadow(row, column, 0.35f * (1 - smooth_step(0.3f, 1.25f, r)));
              });
}

// From above: the same outline, shifted away from the light.
void table_shadow(Canvas& canvas, const Thing& t, const Light& light, float unit) {
  const float sx = -light.x * t.lift * 1.6f, sy = -light.y * t.lift * 1.6f;
  const float soft = 0.7f * t.lift + unit;
  const float reach = Canvas::reach_of(t) + soft + 2;
  canvas.over(t.x + sx - reach, t.y + sy - reach, t.x + sx + reach, t.y + sy + reach,
              [&](std::int64_t row, std::int64_t column, float px, float py) {
                const float dx = px - sx - t.x, dy = py - sy - t.y;
                const float d =
                    outline(t, t.cos_turn * dx + t.sin_turn * dy, t.cos_turn * dy - t.sin_turn * dx);
                canvas.shadow(row, column, 0.45f * (1 - smooth_step(-soft, soft, d)));
              });
}

// Light, lens and sensor, to bytes.
void develop(Canvas& canvas, const SyntheticOptions& options, const Light& light, Random random,
             Sample& sample) {
  const std::int64_t height = options.height, width = options.width;
  const float grain = float(random.uniform(2.0, 6.0));  // standard deviation, of 255
  const std::uint64_t seed = random.seed(), stream = random.stream() + 1;
  auto image = sample.image.span<std::uint8_t>();
  auto labels = sample.labels.span<std::uint8_t>();
  for (std::int64_t y = 0; y < height; ++y) {
    for (std::int64_t x = 0; x < width; ++x) {
      const float u = (float(x) + 0.5f) / float(width) * 2 - 1, v = (float(y) + 0.5f) / float(height) * 2 - 1;
      const float lit =
          (1 + light.fall_x * u + light.fall_y * v) * (1 - light.vignette * 0.5f * (u * u + v * v));
      const Color c = canvas.color(y, x) * light.tint * lit;
      const std::int64_t pixel = y * width + x;
      const auto words = philox(seed, stream, std::uint64_t(pixel));
      const float channels[3] = {c.r, c.g, c.b};
      for (int k = 0; k < 3; ++k) {
        // The sum of four bytes is nearly normal: mean 510, standard deviation 147.8.
        const std::uint32_t w = words[std::size_t(k)];
        const float noise =
            (float((w & 255) + (w >> 8 & 255) + (w >> 16 & 255) + (w >> 24)) - 510) * (1 / 147.8f);
        const float value = channels[k] * 255 + grain * noise + 0.5f;
        image[pixel * 3 + k] = std::uint8_t(std::min(std::max(value, 0.0f), 255.0f));
      }
      labels[pixel] = canvas.label(y, x);
    }
  }
}

}  // namespace

Colormap synthetic_colormap(std::int64_t classes) {
  check_classes(classes);
  Colormap map;
  map.classes.assign(kClasses.begin(), kClasses.begin() + classes);
  map.ignore_color = {224, 224, 192};
  return map;
}

Sample synthetic_scene(const SyntheticOptions& options, Split split, std::int64_t index) {
  check_classes(options.classes);
  ATROUS_CHECK(ValueError,
               options.height >= 32 && options.height <= 4096 && options.width >= 32 && options.width <= 4096,
               "synthetic", "scenes are 32 to 4096 pixels high and wide, not ", options.height, "x",
               options.width);
  ATROUS_CHECK(ValueError, index >= 0, "synthetic", "scene ", index, " asked for; the first is 0");
  const Random scene = Random(options.seed, std::uint64_t(index) * 2 + (split == Split::val)).split(0);
  const float unit = float(std::min(options.height, options.width)) / 161;
  const float width = float(options.width), height = float(options.height);

  const Ground ground = make_ground(scene.split(kGroundStream), height, unit);
  const Light light = make_light(scene.split(kLightStream));
  const std::vector<Thing> things = make_things(options, scene, ground, unit);

  Canvas canvas(options.height, options.width);
  canvas.over(0, 0, width - 1, height - 1, [&](std::int64_t row, std::int64_t column, float x, float y) {
    canvas.color(row, column) = ground_color(ground, x, y, width, height);
  });
  const bool standing = ground.place != Place::table;
  for (const Thing& thing : things)
    if (standing && thing.lift >= 0 && thing.kind != kPuddle)
      floor_shadow(canvas, thing, light, ground, unit);
  for (const Thing& thing : things) {
    if (!standing && thing.kind != kPuddle) table_shadow(canvas, thing, light, unit);
    canvas.draw(thing, light);
  }

  Sample sample;
  sample.image = Tensor::empty({1, options.height, options.width, 3}, Dtype::u8);
  sample.labels = Tensor::empty({1, options.height, options.width}, Dtype::u8);
  sample.name = std::string("synthetic_") + split_name(split) + "_" + std::to_string(index);
  develop(canvas, options, light, scene.split(kNoiseStream), sample);
  return sample;
}

}  // namespace atrous::io
