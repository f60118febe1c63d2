"""Opens session files with the real library. Import it only in a process started with a prepared environment."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

try:
    import magic  # noqa: F401 - neonize needs it, and it needs libmagic
except ImportError:  # only then: beside a libmagic of the system's, pylibmagic's data is of another version
    import pylibmagic  # noqa: F401

from neonize import NewClient
from neonize.exc import NeonizeError

# The library hands its file name to SQLite's driver and appends parameters of its own to the last one.
PARAMETERS = "?_foreign_keys=on&_journal_mode=WAL&_busy_timeout=30000&_txlock=immediate&_x="
_kept: list[Any] = []


def open_client(path: Path) -> Any:
    """A client that is never collected: the collection of an old one would stop a newer one of the same name."""
    client = NewClient(f"{path}{PARAMETERS}", uuid=str(path))
    client._stop_finalizer.detach()
    _kept.append(client)
    return client


def connect(client: Any, ended: Callable[[str], None] = lambda why: None) -> None:
    """In a thread of its own; what happens is told to the client's handlers, which must be there before.

    `ended` is called with the library's words when the connection is over, stopped or failed for good.
    """

    def run() -> None:
        try:
            client.connect()
        except NeonizeError as error:
            ended(str(error))
        else:
            ended("")

    threading.Thread(target=run, daemon=True).start()
