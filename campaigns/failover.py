"""Which devices cannot send, and what running campaigns ask about the messages that wait at them."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.conf import settings
from django.db.models import Min, Q
from django.utils import timezone

from campaigns.models import Campaign, CampaignState, Failover, Stream
from campaigns.querysets.campaigns import StreamQuerySet
from devices.models import Device, DeviceEvent, DeviceState, Host
from devices.shown import is_connected, shown

# No engine can help here: a person must act, or WhatsApp must think again.
GONE = (DeviceState.NEW, DeviceState.UNLINKED, DeviceState.REPLACED, DeviceState.BANNED, DeviceState.OUTDATED)


@dataclass(frozen=True, slots=True)
class Question:
    """These messages wait at a device that has not been able to send since then: shall others send them?

    The answers are in `campaigns.actions.failover`.
    """

    device: Device
    messages: int
    since: datetime
    reason: str


def failover_questions(campaign: Campaign) -> list[Question]:
    """What a running campaign with the policy `ask` asks, the largest number of messages first."""
    if campaign.state != CampaignState.RUNNING or campaign.failover != Failover.ASK:
        return []
    found = stuck_at(Stream.objects.filter(campaign=campaign))
    return sorted(found, key=lambda question: (-question.messages, question.device.pk))


@dataclass(frozen=True, slots=True)
class Asked:
    """All that one campaign asks, and how many of its other devices could send instead."""

    questions: list[Question]
    messages: int
    others: int


def asked_of(campaign: Campaign) -> Asked | None:
    questions = failover_questions(campaign)
    if not questions:
        return None
    others = able_devices(campaign, questions[0].device)  # none of the others that are asked about is able
    return Asked(questions, sum(question.messages for question in questions), len(others))


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
    if is_connected(device):  # held, too: others that take over from a number WhatsApp slows down would only evade it
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


def stuck_at(streams: StreamQuerySet) -> list[Question]:
    """The devices of these streams that have something to send and cannot."""
    unsent = streams.filter(Q(pending__gt=0) | Q(waiting__gt=0))
    waiting: Counter[int] = Counter()
    for stream in unsent:
        waiting[stream.device_id] += stream.pending + stream.waiting
    devices = Device.objects.filter(pk__in=waiting).select_related("workspace", "owner").with_shown_state()
    return [
        Question(device, waiting[device.pk], since, shown(device).reason)
        for device in devices.order_by("pk")
        if (since := unable_since(device)) is not None
    ]
