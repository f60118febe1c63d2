"""Moving everybody who knows a device to another one, with what waits for them: counted, shown and told."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Any

import pytest
from django.db.models import F
from django.test import Client
from django.urls import reverse

from accounts.models import AuditEntry, Workspace
from campaigns.actions import in_steps
from campaigns.actions.contact_moves import move_contacts, move_step, resume_stalled_moves, work_on_move
from campaigns.models import Campaign, Contact, ContactMove, Message
from devices.models import Device, DeviceEvent
from monitoring.invariants import audit, is_clean
from tests.campaigns.campaign_cases import planned_campaign, words
from tests.factories import make_contact, make_device, make_host, make_workspace

pytestmark = pytest.mark.django_db


@pytest.fixture
def campaign(workspace: Workspace) -> Campaign:
    """Ten people over two devices: five know the first one."""
    return planned_campaign(workspace, people=10, devices=2)


@pytest.fixture
def source(campaign: Campaign) -> Device:
    return campaign.device_links.order_by("device_id")[0].device


@pytest.fixture
def to(workspace: Workspace) -> Device:
    return make_device(workspace, name="Fresh", owner=make_host())


def knowing(device: Device) -> int:
    return Contact.objects.filter(device=device).count()


def waiting_at(device: Device) -> int:
    return Message.objects.filter(stream__device=device, state="pending").count()


def test_people_and_what_waits_for_them_move_and_a_repeat_changes_nothing(
    workspace: Workspace, campaign: Campaign, source: Device, to: Device
) -> None:
    make_contact(workspace, device=source)  # nothing waits for this one
    move = move_contacts(source, to, workspace.owner)
    assert move is not None
    assert (move.expected, move.people, move.messages) == (6, 6, 5)
    assert move.finished_at is not None
    assert (knowing(source), knowing(to), waiting_at(source), waiting_at(to)) == (0, 6, 0, 5)
    for message in Message.objects.filter(campaign=campaign).select_related("contact", "stream"):
        assert message.contact
        assert message.stream.device_id == message.contact.device_id
    again = move_contacts(source, to, workspace.owner)
    assert again is not None
    assert (again.people, again.messages) == (0, 0)
    assert is_clean(audit()), audit()
    assert AuditEntry.objects.filter(action="device.people_moved").order_by("pk")[0].detail["people"] == 6
    told = AuditEntry.objects.get(action="campaign.messages_moved")
    assert (told.target, told.detail["people"], told.detail["to"]) == (campaign.target, 5, ["Fresh"])
    event = DeviceEvent.objects.filter(device=source, kind="people moved").order_by("pk")[0]
    assert event.detail == f"6 people and 5 messages to Fresh; by {workspace.owner}"


def test_what_somebody_else_is_to_get_from_the_device_stays(
    workspace: Workspace, campaign: Campaign, source: Device, to: Device
) -> None:
    someone = Contact.objects.filter(device=source)[0]
    Contact.objects.filter(pk=someone.pk).update(device=to)
    move_contacts(source, to, None)
    assert (waiting_at(source), waiting_at(to)) == (1, 4)
    assert is_clean(audit()), audit()


def test_a_campaigns_cap_for_a_device_holds(workspace: Workspace, to: Device) -> None:
    campaign = planned_campaign(workspace, people=10, devices=2, device_cap=5)
    source = campaign.device_links.order_by("device_id")[0].device
    Campaign.objects.update(device_cap=3)
    move_contacts(source, to, None)
    assert (knowing(source), waiting_at(source), waiting_at(to)) == (0, 2, 3)


def test_many_move_in_steps_and_another_process_goes_on_where_one_ended(
    campaign: Campaign, source: Device, to: Device, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(in_steps, "STEP", 2)
    move = move_contacts(source, to, None)
    assert move is not None
    assert move.finished_at is None
    assert (knowing(to), move_contacts(source, to, None)) == (0, None), "one at a time"
    assert not move_step(move.pk, 2)
    assert (knowing(source), knowing(to), waiting_at(to)) == (3, 2, 2)
    assert resume_stalled_moves() == 0
    ContactMove.objects.update(heartbeat_at=F("heartbeat_at") - timedelta(minutes=2))
    assert resume_stalled_moves() == 1
    work_on_move(move.pk)
    work_on_move(move.pk)
    move.refresh_from_db()
    assert (move.people, move.messages, knowing(source)) == (5, 5, 0)
    assert is_clean(audit()), audit()


def test_who_meets_the_device_meanwhile_moves_too(
    workspace: Workspace, campaign: Campaign, source: Device, to: Device, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(in_steps, "STEP", 2)
    move = move_contacts(source, to, None)
    assert move is not None
    move_step(move.pk, 4)
    make_contact(workspace, phone="+100000000", device=source)  # behind the last number
    work_on_move(move.pk)
    assert (knowing(source), knowing(to)) == (0, 6)


def test_people_move_within_their_workspace_only(workspace: Workspace, source: Device) -> None:
    with pytest.raises(ValueError, match="same workspace"):
        move_contacts(source, make_device(make_workspace()), None)
    with pytest.raises(ValueError, match="another device"):
        move_contacts(source, source, None)


# ---- the card


def url(device: Device) -> str:
    return reverse("campaigns:move_people", args=[device.uuid])


def test_the_card_counts_first_asks_and_then_says_what_was_done(as_alice: Client, source: Device, to: Device) -> None:
    assert "5 people know this number" in words(as_alice.get(url(source)))
    asked = as_alice.post(url(source), {"to": to.uuid})
    assert "Move 5 people and 5 unsent messages of running and paused campaigns to Fresh ?" in words(asked)
    assert knowing(to) == 0
    fields = dict(re.findall(r'name="(to|sure)" value="([^"]+)"', asked.content.decode()))
    done = words(as_alice.post(url(source), fields))
    assert "5 people and 5 unsent messages moved to Fresh" in done
    assert "Nobody knows this number yet" in done
    assert knowing(to) == 5


def test_a_long_move_shows_how_far_it_is(as_alice: Client, source: Device, to: Device) -> None:
    ContactMove.objects.create(
        workspace=source.workspace, source=source, target=to, expected=1_000_000, people=250_000, messages=12
    )
    page = as_alice.get(url(source))
    assert "250,000 of 1,000,000 people" in words(page)
    assert "every 2s" in page.content.decode()


@pytest.mark.parametrize("chosen", ["", "nonsense", "foreign", "itself"])
def test_only_another_device_of_the_workspace_can_be_chosen(
    as_alice: Client, source: Device, to: Device, chosen: str
) -> None:
    foreign: dict[str, Any] = {"foreign": make_device(make_workspace()).uuid, "itself": source.uuid}
    answer = as_alice.post(url(source), {"to": foreign.get(chosen, chosen), "sure": "on"})
    assert answer.status_code == 422
    assert not ContactMove.objects.exists()


def test_a_viewer_may_not_and_a_stranger_finds_nothing(
    as_bob: Client, as_charlie: Client, source: Device, to: Device
) -> None:
    for asked in ({}, {"to": to.uuid, "sure": "on"}):
        assert as_bob.post(url(source), asked).status_code == 403
        assert as_charlie.post(url(source), asked).status_code == 404
    assert knowing(to) == 0
