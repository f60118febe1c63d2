"""The warm-up of a new number: a ladder of daily caps, climbed a rung on each day that brings replies."""

from __future__ import annotations

from devices.models import Device
from devices.seen import Judged

LADDER = (20, 50, 120, 300)


def next_cap(cap: int, replies: int) -> int | None:
    """The cap of the day that follows one with this cap and so many replies; None: the last rung has been climbed."""
    if replies <= 0:
        return cap
    return next((rung for rung in LADDER if rung > cap), None)


def caps_ahead(device: Device) -> list[int]:
    """The caps of today and the days to come, if replies come in on each of them; empty when it does not warm up."""
    if device.warm_cap is None:
        return []
    rungs = [device.warm_cap, *(rung for rung in LADDER if rung > device.warm_cap)]
    return [rung if device.daily_cap is None else min(rung, device.daily_cap) for rung in rungs]


def cap_today(device: Judged) -> int | None:
    """What a claim holds it to: the stricter of its daily cap and its warm-up."""
    return min((cap for cap in (device.daily_cap, device.warm_cap) if cap is not None), default=None)


def rung(device: Device) -> int:
    """On which rung it stands, counted from 1."""
    return sum(step < (device.warm_cap or 0) for step in LADDER) + 1
