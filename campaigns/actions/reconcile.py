"""The reconciler: every 30 s it re-creates what a lost job, a dead process or an empty Redis left undone."""

from __future__ import annotations

from collections.abc import Callable

from django.db.models import Q
from django.db.models.functions import Now

from campaigns.actions.campaigns import PLAN_JOB, finish_campaigns, start_due_campaigns
from campaigns.actions.contact_moves import resume_stalled_moves
from campaigns.actions.expiry import expire_overdue
from campaigns.actions.failover import fail_over
from campaigns.actions.hours import release_streams
from campaigns.actions.imports import resume_stalled_imports
from campaigns.models import Campaign, CampaignState, Lane, Stream
from devices.jobs import enqueue, rouse


def reconcile() -> None:
    """Each step, whatever becomes of the others; their errors are raised together. Safe on any number."""
    failed = []
    for step in STEPS:
        try:
            step()
        except Exception as error:
            failed.append(error)
    if failed:
        raise ExceptionGroup("the reconciler could not do everything", failed)


def unplanned() -> list[int]:
    """Running campaigns whose plan is not complete: their job was lost or is still at work (it waits its turn)."""
    found = Campaign.objects.filter(state=CampaignState.RUNNING, planned_at__isnull=True)
    return list(found.values_list("pk", flat=True))


def resume_plans() -> None:
    for campaign_id in unplanned():
        enqueue("planning", PLAN_JOB, campaign_id)


def ring_for_due_work() -> None:
    for lane, name in ((Lane.DIRECT, "control"), (Lane.CAMPAIGN, "campaign"), (Lane.SEQUENCE, "sequence")):
        due = Stream.objects.filter(running=True, lane=lane, next_due__lte=Now(), device__owner__isnull=False)
        due = due.filter(Q(lane=Lane.DIRECT) | Q(held_until__isnull=True) | Q(held_until__lte=Now()))
        rouse(name, due.values_list("device__owner_id", "device_id").distinct())


# In this order: what is due starts, what is too late goes, what cannot leave here moves; then the bells.
STEPS: tuple[Callable[[], object], ...] = (
    start_due_campaigns,
    resume_plans,
    expire_overdue,
    fail_over,
    release_streams,
    ring_for_due_work,
    finish_campaigns,
    resume_stalled_imports,
    resume_stalled_moves,
)
