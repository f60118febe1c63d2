"""Starting, pausing, resuming, cancelling and finishing campaigns."""

from __future__ import annotations

from collections.abc import Iterable

from django.db import connection, transaction
from django.db.models import Exists, OuterRef, Q
from django.db.models.functions import Now
from django.utils import timezone

from accounts.audit import record
from accounts.models import User
from campaigns.actions.locking import lock_with_streams
from campaigns.engine.watching import Tally
from campaigns.live import push_campaigns
from campaigns.models import Campaign, CampaignState, Stream
from campaigns.querysets.tallies import tallies
from devices.jobs import enqueue, rouse

PLAN_JOB = "campaigns.jobs.planning.plan_campaign"
FINISHED_AT_ONCE = 100  # their streams are locked meanwhile


class ChangedSince(Exception):
    """Somebody changed the draft after it was looked at."""


@transaction.atomic
def launch_campaign(campaign: Campaign, by: User | None, version: int | None = None) -> bool:
    """Start now, or schedule when ``start_at`` lies ahead. False: somebody else moved the campaign first.

    ``version``: of the draft, as it was looked at; another one raises `ChangedSince`. None: whatever there is now.
    """
    found = Campaign.objects.select_for_update(of=("self",)).get(pk=campaign.pk)
    if found.state == CampaignState.DRAFT and version is not None and found.version != version:
        raise ChangedSince
    campaign.start_at = found.start_at
    ahead = campaign.start_at is not None and campaign.start_at > timezone.now()
    if ahead:
        return _moved(campaign, by, CampaignState.SCHEDULED, "campaign.scheduled")
    return _launch_now(campaign, by)


def _launch_now(campaign: Campaign, by: User | None) -> bool:
    origins = [CampaignState.DRAFT, CampaignState.SCHEDULED]
    if not _moved(campaign, by, CampaignState.RUNNING, "campaign.started", origins, launched_at=Now()):
        return False
    enqueue("planning", PLAN_JOB, campaign.pk)
    return True


@transaction.atomic
def unschedule_campaign(campaign: Campaign, by: User | None) -> bool:
    return _moved(campaign, by, CampaignState.DRAFT, "campaign.unscheduled")


@transaction.atomic
def pause_campaign(campaign: Campaign, by: User | None, why: str = "") -> bool:
    """``why``, a sentence, where it pauses itself."""
    deed = "campaign.paused_itself" if why else "campaign.paused"
    if not _moved(campaign, by, CampaignState.PAUSED, deed, paused_why=why):
        return False
    _set_running(campaign, False)
    return True


@transaction.atomic
def resume_campaign(campaign: Campaign, by: User | None) -> bool:
    """What went wrong so far is forgiven: whether it pauses itself again is judged by what comes after."""
    so_far = tallies([campaign.pk], [campaign.pk]).get(campaign.pk, Tally())
    forgiven = {
        "paused_why": "",
        "resumed_tried": so_far.tried,
        "resumed_failed": so_far.failed,
        "resumed_sent": so_far.sent,
        "resumed_opted_out": so_far.opted_out,
    }
    if not _moved(campaign, by, CampaignState.RUNNING, "campaign.resumed", [CampaignState.PAUSED], **forgiven):
        return False
    _set_running(campaign, True)
    if campaign.planned_at is None:
        enqueue("planning", PLAN_JOB, campaign.pk)
    rouse_campaign(campaign)
    return True


@transaction.atomic
def cancel_campaign(campaign: Campaign, by: User | None) -> bool:
    """Stop for good: what has not begun to leave becomes cancelled, what is in flight is still settled."""
    if not _moved(campaign, by, CampaignState.CANCELLED, "campaign.cancelled", finished_at=Now()):
        return False
    _set_running(campaign, False)
    with connection.cursor() as cursor:
        cursor.execute(CANCEL_SQL, {"campaign": campaign.pk})
    return True


def _moved(
    campaign: Campaign,
    by: User | None,
    state: str,
    deed: str,
    origins: Iterable[str] | None = None,
    **changes: object,
) -> bool:
    if not campaign.move_to(state, origins, **changes):
        return False
    record(campaign.workspace, by, deed, campaign.target, name=campaign.name)
    push_campaigns([campaign.pk])
    return True


def _set_running(campaign: Campaign, running: bool) -> None:
    streams = Stream.objects.filter(campaign=campaign)
    streams.lock()
    streams.update(running=running)


# The streams are locked by `_set_running`, so nothing of them is claimed while this runs.
CANCEL_SQL = """
WITH moved AS (
    UPDATE campaigns_message m SET state = 'cancelled', reason = 'campaign_cancelled'
    FROM campaigns_stream s
    WHERE s.campaign_id = %(campaign)s AND m.stream_id = s.id AND m.state IN ('pending', 'waiting')
    RETURNING m.stream_id
)
UPDATE campaigns_stream s SET pending = 0, waiting = 0, cancelled = s.cancelled + n.n, next_due = NULL, next_id = 0
FROM (SELECT stream_id, count(*) AS n FROM moved GROUP BY stream_id) n
WHERE s.id = n.stream_id
"""


def rouse_campaign(campaign: Campaign) -> None:
    """Ring for every device that has something to send for this campaign."""
    devices = Stream.objects.filter(campaign=campaign, running=True, next_due__isnull=False)
    rouse("campaign", devices.values_list("device__owner_id", "device_id"))


def start_due_campaigns() -> int:
    """Start every scheduled campaign whose time has come; returns how many. Safe on any number of clocks."""
    due = Campaign.objects.filter(state=CampaignState.SCHEDULED, start_at__lte=Now())
    started = 0
    for campaign in due.select_related("workspace").order_by("start_at", "pk"):
        with transaction.atomic():
            started += _launch_now(campaign, None)
    return started


def finish_campaigns(ids: Iterable[int] | None = None) -> int:
    """Complete the running campaigns that are planned and have nothing remaining; returns how many."""
    wanted = Q() if ids is None else Q(pk__in=list(ids))
    running = Campaign.objects.filter(wanted, state=CampaignState.RUNNING, planned_at__isnull=False)
    idle = list(running.exclude(Exists(Stream.objects.remaining().filter(campaign=OuterRef("pk")))).order_by("pk"))
    return sum(_finish(idle[start : start + FINISHED_AT_ONCE]) for start in range(0, len(idle), FINISHED_AT_ONCE))


@transaction.atomic
def _finish(idle: Iterable[Campaign]) -> int:
    locked = lock_with_streams(idle)  # so that no message comes back between the look and the move
    streams = Stream.objects.filter(campaign__in=locked)
    busy = set(streams.remaining().values_list("campaign", flat=True))
    finished = [
        campaign
        for campaign in locked
        if campaign.pk not in busy
        and _moved(campaign, None, CampaignState.COMPLETED, "campaign.completed", finished_at=Now())
    ]
    streams.filter(campaign__in=finished).update(running=False)
    return len(finished)
