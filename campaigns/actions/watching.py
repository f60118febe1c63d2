"""Watching over campaigns: the first few people of one, until somebody says go on; and one that goes wrong pauses."""

from __future__ import annotations

from django.db import transaction
from django.db.models import Q
from django.db.models.functions import Now

from accounts.audit import record
from accounts.models import User
from campaigns.actions.campaigns import PLAN_JOB, pause_campaign
from campaigns.engine.watching import Tally, why_stop
from campaigns.live import push_campaigns
from campaigns.models import OPEN, Campaign, CampaignState
from campaigns.querysets.tallies import tallies
from devices.jobs import enqueue


@transaction.atomic
def pass_canary(campaign: Campaign, by: User) -> bool:
    """The first few went well: all others are planned. False: somebody said so already, or it asks nothing."""
    asking = Campaign.objects.filter(
        pk=campaign.pk,
        state__in=OPEN,
        canary__isnull=False,
        canary_passed_at__isnull=True,
        planned_at__isnull=True,
    )
    if not asking.update(canary_passed_at=Now(), awaiting_word=0):
        return False
    campaign.refresh_from_db()
    record(campaign.workspace, by, "campaign.canary_passed", campaign.target)
    if campaign.state == CampaignState.RUNNING:
        enqueue("planning", PLAN_JOB, campaign.pk)
    push_campaigns([campaign.pk])
    return True


def pause_failing() -> int:
    """Pause the running campaigns in which more goes wrong than they allow; returns how many."""
    watched = Campaign.objects.filter(
        Q(stop_failures__isnull=False) | Q(stop_opt_outs__isnull=False), state=CampaignState.RUNNING
    )
    found = list(watched.select_related("workspace").order_by("pk"))
    if not found:
        return 0
    now = tallies(
        [campaign.pk for campaign in found],
        [campaign.pk for campaign in found if campaign.stop_opt_outs is not None],
    )
    paused = 0
    for campaign in found:
        tally = now.get(campaign.pk, Tally()).since(campaign.resumed_at_tally)
        if why := why_stop(tally, campaign.stop_failures, campaign.stop_opt_outs):
            paused += pause_campaign(campaign, None, why)
    return paused
