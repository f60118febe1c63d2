"""Finding out who is on WhatsApp: asked once, at its own pace, kept for a month, shown and used in a forecast."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from django.db.models import F
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from accounts.models import AuditEntry, Workspace
from campaigns.actions.campaigns import launch_campaign
from campaigns.actions.checks import next_chunks, note_numbers, start_check, stop_check
from campaigns.actions.planning import plan_whole
from campaigns.models import Campaign, CheckRun, Contact, Message, NumberCheck, Tag
from campaigns.plans import plan_of
from devices.hosting.leases import Lease
from devices.models import Device
from monitoring.invariants import audit, is_clean
from tests.campaigns import engine_room as room_of
from tests.campaigns.campaign_cases import words
from tests.campaigns.engine_room import engine_room
from tests.campaigns.outbox_cases import owned_device
from tests.devices.gateway.world import SimulatedWorld
from tests.factories import make_campaign, make_contact, make_device, make_host, make_workspace

pytestmark = pytest.mark.django_db(transaction=True)

CONTACTS = reverse("campaigns:contacts")


@pytest.fixture
def people(workspace: Workspace) -> list[Contact]:
    """Five, two of them tagged; a sixth belongs to somebody else."""
    make_contact(make_workspace())
    return [make_contact(workspace, tags=("vip",) if number < 2 else ()) for number in range(5)]


@pytest.fixture
def device(workspace: Workspace, lease: Lease) -> Device:
    return owned_device(workspace, lease)


def asked_by(device: Device, lease: Lease, size: int = 20) -> list[str]:
    return [number for chunk in next_chunks(lease, [device.pk], size) for number in chunk.numbers]


# ---- what is asked


def test_each_number_is_asked_about_once_and_the_answer_kept(
    workspace: Workspace, people: list[Contact], device: Device, lease: Lease
) -> None:
    run = start_check(workspace, workspace.owner)
    assert run is not None
    assert run.total == 5
    assert start_check(workspace, workspace.owner) is None, "one at a time"
    first, second = asked_by(device, lease, 3), asked_by(device, lease, 3)
    assert sorted(first + second) == sorted(contact.phone for contact in people)
    note_numbers(run.pk, {phone: phone != first[0] for phone in first})
    note_numbers(run.pk, dict.fromkeys(second, True))
    assert asked_by(device, lease) == []
    run.refresh_from_db()
    assert (run.asked, run.answered, run.absent) == (5, 5, 1)
    assert run.finished_at is not None
    assert not NumberCheck.objects.get(phone=first[0]).on_whatsapp
    assert start_check(workspace, workspace.owner) is None, "everything is known"
    assert AuditEntry.objects.get(action="contacts.check_started").detail == {"people": 5, "tag": ""}


def test_what_is_older_than_a_month_is_asked_again(
    workspace: Workspace, people: list[Contact], device: Device, lease: Lease
) -> None:
    run = start_check(workspace, workspace.owner)
    assert run is not None
    note_numbers(run.pk, dict.fromkeys(asked_by(device, lease), False))
    asked_by(device, lease)
    old = NumberCheck.objects.filter(phone=people[0].phone)
    old.update(checked_at=F("checked_at") - timedelta(days=31))
    again = start_check(workspace, workspace.owner)
    assert again is not None
    assert asked_by(device, lease) == [people[0].phone]
    note_numbers(again.pk, {people[0].phone: True})
    assert old.get().on_whatsapp


def test_of_a_tag_only_those_are_asked_about(
    workspace: Workspace, people: list[Contact], device: Device, lease: Lease
) -> None:
    run = start_check(workspace, workspace.owner, Tag.objects.get(workspace=workspace, name="vip"))
    assert run is not None
    assert run.total == 2
    assert sorted(asked_by(device, lease)) == sorted(contact.phone for contact in people[:2])


def test_unanswered_numbers_stay_unknown(
    workspace: Workspace, people: list[Contact], device: Device, lease: Lease
) -> None:
    run = start_check(workspace, workspace.owner)
    assert run is not None
    note_numbers(run.pk, dict.fromkeys(asked_by(device, lease)[:4], True))
    asked_by(device, lease)
    again = start_check(workspace, workspace.owner)
    assert again is not None
    assert again.total == 1


@pytest.mark.parametrize("state", ["offline", "held", "of another host", "stopped"])
def test_only_a_device_that_could_send_asks_and_nobody_after_a_stop(
    workspace: Workspace, people: list[Contact], device: Device, lease: Lease, state: str
) -> None:
    start_check(workspace, workspace.owner)
    changes: dict[str, dict[str, Any]] = {
        "offline": {"state": "offline"},
        "held": {"held_until": timezone.now() + timedelta(hours=1)},
        "of another host": {"owner": make_host()},
    }
    if state == "stopped":
        assert stop_check(workspace, workspace.owner)
        assert not stop_check(workspace, workspace.owner)
    else:
        Device.objects.filter(pk=device.pk).update(**changes[state])
    assert asked_by(device, lease) == []


# ---- with an engine


@pytest.fixture
def world() -> Iterator[SimulatedWorld]:
    world = SimulatedWorld(unregistered_share=0.3)
    world.start_network()
    yield world
    world.close()


@pytest.mark.usefixtures("look_from_the_loop")
async def test_an_engine_spreads_the_questions_over_its_devices_at_their_pace(
    world: SimulatedWorld, lease: Lease, settings: Any
) -> None:
    settings.CHECK_NUMBERS_PER_MINUTE = 600  # 20 numbers every two seconds
    workspace = make_workspace()
    devices = [room_of.owned_device(workspace, lease) for _ in range(2)]
    for _ in range(70):
        make_contact(workspace)
    run = start_check(workspace, workspace.owner)
    assert run is not None
    began = timezone.now()
    async with engine_room(world, lease) as room:
        await room.until(lambda: all(room.sessions.is_online(device.pk) for device in devices), "they are online")
        await room.until(lambda: CheckRun.objects.get().finished_at is not None, "everybody was asked about")
        await room.until(lambda: NumberCheck.objects.count() == 70, "every answer is kept")
    took = (timezone.now() - began).total_seconds()
    assert took > 2, "each device waits after its first twenty"
    run.refresh_from_db()
    assert (run.asked, run.answered) == (70, 70)
    assert 5 < run.absent < 45
    assert NumberCheck.objects.filter(on_whatsapp=False).count() == run.absent


# ---- the pages


def test_the_contacts_page_says_how_many_are_unknown_and_how_long_asking_takes(
    as_alice: Client, workspace: Workspace, people: list[Contact]
) -> None:
    region = reverse("campaigns:check_numbers")
    assert "Asking needs a device that is online" in words(as_alice.get(region))
    make_device(workspace, owner=make_host())
    assert "Of 5 numbers nobody knows" in words(as_alice.get(region))
    assert "less than a minute with 1 device online" in words(as_alice.get(region))
    assert "Of 2 numbers tagged vip nobody knows" in words(as_alice.get(region + "?tag=vip"))
    assert as_alice.get(region + "?tag=nobody").status_code == 404
    begun = as_alice.post(reverse("campaigns:check_start"), {"tag": "vip"}, follow=True)
    assert "Asking WhatsApp about 2 numbers." in words(begun)
    page = as_alice.get(region)
    assert "0 of 2 numbers checked on WhatsApp" in words(page)
    assert "every 3s" in page.content.decode()
    as_alice.post(reverse("campaigns:check_stop"))
    assert "every 3s" not in as_alice.get(region).content.decode()


def test_a_viewer_sees_how_far_it_is_and_a_stranger_starts_nothing_of_hers(
    as_bob: Client, as_charlie: Client, workspace: Workspace, people: list[Contact]
) -> None:
    assert "Check who is on WhatsApp" not in as_bob.get(reverse("campaigns:check_numbers")).content.decode()
    assert as_bob.post(reverse("campaigns:check_start")).status_code == 403
    assert as_charlie.post(reverse("campaigns:check_start"), {"tag": "vip"}).status_code == 404
    as_charlie.post(reverse("campaigns:check_start"))
    assert not CheckRun.objects.filter(workspace=workspace).exists()


def test_the_list_is_filtered_by_it_and_a_contacts_page_says_when(
    as_alice: Client, workspace: Workspace, people: list[Contact]
) -> None:
    there, gone, forgotten = people[:3]
    for contact, on_whatsapp in ((there, True), (gone, False), (forgotten, False)):
        NumberCheck.objects.create(workspace=workspace, phone=contact.phone, on_whatsapp=on_whatsapp)
    NumberCheck.objects.filter(phone=forgotten.phone).update(checked_at=timezone.now() - timedelta(days=31))

    def listed(query: str) -> set[Contact]:
        page = as_alice.get(CONTACTS + query).content.decode()
        return {contact for contact in people if contact.phone in page}

    assert listed("?whatsapp=yes") == {there}
    assert listed("?whatsapp=no") == {gone}
    assert listed("?whatsapp=unknown") == set(people[2:])
    assert words(as_alice.get(CONTACTS)).count("not on WhatsApp") == 1
    pages = {contact: words(as_alice.get(reverse("campaigns:contact", args=[contact.uuid]))) for contact in people}
    assert "On WhatsApp Yes checked" in pages[there]
    assert "On WhatsApp No checked" in pages[gone]
    assert "On WhatsApp Nobody knows." in pages[forgotten]


# ---- a campaign


@pytest.fixture
def campaign(workspace: Workspace, people: list[Contact]) -> Campaign:
    """Of its five people one is known not to be there."""
    NumberCheck.objects.create(workspace=workspace, phone=people[0].phone, on_whatsapp=False)
    NumberCheck.objects.create(workspace=workspace, phone=people[1].phone, on_whatsapp=True)
    return make_campaign(workspace, devices=(make_device(workspace, owner=make_host()),), text="Hi")


def test_a_forecast_tells_who_is_not_there_and_offers_to_leave_them_out(as_alice: Client, campaign: Campaign) -> None:
    review = reverse("campaigns:campaign", args=[campaign.uuid])
    assert "1 of them is known not to be on WhatsApp. Leave them out" in words(as_alice.get(review))
    as_alice.post(reverse("campaigns:leave_out", args=[campaign.uuid]), {"leave_out": "on"})
    page = words(as_alice.get(review))
    assert "1 more gets nothing: they are known not to be on WhatsApp. Write to them all the same" in page
    assert "Start: 4 people" in page
    campaign.refresh_from_db()
    assert plan_of(campaign).size.reachable == 4
    as_alice.post(reverse("campaigns:leave_out", args=[campaign.uuid]))
    assert "Start: 5 people" in words(as_alice.get(review))


@pytest.mark.parametrize("left_out", [True, False])
def test_who_is_left_out_is_skipped_with_the_reason_and_takes_nobodys_place(
    as_alice: Client, campaign: Campaign, people: list[Contact], left_out: bool
) -> None:
    Campaign.objects.update(leave_out_absent=left_out, device_cap=4)
    campaign.refresh_from_db()
    launch_campaign(campaign, None)
    plan_whole(campaign.pk)
    reasons = dict(Message.objects.filter(campaign=campaign).values_list("phone", "reason"))
    assert len(reasons) == 5
    if left_out:
        assert reasons == {contact.phone: "not_on_whatsapp" if contact == people[0] else "" for contact in people}
    else:
        assert sorted(reasons.values()) == ["", "", "", "", "no_room"]
    skipped = reverse("campaigns:recipients", args=[campaign.uuid]) + "?figure=skipped"
    assert ("was not on WhatsApp when it was last checked" in words(as_alice.get(skipped))) == left_out
    assert is_clean(audit()), audit()


def test_a_campaign_that_runs_is_planned_as_it_was_decided(as_alice: Client, campaign: Campaign) -> None:
    launch_campaign(campaign, None)
    answer = as_alice.post(reverse("campaigns:leave_out", args=[campaign.uuid]), {"leave_out": "on"}, follow=True)
    assert "That was decided already." in words(answer)
    campaign.refresh_from_db()
    assert not campaign.leave_out_absent
