"""The claim's rules: hours, caps, warm-up, suppression, expiry, and a place for each device's first send."""

from __future__ import annotations

import time
from datetime import datetime, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest
from django.db.models import F
from django.utils import timezone

from accounts.models import Workspace
from campaigns import outbox
from campaigns.actions.dead_letters import retry_failed
from campaigns.models import Campaign, Contact, Content, Lane, Message, Stream, Suppression
from campaigns.outbox import Claimed, Held, Settlement
from campaigns.querysets.unsettled import Selection
from devices.hosting import leases, shares
from devices.hosting.leases import Lease, LeaseTimes
from devices.models import Device, Host
from tests.campaigns.outbox_cases import (
    ask,
    assert_counters_are_true,
    claim_one,
    hold_one,
    owned_device,
    running_campaign,
    sent,
)
from tests.factories import make_workspace

pytestmark = pytest.mark.django_db(transaction=True)  # now() stands still inside a transaction

HOUR = timedelta(hours=1)


def direct_message(device: Device, text: str = "Hello") -> Message:
    """A message on the device's lane `direct`."""
    workspace = device.workspace
    now = timezone.now()
    stream, _ = Stream.objects.get_or_create(
        workspace=workspace, device=device, campaign=None, lane=Lane.DIRECT, running=True
    )
    content = Content.objects.create(workspace=workspace, text=text)
    message = Message.objects.create(
        workspace=workspace, stream=stream, content=content, phone="+60123450000", due_at=now
    )
    Stream.objects.filter(pk=stream.pk).update(pending=F("pending") + 1, next_due=now, next_id=0)
    return message


@pytest.mark.parametrize("zone", ["Asia/Kuala_Lumpur", "America/New_York", "UTC", "Asia/Kathmandu"])
@pytest.mark.parametrize(
    ("begin", "end", "open_now"),
    [
        pytest.param(-HOUR, HOUR, True, id="inside"),
        pytest.param(HOUR, 2 * HOUR, False, id="before"),
        pytest.param(-2 * HOUR, -HOUR, False, id="after"),
        pytest.param(HOUR, -HOUR, False, id="between two nights"),
        pytest.param(-HOUR, -2 * HOUR, True, id="inside a night"),
    ],
)
def test_p10_nothing_leaves_outside_the_sending_hours_of_the_workspaces_zone(
    workspace: Workspace, lease: Lease, zone: str, begin: timedelta, end: timedelta, open_now: bool
) -> None:
    Workspace.objects.filter(pk=workspace.pk).update(timezone=zone)
    local = timezone.now().astimezone(ZoneInfo(zone))
    opens, closes = (local + begin).time(), (local + end).time()
    device = owned_device(workspace, lease, sending_from=opens, sending_to=closes)
    running_campaign(workspace, [device], 1)
    if open_now:
        claim_one(lease, device)
        return
    held = hold_one(lease, device)
    day = local.date() if opens > local.time() else local.date() + timedelta(days=1)
    expected = datetime.combine(day, opens, ZoneInfo(zone)).timestamp() - time.time()
    assert held.reason == "sending_hours"
    assert held.wait == pytest.approx(expected, abs=5)


def test_a_test_message_ignores_the_sending_hours(workspace: Workspace, lease: Lease) -> None:
    local = timezone.now().astimezone(ZoneInfo(workspace.timezone))
    device = owned_device(workspace, lease, sending_from=(local + HOUR).time(), sending_to=(local + 2 * HOUR).time())
    running_campaign(workspace, [device], 1)
    message = direct_message(device)
    assert claim_one(lease, device).message == message.pk


def test_p10_the_warm_up_cap_holds_below_the_daily_cap(workspace: Workspace, lease: Lease) -> None:
    device = owned_device(workspace, lease, daily_cap=5, warm_cap=2)
    running_campaign(workspace, [device], 4)
    for _ in range(2):
        outbox.settle([sent(claim_one(lease, device), device)])
    held = hold_one(lease, device)
    assert held.reason == "warm_up"
    assert held.wait is not None
    assert 0 < held.wait <= 25 * 3600
    Device.objects.filter(pk=device.pk).update(warm_cap=50)
    for _ in range(2):
        outbox.settle([sent(claim_one(lease, device), device)])


def test_p9_a_suppressed_number_is_skipped_on_every_lane(workspace: Workspace, lease: Lease) -> None:
    device = owned_device(workspace, lease)
    campaign = running_campaign(workspace, [device], 1)
    phone = Message.objects.get(campaign=campaign).phone
    Suppression.objects.create(workspace=workspace, phone=phone, source="person")
    direct = direct_message(device)
    Suppression.objects.create(workspace=workspace, phone=direct.phone, source="reply")
    while hold_one(lease, device).reason == "again":
        pass
    assert list(Message.objects.order_by("pk").values_list("state", "reason")) == [("skipped", "suppressed")] * 2
    assert_counters_are_true(campaign)


def test_another_workspaces_suppression_stops_nobody_here(workspace: Workspace, lease: Lease) -> None:
    device = owned_device(workspace, lease)
    campaign = running_campaign(workspace, [device], 1)
    phone = Message.objects.get(campaign=campaign).phone
    Suppression.objects.create(workspace=make_workspace(), phone=phone, source="person")
    claim_one(lease, device)


def test_only_the_confirmation_of_a_stop_passes_the_suppression(workspace: Workspace, lease: Lease) -> None:
    device = owned_device(workspace, lease)
    message = direct_message(device, "You will hear no more from us.")
    Suppression.objects.create(workspace=workspace, phone=message.phone, source="reply")
    Message.objects.filter(pk=message.pk).update(confirms_stop=True)
    assert claim_one(lease, device).message == message.pk


def test_nothing_leaves_of_a_stream_whose_time_is_over(workspace: Workspace, lease: Lease) -> None:
    device = owned_device(workspace, lease)
    campaign = running_campaign(workspace, [device], 1)
    Stream.objects.filter(campaign=campaign).update(expires_at=timezone.now())
    assert outbox.claim(lease, ask(device)) == [Held(device.pk, "idle", None)]
    assert outbox.devices_with_due_work(lease) == []


def test_a_devices_first_send_has_a_place_within_its_longest_delay_once(workspace: Workspace, lease: Lease) -> None:
    device = owned_device(workspace, lease, min_delay=10, max_delay=20)
    running_campaign(workspace, [device], 1)
    assert hold_one(lease, device) == Held(device.pk, "pace", 10.0)  # drawn in the middle
    Device.objects.filter(pk=device.pk).update(next_send_at=timezone.now())
    claim_one(lease, device)


def test_a_device_that_has_just_sent_keeps_its_pace_instead(workspace: Workspace, lease: Lease) -> None:
    device = owned_device(workspace, lease, min_delay=10, max_delay=20, last_sent_at=timezone.now())
    running_campaign(workspace, [device], 1)
    claim_one(lease, device)


def pass_on(device: Device, hosts: list[Lease], *, died: bool) -> None:
    """The first host loses the device to the second, in order or because it died, and stands last from now on."""
    former = hosts.pop(0)
    if died:
        Host.objects.filter(pk=former.host).update(lease_until=timezone.now())
    else:
        assert shares.release(former, [device.pk]) == [device.pk]
    assert [taken.id for taken in leases.take(hosts[0], ["simulator"], outbox.abandon, room=1)] == [device.pk]
    hosts.append(leases.begin(former.host, ["simulator"], LeaseTimes()) if died else former)
    Device.objects.filter(pk=device.pk).update(state="online")
    device.refresh_from_db()


def test_p10_one_device_in_five_campaigns_and_three_sequences_on_four_hosts_keeps_every_gap(
    workspace: Workspace, lease: Lease
) -> None:
    """After each message the device is another host's; two of them die with what they have just begun to send."""
    hosts = [lease, *(leases.begin(f"other-{number}", ["simulator"], LeaseTimes()) for number in range(3))]
    device = owned_device(workspace, lease, min_delay=0.15, max_delay=0.2, last_sent_at=timezone.now())
    campaigns = [running_campaign(workspace, [device], 2, min_delay=0.4)]
    campaigns += [running_campaign(workspace, [device], 0) for _ in range(7)]  # to the same two people
    Stream.objects.filter(campaign__in=campaigns[5:]).update(lane=Lane.SEQUENCE)
    lanes = dict(Message.objects.values_list("pk", "stream__lane"))
    lanes[direct_message(device).pk] = Lane.DIRECT
    slow = set(Message.objects.filter(campaign=campaigns[0]).values_list("pk", flat=True))
    wires: list[tuple[float, bool]] = []
    order: list[int] = []
    while len(order) < len(lanes):
        [answer] = [answer for host in hosts for answer in outbox.claim(host, ask(device))]  # its owner's alone
        if isinstance(answer, Held):
            assert answer.reason in ("pace", "again"), answer
            time.sleep(answer.wait or 0)
            continue
        wires.append((time.time(), answer.message in slow))
        order.append(lanes[answer.message])
        died = len(order) in (4, 9)
        if not died:
            outbox.settle([sent(answer, device, wire_at=wires[-1][0])])
        pass_on(device, hosts, died=died)
    for (before, was_slow), (after, _) in pairwise(wires):
        assert after - before >= (0.4 if was_slow else 0.15)
    assert order == sorted(order), "direct before campaigns before sequences"
    assert Message.objects.filter(state="uncertain").count() == 2


def test_a_message_in_flight_at_three_gateway_deaths_counts_them(workspace: Workspace, lease: Lease) -> None:
    device = owned_device(workspace, lease)
    campaign = running_campaign(workspace, [device], 1)
    claimed = claim_one(lease, device)
    died = Settlement(
        device.pk, device.epoch, claimed.message, claimed.tag, "uncertain", "gateway died", "Hello", 0.0, died=True
    )
    outbox.settle([died])
    message = Message.objects.get(campaign=campaign)
    assert (message.state, message.deaths) == ("uncertain", 1)
    assert_counters_are_true(Campaign.objects.get(pk=campaign.pk))


def test_p10_a_message_claimed_ahead_of_its_gaps_end_leaves_at_its_end(workspace: Workspace, lease: Lease) -> None:
    ends = timezone.now() + timedelta(seconds=30)
    device = owned_device(workspace, lease, min_delay=10, max_delay=10, last_sent_at=timezone.now(), next_send_at=ends)
    running_campaign(workspace, [device], 2)
    [held] = outbox.claim(lease, ask(device), ahead=20)
    assert isinstance(held, Held)
    assert (held.reason, held.wait) == ("pace", pytest.approx((ends - timezone.now()).total_seconds(), abs=1))
    [claimed] = outbox.claim(lease, ask(device), ahead=40)
    assert isinstance(claimed, Claimed)
    assert claimed.wait == pytest.approx((ends - timezone.now()).total_seconds(), abs=1)
    device.refresh_from_db()
    assert device.next_send_at == ends + timedelta(seconds=10), "the next gap begins where this one ends"


def test_whoever_is_no_contact_any_more_gets_nothing_of_a_campaign_and_is_not_tried_again(
    workspace: Workspace, lease: Lease
) -> None:
    Workspace.objects.filter(pk=workspace.pk).update(frequency_cap=5)
    device = owned_device(workspace, lease)
    campaign = running_campaign(workspace, [device], 2)
    outbox.settle([sent(claim_one(lease, device), device, state="dead", reason="x", wire_id=None)])
    Contact.objects.for_workspace(workspace).delete()
    assert retry_failed(Selection(campaign, timezone.now()), workspace.owner) == 0
    direct = direct_message(device)
    claimed = claim_one(lease, device)
    assert (claimed.message, claimed.name) == (direct.pk, "")
    outbox.settle([sent(claimed, device)])
    assert [hold_one(lease, device).reason for _ in range(6)][-1] == "idle"
    found = Message.objects.filter(campaign=campaign).order_by("pk")
    assert list(found.values_list("state", "reason", "attempts")) == [
        ("dead", "x", 1), ("skipped", "contact_deleted", 0),
    ]  # fmt: skip
    assert_counters_are_true(campaign)
