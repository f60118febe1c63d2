"""The names under which Redis shows how the installation stands (docs/architecture.md); nobody misses them."""

from __future__ import annotations

import json
import time
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.utils import timezone
from redis import Redis

from accounts.models import Workspace
from campaigns.meters import Counts, live_meters
from campaigns.models import DayMeter, HourMeter, Lane, Message, MinuteMeter, Stream
from campaigns.published import ROUND_S, Published
from devices.models import Device
from tests.factories import make_campaign, make_contact, make_device

pytestmark = pytest.mark.django_db


@pytest.fixture
def device(workspace: Workspace) -> Device:
    return make_device(workspace)


def this_minute() -> int:
    return int(time.time()) // 60


def publish(*devices: Device, latest: dict[int, dict[int, tuple[int, ...]]] | None = None) -> None:
    Published("here").publish([device.pk for device in devices], latest or {}, this_minute(), {"devices": 2})


def told(redis: Redis, name: str) -> dict[str, str]:
    fields: Any = redis.hgetall(name)
    return {field.decode(): value.decode() for field, value in fields.items()}


def make_stream(device: Device, lane: Lane, **fields: Any) -> Stream:
    campaign = make_campaign(device.workspace, devices=(device,))
    return Stream.objects.create(workspace=device.workspace, campaign=campaign, device=device, lane=lane, **fields)


def dead(stream: Stream, *reasons: str) -> None:
    assert stream.campaign is not None
    for reason in reasons:
        contact = make_contact(stream.workspace)
        Message.objects.create(
            workspace=stream.workspace,
            stream=stream,
            campaign=stream.campaign,
            contact=contact,
            content=stream.campaign.content,
            phone=contact.phone,
            due_at=timezone.now(),
            state="dead",
            reason=reason,
        )
    Stream.objects.filter(pk=stream.pk).update(dead=Message.objects.filter(stream=stream, state="dead").count())


@pytest.mark.parametrize("lane", [Lane.CAMPAIGN, Lane.SEQUENCE])
def test_broadcast_queue_campaign_and_broadcast_queue_sequence(device: Device, redis: Redis, lane: Lane) -> None:
    now = timezone.now()
    make_stream(device, lane, running=True, pending=5, waiting=2, next_due=now - timedelta(seconds=40))
    make_stream(device, lane, running=True, pending=3, next_due=now + timedelta(hours=1))
    make_stream(
        device, lane, running=True, pending=4, next_due=now - timedelta(hours=1), held_until=now + timedelta(hours=1)
    )
    make_stream(device, lane, running=False, pending=90, next_due=now - timedelta(hours=5))
    publish()
    other = "sequence" if lane == Lane.CAMPAIGN else "campaign"
    shown = told(redis, f"broadcast:queue:{lane.label}")
    assert (shown["depth"], shown["due"]) == ("14", "7")
    assert 39 <= float(shown["oldest_due_s"]) < 45
    assert abs(float(shown["at"]) - time.time()) < 5
    assert told(redis, f"broadcast:queue:{other}")["depth"] == "0"


def test_broadcast_queue_dead(device: Device, redis: Redis, django_assert_num_queries: Any) -> None:
    stream, quiet = make_stream(device, Lane.CAMPAIGN), make_stream(device, Lane.CAMPAIGN)
    dead(stream, "refused 405: server returned error 405", "refused 405: gone", "template: no name")
    dead(quiet, "no number for this person")
    engine = Published("here")
    engine._publish_dead(redis)
    expected = {"refused 405": "2", "template": "1", "no number for this person": "1"}
    assert told(redis, "broadcast:queue:dead") == expected
    redis.flushdb()
    with django_assert_num_queries(0):  # Django's own count: what engines run is not among it
        engine._publish_dead(redis)
    assert told(redis, "broadcast:queue:dead") == expected
    dead(stream, "template: no name")
    redis.flushdb()
    engine._recount_at = 0
    engine._publish_dead(redis)
    assert told(redis, "broadcast:queue:dead") == {**expected, "template": "2"}
    Stream.objects.update(dead=0)
    redis.flushdb()
    engine._publish_dead(redis)
    assert told(redis, "broadcast:queue:dead") == {}


def test_broadcast_metrics_device(device: Device, workspace: Workspace, redis: Redis) -> None:
    """What is rolled up, and of the latest minutes what is not among that yet."""
    now = timezone.now().astimezone(workspace.zone)
    hour, minute = now.replace(minute=0, second=0, microsecond=0), this_minute()
    day = hour.replace(hour=0)
    HourMeter.objects.create(
        workspace=workspace, device=device, start=hour, sent=10, time_ms=800, times=[0, 10] + [0] * 10
    )
    DayMeter.objects.create(workspace=workspace, device=device, start=day, sent=40, failed=2)
    earlier = datetime.fromtimestamp(minute * 60, UTC)
    MinuteMeter.objects.create(workspace=workspace, device=device, start=earlier, sent=3)
    publish(device, latest={minute: {device.pk: (5, 1, 4, 0)}})
    shown = told(redis, f"broadcast:metrics:device:{device.pk}")
    assert json.loads(shown["sent"]) == {"minute": 0, "hour": 12, "day": 42}
    assert json.loads(shown["failed"]) == {"minute": 0, "hour": 1, "day": 3}
    assert json.loads(shown["delivered"]) == {"minute": 0, "hour": 4, "day": 4}
    assert json.loads(shown["replied"]) == {"minute": 0, "hour": 0, "day": 0}
    assert (shown["mean_ms"], shown["p95_ms"]) == ("80.0", "97.5")
    meter = live_meters([device])[device.pk]
    assert (meter.hour, meter.day) == (Counts(12, 1, 4, 0), Counts(42, 3, 4, 0))
    assert (meter.mean_ms, meter.p95_ms) == (80.0, 97.5)


def test_the_minute_shown_is_the_last_complete_one(device: Device, redis: Redis) -> None:
    minute = this_minute()
    publish(device, latest={minute - 1: {device.pk: (7, 0, 0, 0)}, minute: {device.pk: (2, 0, 0, 0)}})
    if this_minute() == minute:
        assert live_meters([device])[device.pk].minute == Counts(7, 0, 0, 0)


def test_broadcast_ratelimit_device(device: Device, workspace: Workspace, redis: Redis) -> None:
    now = timezone.now()
    hour = now.astimezone(workspace.zone).replace(minute=0, second=0, microsecond=0)
    Device.objects.filter(pk=device.pk).update(
        next_send_at=now + timedelta(seconds=20), hourly_cap=60, hour_start=hour, hour_used=12,
        daily_cap=500, warm_cap=50, day_start=hour - timedelta(days=2), day_used=99,
    )  # fmt: skip
    uncapped = make_device(workspace)
    publish(device, uncapped)
    shown = told(redis, f"broadcast:ratelimit:device:{device.pk}")
    assert datetime.fromisoformat(shown["next_send_at"]).timestamp() == pytest.approx(now.timestamp() + 20, abs=0.01)
    assert (shown["hour_used"], shown["hour_cap"]) == ("12", "60")
    assert (shown["day_used"], shown["day_cap"]) == ("0", "50")
    assert told(redis, f"broadcast:ratelimit:device:{uncapped.pk}")["hour_cap"] == ""


def test_broadcast_workers_status(redis: Redis) -> None:
    redis.hset("broadcast:workers:status", "gone", json.dumps({"at": time.time() - 100}))
    redis.hset("broadcast:workers:status", "odd", "{")
    redis.hset("broadcast:workers:status", "other", json.dumps({"at": time.time()}))
    publish()
    shown = told(redis, "broadcast:workers:status")
    assert set(shown) == {"here", "other"}
    status = json.loads(shown["here"])
    assert status["devices"] == 2
    assert abs(status["at"] - time.time()) < 5


def test_deleted_names_are_back_within_a_minute(device: Device, redis: Redis) -> None:
    """Every name lives for a while only, is told again in time, and what lies in its way is cleared."""
    devices = range(1, 3_001)
    engine = Published("here")
    published = [device for _ in range(ROUND_S) for device in engine.next_devices([], devices)]
    assert sorted(published) == list(devices)
    dead(make_stream(device, Lane.CAMPAIGN), "template: no name")
    names = [
        *("broadcast:queue:campaign", "broadcast:queue:sequence", "broadcast:queue:dead", "broadcast:workers:status"),
        *(f"broadcast:{kind}:device:{device.pk}" for kind in ("metrics", "ratelimit")),
    ]
    publish(device)
    for name in names:
        assert 0 < redis.ttl(name) <= 120, name
    redis.flushdb()
    redis.set(names[4], "in the way")
    publish(device)
    redis.delete("broadcast:turn:lanes", "broadcast:turn:dead")
    publish(device)
    assert redis.exists(*names) == len(names)


def test_who_changed_comes_first_and_thousands_take_turns() -> None:
    engine = Published("here")
    chosen = engine.next_devices(range(1, 1_001), range(1, 3_001))
    assert set(range(1, 201)) <= set(chosen)
    assert len(chosen) <= 300
    later = [device for _ in range(5) for device in engine.next_devices([], [])]
    assert set(chosen) | set(later) >= set(range(1, 1_001))


def test_of_two_engines_one_publishes_what_is_the_same_for_both(device: Device, redis: Redis) -> None:
    make_stream(device, Lane.CAMPAIGN, running=True, pending=5, next_due=timezone.now())
    publish()
    Stream.objects.update(pending=9)
    publish()
    assert told(redis, "broadcast:queue:campaign")["depth"] == "5"
