"""Fault points: an engine dies where it is told to, and only ever in front of simulated phones."""

from __future__ import annotations

import subprocess
import sys

import pytest

from devices import fault_points
from devices.fault_points import POINTS, FaultRefused


@pytest.fixture(autouse=True)
def disarmed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fault_points, "_armed", ("", 0.0))


def ends_with(fault: str, point: str) -> int:
    """How a process ends that is armed so and comes past that point."""
    lines = f"arm({fault!r}, ['simulator']); fault_point({point!r})"
    return subprocess.call([sys.executable, "-c", f"from devices.fault_points import *; {lines}"])


@pytest.mark.parametrize("point", POINTS)
def test_a_process_dies_at_the_point_it_was_told_and_at_no_other(point: str) -> None:
    other = next(name for name in POINTS if name != point)
    assert ends_with(f"{point}:1", point) == 137
    assert ends_with(f"{point}:1", other) == 0


def test_without_a_fault_and_with_no_chance_nothing_dies() -> None:
    assert ends_with("", "after_wire") == 0
    assert ends_with("after_wire:0", "after_wire") == 0


@pytest.mark.parametrize(
    "fault", ["nowhere:1", "after_wire", "after_wire:", "after_wire:2", "after_wire:-1", "after_wire:x", ":1"]
)
def test_a_fault_that_makes_no_sense_is_refused(fault: str) -> None:
    with pytest.raises(FaultRefused, match="FAULT must be one of before_intent"):
        fault_points.arm(fault, ["simulator"])


@pytest.mark.parametrize("drivers", [["whatsapp"], ["simulator", "whatsapp"], []])
def test_real_numbers_are_never_hurt(drivers: list[str]) -> None:
    with pytest.raises(FaultRefused, match="simulator alone"):
        fault_points.arm("after_wire:1", drivers)
