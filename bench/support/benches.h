#pragma once

#include "atrous/core/parallel.h"

// Each file of rows registers them here; main calls all.

namespace atrous::bench {

/// The devices whose rows are wanted.
struct Devices {
  bool cpu = true, cuda = false;
};

/// Threads that the process started with. Rows on the CPU set numbers of their own.
inline int processors() {
  static const int all = threads();
  return all;
}

/// Whether a layer on the CPU is checked against its formula before it is timed.
inline bool& checks_results() {
  static bool checks = true;
  return checks;
}

void register_layers(const Devices& devices);
void register_models(const Devices& devices);
void register_crf(const Devices& devices);

}  // namespace atrous::bench
