"""What the meters in PostgreSQL say of many devices at once, in one statement."""

from __future__ import annotations

from collections.abc import Collection
from typing import NamedTuple

from django.db import connection

NOTHING = (0, 0, 0, 0)
Four = tuple[int, int, int, int]  # sent, failed, delivered, replied

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
