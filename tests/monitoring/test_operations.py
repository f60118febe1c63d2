"""Operations: what staff see of the hosts, and that nobody else sees it."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone
from django_rq import get_connection

from accounts.models import AuditEntry, User, Workspace
from devices.quarantine import put_away
from monitoring.operations import operations
from tests.factories import make_device, make_host

PATH = "/operations/"
METERS = {
    "devices": 2,
    "in_flight": 41,
    "limit": 120,
    "min_limit": 50,
    "max_limit": 500,
    "held_back_s": 12.5,
    "waiting": 7,
    "slow": 3,
    "latency_ms": 83.4,
}
SignIn = Callable[[User], Client]


def words(client: Client, **headers: str) -> str:
    answer = client.get(PATH, headers=headers)
    assert answer.status_code == 200
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", answer.content.decode()))


def gone(**fields: Any) -> Any:
    long_ago = timezone.now() - timedelta(days=3)
    return make_host(lease_until=long_ago, heartbeat_at=long_ago, **fields)


def test_only_staff_may_look(alice: User, workspace: Workspace, sam: User, sign_in: SignIn) -> None:
    assert Client().get(PATH).status_code == 302
    assert sign_in(alice).get(PATH).status_code == 403
    assert sign_in(sam).get(PATH).status_code == 200
    assert AuditEntry.objects.get(action="staff.operations").actor == sam


def test_a_host_is_shown_with_its_meters(workspace: Workspace, sam: User, sign_in: SignIn) -> None:
    host = make_host(id="north", hostname="ship", pid=77, meters=METERS)
    make_device(workspace, owner=host)
    page = words(sign_in(sam))
    for said in (
        "north ship, process 77",
        "Running Sending was held back by the limit for 12 s since it started.",
        "120 50 to 500",
        "83 ms",
        "41 of 120 at once",
        "7 due, but the limit is full",
    ):
        assert said in page
    (shown,) = operations()["hosts"]
    assert (shown.devices, shown.in_flight, shown.waiting, shown.slow) == (1, 41, 7, 3)


def test_a_host_that_has_said_nothing_yet_is_shown_all_the_same(sam: User, sign_in: SignIn) -> None:
    make_host(id="new")
    assert "Running Drain… 0 — — 0 0 — — just now" in words(sign_in(sam))


def test_a_dead_host_is_red_while_its_devices_wait_and_is_forgotten_after(workspace: Workspace) -> None:
    host = gone(meters=METERS)
    device = make_device(workspace, owner=host)
    (shown,) = operations()["hosts"]
    assert (shown.word, shown.colour, shown.in_flight) == ("Gone", "red", None)
    assert shown.reason == "1 of its devices wait for another host."
    assert (operations()["alive"], operations()["in_flight"]) == (0, 0)
    type(device).objects.update(owner=None)
    assert operations()["hosts"] == []


def test_refused_jobs_are_counted_and_lead_to_what_they_were(sam: User, sign_in: SignIn) -> None:
    redis = get_connection("clock")
    before = operations()["refused"]
    put_away(redis, "rq:queue:clock", b"poison", "a test of ours")
    assert operations()["refused"] == before + 1
    assert 'href="/api/system/redis-check"' in sign_in(sam).get(PATH).content.decode()


def test_the_queues_of_the_installation_and_of_hosts_are_listed(sam: User, sign_in: SignIn) -> None:
    redis = get_connection("clock")
    redis.sadd("rq:queues", "rq:queue:campaign@host9")
    redis.rpush("rq:queue:campaign@host9", "one", "two")
    try:
        assert "Job queues Queue Waiting Failed campaign@host9 2 0" in words(sign_in(sam)), "what waits comes first"
        assert {"clock", "planning", "webhooks"} <= {row["name"] for row in operations()["queues"]}
    finally:
        redis.delete("rq:queue:campaign@host9")
        redis.srem("rq:queues", "rq:queue:campaign@host9")


def test_without_redis_the_page_stands_and_says_so(sam: User, sign_in: SignIn, monkeypatch: Any) -> None:
    def away(*_: Any, **__: Any) -> None:
        raise ConnectionError("Redis is away")

    monkeypatch.setattr("devices.quarantine.django_rq.get_connection", away)
    monkeypatch.setattr("monitoring.operations.redis_client", away)
    assert operations()["queues"] is None
    assert "Redis does not answer" in words(sign_in(sam))


def test_htmx_gets_the_region_alone(sam: User, sign_in: SignIn) -> None:
    answer = sign_in(sam).get(PATH, headers={"HX-Request": "true"})
    assert "<html" not in answer.content.decode()
    assert 'id="operations"' in answer.content.decode()


@pytest.mark.parametrize(
    ("path", "action", "headers"),
    [
        ("/operations/", "staff.operations", {"HX-Request": "true"}),
        ("/operations/workers", "staff.workers", {"HX-Request": "true"}),
        ("/operations/workers?frame=1", "staff.workers", {}),
        ("/operations/workers/{uuid}/", "staff.worker", {"HX-Request": "true"}),
        ("/api/workers/status?after={uuid}", "staff.workers_status", {}),
        ("/metrics", "staff.metrics", {}),
        ("/status", "staff.status", {"HX-Request": "true"}),
    ],
)
def test_a_look_of_staff_is_noted_whatever_the_request_says_of_itself_and_once_while_it_lasts(
    sam: User, sign_in: SignIn, workspace: Workspace, path: str, action: str, headers: dict[str, str], time_machine: Any
) -> None:
    as_sam, device = sign_in(sam), make_device(workspace)
    noted = AuditEntry.objects.filter(action=action, actor=sam)
    for _ in range(2):
        assert as_sam.get(path.format(uuid=device.uuid), headers=headers).status_code == 200
    assert noted.count() == 1
    if "{uuid}/" in path:
        assert noted.get().target == f"device:{device.uuid}"
        as_sam.get(f"/operations/workers/{make_device(workspace).uuid}/", headers=headers)
        assert noted.count() == 2
    before = noted.count()
    time_machine.move_to(timezone.now() + timedelta(minutes=61))
    as_sam.get(path.format(uuid=device.uuid), headers=headers)
    assert noted.count() == before + 1
