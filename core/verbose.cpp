#include "atrous/core/verbose.h"

#include <cstdio>
#include <cstdlib>
#include <mutex>
#include <set>

namespace atrous {

bool verbose(std::string_view topic) {
  const char* text = std::getenv("ATROUS_VERBOSE");
  if (!text) return false;
  const std::string list = "," + std::string(text) + ",", item = "," + std::string(topic) + ",";
  return list.find(item) != std::string::npos;
}

void say_once(const std::string& line) {
  static std::mutex mutex;
  static auto* said = new std::set<std::string>;  // never destroyed: threads may end after static objects
  const std::lock_guard lock(mutex);
  if (said->insert(line).second) std::fprintf(stderr, "atrous: %s\n", line.c_str());
}

}  // namespace atrous
