"""Wall clocks: which instant a day and a time mean in a zone whose clocks go forward and back."""

from __future__ import annotations

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

MINUS = "\N{MINUS SIGN}"
LOCAL = "%Y-%m-%dT%H:%M"


class NoTime(Exception):
    """What was written names no instant; the text says why and what to do."""


class TwoTimes(NoTime):
    """What was written names two: clocks go back over it."""


def naive_of(local: str) -> datetime:
    """``2026-03-29T09:00``; raises `NoTime`."""
    try:
        return datetime.strptime(local.strip()[:16], LOCAL)
    except ValueError:
        raise NoTime("Choose a day and a time.") from None


def instant(local: str, zone: ZoneInfo, fold: int | None = None) -> datetime:
    """The instant of a wall clock's ``2026-03-29T09:00``; ``fold`` (0 or 1) says which, where it comes twice.

    Raises `NoTime` where clocks go forward over it, `TwoTimes` where they go back and no ``fold`` is given.
    """
    naive = naive_of(local)
    try:
        first, second = both(naive, zone)
        back = first.astimezone(UTC).astimezone(zone)
    except (ValueError, OverflowError):
        raise NoTime("Choose a day and a time.") from None
    if back.replace(tzinfo=None) != naive:
        raise NoTime(
            f"{naive:%H:%M} does not exist on {naive:%-d %b %Y} in {zone.key}: clocks go forward. "
            f"Choose {back:%H:%M} or another time."
        )
    if first.utcoffset() == second.utcoffset():
        return first
    if fold is None:
        raise TwoTimes(
            f"{naive:%H:%M} comes twice on {naive:%-d %b %Y} in {zone.key}: clocks go back. Choose which one you mean."
        )
    return second if fold else first


def both(naive: datetime, zone: ZoneInfo) -> tuple[datetime, datetime]:
    return naive.replace(tzinfo=zone, fold=0), naive.replace(tzinfo=zone, fold=1)


def twice(local: str, zone: ZoneInfo) -> list[tuple[int, str]]:
    """Where a wall clock shows this time twice: (fold, what the clock says of it) for each; else nothing."""
    try:
        instant(local, zone)
    except TwoTimes:
        first, second = both(naive_of(local), zone)
        return [
            (0, f"the first {first:%H:%M}, before clocks go back ({offset(first)})"),
            (1, f"the second {second:%H:%M}, an hour later ({offset(second)})"),
        ]
    except NoTime:
        pass
    return []


def offset(at: datetime) -> str:
    """``UTC+5:30``, west of Greenwich with a minus sign."""
    minutes = round((at.utcoffset() or UTC.utcoffset(None)).total_seconds() / 60)
    hours, rest = divmod(abs(minutes), 60)
    return f"UTC{MINUS if minutes < 0 else '+'}{hours}{f':{rest:02}' if rest else ''}"
