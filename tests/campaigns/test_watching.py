"""The first few people of a campaign, until somebody says go on; and campaigns that pause themselves."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from accounts.models import AuditEntry, User, Workspace
from campaigns.actions.campaigns import cancel_campaign, finish_campaigns, launch_campaign, resume_campaign
from campaigns.actions.hours import release_streams
from campaigns.actions.planning import plan_chunk, plan_whole
from campaigns.actions.watching import pass_canary, pause_failing
from campaigns.engine.assignment import is_held_out
from campaigns.engine.watching import LEAST, Tally, why_stop
from campaigns.models import Campaign, Contact, Message, Stream
from campaigns.shown import shown_campaign
from monitoring.invariants import audit
from monitoring.overview import overview
from tests.campaigns.campaign_cases import at, count_again, planned_campaign, words
from tests.factories import make_campaign, make_contact, make_device, make_workspace

pytestmark = pytest.mark.django_db


def with_canary(workspace: Workspace, people: int, canary: int, **fields: Any) -> Campaign:
    for _ in range(people):
        make_contact(workspace)
    campaign = make_campaign(workspace, devices=(make_device(workspace),), canary=canary, **fields)
    assert launch_campaign(campaign, None)
    plan_whole(campaign.pk)
    campaign.refresh_from_db()
    return campaign


def send_all(campaign: Campaign) -> None:
    Message.objects.filter(campaign=campaign, state="pending").update(state="sent", sent_at=timezone.now())
    count_again(campaign)
    Stream.objects.filter(campaign=campaign).update(next_due=None)


# -------------------------------------------------------------------------------------------------- the first few


def test_planning_stops_after_the_first_few_and_goes_on_at_a_word(workspace: Workspace, alice: User) -> None:
    campaign = with_canary(workspace, people=11, canary=3)
    assert (campaign.recipients, campaign.awaiting_word, campaign.planned_at) == (3, 8, None)
    assert shown_campaign(campaign).reason == "3 people first; 8 wait for your word."
    send_all(campaign)
    assert finish_campaigns() == 0, "it is not over"
    assert [pass_canary(campaign, alice) for _ in range(2)] == [True, False]
    plan_whole(campaign.pk)
    campaign.refresh_from_db()
    assert campaign.recipients == 11
    assert campaign.planned_at is not None
    assert not campaign.awaits_word
    assert AuditEntry.objects.filter(action="campaign.canary_passed").count() == 1
    assert audit()["drift"] == 0


def test_whoever_is_held_out_is_not_one_of_the_first_few(workspace: Workspace) -> None:
    campaign = with_canary(workspace, people=60, canary=5, hold_out=60)
    planned = Message.objects.filter(campaign=campaign)
    assert planned.filter(state="pending").count() == 5
    people = planned.values_list("contact", flat=True)
    held_out = {person for person in people if is_held_out(campaign.pk, person, 60)}
    assert set(people.filter(reason="hold_out")) == held_out


def test_who_is_skipped_of_the_first_few_makes_room_for_the_next(workspace: Workspace) -> None:
    campaign = with_canary(workspace, people=5, canary=2)
    first = Message.objects.filter(campaign=campaign).order_by("pk")[0]
    Message.objects.filter(pk=first.pk).update(state="skipped", reason="opted_out")
    count_again(campaign)
    plan_whole(campaign.pk)
    campaign.refresh_from_db()
    assert (campaign.recipients, campaign.awaiting_word) == (3, 2)


@pytest.mark.parametrize("canary", [4, 5])
def test_as_many_first_as_there_are_is_everybody(workspace: Workspace, canary: int) -> None:
    campaign = with_canary(workspace, people=4, canary=canary)
    plan_whole(campaign.pk)
    campaign.refresh_from_db()
    assert (campaign.recipients, campaign.awaits_word) == (4, False)
    assert campaign.planned_at is not None


def test_devices_without_room_end_the_plan_all_the_same(workspace: Workspace) -> None:
    campaign = with_canary(workspace, people=6, canary=4, device_cap=2)
    assert campaign.recipients == 6
    assert campaign.planned_at is not None


def test_a_campaign_that_waits_for_a_word_can_be_cancelled(workspace: Workspace, alice: User) -> None:
    campaign = with_canary(workspace, people=5, canary=2)
    assert cancel_campaign(campaign, alice)
    assert not pass_canary(campaign, alice)
    assert plan_chunk(campaign.pk)
    assert Message.objects.filter(campaign=campaign).count() == 2


def test_the_page_and_home_ask_and_the_button_answers_once(as_alice: Client, workspace: Workspace) -> None:
    campaign = with_canary(workspace, people=5, canary=2)
    page = words(as_alice.get(at("campaign", campaign)))
    assert "3 people wait for your word" in page
    assert "Planning:" not in page
    home = as_alice.get(reverse("monitoring:home")).content.decode()
    assert "3 people wait for your word" in words(as_alice.get(reverse("monitoring:home")))
    assert f'action="{at("go_on", campaign)}"' in home
    for _ in range(2):
        assert as_alice.post(at("go_on", campaign)).status_code == 302
    campaign.refresh_from_db()
    assert campaign.canary_passed_at is not None


# ------------------------------------------------------------------------------------------------- pausing itself


@pytest.mark.parametrize(
    ("tally", "limits", "reason"),
    [
        (Tally(tried=40, failed=5), (10, None), "5 of 40 failed: more than 10 %."),
        (Tally(tried=40, failed=4), (10, None), ""),
        (Tally(tried=LEAST - 1, failed=LEAST - 1), (10, None), ""),
        (Tally(tried=LEAST, failed=1), (0, None), "1 of 20 failed: more than 0 %."),
        (Tally(tried=40, sent=40, opted_out=3), (None, 5), "3 of 40 people opted out: more than 5 %."),
        (Tally(tried=40, failed=40, sent=40, opted_out=40), (None, None), ""),
    ],
)
def test_why_a_campaign_stops(tally: Tally, limits: tuple[int | None, int | None], reason: str) -> None:
    assert why_stop(tally, *limits) == reason


def going_wrong(workspace: Workspace, failed: int = 10, **limits: int) -> Campaign:
    """25 people tried, ``failed`` of them in vain; five more wait."""
    campaign = planned_campaign(workspace, people=30, devices=1, **limits)
    pks = list(Message.objects.filter(campaign=campaign).order_by("pk").values_list("pk", flat=True))
    Message.objects.filter(pk__in=pks[:25]).update(state="sent", sent_at=timezone.now())
    Message.objects.filter(pk__in=pks[:failed]).update(state="dead", sent_at=None, dead_at=timezone.now())
    count_again(campaign)
    Stream.objects.filter(campaign=campaign).update(running=True)
    return campaign


def test_too_many_failures_pause_it_once_and_say_so_everywhere(
    as_alice: Client, workspace: Workspace, alice: User
) -> None:
    campaign = going_wrong(workspace, stop_failures=30)
    assert [pause_failing() for _ in range(2)] == [1, 0]
    campaign.refresh_from_db()
    assert (campaign.state, campaign.paused_why) == ("paused", "10 of 25 failed: more than 30 %.")
    assert not campaign.streams.filter(running=True).exists()
    assert "It paused itself. 10 of 25 failed: more than 30 %." in words(as_alice.get(at("campaign", campaign)))
    [trouble] = [found for found in overview(workspace)["troubles"] if "paused itself" in found.title]
    assert (trouble.text, trouble.answers[0].url) == (campaign.paused_why, at("resume", campaign))
    assert resume_campaign(campaign, alice)
    campaign.refresh_from_db()
    assert campaign.paused_why == ""
    assert pause_failing() == 0, "the same numbers are forgiven"


def test_after_a_resume_only_what_came_later_counts(workspace: Workspace, alice: User) -> None:
    campaign = going_wrong(workspace, stop_failures=30)
    pause_failing()
    campaign.refresh_from_db()
    resume_campaign(campaign, alice)
    Stream.objects.filter(campaign=campaign).update(sent=15 + 14, dead=10 + 5)
    assert pause_failing() == 0, "5 of 19 are too few to judge"
    Stream.objects.filter(campaign=campaign).update(sent=15 + 14, dead=10 + 7)
    assert pause_failing() == 1


def test_too_many_opt_outs_pause_it(workspace: Workspace) -> None:
    campaign = going_wrong(workspace, failed=0, stop_opt_outs=10)
    people = list(Contact.objects.for_workspace(workspace).order_by("pk"))
    now = timezone.now() + timedelta(seconds=1)
    Contact.objects.filter(pk__in=[person.pk for person in people[23:]]).update(opted_out_at=now)
    assert pause_failing() == 0, "two were written to; the others opted out before"
    Contact.objects.filter(pk=people[0].pk).update(opted_out_at=now)
    assert pause_failing() == 1
    campaign.refresh_from_db()
    assert campaign.paused_why == "3 of 25 people opted out: more than 10 %."


def test_nothing_pauses_a_campaign_without_a_limit_or_within_it(workspace: Workspace) -> None:
    going_wrong(workspace)
    going_wrong(make_workspace(), stop_failures=40, stop_opt_outs=1)
    assert pause_failing() == 0


# ----------------------------------------------------------------------------------------------- changed settings


def test_streams_that_wait_for_hours_are_let_go_when_these_are_given_up(workspace: Workspace) -> None:
    campaign = planned_campaign(workspace, people=1, devices=2)
    later = timezone.now() + timedelta(hours=3)
    Stream.objects.filter(campaign=campaign).update(held_until=later)
    assert release_streams() == 2
    assert not campaign.streams.filter(held_until__isnull=False).exists()
    assert release_streams() == 0
