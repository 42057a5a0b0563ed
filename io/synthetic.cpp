#include "atrous/io/synthetic.h"

#include <array>

#include "atrous/core/error.h"
#include "atrous/core/random.h"
#include "atrous/io/synthetic_ground.h"
#include "atrous/io/synthetic_thing.h"

namespace atrous::io {
namespace {

using namespace paint;

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
    t.size = unit * (11 + 26 * draw * draw * draw + (standing ? 13 * nearness : 8 * draw));
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
      t.aspect = unit * float(random.uniform(2.8, 5.0)) / t.size;
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
      wire.period = unit * float(random.uniform(1.2, 1.7));  // half its width
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
