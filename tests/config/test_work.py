"""`manage.py work`: RQ's worker as Flotilla runs it, in processes of its own."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import django_rq
import psutil
import pytest
from rq.job import JobStatus
from rq.serializers import JSONSerializer

from config.embedded import wait_until

ROOT = Path(__file__).resolve().parents[2]
pytestmark = pytest.mark.faults


def work(*arguments: str) -> list[str]:
    return [sys.executable, str(ROOT / "manage.py"), "work", *arguments]


@pytest.fixture
def worker(tmp_path: Path) -> Iterator[subprocess.Popen[bytes]]:
    django_rq.get_connection("clock").flushdb()  # a killed scheduler's lock lasts a minute
    with (tmp_path / "log").open("wb") as log:
        process = subprocess.Popen(work("clock", "--with-scheduler"), cwd=ROOT, stdout=log, stderr=log)
    yield process
    if process.poll() is None:
        process.kill()
        process.wait()


def test_a_job_of_ours_is_done_and_kept_as_json() -> None:
    queue = django_rq.get_queue("webhooks")
    job = queue.enqueue_call("devices.jobs.look", args=([1, 2],))
    assert queue.serializer is JSONSerializer
    done = subprocess.run(work("webhooks", "--burst"), cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert job.get_status(refresh=True) == JobStatus.FINISHED


def schedulers(worker: subprocess.Popen[bytes]) -> list[psutil.Process]:
    """Forks of the worker; what it asks of the machine's own programs while it starts is over at once."""
    forks = psutil.Process(worker.pid).children(recursive=True)
    with suppress(psutil.NoSuchProcess):
        return [fork for fork in forks if fork.cmdline() == worker.args]
    return []


def test_a_killed_worker_takes_its_scheduler_along(worker: subprocess.Popen[bytes]) -> None:
    assert wait_until(lambda: len(schedulers(worker)) == 1, 20)
    (scheduler,) = schedulers(worker)
    worker.kill()
    worker.wait()
    assert wait_until(lambda: not scheduler.is_running() or scheduler.status() == psutil.STATUS_ZOMBIE, 10)


def test_sigterm_ends_a_waiting_worker_at_once(worker: subprocess.Popen[bytes]) -> None:
    assert wait_until(lambda: len(schedulers(worker)) == 1, 20)
    worker.send_signal(signal.SIGTERM)
    assert worker.wait(timeout=8) == 0


def test_a_worker_without_redis_waits_and_ends_when_asked(tmp_path: Path) -> None:
    nowhere = {**os.environ, "REDIS_URL": f"unix://{tmp_path}/nowhere"}
    with (tmp_path / "log").open("wb") as log:
        process = subprocess.Popen(work("clock"), cwd=ROOT, env=nowhere, stdout=log, stderr=log)
    try:
        assert wait_until(lambda: "Redis is not reachable" in (tmp_path / "log").read_text(), 20)
        assert not wait_until(lambda: process.poll() is not None, 4)
        process.terminate()
        assert process.wait(timeout=10) in (0, -signal.SIGTERM)
    finally:
        process.kill()
        process.wait()


def test_only_queues_of_ours_can_be_worked_on() -> None:
    refused = subprocess.run(work("elsewhere"), cwd=ROOT, capture_output=True, text=True, check=False)
    assert refused.returncode == 2
