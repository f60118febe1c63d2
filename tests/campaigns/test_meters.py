"""What pages read of the meters: from Redis what engines published, and from PostgreSQL what Redis lacks."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import pytest
from django.conf import LazySettings
from django.utils import timezone
from redis import Redis

from accounts.models import Workspace
from accounts.tenancy import tenant_scope
from campaigns.last_minute import last_full_minute
from campaigns.live import database_time
from campaigns.meters import Counts, LiveMeter, live_meters, mean_of, p95_of
from campaigns.models import DayMeter, HourMeter, MinuteMeter
from campaigns.querysets.meters import rolled_up, rolled_up_figure
from devices.models import Device
from tests.factories import make_device, make_workspace

# Meters begin by `database_time`, which stands still in a test: that is the clock by which they are read.
pytestmark = pytest.mark.django_db


@pytest.fixture
def device(workspace: Workspace) -> Device:
    return make_device(workspace)


def publish(redis: Redis, device: int, sent: int, age_s: float = 0) -> None:
    fields: dict[Any, Any] = {
        word: json.dumps({"minute": sent, "hour": 10 * sent, "day": 100 * sent}) for word in ("sent", "failed")
    }
    fields |= dict.fromkeys(("delivered", "replied"), '{"minute":0,"hour":0,"day":0}')
    fields |= {"mean_ms": 80, "p95_ms": "", "at": timezone.now().timestamp() - age_s}
    redis.hset(f"broadcast:metrics:device:{device}", mapping=fields)


def test_what_engines_published_is_read_and_the_rest_comes_from_postgres(
    device: Device, workspace: Workspace, redis: Redis
) -> None:
    quiet, stale = make_device(workspace), make_device(workspace)
    publish(redis, device.pk, 2)
    publish(redis, stale.pk, 9, age_s=300)
    hour = database_time().replace(minute=0, second=0, microsecond=0)
    HourMeter.objects.create(
        workspace=workspace, device=quiet, start=hour, sent=4, failed=1, time_ms=800, times=[0, 3, 1] + [0] * 9
    )
    found = live_meters([device, quiet, stale])
    assert found[device.pk].minute == Counts(2, 2, 0, 0)
    assert found[device.pk].day == Counts(200, 200, 0, 0)
    assert (found[device.pk].mean_ms, found[device.pk].p95_ms) == (80, None)
    assert found[quiet.pk].hour == Counts(4, 1, 0, 0)
    assert found[quiet.pk].mean_ms == 200
    assert found[stale.pk].day == Counts(0, 0, 0, 0)


def test_without_redis_everything_comes_from_postgres(
    device: Device, workspace: Workspace, settings: LazySettings
) -> None:
    settings.REDIS_URL = "unix:///nowhere"
    minute = last_full_minute(database_time())
    MinuteMeter.objects.create(workspace=workspace, device=device, start=minute, sent=3, replied=1)
    assert live_meters([device])[device.pk].minute == Counts(3, 0, 0, 1)


def test_poison_in_redis_is_no_figure(device: Device, redis: Redis) -> None:
    publish(redis, device.pk, 2)
    for field, value in (("sent", "[]"), ("sent", "\xff"), ("sent", '{"minute": "x"}'), ("at", "nan")):
        before = redis.hget(f"broadcast:metrics:device:{device.pk}", field)
        redis.hset(f"broadcast:metrics:device:{device.pk}", field, value)
        assert live_meters([device])[device.pk].minute == Counts(0, 0, 0, 0), value
        redis.hset(f"broadcast:metrics:device:{device.pk}", field, before or "")
    redis.set(f"broadcast:metrics:device:{device.pk}", "not a hash")
    assert live_meters([device])[device.pk].minute == Counts(0, 0, 0, 0)


def test_the_day_is_that_of_the_workspaces_clock(device: Device, workspace: Workspace) -> None:
    Workspace.objects.filter(pk=workspace.pk).update(timezone="Asia/Kolkata")
    workspace.refresh_from_db()
    local = database_time().astimezone(workspace.zone)
    day = local.replace(hour=0, minute=0, second=0, microsecond=0)
    hour = local.replace(minute=0, second=0, microsecond=0)
    DayMeter.objects.create(workspace=workspace, device=device, start=day, sent=7)
    HourMeter.objects.create(workspace=workspace, device=device, start=hour, sent=5)
    assert (live_meters([device])[device.pk].hour.sent, live_meters([device])[device.pk].day.sent) == (5, 7)


def test_a_workspace_reads_its_own_meters_behind_the_wall(device: Device, workspace: Workspace) -> None:
    day = database_time().astimezone(workspace.zone).replace(hour=0, minute=0, second=0, microsecond=0)
    DayMeter.objects.create(workspace=workspace, device=device, start=day, sent=7)
    with tenant_scope(workspace):
        assert live_meters([device])[device.pk].day.sent == 7


def test_nobody_asked_nothing_found() -> None:
    assert live_meters([]) == {}


def test_a_thousand_devices_cost_one_statement_and_one_round_trip(
    workspace: Workspace, redis: Redis, django_assert_num_queries: Any
) -> None:
    devices = [Device(pk=number, workspace=workspace) for number in range(10_000, 11_000)]
    before: Any = redis.info("stats")
    with django_assert_num_queries(1):
        assert len(live_meters(devices)) == 1_000
    after: Any = redis.info("stats")
    assert after["total_reads_processed"] - before["total_reads_processed"] < 200


@pytest.mark.parametrize(
    ("times", "p95"),
    [
        ([0] * 12, None),
        ([100] + [0] * 11, 47.5),
        ([0, 20] + [0] * 10, 97.5),
        ([95, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 5], 50.0),
        ([0] * 11 + [3], 300_000.0),
    ],
)
def test_p95_lies_where_95_of_100_messages_are_done(times: list[int], p95: float | None) -> None:
    assert p95_of(times) == p95
    assert mean_of(600, times) == (600 / sum(times) if sum(times) else None)


def test_a_meter_may_be_made_without_its_instant() -> None:
    none = Counts(0, 0, 0, 0)
    assert LiveMeter(none, none, none, None, None).at is None


def test_what_orders_a_fleet_is_what_its_pages_show(device: Device, workspace: Workspace) -> None:
    """In two zones whose hours and days begin at different instants; one has no meter of this hour yet."""
    far = make_device(make_workspace(timezone="Asia/Kolkata"))
    make_device(workspace)
    for one, ago, sent in ((device, 0, 4), (device, 1, 9), (far, 1, 2)):
        local = database_time().astimezone(one.workspace.zone).replace(minute=0, second=0, microsecond=0)
        of = {"workspace": one.workspace, "device": one}
        HourMeter.objects.create(
            **of, start=local - timedelta(hours=ago), sent=sent, time_ms=sent * 70, times=[0, sent] + [0] * 10
        )
        if not ago:
            DayMeter.objects.create(**of, start=local.replace(hour=0), sent=sent)
    shown = rolled_up(Device.objects.values_list("pk", flat=True))
    everybody = [workspace.pk, far.workspace.pk]
    for name in ("hour", "day"):
        expected = {pk: getattr(known, name)[0] for pk, known in shown.items() if getattr(known, name)[0]}
        assert rolled_up_figure(name, everybody) == expected
    times = {pk: mean_of(known.time_ms, known.times) for pk, known in shown.items() if known.times}
    assert rolled_up_figure("time", everybody) == times == {device.pk: 70, far.pk: 70}
    assert rolled_up_figure("hour", [far.workspace.pk]) == {}
