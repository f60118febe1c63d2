"""One look at every part, within two seconds whatever is away: servers that hang are waited for on threads."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import structlog
from django.db import connection, transaction
from django.utils import timezone
from redis.exceptions import TimeoutError as RedisTimeout

from monitoring.checkup import database, disk, redis_server
from monitoring.checkup.parts import BAD, PARTS, UNKNOWN, Finding, Look

DEADLINE_S = 2.0
STATEMENT_MS = 1_500

logger = structlog.get_logger(__name__)
Check = Callable[[], Finding]


@dataclass
class Source:
    """Whom the checks ask, one after the other. Without the first answer the others are not asked."""

    name: str
    checks: dict[str, Check]
    silence: str  # what is said of the first part when no answer comes
    around: Callable[[Check], Finding] = lambda check: check()
    after: Callable[[], None] = lambda: None
    thread: threading.Thread | None = field(default=None, repr=False)

    def ask(self) -> list[Finding]:
        """Starts the thread; its list fills while it runs. One that still hangs is not joined by a second."""
        found: list[Finding] = []
        if self.thread is None or not self.thread.is_alive():
            self.thread = threading.Thread(target=self._run, args=(found,), name=f"look-{self.name}", daemon=True)
            self.thread.start()
        return found

    def _run(self, found: list[Finding]) -> None:
        try:
            for part, check in self.checks.items():
                try:
                    found.append(self.around(check))
                except Exception as problem:
                    found.append(self.failed(part, problem))
                    if part == next(iter(self.checks)):
                        return
        finally:
            self.after()

    def failed(self, part: str, problem: Exception) -> Finding:
        slow = isinstance(problem, TimeoutError | RedisTimeout)
        if part == next(iter(self.checks)):
            return Finding(part, BAD, self.silence, type(problem).__name__, away=True, slow=slow)
        if part == "live":
            return Finding(part, BAD, "Live updates do not go round.", type(problem).__name__, slow=slow)
        logger.warning("A part could not be looked at", part=part, problem=type(problem).__name__)
        return Finding(part, UNKNOWN, "It could not be looked at.", type(problem).__name__)

    def complete(self, found: Sequence[Finding]) -> list[Finding]:
        """With what the deadline, or an outage, left unanswered."""
        answered = {finding.part for finding in found}
        first = next(iter(self.checks))
        rest = [part for part in self.checks if part not in answered]
        cause = f"Nobody can tell while {self.name} is away."
        return [
            *found,
            *(
                Finding(part, BAD, self.silence, f"no answer within {DEADLINE_S:.0f} s", away=True, slow=True)
                if part == first
                else Finding(part, UNKNOWN, cause, slow=first not in answered)
                for part in rest
            ),
        ]


def asking_postgres(check: Check) -> Finding:
    """Each in a transaction of its own: one that takes too long spoils no other."""
    with transaction.atomic():
        with connection.cursor() as cursor:
            cursor.execute(f"SET LOCAL statement_timeout = {STATEMENT_MS}")
        return check()


SOURCES = (
    Source(
        "PostgreSQL",
        {
            "database": database.postgres,
            "engines": database.engines,
            "gateways": database.gateways,
            "clock": database.clock,
            "workers": database.workers,
            "ledger": database.ledger,
        },
        "The database does not answer.",
        asking_postgres,
        lambda: connection.close(),  # of the thread that asked
    ),
    Source(
        "Redis",
        {"redis": redis_server.server, "live": redis_server.live, "queues": redis_server.queues},
        "Redis is away.",
    ),
    Source("the disk", {"disk": disk.disk}, "The disk does not answer."),
)


def look() -> Look:
    """Raises nothing. Takes some 50 ms, and `DEADLINE_S` at most."""
    at = timezone.now()
    until = time.monotonic() + DEADLINE_S
    asked = [(source, source.ask()) for source in SOURCES]
    for source, _found in asked:
        if source.thread:
            source.thread.join(max(0.0, until - time.monotonic()))
    found = {finding.part: finding for source, some in asked for finding in source.complete(list(some))}
    return Look(at, tuple(found[part] for part in PARTS))
