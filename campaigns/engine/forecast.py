"""How long a campaign will take, from the paces of its devices."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

FASTEST = 0.2  # seconds a message takes on a device without any delay
HOUR, DAY = 3600, 86_400


@dataclass(frozen=True, slots=True)
class Pace:
    """One device: seconds between two messages, and how many an hour and a day may carry (None: no cap)."""

    min_delay: float
    max_delay: float
    hourly_cap: int | None = None
    daily_cap: int | None = None

    def slowed(self, min_delay: float) -> Pace:
        """With a campaign's own least gap."""
        return Pace(max(self.min_delay, min_delay), max(self.max_delay, min_delay), self.hourly_cap, self.daily_cap)

    @property
    def gap(self) -> float:
        """Seconds between two messages on average, within an hour."""
        return max(FASTEST, (self.min_delay + self.max_delay) / 2)


def seconds_for(messages: int, pace: Pace) -> float | None:
    """How long one device takes, starting with an unused hour and day; None when a cap forbids it for ever."""
    if messages <= 0:
        return 0.0
    hourly = HOUR / pace.gap if pace.hourly_cap is None else min(HOUR / pace.gap, pace.hourly_cap)
    daily = hourly * 24 if pace.daily_cap is None else min(hourly * 24, pace.daily_cap)
    if hourly <= 0 or daily <= 0:
        return None
    days, rest = _split(messages, daily)
    hours, last = _split(rest, hourly)
    return days * DAY + hours * HOUR + last * pace.gap


def seconds_for_all(people: int, paces: Sequence[Pace]) -> float | None:
    """How long until the last device is done when people are dealt out evenly; None without a device that can send."""
    if not paces:
        return None
    each, over = divmod(people, len(paces))
    times = [seconds_for(each + (place < over), pace) for place, pace in enumerate(paces)]
    return None if None in times else max(time for time in times if time is not None)


def _split(messages: float, room: float) -> tuple[int, float]:
    """How many full windows go by before the last messages, and how many messages those are."""
    windows = max(0, -int(-messages // room) - 1)
    return windows, messages - windows * room
