"""The engine's RQ worker: a daemon thread that listens on the host's three queues, most urgent first."""

from __future__ import annotations

import logging
import threading
import time
from typing import Any

import django_rq
from redis.exceptions import RedisError
from rq.serializers import JSONSerializer
from rq.timeouts import TimerDeathPenalty
from rq.worker import SimpleWorker

from devices.jobs import LANES, host_queue
from devices.quarantine import AllowedJob, Gate, Patient

logger = logging.getLogger(__name__)


class WakeWorker(Patient, SimpleWorker):
    """A SimpleWorker for a thread: no signals, and no remote commands (``shutdown`` would SIGINT the engine)."""

    death_penalty_class = TimerDeathPenalty
    max_connection_wait_time = 2.0  # RQ's own minute would leave the bells unheard long after Redis is back
    job_class = AllowedJob

    def _install_signal_handlers(self) -> None:
        pass

    def subscribe(self) -> None:
        pass

    def unsubscribe(self) -> None:
        pass

    def procline(self, message: str) -> None:
        pass


class Wake:
    """Keeps one `WakeWorker` running, whatever ends it. Poisonous jobs are put away at the `Gate` of the queues."""

    def __init__(self, host_id: str, incarnation: int) -> None:
        self.host_id = host_id
        self.name = f"{host_id}.{incarnation}"
        self.restarts = 0
        self._worker: Any = None
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="wake", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stopping.set()
        if self._worker is not None:
            self._worker._stop_requested = True

    def _run(self) -> None:
        while not self._stopping.is_set():
            try:
                self._work()
            except (RedisError, OSError):
                time.sleep(1)  # the outage itself is announced by the Redis watch
            except Exception:
                logger.exception("The host's RQ worker ended; it starts again")
            self.restarts += 1
            self._stopping.wait(0.2)

    def _work(self) -> None:
        # RQ refuses a name that was used in the last 8 minutes.
        name = f"{self.name}.{self.restarts}" if self.restarts else self.name
        self._worker = WakeWorker(
            [host_queue(lane, self.host_id) for lane in LANES],
            name=name,
            connection=django_rq.get_connection("clock"),
            serializer=JSONSerializer,
            job_class=AllowedJob,
            queue_class=Gate,
            worker_ttl=20,
            log_job_description=False,
        )
        self._worker.work(logging_level="WARNING")
