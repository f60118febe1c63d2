"""Poison in RQ's queues, with real Redis: put away and counted, and the good jobs before and behind it are done."""

from __future__ import annotations

import json
import queue
import subprocess
import sys
import uuid
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import django_rq
import pytest
from redis import Redis
from rq.exceptions import NoSuchJobError
from rq.job import Job
from rq.serializers import JSONSerializer

from config.embedded import wait_until
from devices import quarantine as module
from devices.hosting.wake import Wake
from devices.jobs import Bell
from devices.quarantine import LARGEST_JOB, AllowedJob, RefusedJob, quarantine, quarantined

ROOT = Path(__file__).resolve().parents[2]
HOST = "poisonedhost"
SECRET = "only-the-payload-says-this"


def data(function: str, *args: Any, instance: Any = None) -> bytes:
    return json.dumps([function, instance, args, {}]).encode()


def good(number: int) -> dict[Any, Any]:
    created: dict[Any, Any] = {"created_at": "2026-01-01T00:00:00.000000Z", "status": "queued", "result_ttl": "60"}
    return {"data": zlib.compress(data("devices.jobs.look", [number])), **created}


GOOD = good(7)
POISON: dict[str, dict[Any, Any]] = {
    "nothing there": {},
    "os.system": {"data": data("os.system", f"touch {SECRET}")},
    "os.system, packed": {"data": zlib.compress(data("os.system", f"touch {SECRET}"))},
    "a function of ours that is no job": {"data": data("devices.jobs.enqueue", "clock", SECRET)},
    "an unknown function": {"data": data("devices.jobs.nowhere", SECRET)},
    "a method of an object": {"data": data("devices.jobs.look", [1], instance={"devices.jobs.look": SECRET})},
    "pickled garbage": {"data": b"\x80\x04" + SECRET.encode()},
    "an empty job": {"data": b""},
    "no data": {"created_at": GOOD["created_at"]},
    "a JSON number": {"data": b"7"},
    "a call without arguments": {"data": b'["devices.jobs.look"]'},
    "too many brackets": {"data": b"[" * 500_000},
    "ten megabytes of arguments": {"data": data("devices.jobs.look", SECRET * 400_000)},
    "ten megabytes, packed": {"data": zlib.compress(data("devices.jobs.look", "x" * 10_000_000))},
    "ten megabytes beside the arguments": {**GOOD, "meta": b"x" * 10_000_000},
    "a bomb for an old error": {**GOOD, "exc_info": zlib.compress(b"x" * 10_000_000)},
    "a success callback": {**GOOD, "success_callback_name": b"os.system"},
    "a failure callback": {**GOOD, "failure_callback_name": b"os.system"},
    "a stopped callback": {**GOOD, "stopped_callback_name": b"os.system"},
    "a webhook": {**GOOD, "webhooks": b'[{"url": "http://127.0.0.1/"}]'},
    "a dependency": {**GOOD, "dependency_ids": b'["x"]'},
    "repeats": {**GOOD, "repeats_left": b"3"},
    "a rate limit": {**GOOD, "rate_limit_key": b"x"},
    "a bad date of creation": {**GOOD, "created_at": SECRET.encode()},
    "a bad date of enqueuing": {**GOOD, "enqueued_at": b"\xff\xfe"},
    "a bad timeout": {**GOOD, "timeout": b"soon"},
    "an endless timeout": {**GOOD, "timeout": b"9" * 40},
    "a bad time to live": {**GOOD, "ttl": b"\x00"},
    "a bad status": {**GOOD, "status": b"dancing"},
    "another queue's job": {**GOOD, "origin": "elsewhere"},
    "an origin that is no text": {**GOOD, "origin": b"\xff\xfe"},
    "a bad callback timeout": {**GOOD, "success_callback_timeout": b"soon"},
    "a field whose name is no text": {**GOOD, b"\xff\xfe": b"1"},
}
STRANGE_IDS = {"no text": b"\xff\xfe not text", "odd letters": b"../../etc", "empty": b""}
CASES = [pytest.param(fields, None, id=name) for name, fields in POISON.items()]
CASES += [pytest.param(GOOD, job_id, id=f"an id: {name}") for name, job_id in STRANGE_IDS.items()]
CASES += [pytest.param(None, None, id="no hash")]


@pytest.fixture(scope="module")
def redis() -> Iterator[Redis]:
    connection = django_rq.get_connection("clock")
    connection.flushdb()
    yield connection
    connection.flushdb()


@pytest.fixture(scope="module")
def looked(redis: Redis) -> Iterator[queue.Queue[list[int]]]:
    """What a host's RQ worker was asked to look at."""
    heard: queue.Queue[list[int]] = queue.Queue()
    Bell.look = heard.put
    wake = Wake(HOST, 1)
    wake.start()
    yield heard
    wake.stop()
    Bell.look = None
    assert wake.restarts == 0, "the poison was met at the gate, and never ended the worker"


@pytest.fixture(scope="module", params=[("clock", "planning", "webhooks"), ("imports",)], ids="-".join)
def worker(request: pytest.FixtureRequest, redis: Redis, tmp_path_factory: Any) -> Iterator[str]:
    """The queue at the end of a worker process; RQ pops differently where there is but one."""
    names: tuple[str, ...] = request.param
    log = tmp_path_factory.mktemp("work") / "log"
    with log.open("wb") as stream:
        process = subprocess.Popen(
            [sys.executable, str(ROOT / "manage.py"), "work", *names], cwd=ROOT, stdout=stream, stderr=stream
        )
    yield names[-1]
    assert process.poll() is None, log.read_text()
    process.terminate()
    assert process.wait(10) == 0


def put(redis: Redis, name: str, fields: dict[Any, Any] | None, job_id: bytes | None) -> tuple[str, bytes, str]:
    """Poison between two good jobs; returns the three ids."""
    before, behind = uuid.uuid4().hex, uuid.uuid4().hex
    poison = uuid.uuid4().hex.encode() if job_id is None else job_id
    with redis.pipeline() as pipe:
        for number, good_id in enumerate((before, behind), 1):
            pipe.hset(f"rq:job:{good_id}", mapping={"origin": name, **good(number)})
        if fields is None:
            pipe.set(b"rq:job:" + poison, SECRET)
        elif fields:
            pipe.hset(b"rq:job:" + poison, mapping={"origin": name, **fields})
        pipe.sadd("rq:queues", f"rq:queue:{name}")
        pipe.rpush(f"rq:queue:{name}", before, poison, behind)
        pipe.execute()
    return before, poison, behind


def assert_put_away(redis: Redis, name: str, poison: bytes, counted: int) -> None:
    assert quarantined() == counted + 1
    newest = quarantine()[0]
    assert (newest.id, newest.queue) == (poison.decode(errors="backslashreplace"), name)
    assert newest.why
    assert not redis.exists(b"rq:job:" + poison)
    assert not redis.llen(f"rq:queue:{name}:intermediate")
    noted: Any = redis.lrange(module.LIST, 0, -1)
    assert SECRET.encode() not in b"".join(noted)
    assert not (ROOT / SECRET).exists()


@pytest.mark.parametrize(("fields", "job_id"), CASES)
def test_a_host_gets_past_every_poison_to_the_good_jobs(
    redis: Redis, looked: queue.Queue[list[int]], fields: dict[Any, Any] | None, job_id: bytes | None
) -> None:
    counted, name = quarantined(), f"campaign@{HOST}"
    _, poison, _ = put(redis, name, fields, job_id)
    assert looked.get(timeout=20) == [1]
    assert looked.get(timeout=20) == [2]
    assert_put_away(redis, name, poison, counted)


@pytest.mark.faults
@pytest.mark.parametrize(("fields", "job_id"), CASES)
def test_a_worker_process_gets_past_every_poison_to_the_good_jobs(
    redis: Redis, worker: str, fields: dict[Any, Any] | None, job_id: bytes | None
) -> None:
    counted = quarantined()
    before, poison, behind = put(redis, worker, fields, job_id)
    status: Callable[[str], Any] = lambda job_id: redis.hget(f"rq:job:{job_id}", "status")  # noqa: E731
    assert wait_until(lambda: status(behind) == b"finished", 20), status(behind)
    assert status(before) == b"finished"
    assert_put_away(redis, worker, poison, counted)


ELSEWHERE = "another queue's job"  # known only where it leaves its queue


@pytest.mark.parametrize("fields", [POISON[name] for name in POISON if name != ELSEWHERE])
def test_poison_is_refused_where_it_is_restored(redis: Redis, fields: dict[Any, Any]) -> None:
    redis.delete("rq:job:poison")
    if fields:
        redis.hset("rq:job:poison", mapping=fields)
    with pytest.raises(NoSuchJobError):
        AllowedJob.fetch("poison", connection=redis, serializer=JSONSerializer)


def test_ten_megabytes_are_refused_before_they_are_read(redis: Redis, monkeypatch: pytest.MonkeyPatch) -> None:
    redis.hset("rq:job:big", mapping=POISON["ten megabytes of arguments"])
    monkeypatch.setattr(Job, "refresh", lambda job: pytest.fail("it was read"))
    with pytest.raises(RefusedJob, match=str(LARGEST_JOB)):
        AllowedJob.fetch("big", connection=redis, serializer=JSONSerializer)


def test_the_quarantine_keeps_the_last_200_and_counts_them_all(redis: Redis) -> None:
    counted = quarantined()
    for number in range(250):
        module.put_away(redis, "rq:queue:clock", f"many-{number}".encode(), "x" * 10_000)
    kept = quarantine()
    assert quarantined() == counted + 250
    assert len(kept) == module.KEPT
    assert kept[0].id == "many-249"
    assert all(len(poison.why) <= 200 for poison in kept)


def test_a_strange_registry_does_not_keep_a_host_from_its_bells(redis: Redis) -> None:
    heard: queue.Queue[list[int]] = queue.Queue()
    redis.zadd("rq:wip:control@odd", {b"\xff\xfe": 1})
    before = Bell.look
    Bell.look = heard.put
    wake = Wake("odd", 1)
    wake.start()
    try:
        redis.hset("rq:job:good", mapping={"origin": "control@odd", **good(5)})
        redis.rpush("rq:queue:control@odd", "good")
        assert heard.get(timeout=20) == [5]
        assert wake.restarts == 0
    finally:
        wake.stop()
        Bell.look = before
