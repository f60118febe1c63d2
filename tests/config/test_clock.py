"""The clock: with Redis away it does itself what it would have enqueued."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.utils import timezone

from accounts.redis import RedisWatch
from campaigns.actions.campaigns import launch_campaign
from campaigns.models import Campaign, CampaignState
from config.management.commands.run_clock import strike
from config.schedule import TIMETABLE
from tests.factories import make_campaign, make_contact, make_device, make_workspace


@pytest.mark.django_db(transaction=True)
def test_p13_a_campaign_starts_and_is_planned_while_redis_is_away() -> None:
    workspace = make_workspace()
    make_contact(workspace)
    campaign = make_campaign(workspace, devices=(make_device(workspace),), start_at=timezone.now() + timedelta(hours=1))
    launch_campaign(campaign, None)
    Campaign.objects.update(start_at=timezone.now() - timedelta(seconds=1))
    away = RedisWatch("redis://127.0.0.1:1/0")
    assert not away.check()
    for job in TIMETABLE:
        strike(job, away)
    campaign.refresh_from_db()
    assert (campaign.state, campaign.recipients) == (CampaignState.RUNNING, 1)
    assert campaign.planned_at is not None
