"""How much device workers sent in the last full minute: the heat of Worker Status, of thousands in one statement."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime, timedelta

from django.utils import timezone

from campaigns.querysets.meters import sent_in_minute

ROLLED_UP_S = 30  # after its end a minute is in PostgreSQL


def last_full_minute(now: datetime) -> datetime:
    """When the last minute began that ended half a minute ago or more."""
    return (now - timedelta(seconds=ROLLED_UP_S)).replace(second=0, microsecond=0) - timedelta(minutes=1)


def sent_last_minute(devices: Collection[int]) -> dict[int, int]:
    """By device id; those that sent nothing are missing."""
    return sent_in_minute(last_full_minute(timezone.now()), devices)
