"""Memory of a process that trains."""

import ctypes

# glibc, malloc.h
M_TRIM_THRESHOLD = -1
M_TOP_PAD = -2
M_MMAP_THRESHOLD = -3
KEPT_BYTES = 2**31 - 1  # the most that the setting takes
LARGEST_BYTES = 2**30
ASKED_BYTES = 2**28  # at a time


def keep_freed_memory() -> None:
    """Keep the memory of freed tensors in this process, for the next ones.

    A step of training frees and takes the same large tensors. glibc gives them back to the system, which clears what it
    hands out again, for 3 to 30 % of a step's time. Other C libraries, and a glibc that refuses, are left as they are.
    """
    libc = ctypes.CDLL(None)
    if hasattr(libc, "gnu_get_libc_version") and libc.mallopt(M_MMAP_THRESHOLD, LARGEST_BYTES):
        libc.mallopt(M_TRIM_THRESHOLD, KEPT_BYTES)
        libc.mallopt(M_TOP_PAD, ASKED_BYTES)
