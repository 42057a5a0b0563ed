#include <algorithm>
#include <cstdio>
#include <map>

#include "tests/support/cuda_emulator/state.h"

// How warps reach memory. The accesses of a block's lanes are written down with the site and how often the
// lane had been there since the block's last barrier (where lanes that took other ways are level again);
// equal site and count make one request of the warp.

namespace atrous::emu {
namespace {

constexpr std::uint64_t kSampledBlocks = 64;
using Sites = std::map<const void*, AccessStats>;  // by return address of the hook's call
Sites g_sites, g_taken_sites;

std::size_t distinct(std::vector<std::uintptr_t>& v) {
  std::sort(v.begin(), v.end());
  return std::size_t(std::unique(v.begin(), v.end()) - v.begin());
}

using Records = std::vector<AccessRecord>;

void count_device(const Records& r, std::size_t begin, std::size_t end, AccessStats& stats) {
  std::vector<std::uintptr_t> sectors, bytes;
  for (std::size_t k = begin; k < end; ++k) {
    for (std::uintptr_t s = r[k].address / 32; s <= (r[k].address + r[k].bytes - 1) / 32; ++s)
      sectors.push_back(s);
    for (std::uintptr_t b = 0; b < r[k].bytes; ++b) bytes.push_back(r[k].address + b);
  }
  ++stats.device_requests;
  stats.sectors += distinct(sectors);
  stats.ideal_sectors += (distinct(bytes) + 31) / 32;
}

// A wavefront serves 32 lanes with 4 bytes each, 16 with 8, 8 with 16.
void count_shared(const Records& r, std::size_t begin, std::size_t end, AccessStats& stats) {
  const unsigned lanes = r[begin].bytes >= 16 ? 8 : r[begin].bytes >= 8 ? 16 : 32;
  ++stats.shared_requests;
  for (unsigned first = 0; first < 32; first += lanes) {
    std::vector<std::uintptr_t> words;
    for (std::size_t k = begin; k < end; ++k) {
      if (r[k].lane < first || r[k].lane >= first + lanes) continue;
      for (std::uintptr_t w = r[k].address / 4; w <= (r[k].address + r[k].bytes - 1) / 4; ++w)
        words.push_back(w);
    }
    if (words.empty()) continue;
    words.resize(distinct(words));
    unsigned in_bank[32] = {}, busiest = 0;
    for (const std::uintptr_t w : words) busiest = std::max(busiest, ++in_bank[w % 32]);
    stats.wavefronts += busiest;
    ++stats.ideal_wavefronts;
  }
}

void add(AccessStats& to, const AccessStats& s) {
  to.device_requests += s.device_requests;
  to.sectors += s.sectors;
  to.ideal_sectors += s.ideal_sectors;
  to.shared_requests += s.shared_requests;
  to.wavefronts += s.wavefronts;
  to.ideal_wavefronts += s.ideal_wavefronts;
}

}  // namespace

void start_statistics(Block& block) {
  block.sampled = g_config.stats && block.linear < kSampledBlocks;
  if (!block.sampled) return;
  block.records.assign((block.threads + 31) / 32, {});
  for (Fiber& fiber : block.fibers) {
    fiber.times_at.clear();
    fiber.times_since = block.barriers;
  }
}

void record_access(const void* pc, std::uintptr_t address, unsigned bytes, bool shared) {
  Fiber& fiber = *g_current;
  const unsigned barriers = fiber.block->barriers;
  if (fiber.times_since != barriers) {
    fiber.times_at.clear();
    fiber.times_since = barriers;
  }
  fiber.block->records[fiber.warp].push_back(
      {pc, barriers, fiber.times_at[pc]++, fiber.lane, address, bytes, shared});
}

void finish_statistics(Block& block) {
  if (!block.sampled) return;
  for (Records& r : block.records) {
    std::stable_sort(r.begin(), r.end(), [](const AccessRecord& a, const AccessRecord& b) {
      if (a.pc != b.pc) return a.pc < b.pc;
      return a.barriers != b.barriers ? a.barriers < b.barriers : a.occurrence < b.occurrence;
    });
    for (std::size_t begin = 0, end = 0; begin < r.size(); begin = end) {
      while (end < r.size() && r[end].pc == r[begin].pc && r[end].barriers == r[begin].barriers &&
             r[end].occurrence == r[begin].occurrence)
        ++end;
      (r[begin].shared ? count_shared : count_device)(r, begin, end, g_sites[r[begin].pc]);
    }
    r.clear();
  }
}

AccessStats take_access_stats() {
  AccessStats total{};
  for (const auto& [pc, stats] : g_sites) add(total, stats);
  g_taken_sites.swap(g_sites);
  g_sites.clear();
  return total;
}

std::string take_access_sites() {
  std::map<std::string, AccessStats> lines;
  for (const auto& [pc, stats] : g_taken_sites) add(lines[source_line(pc)], stats);
  std::string text;
  for (const auto& [line, s] : lines) {
    char row[256];
    if (s.device_requests) {
      const auto n = double(s.device_requests);
      std::snprintf(row, sizeof row, "  %-32.100s device: %8.0f requests, %.2f sectors each, ideal %.2f\n",
                    line.c_str(), n, double(s.sectors) / n, double(s.ideal_sectors) / n);
      text += row;
    }
    if (s.shared_requests) {
      const auto n = double(s.shared_requests);
      std::snprintf(row, sizeof row, "  %-32.100s shared: %8.0f requests, %.2f wavefronts each, ideal %.2f\n",
                    line.c_str(), n, double(s.wavefronts) / n, double(s.ideal_wavefronts) / n);
      text += row;
    }
  }
  return text;
}

}  // namespace atrous::emu
