#pragma once

#include "atrous/core/random.h"
#include "atrous/io/synthetic_paint.h"

// What a scene stands on and in front of: a table top, a room, a yard.

namespace atrous::io::paint {

enum class Place { table, room, yard };  // seen from above; wall and floor; sky and ground

struct Ground {
  Place place;
  float horizon;   // pixels from the top
  int pattern[2];  // far (wall, sky) and near (floor, table)
  Color a[2], b[2];
  float period[2], cos_turn, sin_turn;
  std::uint32_t key;
};
/// `unit` is a 161st of the picture's side.
Ground make_ground(Random random, float height, float unit);

/// Colour of the pixel at (x, y) of a picture of width x height pixels.
Color ground_color(const Ground& g, float x, float y, float width, float height);

}  // namespace atrous::io::paint
