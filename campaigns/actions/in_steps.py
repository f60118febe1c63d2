"""Long work on people in steps, each a transaction of its own, so that nobody waits long and any worker can go on."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import timedelta
from typing import Any

from django.db.models.functions import Now

from devices.jobs import enqueue

STEP = 2_000  # people; whoever waits for one of them waits for one step at most
TURN_S = 30.0  # then another job of the queue may come first
STALLED_AFTER = timedelta(seconds=60)


def start(step: Callable[[int], bool], pk: int, job: str, people: int) -> None:
    """A few people at once, many in a ``job``; ``step`` does the next ones of the row ``pk``, true at the end."""
    if people > STEP:
        enqueue("planning", job, pk)
        return
    while not step(pk):
        pass


def go_on(step: Callable[[int], bool], pk: int, job: str) -> None:
    """The next steps. Safe to lose, to repeat and to run late: steps queue up at their row."""
    until = time.monotonic() + TURN_S
    while not step(pk):
        if time.monotonic() > until:
            enqueue("planning", job, pk)
            return


def resume_stalled(rows: Any, job: str) -> int:
    """Enqueue again all whose job was lost, for the clock; returns how many. ``rows``: all of their kind."""
    stalled = rows.filter(finished_at__isnull=True, heartbeat_at__lt=Now() - STALLED_AFTER)
    lost = list(stalled.values_list("pk", flat=True))
    for pk in lost:
        enqueue("planning", job, pk)
    return len(lost)
