"""Which device writes to whom: the number a person knows, else all numbers in turn, within each one's room."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from math import inf


def assign(known: Sequence[int | None], rooms: Mapping[int, int | None], turn: int = 0) -> list[int | None]:
    """For each person a device, or None where no device has room.

    ``known``: the device each person knows, or None. ``rooms``: the devices in the order of their turns, and how many
    people each may still get (None: any number). ``turn``: the number of turns taken before. Who knows a device with
    room gets it, before anybody else does.
    """
    left = {device: inf if room is None else room for device, room in rooms.items()}
    chosen: list[int | None] = []
    others = []
    for place, device in enumerate(known):
        if device is not None and left.get(device, 0) > 0:
            left[device] -= 1
            chosen.append(device)
        else:
            others.append(place)
            chosen.append(None)
    queue = deque(device for device, room in left.items() if room > 0)
    queue.rotate(-(turn % len(queue)) if queue else 0)
    for place in others:
        if not queue:
            break
        device = queue[0]
        chosen[place] = device
        left[device] -= 1
        if left[device] > 0:
            queue.rotate(-1)
        else:
            queue.popleft()
    return chosen
