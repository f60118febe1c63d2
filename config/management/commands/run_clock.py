"""`manage.py run_clock`: keeps the timetable. Any number may run; with Redis away the clock does the work itself."""

from __future__ import annotations

import logging
import signal
import threading
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand
from django.db import OperationalError, close_old_connections
from redis.exceptions import RedisError
from rq.utils import now

from accounts.allocation import settle_memory
from accounts.redis import RedisWatch
from config.schedule import TIMETABLE, TimetableJob
from devices.jobs import working_alone
from monitoring.heartbeats import Program, Turns

logger = logging.getLogger(__name__)


class Command(BaseCommand):
    help = "Keep the timetable: due campaigns, the reconciler, stalled imports."

    def handle(self, *args: Any, **options: Any) -> None:
        stop = threading.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: stop.set())
        redis = RedisWatch(settings.REDIS_URL)
        redis.check()
        redis.start()
        settle_memory()
        turns = Turns()
        program = Program("clock", turns.told)
        program.start()
        while not stop.wait(0.5):
            turns.come_round()
            for job in TIMETABLE:
                if job.should_run():
                    job.set_enqueue_time(now())
                    strike(job, redis)
        program.stop()


def strike(job: TimetableJob, redis: RedisWatch) -> None:
    """Enqueue the job, or do it here when Redis is away; what fails is done at the next strike."""
    try:
        if redis.connected is not False:
            job.enqueue_unless_waiting()
            return
    except (RedisError, OSError):
        redis.check()
    assert job.func is not None
    try:
        close_old_connections()
        with working_alone():
            job.func()
    except OperationalError as problem:
        logger.warning("PostgreSQL is not reachable: %s waits", job.func_name, exc_info=problem)
    except Exception:
        logger.exception("%s failed", job.func_name)
