"""The outbox against a real Postgres: what may leave, what is written down, and that every figure stays true."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from django.db import connection
from django.utils import timezone

from accounts.models import Workspace
from campaigns import outbox
from campaigns.actions.drafts import change_text
from campaigns.actions.planning import plan_chunk
from campaigns.models import Attempt, Campaign, Message, Stream, Variant
from campaigns.outbox import Held, Settled
from devices.hosting import leases
from devices.hosting.leases import Lease, LeaseTimes
from tests.campaigns.outbox_cases import ask, assert_counters_are_true, claim_one, owned_device, running_campaign, sent
from tests.factories import make_contact

pytestmark = pytest.mark.django_db(transaction=True)  # now() stands still inside a transaction


def test_planning_shares_people_evenly_and_counts_them(workspace: Workspace, lease: Lease) -> None:
    devices = [owned_device(workspace, lease) for _ in range(3)]
    campaign = running_campaign(workspace, devices, 10)
    assert campaign.recipients == 10
    assert campaign.planned_at is not None
    assert sorted(Stream.objects.filter(campaign=campaign).values_list("pending", flat=True)) == [3, 3, 4]
    assert_counters_are_true(campaign)


def test_a_claim_journals_the_attempt_before_anything_is_sent(workspace: Workspace, lease: Lease) -> None:
    device = owned_device(workspace, lease)
    campaign = running_campaign(workspace, [device], 2)
    claimed = claim_one(lease, device)
    message = Message.objects.get(pk=claimed.message)
    device.refresh_from_db()
    assert (message.state, message.attempts, message.epoch) == ("sending", 1, 1)
    assert bytes(message.tag) == claimed.tag == bytes(device.open_tag)  # type: ignore[arg-type]
    assert device.open_message == message.pk
    assert_counters_are_true(campaign)


def test_a_device_has_one_message_in_flight(workspace: Workspace, lease: Lease) -> None:
    device = owned_device(workspace, lease)
    running_campaign(workspace, [device], 2)
    first = claim_one(lease, device)
    assert outbox.claim(lease, ask(device)) == [Held(device.pk, "in_flight", None, first.message, first.tag)]


def test_everybody_is_sent_to_once_and_then_the_device_idles(workspace: Workspace, lease: Lease) -> None:
    device = owned_device(workspace, lease)
    campaign = running_campaign(workspace, [device], 5)
    phones = set()
    for _ in range(5):
        claimed = claim_one(lease, device)
        phones.add(claimed.phone)
        assert device.pk in outbox.settle([sent(claimed, device)]).waits
    assert len(phones) == 5
    assert outbox.claim(lease, ask(device)) == [Held(device.pk, "again", 0)]
    assert outbox.claim(lease, ask(device)) == [Held(device.pk, "idle", None)]
    assert_counters_are_true(campaign)


def test_settling_twice_changes_nothing(workspace: Workspace, lease: Lease) -> None:
    device = owned_device(workspace, lease)
    campaign = running_campaign(workspace, [device], 1)
    settlement = sent(claim_one(lease, device), device)
    [moved] = outbox.settle([settlement]).moved
    assert moved[:2] == (device.pk, "sent")
    assert moved[2] is not None
    assert 0 <= moved[2] < 60_000
    assert outbox.settle([settlement]) == Settled({}, [])
    assert_counters_are_true(campaign)


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"state": "offline"}, "offline"),
        ({"hourly_cap": 0}, "hourly_cap"),
        ({"daily_cap": 0}, "daily_cap"),
    ],
)
def test_a_device_that_may_not_send_says_why(
    workspace: Workspace, lease: Lease, fields: dict[str, object], reason: str
) -> None:
    device = owned_device(workspace, lease, **fields)
    running_campaign(workspace, [device], 1)
    [held] = outbox.claim(lease, ask(device))
    assert isinstance(held, Held)
    assert held.reason == reason


def test_the_pace_holds_from_the_wire(workspace: Workspace, lease: Lease) -> None:
    device = owned_device(workspace, lease, min_delay=10, max_delay=20, last_sent_at=timezone.now())
    running_campaign(workspace, [device], 2)
    claimed = claim_one(lease, device)
    assert claimed.delay == pytest.approx(15)
    wait = outbox.settle([sent(claimed, device, wire_at=time.time() + 2)]).waits[device.pk]
    assert wait == pytest.approx(17, abs=0.5)
    [held] = outbox.claim(lease, ask(device))
    assert isinstance(held, Held)
    assert held.reason == "pace"
    assert held.wait == pytest.approx(wait, abs=0.5)


def test_caps_count_intents_and_give_back_what_was_not_sent(workspace: Workspace, lease: Lease) -> None:
    device = owned_device(workspace, lease, daily_cap=1)
    running_campaign(workspace, [device], 2)
    claimed = claim_one(lease, device)
    outbox.settle(
        [sent(claimed, device, state="waiting", retry_in=0.0, refund=True, counts=True, wire_at=None, wire_id=None)]
    )
    claimed = claim_one(lease, device)
    outbox.settle([sent(claimed, device)])
    [held] = outbox.claim(lease, ask(device))
    assert isinstance(held, Held)
    assert held.reason == "daily_cap"


@pytest.mark.parametrize("stranger", ["epoch", "incarnation", "lease"])
def test_a_host_that_lost_a_device_claims_nothing(workspace: Workspace, lease: Lease, stranger: str) -> None:
    device = owned_device(workspace, lease)
    running_campaign(workspace, [device], 1)
    if stranger == "epoch":
        device.epoch += 1
    elif stranger == "incarnation":
        leases.begin("here", ["simulator"], LeaseTimes())
    else:
        with connection.cursor() as cursor:
            cursor.execute("UPDATE devices_host SET lease_until = now() - interval '1 second'")
    assert outbox.claim(lease, ask(device)) == []


def test_a_paused_campaign_sends_nothing(workspace: Workspace, lease: Lease) -> None:
    device = owned_device(workspace, lease)
    campaign = running_campaign(workspace, [device], 1)
    Stream.objects.filter(campaign=campaign).update(running=False)
    assert outbox.claim(lease, ask(device)) == [Held(device.pk, "idle", None)]


def test_who_opted_out_is_skipped_with_the_reason(workspace: Workspace, lease: Lease) -> None:
    device = owned_device(workspace, lease)
    campaign = running_campaign(workspace, [device], 1)
    message = Message.objects.get(campaign=campaign)
    assert message.contact is not None
    message.contact.opted_out_at = timezone.now()
    message.contact.save()
    assert outbox.claim(lease, ask(device)) == [Held(device.pk, "again", 0)]
    message.refresh_from_db()
    assert (message.state, message.reason) == ("skipped", "opted_out")
    assert_counters_are_true(campaign)


def test_a_waiting_message_comes_back_and_keeps_its_earlier_attempt(workspace: Workspace, lease: Lease) -> None:
    device = owned_device(workspace, lease)
    campaign = running_campaign(workspace, [device], 1)
    first = claim_one(lease, device)
    outbox.settle([sent(first, device, state="waiting", reason="not connected", retry_in=0.0, wire_id=None)])
    second = claim_one(lease, device)
    assert second.message == first.message
    assert second.tag != first.tag
    [earlier] = Attempt.objects.filter(message_id=first.message)
    assert (bytes(earlier.tag), earlier.number, earlier.outcome) == (first.tag, 1, "not connected")
    assert_counters_are_true(campaign)


def test_an_edited_text_is_what_unsent_people_get(workspace: Workspace, lease: Lease) -> None:
    device = owned_device(workspace, lease)
    campaign = running_campaign(workspace, [device], 2)
    first = claim_one(lease, device)
    outbox.settle([sent(first, device)])
    assert change_text(campaign, "Good evening {{ name }}", None)
    second = claim_one(lease, device)
    assert (first.text, second.text) == ("Hello {{ name }}", "Good evening {{ name }}")
    assert Message.objects.get(pk=first.message).content.text == "Hello {{ name }}"
    assert Message.objects.get(pk=second.message).content.text == "Good evening {{ name }}"


def test_an_edited_text_is_what_the_unsent_people_of_its_variant_get(workspace: Workspace, lease: Lease) -> None:
    device = owned_device(workspace, lease)
    campaign = running_campaign(workspace, [device], 2)
    for number, share in ((1, 60), (2, 40)):
        Variant.objects.create(
            workspace=workspace, campaign=campaign, number=number, share=share, content=campaign.content
        )
    Stream.objects.filter(campaign=campaign).update(variant=2)
    first = claim_one(lease, device)
    outbox.settle([sent(first, device)])
    assert not change_text(campaign, "A", None)  # who gets which is decided: there must be a text for each
    assert change_text(campaign, "A", None, others=["B {{ name }}"])
    second = claim_one(lease, device)
    assert (first.text, second.text) == ("Hello {{ name }}", "B {{ name }}")
    assert Message.objects.get(pk=second.message).content.text == "B {{ name }}"


def test_a_takeover_makes_the_open_attempt_uncertain_and_a_late_ack_settles_it(
    workspace: Workspace, lease: Lease
) -> None:
    device = owned_device(workspace, lease, max_delay=60, last_sent_at=timezone.now())
    campaign = running_campaign(workspace, [device], 2)
    claimed = claim_one(lease, device)
    with connection.cursor() as cursor:
        cursor.execute("UPDATE devices_host SET lease_until = now() - interval '1 second'")
    other = leases.begin("there", ["simulator"], LeaseTimes())
    [taken] = leases.take(other, ["simulator"], outbox.abandon, room=10)
    assert (taken.id, taken.epoch) == (device.pk, 2)
    assert Message.objects.get(pk=claimed.message).state == "uncertain"
    assert_counters_are_true(campaign)
    settled = outbox.settle([sent(claimed, device)])
    assert (settled.waits, settled.postponed) == ({}, [])  # the device is no longer that host's
    assert [moved[:2] for moved in settled.moved] == [(device.pk, "sent")]
    assert Message.objects.get(pk=claimed.message).state == "sent"
    assert_counters_are_true(campaign)
    device.refresh_from_db()
    assert device.open_message is None
    assert (device.next_send_at - timezone.now()).total_seconds() > 50


@contextmanager
def locked(table: str, pk: int, lock: str = "UPDATE") -> Iterator[None]:
    """Another session has locked the row, as planning and cancelling do with streams."""
    other = connection.copy()
    other.set_autocommit(False)
    try:
        with other.cursor() as cursor:
            cursor.execute(f"SELECT FROM {table} WHERE id = %s FOR {lock}", [pk])
        yield
    finally:
        other.rollback()
        other.close()


def test_a_locked_campaign_holds_up_nobody_else(workspace: Workspace, lease: Lease) -> None:
    devices = [owned_device(workspace, lease) for _ in range(2)]
    campaigns = [running_campaign(workspace, [device], 2) for device in devices]
    results = [sent(claim_one(lease, device), device) for device in devices]
    with locked("campaigns_stream", Stream.objects.get(campaign=campaigns[0]).pk):
        settled = outbox.settle(results)
        assert set(settled.waits) == {devices[1].pk}
        assert settled.postponed == results[:1]
        assert outbox.claim(lease, ask(devices[0]))[0].reason == "in_flight"  # type: ignore[union-attr]
        claim_one(lease, devices[1])
    assert set(outbox.settle(settled.postponed).waits) == {devices[0].pk}
    for campaign in campaigns:
        assert_counters_are_true(campaign)


def test_a_receipt_whose_stream_is_locked_comes_later_and_holds_up_no_other(workspace: Workspace, lease: Lease) -> None:
    devices = [owned_device(workspace, lease) for _ in range(2)]
    campaigns = [running_campaign(workspace, [device], 1) for device in devices]
    claims = [claim_one(lease, device) for device in devices]
    outbox.settle([sent(claimed, device) for claimed, device in zip(claims, devices, strict=True)])
    receipts = [
        outbox.ReceiptRow(claimed.device, f"id-{claimed.message}", "chat", "delivered", time.time())
        for claimed in claims
    ]
    with locked("campaigns_stream", Stream.objects.get(campaign=campaigns[0]).pk):
        told = outbox.settle_receipts(receipts)
        assert (told.campaigns, told.postponed, told.strangers) == ({campaigns[1].pk}, receipts[:1], [])
    assert outbox.settle_receipts(told.postponed).moved == [(devices[0].pk, 0, 1)]
    for campaign, claimed in zip(campaigns, claims, strict=True):
        assert Message.objects.get(pk=claimed.message).state == "delivered"
        assert_counters_are_true(campaign)


def test_a_device_whose_due_stream_is_locked_is_asked_again_shortly_and_not_at_once(
    workspace: Workspace, lease: Lease
) -> None:
    device = owned_device(workspace, lease)
    campaign = running_campaign(workspace, [device], 1)
    with locked("campaigns_stream", Stream.objects.get(campaign=campaign).pk):
        assert outbox.claim(lease, ask(device)) == [Held(device.pk, "idle", 0.0, locked=True)]
    claim_one(lease, device)


def test_planning_a_first_chunk_holds_up_none_of_its_devices(workspace: Workspace, lease: Lease) -> None:
    device = owned_device(workspace, lease)
    running_campaign(workspace, [device], 2)
    with locked("devices_device", device.pk, "KEY SHARE"):  # as a new stream's foreign key does
        assert device.pk in outbox.settle([sent(claim_one(lease, device), device)]).waits


def test_p15_receipts_move_forward_only(workspace: Workspace, lease: Lease) -> None:
    device = owned_device(workspace, lease)
    campaign = running_campaign(workspace, [device], 1)
    claimed = claim_one(lease, device)
    outbox.settle([sent(claimed, device)])
    wire_id = f"id-{claimed.message}"
    for kind, expected in (("delivered", "delivered"), ("read", "read"), ("delivered", "read")):
        outbox.settle_receipts([outbox.ReceiptRow(device.pk, wire_id, "chat", kind, time.time())])
        assert Message.objects.get(pk=claimed.message).state == expected
        assert_counters_are_true(campaign)
    outbox.settle_receipts([outbox.ReceiptRow(device.pk, "unknown", "chat", "read", time.time())])


def test_planning_more_people_wakes_a_resting_stream(workspace: Workspace, lease: Lease) -> None:
    device = owned_device(workspace, lease)
    campaign = running_campaign(workspace, [device], 1)
    outbox.settle([sent(claim_one(lease, device), device)])
    assert outbox.claim(lease, ask(device)) == [Held(device.pk, "again", 0)]
    make_contact(workspace)
    Campaign.objects.filter(pk=campaign.pk).update(planned_at=None, plan_last=None)
    plan_chunk(campaign.pk, size=10)
    assert outbox.devices_with_due_work(lease) == [device.pk]
    claim_one(lease, device)
