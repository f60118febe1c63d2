"""Erasing a person: nothing names them any more, every figure is what it was, and they do not come back."""

from __future__ import annotations

import threading
from datetime import timedelta

import pytest
from django.apps import apps
from django.db import connection, transaction
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from accounts.models import AuditEntry, Workspace
from accounts.tenancy import tenant_scope
from campaigns import outbox
from campaigns.actions.contacts import Erased, add_contact
from campaigns.actions.dead_letters import retry_failed
from campaigns.actions.direct import send_test
from campaigns.actions.doubts import settle_doubts
from campaigns.actions.erasing import erase_contact, is_erased
from campaigns.actions.replies import note_incoming
from campaigns.actions.suppression import suppress
from campaigns.erasures import digest
from campaigns.live import streams_of, unsettled
from campaigns.models import (
    Campaign,
    ConsentEntry,
    Contact,
    ContactImport,
    Erasure,
    ImportReject,
    ImportRow,
    ImportState,
    Message,
    NumberCheck,
    Reply,
    Stream,
    Suppression,
    SuppressionSource,
    Uncertain,
)
from campaigns.querysets.unsettled import Selection, count_dead
from devices.gateway.contract import Incoming
from devices.hosting.leases import Lease
from devices.models import Device
from monitoring.invariants import audit, is_clean
from tests.campaigns.outbox_cases import assert_counters_are_true, claim_one, owned_device, running_campaign, sent
from tests.campaigns.test_contacts_import import imported
from tests.campaigns.waiting_for_locks import PATIENCE_S, someone_waits, while_held
from tests.factories import make_contact, make_workspace

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def device(workspace: Workspace, lease: Lease) -> Device:
    return owned_device(workspace, lease)


def first_of(workspace: Workspace) -> Contact:
    return Contact.objects.for_workspace(workspace).select_related("workspace").earliest("pk")


def traces(*words: str) -> list[str]:
    """Every table and column of this application that holds one of these words in any row."""
    found = []
    for model in apps.get_app_config("campaigns").get_models():
        for row in model._base_manager.values():
            found += [f"{model.__name__}.{name}" for name, value in row.items() if any(w in str(value) for w in words)]
    found += [f"AuditEntry {entry.action}" for entry in AuditEntry.objects.all() if words[0] in str(entry.detail)]
    return found


def test_nothing_names_them_any_more_and_the_figures_stay(workspace: Workspace, lease: Lease, device: Device) -> None:
    campaign = running_campaign(workspace, [device], 2)
    contact = first_of(workspace)
    Contact.objects.filter(pk=contact.pk).update(name="Zephyrine", fields={"city": "Zanzibar"})
    claimed = claim_one(lease, device)
    outbox.settle([sent(claimed, device, text="Dear Zephyrine", chat=f"{contact.phone[1:]}@s.whatsapp.net")])
    send_test(device, contact.phone, "Zephyrine, are you there?", workspace.owner)
    heard = Incoming(device.pk, f"{contact.phone[1:]}@s.whatsapp.net", contact.phone, "A", "I am Zephyrine", 1.8e9)
    note_incoming([heard])
    suppress(workspace, contact.phone, SuppressionSource.PERSON, "said so", workspace.owner)
    NumberCheck.objects.create(workspace=workspace, phone=contact.phone, on_whatsapp=True)
    before = Stream.objects.filter(campaign=campaign).totals()
    with tenant_scope(workspace):
        assert erase_contact(contact, workspace.owner)
    assert traces(contact.phone, contact.phone[1:], "Zephyrine", "Zanzibar") == []
    assert Stream.objects.filter(campaign=campaign).totals() == before
    assert_counters_are_true(campaign)
    assert is_clean(audit()), audit()
    message = Message.objects.get(campaign=campaign, phone="")
    assert (message.state, message.text, message.contact) == ("sent", None, None)
    assert Message.objects.get(campaign=None).reason == "erased"
    assert set(ConsentEntry.objects.values_list("contact", "phone", "kind")) == {(None, "", "withdrawn")}
    assert not Suppression.objects.exists()
    assert Reply.objects.get().text == ""
    entry = AuditEntry.objects.get(action="contact.erased")
    assert (entry.target, entry.detail) == (f"contact:{contact.uuid}", {"messages": 2, "cancelled": 1})
    assert Erasure.objects.get().digest == digest(contact.phone)
    outbox.settle_receipts([outbox.ReceiptRow(device.pk, f"id-{claimed.message}", "chat", "read", 1.8e9)])
    message.refresh_from_db()
    assert message.state == "read"  # and goes on counting
    assert is_clean(audit()), audit()


def test_what_waits_for_them_is_cancelled_and_nobody_else_is_touched(
    workspace: Workspace, lease: Lease, device: Device
) -> None:
    campaign = running_campaign(workspace, [device], 3)
    contact = first_of(workspace)
    twin = make_contact(make_workspace(), phone=contact.phone)
    assert erase_contact(contact, workspace.owner)
    assert sorted(Message.objects.values_list("state", "reason")) == [
        ("cancelled", "erased"), ("pending", ""), ("pending", ""),
    ]  # fmt: skip
    assert_counters_are_true(campaign)
    assert claim_one(lease, device).phone not in ("", contact.phone)
    assert Contact.objects.filter(pk=twin.pk).exists()
    assert not is_erased(twin.workspace, contact.phone)
    assert is_clean(audit()), audit()
    assert erase_contact(contact, workspace.owner)  # once more changes nothing
    assert Erasure.objects.count() == 1


def test_a_message_that_is_leaving_is_waited_for(workspace: Workspace, lease: Lease, device: Device) -> None:
    running_campaign(workspace, [device], 1)
    other = owned_device(workspace, lease)
    later = running_campaign(workspace, [other], 0)
    contact = first_of(workspace)
    claimed = claim_one(lease, device)
    assert not erase_contact(contact, workspace.owner)
    assert Contact.objects.filter(pk=contact.pk).exists()
    assert Message.objects.get(campaign=later).state == "cancelled"
    outbox.settle([sent(claimed, device, text="Hello")])
    assert erase_contact(contact, workspace.owner)
    assert set(Message.objects.values_list("phone", "text")) == {("", None)}
    assert is_clean(audit()), audit()


def test_what_failed_or_is_uncertain_is_never_tried_again(workspace: Workspace, lease: Lease, device: Device) -> None:
    campaign = running_campaign(workspace, [device], 2)
    for state in ("dead", "uncertain"):
        outbox.settle([sent(claim_one(lease, device), device, state=state, reason="x", wire_id=None)])
    for contact in Contact.objects.for_workspace(workspace).select_related("workspace"):
        assert erase_contact(contact, workspace.owner)
    assert Uncertain.objects.get().phone == ""
    Uncertain.objects.update(since=timezone.now() - timedelta(days=3))
    Campaign.objects.update(uncertain_policy="resend")
    campaign.refresh_from_db()
    left = unsettled(campaign, streams_of([campaign])[campaign.pk])
    assert left
    assert (left.failed, left.retryable, left.uncertain, left.sendable) == (1, 0, 1, 0)
    assert "Whoever was deleted or erased from the contacts gets nothing any more" in left.closed
    assert count_dead(Selection(campaign, timezone.now())) == 0
    assert retry_failed(Selection(campaign, timezone.now()), workspace.owner) == 0
    assert settle_doubts() == 0
    assert sorted(Message.objects.values_list("state", flat=True)) == ["dead", "uncertain"]
    assert is_clean(audit()), audit()


def test_messages_of_a_contact_deleted_earlier_go_too(workspace: Workspace, device: Device) -> None:
    running_campaign(workspace, [device], 1)
    phone = first_of(workspace).phone
    Contact.objects.for_workspace(workspace).delete()
    contact = make_contact(workspace, phone=phone)
    contact.refresh_from_db()
    assert erase_contact(contact, workspace.owner)
    assert traces(phone) == []


def test_they_are_not_added_again_by_hand(workspace: Workspace, as_alice: Client) -> None:
    contact = make_contact(workspace, phone="+60123456789")
    contact.refresh_from_db()
    erase_contact(contact, workspace.owner)
    with pytest.raises(Erased):
        add_contact(workspace, workspace.owner, phone="+60123456789", name="", tags=[], consent_source="Shop")
    answer = as_alice.post(reverse("campaigns:contact_add"), {"phone": "012-345 6789", "consent": "Wrote to us first"})
    assert answer.status_code == 422
    assert "was erased for good" in answer.content.decode()
    assert not Contact.objects.for_workspace(workspace).exists()


def test_the_page_says_what_goes_and_asks_for_the_last_digits(as_alice: Client, workspace: Workspace) -> None:
    contact = make_contact(workspace, name="<b>Siti</b>", phone="+60123456789")
    url = reverse("campaigns:contact_erase", args=[contact.uuid])
    page = as_alice.get(url).content.decode()
    assert "&lt;b&gt;Siti&lt;/b&gt;" in page
    for wrong in ("", "6788", "+60123456789", "\0"):
        assert as_alice.post(url, {"digits": wrong}).status_code == 422
    assert Contact.objects.filter(pk=contact.pk).exists()
    assert as_alice.post(url, {"digits": "6789"}).status_code == 302
    assert not Contact.objects.filter(pk=contact.pk).exists()
    assert as_alice.post(url, {"digits": "6789"}).status_code == 404


def test_the_page_says_when_a_message_is_leaving(
    as_alice: Client, workspace: Workspace, lease: Lease, device: Device
) -> None:
    running_campaign(workspace, [device], 1)
    contact = first_of(workspace)
    claim_one(lease, device)
    answer = as_alice.post(reverse("campaigns:contact_erase", args=[contact.uuid]), {"digits": contact.phone[-4:]})
    assert answer.status_code == 422
    assert "is leaving at this moment" in answer.content.decode()


def test_a_stop_that_arrives_meanwhile_is_honoured_and_brings_nobody_back(
    workspace: Workspace, lease: Lease, device: Device
) -> None:
    campaign = running_campaign(workspace, [device], 1)
    outbox.settle([sent(claim_one(lease, device), device, chat="c@s.whatsapp.net")])
    contact = first_of(workspace)
    errors: list[Exception] = []

    def stop() -> None:
        try:
            note_incoming([Incoming(device.pk, "c@s.whatsapp.net", contact.phone, "A", "stop", 1.8e9)])
        except Exception as error:
            errors.append(error)
        finally:
            connection.close()

    thread = threading.Thread(target=stop)
    with transaction.atomic():
        assert Contact.objects.filter(pk=contact.pk).select_for_update().exists()
        list(Contact.objects.filter(pk=contact.pk).select_for_update())
        thread.start()
        waiting = threading.Event()
        while not someone_waits():
            assert thread.is_alive(), errors
            waiting.wait(0.01)
        assert erase_contact(contact, workspace.owner)
    thread.join(PATIENCE_S)
    assert not thread.is_alive()
    assert not errors
    assert Suppression.objects.get().phone == contact.phone
    reply = Reply.objects.get()
    assert (reply.text, reply.contact, reply.message) == ("stop", None, None)
    assert not Contact.objects.for_workspace(workspace).exists()
    assert Message.objects.get(campaign=campaign).phone == ""
    assert_counters_are_true(campaign)
    assert is_clean(audit()), audit()


def test_rows_of_imports_forget_them_too_and_nobody_else(workspace: Workspace) -> None:
    for phone in ("+60123456788", "+60123456789"):
        suppress(workspace, phone, SuppressionSource.PERSON, "asked", workspace.owner)
    made = imported(
        workspace,
        "Name,Phone,City\nAnn,0123456788,Ipoh\nZephyrine,012-345 6789,Ipoh\n"
        "Zephyrine,012-345 6789 / 0123456788,Ipoh\nBen,12345678,Ipoh\n",
    )
    assert (made.kept_out, made.rejected, made.saved_up_to) == (2, 2, "+60123456789")
    twin = make_workspace()
    imported(twin, "Name,Phone\nZephyrine,012-345 6789 / 0123456788\n")
    contact = Contact.objects.for_workspace(workspace).select_related("workspace").get(phone="+60123456789")
    assert erase_contact(contact, workspace.owner)
    ImportReject.objects.for_workspace(twin).get(cells__contains=["Zephyrine"]).delete()
    assert traces("+60123456789", "3456789", "345 6789", "Zephyrine") == []
    emptied, other = made.rejects.order_by("row")
    assert (emptied.cells, emptied.reason) == ([], "It was about a person who was erased since")
    assert other.cells == ["Ben", "12345678", "Ipoh"]
    made.refresh_from_db()
    assert (made.kept_out, made.rejected, made.saved_up_to) == (1, 2, "+60123456788")
    assert made.kept_out_rows.get().name == "Ann"


def test_an_import_that_runs_ends_its_step_first_and_goes_on_without_them(workspace: Workspace) -> None:
    contact = make_contact(workspace)
    contact.refresh_from_db()
    running = ContactImport.objects.create(workspace=workspace, state=ImportState.RUNNING, contacts=2)
    for phone in (contact.phone, "+60123456789"):
        ImportRow.objects.create(workspace=workspace, contact_import=running, phone=phone, name="N")
    of_import = ContactImport.objects.filter(pk=running.pk)
    while_held(lambda: of_import.update(rows_done=2), lambda: erase_contact(contact, workspace.owner))
    running.refresh_from_db()
    assert (running.contacts, running.rows.get().phone) == (1, "+60123456789")
