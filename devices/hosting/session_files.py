"""A device's session on this host's disk: where it lies, what belongs to it, and putting a copy in its place."""

from __future__ import annotations

import fcntl
import os
import tempfile
from pathlib import Path

# What a session is: its file, and what SQLite may keep beside it. The others only serve whoever has the file open.
PARTS = ("", "-wal")
SIDECARS = (*PARTS, "-shm", "-journal")
LOCKS = ("", ".lock")  # where a gateway shows that it has the session
# Beside a copy that was not handed over: its keys must be made afresh, however often opening it is tried.
STALE = ".stale"
PASSING = ("*.snapshot", "*.new")  # gateways' copies on their way to the vault, and copies on their way back


class InUse(Exception):
    """A process has the session open."""


def path_of(folder: Path, driver: str, device_id: int) -> Path:
    return folder / f"{driver}-{device_id}.session"


def remove(session: Path) -> None:
    for part in (STALE, *reversed(SIDECARS)):
        _beside(session, part).unlink(missing_ok=True)


def read(session: Path) -> dict[str, bytes]:
    """The parts of a session; empty when there is none. Raises `InUse`."""
    if not session.exists():
        return {}
    if any(_is_locked(_beside(session, lock)) for lock in LOCKS):
        raise InUse
    return {part: _beside(session, part).read_bytes() for part in PARTS if _beside(session, part).exists()}


def place(session: Path, parts: dict[str, bytes], *, stale: bool) -> None:
    """Put a copy in the place of whatever lies there: readable by its owner alone, whole or not at all."""
    remove(session)
    if stale:
        _write(_beside(session, STALE), b"")
    for part in reversed(PARTS):  # the file itself comes last: without it there is no session
        if part in parts:
            _write(_beside(session, part), parts[part])


def is_stale(session: Path) -> bool:
    return _beside(session, STALE).exists()


def refreshed(session: Path) -> None:
    """Its keys were made afresh."""
    _beside(session, STALE).unlink(missing_ok=True)


def remove_copies(folder: Path) -> None:
    """Those on their way: nobody may be making one now."""
    for pattern in PASSING:
        for copy in folder.glob(pattern):
            copy.unlink(missing_ok=True)


def _is_locked(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except BlockingIOError:
        return True
    return False


def _beside(session: Path, part: str) -> Path:
    return session.with_name(session.name + part)


def _write(path: Path, data: bytes) -> None:
    descriptor, name = tempfile.mkstemp(prefix=f"{path.name}.", suffix=".new", dir=path.parent)  # 0600
    with os.fdopen(descriptor, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    os.replace(name, path)
