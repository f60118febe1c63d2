"""What the meters in PostgreSQL say of many devices at once, in one statement."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime
from typing import Any, NamedTuple

from django.db import connection

from campaigns.models.meter import TIME_BOUNDS_MS

WORDS = ("sent", "failed", "delivered", "replied")
NOTHING = (0, 0, 0, 0)
Four = tuple[int, int, int, int]  # of these words

# A minute is rolled up within half a minute after its end. The hour is cut where the zone's clock cuts it, twice in a
# night that has an hour twice.
ROLLED_UP_SQL = """
WITH asked AS MATERIALIZED (
    SELECT d.id, d.workspace_id,
           date_trunc('minute', now() - interval '30 seconds') - interval '1 minute' AS minute,
           date_trunc('hour', now(), w.timezone) AS hour, date_trunc('day', now(), w.timezone) AS day
    FROM devices_device d JOIN accounts_workspace w ON w.id = d.workspace_id
    WHERE d.id = ANY(%s)
)
SELECT a.id, m.sent, m.failed, m.delivered, m.replied, h.sent, h.failed, h.delivered, h.replied,
       y.sent, y.failed, y.delivered, y.replied, coalesce(h.time_ms, p.time_ms), coalesce(h.times, p.times)
FROM asked a
LEFT JOIN campaigns_minutemeter m ON (m.workspace_id, m.start, m.device_id) = (a.workspace_id, a.minute, a.id)
LEFT JOIN campaigns_hourmeter h ON (h.workspace_id, h.start, h.device_id) = (a.workspace_id, a.hour, a.id)
LEFT JOIN campaigns_hourmeter p
       ON (p.workspace_id, p.start, p.device_id) = (a.workspace_id, a.hour - interval '1 hour', a.id)
LEFT JOIN campaigns_daymeter y ON (y.workspace_id, y.start, y.device_id) = (a.workspace_id, a.day, a.id)
"""


class RolledUp(NamedTuple):
    """``minute`` ended 30 to 90 s ago; ``hour`` and ``day`` are those of now in the workspace's zone, so far.

    ``time_ms`` and ``times`` are of this hour, or of the one before while this one has none.
    """

    minute: Four
    hour: Four
    day: Four
    time_ms: int
    times: list[int]


def rolled_up(devices: Collection[int]) -> dict[int, RolledUp]:
    """By device (id); those that are no more are missing."""
    with connection.cursor() as cursor:
        cursor.execute(ROLLED_UP_SQL, [list(devices)])
        return {
            device: RolledUp(four(row[0:4]), four(row[4:8]), four(row[8:12]), row[12] or 0, row[13] or [])
            for device, *row in cursor.fetchall()
        }


def four(counts: list[int | None]) -> Four:
    sent, failed, delivered, replied = counts
    return (sent or 0, failed or 0, delivered or 0, replied or 0)


# One figure of `RolledUp` for each device: thousands are put into order by it. By workspaces, whose meters of an hour
# lie side by side: a list of so many devices has PostgreSQL read the meters of all hours.
MESSAGES = " + ".join(f"m.times[{place}]::bigint" for place in range(1, len(TIME_BOUNDS_MS) + 2))
SENT_IN_MINUTE_SQL = """
SELECT m.device_id, m.sent FROM campaigns_minutemeter m WHERE m.start = %s AND m.sent > 0 AND m.device_id = ANY(%s)
"""
ASKED_SQL = """
WITH asked AS MATERIALIZED (
    SELECT w.id, date_trunc('hour', now(), w.timezone) AS hour, date_trunc('day', now(), w.timezone) AS day
    FROM accounts_workspace w WHERE w.id = ANY(%s)
)"""
FIGURE_SQL = {
    "hour": f"""{ASKED_SQL}
SELECT m.device_id, m.sent FROM asked a
JOIN campaigns_hourmeter m ON (m.workspace_id, m.start) = (a.id, a.hour)
""",  # noqa: S608
    "day": f"""{ASKED_SQL}
SELECT m.device_id, m.sent FROM asked a
JOIN campaigns_daymeter m ON (m.workspace_id, m.start) = (a.id, a.day)
""",  # noqa: S608
    "time": f"""{ASKED_SQL}
SELECT DISTINCT ON (m.device_id) m.device_id, coalesce(m.time_ms::float8 / nullif({MESSAGES}, 0), 0) FROM asked a
JOIN campaigns_hourmeter m ON m.workspace_id = a.id AND m.start IN (a.hour, a.hour - interval '1 hour')
ORDER BY m.device_id, m.start DESC
""",  # noqa: S608
}


def rolled_up_figure(name: str, workspaces: Collection[int]) -> dict[int, float]:
    """By device (id) of these workspaces (ids), what it sent in the ``hour`` or the ``day`` of `RolledUp`, or the mean
    ``time`` in milliseconds. Where nothing is rolled up the device is missing."""
    with connection.cursor() as cursor:
        cursor.execute(FIGURE_SQL[name], [list(workspaces)])
        return dict(cursor.fetchall())


# An hour of all devices first: to ask a zone's clock for each of their meters takes longer than to add them up.
BY_HOUR_SQL = """
SELECT date_part('hour', start AT TIME ZONE %(zone)s)::int, {sums}
FROM (
    SELECT start, {sums} FROM campaigns_hourmeter
    WHERE workspace_id = %(workspace)s AND start >= %(begin)s AND start < %(end)s AND {at}
    GROUP BY start
) hours
GROUP BY 1
"""


def by_hour_of_day(
    workspace: int, begin: datetime, end: datetime, zone: str, device: int | None = None
) -> dict[int, Four]:
    """What was counted from ``begin`` until ``end``, by the hour (0 to 23) that a clock in the zone showed.

    Of one device (id) or of all of the workspace (id). An hour of which nothing is kept is missing.
    """
    sums = ", ".join(f"sum({word})::bigint AS {word}" for word in WORDS)
    statement = BY_HOUR_SQL.format(sums=sums, at="true" if device is None else "device_id = %(device)s")
    asked: dict[str, Any] = {"workspace": workspace, "begin": begin, "end": end, "zone": zone, "device": device}
    with connection.cursor() as cursor:
        cursor.execute(statement, asked)
        return {hour: four(counts) for hour, *counts in cursor.fetchall()}


def sent_in_minute(start: datetime, devices: Collection[int]) -> dict[int, int]:
    """By device (id); those that sent nothing are missing."""
    with connection.cursor() as cursor:
        cursor.execute(SENT_IN_MINUTE_SQL, [start, list(devices)])
        return dict(cursor.fetchall())


# What an engine publishes of its devices: the hour and the day as they are rolled up, and which of the latest minutes
# are among that, so that it can add what it alone knows.
STANDING_SQL = """
WITH asked AS MATERIALIZED (
    SELECT d.id, d.workspace_id, d.next_send_at, d.hour_start, d.hour_used, d.hourly_cap, d.day_start, d.day_used,
           least(d.daily_cap, d.warm_cap) AS daily_cap,
           date_trunc('hour', now(), w.timezone) AS hour, date_trunc('day', now(), w.timezone) AS day
    FROM devices_device d JOIN accounts_workspace w ON w.id = d.workspace_id
    WHERE d.id = ANY(%(devices)s::bigint[])
)
SELECT a.id, date_part('epoch', a.next_send_at),
       CASE WHEN a.hour_start = a.hour THEN a.hour_used ELSE 0 END, a.hourly_cap,
       CASE WHEN a.day_start = a.day THEN a.day_used ELSE 0 END, a.daily_cap,
       date_part('epoch', a.hour)::bigint, date_part('epoch', a.day)::bigint,
       h.sent, h.failed, h.delivered, h.replied, y.sent, y.failed, y.delivered, y.replied,
       coalesce(h.time_ms, p.time_ms, 0), coalesce(h.times, p.times, '{}'), coalesce(latest.minutes, '{}')
FROM asked a
LEFT JOIN campaigns_hourmeter h ON (h.workspace_id, h.start, h.device_id) = (a.workspace_id, a.hour, a.id)
LEFT JOIN campaigns_hourmeter p
       ON (p.workspace_id, p.start, p.device_id) = (a.workspace_id, a.hour - interval '1 hour', a.id)
LEFT JOIN campaigns_daymeter y ON (y.workspace_id, y.start, y.device_id) = (a.workspace_id, a.day, a.id)
LEFT JOIN LATERAL (
    SELECT array_agg(ARRAY[date_part('epoch', m.start)::bigint / 60, m.sent, m.failed, m.delivered, m.replied])
        AS minutes
    FROM campaigns_minutemeter m
    WHERE m.workspace_id = a.workspace_id AND m.device_id = a.id AND m.start = ANY(%(minutes)s::timestamptz[])
) latest ON true
"""

# The streams' counters, which every statement keeps in step with its messages, beside all that was ever rolled up.
COMPARED_SQL = """
SELECT d.id, d.workspace_id,
       ARRAY[coalesce(s.sent, 0), coalesce(s.failed, 0), coalesce(s.delivered, 0), coalesce(s.replied, 0)],
       ARRAY[coalesce(t.sent, 0), coalesce(t.failed, 0), coalesce(t.delivered, 0), coalesce(t.replied, 0)],
       coalesce(t.ahead, '{0,0,0,0}')
FROM devices_device d
LEFT JOIN (
    SELECT device_id, sum(sent + delivered + read)::bigint AS sent, sum(dead)::bigint AS failed,
           sum(delivered + read)::bigint AS delivered, sum(replied)::bigint AS replied
    FROM campaigns_stream WHERE device_id = ANY(%(devices)s::bigint[]) GROUP BY device_id
) s ON s.device_id = d.id
LEFT JOIN campaigns_metertotal t ON t.workspace_id = d.workspace_id AND t.device_id = d.id
WHERE d.id = ANY(%(devices)s::bigint[])
"""
NOTE_AHEAD_SQL = """
INSERT INTO campaigns_metertotal AS t (workspace_id, device_id, ahead)
SELECT workspace_id, id, n.ahead::bigint[]
FROM unnest(%(devices)s::bigint[], %(ahead)s::text[]) AS n(device_id, ahead)
JOIN devices_device d ON d.id = n.device_id
ORDER BY d.id
ON CONFLICT (workspace_id, device_id) DO UPDATE SET ahead = excluded.ahead
RETURNING 1
"""

DEAD_SQL = "SELECT campaign_id, sum(dead)::bigint FROM campaigns_stream WHERE dead > 0 GROUP BY campaign_id"
CAUSES_SQL = """
SELECT campaign_id, left(split_part(reason, ':', 1), 60) AS cause, count(*) FROM campaigns_message
WHERE campaign_id = ANY(%(campaigns)s::bigint[]) AND reason <> '' AND state = 'dead' GROUP BY 1, 2
UNION ALL
SELECT NULL, left(split_part(reason, ':', 1), 60), count(*) FROM campaigns_message
WHERE %(direct)s::bool AND campaign_id IS NULL AND reason <> '' AND state = 'dead' GROUP BY 2
"""
