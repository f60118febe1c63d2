"""When a campaign will be done, and who has to wait for another day: from the paces of its devices."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, time, timedelta

from campaigns.engine.forecast import DAY, Pace, done_within

FARTHEST_S = 3_650 * DAY


@dataclass(frozen=True, slots=True)
class Outlook:
    """``ends_at``, None where no end is in sight. ``days``: calendar days on which something leaves, counted from 1.

    ``later``: people whose message leaves after the first day, with why: (how many, the reason as a sentence).
    ``cap`` and ``used``: what the daily caps allow on the first day, and how much of it is taken; None: no caps.
    """

    starts_at: datetime
    ends_at: datetime | None
    days: int | None
    later: list[tuple[int, str]]
    used: int
    cap: int | None


def outlook(
    start: datetime, lasts: float | None, counts: Sequence[int], paces: Sequence[Pace], stagger: float = 0
) -> Outlook:
    """``start`` in the workspace's zone, whose midnight ends a day. Each device begins ``stagger`` s after the last."""
    midnight = datetime.combine(start.date() + timedelta(days=1), time(), start.tzinfo)
    left = (midnight.astimezone(UTC) - start.astimezone(UTC)).total_seconds()  # a day may have 23 or 25 hours
    at = start.hour * 3600 + start.minute * 60 + start.second
    ends_at = None
    if lasts is not None and lasts < FARTHEST_S:
        ends_at = (start.astimezone(UTC) + timedelta(seconds=lasts)).astimezone(start.tzinfo)
    caps = [caps_of(pace) for pace in paces]
    known = [cap for cap in caps if cap is not None]
    later: dict[str, int] = {}
    used = 0
    for turn, (count, pace, cap) in enumerate(zip(counts, paces, caps, strict=True)):
        lag = turn * stagger
        mine, began = max(0.0, left - lag), (at + lag) % DAY
        today = min(done_within(mine, [count], [pace], began), count if cap is None else cap)
        used += today if cap is not None else 0
        if today < count:
            why = reason(mine, count, today, pace, began) if mine else "the number begins on another day"
            later[why] = later.get(why, 0) + count - today
    return Outlook(
        starts_at=start,
        ends_at=ends_at,
        days=(ends_at.date() - start.date()).days + 1 if ends_at else None,
        later=sorted(((count, why) for why, count in later.items()), reverse=True),
        used=used,
        cap=sum(known) if known else None,
    )


def caps_of(pace: Pace) -> int | None:
    """What the first day may carry, a number that warms up being held lower."""
    return pace.warm_up[0] if pace.warm_up else pace.daily_cap


def reason(left: float, count: int, today: int, pace: Pace, at: float) -> str:
    """What to lift so that more leave on the first day; the first that helps is named."""
    if done_within(left, [count], [replace(pace, warm_up=())], at) > today and pace.warm_up:
        return "the number is warming up"
    if caps_of(pace) is not None and caps_of(pace) == today:
        return "the number's daily cap is reached"
    if pace.hours and done_within(left, [count], [replace(pace, hours=None)], at) > today:
        return "it is outside the hours for sending"
    if pace.hourly_cap and done_within(left, [count], [replace(pace, hourly_cap=None)], at) > today:
        return "the number's hourly cap lets no more through"
    return "the gaps between messages take longer than the day"
