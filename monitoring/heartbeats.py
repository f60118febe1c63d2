"""Programs say that they live: a row each in PostgreSQL, so that it is known with Redis away, too."""

from __future__ import annotations

import json
import logging
import os
import resource
import socket
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from django.conf import settings
from django.db import Error, connection

from monitoring.models import Heartbeat

logger = logging.getLogger(__name__)

FORK_PATIENCE_S = 3.0
BEAT_SQL = """
INSERT INTO monitoring_heartbeat (name, kind, machine, started_at, at, told)
VALUES (%s, %s, %s, now(), now(), %s)
ON CONFLICT (name) DO UPDATE SET at = now(), told = EXCLUDED.told
"""


class Program:
    """This process. ``told`` says more of it at each beat: a small object for JSON."""

    def __init__(self, kind: str, told: Callable[[], dict[str, Any]] = dict) -> None:
        self.kind = kind
        self.told = told
        self.machine = socket.gethostname()[:80]
        self.name = f"{kind}@{self.machine}:{os.getpid()}"
        self._ended = threading.Event()
        self._connected = threading.Lock()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Beat on a daemon thread. Nothing forks while its connection is open: a job's end would end it, too."""
        held: list[bool] = []
        os.register_at_fork(
            before=lambda: held.append(self._connected.acquire(timeout=FORK_PATIENCE_S)),
            after_in_parent=lambda: self._connected.release() if held.pop() else None,
            after_in_child=self._forget_the_lock,
        )
        self._thread = threading.Thread(target=self._beat_for_ever, name="heartbeat", daemon=True)
        self._thread.start()

    def _forget_the_lock(self) -> None:
        self._connected = threading.Lock()

    def stop(self) -> None:
        """The orderly end: nobody misses it."""
        self._ended.set()
        if self._thread:
            self._thread.join(timeout=FORK_PATIENCE_S)
        self._ask(lambda: Heartbeat.objects.filter(name=self.name).delete())

    def beat(self) -> None:
        self._ask(self._write)

    def _beat_for_ever(self) -> None:
        while True:
            self.beat()
            if self._ended.wait(settings.HEALTH_EVERY_S):
                return

    def _write(self) -> None:
        told = json.dumps({**self.told(), "memory_bytes": memory_bytes()})
        with connection.cursor() as cursor:
            cursor.execute(BEAT_SQL, [self.name, self.kind, self.machine, told])

    def _ask(self, question: Callable[[], object]) -> None:
        """With a connection that is closed again; an outage is noticed and told by others."""
        with self._connected:
            try:
                question()
            except Error as problem:
                logger.debug("The heartbeat could not be written: %s", type(problem).__name__)
            finally:
                connection.close()


def memory_bytes() -> int:
    """What this process holds in memory."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize()


class Turns:
    """When a loop last came round, for a program whose thread may beat while its loop hangs."""

    def __init__(self) -> None:
        self._at = time.monotonic()

    def come_round(self) -> None:
        self._at = time.monotonic()

    def told(self) -> dict[str, Any]:
        return {"turn_s": round(time.monotonic() - self._at, 1)}
