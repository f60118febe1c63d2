"""Frames of Worker Status: what changed of device workers, so compact that thousands fit into one.

The one script that reads them is `config/static/monitoring/workers.js`; `accounts.live.send_frames` carries them.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

LARGEST = 20 * 1024  # bytes


@dataclass(slots=True)
class Changes:
    """By device id: states as shown, messages sent in the last full minute; and who is busy just now."""

    states: dict[int, str] = field(default_factory=dict)
    sent: dict[int, int] = field(default_factory=dict)
    busy: Collection[int] = ()

    def frame(self) -> str:
        return json.dumps(self.as_lists(), separators=(",", ":"))

    def as_lists(self) -> dict[str, Any]:
        """Devices that share a value stand in one list: what is said of thousands is little more than their ids."""
        told: dict[str, Any] = {}
        if self.states:
            told["state"] = by_value(self.states)
        if self.sent:
            told["sent"] = by_value(self.sent)
        if self.busy:
            told["busy"] = sorted(self.busy)
        return told


def by_value(values: Mapping[int, object]) -> dict[str, list[int]]:
    lists: dict[str, list[int]] = {}
    for device, value in sorted(values.items()):
        lists.setdefault(str(value), []).append(device)
    return lists


def fitting(changes: Changes) -> tuple[str, Changes]:
    """A frame of at most `LARGEST` bytes, and what has to wait for the next one: never a state where that can be
    helped, and who is busy not at all, since by then it is no news."""
    frame = changes.frame()
    if len(frame) <= LARGEST:
        return frame, Changes()
    if changes.busy:
        return fitting(Changes(changes.states, changes.sent))
    kept, later = halves(changes.sent) if changes.sent else ({}, {})
    if changes.sent:
        frame, left = fitting(Changes(changes.states, kept))
        return frame, Changes(left.states, {**later, **left.sent})
    now, then = halves(changes.states)
    frame, left = fitting(Changes(now))
    return frame, Changes({**then, **left.states})


Value = TypeVar("Value")


def halves(values: dict[int, Value]) -> tuple[dict[int, Value], dict[int, Value]]:
    entries = list(values.items())
    middle = len(entries) // 2
    return dict(entries[:middle]), dict(entries[middle:])
