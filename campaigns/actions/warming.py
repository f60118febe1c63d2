"""Warming up: each day a new number gets that day's cap, which rises while people reply (`devices.warm_up`)."""

from __future__ import annotations

from datetime import date

from django.db import transaction
from django.utils import timezone

from devices.jobs import rouse
from devices.live import push_devices
from devices.models import Device, DeviceEvent
from devices.warm_up import next_cap


def climb() -> int:
    """Set the cap of the day for each device whose day has begun; returns for how many. Safe on any number."""
    climbed = 0
    for device in Device.objects.filter(warm_cap__isnull=False).select_related("workspace").order_by("pk"):
        if device.warm_day is None or device.warm_day < today(device):
            with transaction.atomic():
                climbed += _climb(device)
    return climbed


def today(device: Device) -> date:
    """The day in the device's workspace."""
    return timezone.now().astimezone(device.workspace.zone).date()


def _climb(device: Device) -> bool:
    cap, replies = device.warm_cap, device.warm_replies
    assert cap is not None
    following = next_cap(cap, replies)
    # Exactly the row that was looked at: a reply that came in between counts when it is looked at again.
    seen = Device.objects.filter(pk=device.pk, warm_cap=cap, warm_day=device.warm_day, warm_replies=replies)
    day = None if following is None else today(device)
    if not seen.update(warm_cap=following, warm_day=day, warm_replies=0):
        return False
    brought = f"{replies:,} {'reply' if replies == 1 else 'replies'}"
    if following is None:
        kind, detail = "warm-up finished", f"{cap} a day brought {brought}"
    else:
        kind, detail = "warm-up", f"{following} today, after {cap} a day brought {brought}"
    DeviceEvent.objects.create(workspace=device.workspace, device=device, kind=kind, detail=detail)
    rouse("campaign", [(device.owner_id, device.pk)])  # it may be waiting for the next day
    push_devices([device.pk])
    return True
