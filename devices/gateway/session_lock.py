"""Who holds a session: a lock on a file, kept until it is let go or its process is dead."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path


class InUse(Exception):
    """Another process holds this session."""


def claim(path: Path) -> int:
    """Lock the file at `path`, an empty new one (0600) when it is missing. The descriptor is the lock.

    Raises InUse or OSError.
    """
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            raise InUse from None
        # Whoever held the lock before us may have deleted the file: then we locked a nameless leftover
        if _is_at(descriptor, path):
            return descriptor
        os.close(descriptor)


def let_go(descriptor: int, path: Path) -> None:
    """Unlock a file that is nothing but the lock, and remove it."""
    path.unlink(missing_ok=True)
    os.close(descriptor)


def _is_at(descriptor: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except FileNotFoundError:
        return False
