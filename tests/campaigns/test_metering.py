"""Metering: what was settled is counted once, reaches Redis within a second, and PostgreSQL after its minute."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.conf import LazySettings
from django.db.models import Sum
from redis import Redis
from redis.exceptions import RedisError

from accounts.models import Workspace
from campaigns import metering
from campaigns.actions.meters import prune_meters, roll_up, roll_up_or_raise
from campaigns.meter_buckets import INDEX
from campaigns.metering import Metering
from campaigns.models import DayMeter, HourMeter, MeterTotal, MinuteMeter, Stream
from campaigns.outbox import Moved
from campaigns.querysets.meters import WORDS
from devices.hosting.leases import Lease
from devices.models import Device
from tests.factories import make_device, make_host

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("look_from_the_loop")]

NOON = datetime(2026, 3, 29, 12, 0, 30, tzinfo=UTC).timestamp()


class Clock:
    """The host's clock, for what asks `time.time`."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = NOON
        monkeypatch.setattr(time, "time", lambda: self.now)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(monkeypatch)


@pytest.fixture
async def meters(lease: Lease) -> AsyncIterator[Metering]:
    engine = Metering(lease)
    yield engine
    engine.close()


@pytest.fixture
def device(workspace: Workspace) -> Device:
    return make_device(workspace, owner_id="here")


def sent(device: Device, ms: int = 80) -> Moved:
    return (device.pk, "sent", ms)


def sums(model: Any, device: Device) -> tuple[int, ...]:
    found = model.objects.filter(device=device).aggregate(**{word: Sum(word, default=0) for word in WORDS})
    return tuple(found.values())


# ------------------------------------------------------------------ from the engine to PostgreSQL


async def test_what_was_counted_is_in_postgres_after_its_minute(
    meters: Metering, device: Device, redis: Redis, clock: Clock
) -> None:
    meters.settled([sent(device), sent(device, 700), (device.pk, "dead", None)])
    meters.receipted([(device.pk, 1, 2)])
    meters.replied({device.pk: 1})
    await meters.write()
    assert roll_up() == 0, "the minute runs"
    clock.now += 60
    assert roll_up() == 1
    for model in (MinuteMeter, HourMeter, DayMeter):
        meter = model.objects.get(device=device)
        assert (meter.sent, meter.failed, meter.delivered, meter.replied) == (3, 1, 2, 1)
        assert (meter.time_ms, meter.times) == (780, [0, 1, 0, 0, 1] + [0] * 7)
    assert MinuteMeter.objects.get().start == datetime(2026, 3, 29, 12, 0, tzinfo=UTC)


async def test_rolling_up_again_changes_nothing_and_a_late_word_counts_once(
    meters: Metering, device: Device, redis: Redis, clock: Clock
) -> None:
    meters.settled([sent(device)])
    await meters.write()
    clock.now += 60
    roll_up()
    redis.delete("broadcast:meters:rolled")
    assert (roll_up(), sums(DayMeter, device)) == (0, (1, 0, 0, 0))
    clock.now -= 60
    meters.settled([sent(device), sent(device)])
    clock.now += 60
    await meters.write()
    assert roll_up() == 1
    assert roll_up() == 0
    assert {sums(model, device) for model in (MinuteMeter, HourMeter, DayMeter, MeterTotal)} == {(3, 0, 0, 0)}
    assert DayMeter.objects.get().times[1] == 3


async def test_two_engines_count_for_one_device_together(
    meters: Metering, device: Device, lease: Lease, redis: Redis, clock: Clock
) -> None:
    successor = Metering(Lease(lease.host, lease.incarnation + 1))
    meters.settled([sent(device)])
    successor.settled([sent(device), sent(device)])
    await meters.write()
    await successor.write()
    successor.close()
    clock.now += 60
    roll_up()
    assert sums(MinuteMeter, device) == sums(HourMeter, device) == (3, 0, 0, 0)


async def test_an_emptied_redis_is_filled_from_memory(
    meters: Metering, device: Device, redis: Redis, clock: Clock
) -> None:
    meters.settled([sent(device)])
    await meters.write()
    clock.now += 60
    meters.settled([sent(device)])
    await meters.write()
    redis.flushdb()
    await meters.write()
    clock.now += 60
    roll_up()
    assert sums(MinuteMeter, device) == sums(DayMeter, device) == (2, 0, 0, 0)
    assert MinuteMeter.objects.count() == 2


async def test_an_hour_without_redis_loses_nothing_and_takes_no_more_than_fifteen_minutes_of_memory(
    meters: Metering, device: Device, redis: Redis, settings: LazySettings, clock: Clock
) -> None:
    url = settings.REDIS_URL
    meters.settled([sent(device)])
    await meters.write()
    settings.REDIS_URL = "unix:///nowhere"
    meters.settled([sent(device)])
    for _ in range(60):
        clock.now += 60
        meters.settled([sent(device)])
        with pytest.raises(RedisError):
            await meters.write()
    assert len(meters._minutes) <= metering.KEPT_MINUTES + 3
    settings.REDIS_URL = url
    await meters.write()
    clock.now += 60
    roll_up()
    assert sums(MinuteMeter, device) == sums(DayMeter, device) == (62, 0, 0, 0)


async def test_with_redis_away_there_is_nothing_to_roll_up(settings: LazySettings) -> None:
    settings.REDIS_URL = "unix:///nowhere"
    assert roll_up() == 0


async def test_a_device_that_was_removed_is_left_out(
    meters: Metering, device: Device, workspace: Workspace, redis: Redis, clock: Clock
) -> None:
    removed = make_device(workspace)
    meters.settled([sent(device), sent(removed)])
    await meters.write()
    Device.objects.filter(pk=removed.pk).delete()
    clock.now += 60
    assert roll_up() == 1
    Device.objects.filter(pk=device.pk).delete()
    assert not MinuteMeter.objects.exists()
    assert not MeterTotal.objects.exists()


async def test_poison_among_the_buckets_is_passed_over(
    meters: Metering, device: Device, redis: Redis, clock: Clock
) -> None:
    meters.settled([sent(device)])
    await meters.write()
    named: Any = redis.zrange(INDEX, 0, -1)
    [key] = named
    redis.hset(key, mapping={"x": "y", str(device.pk + 1): "short", "\xff": "z"})
    redis.zadd(INDEX, {"broadcast:meters:never:given": 1, "\xff": 2, "broadcast:meters:1:gone:1": 3})
    clock.now += 60
    assert roll_up() == 1
    assert sums(DayMeter, device) == (1, 0, 0, 0)


@pytest.mark.parametrize(
    ("zone", "at", "hour", "day"),
    [
        ("Asia/Kolkata", "2026-03-29T12:10", "2026-03-29T11:30", "2026-03-28T18:30"),
        ("Europe/Berlin", "2026-03-29T01:10", "2026-03-29T01:00", "2026-03-28T23:00"),  # 3 o'clock follows 1:59
        ("Europe/Berlin", "2026-10-25T00:10", "2026-10-25T00:00", "2026-10-24T22:00"),  # the first 2 o'clock
        ("Europe/Berlin", "2026-10-25T01:10", "2026-10-25T01:00", "2026-10-24T22:00"),  # the second
        ("Europe/Berlin", "2026-10-25T23:10", "2026-10-25T23:00", "2026-10-25T23:00"),  # that day has 25 hours
    ],
)
async def test_hours_and_days_are_those_of_the_workspaces_zone(
    meters: Metering, device: Device, redis: Redis, clock: Clock, zone: str, at: str, hour: str, day: str
) -> None:
    Workspace.objects.filter(pk=device.workspace_id).update(timezone=zone)
    clock.now = datetime.fromisoformat(f"{at}+00:00").timestamp()
    meters.settled([sent(device)])
    await meters.write()
    clock.now += 60
    roll_up()
    assert HourMeter.objects.get().start == datetime.fromisoformat(f"{hour}+00:00")
    assert DayMeter.objects.get().start == datetime.fromisoformat(f"{day}+00:00")


async def test_old_meters_are_pruned_and_young_ones_stay(device: Device) -> None:
    now = datetime.now(UTC)
    ages = {
        MinuteMeter: (timedelta(hours=5), timedelta(hours=7)),
        HourMeter: (timedelta(days=92), timedelta(days=94)),
        DayMeter: (timedelta(days=730), timedelta(days=732)),
    }
    for model, both in ages.items():
        for age in both:
            model.objects.create(workspace=device.workspace, device=device, start=now - age)
    assert prune_meters() == 3
    for model, (young, _) in ages.items():
        assert model.objects.get().start == now - young


# ------------------------------------------------------------------ what an engine could not publish


async def test_what_an_engine_had_counted_when_it_died_is_counted_by_the_next(
    meters: Metering, device: Device, redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(metering, "FORMER_S", 0.0)
    monkeypatch.setattr(metering, "SETTLED_S", 0.0)
    stream = Stream.objects.create(
        workspace=device.workspace, device=device, lane=1, sent=2, delivered=3, read=1, dead=2
    )
    meters.settled([sent(device)] * 4)
    await meters.write()  # two more, and their fates, it could not write
    meters.doubt([device.pk])
    await asyncio.sleep(0.01)
    await meters._prove()
    await meters.write()
    roll_up_or_raise(all_of_it=True)
    assert sums(DayMeter, device) == sums(MeterTotal, device) == (6, 2, 4, 0)

    Stream.objects.filter(pk=stream.pk).update(dead=0)  # a person had them tried again
    for _ in range(2):
        meters.doubt([device.pk])
        meters._proved_at = 0
        await asyncio.sleep(0.01)
        await meters._prove()
    assert MeterTotal.objects.get().ahead == [0, -2, 0, 0]
    Stream.objects.filter(pk=stream.pk).update(dead=1)
    meters.doubt([device.pk])
    meters._proved_at = 0
    await asyncio.sleep(0.01)
    await meters._prove()
    await meters.write()
    roll_up_or_raise(all_of_it=True)
    assert sums(DayMeter, device) == (6, 3, 4, 0)
    assert not meters._doubted_at


async def test_nothing_is_put_right_while_a_living_engine_may_still_have_it(
    meters: Metering, device: Device, redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(metering, "FORMER_S", 0.0)
    monkeypatch.setattr(metering, "SETTLED_S", 0.0)
    make_host(id="elsewhere")
    Stream.objects.create(workspace=device.workspace, device=device, lane=1, sent=2)
    meters.doubt([device.pk])
    await asyncio.sleep(0.01)
    await meters._prove()
    assert not meters._minutes
    redis.hset("broadcast:meters:written", "elsewhere", str(time.time() + 1))
    meters._proved_at = 0
    await meters._prove()
    await meters.write()
    roll_up_or_raise(all_of_it=True)
    assert sums(DayMeter, device) == (2, 0, 0, 0)
