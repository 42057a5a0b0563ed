#include "atrous/core/dry_run.h"

#include <mutex>

namespace atrous {
namespace {

std::mutex g_one_at_a_time;
thread_local bool t_rehearses = false;

}  // namespace

DryRun::DryRun() {
  g_one_at_a_time.lock();
  detail::begin_rehearsal();
  t_rehearses = true;
}

DryRun::~DryRun() {
  t_rehearses = false;
  g_one_at_a_time.unlock();
}

MemoryStats DryRun::stats(Device device) const { return detail::rehearsal_stats(device); }

bool in_dry_run() { return t_rehearses; }

}  // namespace atrous
