#include "atrous/io/synthetic_ground.h"

#include "atrous/io/synthetic_thing.h"

namespace atrous::io::paint {

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

namespace {

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

}  // namespace

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

}  // namespace atrous::io::paint
