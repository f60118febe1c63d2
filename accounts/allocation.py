"""What our processes do with memory: large blocks go back, and what is there for good is looked at once."""

from __future__ import annotations

import ctypes
import gc

M_MMAP_THRESHOLD, M_ARENA_MAX = -3, -8  # mallopt(3)
LARGE = 1024 * 1024
COLLECTED_AFTER = 10_000  # objects that are made and not freed; Python's own 700 suit a program that is small


def settle_memory() -> None:
    """Once a program that runs for days has loaded its code, and before it starts its threads."""
    give_large_blocks_back()
    set_apart_what_stays()


def give_large_blocks_back() -> None:
    """Map blocks of 1 MB and more on their own, so that each goes back once freed; take all others from one arena.

    Left alone, glibc raises its threshold to the largest block it has seen freed, up to 32 MB, and keeps those below;
    and each thread keeps what it has freed for itself, although only one of Python's runs at a time.
    """
    c = ctypes.CDLL(None)
    if hasattr(c, "mallopt"):
        c.mallopt(M_MMAP_THRESHOLD, LARGE)
        c.mallopt(M_ARENA_MAX, 1)


def set_apart_what_stays() -> None:
    """Spare what is loaded by now all later collections, and collect once in many allocations.

    A full collection goes through 170,000 objects of modules, models and addresses that are never garbage. In the web
    process it held up one request in a few for 80 to 300 ms; an engine spent a fifth of its computing on collections; a
    process that a worker forks would copy every page that they touch.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(COLLECTED_AFTER)
    c = ctypes.CDLL(None)
    if hasattr(c, "malloc_trim"):
        c.malloc_trim(0)  # what loading took and gave back
