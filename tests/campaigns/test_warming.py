"""The warm-up of a new number: a cap for each day of its workspace, set once, and higher after replies."""

from __future__ import annotations

import threading
from datetime import UTC, date, datetime

import pytest
import time_machine
from django.db import connection

from campaigns.actions.warming import climb, today
from devices.models import Device, DeviceEvent
from devices.warm_up import LADDER, next_cap
from tests.factories import make_device, make_workspace

pytestmark = pytest.mark.django_db(transaction=True)

NOON = datetime(2026, 3, 5, 4, 0, tzinfo=UTC)  # 12:00 in Kuala Lumpur


@pytest.fixture
def device() -> Device:
    return make_device(make_workspace())


def cap_of(device: Device) -> tuple[int | None, date | None, int]:
    device.refresh_from_db()
    return device.warm_cap, device.warm_day, device.warm_replies


def start_warm_up(device: Device) -> None:
    Device.objects.filter(pk=device.pk).update(warm_cap=LADDER[0], warm_day=today(device), warm_replies=0)


@pytest.mark.parametrize(
    ("cap", "replies", "following"),
    [
        (20, 0, 20),
        (20, 1, 50),
        (50, 7, 120),
        (120, 1, 300),
        (300, 0, 300),
        (300, 1, None),
        (60, 1, 120),
        (900, 1, None),
    ],
)
def test_the_ladder_is_climbed_only_while_people_answer(cap: int, replies: int, following: int | None) -> None:
    assert next_cap(cap, replies) == following


def test_the_ladder_has_an_end() -> None:
    cap: int | None = LADDER[0]
    for _ in LADDER:
        assert cap is not None
        cap = next_cap(cap, 1)
    assert cap is None


def test_it_climbs_a_rung_a_day_while_people_answer_and_ends_after_the_last(device: Device) -> None:
    caps = []
    with time_machine.travel(NOON, tick=False) as clock:
        start_warm_up(device)
        for day in range(6, 11):
            Device.objects.filter(pk=device.pk).update(warm_replies=2)
            clock.move_to(datetime(2026, 3, day, 4, 0, tzinfo=UTC))
            climb()
            caps.append(cap_of(device)[0])
    assert caps == [50, 120, 300, None, None]
    kinds = list(DeviceEvent.objects.filter(device=device).order_by("pk").values_list("kind", flat=True))
    assert kinds == ["warm-up", "warm-up", "warm-up", "warm-up finished"]


def test_without_a_reply_it_stays_on_its_rung(device: Device) -> None:
    with time_machine.travel(NOON, tick=False) as clock:
        start_warm_up(device)
        clock.move_to(datetime(2026, 3, 6, 4, 0, tzinfo=UTC))
        assert climb() == 1
    assert cap_of(device) == (20, date(2026, 3, 6), 0)


def test_the_day_is_that_of_the_workspace(device: Device) -> None:
    with time_machine.travel(NOON, tick=False) as clock:
        start_warm_up(device)
        Device.objects.filter(pk=device.pk).update(warm_replies=1)
        clock.move_to(datetime(2026, 3, 5, 15, 59, tzinfo=UTC))
        assert climb() == 0
        clock.move_to(datetime(2026, 3, 5, 16, 0, tzinfo=UTC))  # midnight in Kuala Lumpur
        assert climb() == 1
        assert climb() == 0
    assert cap_of(device) == (50, date(2026, 3, 6), 0)


def test_p10_many_clocks_set_the_days_cap_once(device: Device) -> None:
    with time_machine.travel(NOON, tick=False) as clock:
        start_warm_up(device)
        Device.objects.filter(pk=device.pk).update(warm_replies=1)
        clock.move_to(datetime(2026, 3, 6, 4, 0, tzinfo=UTC))
        climbed: list[int] = []
        barrier = threading.Barrier(4)

        def strike() -> None:
            barrier.wait()
            climbed.append(climb())
            connection.close()

        threads = [threading.Thread(target=strike) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert sum(climbed) == 1
    assert cap_of(device)[0] == 50


def test_devices_that_do_not_warm_up_are_left_alone(device: Device) -> None:
    other = make_device(device.workspace, warm_replies=3)
    start_warm_up(device)
    assert climb() == 0
    assert cap_of(other) == (None, None, 3)
