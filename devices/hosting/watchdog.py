"""The watchdog: a thread that ends the process when the lease could not be renewed in time."""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Callable

from devices.hosting.leases import LeaseTimes


def now() -> float:
    """Seconds that go on counting while the machine sleeps: a host that slept must know that its lease ran out."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


class Watchdog:
    """Knows when the last renewal that worked began; `may_start` is asked before anything is started."""

    def __init__(self, times: LeaseTimes, end: Callable[[], None] | None = None) -> None:
        self.times = times
        self._end = end or self._exit
        self._renewed = now()
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="watchdog", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stopped.set()

    def renewed(self, began: float) -> None:
        """A renewal that began at ``began`` (this module's `now`) has worked; one that began too late is none."""
        if began - self._renewed < self.times.exit_after:
            self._renewed = max(self._renewed, began)

    def may_start(self) -> bool:
        return now() - self._renewed < self.times.stop_after

    def is_overdue(self) -> bool:
        """This process is about to end."""
        return now() - self._renewed >= self.times.exit_after

    def _watch(self) -> None:
        while not self._stopped.wait(0.25):
            if self.is_overdue():
                self._end()
                return

    @staticmethod
    def _exit() -> None:
        sys.stderr.write('{"event": "The lease could not be renewed in time: this engine ends", "level": "error"}\n')
        os._exit(75)  # no clean-up: another host may own these devices by now
