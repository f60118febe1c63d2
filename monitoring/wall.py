"""What a wall link opens: the address it is signed into, and what stands there, without names, numbers or text."""

from __future__ import annotations

from datetime import UTC, timedelta
from typing import Any
from uuid import UUID

from django.conf import settings
from django.core import signing
from django.core.cache import cache
from django.urls import reverse
from django.utils import timezone

from accounts.models import Workspace
from campaigns.charts import Columns, Series, columns
from campaigns.last_minute import sent_last_minute
from campaigns.live import bar, device_rows, figures, funnel, planning, rate_of, seconds_left, streams_of
from campaigns.meters import live_meters
from campaigns.models import Campaign, HourMeter
from campaigns.opt_out import ShortSigner
from campaigns.shown import duration, shown_campaign
from devices.models import Device
from devices.seen import seen
from devices.shown import SHOWN_STATES, held, shown, used_today
from devices.warm_up import cap_today
from monitoring.models import WallKind, WallLink
from monitoring.workers import ORDER, Queue, Scope, heat_of, queues

HOURS_SHOWN = 24
KEPT_S = 4


def _signer() -> ShortSigner:
    return ShortSigner(sep=".", salt="flotilla.wall")


def token_of(link: WallLink) -> str:
    return _signer().sign(signing.b62_encode(link.uuid.int))


def address_of(link: WallLink) -> str:
    return settings.SITE_URL + reverse("monitoring:wall", args=[token_of(link)])


def uuid_in(token: str) -> UUID | None:
    """None: we never signed it; nothing is asked of any server to know."""
    try:
        return UUID(int=signing.b62_decode(_signer().unsign(token)))
    except (signing.BadSignature, ValueError):
        return None


def open_link(uuid: UUID) -> WallLink | None:
    """None: it has expired, or was revoked, or is no more; nobody is told which."""
    return WallLink.objects.open().select_related("workspace", "device", "campaign").filter(uuid=uuid).first()


def view_of(link: WallLink) -> dict[str, Any]:
    """Everything `_wall.html` reads. Run inside the workspace's scope."""
    told = {"link": link, "kind": link.kind, "now": timezone.now()}
    if link.kind == WallKind.DEVICE:
        return {**told, **device_view(link)}
    if link.kind == WallKind.CAMPAIGN and link.campaign is not None:
        return {**told, **campaign_view(link.campaign)}
    return {**told, **kept_workers_view(link.workspace)}


def kept_workers_view(workspace: Workspace) -> dict[str, Any]:
    """As it was `KEPT_S` ago at most: all screens of a workspace show the same, and each asks every ten seconds."""
    key = f"wall:workers:{workspace.uuid}"
    found = cache.get(key)
    if not isinstance(found, dict):
        found = workers_view(workspace)
        cache.set(key, found, KEPT_S)
    return found


def workers_view(workspace: Workspace) -> dict[str, Any]:
    devices = seen(Scope(workspace).devices().order_by("name"))
    meters = live_meters(devices).values()
    sent = sent_last_minute([device.pk for device in devices])
    states = [device.shown_state for device in devices]
    return {
        "cells": [(device.shown_state, heat_of(sent.get(device.pk, 0))) for device in devices],
        "counts": [
            (state, SHOWN_STATES[state].word, states.count(state)) for state in reversed(ORDER) if state in states
        ],
        "devices": len(devices),
        "sent_minute": sum(sent.values()),
        "sent_hour": sum(meter.hour.sent for meter in meters),
        "sent_day": sum(meter.day.sent for meter in meters),
        "failed_day": sum(meter.day.failed for meter in meters),
        "queued": sum(queue.depth for queue in queues([device.pk for device in devices]).values()),
    }


def device_view(link: WallLink) -> dict[str, Any]:
    device: Device = Scope(link.workspace).devices().select_related("workspace").get(pk=link.device_id)
    meter = live_meters([device])[device.pk]
    hold = held(device)
    tried = meter.day.sent + meter.day.failed
    return {
        "state": shown(device),
        "shown_state": device.shown_state,
        "meter": meter,
        "queued": queues([device.pk]).get(device.pk, Queue()).depth,
        "used": used_today(device),
        "cap": cap_today(device),
        "next_at": hold.until if hold else None,
        "success": round(100 * meter.day.sent / tried, 1) if tried else None,
        "chart": hours_of(device),
    }


def hours_of(device: Device) -> Columns:
    """What it sent and what failed in each of the last 24 hours, this one included."""
    zone = device.workspace.zone
    this = timezone.now().astimezone(zone).replace(minute=0, second=0, microsecond=0).astimezone(UTC)
    starts = [this - timedelta(hours=back) for back in reversed(range(HOURS_SHOWN))]
    found = {
        meter.start: meter
        for meter in HourMeter.objects.filter(workspace=device.workspace, device=device, start__gte=starts[0])
    }
    counts = [(found[at].sent, found[at].failed) if at in found else (0, 0) for at in starts]
    return columns(
        "Messages by hour",
        [f"{at.astimezone(zone):%H}" for at in starts],
        [
            Series("sent", "Sent", [sent for sent, _ in counts]),
            Series("failed", "Failed", [failed for _, failed in counts]),
        ],
    )


def campaign_view(campaign: Campaign) -> dict[str, Any]:
    campaign = Campaign.objects.select_related("workspace").get(pk=campaign.pk)
    streams = streams_of([campaign])[campaign.pk]
    found = figures(streams)
    rate = rate_of(campaign, found)
    left = seconds_left(campaign, found, device_rows(campaign, streams), rate)
    state = shown_campaign(campaign)
    return {
        "state": state,
        "figures": found,
        "bar": bar(found),
        "funnel": funnel(found),
        "rate": rate,
        "left": duration(left) if left is not None else None,
        "ends_at": timezone.now() + timedelta(seconds=left) if left is not None else None,
        "planning": planning(campaign),
    }
