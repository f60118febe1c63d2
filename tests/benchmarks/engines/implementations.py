"""The plain implementations: how each is filled, started and known to be ready."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from redis import Redis

PACKAGE = "tests.benchmarks.engines"
QUIET_S = 5.0  # so long without a message, and nothing comes any more
REDELIVERED_S = 12.0  # Celery waits for 5 s and looks every 2 s, once it is up


def fill_rq(ids: Sequence[int]) -> None:
    from rq import Queue

    from tests.benchmarks.engines.rq_pool import QUEUE
    from tests.benchmarks.engines.task import send_message

    queue = Queue(QUEUE, connection=Redis.from_url(os.environ["REDIS_URL"]))
    queue.enqueue_many([queue.prepare_data(send_message, (pk,)) for pk in ids])


def rq_workers() -> int:
    from rq import Worker

    return Worker.count(connection=Redis.from_url(os.environ["REDIS_URL"]))


def fill_celery(ids: Sequence[int]) -> None:
    from tests.benchmarks.engines.celery_app import app, send_message

    with app.producer_pool.acquire(block=True) as producer:
        for pk in ids:
            send_message.apply_async((pk,), producer=producer)


def celery_workers() -> int:
    from tests.benchmarks.engines.celery_app import app

    return len(app.control.ping(timeout=0.5))


def rq(workers: int, kind: str) -> list[str]:
    return [sys.executable, "-m", f"{PACKAGE}.rq_pool", str(workers), kind]


def celery(pool: str, concurrency: int, name: str = "one") -> list[str]:
    options = ["-P", pool, "-c", str(concurrency), "-n", name, "--without-gossip", "--without-mingle", "-l", "ERROR"]
    return [sys.executable, "-m", "celery", "-A", f"{PACKAGE}.celery_app", "worker", *options]


@dataclass(frozen=True)
class Plain:
    """``ready`` workers answer to ``count`` once the ``commands`` run; jobs wait in the Redis list ``key``."""

    commands: list[list[str]]
    ready: int
    key: str
    fill: Callable[[Sequence[int]], None]
    count: Callable[[], int]
    environment: dict[str, str] = field(default_factory=dict)
    quiet_s: float = QUIET_S


def plain_rq(workers: int, kind: str) -> Plain:
    return Plain([rq(workers, kind)], workers, "rq:queue:sends", fill_rq, rq_workers)


def plain_celery(*commands: list[str], **settings: str) -> Plain:
    return Plain([*commands], len(commands), "sends", fill_celery, celery_workers, settings, REDELIVERED_S)


# What 2 cores can keep busy at 20 ms an acknowledgement. About twice as many gave no more: the CPU sets the limit.
PLAINS = {
    "rq-simple": plain_rq(12, "simple"),
    "rq-forking": plain_rq(4, "forking"),
    "celery-prefork": plain_celery(celery("prefork", 24)),
    "celery-threads": plain_celery(celery("threads", 16), celery("threads", 16, "two")),
    "celery-late": plain_celery(celery("prefork", 24), ACKS_LATE="1"),
}
