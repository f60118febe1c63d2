"""What people do to devices: the guards in the database, the assignment to hosts, and the two ledgers."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.utils import timezone

from accounts.models import AuditEntry, User, Workspace
from accounts.tenancy import tenant_scope
from campaigns.actions.direct import send_test
from devices import actions
from devices.jobs import host_queue
from devices.models import Device, DeviceEvent, DeviceState, Host, Request
from tests.factories import make_campaign, make_device, make_host, make_workspace


def new_device(workspace: Workspace, **fields: Any) -> Device:
    return make_device(workspace, linked=False, **fields)


def deeds(workspace: Workspace) -> list[str]:
    return list(AuditEntry.objects.filter(workspace=workspace).order_by("pk").values_list("action", flat=True))


def dead_host() -> Host:
    return make_host(lease_until=timezone.now() - timedelta(seconds=1))


# ---- adding


def test_an_added_device_waits_to_be_linked_and_is_in_both_ledgers(workspace: Workspace, alice: User) -> None:
    device = actions.add_device(workspace, alice, "Sales 1", "simulator")
    assert (device.state, device.phone, device.request, device.epoch) == ("new", None, "", 0)
    assert deeds(workspace) == ["device.added"]
    assert list(device.events.values_list("kind", "detail")) == [("added", "by alice@example.com")]


def test_the_database_refuses_a_sixteenth_device(workspace: Workspace, alice: User) -> None:
    for number in range(15):
        actions.add_device(workspace, alice, f"Device {number}", "simulator")
    with pytest.raises(actions.Refused, match="This workspace has its 15 devices"):
        actions.add_device(workspace, alice, "One more", "simulator")
    assert Device.objects.filter(workspace=workspace).count() == 15


def test_two_devices_of_a_workspace_cannot_share_a_name(workspace: Workspace, alice: User) -> None:
    actions.add_device(workspace, alice, "Sales", "simulator")
    with pytest.raises(actions.Refused, match="Another device has this name"):
        actions.add_device(workspace, alice, "Sales", "simulator")


# ---- pairing


def test_pairing_goes_to_the_living_host_with_the_fewest_devices_of_all_workspaces(
    workspace: Workspace, alice: User
) -> None:
    busy, idle = make_host(id="a-busy"), make_host(id="b-idle")
    elsewhere = make_workspace()
    make_device(elsewhere, owner=busy)
    device = new_device(workspace)
    with tenant_scope(workspace):  # as in a request, where the other workspace's devices are out of sight
        assert actions.pair_device(device, alice)
        with connection.cursor() as cursor:
            cursor.execute("SELECT current_setting('role'), current_setting('flotilla.workspace')")
            assert cursor.fetchone() == ("flotilla_tenant", str(workspace.pk))
    device.refresh_from_db()
    assert (device.owner, device.epoch, device.request) == (idle, 1, Request.PAIR)
    assert device.requested_at is not None


def test_three_pairings_spread_over_two_hosts(workspace: Workspace, alice: User) -> None:
    make_host(id="a")
    make_host(id="b")
    for _ in range(3):
        actions.pair_device(new_device(workspace), alice)
    assert sorted(Device.objects.values_list("owner_id", flat=True)) == ["a", "a", "b"]


@pytest.mark.parametrize(
    "unfit", [{"retiring": True}, {"drivers": ["whatsapp"]}, {"lease_until": timezone.now() - timedelta(days=1)}]
)
def test_a_host_that_retires_is_dead_or_lacks_the_driver_gets_nothing(
    workspace: Workspace, alice: User, unfit: dict[str, Any]
) -> None:
    make_host(id="a-unfit", **unfit)
    fit = make_host(id="b-fit")
    make_device(workspace, owner=fit)
    device = new_device(workspace)
    actions.pair_device(device, alice)
    assert device.owner == fit


def test_without_a_living_host_the_request_waits_for_one(workspace: Workspace, alice: User) -> None:
    gone = dead_host()
    device = new_device(workspace, owner=gone, epoch=4)
    assert actions.pair_device(device, alice)
    assert (device.owner, device.epoch, device.request) == (gone, 4, Request.PAIR)


def test_a_device_keeps_its_living_host_and_epoch(workspace: Workspace, alice: User) -> None:
    make_host(id="a-idle")
    owner = make_host(id="b")
    device = new_device(workspace, owner=owner, epoch=7)
    assert actions.pair_device(device, alice)
    assert (device.owner, device.epoch) == (owner, 7)


def test_a_pairing_whose_host_died_begins_again_on_another(workspace: Workspace, alice: User) -> None:
    host = make_host()
    device = new_device(workspace, owner=dead_host(), epoch=2, state=DeviceState.PAIRING)
    assert actions.pair_device(device, alice)
    assert (device.owner, device.epoch) == (host, 3)


@pytest.mark.parametrize(
    "fields",
    [
        {"request": Request.PAIR},
        {"request": Request.CANCEL_PAIR},
        {"state": DeviceState.PAIRING},
        {"phone": "+60123456789", "state": DeviceState.ONLINE},
        {"phone": "+60123456789", "state": DeviceState.BANNED},
        {"open_message": 1},
    ],
)
def test_a_device_linked_busy_or_being_paired_is_not_paired_again(
    workspace: Workspace, alice: User, fields: dict[str, Any]
) -> None:
    device = new_device(workspace, owner=make_host(), **fields)
    before = Device.objects.filter(pk=device.pk).values().get()
    assert not actions.pair_device(device, alice)
    assert Device.objects.filter(pk=device.pk).values().get() == before
    assert deeds(workspace) == []


def test_a_stale_look_at_the_device_pairs_nothing(workspace: Workspace, alice: User) -> None:
    make_host()
    device = new_device(workspace)
    Device.objects.filter(pk=device.pk).update(epoch=5)  # another host took it meanwhile
    assert not actions.pair_device(device, alice)


def test_cancelling_ends_a_pairing_nobody_took_up(workspace: Workspace, alice: User) -> None:
    device = new_device(workspace, request=Request.PAIR, requested_at=timezone.now())
    assert actions.cancel_pairing(device, alice)
    assert (device.request, device.requested_at) == (Request.NOTHING, None)


@pytest.mark.parametrize(
    "fields", [{"request": Request.PAIR}, {"request": Request.NOTHING, "state": DeviceState.PAIRING}]
)
def test_cancelling_asks_the_host_that_took_it_up(workspace: Workspace, alice: User, fields: dict[str, Any]) -> None:
    device = new_device(workspace, owner=make_host(), **fields)
    assert actions.cancel_pairing(device, alice)
    assert device.request == Request.CANCEL_PAIR


def test_there_is_nothing_to_cancel_on_a_linked_device(workspace: Workspace, alice: User) -> None:
    device = make_device(workspace, owner=make_host())
    assert not actions.cancel_pairing(device, alice)
    assert deeds(workspace) == []


# ---- reconnect and unlink


def test_reconnect_is_asked_of_linked_devices_only(workspace: Workspace, alice: User) -> None:
    linked, new = make_device(workspace, state=DeviceState.REPLACED), new_device(workspace)
    assert actions.reconnect_device(linked, alice)
    assert not actions.reconnect_device(new, alice)
    assert (linked.request, new.request) == (Request.RECONNECT, Request.NOTHING)
    assert deeds(workspace) == ["device.reconnect_asked"]


def test_reconnect_waits_for_the_end_of_a_ban(workspace: Workspace, alice: User) -> None:
    now = timezone.now()
    banned = make_device(workspace, state=DeviceState.BANNED, banned_until=now + timedelta(hours=1))
    over = make_device(workspace, state=DeviceState.BANNED, banned_until=now - timedelta(seconds=1))
    for_ever = make_device(workspace, state=DeviceState.BANNED)
    assert not actions.reconnect_device(banned, alice)
    assert actions.reconnect_device(over, alice)
    assert actions.reconnect_device(for_ever, alice)


def test_unlink_overrides_a_reconnect_but_not_itself(workspace: Workspace, alice: User) -> None:
    device = make_device(workspace, request=Request.RECONNECT)
    assert actions.unlink_device(device, alice)
    assert device.request == Request.UNLINK
    assert not actions.unlink_device(device, alice)
    assert deeds(workspace) == ["device.unlink_asked"]


# ---- name and pace


def test_renaming_keeps_the_former_name_in_the_ledger(workspace: Workspace, alice: User) -> None:
    device = make_device(workspace, name="Sales")
    actions.rename_device(device, alice, "Support")
    assert Device.objects.get(pk=device.pk).name == "Support"
    assert AuditEntry.objects.get(workspace=workspace).detail == {"former": "Sales"}


def test_renaming_to_a_taken_name_changes_nothing(workspace: Workspace, alice: User) -> None:
    make_device(workspace, name="Sales")
    device = make_device(workspace, name="Support")
    with pytest.raises(actions.Refused, match="Another device has this name"):
        actions.rename_device(device, alice, "Sales")
    assert Device.objects.get(pk=device.pk).name == "Support"
    assert deeds(workspace) == []


PACE: dict[str, Any] = {
    "min_delay": 10,
    "max_delay": 30,
    "hourly_cap": None,
    "daily_cap": None,
    "sending_from": None,
    "sending_to": None,
    "warm_up": False,
}


def test_a_new_pace_wakes_a_device_that_waits_for_tomorrow(
    workspace: Workspace, alice: User, django_capture_on_commit_callbacks: Any
) -> None:
    host = make_host()
    device = make_device(workspace, owner=host, daily_cap=1)
    queue = host_queue("campaign", host.pk)
    with django_capture_on_commit_callbacks(execute=True):
        actions.set_pace(device, alice, **{**PACE, "daily_cap": 100})
    assert [job.args for job in queue.jobs] == [[[device.pk]]]
    queue.delete()


def test_setting_the_pace_touches_only_the_pace(workspace: Workspace, alice: User) -> None:
    device = make_device(workspace, epoch=3)
    Device.objects.filter(pk=device.pk).update(epoch=4, state=DeviceState.OFFLINE)  # the engine, meanwhile
    actions.set_pace(device, alice, **{**PACE, "min_delay": 1, "max_delay": 2, "hourly_cap": 60})
    device.refresh_from_db()
    assert (device.min_delay, device.max_delay, device.hourly_cap, device.daily_cap) == (1, 2, 60, None)
    assert (device.epoch, device.state) == (4, DeviceState.OFFLINE)


def test_a_pace_too_fine_to_reckon_with_is_no_pace(workspace: Workspace, alice: User) -> None:
    device = make_device(workspace)
    actions.set_pace(device, alice, **{**PACE, "min_delay": 0, "max_delay": 5e-324})
    device.refresh_from_db()
    assert (device.min_delay, device.max_delay) == (0, 0)
    with connection.cursor() as cursor:  # what a claim does with it, for every device of its host at once
        cursor.execute("SELECT 0.1::float8 * (max_delay - min_delay) FROM devices_device")
        assert cursor.fetchone() == (0,)


# ---- removing


def test_a_device_without_messages_can_be_removed_with_its_history(workspace: Workspace, alice: User) -> None:
    device = actions.add_device(workspace, alice, "Sales", "simulator")
    actions.remove_device(device, alice)
    assert not Device.objects.filter(workspace=workspace).exists()
    assert not DeviceEvent.objects.filter(workspace=workspace).exists()
    assert deeds(workspace) == ["device.added", "device.removed"]


def test_a_device_with_messages_stays(workspace: Workspace, alice: User) -> None:
    device = new_device(workspace)
    send_test(device, "+60123456789", "Hello", by=alice)
    with pytest.raises(actions.Refused, match="This device has messages"):
        actions.remove_device(device, alice)
    assert Device.objects.filter(pk=device.pk).exists()


def test_a_device_chosen_by_a_campaign_stays(workspace: Workspace, alice: User) -> None:
    device = new_device(workspace)
    make_campaign(workspace, devices=(device,))
    with pytest.raises(actions.Refused, match="A campaign has chosen this device"):
        actions.remove_device(device, alice)


@pytest.mark.parametrize("fields", [{"phone": "+60123456789"}, {"request": Request.PAIR}, {"state": "pairing"}])
def test_a_linked_or_pairing_device_is_unlinked_before_it_is_removed(
    workspace: Workspace, alice: User, fields: dict[str, Any]
) -> None:
    device = new_device(workspace, **fields)
    with pytest.raises(actions.Refused, match="Unlink the device first"):
        actions.remove_device(device, alice)
