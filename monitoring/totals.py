"""How much was sent and heard since the beginning: the hours gone by are added up once, the last ones each time."""

from __future__ import annotations

import threading
from datetime import UTC, datetime, timedelta
from typing import Any

from django.db import transaction
from django.db.models import Sum
from django.utils import timezone

from campaigns.models import HourMeter
from campaigns.querysets.meters import WORDS
from monitoring.models import Kept

FINAL_AFTER = timedelta(hours=3)  # nothing is added to an hour that began so long ago
BEGINNING = datetime(2000, 1, 1, tzinfo=UTC)

_highest: dict[str, int] = {}
_lock = threading.Lock()


def totals(kept: Kept | None = None) -> dict[str, int]:
    """Of each of the `WORDS`; as new as the roll-up of meters, a minute or two. ``kept``: who has it read, gives it.

    Never less than this process said before: a device that is removed takes its last hours along, and a counter that
    goes back would be read as one that began anew.
    """
    kept = kept or Kept.objects.filter(name="totals").first()
    before, until = kept_values(kept)
    recent = summed(HourMeter.objects.filter(start__gte=until))
    with _lock:
        for word in WORDS:
            _highest[word] = max(_highest.get(word, 0), before[word] + recent[word])
        return dict(_highest)


def forget() -> None:
    _highest.clear()


@transaction.atomic
def fold() -> None:
    """Add the hours that are final to what is kept: sums stay short however long the installation lives."""
    Kept.objects.get_or_create(name="totals", defaults={"at": BEGINNING, "value": {}})
    kept = Kept.objects.select_for_update().get(name="totals")
    before, since = kept_values(kept)
    until = timezone.now().replace(minute=0, second=0, microsecond=0) - FINAL_AFTER
    if until <= since:
        return
    added = summed(HourMeter.objects.filter(start__gte=since, start__lt=until))
    kept.value = {word: before[word] + added[word] for word in WORDS}
    kept.at = until
    kept.save(update_fields=["value", "at"])


def kept_values(kept: Kept | None) -> tuple[dict[str, int], datetime]:
    value = kept.value if kept else {}
    return {word: value.get(word, 0) for word in WORDS}, kept.at if kept else BEGINNING


def summed(meters: Any) -> dict[str, int]:
    found = meters.aggregate(**{word: Sum(word) for word in WORDS})
    return {word: found[word] or 0 for word in WORDS}
