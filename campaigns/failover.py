"""Which devices cannot send, and what running campaigns ask about the messages that wait at them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.conf import settings
from django.db.models import Min, OuterRef, Subquery
from django.db.models.functions import Coalesce
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
    return all_unable_since([device]).get(device.pk)


def all_unable_since(devices: Sequence[Device]) -> dict[int, datetime]:
    """`unable_since` by id, of those that cannot send; in two queries, however many there are."""
    found = {device.pk: device.state_at for device in devices if device.state in GONE}
    # Held ones, too, are connected: others that take over from a number WhatsApp slows down would only evade it.
    away = [device for device in devices if device.pk not in found and not is_connected(device)]
    if not away:
        return found
    # After a start every device is away until its turn to connect has come: that is no reason to move anything.
    served = Host.objects.alive().aggregate(first=Min("started_at"))["first"]
    long_ago = timezone.now() - timedelta(seconds=settings.FAILOVER_AFTER_S)
    for pk, since in _away_since(away).items():
        if max(since, served or since) <= long_ago:
            found[pk] = since
    return found


def _away_since(devices: Sequence[Device]) -> dict[int, datetime]:
    """The end of each one's last time online: each try to connect again is a state of its own."""
    # As its host said, which is silent now.
    found = {
        device.pk: device.owner.lease_until if device.owner else device.state_at
        for device in devices
        if device.state == DeviceState.ONLINE
    }
    others = {device.pk: device.state_at for device in devices if device.pk not in found}
    events = DeviceEvent.objects.filter(device=OuterRef("pk"))
    online = events.filter(kind=DeviceState.ONLINE).order_by("-pk").values("pk")[:1]
    left = events.filter(kind__in=DeviceState.values, pk__gt=Coalesce(OuterRef("last_online"), 0)).order_by("pk")
    asked = Device.objects.filter(pk__in=others).annotate(last_online=Subquery(online))
    for pk, at in asked.annotate(left_at=Subquery(left.values("at")[:1])).values_list("pk", "left_at"):
        found[pk] = min(at, others[pk]) if at else others[pk]
    return found


def stuck_at(streams: StreamQuerySet) -> list[Question]:
    """The devices of these streams that have something to send and cannot."""
    waiting: Counter[int] = Counter()
    for stream in streams.unsent():
        waiting[stream.device_id] += stream.pending + stream.waiting
    devices = Device.objects.filter(pk__in=waiting).select_related("workspace", "owner").with_shown_state()
    return [
        Question(device, waiting[device.pk], since, shown(device).reason)
        for device in devices.order_by("pk")
        if (since := unable_since(device)) is not None
    ]
