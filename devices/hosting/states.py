"""Writes what gateways report of their devices: many rows a statement, each fenced by its epoch."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

from django.db import DataError, IntegrityError, connection

from devices.hosting.threads import DatabaseThread
from devices.live import push_devices

logger = logging.getLogger(__name__)

FATAL = "its session ends the gateway"  # a device with this reason is opened for nobody but a person who asks

RECORD_SQL = """
WITH told AS (
    SELECT * FROM unnest(%(ids)s::bigint[], %(epochs)s::bigint[], %(states)s::text[], %(reasons)s::text[],
                         %(phones)s::text[], %(bans)s::float8[], %(served)s::bool[])
        AS t(id, epoch, state, reason, phone, banned_until, served)
), ours AS MATERIALIZED (  -- locked by id, as whoever settles does: two batches never wait for each other
    SELECT told.* FROM told JOIN devices_device d ON d.id = told.id
    WHERE d.epoch = told.epoch AND d.owner_id = %(host)s
    ORDER BY d.id FOR NO KEY UPDATE OF d
), moved AS (
    UPDATE devices_device d SET
        state = told.state,
        state_reason = told.reason,
        state_at = CASE WHEN d.state <> told.state THEN now() ELSE d.state_at END,
        phone = CASE WHEN told.state = 'unlinked' THEN NULL ELSE coalesce(told.phone, d.phone) END,
        banned_until = CASE WHEN told.state = 'banned' THEN to_timestamp(told.banned_until) END,
        request = CASE WHEN told.served THEN '' ELSE d.request END
    FROM ours told
    WHERE d.id = told.id
    RETURNING d.id, d.workspace_id, told.state, told.reason
), noted AS (
    INSERT INTO devices_deviceevent (workspace_id, device_id, at, kind, detail)
    SELECT workspace_id, id, now(), state, reason FROM moved
), linked AS (  -- a new session: this disk has it, and no copy of an earlier one is of use
    INSERT INTO devices_sessionvault (workspace_id, device_id, host, is_clean)
    SELECT moved.workspace_id, moved.id, %(host)s, false FROM moved JOIN told USING (id)
    WHERE told.phone IS NOT NULL AND moved.state <> 'unlinked'
    ON CONFLICT (device_id) DO UPDATE
    SET host = EXCLUDED.host, is_clean = false, sealed = NULL, sealed_at = NULL
), forgotten AS (  -- a session that was logged out is not kept
    DELETE FROM devices_sessionvault v USING moved WHERE v.device_id = moved.id AND moved.state = 'unlinked'
)
SELECT id FROM moved
"""


@dataclass(frozen=True, slots=True)
class Report:
    """A device's new state. ``phone`` is set once linked; ``served`` ends what a person had asked for."""

    device: int
    epoch: int
    state: str
    reason: str = ""
    phone: str | None = None
    banned_until: float | None = None
    served: bool = False


def record(host: str, reports: Sequence[Report]) -> set[int]:
    """Write the reports of devices this host still owns; returns their ids. The last report of a device counts.

    Raises `django.db.IntegrityError` when a phone is linked to another device already.
    """
    last: dict[int, Report] = {}
    for report in reports:
        before = last.get(report.device)
        if before:  # what happened in between must not get lost
            report = replace(report, phone=report.phone or before.phone, served=report.served or before.served)
        last[report.device] = report
    with connection.cursor() as cursor:
        cursor.execute(
            RECORD_SQL,
            {
                "host": host,
                "ids": list(last),
                "epochs": [report.epoch for report in last.values()],
                "states": [report.state for report in last.values()],
                "reasons": [report.reason[:200] for report in last.values()],
                "phones": [report.phone for report in last.values()],
                "bans": [report.banned_until for report in last.values()],
                "served": [report.served for report in last.values()],
            },
        )
        return {row[0] for row in cursor.fetchall()}


class Written(NamedTuple):
    """Devices whose reports are written, and those whose number is linked to another device; the rest is not ours."""

    known: set[int]
    taken: set[int]


async def write(database: DatabaseThread, host: str, reports: Sequence[Report]) -> Written:
    """Record the reports and tell the pages. Tried until it works: a state that nobody wrote down would hold a
    device's messages for ever."""
    while True:
        try:
            return await database.run(_write, host, reports)
        except Exception:
            logger.exception("Device states could not be written; again in a second")
            await asyncio.sleep(1)


def _write(host: str, reports: Sequence[Report]) -> Written:
    taken: set[int] = set()
    try:
        known = record(host, reports)
    except (IntegrityError, DataError):
        known = set()
        for device_id in {report.device for report in reports}:
            try:
                known |= record(host, [report for report in reports if report.device == device_id])
            except IntegrityError:
                taken.add(device_id)
            except DataError:  # one gateway's strange words must not silence all others
                logger.exception("The state of device %d could not be written", device_id)
    push_devices(known)
    return Written(known, taken)
