"""The reconciler: every 30 s it re-creates what a lost job, a dead process or an empty Redis left undone."""

from __future__ import annotations

import logging

from django.db.models.functions import Now

from campaigns.actions.campaigns import PLAN_JOB, finish_campaigns, start_due_campaigns
from campaigns.actions.imports import resume_stalled_imports
from campaigns.models import Campaign, CampaignState, Lane, Stream
from devices.jobs import enqueue, rouse

logger = logging.getLogger(__name__)


def reconcile() -> None:
    """Start what is due, go on planning and importing, ring for due work, finish what is done. Safe on any number."""
    start_due_campaigns()
    for campaign_id in unplanned():
        enqueue("planning", PLAN_JOB, campaign_id)
    for lane, name in ((Lane.DIRECT, "control"), (Lane.CAMPAIGN, "campaign"), (Lane.SEQUENCE, "sequence")):
        due = Stream.objects.filter(running=True, lane=lane, next_due__lte=Now(), device__owner__isnull=False)
        rouse(name, due.values_list("device__owner_id", "device_id").distinct())
    finish_campaigns()
    resume_stalled_imports()


def unplanned() -> list[int]:
    """Running campaigns whose plan is not complete: their job was lost or is still at work (it waits its turn)."""
    found = Campaign.objects.filter(state=CampaignState.RUNNING, planned_at__isnull=True)
    return list(found.values_list("pk", flat=True))
