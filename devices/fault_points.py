"""Places where an engine can be made to die, for rehearsals: ``FAULT=after_wire:0.01`` dies there once in 100 times."""

from __future__ import annotations

import os
import random
from collections.abc import Sequence

POINTS = (
    "before_intent",
    "after_intent",
    "after_wire",
    "after_ack",
    "before_settle",
    "after_settle",
    "in_takeover",
)
DIED = 137  # as the shell says of kill -9

_armed: tuple[str, float] = ("", 0.0)


class FaultRefused(ValueError):
    """``FAULT`` names no point or no probability, or real numbers could be hurt."""


def arm(fault: str, drivers: Sequence[str]) -> None:
    """``fault`` is ``<point>:<probability>``, or empty for none; raises `FaultRefused`."""
    global _armed
    if not fault:
        return
    point, _, probability = fault.partition(":")
    try:
        chance = float(probability)
    except ValueError:
        chance = -1.0
    if point not in POINTS or not 0 <= chance <= 1:
        raise FaultRefused(f"FAULT must be one of {', '.join(POINTS)}, then a colon and a probability")
    if list(drivers) != ["simulator"]:
        raise FaultRefused("FAULT is for the simulator alone: DRIVERS must be simulator")
    _armed = (point, chance)


def fault_point(name: str) -> None:
    """Die here, without any clean-up, if that is what was asked for."""
    if name == _armed[0] and random.random() < _armed[1]:  # noqa: S311 - chance, no secret
        os._exit(DIED)
