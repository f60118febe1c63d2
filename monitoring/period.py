"""A stretch of whole days in a workspace's zone, and the stretch before it of the same length."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from zoneinfo import ZoneInfo

from campaigns.querysets.launched import Span

DEFAULT = "7"
OWN = "own"
# The word of the address → how a page calls it.
RANGES = {"today": "Today", "7": "7 days", "30": "30 days", "month": "This month", OWN: "Own days"}
LONGEST = 366


@dataclass(frozen=True, slots=True)
class Period:
    """From the beginning of ``first`` to the end of ``last``. ``now`` is on the workspace's clock."""

    key: str
    first: date
    last: date
    now: datetime
    zone: ZoneInfo

    @property
    def days(self) -> int:
        return (self.last - self.first).days + 1

    @property
    def begin(self) -> datetime:
        return datetime.combine(self.first, time(), self.zone)

    @property
    def end(self) -> datetime:
        return datetime.combine(self.last + timedelta(days=1), time(), self.zone)

    @property
    def before_begin(self) -> datetime:
        return self.begin - timedelta(days=self.days)

    @property
    def before_end(self) -> datetime:
        """Of a period that still goes on, what came before is looked at up to the same hour and minute."""
        return min(self.end, self.now) - timedelta(days=self.days)

    @property
    def span(self) -> Span:
        return Span(self.begin, self.end)

    @property
    def before(self) -> Span:
        return Span(self.before_begin, self.before_end)

    @property
    def words(self) -> str:
        return between(self.first, self.last)

    @property
    def in_words(self) -> str:
        """``on 27 November 2026``, ``from 21 to 27 November 2026``."""
        return f"{'on' if self.days == 1 else 'from'} {self.words}"

    @property
    def before_words(self) -> str:
        shift = timedelta(days=self.days)
        if self.now >= self.end:
            return between(self.first - shift, self.last - shift)
        until = self.before_end
        return f"{between(self.first - shift, until.date())}, up to {until:%H:%M}"

    @property
    def query(self) -> dict[str, str]:
        """What an address says of it."""
        if self.key != OWN:
            return {"range": self.key}
        return {"range": OWN, "from": self.first.isoformat(), "to": self.last.isoformat()}


def period(key: str, now: datetime, zone: ZoneInfo, first: date | None = None, last: date | None = None) -> Period:
    """``first`` and ``last`` are asked of own days only."""
    local = now.astimezone(zone)
    today = local.date()
    if key == OWN and first and last:
        return Period(key, first, last, local, zone)
    begins = {"today": today, "30": today - timedelta(days=29), "month": today.replace(day=1)}
    return Period(key, begins.get(key, today - timedelta(days=6)), today, local, zone)


def between(first: date, last: date) -> str:
    """``27 November 2026``, ``21 to 27 November 2026``, ``30 October to 5 November 2026``."""
    end = f"{last:%-d %B %Y}"
    if first == last:
        return end
    if (first.year, first.month) == (last.year, last.month):
        return f"{first:%-d} to {end}"
    return f"{first:%-d %B}{'' if first.year == last.year else f' {first:%Y}'} to {end}"
