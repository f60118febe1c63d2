"""RQ with real Redis: what is enqueued, and that a bell reaches its host."""

from __future__ import annotations

import queue
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import django_rq
import pytest
from django.conf import settings
from django.utils import timezone
from django.utils.module_loading import import_string

from config.schedule import TIMETABLE
from devices import jobs
from devices.hosting.wake import Wake
from devices.jobs import Bell, forget_queues, host_queue
from devices.quarantine import called
from tests.factories import make_host

pytestmark = pytest.mark.django_db(transaction=True)  # a bell rings after the commit

HOST = "testhost"


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


def test_a_bell_reaches_the_host(redis: Any, rung: queue.Queue[list[int]]) -> None:
    jobs.rouse("campaign", [(HOST, 11), (HOST, 12), (None, 13), ("elsewhere", 14)])
    assert rung.get(timeout=20) == [11, 12]


@pytest.mark.parametrize("given", ["11", [[11]], ["11"], [True], {"11": 1}, None, 11])
def test_nothing_but_device_ids_gets_into_an_engine(given: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Bell, "deliver", lambda ids: pytest.fail("it was rung"))
    monkeypatch.setattr(Bell, "look", lambda ids: pytest.fail("it was rung"))
    for bell in (jobs.deliver, jobs.look):
        with pytest.raises(TypeError):
            bell(given)


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
        assert called(fields[b"data"]) in settings.JOB_FUNCTIONS


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


def test_the_queues_of_hosts_gone_for_an_hour_are_deleted_with_all_they_hold(redis: Any) -> None:
    ago = {"alive": -5, "resting": 50, "gone": 61}  # minutes since the lease ended
    for name, minutes in ago.items():
        make_host(id=name, lease_until=timezone.now() - timedelta(minutes=minutes))
    for name in (*ago, "unheard-of"):
        jobs.rouse("campaign", [(name, 1)])
        jobs.hurry(name, [1])
    redis.rpush("rq:queue:campaign@gone", b"\xff\xfe")
    for kind in jobs.REGISTRIES:
        redis.zadd(b"rq:%s:campaign@gone" % kind, {"in-" + kind.decode(): 1})
        redis.hset("rq:job:in-" + kind.decode(), "data", "x")
    redis.sadd("rq:workers", "rq:worker:gone.1")
    redis.sadd("rq:workers:campaign@gone", "rq:worker:gone.1")
    django_rq.get_queue("clock").enqueue_call("devices.jobs.look", args=([1],))
    assert forget_queues() == 4
    left = {key.decode() for key in redis.keys("*")}
    assert not [key for key in left if "gone" in key or "unheard" in key or "in-" in key]
    assert redis.smembers("rq:workers") == set()
    assert {name for name in left if name.startswith("rq:queue:")} == {
        f"rq:queue:{queue}" for queue in ("campaign@alive", "control@alive", "campaign@resting", "control@resting")
    } | {"rq:queue:clock"}
    assert len([key for key in left if key.startswith("rq:job:")]) == 5
    assert forget_queues() == 0


def test_p13_without_redis_no_queue_is_deleted_and_nothing_is_raised(monkeypatch: pytest.MonkeyPatch) -> None:
    def away(*_: Any) -> Any:
        raise ConnectionError("no Redis")

    monkeypatch.setattr(django_rq, "get_connection", away)
    assert forget_queues() == 0
