"""Moving what a device cannot send, and answering a campaign that asks: Alice, Bob, who looks on, and Charlie."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from accounts.models import AuditEntry, Workspace
from campaigns.models import Campaign, CampaignState, Contact, Message
from devices.models import Device, DeviceState
from monitoring.overview import overview
from tests.campaigns.campaign_cases import planned_campaign, words
from tests.factories import make_device, make_host, make_workspace

pytestmark = pytest.mark.django_db


def stuck(workspace: Workspace, people: int = 6, **fields: Any) -> tuple[Campaign, list[Device]]:
    """A running campaign with three devices, two people each; the first device is unlinked."""
    host = make_host(started_at=timezone.now() - timedelta(days=1))
    campaign = planned_campaign(workspace, people=people, devices=3, **fields)
    Device.objects.filter(campaign_links__campaign=campaign).update(owner=host)
    devices = list(Device.objects.filter(campaign_links__campaign=campaign).order_by("pk"))
    Device.objects.filter(pk=devices[0].pk).update(state=DeviceState.UNLINKED, phone=None)
    return campaign, devices


def move_url(device: Device) -> str:
    return reverse("campaigns:move_messages", args=[device.uuid])


def failover_url(campaign: Campaign) -> str:
    return reverse("campaigns:failover", args=[campaign.uuid])


def waiting(devices: list[Device]) -> list[int]:
    return [Message.objects.filter(stream__device=device, state="pending").count() for device in devices]


# ---- moving, on a device's page


def test_a_stranger_finds_no_device_and_a_viewer_may_not(
    workspace: Workspace, as_bob: Client, as_charlie: Client
) -> None:
    campaign, devices = stuck(workspace, failover="ask")
    asked = {"targets": [devices[1].uuid], "answer": "other", "device": devices[0].uuid}
    for url in (move_url(devices[0]), failover_url(campaign)):
        assert as_charlie.post(url, asked).status_code == 404
        assert as_bob.post(url, asked).status_code == 403
    assert (as_charlie.get(move_url(devices[0])).status_code, as_bob.get(move_url(devices[0])).status_code) == (
        404,
        403,
    )
    assert waiting(devices) == [2, 2, 2]
    page = as_bob.get(reverse("devices:device", args=[devices[0].uuid])).content.decode()
    assert move_url(devices[0]) not in page


def test_the_card_names_the_campaigns_and_the_devices_that_could_send(workspace: Workspace, as_alice: Client) -> None:
    campaign, devices = stuck(workspace, name="Spring")
    offline = make_device(workspace, name="Asleep", owner=devices[1].owner, state=DeviceState.OFFLINE)
    page = words(as_alice.get(move_url(devices[0])))
    assert "All 2 that wait here 2 of Spring" in page
    assert devices[1].name in page
    assert offline.name not in page
    assert campaign.state == CampaignState.RUNNING


def test_moving_says_how_many_went_where_and_leaves_the_people(workspace: Workspace, as_alice: Client) -> None:
    campaign, devices = stuck(workspace)
    asked = {"campaign": campaign.uuid, "targets": [devices[1].uuid, devices[2].uuid]}
    answer = words(as_alice.post(move_url(devices[0]), asked))
    assert f"2 messages moved to {devices[1].name}, {devices[2].name}." in answer
    assert "No message of a campaign waits on this device." in answer
    assert waiting(devices) == [0, 3, 3]
    assert Contact.objects.filter(device=devices[0]).count() == 2
    assert words(as_alice.post(move_url(devices[0]), {"targets": [devices[1].uuid]})).count("0 messages moved") == 1


def test_a_move_without_or_to_a_foreign_device_is_refused_beside_the_field(
    workspace: Workspace, as_alice: Client
) -> None:
    campaign, devices = stuck(workspace)
    other = make_workspace()
    foreign = make_device(other, owner=devices[1].owner)
    theirs = planned_campaign(other)
    for targets in ([], [foreign.uuid], ["nonsense"], [devices[0].uuid]):
        answer = as_alice.post(move_url(devices[0]), {"targets": targets})
        assert answer.status_code == 422
        assert "invalid-feedback" in answer.content.decode()
    answer = as_alice.post(move_url(devices[0]), {"targets": [devices[1].uuid], "campaign": theirs.uuid})
    assert answer.status_code == 422
    assert waiting(devices) == [2, 2, 2]
    assert campaign.state == CampaignState.RUNNING


# ---- the question, on a campaign's page


def test_a_campaign_that_asks_says_what_waits_and_home_leads_there(workspace: Workspace, as_alice: Client) -> None:
    campaign, devices = stuck(workspace, failover="ask")
    page = words(as_alice.get(reverse("campaigns:campaign", args=[campaign.uuid])))
    assert "1 number cannot send: 2 messages wait" in page
    assert "Send from 2 other numbers" in page
    assert devices[0].name in page
    (trouble,) = [found for found in overview(workspace)["troubles"] if "cannot send" in found.title]
    assert trouble.title == f"{campaign.name}: 1 number cannot send"
    assert trouble.url == reverse("campaigns:campaign", args=[campaign.uuid])
    others, wait = trouble.answers
    assert others.fields == (("answer", "other"), ("device", str(devices[0].uuid)))
    assert {others.url, wait.url} == {failover_url(campaign)}
    home = as_alice.get(reverse("monitoring:home")).content.decode()
    assert f'<form method="post" action="{failover_url(campaign)}" hx-boost="true"' in home


@pytest.mark.parametrize("policy", ["wait", "other"])
def test_a_campaign_with_a_policy_of_its_own_asks_nothing(workspace: Workspace, as_alice: Client, policy: str) -> None:
    campaign, _ = stuck(workspace, failover=policy)
    assert "cannot send" not in words(as_alice.get(reverse("campaigns:campaign", args=[campaign.uuid])))


def test_the_answer_other_moves_what_was_asked_about_once(workspace: Workspace, as_alice: Client) -> None:
    campaign, devices = stuck(workspace, failover="ask")
    asked = {"answer": "other", "device": [devices[0].uuid]}
    first = as_alice.post(failover_url(campaign), asked, headers={"HX-Request": "true"})
    assert "2 messages moved to other numbers." in words(first)
    assert "cannot send" not in words(first)
    assert waiting(devices) == [0, 3, 3]
    again = as_alice.post(failover_url(campaign), asked, headers={"HX-Request": "true"})
    assert "Nothing was changed" in words(again)
    assert AuditEntry.objects.get(action="campaign.messages_moved").actor == workspace.owner


def test_a_device_that_the_page_did_not_show_keeps_its_messages(workspace: Workspace, as_alice: Client) -> None:
    campaign, devices = stuck(workspace, failover="ask")
    Device.objects.filter(pk=devices[1].pk).update(state=DeviceState.BANNED)
    as_alice.post(failover_url(campaign), {"answer": "other", "device": [devices[0].uuid, "nonsense"]})
    assert waiting(devices) == [0, 2, 4]


def test_the_answer_wait_ends_the_question_for_good(workspace: Workspace, as_alice: Client) -> None:
    campaign, devices = stuck(workspace, failover="ask")
    answer = words(as_alice.post(failover_url(campaign), {"answer": "wait"}, headers={"HX-Request": "true"}))
    assert "The messages wait for their numbers. This can be changed under Edit." in answer
    assert "cannot send" not in answer
    campaign.refresh_from_db()
    assert campaign.failover == "wait"
    assert waiting(devices) == [2, 2, 2]


def test_without_another_number_the_page_says_so_and_offers_no_button(workspace: Workspace, as_alice: Client) -> None:
    campaign, _ = stuck(workspace, failover="ask")
    Device.objects.update(state=DeviceState.OFFLINE, state_at=timezone.now() - timedelta(hours=1))
    page = words(as_alice.get(reverse("campaigns:campaign", args=[campaign.uuid])))
    assert "3 numbers cannot send: 6 messages wait" in page
    assert "No other number of this campaign is online now." in page
    assert "Send from" not in page


def test_an_answer_that_is_none_changes_nothing(workspace: Workspace, as_alice: Client) -> None:
    campaign, devices = stuck(workspace, failover="ask")
    assert "Nothing was changed" in words(as_alice.post(failover_url(campaign), {"answer": "maybe"}, follow=True))
    assert waiting(devices) == [2, 2, 2]
