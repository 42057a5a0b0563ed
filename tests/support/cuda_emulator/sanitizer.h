#pragma once

#include <cstddef>

// Under AddressSanitizer the emulator tells it which bytes may be touched, and when stacks change.

#if defined(__SANITIZE_ADDRESS__)
#define ATROUS_EMU_ASAN 1
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#else
#define ATROUS_EMU_ASAN 0
#endif

namespace atrous::emu {

inline void poison([[maybe_unused]] const void* p, [[maybe_unused]] std::size_t bytes) {
#if ATROUS_EMU_ASAN
  __asan_poison_memory_region(p, bytes);
#endif
}
inline void unpoison([[maybe_unused]] const void* p, [[maybe_unused]] std::size_t bytes) {
#if ATROUS_EMU_ASAN
  __asan_unpoison_memory_region(p, bytes);
#endif
}

}  // namespace atrous::emu
