"""How much device workers sent in the last full minute: the heat of Worker Status."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta

from django.utils import timezone

from campaigns.models import MinuteMeter

LATE = timedelta(minutes=3)  # an older minute is not the last one


def sent_last_minute(devices: Iterable[int]) -> dict[int, int]:
    """By device id; those that sent nothing are missing."""
    minutes = MinuteMeter.objects.filter(
        start__gt=timezone.now() - LATE, start__lte=timezone.now() - timedelta(minutes=1)
    )
    last = minutes.order_by("-start").values_list("start", flat=True).first()
    if last is None:
        return {}
    sent = MinuteMeter.objects.filter(start=last, device__in=list(devices), sent__gt=0)
    return dict(sent.values_list("device_id", "sent"))
