"""The vault: sealed copies of sessions in PostgreSQL, taken now and then and at hand-over, and put back on a disk.

Its row says of a device whose disk has the session as it is now. Only there the file is used; anywhere else the copy
takes its place, and unless it was handed over, keys are agreed upon afresh: no ratchet is ever used twice.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from django.db import connection

from devices.hosting import session_files
from devices.hosting.leases import OwnedDevice
from devices.hosting.sealing import CannotOpen, Seal
from devices.hosting.threads import DatabaseThread
from devices.models import SessionVault

logger = logging.getLogger(__name__)

COPY_EVERY_S = 6 * 3600.0
CANNOT_OPEN = "its copy cannot be opened"


@dataclass(frozen=True, slots=True)
class Brought:
    """Of devices that are about to be opened: whether each needs fresh keys, and why some cannot be opened.

    Who is in neither is another host's by now.
    """

    fresh: dict[int, bool] = field(default_factory=dict)
    failed: dict[int, str] = field(default_factory=dict)
    without_copy: set[int] = field(default_factory=set)


class Vault:
    """For one host and its folder of sessions. Without a ``seal`` no copies are kept."""

    def __init__(self, host: str, folder: Path, seal: Seal | None, every_s: float = COPY_EVERY_S) -> None:
        self.host = host
        self.folder = folder
        self.seal = seal
        self.every_s = every_s
        self._due: dict[int, float] = {}  # loop time of each open device's next copy
        self._database = DatabaseThread("vault")

    def tidy(self) -> None:
        """Delete the copies that an engine left behind when it died."""
        session_files.remove_copies(self.folder)

    def path(self, device: OwnedDevice) -> Path:
        return session_files.path_of(self.folder, device.driver, device.id)

    # ------------------------------------------------------------------ before a session is opened

    async def bring(self, devices: Sequence[OwnedDevice]) -> Brought:
        """Put each device's session on this disk, unless it is here already, and write down that it is opened here."""
        brought = await self._database.run(bring, self.host, self.folder, self.seal, devices)
        now = asyncio.get_running_loop().time()
        for device_id in brought.fresh:
            soon = 0.1 if device_id in brought.without_copy else 1.0
            self._due.setdefault(device_id, now + soon * self.every_s * random.random())  # noqa: S311 - spreads load
        return brought

    # ------------------------------------------------------------------ while it is open, and when it closes

    def due(self, at_most: int) -> list[int]:
        """Devices whose next copy is due; each is named once, and again after the next period."""
        if self.seal is None:
            return []
        now = asyncio.get_running_loop().time()
        found = [device_id for device_id, at in self._due.items() if at <= now][:at_most]
        for device_id in found:
            self._due[device_id] = now + self.every_s * random.uniform(0.75, 1.25)  # noqa: S311
        return found

    def forget(self, device_ids: Iterable[int]) -> None:
        """They are not open here any more."""
        for device_id in device_ids:
            self._due.pop(device_id, None)

    async def keep(self, device: OwnedDevice, copy: str, *, clean: bool) -> bool:
        """Seal and store a copy, which is deleted; without a path, of the session that lies here closed.

        ``clean``: it is closed, and opened here no more. False when there was something to store and it was not.
        """
        path = self._own(copy)
        try:
            if self.seal is None:
                return True
            if copy and path is None:
                return False
            return await self._database.run(keep, self.host, self.seal, device, path or self.path(device), clean)
        except session_files.InUse:
            logger.error("A session that should be closed is in use: there is no copy of it")
            return False
        except Exception:
            logger.exception("A copy of a session could not be stored")
            return False
        finally:
            self.discard(copy)

    def discard(self, copy: str) -> None:
        """Delete a copy that nobody asked for any more."""
        if path := self._own(copy):
            path.unlink(missing_ok=True)

    def _own(self, copy: str) -> Path | None:
        """Nothing outside this folder is read or deleted at a gateway's word."""
        if not copy:
            return None
        path = Path(copy)
        if path.parent != self.folder:
            logger.error("A gateway names a copy outside the folder of sessions: it is left alone")
            return None
        return path

    def close(self) -> None:
        self._database.close()


# ---------------------------------------------------------------------------------------------------- statements

FOUND_SQL = """
SELECT device_id, is_clean, sealed FROM devices_sessionvault
WHERE (device_id = ANY(%(devices)s) AND host <> %(host)s) OR device_id = ANY(%(missing)s)
"""

# Before its session is opened: from now on this disk has it, and no copy is the whole truth any more.
OPENED_SQL = """
WITH asked AS (
    SELECT * FROM unnest(%(devices)s::bigint[], %(epochs)s::bigint[]) AS t(id, epoch)
), ours AS MATERIALIZED (  -- locked, so that no takeover comes between
    SELECT d.id, d.workspace_id FROM asked JOIN devices_device d ON d.id = asked.id
    WHERE d.epoch = asked.epoch AND d.owner_id = %(host)s
    ORDER BY d.id FOR SHARE OF d
), opened AS (
    INSERT INTO devices_sessionvault AS v (workspace_id, device_id, host, is_clean)
    SELECT workspace_id, id, %(host)s, false FROM ours
    ON CONFLICT (device_id) DO UPDATE SET host = EXCLUDED.host, is_clean = false
    WHERE v.host <> EXCLUDED.host OR v.is_clean
)
SELECT ours.id, v.sealed IS NOT NULL FROM ours LEFT JOIN devices_sessionvault v ON v.device_id = ours.id
"""

KEEP_SQL = """
WITH ours AS MATERIALIZED (
    SELECT id, workspace_id FROM devices_device
    WHERE id = %(device)s AND epoch = %(epoch)s AND owner_id = %(host)s AND phone IS NOT NULL
    FOR SHARE
)
INSERT INTO devices_sessionvault (workspace_id, device_id, host, sealed, sealed_at, is_clean)
SELECT workspace_id, id, %(host)s, %(sealed)s, now(), %(clean)s FROM ours
ON CONFLICT (device_id) DO UPDATE
SET host = EXCLUDED.host, sealed = EXCLUDED.sealed, sealed_at = EXCLUDED.sealed_at, is_clean = EXCLUDED.is_clean
"""


def bring(host: str, folder: Path, seal: Seal | None, devices: Sequence[OwnedDevice]) -> Brought:
    brought = Brought()
    paths = {device.id: session_files.path_of(folder, device.driver, device.id) for device in devices}
    missing = [device_id for device_id, path in paths.items() if not path.exists()]
    with connection.cursor() as cursor:
        cursor.execute(FOUND_SQL, {"devices": list(paths), "missing": missing, "host": host})
        for device_id, clean, sealed in cursor.fetchall():
            try:
                _restore(paths[device_id], seal, device_id, sealed, clean)
            except CannotOpen as problem:
                logger.error("The copy of device %d's session cannot be opened: %s", device_id, problem)
                brought.failed[device_id] = CANNOT_OPEN
            except OSError as problem:
                brought.failed[device_id] = f"session file: {problem.strerror}"
        asked = [device for device in devices if device.id not in brought.failed]
        cursor.execute(
            OPENED_SQL,
            {
                "devices": [device.id for device in asked],
                "epochs": [device.epoch for device in asked],
                "host": host,
            },
        )
        for device_id, has_copy in cursor.fetchall():
            brought.fresh[device_id] = session_files.is_stale(paths[device_id])
            if not has_copy:
                brought.without_copy.add(device_id)
    return brought


def _restore(path: Path, seal: Seal | None, device_id: int, sealed: bytes | None, clean: bool) -> None:
    """Another disk has the session, or this one lost it: what lies here is out of date and never used."""
    if sealed is None:
        session_files.remove(path)
    elif seal is None:
        raise CannotOpen("there are no keys")
    else:
        session_files.place(path, seal.open(device_id, bytes(sealed)), stale=not clean)


def keep(host: str, seal: Seal, device: OwnedDevice, path: Path, clean: bool) -> bool:
    parts = session_files.read(path)
    if not parts:
        return True
    with connection.cursor() as cursor:
        cursor.execute(
            KEEP_SQL,
            {
                "device": device.id,
                "epoch": device.epoch,
                "host": host,
                "sealed": seal.close(device.id, parts),
                "clean": clean,
            },
        )
        return cursor.rowcount == 1


def renew_all(seal: Seal) -> tuple[int, int]:
    """Seal every copy with the first key; returns how many were, and how many none of the keys opens."""
    renewed = failed = 0
    for pk in list(SessionVault.objects.filter(sealed__isnull=False).order_by("pk").values_list("pk", flat=True)):
        kept = SessionVault.objects.filter(pk=pk).first()
        if kept is None or kept.sealed is None:
            continue
        try:
            sealed = seal.renew(bytes(kept.sealed))
        except CannotOpen:
            failed += 1
            continue
        # A copy that an engine stored meanwhile is newer, and sealed with its first key.
        renewed += SessionVault.objects.filter(pk=pk, sealed_at=kept.sealed_at).update(sealed=sealed)
    return renewed, failed
