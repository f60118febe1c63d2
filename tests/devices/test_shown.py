"""What keeps a device from sending now, in the words and at the instants of the claim."""

from __future__ import annotations

from datetime import UTC, datetime, time, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from accounts.models import Workspace
from devices.models import Device, DeviceState
from devices.seen import Seen, seen
from devices.shown import held, may_send_at, shown, used_this_hour, used_today
from tests.factories import make_device, make_host

ZONE = ZoneInfo("Asia/Kuala_Lumpur")
NOON = datetime(2027, 3, 10, 12, 30, tzinfo=ZONE)
TODAY, THIS_HOUR = NOON.replace(hour=0, minute=0), NOON.replace(minute=0)
USED = {"day_start": TODAY, "day_used": 20, "hour_start": THIS_HOUR, "hour_used": 7}


@pytest.fixture(autouse=True)
def at_noon(time_machine: Any) -> None:
    time_machine.move_to(NOON, tick=False)


def device_with(workspace: Workspace, **fields: Any) -> Device:
    host = make_host(lease_until=datetime(2090, 1, 1, tzinfo=UTC))  # PostgreSQL's clock stands where it stood
    device = make_device(workspace, owner=host, **{"next_send_at": NOON - timedelta(hours=1), **fields})
    found: Device = Device.objects.select_related("workspace").with_shown_state().get(pk=device.pk)
    return found


@pytest.mark.parametrize(
    ("fields", "verdict", "until"),
    [
        ({}, None, None),
        ({"open_message": 1}, "in_flight", None),
        ({"state": DeviceState.OFFLINE}, "offline", None),
        ({"next_send_at": NOON + timedelta(seconds=20)}, "pace", NOON + timedelta(seconds=20)),
        ({**USED, "daily_cap": 20}, "daily_cap", TODAY + timedelta(days=1)),
        ({**USED, "warm_cap": 20}, "warm_up", TODAY + timedelta(days=1)),
        ({**USED, "warm_cap": 20, "daily_cap": 20}, "daily_cap", TODAY + timedelta(days=1)),
        ({**USED, "warm_cap": 50, "daily_cap": 30}, None, None),
        ({**USED, "hourly_cap": 7}, "hourly_cap", THIS_HOUR + timedelta(hours=1)),
        ({"sending_from": time(9), "sending_to": time(12)}, "sending_hours", TODAY + timedelta(hours=33)),
        ({"sending_from": time(13), "sending_to": time(17)}, "sending_hours", TODAY + timedelta(hours=13)),
        ({"sending_from": time(22), "sending_to": time(6)}, "sending_hours", TODAY + timedelta(hours=22)),
        ({"sending_from": time(12), "sending_to": time(6)}, None, None),
        ({"sending_from": time(9), "sending_to": time(17)}, None, None),
    ],
)
def test_a_hold_has_a_name_and_an_end(
    workspace: Workspace, fields: dict[str, Any], verdict: str | None, until: datetime | None
) -> None:
    found = held(device_with(workspace, **fields))
    assert (found and found.verdict, found and found.until) == (verdict, until)
    assert found is None or found.reason


def test_of_several_holds_the_longest_is_told(workspace: Workspace) -> None:
    device = device_with(
        workspace,
        **USED,
        next_send_at=NOON + timedelta(seconds=9),
        hourly_cap=7,
        sending_from=time(9),
        sending_to=time(11),
    )
    assert may_send_at(device, held(device)) == TODAY + timedelta(hours=33)


def test_hours_begin_by_the_wall_clock_when_clocks_change(workspace: Workspace, time_machine: Any) -> None:
    workspace.timezone = "America/New_York"
    workspace.save()
    evening = datetime(2027, 3, 13, 20, tzinfo=ZoneInfo("America/New_York"))  # clocks go forward that night
    time_machine.move_to(evening, tick=False)
    device = device_with(workspace, sending_from=time(9), sending_to=time(17), next_send_at=evening)
    assert may_send_at(device, held(device)) == datetime(2027, 3, 14, 13, tzinfo=UTC)


def test_rows_are_judged_as_models_are(workspace: Workspace, django_assert_num_queries: Any) -> None:
    soon, host = NOON + timedelta(hours=2), make_host(lease_until=datetime(2090, 1, 1, tzinfo=UTC))
    cases: list[dict[str, Any]] = [
        {**USED, "daily_cap": 20},
        {**USED, "hourly_cap": 7, "warm_cap": 50},
        {"sending_from": time(13), "sending_to": time(17)},
        {"open_message": 1},
        {"state": DeviceState.BANNED, "state_reason": "temporarily banned", "banned_until": soon},
        {"state": DeviceState.UNLINKED, "state_reason": "logged out"},
        {"owner": None},
    ]
    for fields in cases:
        make_device(workspace, **{"owner": host, "next_send_at": NOON - timedelta(hours=1), **fields})
    devices = Device.objects.with_shown_state().order_by("pk")
    with django_assert_num_queries(2):
        rows = seen(devices)
    assert len({id(row.workspace) for row in rows}) == 1
    for row, device in zip(rows, devices.select_related("workspace"), strict=True):
        for name in Seen._fields:
            assert getattr(row, name) == getattr(device, name), name
        for judge in (shown, held, used_today, used_this_hour):
            assert judge(row) == judge(device), (judge, device)
