"""What devices did in a period, by their meters: over time, by hour of the day, and how long their messages took.

Meters count everything a device did in these days, whatever campaign it was for; tests and replies count, too.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any

from django.db.models import Sum

from accounts.models import Workspace
from campaigns.charts import Columns, Series, columns
from campaigns.meters import mean_of, p95_of
from campaigns.models import DayMeter, HourMeter
from campaigns.models.meter import TIME_BOUNDS_MS, Meter
from campaigns.querysets.meters import NOTHING, by_hour_of_day
from campaigns.querysets.meters import WORDS as COUNTED
from campaigns.report import HOURS, hour_words
from monitoring.period import Period

BY_HOUR = 2  # days: a shorter period is drawn hour by hour
BY_DAY = 92  # days: a longer one week by week
WORDS = {"sent": "Sent", "delivered": "Delivered", "replied": "Replied", "failed": "Failed"}


@dataclass(frozen=True, slots=True)
class Took:
    """Milliseconds from when a message might have left to WhatsApp's acknowledgement; None: nothing was measured."""

    mean_ms: float | None = None
    p95_ms: float | None = None

    @property
    def mean(self) -> str:
        return in_words(self.mean_ms)

    @property
    def p95(self) -> str:
        return in_words(self.p95_ms)


def in_words(ms: float | None) -> str:
    """``85 ms``, ``1.2 s``, ``3 min``; empty for nothing."""
    if ms is None:
        return ""
    if ms < 1_000:
        return f"{ms:.0f} ms"
    return f"{ms / 1000:.1f} s" if ms < 120_000 else f"{ms / 60_000:.0f} min"


def times_taken(workspace: Workspace, asked: Period, device: int | None = None) -> dict[int, Took]:
    """By device (id)."""
    classes = range(len(TIME_BOUNDS_MS) + 1)
    sums = {"ms": Sum("time_ms"), **{f"class_{place}": Sum(f"times__{place}") for place in classes}}
    found = meters_of(DayMeter, workspace, asked.begin, asked.end, device).values("device").annotate(**sums)
    rows = found.order_by().values_list("device", "ms", *(f"class_{place}" for place in classes))
    return {pk: Took(mean_of(time_ms, times), p95_of(times)) for pk, time_ms, *times in rows}


def over_time(workspace: Workspace, asked: Period, device: int | None = None) -> Columns:
    """By hour, day or week, with what was sent in the period before as a line."""
    labels, place = places(asked)
    counts = {name: [0] * len(labels) for name in ("sent", "failed", "before")}
    shift = timedelta(days=asked.days)
    meter = HourMeter if asked.days <= BY_HOUR else DayMeter
    meters = meters_of(meter, workspace, asked.before_begin, asked.end, device).values("start").order_by()
    for start, sent, failed in meters.annotate(n=Sum("sent"), dead=Sum("failed")).values_list("start", "n", "dead"):
        local = start.astimezone(asked.zone)
        if local < asked.begin:
            counts["before"][place(local + shift)] += sent
        else:
            counts["sent"][place(local)] += sent
            counts["failed"][place(local)] += failed
    series = [Series(name, WORDS[name], counts[name]) for name in ("sent", "failed")]
    line = Series("before", "Sent in the period before", counts["before"])
    step = "hour" if asked.days <= BY_HOUR else "day" if asked.days <= BY_DAY else "week"
    return columns(f"Messages by {step}", labels, series, line)


def places(asked: Period) -> tuple[list[str], Any]:
    """The labels of a chart over time, and which of them an instant on the workspace's clock belongs to."""
    if asked.days <= BY_HOUR:
        labels = [f"{hour}:00" if asked.days == 1 else f"{day:%a} {hour}:00" for day in days(asked) for hour in HOURS]
        return labels, lambda at: 24 * (at.date() - asked.first).days + at.hour
    step = 1 if asked.days <= BY_DAY else 7
    labels = [f"{day:%-d %b}" if step == 1 else f"from {day:%-d %b}" for day in list(days(asked))[::step]]
    return labels, lambda at: (at.date() - asked.first).days // step


def days(asked: Period) -> Iterator[date]:
    return (asked.first + timedelta(days=number) for number in range(asked.days))


def by_hour(workspace: Workspace, asked: Period, device: int | None = None) -> Columns:
    """All days of the period together, as far back as hours are kept."""
    zone = asked.zone.key
    found = by_hour_of_day(workspace.pk, asked.begin, asked.end, zone, device)
    hours = [found.get(hour, NOTHING) for hour in range(24)]
    counts = dict(zip(COUNTED, zip(*hours, strict=True), strict=True))
    series = [Series(name, word, counts[name]) for name, word in WORDS.items()]
    return columns(f"Messages by hour of the day ({zone})", hour_words(), series)


def meters_of(meter: type[Meter], workspace: Workspace, begin: datetime, end: datetime, device: int | None) -> Any:
    found = meter._default_manager.filter(workspace=workspace, start__gte=begin, start__lt=end)
    return found if device is None else found.filter(device=device)
