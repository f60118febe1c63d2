"""Which device writes to whom, and which variant they get: the number a person knows, else all numbers in turn."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from hashlib import blake2b
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


def is_held_out(campaign: int, person: int, percent: int) -> bool:
    """Whether the person is of those ``percent`` in a hundred who get nothing; the same whenever it is asked."""
    return percent > 0 and _lot("hold-out", campaign, person) * 100 < percent


def variant_of(campaign: int, person: int, shares: Sequence[tuple[int, int]]) -> int:
    """Which of the variants (number, share) the person gets, the same whenever it is asked; 0 where there are none."""
    if not shares:
        return 0
    left = _lot("variant", campaign, person) * sum(share for _, share in shares)
    for number, share in shares:
        left -= share
        if left < 0:
            return number
    return shares[-1][0]


def _lot(what: str, campaign: int, person: int) -> float:
    """A number in [0, 1) that says nothing about the same person's lots elsewhere."""
    drawn = blake2b(f"{what}:{campaign}:{person}".encode(), digest_size=8).digest()
    return int.from_bytes(drawn) / 2**64
