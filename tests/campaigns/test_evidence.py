"""Evidence: what settles a message that nobody knew about, and what does not."""

from __future__ import annotations

import time

import pytest
from django.db import connection

from accounts.models import Workspace
from campaigns import outbox
from campaigns.models import Campaign, Message, Stream, Uncertain, WireId
from campaigns.outbox import Claimed, ReceiptRow, Settlement
from devices.hosting import leases
from devices.hosting.leases import Lease, LeaseTimes
from devices.models import Device
from monitoring.invariants import audit, is_clean
from tests.campaigns.outbox_cases import assert_counters_are_true, claim_one, owned_device, running_campaign, sent

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def device(workspace: Workspace, lease: Lease) -> Device:
    return owned_device(workspace, lease)


def doubted(workspace: Workspace, lease: Lease, device: Device) -> tuple[Campaign, Claimed]:
    """A campaign whose one message is uncertain."""
    campaign = running_campaign(workspace, [device], 1)
    claimed = claim_one(lease, device)
    outbox.settle(
        [Settlement(device.pk, device.epoch, claimed.message, claimed.tag, "uncertain", "timed out", "Hello", 0.0)]
    )
    message = Message.objects.get(pk=claimed.message)
    found = Uncertain.objects.get(message=message)
    assert (message.state, found.phone, bytes(found.tag)) == ("uncertain", claimed.phone, claimed.tag)
    assert_counters_are_true(campaign)
    return campaign, claimed


def state_of(claimed: Claimed) -> str:
    return Message.objects.get(pk=claimed.message).state


def receipt(device: Device, wire_id: str, chat: str = "chat@lid", at: float | None = None) -> ReceiptRow:
    return ReceiptRow(device.pk, wire_id, chat, "delivered", at or time.time())


def assert_settled(campaign: Campaign, claimed: Claimed, state: str) -> None:
    assert state_of(claimed) == state
    assert not Uncertain.objects.filter(message_id=claimed.message).exists()
    assert_counters_are_true(campaign)
    assert is_clean(audit()), audit()["violations"]


def test_p17_only_an_acknowledgement_makes_it_sent(workspace: Workspace, lease: Lease, device: Device) -> None:
    campaign, claimed = doubted(workspace, lease, device)
    outbox.settle([sent(claimed, device)])
    assert_settled(campaign, claimed, "sent")


def test_a_late_acknowledgement_settles_what_was_assumed(workspace: Workspace, lease: Lease, device: Device) -> None:
    campaign, claimed = doubted(workspace, lease, device)
    Message.objects.filter(pk=claimed.message).update(state="assumed")
    Uncertain.objects.all().delete()
    Stream.objects.filter(campaign=campaign).update(uncertain=0, assumed=1)
    outbox.settle([sent(claimed, device)])
    assert_settled(campaign, claimed, "sent")


def test_the_session_files_id_and_a_receipt_for_it_settle_it(
    workspace: Workspace, lease: Lease, device: Device
) -> None:
    campaign, claimed = doubted(workspace, lease, device)
    [doubt] = outbox.doubts_of([device.pk])
    assert (doubt.device, doubt.tag) == (device.pk, claimed.tag)
    assert outbox.doubts_of([device.pk]) == [doubt], "the question may be lost with its gateway"
    assert outbox.note_evidence(device.pk, {doubt.tag: None}) == 0
    assert outbox.doubts_of([device.pk]) == [], "a file is not searched again and again"
    assert outbox.note_evidence(device.pk, {doubt.tag: "3EB0FOUND"}) == 1
    assert state_of(claimed) == "uncertain", "an id in the file proves no arrival"
    outbox.settle_receipts([receipt(device, "3EB0FOUND")])
    assert_settled(campaign, claimed, "delivered")


def test_another_devices_evidence_proves_nothing(workspace: Workspace, lease: Lease, device: Device) -> None:
    _, claimed = doubted(workspace, lease, device)
    other = owned_device(workspace, lease)
    assert outbox.note_evidence(other.pk, {claimed.tag: "3EB0FOUND"}) == 0
    assert not WireId.objects.exists()


def test_a_receipt_for_an_unknown_id_in_the_persons_chat_settles_it(
    workspace: Workspace, lease: Lease, device: Device
) -> None:
    campaign, claimed = doubted(workspace, lease, device)
    chat = f"{claimed.phone[1:]}@s.whatsapp.net"
    outbox.settle_receipts([receipt(device, "3EB0UNKNOWN", chat)])
    assert_settled(campaign, claimed, "delivered")
    assert Message.objects.get(pk=claimed.message).wire_id == "3EB0UNKNOWN"


def test_a_chat_known_from_an_earlier_message_is_the_persons(
    workspace: Workspace, lease: Lease, device: Device
) -> None:
    campaign, claimed = doubted(workspace, lease, device)
    earlier = running_campaign(workspace, [device], 0)  # to the same person
    first = claim_one(lease, device)
    assert first.phone == claimed.phone
    outbox.settle([sent(first, device, chat="777@lid")])
    outbox.settle_receipts([receipt(device, "3EB0UNKNOWN", "777@lid")])
    assert_settled(campaign, claimed, "delivered")
    assert_counters_are_true(earlier)


@pytest.mark.parametrize("wrong", ["chat", "device", "time"])
def test_a_receipt_of_another_chat_device_or_time_settles_nothing(
    workspace: Workspace, lease: Lease, device: Device, wrong: str
) -> None:
    _, claimed = doubted(workspace, lease, device)
    chat = "60000000@s.whatsapp.net" if wrong == "chat" else f"{claimed.phone[1:]}@s.whatsapp.net"
    heard_by = owned_device(workspace, lease) if wrong == "device" else device
    outbox.settle_receipts([receipt(heard_by, "3EB0X", chat, time.time() - 60 if wrong == "time" else None)])
    assert state_of(claimed) == "uncertain"
    assert not WireId.objects.exists()


def test_p17_an_unknown_id_proves_neither_of_two_doubts_about_one_person(
    workspace: Workspace, lease: Lease, device: Device
) -> None:
    _, first = doubted(workspace, lease, device)
    second = claim_again(workspace, lease, device)
    assert first.phone == second.phone
    outbox.settle_receipts([receipt(device, "3EB0X", f"{first.phone[1:]}@s.whatsapp.net")])
    assert (state_of(first), state_of(second)) == ("uncertain", "uncertain")
    assert not WireId.objects.exists()


def claim_again(workspace: Workspace, lease: Lease, device: Device) -> Claimed:
    running_campaign(workspace, [device], 0)
    claimed = claim_one(lease, device)
    outbox.settle([Settlement(device.pk, device.epoch, claimed.message, claimed.tag, "uncertain", "", "Hi", 0.0)])
    return claimed


def test_p5_a_takeover_marks_the_open_attempt_for_evidence(workspace: Workspace, lease: Lease, device: Device) -> None:
    running_campaign(workspace, [device], 1)
    claimed = claim_one(lease, device)
    with connection.cursor() as cursor:
        cursor.execute("UPDATE devices_host SET lease_until = now() - interval '1 second'")
    leases.take(leases.begin("there", ["simulator"], LeaseTimes()), ["simulator"], outbox.abandon, room=10)
    [doubt] = outbox.doubts_of([device.pk])
    assert doubt.tag == claimed.tag
