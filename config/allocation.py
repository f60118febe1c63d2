"""What the web process does with its memory: large blocks go back, and what is there for good is looked at once."""

from __future__ import annotations

import ctypes
import gc
from importlib import import_module

M_MMAP_THRESHOLD = -3  # mallopt(3)
LARGE = 1024 * 1024


def give_large_blocks_back() -> None:
    """Map blocks of 1 MB and more on their own, so that each goes back once freed.

    Left alone, glibc raises its threshold to the largest block it has seen freed, up to 32 MB, and keeps those below.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt:
        mallopt(M_MMAP_THRESHOLD, LARGE)


def set_apart_what_stays() -> None:
    """Load every page's code, and spare it all later collections.

    A full collection went through 170,000 objects of modules, models and addresses that are never garbage: every few
    requests, one waited 80 to 300 ms for it.
    """
    import_module("config.urls")
    gc.collect()
    gc.freeze()
