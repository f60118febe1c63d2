"""Leases: which host owns which device, judged by Postgres' clock only, and fenced by epochs."""

from __future__ import annotations

import fcntl
import json
import os
import secrets
import socket
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from django.db import connection, transaction
from django.db.backends.utils import CursorWrapper

from devices.fault_points import fault_point


class HostIdTaken(Exception):
    """Another living engine holds the id in this ``SESSIONS_DIR``."""


@dataclass(frozen=True, slots=True)
class LeaseTimes:
    """Seconds. ``stop_after`` and ``exit_after`` count from the beginning of the last renewal that worked."""

    ttl: float = 30
    renew: float = 10
    stop_after: float = 20
    exit_after: float = 25
    claim_after_stop: float = 60


@dataclass(frozen=True, slots=True)
class Lease:
    """One incarnation of a host; every statement it runs names both."""

    host: str
    incarnation: int


@dataclass(frozen=True, slots=True)
class OwnedDevice:
    """A device as its host has to know it."""

    id: int
    epoch: int
    driver: str
    phone: str
    state: str
    request: str
    requested_at: float
    workspace: int
    weight: int
    pair_phone: str = ""
    pair_by_code: bool = False


# Called inside the takeover's transaction with the devices taken from somebody who may have been sending.
Abandon = Callable[[CursorWrapper, Sequence[int]], None]


class HostId:
    """The id in ``SESSIONS_DIR/host.id``, locked for the engine's life.

    A lock gained means that the predecessor with this id is dead; a held one raises `HostIdTaken`.
    """

    def __init__(self, sessions_dir: Path) -> None:
        sessions_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
        path = sessions_dir / "host.id"
        self._fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(self._fd)
            raise HostIdTaken(f"another engine runs with the host id in {path}") from None
        found = os.read(self._fd, 64).decode().strip()
        self.value = found or f"{socket.gethostname()[:20].lower()}-{secrets.token_hex(4)}"
        if not found:
            os.write(self._fd, self.value.encode())
            os.fsync(self._fd)


def begin(host_id: str, drivers: Sequence[str], times: LeaseTimes) -> Lease:
    """Register a new incarnation of this host, whose lease begins now."""
    with connection.cursor() as cursor:
        cursor.execute(
            """
            INSERT INTO devices_host AS h
                (id, incarnation, lease_until, heartbeat_at, started_at, drivers, hostname, pid, meters, retiring)
            VALUES (%s, 1, now() + %s * interval '1 second', now(), now(), to_jsonb(%s::text[]), %s, %s, '{}', false)
            ON CONFLICT (id) DO UPDATE SET
                incarnation = h.incarnation + 1, lease_until = EXCLUDED.lease_until, heartbeat_at = now(),
                started_at = now(), drivers = EXCLUDED.drivers, hostname = EXCLUDED.hostname, pid = EXCLUDED.pid,
                meters = '{}', retiring = false
            RETURNING incarnation
            """,
            [host_id, times.ttl, list(drivers), socket.gethostname()[:120], os.getpid()],
        )
        return Lease(host_id, cursor.fetchone()[0])


def renew(lease: Lease, times: LeaseTimes, meters: dict[str, Any] | None = None) -> bool:
    """Prolong the lease; false when it has run out, or a newer incarnation took the id over: stop at once.

    A host that slept must not come back to life: others may own what it had, and it may still hold what it claimed.
    ``meters`` is what the host says of itself, None to say nothing new.
    """
    with connection.cursor() as cursor:
        cursor.execute(
            "UPDATE devices_host SET lease_until = now() + %s * interval '1 second', heartbeat_at = now(), "
            "meters = coalesce(%s::jsonb, meters) WHERE id = %s AND incarnation = %s AND lease_until > now()",
            [times.ttl, None if meters is None else json.dumps(meters), lease.host, lease.incarnation],
        )
        return cursor.rowcount == 1


def lay_down(lease: Lease, times: LeaseTimes) -> None:
    """On an orderly stop: keep the claim on the devices for a restart on this disk, and not longer."""
    with connection.cursor() as cursor:
        cursor.execute(
            "UPDATE devices_host SET retiring = true, lease_until = now() + %s * interval '1 second' "
            "WHERE id = %s AND incarnation = %s",
            [times.claim_after_stop, lease.host, lease.incarnation],
        )


# The fields of `OwnedDevice` of a device d: the only variable part of the statements below.
OWNED = """d.id, d.epoch, d.driver, coalesce(d.phone, ''), d.state, d.request,
          coalesce(extract(epoch FROM d.requested_at), 0)::float8, d.workspace_id,
          (SELECT w.weight FROM accounts_workspace w WHERE w.id = d.workspace_id),
          coalesce(d.pair_phone, ''), d.pair_by_code"""

TAKE_SQL = f"""
WITH free AS (
    SELECT d.id, d.owner_id AS former, (d.phone IS NOT NULL AND d.state <> ALL(%(ended)s)) AS linked
    FROM devices_device d
    WHERE d.driver = ANY(%(drivers)s)
      AND ((d.phone IS NOT NULL AND d.state <> ALL(%(ended)s)) OR d.request <> '' OR d.open_message IS NOT NULL)
      -- No join: when a row was taken since this statement began, PostgreSQL looks again at its new version, but with
      -- the former owner's host beside it. A subquery looks at the new owner's.
      AND (coalesce((SELECT h.lease_until FROM devices_host h WHERE h.id = d.owner_id), '-infinity') <= now()
           OR (%(own)s AND d.owner_id = %(host)s))
    ORDER BY d.id
    LIMIT %(room)s
    FOR NO KEY UPDATE OF d SKIP LOCKED
)
UPDATE devices_device d SET
    owner_id = %(host)s,
    epoch = d.epoch + 1,
    state = CASE WHEN NOT free.linked THEN d.state WHEN d.state = 'banned' THEN 'banned' ELSE 'connecting' END,
    state_reason = CASE WHEN free.linked AND d.state <> 'banned' THEN '' ELSE d.state_reason END,
    state_at = CASE WHEN free.linked AND d.state <> 'banned' THEN now() ELSE d.state_at END
FROM free
WHERE d.id = free.id
  AND EXISTS (SELECT FROM devices_host h WHERE h.id = %(host)s AND h.incarnation = %(incarnation)s
              AND h.lease_until > now())
RETURNING {OWNED}
"""  # noqa: S608

ENDED = ["new", "pairing", "unlinked"]


def take(lease: Lease, drivers: Sequence[str], abandon: Abandon, *, room: int, own: bool = False) -> list[OwnedDevice]:
    """Take up to ``room`` devices that nobody living owns; with ``own`` also those of this id's dead predecessor.

    One transaction: each gets a new epoch, and ``abandon`` deals with what its former owner had begun to send.
    Connect only after this returns.
    """
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(
            TAKE_SQL,
            {
                "drivers": list(drivers),
                "ended": ENDED,
                "own": own,
                "host": lease.host,
                "incarnation": lease.incarnation,
                "room": room,
            },
        )
        taken = [OwnedDevice(*row) for row in cursor.fetchall()]
        if taken:
            abandon(cursor, [device.id for device in taken])
        fault_point("in_takeover")
    return taken


ASSIGNED_SQL = f"""
SELECT {OWNED}
FROM devices_device d
WHERE owner_id = %(host)s AND EXISTS (
    SELECT FROM devices_host h WHERE h.id = %(host)s AND h.incarnation = %(incarnation)s)
"""  # noqa: S608

BAN_OVER_SQL = f"""
UPDATE devices_device d SET
    state = 'connecting', state_reason = 'The ban is over', state_at = now(), banned_until = NULL
WHERE owner_id = %(host)s AND state = 'banned' AND banned_until <= now() AND EXISTS (
    SELECT FROM devices_host h WHERE h.id = %(host)s AND h.incarnation = %(incarnation)s)
RETURNING {OWNED}
"""  # noqa: S608


def assigned(lease: Lease) -> list[OwnedDevice]:
    """Every device that names this host as its owner: what it must serve, and nothing else."""
    return _owned(ASSIGNED_SQL, lease)


def requested(lease: Lease) -> list[OwnedDevice]:
    """The owned devices of which a person asked something."""
    return _owned(ASSIGNED_SQL + " AND request <> ''", lease)


def ban_over(lease: Lease) -> list[OwnedDevice]:
    """The owned devices whose ban has run out; they are connecting again."""
    return _owned(BAN_OVER_SQL, lease)


def _owned(query: str, lease: Lease) -> list[OwnedDevice]:
    """None when a newer incarnation has this host's id: its devices are not ours."""
    with connection.cursor() as cursor:
        cursor.execute(query, {"host": lease.host, "incarnation": lease.incarnation})
        return [OwnedDevice(*row) for row in cursor.fetchall()]
