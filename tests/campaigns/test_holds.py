"""Where WhatsApp refuses the number and not the message, the message waits unharmed and its device holds."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from random import Random
from typing import Any

import pytest
from django.db.models import F
from django.db.models.functions import Now
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from accounts.models import AuditEntry, Workspace
from campaigns import outbox
from campaigns.actions.direct import send_test
from campaigns.engine import outcome
from campaigns.models import Campaign, Message, Stream
from campaigns.outbox import Claimed, Settlement
from devices.actions import lift_hold
from devices.hosting import leases
from devices.hosting.leases import Lease
from devices.models import Device, DeviceEvent
from monitoring.invariants import audit, is_clean
from tests.campaigns import engine_room as room_of
from tests.campaigns.engine_room import engine_room
from tests.campaigns.outbox_cases import assert_counters_are_true, claim_one, hold_one, owned_device, running_campaign
from tests.campaigns.outbox_cases import sent as sent_one
from tests.devices.gateway.world import SimulatedWorld
from tests.factories import make_host, make_workspace

pytestmark = pytest.mark.django_db(transaction=True)

HOURS = 3_600


@pytest.fixture
def device(workspace: Workspace, lease: Lease) -> Device:
    return owned_device(workspace, lease)


def refuse(claimed: Claimed, code: int = 463) -> None:
    """As the sender settles it."""
    verdict = outcome.refused(
        f"server returned error {code}", code, claimed.tries, Random(1), holds=claimed.holds, refusals=claimed.refusals
    )
    attempt = (claimed.device, claimed.epoch, claimed.message, claimed.tag)
    outbox.settle(
        [
            Settlement(
                *attempt, verdict.state, verdict.reason, "Hello", claimed.delay, retry_in=verdict.retry_in,
                refund=verdict.refund, counts=verdict.counts, hold=verdict.hold,
            )
        ]
    )  # fmt: skip


def pass_time(**ago: float) -> None:
    """Everything that lies ahead of the device and its messages comes nearer by so much."""
    by = timedelta(**ago)
    Device.objects.update(held_until=F("held_until") - by)
    Message.objects.filter(state="waiting").update(due_at=F("due_at") - by)
    Stream.objects.update(next_due=F("next_due") - by, next_id=0)


def test_the_message_waits_without_a_try_used_up_and_nothing_leaves_until_the_hold_ends(
    workspace: Workspace, lease: Lease, device: Device
) -> None:
    campaign = running_campaign(workspace, [device], 2)
    refuse(claim_one(lease, device))
    message = Message.objects.get(campaign=campaign, state="waiting")
    assert (message.tries, message.refusals, message.reason) == (0, 1, "refused 463: server returned error 463")
    send_test(device, "+60123456789", "Hello", None)
    held = hold_one(lease, device)
    assert held.reason == "refused"
    assert held.wait == pytest.approx(6 * HOURS, abs=30)
    device.refresh_from_db()
    assert (device.held_reason, device.holds) == (message.reason, 1)
    event = DeviceEvent.objects.get(device=device, kind="held")
    assert event.detail == "refused 463: server returned error 463 for 21600 s"
    assert outbox.devices_with_due_work(lease) == []
    assert_counters_are_true(campaign)
    assert is_clean(audit()), audit()["violations"]


def test_afterwards_the_others_go_first_so_that_one_person_keeps_nobody_waiting(
    workspace: Workspace, lease: Lease, device: Device
) -> None:
    campaign = running_campaign(workspace, [device], 3)
    refused = claim_one(lease, device)
    refuse(refused)
    pass_time(hours=6)
    order = []
    for _ in range(3):
        order.append(claim_one(lease, device))
        outbox.settle([sent_one(order[-1], device)])
    assert order[-1].message == refused.message
    assert_counters_are_true(campaign)


def test_each_hold_is_longer_until_a_day_has_passed_without_one(
    workspace: Workspace, lease: Lease, device: Device
) -> None:
    running_campaign(workspace, [device], 6)
    lasted = []
    for rest in (0.1, 0.1, 0.1, 23.9, 24.1):
        refuse(claim_one(lease, device))
        held = hold_one(lease, device)
        assert held.wait is not None
        lasted.append(round(held.wait / HOURS, 1))
        pass_time(hours=lasted[-1] + rest)
    refuse(claim_one(lease, device), 429)
    device.refresh_from_db()
    assert lasted == [6, 12, 24, 24, 24]
    assert (device.holds, round((hold_one(lease, device).wait or 0) / HOURS, 2)) == (1, 0.25)


def test_who_is_refused_in_five_holds_is_given_up(workspace: Workspace, lease: Lease, device: Device) -> None:
    campaign = running_campaign(workspace, [device], 1)
    for _ in range(5):
        refuse(claim_one(lease, device))
        pass_time(hours=25)
    message = Message.objects.get(campaign=campaign)
    assert (message.state, message.refusals, message.tries) == ("dead", 5, 0)
    assert_counters_are_true(campaign)


def test_another_hosts_late_word_holds_nothing(workspace: Workspace, lease: Lease, device: Device) -> None:
    running_campaign(workspace, [device], 1)
    claimed = claim_one(lease, device)
    Device.objects.update(epoch=2, open_message=None, open_tag=None, open_at=None)
    refuse(claimed)
    device.refresh_from_db()
    assert device.held_until is None
    assert not DeviceEvent.objects.filter(kind="held").exists()


# ---- what people see and may do


@pytest.fixture
def held(workspace: Workspace) -> Device:
    return owned_by_a_living_host(
        workspace, held_until=timezone.now() + timedelta(hours=5), held_reason="refused 463: no", holds=2
    )


def owned_by_a_living_host(workspace: Workspace, **fields: Any) -> Device:
    return owned_device(workspace, Lease(make_host().pk, 1), **fields)


def test_a_held_device_says_until_when_and_why_in_the_list_and_on_its_page(
    as_alice: Client, workspace: Workspace, held: Device
) -> None:
    until = held.held_until.astimezone(workspace.zone)  # type: ignore[union-attr]
    owned_by_a_living_host(workspace, name="Fine", held_until=timezone.now() - timedelta(hours=1))
    listed = as_alice.get(reverse("devices:index") + "?state=held").content.decode()
    page = as_alice.get(reverse("devices:device", args=[held.uuid])).content.decode()
    for shown in (listed, page):
        assert f"{until:%H:%M}" in shown
        assert "Held until" in shown
        assert "WhatsApp refused to let it write to new people (463)." in shown
        assert "state-amber" in shown
    assert "Fine" not in listed
    assert 'data-held="yes"' in page
    assert "Send again now" in page
    assert "ban for good" in page


def test_a_manager_may_send_again_sooner_and_the_next_hold_is_longer_all_the_same(
    as_alice: Client, as_bob: Client, as_charlie: Client, lease: Lease, workspace: Workspace
) -> None:
    device = owned_device(workspace, lease)
    running_campaign(workspace, [device], 2)
    refuse(claim_one(lease, device))
    address = reverse("devices:send_again", args=[device.uuid])
    assert (as_bob.post(address).status_code, as_charlie.post(address).status_code) == (403, 404)
    assert hold_one(lease, device).reason == "refused"
    assert "it is held for longer" in as_alice.post(address, follow=True).content.decode()
    entry = AuditEntry.objects.get(action="device.hold_ended")
    assert entry.detail == {"reason": "refused 463: server returned error 463"}
    assert not lift_hold(device, workspace.owner), "nothing is held any more"
    refuse(claim_one(lease, device))
    assert (hold_one(lease, device).wait or 0) > 11 * HOURS


def test_the_history_tells_a_hold_and_a_flapping_connection_in_a_line_each(as_alice: Client, held: Device) -> None:
    now = timezone.now()
    told = [("online", "", 200)]
    told += [(kind, why, 150 - n) for n in range(50) for kind, why in (("offline", "connection cut"), ("online", ""))]
    told += [("held", "refused 463: server returned error 463 for 21600 s", 1)]
    for kind, detail, minutes in told:
        DeviceEvent.objects.create(
            workspace=held.workspace, device=held, kind=kind, detail=detail, at=now - timedelta(minutes=minutes)
        )
    page = as_alice.get(reverse("devices:device", args=[held.uuid])).content.decode()
    assert "Nothing leaves for 6 hours." in page
    assert "Offline and online" in page
    assert "50 times between" in page
    assert page.count("The connection was cut.") == 1


# ---- with an engine


@pytest.fixture(scope="module")
def world() -> Iterator[SimulatedWorld]:
    world = SimulatedWorld()
    world.start_network()
    yield world
    world.close()


def campaign_of_the_room(lease: Lease, people: int) -> tuple[Campaign, Device]:
    workspace = make_workspace()
    device = room_of.owned_device(workspace, lease)
    return running_campaign(workspace, [device], people), device


@pytest.mark.usefixtures("look_from_the_loop")
@pytest.mark.parametrize(("code", "least"), [(463, 5 * HOURS), (429, 10 * 60)])
async def test_an_engine_holds_the_device_at_the_first_refusal(
    world: SimulatedWorld, lease: Lease, code: int, least: float
) -> None:
    campaign, device = campaign_of_the_room(lease, 20)
    world.control.rule({"phone": device.phone or ""}, refuse=code)
    async with engine_room(world, lease) as room:
        await room.until(lambda: Message.objects.filter(state="waiting").exists(), "a message waits")
        device.refresh_from_db()
        assert device.held_until is not None
        assert (device.held_until - timezone.now()).total_seconds() > least
        worker = room.sender.workers[device.pk]
        await room.until(lambda: worker.due is not None, "it comes back by itself")
        world.control.clear_rules()
        lift_hold(device, device.workspace.owner)
        room.sender.rouse([device.pk])
        await room.until(lambda: campaign.streams.get().pending == 0, "the others are sent")
    assert Message.objects.filter(campaign=campaign, state="waiting").count() == 1


@pytest.mark.usefixtures("look_from_the_loop")
async def test_a_temporary_ban_stops_the_device_until_it_is_over_and_then_it_goes_on(
    world: SimulatedWorld, lease: Lease
) -> None:
    campaign, device = campaign_of_the_room(lease, 2)
    Device.objects.filter(pk=device.pk).update(min_delay=60, max_delay=60)
    async with engine_room(world, lease) as room:
        await room.until(lambda: Message.objects.filter(state="sent").count() == 1, "the first is sent")
        world.control.ban(device.phone or "", 1.5)
        await room.until(lambda: Device.objects.get().state == "banned", "it is banned")
        banned = Device.objects.with_shown_state().get()
        assert banned.banned_until is not None
        assert hold_one(lease, banned).reason == "offline"
        Device.objects.update(next_send_at=Now(), min_delay=0, max_delay=0)
        over: list[leases.OwnedDevice] = []

        def is_over() -> bool:
            over.extend(leases.ban_over(lease))
            return bool(over)

        assert not is_over(), "not before its time"
        await room.until(is_over, "the ban is over")
        room.sessions.reopen(over[0])
        await room.until(lambda: campaign.streams.get().pending == 0, "the second is sent")
