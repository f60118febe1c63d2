"""Meters as pages read them: what each device does now, from what engines publish in Redis, else from PostgreSQL."""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Any, NamedTuple

from django.utils import timezone
from redis.exceptions import RedisError

from accounts.redis import hints
from campaigns.models.meter import TIME_BOUNDS_MS
from campaigns.querysets.meters import WORDS, RolledUp, rolled_up
from devices.seen import Judged

DEVICE_KEY = "broadcast:metrics:device:"  # and its id: what `campaigns.published` says of it
KEPT_S = 60  # what is older is nobody's word any more
COUNTED = re.compile(rb'\{"minute": ?(\d{1,9}), ?"hour": ?(\d{1,9}), ?"day": ?(\d{1,9})\}' * len(WORDS))
# As one command: to send and to read thousands of them takes longer than to do them.
READ_LUA = """
local found = {}
for place, device in ipairs(ARGV) do
    local read = redis.pcall('HMGET', 'DEVICE_KEY' .. device, WORDS, 'mean_ms', 'p95_ms', 'at')
    found[place] = read.err and false or read
end
return found
""".replace("DEVICE_KEY", DEVICE_KEY).replace("WORDS", ", ".join(map(repr, WORDS)))


class Counts(NamedTuple):
    sent: int
    failed: int
    delivered: int
    replied: int


class LiveMeter(NamedTuple):
    """What one device did as of ``at``.

    ``minute``: the last complete minute, and nothing of the one that runs. ``hour`` and ``day``: those of the
    workspace's clock, so far. ``mean_ms`` and ``p95_ms``: from when a message might have left to its acknowledgement,
    over this hour, or over the one before while this one has none; None: nothing was acknowledged.

    Published figures are at most 10 s old while a device sends and 30 s while it rests; the processing times, and all
    figures without Redis, up to 90 s.
    """

    minute: Counts
    hour: Counts
    day: Counts
    mean_ms: float | None
    p95_ms: float | None
    at: datetime | None = None


def live_meters(devices: Iterable[Judged]) -> dict[int, LiveMeter]:
    """By device (id), for each device asked. One round trip to Redis for all of them, and one statement for those that
    it does not know; raises nothing when Redis is away."""
    asked = [device.pk for device in devices]
    found = _published(asked)
    lacking = [device for device in asked if device not in found]
    if lacking:
        now = timezone.now()
        known = rolled_up(lacking)
        found |= {device: _of(known.get(device, NOTHING_YET), now) for device in lacking}
    return found


def p95_of(times: Sequence[int]) -> float | None:
    """Milliseconds that 95 of 100 messages took at most, by their classes (`Meter.times`); None: there are none.

    Within a class they are taken to lie evenly. The last class is open: then it is the bound that it begins with.
    """
    wanted = sum(times) * 0.95
    if not wanted:
        return None
    below = 0
    for place, (count, bound) in enumerate(zip(times, TIME_BOUNDS_MS, strict=False)):
        if below + count >= wanted:
            least = TIME_BOUNDS_MS[place - 1] if place else 0
            return least + (bound - least) * (wanted - below) / count
        below += count
    return float(TIME_BOUNDS_MS[-1])


def mean_of(time_ms: int, times: Sequence[int]) -> float | None:
    """Milliseconds; None: there are no messages."""
    messages = sum(times)
    return time_ms / messages if messages else None


def class_of(ms: int) -> int:
    """The place in `Meter.times` of a message that took so long."""
    return bisect_left(TIME_BOUNDS_MS, ms)


NOTHING_YET = RolledUp((0, 0, 0, 0), (0, 0, 0, 0), (0, 0, 0, 0), 0, [])


def _of(known: RolledUp, at: datetime) -> LiveMeter:
    minute, hour, day = Counts(*known.minute), Counts(*known.hour), Counts(*known.day)
    return LiveMeter(minute, hour, day, mean_of(known.time_ms, known.times), p95_of(known.times), at)


def _published(devices: Sequence[int]) -> dict[int, LiveMeter]:
    """Those that Redis knows."""
    if not devices:
        return {}
    try:
        rows: Any = hints().eval(READ_LUA, 0, *devices)
    except (RedisError, OSError):
        return {}
    oldest = timezone.now().timestamp() - KEPT_S
    found = {}
    for device, row in zip(devices, rows, strict=True):
        meter = _read(row)
        if meter and meter.at and meter.at.timestamp() >= oldest:
            found[device] = meter
    return found


def _read(row: Any) -> LiveMeter | None:
    """None where nothing lies there, or something that no engine wrote."""
    try:
        *words, mean_ms, p95_ms, at = row
        counted = COUNTED.fullmatch(b"".join(words))
        if counted is None:
            return None
        numbers = [int(number) for number in counted.groups()]
        minute, hour, day = Counts(*numbers[0::3]), Counts(*numbers[1::3]), Counts(*numbers[2::3])
        times = (float(mean_ms) if mean_ms else None, float(p95_ms) if p95_ms else None)
        return LiveMeter(minute, hour, day, *times, datetime.fromtimestamp(float(at), UTC))
    except (TypeError, ValueError, OverflowError):
        return None
