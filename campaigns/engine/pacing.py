"""When a device may send next, and when a try that failed comes back."""

from __future__ import annotations

from random import Random

RETRY_BASE_S = 30.0
RETRY_CAP_S = 3_600.0
TRIES = 5


def draw(rng: Random) -> float:
    """Where in [0, 1] between its shortest and its longest delay a device's next gap lies."""
    return rng.random()


def retry_in(tries: int, rng: Random) -> float:
    """Seconds until try number ``tries + 1``: full jitter over 30 s doubled with each try, at most an hour."""
    return rng.uniform(0, min(RETRY_CAP_S, RETRY_BASE_S * 2 ** max(0, tries - 1)))
