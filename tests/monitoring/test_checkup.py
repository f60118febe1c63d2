"""Each part of the installation: what is said of it when it works, limps, or is away."""

from __future__ import annotations

import os
import secrets
import socket
import threading
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings as installed
from django.utils import timezone
from redis import Redis

from accounts.models import Workspace
from campaigns.models import Stream
from config.embedded import Valkey, running, wait_until
from devices.models import DeviceState
from monitoring.auditing import audit_and_keep
from monitoring.checkup import database, disk, redis_server
from monitoring.checkup.look import DEADLINE_S, SOURCES, look
from monitoring.checkup.parts import BAD, OK, PARTS, UNKNOWN, WARN, Finding, Look
from monitoring.checkup.watch import watch
from monitoring.heartbeats import Program
from monitoring.models import Heartbeat, Kept
from tests.campaigns.campaign_cases import planned_campaign
from tests.factories import make_device, make_host

EVERY_QUEUE = sorted(installed.RQ_QUEUES)


def beat(kind: str, seconds_ago: float = 0, machine: str = "north", **told: Any) -> Heartbeat:
    at = timezone.now() - timedelta(seconds=seconds_ago)
    started = told.pop("started_at", at - timedelta(hours=1))
    name = f"{kind}@{machine}:{secrets.randbelow(10**6)}"
    return Heartbeat.objects.create(name=name, kind=kind, machine=machine, started_at=started, at=at, told=told)


def silent_since(seconds: float, **fields: Any) -> dict[str, Any]:
    now = timezone.now()
    return {
        "heartbeat_at": now - timedelta(seconds=seconds),
        "lease_until": now + timedelta(seconds=30 - seconds),
        **fields,
    }


# ---- PostgreSQL and who beats in it


@pytest.mark.django_db
def test_the_database_says_its_version_connections_and_latency() -> None:
    found = database.postgres()
    assert found.state == OK
    assert found.value.startswith("PostgreSQL 1")
    assert "connections" in found.value
    assert found.value.endswith("ms")


@pytest.mark.django_db
def test_without_any_engine_nothing_is_sent() -> None:
    assert database.engines().state == BAD
    assert database.gateways().state == UNKNOWN


def test_an_engine_is_missed_before_its_lease_runs_out_and_only_staff_read_its_name(workspace: Workspace) -> None:
    host = make_host(id="rack-7", **silent_since(9))
    make_device(workspace, owner=host)
    assert database.engines().state == OK
    host.heartbeat_at = timezone.now() - timedelta(seconds=19)
    host.save()
    found = database.engines()
    assert found.state == BAD
    assert "rack-7" not in found.sentence
    assert "rack-7: 1 device, heartbeat 19 s ago" in found.value


def test_with_one_engine_of_two_gone_its_devices_count(workspace: Workspace) -> None:
    gone = make_host(**silent_since(20))
    make_host()
    assert database.engines().state == WARN  # it had none
    make_device(workspace, owner=gone)
    assert database.engines().state == BAD
    gone.devices.update(owner=make_host())
    gone.retiring = True
    gone.save()
    assert database.engines().state == OK  # it was stopped, and the others have its devices


def test_a_linked_device_that_nobody_owns_is_told(workspace: Workspace) -> None:
    make_host()
    make_device(workspace, linked=False)
    make_device(workspace, state=DeviceState.UNLINKED)
    assert database.engines().state == OK
    make_device(workspace)
    assert database.engines().state == BAD


def test_an_engine_without_gateways_is_told(workspace: Workspace) -> None:
    host = make_host(meters={"gateways": 2, "gateway_rss_mb": 180.5})
    make_device(workspace, owner=host)
    assert (database.gateways().state, database.gateways().value) == (OK, f"{host.id}: 2 of its gateways run, 180.5 MB")
    host.meters = {"gateways": 0}
    host.save()
    assert database.gateways().state == BAD


@pytest.mark.django_db
def test_each_queue_needs_a_worker_that_beats() -> None:
    assert database.workers().state == BAD
    beat("worker", queues=["clock", "planning", "webhooks"])
    found = database.workers()
    assert (found.state, found.sentence) == (BAD, "A worker is missing: imports and exports wait.")
    other = beat("worker", queues=["imports", "exports"])
    assert database.workers().state == OK
    other.at = timezone.now() - timedelta(seconds=16)
    other.save()
    assert database.workers().state == BAD


@pytest.mark.django_db
def test_a_lost_worker_is_missed_until_another_comes_after_it() -> None:
    beat("worker", queues=EVERY_QUEUE)
    lost = beat("worker", 40, queues=EVERY_QUEUE)
    assert database.workers().state == WARN
    beat("worker", queues=EVERY_QUEUE, started_at=lost.at + timedelta(seconds=2))
    assert database.workers().state == OK


@pytest.mark.django_db
def test_the_clock_is_missed_and_one_that_hangs_is_told() -> None:
    assert database.clock().state == BAD
    clock = beat("clock", turn_s=0.4)
    assert database.clock().state == OK
    clock.told = {"turn_s": 75}
    clock.save()
    assert database.clock().state == WARN
    beat("clock", turn_s=0.1)
    assert database.clock().state == OK


def test_what_the_counters_lost_is_told_and_what_the_audit_found(workspace: Workspace) -> None:
    campaign = planned_campaign(workspace, people=3, devices=1)
    assert database.ledger().state == OK
    audit_and_keep()
    database.forget_books()
    kept = Kept.objects.get(name="audit")
    assert kept.value["drift"] == 0
    Stream.objects.filter(campaign=campaign).update(pending=1)
    database.forget_books()
    found = database.ledger()
    assert found.state == BAD
    assert found.value.startswith("drift 2; audit of ")
    audit_and_keep()
    kept.refresh_from_db()
    assert [wrong["what"] for wrong in kept.value["violations"]] == ["a stream's counter differs from its rows"]


@pytest.mark.django_db(transaction=True)
def test_a_program_tells_of_itself_and_takes_it_back_at_an_orderly_end() -> None:
    program = Program("worker", lambda: {"queues": EVERY_QUEUE})
    program.start()
    assert wait_until(lambda: database.workers().state == OK, 10)
    told = Heartbeat.objects.get().told
    assert told["memory_bytes"] > 10_000_000
    if (child := os.fork()) == 0:
        os._exit(0)  # nothing of the connection went with it
    os.waitpid(child, 0)
    program.beat()
    assert database.workers().state == OK
    program.stop()
    assert not Heartbeat.objects.exists()


# ---- Redis

PLAIN = {"used_memory": 1_000_000, "maxmemory": 0, "maxmemory_policy": "noeviction", "aof_enabled": 1}


@pytest.mark.parametrize(
    ("info", "state"),
    [
        ({}, OK),
        ({"aof_enabled": 0}, OK),
        ({"maxmemory": 2_000_000}, OK),
        ({"maxmemory": 1_100_000}, WARN),
        ({"maxmemory": 1_010_000}, BAD),
        ({"maxmemory": 9_000_000, "maxmemory_policy": "allkeys-lru"}, WARN),
        ({"aof_last_write_status": "err"}, BAD),
    ],
)
def test_memory_and_the_append_only_file_of_redis_are_judged(info: dict[str, Any], state: str) -> None:
    assert redis_server.judged(PLAIN | info, 1.0, kept=True).state == state


@pytest.fixture
def own_redis(tmp_path: Path, settings: Any) -> Iterator[Valkey]:
    folder = Path("/tmp") / f"flotilla-{secrets.token_hex(4)}"  # pytest's own paths are too long for a socket
    valkey = Valkey(tmp_path / "data", folder / "valkey", secrets.token_urlsafe(12))
    settings.REDIS_URL = valkey.url
    yield valkey
    (folder / "valkey").unlink(missing_ok=True)
    folder.rmdir()


def test_a_redis_that_takes_nothing_is_bad_though_it_answers(own_redis: Valkey) -> None:
    with running(own_redis), Redis.from_url(own_redis.url) as redis:
        assert redis_server.server().state == OK
        redis.config_set("maxmemory", "1mb")
        found = redis_server.server()
        assert (found.state, found.sentence) == (BAD, "Redis takes nothing.")
        assert "OutOfMemory" in found.value


def test_a_message_goes_round_and_leaves_nothing_behind(redis: Redis, settings: Any) -> None:
    ours = f"{settings.CHANNEL_LAYERS['default']['CONFIG']['prefix']}*"  # others test beside us, at the same server
    threads, channels = threading.active_count(), set(redis.pubsub_channels(ours))
    assert redis_server.live().state == OK
    assert threading.active_count() == threads
    assert wait_until(lambda: channels.issuperset(redis.pubsub_channels(ours)), 5)


def test_how_long_work_waits_is_read_from_the_first_job(redis: Redis) -> None:
    for queue, seconds in (("planning", 90), ("imports", 90)):
        at = timezone.now() - timedelta(seconds=seconds)
        redis.rpush(f"rq:queue:{queue}", f"old-{queue}", "young")
        redis.hset(f"rq:job:old-{queue}", "enqueued_at", at.strftime("%Y-%m-%dT%H:%M:%S.%fZ"))
    redis.rpush("rq:queue:clock", b"\xff\xfe", "poison")
    redis.rpush("rq:queue:webhooks", "strange")
    redis.set("rq:job:strange", "no hash")
    found = redis_server.queues()
    assert found.state == WARN
    assert "planning 9" in found.value
    assert "imports 9" in found.value
    assert "clock" not in found.value


# ---- The disk


@pytest.mark.parametrize(
    ("free", "whole", "state"),
    [(50, 100, OK), (9, 100, WARN), (2, 100, BAD), (0.1, 0.2, BAD), (0, 0, OK)],
)
def test_room_on_a_disk_is_judged(free: float, whole: float, state: str) -> None:
    assert disk.judged({"files": (int(free * 2**30), int(whole * 2**30)), "elsewhere": None}).state == state


def test_this_machines_disk_is_seen() -> None:
    assert "files " in disk.disk().value


# ---- All of them at once


@pytest.mark.django_db(transaction=True)
def test_a_look_sees_every_part_in_order() -> None:
    found = look()
    assert [finding.part for finding in found.findings] == list(PARTS)
    states = {finding.part: finding.state for finding in found.findings}
    assert {states[part] for part in ("database", "redis", "live", "ledger")} == {OK}
    assert {states[part] for part in ("engines", "clock", "workers")} == {BAD}


@pytest.mark.django_db(transaction=True)
def test_with_redis_away_the_look_says_so_at_once_and_what_still_works(settings: Any) -> None:
    settings.REDIS_URL = "unix:///nowhere"
    found = look()
    assert found.is_away("redis")
    assert not found.of("redis").slow, "it was told at once, not by the deadline"
    assert found.is_bad("redis")
    assert "Sending goes on" in found.of("redis").meanwhile
    assert {found.of(part).state for part in ("live", "queues")} == {UNKNOWN}
    assert found.of("database").state == OK


@pytest.fixture
def silent_server() -> Iterator[str]:
    """Takes connections and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"redis://127.0.0.1:{server.getsockname()[1]}/0"
    for thread in threads_asking_redis():  # whoever still waited is told now
        thread.join(10)


def threads_asking_redis() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "look-Redis"]


@pytest.mark.django_db(transaction=True)
def test_a_server_that_hangs_holds_the_look_until_the_deadline_and_one_thread(
    settings: Any, silent_server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.REDIS_URL = silent_server
    monkeypatch.setattr("monitoring.health.REDIS_TIMEOUT_S", 60)
    found = look()
    assert found.of("redis").value == f"no answer within {DEADLINE_S:.0f} s"
    (asking,) = threads_asking_redis()
    next(source for source in SOURCES if source.name == "Redis").ask()
    assert threads_asking_redis() == [asking], "who still hangs is not joined by a second"
    assert found.is_away("redis")
    assert found.of("database").state == OK
    before = Look(found.at, tuple(Finding(part, OK, "Well.") for part in PARTS))
    assert before.steadied(None) == before
    assert not found.steadied(before).is_bad("redis")  # a busy machine is slow once
    assert found.steadied(found).is_bad("redis")


def test_without_postgresql_redis_is_still_looked_at(no_database: None) -> None:
    found = look()
    assert found.is_away("database")
    assert found.of("redis").state == OK
    assert found.of("engines").state == UNKNOWN


@pytest.mark.django_db(transaction=True)
def test_of_many_who_ask_at_once_one_looks() -> None:
    answers: list[int] = []
    threads = [threading.Thread(target=lambda: answers.append(id(watch.current()))) for _ in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (len(answers), len(set(answers))) == (12, 1)
