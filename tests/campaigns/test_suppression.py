"""Whoever asked to hear no more hears no more: by reply, by hand, as a contact or not, imported again or deleted."""

from __future__ import annotations

import secrets
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from django.db import connection
from django.utils import timezone

from accounts.models import AuditEntry, User, Workspace
from campaigns import outbox
from campaigns.actions.contacts import add_contact
from campaigns.actions.direct import send_test
from campaigns.actions.importing import work_on_import
from campaigns.actions.planning import plan_whole
from campaigns.actions.replies import note_incoming
from campaigns.actions.suppression import suppress, unsuppress
from campaigns.audience import Audience, person_at, reachable, size_of
from campaigns.models import Campaign, CampaignState, Contact, Lane, Message, Suppression, SuppressionSource
from campaigns.outbox import Ask, Claimed, Settlement
from campaigns.sender import render
from devices.gateway.contract import Incoming
from devices.hosting.leases import Lease
from devices.models import Device
from monitoring.invariants import audit, is_clean
from tests.factories import make_campaign, make_contact, make_device, make_import, make_workspace

pytestmark = pytest.mark.django_db(transaction=True)  # claims commit by themselves

STRANGER = "+60123456789"
PERSON = SuppressionSource.PERSON


@pytest.fixture
def workspace(alice: User, charlie: User) -> Workspace:
    return make_workspace(alice, name="Meridian {{ Coffee }}")


@pytest.fixture
def device(workspace: Workspace, lease: Lease) -> Device:
    return make_device(workspace, owner_id=lease.host, epoch=1, min_delay=0, max_delay=0)


def launched(workspace: Workspace, device: Device) -> Campaign:
    campaign = make_campaign(workspace, devices=(device,), state=CampaignState.RUNNING)
    Campaign.objects.filter(pk=campaign.pk).update(launched_at=timezone.now())
    plan_whole(campaign.pk)
    return campaign


def leaves(lease: Lease, device: Device) -> list[Claimed]:
    """Everything that leaves through the device now, each acknowledged."""
    left = []
    for _ in range(20):
        [answer] = outbox.claim(lease, [Ask(device.pk, 1, 0.5, secrets.token_bytes(32))])
        if isinstance(answer, Claimed):
            left.append(answer)
            attempt = (answer.device, answer.epoch, answer.message, answer.tag)
            outbox.settle([Settlement(*attempt, "sent", "", render(answer), 0.0, wire_id=f"id-{answer.message}")])
        elif answer.reason == "idle":
            break
    return left


def says(device: Device, sender: str, text: str, chat: str = "") -> Incoming:
    return Incoming(device.pk, chat or f"{sender[1:]}@s.whatsapp.net", sender, secrets.token_hex(8), text, time.time())


# ---- the list, and the claim that obeys it


@pytest.mark.parametrize("how", ["by a person", "by a reply"])
def test_p9_an_opt_out_holds_from_its_answer(workspace: Workspace, lease: Lease, device: Device, how: str) -> None:
    contact, other = make_contact(workspace), make_contact(workspace)
    campaign = launched(workspace, device)
    send_test(device, contact.phone, "Only for you", None)
    if how == "by a person":
        suppress(workspace, contact.phone, PERSON, "said so", workspace.owner)
    else:
        note_incoming([says(device, contact.phone, "Stop.")])
    left = leaves(lease, device)
    confirmations = [claimed for claimed in left if claimed.phone == contact.phone]
    assert [claimed.campaign for claimed in confirmations] == ([] if how == "by a person" else [None])
    assert [claimed.phone for claimed in left if claimed.campaign] == [other.phone]
    skipped = Message.objects.filter(phone=contact.phone, state="skipped")
    assert set(skipped.values_list("campaign", "reason")) == {(campaign.pk, "opted_out"), (None, "suppressed")}
    assert is_clean(audit()), audit()


def test_a_number_that_is_no_contact_is_suppressed_too(workspace: Workspace, lease: Lease, device: Device) -> None:
    assert suppress(workspace, STRANGER, PERSON, "called us", workspace.owner)
    send_test(device, STRANGER, "Hello?", None)
    assert leaves(lease, device) == []
    entry = AuditEntry.objects.get(action="contact.opted_out")
    assert entry.target == "number:+601******89"
    assert entry.detail == {"source": "person", "reason": "called us"}


def test_suppressing_twice_happens_once_also_at_the_same_time(workspace: Workspace) -> None:
    contact = make_contact(workspace)

    def attempt(reason: str) -> bool:
        try:
            return suppress(workspace, contact.phone, PERSON, reason, workspace.owner)
        finally:
            connection.close()

    with ThreadPoolExecutor(4) as pool:
        assert sorted(pool.map(attempt, "abcd")) == [False, False, False, True]
    contact.refresh_from_db()
    assert contact.opted_out_reason == Suppression.objects.get().reason
    assert AuditEntry.objects.filter(action="contact.opted_out").count() == 1


def test_another_workspace_may_still_write_to_the_number(workspace: Workspace, lease: Lease) -> None:
    elsewhere = make_workspace()
    suppress(workspace, STRANGER, PERSON, "said so", workspace.owner)
    theirs = make_device(elsewhere, owner_id=lease.host, epoch=1, min_delay=0, max_delay=0)
    send_test(theirs, STRANGER, "Hello", None)
    assert [claimed.phone for claimed in leaves(lease, theirs)] == [STRANGER]


def test_taking_an_opt_out_back_needs_a_reason_and_lets_messages_pass_again(
    workspace: Workspace, lease: Lease, device: Device
) -> None:
    contact = make_contact(workspace)
    suppress(workspace, contact.phone, PERSON, "said so", workspace.owner)
    for reason, source in ((" ", "In the shop"), ("asked again", "")):
        with pytest.raises(ValueError, match="needs a reason"):
            unsuppress(workspace, contact.phone, reason, workspace.owner, consent_source=source)
    assert unsuppress(workspace, contact.phone, "asked again", workspace.owner, consent_source="In the shop")
    assert not unsuppress(workspace, contact.phone, "asked again", workspace.owner, consent_source="In the shop")
    contact.refresh_from_db()
    assert (contact.opted_out_at, contact.opted_out_reason) == (None, "")
    launched(workspace, device)
    assert [claimed.phone for claimed in leaves(lease, device)] == [contact.phone]
    assert AuditEntry.objects.get(action="contact.opt_out_taken_back").detail == {
        "reason": "asked again",
        "consent_source": "In the shop",
    }


# ---- STOP


def test_stop_is_confirmed_once_on_the_same_device_and_passes_the_suppression(
    workspace: Workspace, lease: Lease, device: Device
) -> None:
    make_device(workspace, owner_id=lease.host, epoch=1)
    contact = make_contact(workspace)
    for word in ("STOP", "stop!", "berhenti"):
        note_incoming([says(device, contact.phone, word)])
    message = Message.objects.get()
    assert (message.confirms_stop, message.contact, message.stream.device) == (True, contact, device)
    assert message.stream.lane == Lane.DIRECT
    assert len(leaves(lease, device)) == 1
    message.refresh_from_db()
    assert message.state == "sent"
    assert message.text == "You will hear no more from Meridian Coffee. This is the last message."
    note_incoming([says(device, contact.phone, "stop")])
    assert leaves(lease, device) == []
    suppression = Suppression.objects.get()
    assert (suppression.source, suppression.phone) == ("reply", contact.phone)
    assert is_clean(audit()), audit()


def test_stop_from_a_number_that_is_no_contact_is_suppressed_and_confirmed(
    workspace: Workspace, lease: Lease, device: Device
) -> None:
    note_incoming([says(device, STRANGER, "СТОП")])
    assert Suppression.objects.for_workspace(workspace).get().phone == STRANGER
    assert [claimed.phone for claimed in leaves(lease, device)] == [STRANGER]


def test_stop_in_a_chat_whose_number_is_hidden_is_known_by_what_was_sent_there(
    workspace: Workspace, lease: Lease, device: Device
) -> None:
    contact = make_contact(workspace)
    launched(workspace, device)
    leaves(lease, device)
    Message.objects.update(chat="184467440737095@lid")
    for chat in ("184467440737095@lid", "999@lid"):
        note_incoming([says(device, chat, "stop", chat)])
    assert Suppression.objects.get().phone == contact.phone


def test_after_an_opt_out_was_taken_back_stop_is_confirmed_again(workspace: Workspace, device: Device) -> None:
    for _ in range(2):
        note_incoming([says(device, STRANGER, "stop")])
        unsuppress(workspace, STRANGER, "asked again", workspace.owner, consent_source="In the shop")
    assert Message.objects.filter(confirms_stop=True).count() == 2


def test_a_member_who_noted_it_first_leaves_nothing_to_confirm(workspace: Workspace, device: Device) -> None:
    suppress(workspace, STRANGER, PERSON, "called us", workspace.owner)
    note_incoming([says(device, STRANGER, "stop")])
    assert not Message.objects.exists()


def test_two_devices_that_hear_stop_at_once_confirm_once(workspace: Workspace, lease: Lease, device: Device) -> None:
    other = make_device(workspace, owner_id=lease.host, epoch=1)

    def hear(by: Device) -> None:
        try:
            note_incoming([says(by, STRANGER, "stop")])
        finally:
            connection.close()

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(hear, [device, other] * 4))
    assert Message.objects.filter(confirms_stop=True).count() == 1
    assert is_clean(audit()), audit()


def test_a_request_to_stop_counts_as_a_reply_to_the_campaign(
    workspace: Workspace, lease: Lease, device: Device
) -> None:
    contact = make_contact(workspace)
    campaign = launched(workspace, device)
    leaves(lease, device)
    assert note_incoming([says(device, contact.phone, "stop")]).campaigns == {campaign.pk}
    stream = campaign.streams.get()
    assert stream.replied == 1
    assert is_clean(audit()), audit()


def test_replies_are_counted_while_a_device_warms_up(workspace: Workspace, device: Device) -> None:
    note_incoming([says(device, STRANGER, "Good morning")])
    Device.objects.update(warm_cap=20)
    note_incoming([says(device, STRANGER, "Still there?"), says(device, STRANGER, "stop")])
    device.refresh_from_db()
    assert device.warm_replies == 2


# ---- contacts come and go, the suppression stays


def test_a_suppressed_number_is_imported_as_opted_out_and_deleting_it_changes_nothing(
    workspace: Workspace,
) -> None:
    suppress(workspace, STRANGER, PERSON, "called us", workspace.owner)
    file = f"Phone,Name\n{STRANGER},Siti\n+60123456788,Ali\n".encode()
    for _ in range(2):
        work_on_import(make_import(workspace, file).pk)
        siti = Contact.objects.get(phone=STRANGER)
        assert siti.opted_out_at == Suppression.objects.get().created_at
        assert siti.opted_out_reason == "called us"
        assert Contact.objects.get(phone="+60123456788").opted_out_at is None
        Contact.objects.all().delete()
        assert Suppression.objects.get().phone == STRANGER


def test_an_import_of_another_workspace_knows_nothing_of_it(workspace: Workspace) -> None:
    suppress(make_workspace(), STRANGER, PERSON, "called them", workspace.owner)
    work_on_import(make_import(workspace, f"Phone\n{STRANGER}\n".encode()).pk)
    assert Contact.objects.get().opted_out_at is None


def test_a_suppressed_number_added_by_hand_has_opted_out(workspace: Workspace) -> None:
    suppress(workspace, STRANGER, PERSON, "called us", workspace.owner)
    given: Any = {"name": "Siti", "tags": [], "consent_source": "In the shop"}
    contact, created = add_contact(workspace, workspace.owner, phone=STRANGER, **given)
    assert created
    assert contact.opted_out_at is not None


def test_audiences_count_the_suppressed_as_opted_out(workspace: Workspace) -> None:
    marked, unmarked, agreeing = (make_contact(workspace) for _ in range(3))
    suppress(workspace, marked.phone, PERSON, "said so", workspace.owner)
    # As when somebody is imported and suppressed in the same instant.
    Suppression.objects.create(workspace=workspace, phone=unmarked.phone, source=PERSON)
    Suppression.objects.create(workspace=make_workspace(), phone=agreeing.phone, source=PERSON)
    people = Audience(everyone=True).contacts(workspace)
    size = size_of(people)
    assert (size.people, size.opted_out, size.reachable) == (3, 2, 1)
    assert list(reachable(people)) == [agreeing]
    assert person_at(people, 1) == agreeing
