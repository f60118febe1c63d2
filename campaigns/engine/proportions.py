"""Two shares compared: how far apart they are, and whether that says anything."""

from __future__ import annotations

import math
from typing import NamedTuple

Z_95 = 1.96


class Share(NamedTuple):
    """``yes`` of ``people``."""

    yes: int
    people: int

    @property
    def part(self) -> float:
        return self.yes / self.people if self.people else 0.0


class Interval(NamedTuple):
    """The difference of two parts (0.1: ten points) lies between the two with 95 % certainty."""

    low: float
    high: float

    @property
    def tells(self) -> bool:
        """Whether one is ahead at all: none of the differences it may be is nothing."""
        return self.low > 0 or self.high < 0


def difference(one: Share, other: Share) -> Interval | None:
    """``one.part - other.part``. None where a group is empty.

    By Agresti and Caffo (The American Statistician 54, 2000): a yes and a no more in each group. The plain interval
    would call 0 of 5 against 5 of 5 certain.
    """
    if not one.people or not other.people:
        return None
    p, q = ((share.yes + 1) / (share.people + 2) for share in (one, other))
    spread = Z_95 * math.sqrt(p * (1 - p) / (one.people + 2) + q * (1 - q) / (other.people + 2))
    return Interval(max(-1.0, p - q - spread), min(1.0, p - q + spread))
