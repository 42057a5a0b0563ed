#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "tests/support/cuda_emulator/state.h"

// Where threads meet: __syncthreads, and the warp functions.

namespace atrous::emu {
namespace {

void block_barrier(const char* what, const char* file, int line) {
  Fiber* fiber = g_current;
  if (!fiber) {
    std::fprintf(stderr, "emulator: barrier outside of a kernel at %s:%d\n", file, line);
    std::abort();
  }
  Block& block = *fiber->block;
  if (block.at_barrier == 0) {
    block.barrier_file = file;
    block.barrier_line = line;
  } else if (line != block.barrier_line || std::strcmp(file, block.barrier_file) != 0) {
    device_fail("threads of one block wait at different barriers: %s:%d and %s:%d", block.barrier_file,
                block.barrier_line, file, line);
  }
  fiber->state = Fiber::State::at_barrier;
  fiber->waits_in = what;
  fiber->file = file;
  fiber->line = line;
  if (++block.at_barrier == block.live) release_barrier(block);
  wait_here();
}

// All who can come are there: results for everybody.
void finish_meeting(Meeting& meeting, Block& block, unsigned warp, const Fiber* last) {
  if (meeting.combine) meeting.combine(meeting.lanes, meeting.arrived);
  meeting.active = false;
  ++g_counters.collectives;
  for (unsigned lane = 0; lane < 32; ++lane) {
    if (!(meeting.arrived >> lane & 1)) continue;
    Fiber& fiber = block.fibers[warp * 32 + lane];
    ++fiber.warp_syncs;
    if (&fiber != last) make_ready(fiber);
  }
}

}  // namespace

void syncthreads(const char* file, int line) { block_barrier("__syncthreads", file, line); }

// As block_barrier, for the threads of all blocks. Threads that have left are missed: a device would wait for
// their block for ever, and so does this, until nobody can go on.
void grid_barrier(const char* file, int line) {
  Fiber* fiber = g_current;
  if (!fiber) {
    std::fprintf(stderr, "emulator: grid barrier outside of a kernel at %s:%d\n", file, line);
    std::abort();
  }
  if (!g_launch.cooperative) {
    device_fail("grid barrier in a launch that is not cooperative at %s:%d", file, line);
    abandon_launch(cudaErrorLaunchFailure);
  }
  fiber->state = Fiber::State::at_grid_barrier;
  fiber->waits_in = "a grid barrier";
  fiber->file = file;
  fiber->line = line;
  if (++g_launch.at_grid_barrier == g_launch.threads) release_grid_barrier();
  wait_here();
}

int syncthreads_count(int predicate, int kind, const char* file, int line) {
  Fiber* fiber = g_current;
  const Block& block = *fiber->block;
  fiber->predicate = predicate != 0;
  block_barrier("__syncthreads_count", file, line);
  int count = 0, live = 0;
  for (unsigned i = 0; i < block.threads; ++i) {
    if (block.fibers[i].state == Fiber::State::done) continue;
    count += block.fibers[i].predicate;
    ++live;
  }
  block_barrier("__syncthreads_count", file, line);  // nobody changes a predicate before all have counted
  return kind == 0 ? count : kind == 1 ? count == live : count != 0;
}

void warp_collective(unsigned mask, void* mine, Combine combine, const char* what, const char* file,
                     int line) {
  Fiber* fiber = g_current;
  Block& block = *fiber->block;
  Warp& warp = block.warps[fiber->warp];
  const unsigned bit = 1u << fiber->lane;
  if (!(mask & bit)) {
    device_fail("%s: the calling lane %u is not in its mask %08x at %s:%d", what, fiber->lane, mask, file,
                line);
    mask |= bit;
  }
  Meeting* meeting = nullptr;
  Meeting* unused = nullptr;
  for (Meeting& m : warp.meetings) {
    if (!m.active) {
      if (!unused) unused = &m;
    } else if (m.mask == mask) {
      meeting = &m;
      break;
    } else if (m.mask & mask) {
      device_fail("%s with mask %08x meets %s with the overlapping mask %08x (%s:%d) at %s:%d", what, mask,
                  m.what, m.mask, m.file, m.line, file, line);
    }
  }
  if (!meeting) {
    meeting = unused;
    meeting->active = true;
    meeting->mask = mask;
    meeting->arrived = 0;
    meeting->combine = combine;
    meeting->what = what;
    meeting->file = file;
    meeting->line = line;
  } else if (meeting->combine != combine || meeting->line != line) {
    device_fail("lanes of one warp meet in different warp functions: %s %s:%d and %s %s:%d", meeting->what,
                meeting->file, meeting->line, what, file, line);
  }
  meeting->lanes[fiber->lane] = mine;
  meeting->arrived |= bit;
  if (meeting->arrived == (mask & ~warp.gone)) {
    finish_meeting(*meeting, block, fiber->warp, fiber);
    return;
  }
  fiber->state = Fiber::State::in_warp_function;
  fiber->waits_in = what;
  fiber->file = file;
  fiber->line = line;
  wait_here();
}

void leave_warp(Fiber& fiber) {
  Warp& warp = fiber.block->warps[fiber.warp];
  warp.gone |= 1u << fiber.lane;
  for (Meeting& meeting : warp.meetings)
    if (meeting.active && meeting.arrived == (meeting.mask & ~warp.gone))
      finish_meeting(meeting, *fiber.block, fiber.warp, nullptr);
}

}  // namespace atrous::emu
