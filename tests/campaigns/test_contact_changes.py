"""Changing many contacts at once: exactly those meant, in steps, once, and with all that hangs on a deleted one."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from accounts.models import AuditEntry, Workspace
from accounts.tenancy import tenant_scope
from campaigns.actions.campaigns import launch_campaign
from campaigns.actions.contact_changes import (
    change_step,
    resume_stalled_changes,
    start_change,
    work_on_change,
)
from campaigns.actions.planning import plan_whole
from campaigns.actions.suppression import suppress
from campaigns.models import (
    ConsentEntry,
    Contact,
    ContactChange,
    Deed,
    Message,
    MessageState,
    Reply,
    Segment,
    Stream,
    Suppression,
    SuppressionSource,
    Tag,
)
from tests.factories import make_campaign, make_contact, make_device, make_workspace

pytestmark = pytest.mark.django_db


def names(workspace: Workspace, **fields) -> set[str]:
    return set(Contact.objects.for_workspace(workspace).filter(**fields).values_list("name", flat=True))


@pytest.fixture
def people(workspace: Workspace) -> Workspace:
    make_contact(workspace, name="Ana", tags=("vip",), fields={"city": "KL"})
    make_contact(workspace, name="Ben", tags=("vip",), status="customer")
    make_contact(workspace, name="Cem")
    make_contact(make_workspace(), name="Eve", tags=("vip",))
    return workspace


ALL: dict[str, Any] = {"query": {}}


def test_a_tag_is_made_and_given_to_whoever_lacks_it(people) -> None:
    change = start_change(people, people.owner, Deed.TAG, ALL, "new")
    assert (change.expected, change.people, change.changed) == (3, 3, 3)
    assert names(people, tag_links__tag__name="new") == {"Ana", "Ben", "Cem"}
    again = start_change(people, people.owner, Deed.TAG, ALL, "new")
    assert (again.people, again.changed) == (3, 0)
    assert start_change(people, people.owner, Deed.TAG, ALL, "vip").changed == 1
    assert Contact.objects.filter(name="Eve", tag_links__tag__name="new").count() == 0


def test_taking_a_tag_off_leaves_it_on_others(people) -> None:
    ana = Contact.objects.get(workspace=people, name="Ana")
    change = start_change(people, people.owner, Deed.UNTAG, {"uuids": [str(ana.uuid)]}, "vip")
    assert (change.expected, change.changed) == (1, 1)
    assert names(people, tag_links__tag__name="vip") == {"Ben"}
    assert Contact.objects.filter(name="Eve", tag_links__tag__name="vip").exists()


def test_untagging_everybody_with_the_tag_reaches_the_last_although_the_list_shrinks(people) -> None:
    change = start_change(people, people.owner, Deed.UNTAG, {"query": {"tag": "vip"}}, "vip")
    assert change.changed == 2
    assert not names(people, tag_links__tag__name="vip")


def test_fields_status_and_device_are_set_where_they_differ(people) -> None:
    device = make_device(people)
    assert start_change(people, people.owner, Deed.FIELD, ALL, "city", "KL").changed == 2
    assert names(people, fields__city="KL") == {"Ana", "Ben", "Cem"}
    assert start_change(people, people.owner, Deed.FIELD, ALL, "city", "").changed == 3
    assert names(people, fields__has_key="city") == set()
    assert start_change(people, people.owner, Deed.STATUS, ALL, value="customer").changed == 2
    assert names(people, status="customer") == {"Ana", "Ben", "Cem"}
    assert start_change(people, people.owner, Deed.DEVICE, ALL, value=str(device.uuid)).changed == 3
    assert names(people, device=device) == {"Ana", "Ben", "Cem"}
    assert start_change(people, people.owner, Deed.DEVICE, ALL, value=str(device.uuid)).changed == 0
    assert start_change(people, people.owner, Deed.DEVICE, ALL).changed == 3


def test_a_device_of_somebody_else_is_not_set(people) -> None:
    foreign = make_device(make_workspace())
    change = start_change(people, people.owner, Deed.DEVICE, ALL, value=str(foreign.uuid))
    assert (change.changed, change.error) == (0, "The device was removed meanwhile.")
    assert names(people, device__isnull=True) == {"Ana", "Ben", "Cem"}


def test_a_stranger_in_the_ticked_rows_is_not_touched(people) -> None:
    eve = Contact.objects.get(name="Eve")
    change = start_change(people, people.owner, Deed.DELETE, {"uuids": [str(eve.uuid)]})
    assert (change.expected, change.changed) == (0, 0)
    assert Contact.objects.filter(name="Eve").exists()


def test_many_go_in_steps_and_whoever_came_later_is_left_out(people) -> None:
    change = ContactChange.objects.create(
        workspace=people, deed=Deed.TAG, name="vip", selection=ALL, up_to=Contact.objects.latest("pk").pk, expected=3
    )
    make_contact(people, name="Late", phone="+60000000000")
    assert not change_step(change.pk, size=2)
    assert not change_step(change.pk, size=1)
    assert change_step(change.pk, size=1)
    change.refresh_from_db()
    assert (change.people, change.changed, change.finished_at is not None) == (3, 1, True)
    assert change_step(change.pk), "a repeat changes nothing"
    assert names(people, tag_links__tag__name="vip") == {"Ana", "Ben", "Cem"}


def test_a_lost_job_is_enqueued_again(people, redis) -> None:
    change = ContactChange.objects.create(
        workspace=people, deed=Deed.STATUS, value="customer", selection=ALL, up_to=2**40, expected=3
    )
    assert resume_stalled_changes() == 0
    ContactChange.objects.update(heartbeat_at=timezone.now() - timedelta(minutes=5))
    assert resume_stalled_changes() == 1
    work_on_change(change.pk)
    assert names(people, status="customer") == {"Ana", "Ben", "Cem"}
    assert resume_stalled_changes() == 0


def test_a_change_whose_segment_is_gone_ends_with_a_reason(people) -> None:
    segment = Segment.objects.create(workspace=people, name="Gone", conditions={"rules": []})
    change = ContactChange.objects.create(
        workspace=people,
        deed=Deed.DELETE,
        selection={"query": {"segment": str(segment.uuid)}},
        up_to=2**40,
        expected=0,
    )
    segment.delete()
    assert change_step(change.pk)
    change.refresh_from_db()
    assert "gone" in change.error
    assert names(people) == {"Ana", "Ben", "Cem"}


def test_deleting_keeps_suppressions_messages_replies_and_consent_and_skips_what_waits(people) -> None:
    device = make_device(people)
    campaign = make_campaign(people, devices=(device,))
    launch_campaign(campaign, people.owner)
    plan_whole(campaign.pk)
    ana, ben = (Contact.objects.get(workspace=people, name=name) for name in ("Ana", "Ben"))
    sent = Message.objects.get(contact=ben)
    Message.objects.filter(pk=sent.pk).update(state=MessageState.SENT, sent_at=timezone.now())
    stream = Stream.objects.get(campaign=campaign)
    Stream.objects.filter(pk=stream.pk).update(pending=2, sent=1)
    Reply.objects.create(workspace=people, device=device, contact=ben, wire_id="A", at=timezone.now(), message=sent)
    ConsentEntry.objects.create(workspace=people, contact=ben, phone=ben.phone, kind="granted", source="Form")
    suppress(people, ben.phone, SuppressionSource.PERSON, "asked", None)
    with tenant_scope(people):
        change = start_change(people, people.owner, Deed.DELETE, {"uuids": [str(ana.uuid), str(ben.uuid)]})
    assert (change.expected, change.changed) == (2, 2)
    assert names(people) == {"Cem"}
    sent.refresh_from_db()
    assert (sent.contact, sent.state, sent.phone) == (None, MessageState.SENT, ben.phone)
    skipped = Message.objects.get(phone=ana.phone)
    assert (skipped.state, skipped.reason) == (MessageState.SKIPPED, "contact_deleted")
    stream.refresh_from_db()
    assert (stream.pending, stream.skipped, stream.sent) == (1, 1, 1)
    assert Reply.objects.get().contact is None
    assert set(ConsentEntry.objects.values_list("phone", "contact")) == {(ben.phone, None)}
    assert Suppression.objects.get(workspace=people).phone == ben.phone


def test_the_ledger_tells_of_the_change_and_of_its_end(people) -> None:
    change = start_change(people, people.owner, Deed.FIELD, {"query": {"tag": "vip"}}, "diagnosis", "private")
    entries = AuditEntry.objects.filter(target=change.target).order_by("pk")
    assert [(entry.action, entry.detail["people"]) for entry in entries] == [
        ("contacts.field", 2),
        ("contacts.field_done", 2),
    ]
    assert "private" not in str([entry.detail for entry in entries])
    assert Tag.objects.for_workspace(people).count() == 1
