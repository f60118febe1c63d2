"""Room on the volumes that this machine can see."""

from __future__ import annotations

import os
from pathlib import Path

from django.conf import settings

from monitoring.checkup.parts import BAD, OK, WARN, Finding

LITTLE, NOTHING = 0.10, 0.03  # of the volume
LITTLE_BYTES, NOTHING_BYTES = 1 << 30, 200 << 20


def disk() -> Finding:
    return judged({name: room(Path(folder)) for name, folder in settings.WATCHED_FOLDERS.items()})


def room(folder: Path) -> tuple[int, int] | None:
    """(free, all) bytes of its volume; None where this machine does not have the folder."""
    try:
        volume = os.statvfs(folder)
    except OSError:
        return None
    return volume.f_bavail * volume.f_frsize, volume.f_blocks * volume.f_frsize


def judged(rooms: dict[str, tuple[int, int] | None]) -> Finding:
    seen = {name: found for name, found in rooms.items() if found and found[1]}
    value = ", ".join(f"{name} {free / 1e9:.1f} of {whole / 1e9:.1f} GB free" for name, (free, whole) in seen.items())
    if any(free < NOTHING_BYTES or free < NOTHING * whole for free, whole in seen.values()):
        return Finding("disk", BAD, "A disk is all but full.", value)
    if any(free < LITTLE_BYTES or free < LITTLE * whole for free, whole in seen.values()):
        return Finding("disk", WARN, "A disk fills up.", value)
    return Finding("disk", OK, "There is room.", value or "none of its folders is on this machine")
