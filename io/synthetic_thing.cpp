#include "atrous/io/synthetic_thing.h"

namespace atrous::io::paint {
namespace {

constexpr Point kTriangle[] = {{0, -1}, {0.72f, 1}, {-0.72f, 1}};
constexpr Point kDiamond[] = {{0, -1}, {0.68f, -0.22f}, {0, 1}, {-0.68f, -0.22f}};
// Five tips on the unit circle, inner corners at 0.45.
constexpr Point kStarCorners[] = {
    {0, -1},    {0.265f, -0.364f}, {0.951f, -0.309f}, {0.428f, 0.139f},   {0.588f, 0.809f},
    {0, 0.45f}, {-0.588f, 0.809f}, {-0.428f, 0.139f}, {-0.951f, -0.309f}, {-0.265f, -0.364f}};
constexpr Point kOctagon[] = {{0.414f, -1}, {1, -0.414f}, {1, 0.414f},   {0.414f, 1},
                              {-0.414f, 1}, {-1, 0.414f}, {-1, -0.414f}, {-0.414f, -1}};

// How much light a surface that faces (nx, ny, nz) sends back.
float lambert(const Light& light, float nx, float ny, float nz) {
  return 0.42f + 0.72f * std::max(0.0f, nx * light.x + ny * light.y + nz * light.z);
}

}  // namespace

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
      t.variant = random.below(2) ? 0 : 2;  // bands or one colour
      t.a = random.uniform() < 0.7f
                ? near_hue(random, 0.0f, 0.06f, 0.82f, 0.85f)  // mostly red, some of any colour
                : random_color(random, 0.65f, 0.95f, 0.7f, 0.98f);
      t.b = pick < 0.6f ? Color{0.95f, 0.94f, 0.9f} : random_color(random, 0.6f, 0.9f, 0.55f, 0.95f);
      break;
    }
    case kCrate: {
      t.aspect = float(random.uniform(0.62, 1.1));
      t.period = std::max(t.size * float(random.uniform(0.28, 0.42)), 3.0f);
      const float hue = pick < 0.8f ? 0.08f : random.uniform();  // mostly wood, some painted
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
      const float hue = pick < 0.85f ? 0.29f : (pick < 0.95f ? 0.12f : 0.95f);  // green, autumn, blossom
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
      t.a = random.uniform() < 0.7f ? near_hue(random, 0.68f, 0.08f, 0.7f, 0.8f)  // mostly blue and violet
                                    : random_color(random, 0.55f, 0.95f, 0.6f, 0.95f);
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

}  // namespace atrous::io::paint
