#include "atrous/kernels/permutohedral/tiled_lattice.h"

#include <algorithm>
#include <atomic>
#include <limits>

#include "atrous/core/parallel.h"
#include "atrous/kernels/permutohedral/lattice_point.h"
#include "atrous/kernels/permutohedral/tiled_lattice_simd.h"

namespace atrous::kernels::tiled {
namespace {

constexpr std::int64_t kTileWidth = 64, kTilePoints = 2048;
constexpr std::int64_t kTileSlots = 1 << 15;  // more than twice the splats of a tile
static_assert(kTileSlots >= 2 * kTilePoints * (simd::kMostPlacedFeatures + 1));
constexpr std::int64_t kMostTileLocals = kTilePoints * (simd::kMostPlacedFeatures + 1);
constexpr std::int32_t kNoVertex = std::numeric_limits<std::int32_t>::max();
constexpr std::uint64_t kNoKey = ~std::uint64_t(0);  // keys have 63 bits
static_assert(kMostUpdateClasses == simd::kMostFusedClasses && kMostUpdateTerms == simd::kMostFusedTerms);
constexpr std::int64_t kParts = 64;  // of the table of all vertices

struct Tile {
  std::int64_t top, bottom, left, right;
  std::int64_t first_splat;  // splats of the tiles before
};

Tile tile_of(const Tiling& t, const LatticeDims& d, std::int64_t i) {
  const std::int64_t image_rows = t.points / t.row;
  Tile tile;
  tile.top = i / t.columns * t.height;
  tile.bottom = std::min(image_rows, tile.top + t.height);
  tile.left = i % t.columns * t.width;
  tile.right = std::min(t.row, tile.left + t.width);
  tile.first_splat = (tile.top * t.row + tile.left * (tile.bottom - tile.top)) * d.corners();
  return tile;
}

// run(first point, points) for the rows of a tile.
template <class Run>
void for_each_run(const Tiling& t, const Tile& tile, const Run& run) {
  for (std::int64_t y = tile.top; y < tile.bottom; ++y) run(y * t.row + tile.left, tile.right - tile.left);
}

simd::LatticeRun run_of(const Lattice& l, std::int64_t first, std::int64_t points, std::int64_t classes) {
  const std::int64_t corners = l.dims.corners();
  return {
      points, corners, classes, stride_of(classes), l.local + first * corners, l.weight + first * corners};
}

// Clears what tile t splats into, and lists it: a vertex's own row for the tile that touches it first, rows
// behind those of all vertices for the others.
void start_tile(const Lattice& l, std::int64_t t, std::int64_t stride, float* table, std::int32_t* rows) {
  const std::int64_t begin = l.tile_begin[t], count = l.tile_begin[t + 1] - begin;
  const std::int32_t first = l.vertex_begin[t], own = l.vertex_begin[t + 1] - first;
  std::int32_t extra = std::int32_t(l.vertices + begin - first);
  simd::lattice_clear_rows(own * stride, table + first * stride);
  simd::lattice_clear_rows((count - own) * stride, table + extra * stride);
  for (std::int64_t k = 0; k < count; ++k) {
    const std::int32_t u = l.global[begin + k];
    rows[k] = u >= first ? u : extra++;
  }
}

// Asks for memory that is read soon, in pieces that the processor's own prefetching does not foresee: the
// rows of a tile, the runs of the next line.
template <class T>
void fetch(const T* begin, std::int64_t count) {
  const char* const bytes = reinterpret_cast<const char*>(begin);
  for (std::int64_t b = 0; b < count * std::int64_t(sizeof(T)); b += 64) __builtin_prefetch(bytes + b, 0, 2);
}
void fetch_rows(const Term& term, std::int64_t t, std::int64_t stride) {
  for (std::int64_t l = term.lattice.tile_begin[t]; l < term.lattice.tile_begin[t + 1]; ++l)
    fetch(term.table + term.lattice.global[l] * stride, stride);
}

std::int64_t row_grain(std::int64_t stride) { return 1 + (1 << 13) / stride; }

// Finds a key, or the empty slot where it belongs, among the slots of its part; -1 if neither is there.
class VertexTable {
 public:
  VertexTable(Span<const std::uint64_t> keys, Span<const std::int32_t> slots, std::int64_t parts)
      : keys_(keys), slots_(slots), parts_(parts), part_size_(slots.size() / parts) {}
  std::int64_t part_of(std::uint64_t hash) const { return std::int64_t(hash >> 40) & (parts_ - 1); }
  std::int64_t find(std::uint64_t key, std::uint64_t hash) const {
    const std::int64_t begin = part_of(hash) * part_size_, mask = part_size_ - 1;
    std::int64_t at = std::int64_t(hash) & mask;
    for (std::int64_t tries = 0; tries < part_size_; ++tries, at = (at + 1) & mask) {
      const std::int32_t found = slots_[begin + at];
      if (found < 0 || keys_[found] == key) return begin + at;
    }
    return -1;
  }
  /// The slot where find() begins.
  std::int64_t start(std::uint64_t hash) const {
    return part_of(hash) * part_size_ + (std::int64_t(hash) & (part_size_ - 1));
  }

 private:
  Span<const std::uint64_t> keys_;
  Span<const std::int32_t> slots_;
  std::int64_t parts_, part_size_;  // powers of two
};

}  // namespace

Tiling::Tiling(const LatticeDims& dims) : points(dims.points), row(dims.row > 0 ? dims.row : dims.points) {
  width = dims.row > 0 ? kTileWidth : kTilePoints;
  height = kTilePoints / width;
  columns = row > 0 ? (row + width - 1) / width : 0;
  rows = row > 0 ? (points / row + height - 1) / height : 0;
}

bool takes(const LatticeDims& dims, const LatticeKeys& keys) {
  return dims.features <= simd::kMostPlacedFeatures && keys.words == 1;
}

std::int64_t number_locals(const LatticeDims& dims, const LatticeKeys& keys, Span<const float> features,
                           Span<std::uint16_t> local, Span<float> weight, Span<std::int32_t> tile_begin,
                           Span<std::uint64_t> keys_found) {
  const Tiling tiling(dims);
  const std::int64_t corners = dims.corners();
  simd::LatticePlaceKeys place{};
  place.features = keys.features;
  for (int i = 0; i < keys.features; ++i) {
    place.scale[i] = keys.scale[i];
    place.low[i] = keys.low[i];
    place.shift[i] = keys.shift[i];
  }
  parallel_for(tiling.tiles(), [&](std::int64_t begin, std::int64_t end) {
    std::uint64_t slot_keys[kTileSlots];
    std::uint16_t slot_locals[kTileSlots];
    std::fill_n(slot_keys, kTileSlots, kNoKey);
    std::uint64_t keys_of_run[kTileWidth * (simd::kMostPlacedFeatures + 1)];
    for (std::int64_t t = begin; t < end; ++t) {
      const Tile tile = tile_of(tiling, dims, t);
      std::uint64_t* found = keys_found.data() + tile.first_splat;
      std::int64_t count = 0;
      std::uint64_t last_key[simd::kMostPlacedFeatures + 1];
      std::uint16_t last_local[simd::kMostPlacedFeatures + 1] = {};
      std::fill_n(last_key, corners, kNoKey);
      for_each_run(tiling, tile, [&](std::int64_t first, std::int64_t points) {
        for (std::int64_t part = 0; part < points; part += kTileWidth) {
          const std::int64_t n = std::min(kTileWidth, points - part), at = first + part;
          simd::lattice_place(place, n, features.data() + at * dims.features, keys_of_run,
                              weight.data() + at * corners);
          std::uint16_t* to = local.data() + at * corners;
          for (std::int64_t i = 0; i < n; ++i)
            for (std::int64_t r = 0; r < corners; ++r) {
              const std::uint64_t key = keys_of_run[i * corners + r];
              if (key != last_key[r]) {  // neighbouring pixels often share a simplex
                std::uint64_t slot = lattice_hash(key) & (kTileSlots - 1);
                while (slot_keys[slot] != key && slot_keys[slot] != kNoKey)
                  slot = (slot + 1) & (kTileSlots - 1);
                if (slot_keys[slot] == kNoKey) {
                  slot_keys[slot] = key;
                  slot_locals[slot] = std::uint16_t(count);
                  found[count++] = key;
                }
                last_key[r] = key;
                last_local[r] = slot_locals[slot];
              }
              to[i * corners + r] = last_local[r];
            }
        }
      });
      tile_begin[t + 1] = std::int32_t(count);
      // Clean up after the tile: the slots of its keys and what they displaced.
      if (4 * count > kTileSlots)
        std::fill_n(slot_keys, kTileSlots, kNoKey);
      else
        for (std::int64_t i = 0; i < count; ++i)
          for (std::uint64_t slot = lattice_hash(found[i]) & (kTileSlots - 1); slot_keys[slot] != kNoKey;
               slot = (slot + 1) & (kTileSlots - 1))
            slot_keys[slot] = kNoKey;
    }
  });
  tile_begin[0] = 0;
  for (std::int64_t t = 0; t < tiling.tiles(); ++t) tile_begin[t + 1] += tile_begin[t];
  return tile_begin[tiling.tiles()];
}

std::int64_t table_size(std::int64_t locals) {
  std::int64_t size = 64;
  while (size < 2 * locals) size *= 2;
  return size;
}

Numbered number_vertices(const LatticeDims& dims, Span<const std::int32_t> tile_begin,
                         Span<const std::uint64_t> keys_found, Span<std::uint64_t> local_keys,
                         Span<std::int32_t> slots, Span<std::int32_t> global, Span<std::int32_t> first) {
  const Tiling tiling(dims);
  const std::int64_t locals = tile_begin[tiling.tiles()];
  parallel_for(tiling.tiles(), [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t t = begin; t < end; ++t)
      std::copy_n(keys_found.data() + tile_of(tiling, dims, t).first_splat, tile_begin[t + 1] - tile_begin[t],
                  local_keys.data() + tile_begin[t]);
  });
  // Each part of the table belongs to one thread, which takes the keys of that part in their order: global[l]
  // first becomes the first local with the same key. A part that overflows (it is half full on average) makes
  // all of them one part.
  std::int64_t parts = slots.size() >= (1 << 16) ? kParts : 1;
  for (;; parts = 1) {
    const VertexTable table(local_keys, slots, parts);
    std::fill(slots.begin(), slots.end(), -1);
    std::atomic<bool> overflow = false;
    parallel_for(parts, [&](std::int64_t begin, std::int64_t end) {
      for (std::int64_t l = 0; l < locals; ++l) {
        const std::uint64_t hash = lattice_hash(local_keys[l]);
        const std::int64_t part = table.part_of(hash);
        if (part < begin || part >= end) continue;
        const std::int64_t slot = table.find(local_keys[l], hash);
        if (slot < 0) {
          overflow = true;
          return;
        }
        if (slots[slot] < 0) slots[slot] = std::int32_t(l);
        global[l] = slots[slot];
      }
    });
    if (!overflow) break;
  }
  std::int64_t vertices = 0;
  for (std::int64_t l = 0; l < locals; ++l) {
    if (global[l] == l) {
      first[vertices] = std::int32_t(l);
      global[l] = std::int32_t(vertices++);
    } else {
      global[l] = global[global[l]];
    }
  }
  return {vertices, parts};
}

namespace {

// A counting sort, by vertex, of the locals that are not the first of theirs. Returns V.
std::int64_t list_extras(std::int64_t vertices, Span<const std::int32_t> tile_begin,
                         Span<const std::int32_t> global, Span<const std::int32_t> vertex_begin,
                         Span<std::int32_t> shared, Span<std::int32_t> shared_begin,
                         Span<std::int32_t> extras) {
  // shared_begin[u + 1] counts, then is where u's begin, and in the end where they end.
  std::fill(shared_begin.begin(), shared_begin.end(), 0);
  const auto for_extras = [&](const auto& body) {  // body(local), in their order
    for (std::int64_t t = 0; t + 1 < vertex_begin.size(); ++t)
      for (std::int64_t l = tile_begin[t]; l < tile_begin[t + 1]; ++l)
        if (global[l] < vertex_begin[t]) body(l);
  };
  for_extras([&](std::int64_t l) { ++shared_begin[global[l] + 1]; });
  std::int64_t count = 0;
  std::int32_t sum = 0;
  for (std::int64_t u = 0; u < vertices; ++u) {
    const std::int32_t own = shared_begin[u + 1];
    shared_begin[u + 1] = sum;
    sum += own;
    if (own) shared[count++] = std::int32_t(u);
  }
  std::int32_t extra = std::int32_t(vertices);
  for_extras([&](std::int64_t l) { extras[shared_begin[global[l] + 1]++] = extra++; });
  // Of that, only what belongs to the shared ones is kept.
  shared_begin[0] = 0;
  for (std::int64_t s = 0; s < count; ++s) shared_begin[s + 1] = shared_begin[shared[s] + 1];
  return count;
}

// plus[axis, u]: the next vertex along the axis, or kNoVertex.
void find_next(const LatticeDims& dims, const LatticeKeys& keys, const Numbered& numbered,
               Span<const std::uint64_t> local_keys, Span<const std::int32_t> slots,
               Span<const std::int32_t> global, Span<const std::int32_t> first, Span<std::int32_t> plus) {
  const std::int64_t vertices = numbered.vertices, corners = dims.corners();
  const VertexTable table(local_keys, slots, numbered.parts);
  std::uint64_t steps[2][simd::kMostPlacedFeatures + 1];  // for remainders below d, and for d
  for (int axis = 0; axis < corners; ++axis)
    for (const int last : {0, 1}) steps[last][axis] = lattice_step(keys, axis, last ? keys.features : 0, 0);
  parallel_for(vertices, 1 << 10, [&](std::int64_t begin, std::int64_t end) {
    // A vertex's slots are asked for two blocks ahead, what they point to one block ahead.
    constexpr std::int64_t kBlock = 8;
    std::uint64_t wanted[3][kBlock][simd::kMostPlacedFeatures + 1];
    for (std::int64_t block = begin; block < end + 2 * kBlock; block += kBlock) {
      const auto each = [&](std::int64_t first_of_block, const auto& body) {
        for (std::int64_t u = std::max(begin, first_of_block); u < std::min(end, first_of_block + kBlock);
             ++u)
          for (int axis = 0; axis < corners; ++axis)
            body(u, axis, wanted[(first_of_block - begin) / kBlock % 3][u - first_of_block][axis]);
      };
      each(block, [&](std::int64_t u, int axis, std::uint64_t& key) {
        const std::uint64_t own = local_keys[first[u]];
        key = own + steps[lattice_remainder(keys, own) == keys.features][axis];
        __builtin_prefetch(&slots[table.start(lattice_hash(key))]);
      });
      each(block - kBlock, [&](std::int64_t, int, std::uint64_t& key) {
        const std::int32_t found = slots[table.start(lattice_hash(key))];
        if (found >= 0) __builtin_prefetch(&local_keys[found]);
      });
      each(block - 2 * kBlock, [&](std::int64_t u, int axis, std::uint64_t& key) {
        const std::int64_t slot = table.find(key, lattice_hash(key));
        plus[axis * vertices + u] = slot >= 0 && slots[slot] >= 0 ? global[slots[slot]] : kNoVertex;
      });
    }
  });
}

// Follows the next vertices from those that none comes before. plus is used up.
void walk_chains(std::int64_t vertices, std::int64_t corners, Span<std::int32_t> plus,
                 Span<std::int32_t> chains, Span<std::int64_t> chain_counts) {
  parallel_for(corners, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t axis = begin; axis < end; ++axis) {
      std::int32_t *next = plus.data() + axis * vertices, *chain = chains.data() + axis * vertices;
      // Before the chains are written their room holds marks.
      std::fill_n(chain, vertices, 0);
      for (std::int64_t u = 0; u < vertices; ++u)
        if (next[u] != kNoVertex) chain[next[u]] = 1;
      for (std::int64_t u = 0; u < vertices; ++u)
        if (chain[u]) next[u] = ~next[u];  // not the first of its chain
      std::int64_t length = 0;
      for (std::int64_t u = 0; u < vertices; ++u) {
        if (next[u] < 0 || next[u] == kNoVertex) continue;
        chain[length++] = ~std::int32_t(u);
        for (std::int32_t v = next[u]; v != kNoVertex; v = ~next[v]) chain[length++] = v;
      }
      chain_counts[axis] = length;
    }
  });
}

}  // namespace

std::int64_t link(const LatticeDims& dims, const LatticeKeys& keys, const Numbered& numbered,
                  Span<const std::uint64_t> local_keys, Span<const std::int32_t> slots,
                  Span<const std::int32_t> tile_begin, Span<const std::int32_t> global,
                  Span<const std::int32_t> first, Span<std::int32_t> vertex_begin, Span<std::int32_t> shared,
                  Span<std::int32_t> shared_begin, Span<std::int32_t> extras, Span<std::int32_t> plus,
                  Span<std::int32_t> chains, Span<std::int64_t> chain_counts) {
  // Vertices are numbered in the order of their first locals: the tile's own are those from its begin on.
  for (std::int64_t t = 0; t < vertex_begin.size(); ++t)
    vertex_begin[t] = std::int32_t(
        std::lower_bound(first.begin(), first.begin() + numbered.vertices, tile_begin[t]) - first.begin());
  find_next(dims, keys, numbered, local_keys, slots, global, first, plus);
  walk_chains(numbered.vertices, dims.corners(), plus, chains, chain_counts);
  return list_extras(numbered.vertices, tile_begin, global, vertex_begin, shared, shared_begin, extras);
}

void splat(const Lattice& lattice, std::int64_t classes, const float* pre, const float* values,
           float* table) {
  const Tiling tiling(lattice.dims);
  parallel_for(tiling.tiles(), [&](std::int64_t begin, std::int64_t end) {
    std::int32_t rows[kMostTileLocals];
    for (std::int64_t t = begin; t < end; ++t) {
      start_tile(lattice, t, stride_of(classes), table, rows);
      for_each_run(tiling, tile_of(tiling, lattice.dims, t), [&](std::int64_t first, std::int64_t points) {
        simd::lattice_splat_run(run_of(lattice, first, points, classes), rows, pre ? pre + first : nullptr,
                                values + first * classes, table);
      });
    }
  });
  merge(lattice, classes, table);
}

void merge(const Lattice& lattice, std::int64_t classes, float* table) {
  const std::int64_t stride = stride_of(classes);
  parallel_for(lattice.shared_count, row_grain(stride), [&](std::int64_t begin, std::int64_t end) {
    simd::lattice_gather_rows(begin, end, stride, lattice.shared, lattice.shared_begin, lattice.extras,
                              table);
  });
}

void blur(const Lattice& lattice, std::int64_t classes, bool reversed, float* table) {
  const std::int64_t stride = stride_of(classes), d = lattice.dims.features;
  for (std::int64_t step = 0; step <= d; ++step) {
    const std::int64_t axis = reversed ? d - step : step, count = lattice.chain_counts[axis];
    const std::int32_t* chains = lattice.chains + axis * lattice.vertices;
    // Whoever has the first of a chain has all of it.
    const auto whole = [&](std::int64_t k) {
      while (k < count && chains[k] >= 0) ++k;
      return k;
    };
    parallel_for(count, row_grain(stride), [&](std::int64_t begin, std::int64_t end) {
      begin = whole(begin);
      end = whole(end);
      if (begin < end) simd::lattice_blur_chains(begin, end, stride, chains, table);
    });
  }
}

void scale_rows(const Lattice& lattice, std::int64_t classes, const float* factors, float* table) {
  const std::int64_t stride = stride_of(classes);
  parallel_for(lattice.vertices, row_grain(stride), [&](std::int64_t begin, std::int64_t end) {
    simd::lattice_scale_rows(begin, end, stride, factors, table);
  });
}

void mix_rows(const Lattice& lattice, std::int64_t classes, const float* columns, float* table) {
  const std::int64_t stride = stride_of(classes);
  parallel_for(lattice.vertices, 1 + row_grain(stride) / classes, [&](std::int64_t begin, std::int64_t end) {
    simd::lattice_mix_rows(begin, end, stride, classes, columns, table);
  });
}

void slice(const Lattice& lattice, std::int64_t classes, double scale, const float* post, const float* table,
           float* out) {
  const Tiling tiling(lattice.dims);
  parallel_for(tiling.tiles(), [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t t = begin; t < end; ++t)
      for_each_run(tiling, tile_of(tiling, lattice.dims, t), [&](std::int64_t first, std::int64_t points) {
        simd::lattice_slice_run(run_of(lattice, first, points, classes),
                                lattice.global + lattice.tile_begin[t], table, float(scale),
                                post ? post + first : nullptr, out + first * classes);
      });
  });
}

void vertices_of_splats(const Lattice& lattice, Span<std::int32_t> vertex) {
  const Tiling tiling(lattice.dims);
  const std::int64_t corners = lattice.dims.corners();
  for (std::int64_t t = 0; t < tiling.tiles(); ++t)
    for_each_run(tiling, tile_of(tiling, lattice.dims, t), [&](std::int64_t first, std::int64_t points) {
      for (std::int64_t s = first * corners; s < (first + points) * corners; ++s)
        vertex[s] = lattice.global[lattice.tile_begin[t] + lattice.local[s]];
    });
}

float update(Span<const Term> terms, std::int64_t classes, const float* logits, float relax, const float* old,
             float* q, Span<float> change_of_tile) {
  const LatticeDims dims = terms[0].lattice.dims;
  const Tiling tiling(dims);
  parallel_for(tiling.tiles(), [&](std::int64_t begin, std::int64_t end) {
    simd::FusedTerm fused[simd::kMostFusedTerms];
    std::int32_t rows[simd::kMostFusedTerms][kMostTileLocals];
    for (std::int64_t t = begin; t < end; ++t) {
      for (std::int64_t m = 0; m < terms.size(); ++m)
        if (terms[m].next) start_tile(terms[m].lattice, t, stride_of(classes), terms[m].next, rows[m]);
      for (const Term& term : terms)
        if (term.table) fetch_rows(term, t, stride_of(classes));
      float change = 0;
      for_each_run(tiling, tile_of(tiling, dims, t), [&](std::int64_t first, std::int64_t points) {
        const std::int64_t below = first + dims.row;
        fetch(logits + below * classes, points * classes);
        for (std::int64_t m = 0; m < terms.size(); ++m) {
          const Term& term = terms[m];
          const std::int64_t corners = term.lattice.dims.corners();
          fetch(term.lattice.local + below * corners, points * corners);
          fetch(term.lattice.weight + below * corners, points * corners);
          if (term.pre) fetch(term.pre + below, points);
          if (term.post) fetch(term.post + below, points);
          fused[m] = {run_of(term.lattice, first, points, classes),
                      term.pre ? term.pre + first : nullptr,
                      term.post ? term.post + first : nullptr,
                      term.scale,
                      term.lattice.global + term.lattice.tile_begin[t],
                      rows[m],
                      term.table,
                      term.next};
        }
        const float of_run = simd::lattice_update_run(fused, int(terms.size()), logits + first * classes,
                                                      relax, old ? old + first * classes : nullptr,
                                                      q ? q + first * classes : nullptr);
        change = of_run <= change ? change : of_run;
      });
      change_of_tile[t] = change;
    }
  });
  float change = 0;
  for (const float of_tile : change_of_tile.part(0, tiling.tiles())) change = std::max(change, of_tile);
  return change;
}

}  // namespace atrous::kernels::tiled
