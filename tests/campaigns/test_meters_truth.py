"""The meters tell the truth: under load, with Redis emptied and an engine killed, and never more than what is so."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Iterator, Sequence
from typing import Any

import pytest
from django.db import OperationalError
from django.db.models import Count, Q, Sum
from redis import Redis

from campaigns import metering, outbox
from campaigns.actions.meters import roll_up_or_raise
from campaigns.meters import live_meters
from campaigns.models import Campaign, DayMeter, HourMeter, Message, MeterTotal, MinuteMeter
from campaigns.querysets.meters import WORDS
from devices.hosting import leases
from devices.hosting.leases import Lease
from devices.models import Device
from tests.campaigns.engine_room import EngineRoom, engine_room
from tests.campaigns.test_sender import running_campaign
from tests.devices.gateway.world import SimulatedWorld

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.faults,
    pytest.mark.usefixtures("look_from_the_loop"),
]
SETTLED = ("sent", "delivered", "read", "dead", "uncertain", "assumed")


class Killed(Exception):
    """The engine ends here, whatever it was about to write."""


@pytest.fixture(scope="module")
def world() -> Iterator[SimulatedWorld]:
    world = SimulatedWorld()
    world.start_network()
    yield world
    world.close()


def of_messages() -> dict[int, tuple[int, ...]]:
    counted = {
        "sent": Count("pk", Q(sent_at__isnull=False)),
        "failed": Count("pk", Q(state="dead")),
        "delivered": Count("pk", Q(delivered_at__isnull=False)),
        "replied": Count("pk", Q(replied_at__isnull=False)),
    }
    rows: Any = Message.objects.values("stream__device").annotate(**counted)
    return {row["stream__device"]: tuple(row[word] for word in WORDS) for row in rows}


def of(model: Any) -> dict[int, tuple[int, ...]]:
    rows = model.objects.values("device").annotate(**{f"n_{word}": Sum(word) for word in WORDS})
    return {row["device"]: tuple(row[f"n_{word}"] for word in WORDS) for row in rows}


def as_shown() -> dict[int, tuple[int, ...]]:
    return {
        device: (meter.day.sent, meter.day.failed, meter.day.delivered, meter.day.replied)
        for device, meter in live_meters(Device.objects.all()).items()
    }


def assert_nothing_ahead() -> None:
    shown = {"rolled up": of(DayMeter), "shown": as_shown()}
    true = of_messages()
    for where, meters in shown.items():
        for device, counts in meters.items():
            assert all(a <= b for a, b in zip(counts, true[device], strict=True)), (where, counts, true[device])


async def look_at_random_moments(redis: Redis, rng: random.Random) -> None:
    while True:
        await asyncio.sleep(rng.uniform(0.05, 0.25))
        if rng.random() < 0.3:
            redis.flushdb()
        if rng.random() < 0.5:
            roll_up_or_raise(all_of_it=rng.random() < 0.5)
        assert_nothing_ahead()


def done(campaigns: list[Campaign]) -> int:
    return Message.objects.filter(campaign__in=campaigns, state__in=SETTLED).count()


async def test_the_meters_equal_the_messages_after_a_killed_engine_a_lost_answer_and_an_emptied_redis(
    world: SimulatedWorld, lease: Lease, redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, seconds in {"BEAT_S": 0.1, "PROOF_S": 0.3, "FORMER_S": 0.3, "SETTLED_S": 0.2}.items():
        monkeypatch.setattr(metering, name, seconds)
    campaigns = [running_campaign(lease, people=25) for _ in range(3)]
    refused = Message.objects.filter(campaign=campaigns[0]).values_list("phone", flat=True)[:6]
    for phone in refused:
        world.control.rule({"to": phone}, refuse=405)
    people = 75

    async def until(room: EngineRoom, looks: asyncio.Task[None], least: int) -> None:
        await room.until(lambda: looks.done() or done(campaigns) >= least, f"{least} of {people} are settled")
        if looks.done():
            looks.result()

    async def run_and_die() -> None:
        async with engine_room(world, lease, limit=3) as room:
            await until(room, looks, people // 3)
            monkeypatch.setattr(room.sender.metering, "write", lambda: asyncio.sleep(3600))
            await until(room, looks, done(campaigns) + 5)
            raise Killed

    looks = asyncio.ensure_future(look_at_random_moments(redis, random.Random(7)))
    with pytest.raises(Killed):
        await run_and_die()
    roll_up_or_raise(all_of_it=True)
    assert of(DayMeter) != of_messages(), "the engine that died had published it all"
    settle, unheard = outbox.settle, [True, True]

    def answer_is_lost(settlements: Sequence[outbox.Settlement]) -> outbox.Settled:
        settled = settle(settlements)
        if unheard and settled.moved:
            unheard.pop()
            raise OperationalError("server closed the connection unexpectedly")
        return settled

    monkeypatch.setattr(outbox, "settle", answer_is_lost)
    heir = leases.begin("here", ["simulator"], leases.LeaseTimes())
    leases.take(heir, ["simulator"], outbox.abandon, room=100, own=True)
    async with engine_room(world, heir) as room:
        await until(room, looks, people)
        for campaign in campaigns:
            reached = Message.objects.filter(campaign=campaign, state__in=("delivered", "read")).first()
            assert reached is not None
            world.control.reply(campaign.device_links.get().device.phone or "", reached.phone, "How much is it?")

        def all_is_told() -> bool:
            if looks.done():
                looks.result()
            if Message.objects.filter(replied_at__isnull=False).count() < len(campaigns):
                return False
            roll_up_or_raise(all_of_it=True)
            rolled_up = [of(model) for model in (MinuteMeter, HourMeter, DayMeter, MeterTotal)]
            return all(found == of_messages() for found in (*rolled_up, as_shown()))

        await room.until(all_is_told, "the meters say what the messages say")
        looks.cancel()
    assert sum(counts[1] for counts in of_messages().values()) == len(refused)
    for device, (sent, *_) in of_messages().items():
        timed = sum(map(sum, HourMeter.objects.filter(device=device).values_list("times", flat=True)))
        assert timed <= sent
