"""RQ's worker pool with the job's module loaded before it forks: `python -m … WORKERS simple|forking`."""

from __future__ import annotations

import os
import sys

from redis import Redis
from rq import SimpleWorker, Worker
from rq.worker_pool import WorkerPool

import tests.benchmarks.engines.task  # noqa: F401 - loaded here, once, for all workers and the jobs they fork

QUEUE = "sends"

if __name__ == "__main__":
    kind = {"simple": SimpleWorker, "forking": Worker}[sys.argv[2]]
    redis = Redis.from_url(os.environ["REDIS_URL"])
    WorkerPool([QUEUE], redis, num_workers=int(sys.argv[1]), worker_class=kind).start(logging_level="WARNING")
