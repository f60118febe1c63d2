"""What the C library does with large blocks: an upload or a picture that is done with must not stay in the process."""

from __future__ import annotations

import ctypes

M_MMAP_THRESHOLD = -3  # mallopt(3)
LARGE = 1024 * 1024


def give_large_blocks_back() -> None:
    """Map blocks of 1 MB and more on their own, so that each goes back once freed.

    Left alone, glibc raises its threshold to the largest block it has seen freed, up to 32 MB, and keeps those below.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt:
        mallopt(M_MMAP_THRESHOLD, LARGE)
