"""A month of campaigns: each on the day on which it began or will, by the clock of its workspace."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from typing import Any

from django.db.models import Count, F, Window
from django.db.models.functions import RowNumber, TruncDate
from django.utils import timezone

from accounts.models import Workspace
from campaigns.lists import BEGINS, bounds, day_of
from campaigns.models import Campaign
from campaigns.shown import CAMPAIGN_STATES

SHOWN = 3  # on a day; the others are behind a link


@dataclass(frozen=True, slots=True)
class Chip:
    name: str
    uuid: Any
    at: datetime
    state: str

    @property
    def colour(self) -> str:
        return CAMPAIGN_STATES[self.state].colour

    @property
    def word(self) -> str:
        return CAMPAIGN_STATES[self.state].word


@dataclass(slots=True)
class Day:
    """``more``: how many campaigns there are beyond the chips. ``open``: one could still be planned for it."""

    date: date
    inside: bool
    today: bool
    open: bool
    chips: list[Chip] = field(default_factory=list)
    more: int = 0


@dataclass(frozen=True, slots=True)
class Month:
    first: date
    weeks: list[list[Day]]

    @property
    def previous(self) -> str:
        return f"{self.first - timedelta(days=1):%Y-%m}"

    @property
    def following(self) -> str:
        return f"{self.first + timedelta(days=31):%Y-%m}"

    @property
    def days(self) -> list[Day]:
        """Those of the month itself that an agenda has something to say about."""
        every = (day for week in self.weeks for day in week)
        return [day for day in every if day.inside and (day.chips or day.today)]

    @property
    def campaigns(self) -> int:
        return sum(len(day.chips) + day.more for week in self.weeks for day in week if day.inside)


def month_asked(query: Mapping[str, Any], workspace: Workspace) -> date:
    """The first day of ``?month=2026-11``; what makes no sense asks for this month."""
    return day_of(f"{query.get('month', '')}-01") or today(workspace).replace(day=1)


def today(workspace: Workspace) -> date:
    return timezone.now().astimezone(workspace.zone).date()


def month_of(workspace: Workspace, first: date) -> Month:
    """Whole weeks from Monday on; archived campaigns are no longer in it."""
    begin = first - timedelta(days=first.weekday())
    last = (first + timedelta(days=31)).replace(day=1)
    weeks = -(-(last - begin).days // 7)
    now = today(workspace)
    days = {
        day: Day(day, day.month == first.month, day == now, day >= now)
        for day in (begin + timedelta(days=place) for place in range(7 * weeks))
    }
    for on, count, chip in _chips(workspace, begin, begin + timedelta(days=7 * weeks)):
        days[on].chips.append(chip)
        days[on].more = count - SHOWN if count > SHOWN else 0
    ordered = list(days.values())
    return Month(first, [ordered[place : place + 7] for place in range(0, len(ordered), 7)])


def _chips(workspace: Workspace, begin: date, end: date) -> list[tuple[date, int, Chip]]:
    """(day, how many begin on it, the campaign): the first few of each day."""
    since, until = bounds(workspace, begin, end)
    day = TruncDate("begins", tzinfo=workspace.zone)
    found = (
        Campaign.objects.for_workspace(workspace)
        .annotate(begins=BEGINS)
        .filter(archived_at=None, begins__gte=since, begins__lt=until)
        .annotate(day=day)
        .annotate(
            place=Window(RowNumber(), partition_by=[F("day")], order_by=["begins", "pk"]),
            of=Window(Count("pk"), partition_by=[F("day")]),
        )
        .filter(place__lte=SHOWN)
        .order_by("begins", "pk")
        .values_list("day", "of", "name", "uuid", "begins", "state")
    )
    return [
        (on, count, Chip(name, uuid, at.astimezone(workspace.zone), state))
        for on, count, name, uuid, at, state in found
    ]
