"""The one timetable: what happens again and again, how often, and on which queue."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import django_rq
from redis import Redis
from rq.cron import CronJob
from rq.job import Job

from accounts.jobs import forget_old_tries
from campaigns.jobs import doubts, media, meters, planning
from devices.jobs import JOB_TTL, forget_queues
from monitoring.jobs import alerts, health

WAITS_S = 30  # so long a job is taken to wait for its worker; a worker that is killed may have lost it


def mark_of(function: str) -> str:
    """Stands in Redis while a job of this function waits."""
    return f"flotilla:waits:{function}"


class TimetableJob(CronJob):
    """Enqueues through django_rq: RQ's own cron would pickle, and its queues know no allow-list."""

    def enqueue(self, connection: Redis | None = None) -> Job:
        assert self.func is not None
        return django_rq.get_queue(self.queue_name).enqueue_call(
            self.func, ttl=JOB_TTL, result_ttl=60, failure_ttl=86_400
        )

    def enqueue_unless_waiting(self) -> None:
        """Where workers are slow, and where several clocks run, jobs must not pile up and keep the workers from other
        queues."""
        connection = django_rq.get_queue(self.queue_name).connection
        if connection.set(mark_of(self.func_name), "", nx=True, ex=WAITS_S):
            self.enqueue()


def every(seconds: int, function: Callable[[], Any], queue: str = "clock") -> TimetableJob:
    return TimetableJob(queue_name=queue, func=function, interval=seconds)


TIMETABLE = (
    every(5, planning.start_due),
    every(10, planning.finish),
    every(10, planning.watch),
    every(15, meters.roll),
    every(30, planning.reconcile_all),
    every(60, doubts.settle),
    every(60, alerts.tell, "webhooks"),
    every(300, planning.climb_warm_up),
    every(300, forget_queues),
    every(300, meters.prune),
    every(3600, forget_old_tries),
    every(3600, media.forget_unused),
    every(30, health.look_around),
    every(3600, health.audit_ledger, "exports"),  # it may take a minute, and delays no launch there
    every(3600, health.tidy),
)
