"""Links session files one after the other; each is [path, phone] in the list of JSON on stdin (bulk.py)."""

from __future__ import annotations

import json
import os
import sys
import threading
from pathlib import Path
from typing import Any

from neonize.events import ConnectedEv, PairStatusEv

from .control import Control
from .neonize_client import connect, open_client

PREKEYS = 100  # claimed of each: the library then uploads 50 keys and not 812


def link(control: Control, path: Path, phone: str) -> None:
    """Raises RuntimeError when the library did not get to the end."""
    client, done, failures = open_client(path), threading.Event(), []

    def scan(_: Any, code: bytes) -> None:
        control.scan(qr=code.decode(), phone=phone, prekeys=PREKEYS)

    def paired(_: Any, status: Any) -> None:
        if status.Error:
            failures.append(status.Error)
            done.set()

    client.event.qr(scan)
    client.event(PairStatusEv)(paired)
    client.event(ConnectedEv)(lambda *_: done.set())
    connect(client)
    if not done.wait(30) or failures:
        raise RuntimeError(f"{path.name} was not linked: {', '.join(failures) or 'no word for 30 s'}")
    client.stop()


def main() -> None:
    control = Control(int(sys.argv[1]))
    for path, phone in json.load(sys.stdin):
        link(control, Path(path), phone)


if __name__ == "__main__":
    try:
        main()
    except BaseException as error:
        sys.stderr.write(f"{error!r}\n")
        sys.stderr.flush()
        os._exit(1)
    os._exit(0)  # clients that were stopped leave threads behind
