"""Failover: what becomes of a campaign's messages at a device that cannot send, by the campaign's own policy."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.conf import settings
from django.db.models import Min, Q
from django.utils import timezone

from campaigns.actions.moving import move_pending
from campaigns.live import push_campaigns
from campaigns.models import Campaign, CampaignState, Failover, Stream
from campaigns.querysets.campaigns import StreamQuerySet
from devices.models import Device, DeviceEvent, DeviceState, Host
from devices.shown import shown

# No engine can help here: a person must act, or WhatsApp must think again.
GONE = (DeviceState.NEW, DeviceState.UNLINKED, DeviceState.REPLACED, DeviceState.BANNED, DeviceState.OUTDATED)


@dataclass(frozen=True, slots=True)
class Question:
    """These messages wait at a device that has not been able to send since then: shall others send them?

    The answer is `campaigns.actions.moving.move_pending`.
    """

    device: Device
    messages: int
    since: datetime
    reason: str


def failover_questions(campaign: Campaign) -> list[Question]:
    """What a running campaign with the policy `ask` asks, the largest number of messages first."""
    if campaign.state != CampaignState.RUNNING or campaign.failover != Failover.ASK:
        return []
    found = _stuck(Stream.objects.filter(campaign=campaign))
    return sorted(found, key=lambda question: (-question.messages, question.device.pk))


def fail_over() -> int:
    """Move what the policy `other` says, and show what `ask` asks; returns how many messages moved."""
    moved = 0
    for campaign in _with_unsent(Failover.OTHER):
        for question in _stuck(Stream.objects.filter(campaign=campaign)):
            others = able_devices(campaign, question.device)
            moved += move_pending(question.device, others, campaign, None, why=question.reason)
    push_campaigns([campaign.pk for campaign in _with_unsent(Failover.ASK) if failover_questions(campaign)])
    return moved


def able_devices(campaign: Campaign, source: Device) -> list[Device]:
    """The campaign's other devices that could send now."""
    chosen = Device.objects.filter(campaign_links__campaign=campaign).exclude(pk=source.pk)
    return list(chosen.with_shown_state().shown_as(DeviceState.ONLINE).order_by("pk"))


def unable_since(device: Device) -> datetime | None:
    """Since when the device cannot send, and will not soon by itself; None: it can, or has been away for a moment only.

    ``device`` comes from ``with_shown_state()``.
    """
    if device.state in GONE:
        return device.state_at
    if device.shown_state == DeviceState.ONLINE:
        return None
    since = _away_since(device)
    # After a start every device is away until its turn to connect has come: that is no reason to move anything.
    served = Host.objects.alive().aggregate(first=Min("started_at"))["first"] or since
    long_ago = timezone.now() - timedelta(seconds=settings.FAILOVER_AFTER_S)
    return since if max(since, served) <= long_ago else None


def _away_since(device: Device) -> datetime:
    """The end of its last time online: each try to connect again is a state of its own."""
    if device.state == DeviceState.ONLINE:  # as its host said, which is silent now
        return device.owner.lease_until if device.owner else device.state_at
    events = DeviceEvent.objects.filter(device=device)
    online = events.filter(kind=DeviceState.ONLINE).order_by("-pk").first()
    away = events.filter(kind__in=DeviceState.values, pk__gt=online.pk if online else 0).order_by("pk").first()
    return min(away.at, device.state_at) if away else device.state_at


def _stuck(streams: StreamQuerySet) -> list[Question]:
    unsent = streams.filter(Q(pending__gt=0) | Q(waiting__gt=0))
    waiting = {stream.device_id: stream.pending + stream.waiting for stream in unsent}
    devices = Device.objects.filter(pk__in=waiting).select_related("workspace", "owner").with_shown_state()
    return [
        Question(device, waiting[device.pk], since, shown(device).reason)
        for device in devices.order_by("pk")
        if (since := unable_since(device)) is not None
    ]


def _with_unsent(policy: str) -> Sequence[Campaign]:
    unsent = Stream.objects.filter(Q(pending__gt=0) | Q(waiting__gt=0), campaign__isnull=False)
    found = Campaign.objects.filter(state=CampaignState.RUNNING, failover=policy, pk__in=unsent.values("campaign"))
    return list(found.select_related("workspace").order_by("pk"))
