"""RQ with real Redis: only our own jobs run, whatever lies in a queue, and a bell reaches its host."""

from __future__ import annotations

import json
import queue
import uuid
from collections.abc import Iterator
from typing import Any

import django_rq
import pytest
from django.conf import settings
from django.utils.module_loading import import_string
from rq.exceptions import NoSuchJobError

from config.schedule import TIMETABLE
from devices import jobs
from devices.hosting.wake import Wake
from devices.jobs import AllowedJob, Bell, RefusedJob, host_queue

pytestmark = pytest.mark.django_db(transaction=True)  # a bell rings after the commit

HOST = "testhost"


@pytest.fixture
def redis() -> Iterator[Any]:
    connection = django_rq.get_connection("clock")
    connection.flushdb()
    yield connection
    connection.flushdb()


@pytest.fixture
def rung(redis: Any) -> Iterator[queue.Queue[list[int]]]:
    """What a host's RQ worker was roused for."""
    heard: queue.Queue[list[int]] = queue.Queue()
    Bell.deliver = heard.put
    wake = Wake(HOST, 1)
    wake.start()
    yield heard
    wake.stop()
    Bell.deliver = None


def put_raw(redis: Any, fields: dict[str, Any], job_id: str | bytes | None = None) -> None:
    job_id = job_id or uuid.uuid4().hex
    name = job_id if isinstance(job_id, bytes) else job_id.encode()
    if fields:
        redis.hset(b"rq:job:" + name, mapping=fields)
    redis.rpush(f"rq:queue:control@{HOST}", name)


def data(function: str, *args: Any) -> bytes:
    return json.dumps([function, None, args, {}]).encode()


GOOD = {"data": data("devices.jobs.deliver", [1]), "created_at": "2026-01-01T00:00:00.000000Z"}
POISON: dict[str, dict[str, Any]] = {
    "nothing there": {},
    "a function that is not ours": {"data": data("os.system", "true")},
    "not JSON": {"data": b"\x80\x04garbage"},
    "an empty job": {"data": b""},
    "a JSON number": {"data": b"7"},
    "a callback": {**GOOD, "success_callback_name": b"os.system"},
    "a failure callback": {**GOOD, "failure_callback_name": b"os.system"},
    "a webhook": {**GOOD, "webhooks": b'[{"url": "http://127.0.0.1/"}]'},
    "a dependency": {**GOOD, "dependency_ids": b'["x"]'},
    "repeats": {**GOOD, "repeats_left": b"3"},
    "a bad date": {**GOOD, "created_at": b"yesterday"},
    "a bad timeout": {**GOOD, "timeout": b"soon"},
    "a bad status": {**GOOD, "status": b"dancing"},
}


@pytest.mark.parametrize("fields", POISON.values(), ids=POISON)
def test_foreign_jobs_are_refused_before_anything_is_imported(redis: Any, fields: dict[str, Any]) -> None:
    put_raw(redis, fields, "poison")
    with pytest.raises(NoSuchJobError):
        AllowedJob.fetch("poison", connection=redis, serializer=host_queue("control", HOST).serializer)


def test_ten_megabytes_of_arguments_name_the_function_first(redis: Any) -> None:
    put_raw(redis, {"data": data("os.system", "x" * 10_000_000)}, "big")
    with pytest.raises(RefusedJob, match=r"os\.system"):
        AllowedJob.fetch("big", connection=redis, serializer=host_queue("control", HOST).serializer)


def test_a_bell_reaches_the_host_past_every_poison(redis: Any, rung: queue.Queue[list[int]]) -> None:
    for fields in POISON.values():
        put_raw(redis, fields)
    put_raw(redis, GOOD, b"\xff\xfe not text")
    jobs.rouse("campaign", [(HOST, 11), (HOST, 12), (None, 13), ("elsewhere", 14)])
    assert rung.get(timeout=20) == [11, 12]


def test_a_bell_for_many_devices_is_a_job_for_each_thousand(redis: Any) -> None:
    unheard = "nobody-listens"
    jobs.rouse("campaign", [(unheard, number) for number in range(2_500)])
    stored = host_queue("campaign", unheard).jobs
    assert [len(job.args[0]) for job in stored] == [1_000, 1_000, 500]
    assert all(job.ttl == jobs.JOB_TTL for job in stored)


def test_everything_stored_is_json(redis: Any) -> None:
    for job in TIMETABLE:
        job.enqueue()
    jobs.rouse("control", [("nobody-listens", 1)])
    keys = [key for key in redis.keys("rq:job:*") if redis.type(key) == b"hash"]
    assert len(keys) == len(TIMETABLE) + 1
    for key in keys:
        fields = redis.hgetall(key)
        assert jobs._function_name(fields[b"data"]) in settings.JOB_FUNCTIONS


def test_p13_without_redis_enqueuing_is_logged_and_never_raised(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def away(*_: Any) -> Any:
        raise ConnectionError("no Redis")

    monkeypatch.setattr(django_rq, "get_connection", away)
    jobs.rouse("campaign", [(HOST, 1)])
    assert "the reconciler will" in caplog.text


@pytest.mark.parametrize("name", sorted(settings.JOB_FUNCTIONS))
def test_every_allowed_function_exists(name: str) -> None:
    assert callable(import_string(name))


def test_every_function_of_the_timetable_is_allowed() -> None:
    assert {job.func_name for job in TIMETABLE} <= settings.JOB_FUNCTIONS
