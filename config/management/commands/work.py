"""`manage.py work QUEUE …`: an RQ worker as Flotilla runs it."""

from __future__ import annotations

import ctypes
import os
import signal
import threading
import time
from typing import Any

import structlog
from django.conf import settings
from django.core.management.base import BaseCommand, CommandParser
from django.db import connections
from django.utils.module_loading import import_string
from django_rq import get_worker
from redis.exceptions import RedisError
from rq import Queue, Worker
from rq.job import Job
from rq.serializers import JSONSerializer

from accounts.allocation import settle_memory
from accounts.redis import RedisWatch
from config.schedule import mark_of
from config.tether import PR_SET_PDEATHSIG
from devices.quarantine import InstallationQueue, Patient
from monitoring.heartbeats import Program

PATIENCE_S = 8  # for a running job after SIGTERM; supervisor and its like kill after 10 s or more
RETRY_S = 1

logger = structlog.get_logger(__name__)


def end_with_parent() -> None:
    """For the job and scheduler processes that RQ forks: a killed worker would leave its scheduler behind for ever."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


class FlotillaWorker(Patient, Worker):
    """Ends soon after SIGTERM, takes its running job with it, and looks for a lost Redis every few seconds."""

    max_connection_wait_time = 5.0
    asked_to_stop = False

    def handle_warm_shutdown_request(self) -> None:
        self.asked_to_stop = True
        timer = threading.Timer(PATIENCE_S, self.give_up_job)
        timer.daemon = True
        timer.start()

    def execute_job(self, job: Job, queue: Queue) -> None:
        """From now on the timetable may enqueue it again."""
        self.connection.delete(mark_of(job.func_name))
        super().execute_job(job, queue)

    def give_up_job(self) -> None:
        """A job is safe to lose: the reconciler makes what is missing again (`campaigns.actions.reconcile`)."""
        if self.horse_pid:
            logger.warning("A job did not end in time and is given up", worker=self.name)
            self.kill_horse()


class Command(BaseCommand):
    help = "Work on the named queues, the first before the second and so on."
    requires_system_checks = []

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("queues", nargs="+", choices=sorted(settings.RQ_QUEUES))
        parser.add_argument("--with-scheduler", action="store_true", help="also enqueue what is due for a time")
        parser.add_argument("--burst", action="store_true", help="end when the queues are empty")

    def handle(self, *args: Any, queues: list[str], with_scheduler: bool, burst: bool, **options: Any) -> None:
        for name in settings.JOB_FUNCTIONS:
            import_string(name)  # once here, not again in every process that is forked for a job
        settle_memory()
        os.register_at_fork(after_in_child=end_with_parent)
        RedisWatch(settings.REDIS_URL).start()
        program = Program("worker", lambda: {"queues": queues})
        if burst:
            return self.keep_working(queues, with_scheduler, burst)
        program.start()
        self.keep_working(queues, with_scheduler, burst)
        program.stop()
        return None

    def keep_working(self, queues: list[str], with_scheduler: bool, burst: bool) -> None:
        while True:
            worker = None
            try:
                worker = self.worker(queues)  # asks Redis already
                worker.work(burst=burst, with_scheduler=with_scheduler, logging_level=None)
            except RedisError:
                if worker is not None and worker.asked_to_stop:
                    return  # it could not say goodbye to a Redis that is gone
                time.sleep(RETRY_S)  # Redis is away at the start; RedisWatch has said so
            else:
                if burst or worker.asked_to_stop:
                    return
                time.sleep(RETRY_S)  # RQ ends a worker at whatever it did not expect

    def worker(self, names: list[str], kind: type[FlotillaWorker] = FlotillaWorker) -> FlotillaWorker:
        connections.close_all()  # a forked job must not share its parent's connection
        return get_worker(*names, worker_class=kind, queue_class=InstallationQueue, serializer=JSONSerializer)
