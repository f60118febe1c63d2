"""Shares: how the devices of each driver are split over the living hosts, and how a host gives devices away.

First it lets them rest, so that nothing is claimed for them any more; then their sessions are closed; then they are
released, for whoever has fewer.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from django.db import connection

from devices.hosting.leases import ENDED, Lease
from devices.hosting.states import FATAL


@dataclass(frozen=True, slots=True)
class Share:
    """Of one driver's devices: how many this host has, and how many it should have: none while it is ``retiring``."""

    driver: str
    mine: int
    fair: int
    retiring: bool = False


SHARES_SQL = """
WITH hosts AS (
    SELECT h.id, driver, count(*) OVER (PARTITION BY driver) AS hosts,
           row_number() OVER (PARTITION BY driver ORDER BY h.id) - 1 AS place
    FROM devices_host h, jsonb_array_elements_text(h.drivers) AS driver
    WHERE h.lease_until > now() AND NOT h.retiring
), me AS (
    SELECT h.id, driver, h.retiring FROM devices_host h, jsonb_array_elements_text(h.drivers) AS driver
    WHERE h.id = %(host)s AND h.incarnation = %(incarnation)s AND h.lease_until > now()
), counted AS (
    SELECT driver, count(*) AS total, count(*) FILTER (WHERE owner_id = %(host)s) AS mine
    FROM devices_device
    WHERE (phone IS NOT NULL AND state <> ALL(%(ended)s)) OR request <> '' OR open_message IS NOT NULL
    GROUP BY driver
)
SELECT driver, coalesce(mine, 0), coalesce(total / hosts + (place < total %% hosts)::int, 0), me.retiring
FROM me LEFT JOIN hosts USING (id, driver) LEFT JOIN counted USING (driver)
ORDER BY driver
"""


def fair_shares(lease: Lease) -> list[Share]:
    """An even split of each driver's devices over the living hosts that can start it; what is left over goes by id.

    The shares of a driver add up to its devices: who has too many is never waited for by nobody.
    """
    with connection.cursor() as cursor:
        cursor.execute(SHARES_SQL, {"host": lease.host, "incarnation": lease.incarnation, "ended": ENDED})
        return [Share(*row) for row in cursor.fetchall()]


# Whoever takes a device connects it; one that was opened elsewhere waits for a person instead.
MOVABLE = ["online", "offline", "connecting", "banned"]
# A host that retires takes its disk along: every session leaves it.
LINKED = [*MOVABLE, "replaced", "outdated"]

REST_SQL = """
WITH idle AS MATERIALIZED (
    SELECT id FROM devices_device
    WHERE owner_id = %(host)s AND driver = %(driver)s AND open_message IS NULL AND request = ''
      AND phone IS NOT NULL AND state = ANY(%(states)s) AND (%(all)s OR state_reason <> %(fatal)s)
      AND EXISTS (SELECT FROM devices_host h WHERE h.id = %(host)s AND h.incarnation = %(incarnation)s)
    ORDER BY state = 'online', next_send_at DESC LIMIT %(most)s FOR NO KEY UPDATE SKIP LOCKED
)
UPDATE devices_device d SET
    state = CASE WHEN d.state IN ('online', 'offline') THEN 'connecting' ELSE d.state END,
    state_reason = CASE WHEN d.state IN ('online', 'offline') THEN '' ELSE d.state_reason END
FROM idle WHERE d.id = idle.id
RETURNING d.id
"""


def rest(lease: Lease, share: Share, most: int) -> list[int]:
    """Let up to ``most`` idle devices rest: nothing is claimed for them from now on. Returns their ids.

    Those that are not online first, then those that may rest longest: nobody's message should wait for the move.
    """
    with connection.cursor() as cursor:
        cursor.execute(
            REST_SQL,
            {
                "host": lease.host,
                "incarnation": lease.incarnation,
                "driver": share.driver,
                "states": LINKED if share.retiring else MOVABLE,
                "all": share.retiring,
                "fatal": FATAL,
                "most": most,
            },
        )
        return [row[0] for row in cursor.fetchall()]


RELEASE_SQL = """
UPDATE devices_device SET owner_id = NULL, epoch = epoch + 1
WHERE id = ANY(%(devices)s) AND owner_id = %(host)s AND open_message IS NULL AND request = ''
  AND EXISTS (SELECT FROM devices_host h WHERE h.id = %(host)s AND h.incarnation = %(incarnation)s)
RETURNING id
"""


def release(lease: Lease, device_ids: Collection[int]) -> list[int]:
    """Give these resting devices back; returns those that nobody asked anything of meanwhile."""
    with connection.cursor() as cursor:
        cursor.execute(RELEASE_SQL, {"devices": list(device_ids), "host": lease.host, "incarnation": lease.incarnation})
        return [row[0] for row in cursor.fetchall()]
