"""The list and the live page of campaigns: Alice owns the workspace, Bob looks on, Charlie is a stranger."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.core.cache import cache
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from accounts.models import Workspace
from campaigns.live import figures, live_context, streams_of
from campaigns.models import Campaign, CampaignState, Stream, Tag
from campaigns.steps import AUDIENCE
from tests.campaigns.campaign_cases import at, planned_campaign, varied_campaign, words
from tests.campaigns.form_cases import SAFE, filled, step_url
from tests.factories import make_campaign, make_contact, make_device

pytestmark = pytest.mark.django_db

READS = ("campaign", "recipients")
DECISIONS = ("retry_failed", "send_again", "assume_sent")
MOVES = ("start", "pause", "resume", "cancel", "unschedule", "delete", *DECISIONS)
FORMS = ("edit", "text")


# ---- who may


def test_a_stranger_finds_nothing(workspace: Workspace, as_charlie: Client) -> None:
    campaign = make_campaign(workspace)
    for name in (*READS, *FORMS):
        assert as_charlie.get(at(name, campaign)).status_code == 404
    for name in (*MOVES, *FORMS):
        assert as_charlie.post(at(name, campaign), {"text": "Mine now"}).status_code == 404
    campaign.refresh_from_db()
    assert campaign.state == CampaignState.DRAFT
    assert campaign.name not in words(as_charlie.get(reverse("campaigns:list")))


def test_a_viewer_looks_and_changes_nothing(workspace: Workspace, as_bob: Client) -> None:
    campaign = planned_campaign(workspace)
    for name in READS:
        assert as_bob.get(at(name, campaign)).status_code == 200
    assert as_bob.get(reverse("campaigns:list")).status_code == 200
    assert as_bob.get(reverse("campaigns:create")).status_code == 403
    assert as_bob.post(reverse("campaigns:create"), filled(AUDIENCE)).status_code == 403
    assert as_bob.post(step_url(campaign, AUDIENCE), filled(AUDIENCE)).status_code == 403
    for name in FORMS:
        assert as_bob.get(at(name, campaign)).status_code == 403
    for name in (*MOVES, *FORMS):
        assert as_bob.post(at(name, campaign), {"text": "Mine now"}).status_code == 403
    campaign.refresh_from_db()
    assert campaign.state == CampaignState.RUNNING
    assert Campaign.objects.count() == 1


def test_a_get_moves_nothing(workspace: Workspace, as_alice: Client) -> None:
    campaign = make_campaign(workspace)
    for name in MOVES:
        assert as_alice.get(at(name, campaign)).status_code == 405


# ---- the list


def test_an_empty_list_names_the_next_step(workspace: Workspace, as_alice: Client, as_bob: Client) -> None:
    assert reverse("campaigns:create") in as_alice.get(reverse("campaigns:list")).content.decode()
    assert reverse("campaigns:create") not in as_bob.get(reverse("campaigns:list")).content.decode()


def test_the_list_is_searched_filtered_and_counted_by_state(workspace: Workspace, as_alice: Client) -> None:
    make_campaign(workspace, name="Spring sale")
    make_campaign(workspace, name="Spring news", state=CampaignState.PAUSED)
    make_campaign(workspace, name="Autumn")
    everything = words(as_alice.get(reverse("campaigns:list")))
    assert "All 3" in everything
    assert "Draft 2" in everything
    found = words(as_alice.get(reverse("campaigns:list"), {"q": "spring", "state": "paused"}))
    assert "Spring news" in found
    assert "All 2" in found
    assert "Spring sale" not in found
    assert "No campaign like that" in words(as_alice.get(reverse("campaigns:list"), {"q": "winter"}))


def test_htmx_gets_the_fragment_of_the_same_url(workspace: Workspace, as_alice: Client) -> None:
    campaign = planned_campaign(workspace)
    for url, root in ((reverse("campaigns:list"), "campaign-list"), (at("campaign", campaign), "campaign-live")):
        fragment = as_alice.get(url, headers={"HX-Request": "true"}).content.decode().strip()
        assert "<html" not in fragment
        assert f'id="{root}"' in fragment
        assert root in as_alice.get(url).content.decode()


# ---- one campaign, live


def test_moves_answer_with_the_live_region(workspace: Workspace, as_alice: Client) -> None:
    campaign = planned_campaign(workspace)
    for move, state in (("pause", "Paused"), ("resume", "Running"), ("cancel", "Cancelled")):
        answer = as_alice.post(at(move, campaign), headers={"HX-Request": "true"})
        assert 'id="campaign-live"' in answer.content.decode()
        assert state in words(answer)
    late = words(as_alice.post(at("resume", campaign), headers={"HX-Request": "true"}))
    assert "It could not be resumed. It is cancelled now." in late
    assert figures(streams_of([campaign])[campaign.pk])["skipped"] == 4


def test_cancel_says_how_many_people_it_touches(workspace: Workspace, as_alice: Client) -> None:
    campaign = planned_campaign(workspace, people=5)
    Stream.objects.filter(campaign=campaign, pending=3).update(pending=2, sent=1)
    assert "This touches 4 people" in words(as_alice.get(at("campaign", campaign)))


def test_the_live_partial_is_the_same_for_everybody(workspace: Workspace, as_alice: Client, as_bob: Client) -> None:
    campaign = varied_campaign(workspace)
    seen = {
        client.get(at("campaign", campaign), headers={"HX-Request": "true"}).content for client in (as_alice, as_bob)
    }
    assert len(seen) == 1
    page = seen.pop().decode()
    assert "csrf" not in page.lower()
    assert "looks-only" in as_bob.get(at("campaign", campaign)).content.decode()


def test_uncertain_is_hidden_at_zero(workspace: Workspace, as_alice: Client) -> None:
    assert "Uncertain" not in words(as_alice.get(at("campaign", planned_campaign(workspace))))
    assert "Uncertain" in words(as_alice.get(at("campaign", varied_campaign(workspace))))


def test_the_text_of_a_running_campaign_is_changed_for_the_unsent(workspace: Workspace, as_alice: Client) -> None:
    campaign = planned_campaign(workspace)
    campaign.tag_links.create(workspace=workspace, tag=Tag.objects.create(workspace=workspace, name="vip"))
    form = as_alice.get(at("text", campaign)).content.decode()
    assert f'name="campaign" value="{campaign.uuid}"' in form
    assert 'data-insert="{{ first_name }}"' in form
    refused = as_alice.post(at("text", campaign), {"text": "{% for %}"})
    assert refused.status_code == 422
    answer = words(as_alice.post(at("text", campaign), {**SAFE, "text": "New {{ name }}"}, follow=True))
    assert "Everyone not written to yet gets the new message." in answer
    assert "As it would read now." in words(as_alice.get(at("recipients", campaign)))
    assert "New Person" in words(as_alice.get(at("recipients", campaign)))


def test_planning_shows_how_far_it_is(workspace: Workspace, as_alice: Client) -> None:
    campaign = planned_campaign(workspace)
    Campaign.objects.filter(pk=campaign.pk).update(planned_at=None, recipients=1234)
    assert "Planning: 1,234 people have a place so far" in words(as_alice.get(at("campaign", campaign)))


def test_the_history_names_who_did_what(workspace: Workspace, as_alice: Client) -> None:
    make_contact(workspace)
    campaign = make_campaign(workspace, devices=(make_device(workspace),))
    as_alice.post(at("start", campaign), {"version": campaign.version})
    as_alice.post(at("pause", campaign))
    found = words(as_alice.get(at("campaign", campaign)))
    assert f"Paused {workspace.owner.email}" in found
    assert f"Started {workspace.owner.email}" in found


def test_the_rate_is_measured_from_counters_and_says_over_what(workspace: Workspace, time_machine: Any) -> None:
    cache.clear()
    campaign = planned_campaign(workspace, people=100, devices=1)
    start = timezone.now()
    Campaign.objects.filter(pk=campaign.pk).update(launched_at=start)
    campaign.refresh_from_db()

    def look(seconds: int, sent: int) -> dict[str, Any]:
        time_machine.move_to(start + timedelta(seconds=seconds), tick=False)
        Stream.objects.filter(campaign=campaign).update(sent=sent, pending=100 - sent)
        return live_context(campaign, streams_of([campaign])[campaign.pk])

    assert look(0, 0)["rate"] is None
    early = look(30, 10)["rate"]
    assert (early.per_minute, early.over) == (pytest.approx(20), "on average since the start")
    look(300, 40)
    later = look(540, 70)
    assert (later["rate"].per_minute, later["rate"].over) == (pytest.approx(7.5), "in the last 4 minutes")
    assert later["left"] == "4 minutes"
