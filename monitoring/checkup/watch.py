"""The web process's own watch: it looks every few seconds, keeps what it found, and writes incidents down.

The timetable looks, too, but a clock or worker that is dead writes nothing down of its own death.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from datetime import datetime

import structlog
from django.conf import settings
from django.db import Error, connection

from monitoring.checkup.history import record
from monitoring.checkup.look import look
from monitoring.checkup.parts import OK, Look

KEPT_S = 3.0  # what somebody asked for answers others, too
STARTING_LOOKS = 6  # so long after the start of web, other programs may be starting as well

logger = structlog.get_logger(__name__)


class Watch:
    """``found`` is what the thread saw last; None without one, and while everything may still be starting."""

    def __init__(self) -> None:
        self.found: Look | None = None
        self._latest: tuple[float, Look] | None = None
        self._one_at_a_time = threading.Lock()
        self._away_since: datetime | None = None

    def start(self, after_each: Callable[[], None]) -> None:
        threading.Thread(target=self._watch, args=(after_each,), name="watch", daemon=True).start()

    def current(self) -> Look:
        """What the thread found lately, else a look of our own; of several who ask at once one looks."""
        return self._kept(2 * settings.HEALTH_EVERY_S) if self.found else self.fresh()

    def fresh(self) -> Look:
        return self._kept(KEPT_S)

    def _kept(self, seconds: float) -> Look:
        latest = self._latest
        if latest is None or time.monotonic() - latest[0] > seconds:
            with self._one_at_a_time:
                latest = self._latest
                if latest is None or time.monotonic() - latest[0] > seconds:
                    latest = self._latest = time.monotonic(), look()
        return latest[1]

    def forget(self) -> None:
        self.found = self._latest = None

    def _watch(self, after_each: Callable[[], None]) -> None:
        starting, before = STARTING_LOOKS, None
        while True:
            time.sleep(settings.HEALTH_EVERY_S)
            try:
                raw = look()
                seen, before = raw.steadied(before), raw
                self._latest = time.monotonic(), seen
                starting = 0 if seen.worst == OK else max(0, starting - 1)
                if not starting:
                    self.found = seen
                    self._write_down(seen)
                after_each()
            except Exception:  # the watch outlives whatever it meets
                logger.exception("The watch could not look")

    def _write_down(self, seen: Look) -> None:
        if seen.is_away("database"):
            self._away_since = self._away_since or seen.at
            return
        try:
            record(seen, self._away_since)
            self._away_since = None
        except Error as problem:
            logger.warning("Incidents could not be written down", problem=type(problem).__name__)
        finally:
            connection.close()


watch = Watch()
