"""Celery as its guide sets it up: Redis as the broker, results ignored, database connections kept."""

from __future__ import annotations

import os
from typing import Any

from celery import Celery

from tests.benchmarks.engines import task

QUEUE = "sends"

app = Celery("plain", broker=os.environ["REDIS_URL"].replace("unix://", "redis+socket://"))
app.conf.update(
    task_default_queue=QUEUE,
    task_ignore_result=True,
    # As installed a job is acknowledged before it runs; late, it is given out again when its worker died.
    task_acks_late=bool(os.environ.get("ACKS_LATE")),
    task_reject_on_worker_lost=bool(os.environ.get("ACKS_LATE")),
    # What a dead worker had fetched waits an hour and up to 100 s more by default: here it comes back within the run.
    broker_transport_options={"visibility_timeout": 5, "unacked_restore_interval": 2, "unacked_restore_throttle": 1},
    worker_hijack_root_logger=False,
)
app.conf["CELERY_DB_REUSE_MAX"] = 1_000_000


@app.task
def send_message(message_id: int) -> Any:
    return task.send_message(message_id)
