"""Lets `manage.py` in a checkout whose `./run` is up talk to the servers it started."""

from __future__ import annotations

import fcntl
import json
import os
from pathlib import Path


def adopt(base: Path) -> None:
    """Fill unset variables from the note of a running `./run`; a note without a run behind it says nothing."""
    if os.environ.get("EMBEDDED", "").lower() in ("0", "false", "no", "off"):
        return
    var = Path(os.environ.get("VAR_DIR") or base / "var")
    try:
        with (var / "run.lock").open() as lock:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
        return
    except BlockingIOError:
        pass
    except OSError:
        return
    try:
        note = json.loads((var / "run" / "environment.json").read_text())
    except (OSError, ValueError):
        return
    for name, value in note.items():
        if not os.environ.get(name):
            os.environ[name] = value
