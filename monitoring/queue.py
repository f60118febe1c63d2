"""What the Queue page shows of a workspace: its lanes, what waits for its time, and the doubts.

From the streams' counters and the short table of doubts; nothing here grows with the number of messages. What failed
is `campaigns.dead_letters`.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.conf import settings
from django.core.cache import cache
from django.db.models import Count, F, Q, QuerySet, Sum
from django.db.models.functions import Now
from django.utils import timezone

from accounts.models import Workspace
from campaigns.live import database_time
from campaigns.models import Campaign, CampaignState, Lane, Stream, Uncertain, UncertainPolicy
from campaigns.querysets.lanes import AtDevice, InLane, lanes_by_device, lanes_of
from campaigns.querysets.unsettled import Selection
from campaigns.shown import duration, reason_in_words, shown_campaign
from devices.models import Device
from devices.shown import Held, held, may_send_at

LANE_WORDS = {
    Lane.DIRECT: ("Direct", "Tests and replies: before everything else."),
    Lane.CAMPAIGN: ("Campaigns", "One message to many people."),
    Lane.SEQUENCE: ("Sequences", "When nothing else is due."),
}
SHOWN = 50
PAGE = 25
WAITS_FOR_S = 30  # the number in the menu may be so old
DIRECT = "direct"  # in an address: what belongs to no campaign


@dataclass(frozen=True, slots=True)
class LaneShown:
    key: str
    word: str
    text: str
    waits: InLane


@dataclass(frozen=True, slots=True)
class DeviceLane:
    device: Device
    depths: list[tuple[str, int]]
    depth: int
    oldest: datetime | None
    hold: Held | None
    next_send: datetime | None


@dataclass(frozen=True, slots=True)
class Waits:
    """What of a campaign does not leave yet, or not for long: why, when it goes on, and when it expires."""

    campaign: Campaign
    messages: int
    why: str
    until: datetime | None
    expires: datetime | None


def queue_context(workspace: Workspace) -> dict[str, Any]:
    """Everything `_queue.html` reads."""
    scheduled = Campaign.objects.for_workspace(workspace).filter(state=CampaignState.SCHEDULED)
    planned = list(scheduled.order_by(F("start_at").asc(nulls_last=True), "pk")[: SHOWN + 1])
    waits = list(waits_of(workspace))
    failed, uncertain = stuck_counts(workspace)
    cache.set(waits_key(workspace), failed + uncertain, WAITS_FOR_S)
    return {
        "lanes": lanes(workspace),
        "failed": failed,
        "uncertain": uncertain,
        "scheduled": [(campaign, shown_campaign(campaign)) for campaign in with_workspace(planned[:SHOWN], workspace)],
        "more_scheduled": len(planned) > SHOWN,
        "waits": waits[:SHOWN],
        "more_waits": max(0, len(waits) - SHOWN),
    }


def with_workspace(campaigns: Sequence[Campaign], workspace: Workspace) -> Iterator[Campaign]:
    for campaign in campaigns:
        campaign.workspace = workspace
        yield campaign


def stuck_counts(workspace: Workspace) -> tuple[int, int]:
    """Messages that failed, and that nobody knows about."""
    touched = Stream.objects.for_workspace(workspace).filter(Q(dead__gt=0) | Q(uncertain__gt=0))
    sums = touched.aggregate(dead=Sum("dead"), uncertain=Sum("uncertain"))
    return sums["dead"] or 0, sums["uncertain"] or 0


def waiting_for_somebody(workspace: Workspace) -> int:
    """The number in the menu; at most `WAITS_FOR_S` old."""
    kept: int | None = cache.get(waits_key(workspace))
    if kept is None:
        kept = sum(stuck_counts(workspace))
        cache.set(waits_key(workspace), kept, WAITS_FOR_S)
    return kept


def waits_key(workspace: Workspace) -> str:
    return f"queue-waits:{workspace.pk}"


def forget_waiting(workspace: Workspace) -> None:
    cache.delete(waits_key(workspace))


# ---- The lanes


def devices_of(workspace: Workspace) -> list[int]:
    """For what runs at these there is an index, without all that is over."""
    return list(Device.objects.for_workspace(workspace).values_list("pk", flat=True))


def lanes(workspace: Workspace) -> list[LaneShown]:
    found = lanes_of(devices_of(workspace))
    return [LaneShown(str(lane.label), *LANE_WORDS[lane], found.get(lane, InLane())) for lane in Lane]


def device_lanes(workspace: Workspace) -> list[DeviceLane]:
    """Of the devices that something waits at, the fullest first."""
    waiting = lanes_by_device(devices_of(workspace))
    devices = Device.objects.for_workspace(workspace).filter(pk__in=waiting).select_related("workspace")
    rows = [device_lane(device, waiting[device.pk]) for device in devices.with_shown_state()]
    return sorted(rows, key=lambda row: (-row.depth, row.device.name))


def device_lane(device: Device, waiting: Sequence[AtDevice]) -> DeviceLane:
    depths = {waits.lane: waits.depth for waits in waiting}
    hold = held(device, at_any_hour=set(depths) == {Lane.DIRECT})
    return DeviceLane(
        device,
        [(LANE_WORDS[lane][0], depths.get(lane, 0)) for lane in Lane],
        sum(depths.values()),
        min((waits.oldest for waits in waiting if waits.oldest), default=None),
        hold,
        may_send_at(device, hold),
    )


# ---- What waits for its time


def waits_of(workspace: Workspace) -> Iterator[Waits]:
    """Campaigns with something that is held, paused or about to expire; what expires first comes first."""
    campaigns = Campaign.objects.for_workspace(workspace).open().values_list("pk", flat=True)
    streams = Stream.objects.for_workspace(workspace).unsent().filter(campaign__in=list(campaigns))
    told = streams.filter(Q(running=False) | Q(held_until__gt=Now()) | Q(expires_at__isnull=False))
    by_campaign: dict[Campaign, list[Stream]] = defaultdict(list)
    for stream in told.select_related("campaign"):
        assert stream.campaign is not None
        by_campaign[stream.campaign].append(stream)
    rows = [waits(campaign, own) for campaign, own in by_campaign.items()]
    far = timezone.now() + timedelta(days=36_500)
    yield from sorted(rows, key=lambda row: (row.expires or far, row.until or far, row.campaign.pk))


def waits(campaign: Campaign, streams: Sequence[Stream]) -> Waits:
    now = timezone.now()
    holds = [stream for stream in streams if stream.held_until and stream.held_until > now]
    expires = min((stream.expires_at for stream in streams if stream.expires_at), default=None)
    why, until, concerned = "It leaves at the pace of its devices.", None, streams
    if campaign.state == CampaignState.PAUSED:
        why = campaign.paused_why or "It is paused until somebody resumes it."
    elif holds:
        why, concerned = "It is outside the hours for writing to these people.", holds
        until = min(stream.held_until for stream in holds if stream.held_until)
    return Waits(campaign, sum(one.pending + one.waiting for one in concerned), why, until, expires)


# ---- Doubts


@dataclass(frozen=True, slots=True)
class DoubtShown:
    """``evidence``: what was found so far. ``then``: what happens by itself, and ``at`` when; None: nothing does."""

    doubt: Uncertain
    device: str
    tries: list[tuple[datetime, str, str]]
    evidence: list[str]
    then: str
    at: datetime | None
    sendable: bool


@dataclass(frozen=True, slots=True)
class DoubtsPage:
    rows: list[DoubtShown]
    following: str
    total: int
    sendable: int
    until: datetime


def doubts_of(workspace: Workspace, campaign: Campaign | None = None, direct: bool = False) -> QuerySet[Uncertain]:
    """By devices: for these there is an index."""
    devices = Device.objects.for_workspace(workspace).values_list("pk", flat=True)
    found = Uncertain.objects.for_workspace(workspace).filter(device_id__in=list(devices))
    if campaign is not None:
        return found.filter(message__campaign=campaign)
    return found.filter(message__campaign__isnull=True) if direct else found


def doubts_page(workspace: Workspace, doubts: QuerySet[Uncertain], after: str = "") -> DoubtsPage:
    """The oldest first."""
    until = database_time()
    last = int(after) if after.isascii() and after.isdecimal() and len(after) < 19 else 0
    related = doubts.select_related("message__contact", "message__campaign", "message__stream")
    rows = list(related.prefetch_related("message__earlier_attempts").filter(pk__gt=last).order_by("pk")[: PAGE + 1])
    gone = Q(message__contact__isnull=True) & (Q(message__campaign__isnull=False) | Q(phone=""))
    sendable = doubts.exclude(gone).exclude(message__campaign__state=CampaignState.CANCELLED)
    expired = Q(message__stream__expires_at__lte=Now())
    return DoubtsPage(
        list(shown_doubts(workspace, rows[:PAGE])),
        str(rows[PAGE - 1].pk) if len(rows) > PAGE else "",
        doubts.count(),
        sendable.exclude(expired).count(),
        until,
    )


def shown_doubts(workspace: Workspace, doubts: Sequence[Uncertain]) -> Iterator[DoubtShown]:
    names = dict(Device.objects.for_workspace(workspace).values_list("pk", "name"))
    same = Uncertain.objects.for_workspace(workspace).filter(
        device_id__in={doubt.device_id for doubt in doubts}, phone__in={doubt.phone for doubt in doubts} - {""}
    )
    pairs = same.values_list("device_id", "phone").annotate(n=Count("pk")).filter(n__gt=1)
    twins = {(device, phone) for device, phone, _ in pairs}
    for doubt in doubts:
        then, at = policy_of(doubt)
        yield DoubtShown(
            doubt,
            names.get(doubt.device_id, "a device that was removed"),
            tries_of(doubt, names),
            list(evidence_of(doubt, (doubt.device_id, doubt.phone) in twins)),
            then,
            at,
            is_sendable(doubt),
        )


def tries_of(doubt: Uncertain, names: dict[int, str]) -> list[tuple[datetime, str, str]]:
    """(when, by which device, what became of it), in order; the last is the one that nobody knows about."""
    earlier = sorted(doubt.message.earlier_attempts.all(), key=lambda attempt: attempt.number)
    known = [
        (one.started_at, names.get(one.device_id, "a device that was removed"), reason_in_words(one.outcome))
        for one in earlier
        if one.tag != doubt.tag
    ]
    return [*known, (doubt.began_at, names.get(doubt.device_id, "?"), reason_in_words(doubt.message.reason))]


def evidence_of(doubt: Uncertain, has_twin: bool) -> Iterator[str]:
    if doubt.message.wire_id:
        yield "Its tag was found in the device's session: WhatsApp knows it. A receipt settles it as delivered."
    elif doubt.asked_at:
        yield "The device's session was searched for its tag: not found, which proves nothing."
    else:
        yield "The device's session was not searched yet: that takes the device to be online."
    if has_twin:
        yield "Two messages to this person are uncertain: a receipt may be of either, so an unknown one proves none."
    elif not doubt.message.wire_id:
        yield "No receipt from this person fits it so far."


def policy_of(doubt: Uncertain) -> tuple[str, datetime | None]:
    """What happens by itself without a proof, and when."""
    campaign = doubt.message.campaign
    at = doubt.since + timedelta(seconds=settings.UNCERTAIN_AFTER_S)
    if campaign is None:
        return "It stays so until you decide: it belongs to no campaign.", None
    if campaign.uncertain_policy == UncertainPolicy.ASSUME_SENT:
        return "Without a proof it counts as sent, as its campaign is set", at
    if campaign.uncertain_policy == UncertainPolicy.RESEND:
        if doubt.message.may_duplicate:
            return "It was sent again once already: a third one only if you say so.", None
        if is_sendable(doubt):
            return "Without a proof it is sent again, as its campaign is set", at
        return "It cannot be sent again.", None
    return "It stays so until you decide, as its campaign is set.", None


def is_sendable(doubt: Uncertain) -> bool:
    campaign, expires = doubt.message.campaign, doubt.message.stream.expires_at
    over = expires is not None and expires <= timezone.now()
    gone = doubt.message.contact_id is None and (campaign is not None or not doubt.phone)
    return not (over or gone) and (campaign is None or campaign.state != CampaignState.CANCELLED)


def doubts_by_campaign(workspace: Workspace) -> list[tuple[str, str, int]]:
    """(key in the address, name, how many), the newest campaign first."""
    touched = Stream.objects.for_workspace(workspace).filter(uncertain__gt=0)
    rows = touched.values_list("campaign__uuid", "campaign__name").annotate(n=Sum("uncertain"))
    return [
        (str(uuid or DIRECT), name or "Tests and replies", count)
        for uuid, name, count in rows.order_by(F("campaign").desc(nulls_last=True))
    ]


def doubt_selections(
    workspace: Workspace,
    until: datetime,
    campaign: Campaign | None = None,
    direct: bool = False,
    messages: Sequence[int] | None = None,
) -> list[Selection]:
    """Those of one campaign, of none (``direct``), or of the whole workspace; ``messages`` (ids) narrow them."""
    touched = Stream.objects.for_workspace(workspace).filter(uncertain__gt=0)
    if campaign is not None:
        touched = touched.filter(campaign=campaign)
    if messages is not None:
        touched = touched.filter(messages__in=messages)
    ids = set(touched.values_list("campaign", flat=True))
    found: list[Campaign | None] = []
    if not direct:
        own = Campaign.objects.for_workspace(workspace).filter(pk__in=ids - {None})
        found += own.select_related("workspace").order_by("pk")
    if None in ids:
        found.append(None)
    return [Selection(one, until, messages=messages, workspace=workspace if one is None else None) for one in found]


def lasting() -> str:
    return duration(settings.UNCERTAIN_AFTER_S)
