"""What is forecast of a campaign that has not begun: who is left out and why, who waits for tomorrow, when it ends."""

from __future__ import annotations

from datetime import datetime, time, timedelta
from typing import Any

import pytest

from accounts.models import Workspace
from campaigns.engine.forecast import HOUR
from campaigns.models import Campaign, CampaignTag, Message, Tag
from campaigns.plans import LeftOut, pace_of, plan_of
from tests.campaigns.campaign_cases import planned_campaign
from tests.factories import make_campaign, make_contact, make_device

pytestmark = pytest.mark.django_db


def test_everybody_who_gets_nothing_is_counted_with_the_reason(workspace: Workspace) -> None:
    earlier = planned_campaign(workspace, people=2)
    Message.objects.filter(campaign=earlier).update(state="sent", sent_at=earlier.launched_at)
    for _ in range(8):
        make_contact(workspace)
    make_contact(workspace, opted_out_at=earlier.launched_at)
    make_contact(workspace, tags=("old",))
    campaign = make_campaign(
        workspace, devices=(make_device(workspace),), hold_out=25, not_contacted_days=7, device_cap=4
    )
    CampaignTag.objects.create(workspace=workspace, campaign=campaign, tag=Tag.objects.get(), excluded=True)
    plan = plan_of(campaign)
    assert plan.left_out == (
        LeftOut(1, "have an excluded tag or are in an excluded segment"),
        LeftOut(2, "got a message within 7 days"),
        LeftOut(1, "opted out"),
        LeftOut(2, "are held out, to compare with"),
    )
    assert (plan.size.reachable, plan.course.people, plan.course.no_room) == (6, 4, 3)
    assert "3 people get nothing: 1 number of at most 4 people each." in plan.warnings
    assert (plan.chosen, plan.excluded) == ([], ["old"])


def starting(workspace: Workspace, hour: int, people: int, **fields: Any) -> Campaign:
    for _ in range(people):
        make_contact(workspace)
    start = datetime(2026, 12, 1, hour, tzinfo=workspace.zone)
    device = make_device(workspace, min_delay=60, max_delay=60)
    return make_campaign(workspace, devices=(device,), start_at=start, **fields)


def test_who_waits_for_the_next_day_is_said_with_the_reason(workspace: Workspace) -> None:
    Workspace.objects.update(quiet_from=time(21), quiet_to=time(9))
    campaign = starting(workspace, hour=20, people=100)
    plan = plan_of(Campaign.objects.get(pk=campaign.pk))
    outlook = plan.course.outlook
    assert outlook
    assert outlook.later == [(40, "it is outside the hours for sending")]
    assert outlook.ends_at
    assert campaign.start_at
    assert outlook.ends_at - campaign.start_at == timedelta(hours=13, minutes=40)


def test_a_campaigns_own_hours_and_the_stagger_are_reckoned_in(workspace: Workspace) -> None:
    campaign = starting(workspace, hour=8, people=60, local_from=time(10), local_to=time(12), stagger_s=3600)
    second = make_device(workspace, min_delay=60, max_delay=60)
    campaign.device_links.create(workspace=workspace, device=second)
    plan = plan_of(campaign)
    assert pace_of(second, campaign).hours == (10 * HOUR, 12 * HOUR)
    assert plan.course.lasts == pytest.approx(2.5 * HOUR)
    assert plan.has_hours


def test_hours_that_never_meet_are_said(workspace: Workspace) -> None:
    Workspace.objects.update(quiet_from=time(8), quiet_to=time(20))
    campaign = starting(workspace, hour=8, people=1, local_from=time(9), local_to=time(12))
    plan = plan_of(Campaign.objects.get(pk=campaign.pk))
    assert plan.course.lasts is None
    assert any("never meet" in warning for warning in plan.warnings)


def test_the_first_few_are_named_where_there_are_more(workspace: Workspace) -> None:
    campaign = starting(workspace, hour=8, people=5, canary=3)
    assert plan_of(campaign).canary == 3
    campaign.canary = 5
    assert plan_of(campaign).canary is None
