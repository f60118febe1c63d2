"""What waits in the lanes, and what of it may leave: one rule for pages, meters and whoever looks into Redis."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection
from datetime import datetime
from typing import NamedTuple

from django.db import connection

from campaigns.models import Lane

# Of streams `s`. Whether their devices may send is not asked.
IS_DUE = """s.running AND s.next_due <= now() AND (s.expires_at IS NULL OR s.expires_at > now())
  AND (s.lane = 0 OR s.held_until IS NULL OR s.held_until <= now())"""
DEPTH = "coalesce(sum(s.pending + s.waiting) FILTER (WHERE s.running), 0)::bigint"
DUE = f"coalesce(sum(s.pending + s.waiting) FILTER (WHERE {IS_DUE}), 0)::bigint"
# Where nothing is left, the next due is one that was.
OLDEST_DUE = f"min(s.next_due) FILTER (WHERE {IS_DUE} AND s.pending + s.waiting > 0)"
OLDEST_DUE_S = f"coalesce(date_part('epoch', now() - {OLDEST_DUE}), 0)::float8"

LANES_SQL = f"""
SELECT s.lane, {DEPTH}, {DUE}, {OLDEST_DUE_S} FROM campaigns_stream s WHERE s.running GROUP BY s.lane
"""  # noqa: S608
LANES_OF_SQL = f"""
SELECT s.lane, {DEPTH}, {DUE}, {OLDEST_DUE} FROM campaigns_stream s
WHERE s.device_id = ANY(%s) AND s.running GROUP BY s.lane
"""  # noqa: S608
LANES_BY_DEVICE_SQL = f"""
SELECT s.device_id, s.lane, {DEPTH}, {OLDEST_DUE}, min(greatest(s.next_due, s.held_until))
FROM campaigns_stream s
WHERE s.device_id = ANY(%s) AND s.running AND s.pending + s.waiting > 0
GROUP BY s.device_id, s.lane ORDER BY s.device_id, s.lane
"""  # noqa: S608
DEPTHS_SQL = f"""
SELECT s.device_id, {DEPTH} FROM campaigns_stream s
WHERE s.device_id = ANY(%s) AND s.running AND s.pending + s.waiting > 0 GROUP BY s.device_id
"""  # noqa: S608
LANE_DEPTHS_SQL = f"""
SELECT s.device_id, s.lane, {DEPTH} FROM campaigns_stream s
WHERE s.device_id = ANY(%s) AND s.running AND s.pending + s.waiting > 0 GROUP BY s.device_id, s.lane
"""  # noqa: S608


class InLane(NamedTuple):
    """``depth``: what running streams have still to send; ``due``: what lies in those that may send something now;
    ``oldest``: the first of it is due since then."""

    depth: int = 0
    due: int = 0
    oldest: datetime | None = None


class AtDevice(NamedTuple):
    """As `InLane`, of one device. ``leaves_at``: when the first of it may leave, the device aside."""

    lane: int
    depth: int
    oldest: datetime | None
    leaves_at: datetime | None


def lanes_of(devices: Collection[int]) -> dict[Lane, InLane]:
    """Of these devices (ids) together; lanes in which nothing runs are missing."""
    with connection.cursor() as cursor:
        cursor.execute(LANES_OF_SQL, [list(devices)])
        return {Lane(lane): InLane(*numbers) for lane, *numbers in cursor.fetchall()}


def lanes_by_device(devices: Collection[int]) -> dict[int, list[AtDevice]]:
    """By device (id), the lanes in which something waits; where nothing does, the device is missing."""
    found: dict[int, list[AtDevice]] = defaultdict(list)
    with connection.cursor() as cursor:
        cursor.execute(LANES_BY_DEVICE_SQL, [list(devices)])
        for device, lane, *numbers in cursor.fetchall():
            found[device].append(AtDevice(lane, *numbers))
    return dict(found)


def depths(devices: Collection[int]) -> dict[int, int]:
    """By device (id), what waits in all of its lanes; where nothing does, the device is missing."""
    with connection.cursor() as cursor:
        cursor.execute(DEPTHS_SQL, [list(devices)])
        return dict(cursor.fetchall())


def lane_depths(devices: Collection[int]) -> dict[int, dict[int, int]]:
    """By device (id), what waits in each lane; where nothing does, the lane or the device is missing."""
    found: dict[int, dict[int, int]] = defaultdict(dict)
    with connection.cursor() as cursor:
        cursor.execute(LANE_DEPTHS_SQL, [list(devices)])
        for device, lane, depth in cursor.fetchall():
            found[device][lane] = depth
    return dict(found)
