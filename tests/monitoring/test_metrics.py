"""Meters for Prometheus: who may read them, that they parse and are true, and that they name no tenant."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.utils import timezone
from prometheus_client.parser import text_string_to_metric_families
from redis import Redis

from accounts.models import User, Workspace
from campaigns.models import HourMeter, Stream
from devices.models import Device
from monitoring import metrics
from monitoring.auditing import audit_and_keep
from monitoring.models import Kept
from monitoring.totals import fold, totals
from tests.campaigns.campaign_cases import planned_campaign
from tests.factories import make_device, make_host
from tests.monitoring.test_checkup import beat

SignIn = Callable[[User], Client]
ROOT = Path(__file__).resolve().parents[2]
TOKEN = "a-token-that-nobody-guesses"
WITH_TOKEN = {"Authorization": f"Bearer {TOKEN}"}


def read(client: Client, **headers: str) -> dict[tuple[str, ...], float]:
    """By name and the values of its labels, which are sorted by their names."""
    metrics.forget()
    answer = client.get("/metrics", headers=headers)
    assert answer.status_code == 200
    families = text_string_to_metric_families(answer.content.decode())
    return {(sample.name, *sample.labels.values()): sample.value for family in families for sample in family.samples}


@pytest.fixture
def as_sam(sam: User, sign_in: SignIn) -> Client:
    return sign_in(sam)


# ---- Who


def test_staff_may_read_and_others_may_not(as_sam: Client, as_alice: Client) -> None:
    assert as_sam.get("/metrics").status_code == 200
    assert as_alice.get("/metrics").status_code == 403
    refused = Client().get("/metrics")
    assert (refused.status_code, refused["WWW-Authenticate"]) == (401, "Bearer")


@pytest.mark.django_db
def test_whoever_has_the_token_may_read(settings: Any) -> None:
    settings.METRICS_TOKEN = TOKEN
    answer = Client().get("/metrics", headers=WITH_TOKEN)
    assert answer.status_code == 200
    assert answer["Content-Type"].startswith("text/plain; version=")
    assert "no-store" in answer["Cache-Control"]
    assert Client().get("/metrics", headers={"Authorization": f"bearer  {TOKEN} "}).status_code == 200


@pytest.mark.parametrize("token", ["", TOKEN])
def test_a_wrong_token_is_refused_also_from_staff(as_sam: Client, settings: Any, token: str) -> None:
    settings.METRICS_TOKEN = token
    wrong = [
        "Bearer",
        "Bearer ",
        f"Bearer {TOKEN}x",
        f"Basic {TOKEN}",
        TOKEN,
        "Bearer \xff\xfe",
        "Bearer " + "x" * 9000,
    ]
    for given in wrong:
        for client in (Client(), as_sam):
            assert client.get("/metrics", headers={"Authorization": given}).status_code == 401


# ---- What


def test_they_parse_and_equal_the_database(as_sam: Client, workspace: Workspace, redis: Redis) -> None:
    host = make_host(id="rack-7", meters={"in_flight": 3, "limit": 50, "gateways": 1, "gateway_rss_mb": 75.5})
    campaign = planned_campaign(workspace, people=5, devices=1)
    Device.objects.update(owner=host)
    make_device(workspace, linked=False)
    Stream.objects.filter(campaign=campaign).update(
        running=True, pending=2, sent=2, dead=1, next_due=timezone.now() - timedelta(seconds=90)
    )
    beat("worker", memory_bytes=1000)
    beat("worker", memory_bytes=500)
    beat("worker", 60, memory_bytes=7)
    redis.rpush("rq:queue:planning", "one", "two")
    redis.sadd("rq:queues", "rq:queue:control@rack-7", "rq:queue:elsewhere", b"rq:queue:\xff")
    redis.rpush("rq:queue:control@rack-7", "one")
    audit_and_keep()
    found = read(as_sam)
    assert found["flotilla_devices", "online"] == 1
    assert found["flotilla_devices", "new"] == 1
    assert (found["flotilla_messages", "pending"], found["flotilla_messages", "dead"]) == (2, 1)
    assert found["flotilla_queue_messages", "campaign"] == 2
    assert 85 <= found["flotilla_queue_oldest_due_seconds", "campaign"] < 95
    assert found["flotilla_queue_oldest_due_seconds", "sequence"] == 0
    assert (found["flotilla_host_in_flight", "rack-7"], found["flotilla_host_limit", "rack-7"]) == (3, 50)
    assert found["flotilla_host_gateway_memory_bytes", "rack-7"] == 75_500_000
    assert 0 <= found["flotilla_host_lease_age_seconds", "rack-7"] < 5
    assert (found["flotilla_processes", "north", "worker"], found["flotilla_drift",]) == (2, 0)
    assert found["flotilla_process_memory_bytes", "north", "worker"] == 1500
    assert found["flotilla_jobs_waiting", "planning"] == 2
    assert found["flotilla_jobs_waiting", "control"] == 1
    assert ("flotilla_jobs_waiting", "elsewhere") not in found
    assert found["flotilla_audit_violations",] >= 1  # the counters were bent above
    assert (found["flotilla_redis_up",], found["flotilla_postgres_up",]) == (1, 1)
    assert found["process_resident_memory_bytes",] > 10_000_000


def test_no_label_names_a_tenant(as_sam: Client, workspace: Workspace) -> None:
    campaign = planned_campaign(workspace, people=2, devices=1)
    told = as_sam.get("/metrics").content.decode()
    device = Device.objects.get()
    for secret in (workspace.name, campaign.name, device.name, device.phone, str(device.uuid), "alice"):
        assert str(secret) not in told


@pytest.mark.django_db
def test_with_redis_away_its_meters_are_absent_and_the_others_there(as_sam: Client, settings: Any) -> None:
    settings.REDIS_URL = "unix:///nowhere"
    found = read(as_sam)
    assert found["flotilla_redis_up",] == 0
    assert not [name for name, *_ in found if name.startswith("flotilla_jobs_")]
    assert found["flotilla_postgres_up",] == 1
    assert ("flotilla_devices", "online") in found
    assert found["flotilla_part_state", "redis"] == 2


def test_with_postgresql_away_the_token_still_reads_what_redis_knows(no_database: None, settings: Any) -> None:
    settings.METRICS_TOKEN = TOKEN
    found = read(Client(), **WITH_TOKEN)
    assert (found["flotilla_postgres_up",], found["flotilla_redis_up",]) == (0, 1)
    assert ("flotilla_devices", "online") not in found
    assert ("flotilla_jobs_waiting", "planning") in found


def test_the_number_of_queries_does_not_grow(
    as_sam: Client, workspace: Workspace, django_assert_max_num_queries: Any
) -> None:
    for _ in range(3):
        make_device(workspace, owner=make_host())
    planned_campaign(workspace, people=2, devices=2)
    as_sam.get("/status", headers={"HX-Request": "true"})  # the look itself is on other threads
    with django_assert_max_num_queries(16):
        read(as_sam)


@pytest.mark.django_db(transaction=True)
def test_of_many_who_ask_at_once_one_has_it_made() -> None:
    answers: list[bytes] = []

    def ask() -> None:
        answers.append(metrics.exposition())
        connection.close()

    threads = [threading.Thread(target=ask) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (len(answers), len(set(answers))) == (6, 1)


@pytest.mark.django_db
def test_who_scrapes_often_finds_it_made_by_the_watch(
    settings: Any, django_assert_num_queries: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.METRICS_TOKEN = TOKEN
    monkeypatch.setattr(metrics.connection, "close", lambda: None)  # the watch has a connection of its own
    metrics.forget()
    monkeypatch.setattr(metrics, "_asked_at", float("-inf"))
    metrics.keep_ready()
    assert metrics._kept is None  # nobody asks, nothing is made
    Client().get("/metrics", headers=WITH_TOKEN)
    metrics.forget()
    metrics.keep_ready()
    with django_assert_num_queries(0):
        assert b"flotilla_devices" in Client().get("/metrics", headers=WITH_TOKEN).content


# ---- Counters


def test_counters_add_hours_up_once_and_never_go_back(workspace: Workspace) -> None:
    device = make_device(workspace)
    this_hour = timezone.now().replace(minute=0, second=0, microsecond=0)
    for hours, sent in ((200, 5), (20, 7), (1, 11)):
        HourMeter.objects.create(
            workspace=workspace, device=device, start=this_hour - timedelta(hours=hours), sent=sent, failed=1
        )
    expected = {"sent": 23, "failed": 3, "delivered": 0, "replied": 0}
    assert totals() == expected
    fold()
    assert Kept.objects.get(name="totals").value["sent"] == 12
    assert totals() == expected
    fold()
    HourMeter.objects.filter(sent__lt=10).delete()  # old hours are pruned
    assert totals() == expected
    HourMeter.objects.all().delete()
    assert totals() == expected
    HourMeter.objects.create(workspace=workspace, device=device, start=this_hour, sent=30)
    assert totals()["sent"] == 42


# ---- What is written about them


def exported(client: Client) -> set[str]:
    return {name for name, *_ in read(client)}


def test_each_meter_is_explained_and_each_that_is_explained_exists(
    as_sam: Client, workspace: Workspace, redis: Redis
) -> None:
    make_device(
        workspace,
        owner=make_host(meters={"in_flight": 3, "limit": 50, "gateways": 1, "gateway_rss_mb": 75.5, "rss_mb": 99.0}),
    )
    audit_and_keep()
    there = exported(as_sam)
    page = (ROOT / "docs" / "operations.md").read_text()
    section = page.split("## Watching it")[1].split("\n## ")[0]
    written = set(re.findall(r"`((?:flotilla|process)_[a-z_]+)`", section))
    assert written == there
    dashboard = json.loads((ROOT / "docs" / "grafana" / "flotilla.json").read_text())
    asked = " ".join(target["expr"] for panel in dashboard["panels"] for target in panel.get("targets", []))
    names = set(re.findall(r"\b(?:flotilla|process)_[a-z_]+", asked))
    assert names <= there
    assert {panel["type"] for panel in dashboard["panels"]} <= {"row", "timeseries", "stat"}
    assert dashboard["schemaVersion"] >= 38  # Grafana 10
    ids = [panel["id"] for panel in dashboard["panels"]]
    assert len(ids) == len(set(ids))
