"""How long a campaign will take, from the paces of its devices."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

FASTEST = 0.2  # seconds a message takes on a device without any delay
HOUR, DAY = 3600, 86_400


@dataclass(frozen=True, slots=True)
class Pace:
    """One device: seconds between two messages, and how many an hour and a day may carry (None: no cap).

    ``hours``: from when until when it sends, in seconds of the day; they may pass midnight. ``warm_up``: the caps of
    today and the days to come while the number warms up, each at most ``daily_cap``.
    """

    min_delay: float
    max_delay: float
    hourly_cap: int | None = None
    daily_cap: int | None = None
    hours: tuple[float, float] | None = None
    warm_up: tuple[int, ...] = ()

    @property
    def never(self) -> bool:
        """Its hours have no time in common."""
        return self.hours is not None and self.hours[0] == self.hours[1]

    def slowed(self, min_delay: float) -> Pace:
        """With a campaign's own least gap."""
        return replace(self, min_delay=max(self.min_delay, min_delay), max_delay=max(self.max_delay, min_delay))

    @property
    def gap(self) -> float:
        """Seconds between two messages on average, within an hour."""
        return max(FASTEST, (self.min_delay + self.max_delay) / 2)

    @property
    def hourly(self) -> float:
        if self.never:
            return 0.0
        rate = HOUR / self.gap
        return rate if self.hourly_cap is None else min(rate, self.hourly_cap)

    @property
    def open_s(self) -> float:
        """For how long it may send each day."""
        return (self.hours[1] - self.hours[0]) % DAY or DAY if self.hours else DAY

    def room(self, open_s: float, day: int) -> float:
        """How many messages go out in ``open_s`` seconds of the ``day``-th day from now."""
        cap = self.warm_up[day] if day < len(self.warm_up) else self.daily_cap
        room = self.hourly * open_s / HOUR
        return room if cap is None else min(room, cap)

    def first_day(self, at: float) -> tuple[float, float]:
        """(seconds until it may send, seconds until its next day begins), asked at second ``at`` of the day.

        Without sending hours a day begins when somebody asks.
        """
        if self.hours is None:
            return 0.0, DAY
        since_opening = (at - self.hours[0]) % DAY
        until_opening = DAY - since_opening
        return (0.0, until_opening) if since_opening < self.open_s else (until_opening, until_opening + DAY)


def seconds_for(messages: float, pace: Pace, at: float = 0.0) -> float | None:
    """How long one device takes, starting with an unused hour and day; None when a cap forbids it for ever.

    ``at``: the second of the day at which it starts. Warm-up is reckoned to climb a rung every day.
    """
    if messages <= 0:
        return 0.0
    if pace.hourly <= 0:
        return None
    begins, ends = pace.first_day(at)
    for day in range(len(pace.warm_up) + 1):
        open_s = pace.open_s - max(0.0, DAY - (ends - begins))
        room = pace.room(open_s, day)
        if messages <= room:
            return begins + _within(messages, pace)
        messages -= room
        begins, ends = ends, ends + DAY
    daily = pace.room(pace.open_s, len(pace.warm_up))
    if daily <= 0:
        return None
    days, rest = _split(messages, daily)
    return begins + days * DAY + _within(rest, pace)


def full_days(messages: float, pace: Pace) -> int:
    """On how many days one device uses up its cap of the day, warm-up reckoned to climb a rung every day."""
    days = 0
    for cap in pace.warm_up:
        if messages < cap or pace.room(pace.open_s, days) < cap:
            return days
        messages -= cap
        days += 1
    if not pace.daily_cap or pace.room(pace.open_s, len(pace.warm_up)) < pace.daily_cap:
        return days
    return days + int(messages // pace.daily_cap)


def common_hours(windows: Iterable[tuple[float, float]]) -> tuple[float, float] | None:
    """The longest time of the day that lies in all of these (seconds of the day; they may pass midnight).

    None without any: all day. Where they never meet both ends are the same, see `Pace.never`.
    """
    windows = list(windows)
    if not windows:
        return None
    ends = sorted({end for window in windows for end in window})
    open_from = [
        (begin, (following - begin) % DAY or DAY)
        for begin, following in zip(ends, [*ends[1:], ends[0]], strict=True)
        if all((begin - opens) % DAY < (closes - opens) % DAY for opens, closes in windows)
    ]
    if not open_from:
        return (0.0, 0.0)
    joined: list[tuple[float, float]] = []
    for begin, length in open_from:
        if joined and sum(joined[-1]) == begin:
            joined[-1] = (joined[-1][0], joined[-1][1] + length)
        else:
            joined.append((begin, length))
    if len(joined) > 1 and sum(joined[-1]) % DAY == joined[0][0]:  # over midnight
        last = joined.pop()
        joined[0] = (last[0], last[1] + joined[0][1])
    begin, length = max(joined, key=lambda opening: opening[1])
    return (begin, (begin + length) % DAY)


def shares(people: int, known: Sequence[int], cap: int | None = None) -> list[int]:
    """How many people each device gets: those who know it, then the others in turn, each at most ``cap``."""
    room = [people if cap is None else cap for _ in known]
    got = [min(count, most) for count, most in zip(known, room, strict=True)]
    rest = min(people, sum(room)) - sum(got)
    while rest > 0:
        free = [place for place, count in enumerate(got) if count < room[place]]
        each, over = divmod(rest, len(free))
        for turn, place in enumerate(free):
            more = min(each + (turn < over), room[place] - got[place])
            got[place] += more
            rest -= more
    return got


def seconds_for_all(
    counts: Sequence[int], paces: Sequence[Pace], at: float = 0.0, stagger: float = 0.0
) -> float | None:
    """How long until the last device is done with its count; None without a device that can send.

    Each device begins ``stagger`` seconds after the one before it.
    """
    times = [
        None if (taken := seconds_for(count, pace, (at + turn * stagger) % DAY)) is None else turn * stagger + taken
        for turn, (count, pace) in enumerate(zip(counts, paces, strict=True))
        if count
    ]
    return max((time for time in times if time is not None), default=None) if None not in times else None


def done_within(
    seconds: float, counts: Sequence[int], paces: Sequence[Pace], at: float = 0.0, stagger: float = 0.0
) -> int:
    """How many of these messages leave in time."""
    return sum(
        _most(seconds - turn * stagger, count, pace, (at + turn * stagger) % DAY)
        for turn, (count, pace) in enumerate(zip(counts, paces, strict=True))
    )


def _most(seconds: float, count: int, pace: Pace, at: float) -> int:
    if seconds <= 0:
        return 0
    done, late = 0, count + 1
    while late - done > 1:
        middle = (done + late) // 2
        taken = seconds_for(middle, pace, at)
        done, late = (done, middle) if taken is None or taken > seconds else (middle, late)
    return done


def _within(messages: float, pace: Pace) -> float:
    """How long messages take that fit into one day."""
    hours, rest = _split(messages, pace.hourly)
    return hours * HOUR + rest * pace.gap


def _split(messages: float, room: float) -> tuple[int, float]:
    """How many full windows go by before the last messages, and how many messages those are."""
    windows = max(0, -int(-messages // room) - 1)
    return windows, messages - windows * room
