"""Shared libraries called through ctypes: whole lines of memory, and arrays of C."""
import ctypes
import ctypes.util
import mmap


def load(*names):
    for name in names:
        try:
            return ctypes.CDLL(name, mode=ctypes.RTLD_GLOBAL)
        except OSError:
            pass
    raise OSError(f"no {names[0]}")


def block(size):
    """`size` bytes from a page on, written once (huge pages where the system gives them), and their address."""
    memory = mmap.mmap(-1, max(size, 1) + 4096)
    if hasattr(mmap, "MADV_HUGEPAGE") and size > 1 << 21:
        memory.madvise(mmap.MADV_HUGEPAGE)
    held = (ctypes.c_char * len(memory)).from_buffer(memory)
    words = (ctypes.c_float * (size // 4)).from_buffer(memory)
    words[: min(size // 4, 4096)] = [((i * 2654435761) % 1000) / 500 - 1 for i in range(min(size // 4, 4096))]
    filled = min(size, 16384)
    while 0 < filled < size:  # doubled until all is written
        step = min(filled, size - filled)
        ctypes.memmove(ctypes.addressof(held) + filled, held, step)
        filled += step
    return held


def integers(kind, *values):
    return (kind * len(values))(*values)
