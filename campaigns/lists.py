"""Which campaigns a list shows, and in which order: asked by the address, page by page."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from typing import Any, cast

from django.db.models import Count, F, Q
from django.db.models.functions import Coalesce, Lower

from accounts.models import Workspace
from campaigns.models import Campaign, CampaignState
from campaigns.querysets.campaigns import CampaignQuerySet

PAGE = 25
ARCHIVED = "archived"
# When a campaign began or will; a draft without a time has no place in a calendar.
BEGINS = Coalesce("launched_at", "start_at")
# The word of the address: (how a page calls it, the key, whether it goes down).
SORTS: dict[str, tuple[str, Any, bool]] = {
    "": ("Newest first", F("pk"), True),
    "oldest": ("Oldest first", F("pk"), False),
    "name": ("By name", Lower("name"), False),
    "start": ("By start, latest first", Coalesce("launched_at", "start_at", "created_at"), True),
}


@dataclass(frozen=True, slots=True)
class Asked:
    """``state``: one of `CampaignState`, `ARCHIVED`, or empty. ``after``: the id of the page before's last campaign."""

    search: str = ""
    state: str = ""
    day: date | None = None
    sort: str = ""
    after: int | None = None


def asked_list(query: Mapping[str, Any]) -> Asked:
    """From an address; what makes no sense asks for nothing in particular."""
    state, sort, after = query.get("state", ""), query.get("sort", ""), query.get("after", "")
    return Asked(
        search=query.get("q", "").replace("\0", "").strip()[:120],
        state=state if state in (*CampaignState.values, ARCHIVED) else "",
        day=day_of(query.get("day", "")),
        sort=sort if sort in SORTS else "",
        after=int(after) if after.isascii() and after.isdecimal() and len(after) < 19 else None,
    )


def day_of(text: str) -> date | None:
    """``2026-11-05``, within the years that every zone can show."""
    try:
        day = date.fromisoformat(text)
    except ValueError:
        return None
    return day if 1971 <= day.year <= 9000 else None


def found(workspace: Workspace, asked: Asked) -> CampaignQuerySet:
    """All that the search and the day ask for, whatever their states."""
    campaigns = Campaign.objects.for_workspace(workspace)
    if asked.search:
        campaigns = campaigns.filter(name__icontains=asked.search)
    if asked.day:
        begin, end = bounds(workspace, asked.day, asked.day + timedelta(days=1))
        campaigns = campaigns.alias(begins=BEGINS).filter(begins__gte=begin, begins__lt=end)
    return campaigns


def bounds(workspace: Workspace, first: date, last: date) -> tuple[datetime, datetime]:
    """The instants at which these days begin in the workspace's zone."""
    return datetime.combine(first, time(), workspace.zone), datetime.combine(last, time(), workspace.zone)


def counts_of(campaigns: CampaignQuerySet) -> dict[str, int]:
    """How many are in each state; the archived ones apart."""
    kept = Count("pk", filter=Q(archived_at=None))
    rows = campaigns.order_by().values_list("state").annotate(kept=kept, every=Count("pk"))
    counts = {state: (unarchived, every) for state, unarchived, every in rows}
    return {
        **{state: unarchived for state, (unarchived, _) in counts.items()},
        ARCHIVED: sum(every - unarchived for unarchived, every in counts.values()),
    }


def in_state(campaigns: CampaignQuerySet, state: str) -> CampaignQuerySet:
    if state == ARCHIVED:
        return campaigns.filter(archived_at__isnull=False)
    campaigns = campaigns.filter(archived_at=None)
    return campaigns.filter(state=state) if state else campaigns


def page_of(
    workspace: Workspace, campaigns: CampaignQuerySet, asked: Asked, size: int = PAGE
) -> tuple[list[Campaign], int | None]:
    """The campaigns after `asked.after`, and where the next page goes on; None: this is the last one."""
    _, key, down = SORTS[asked.sort]
    campaigns = campaigns.annotate(key=key)
    place = None
    if asked.after is not None:
        last = Campaign.objects.for_workspace(workspace).filter(pk=asked.after)
        place = last.annotate(key=key).values_list("key", "pk").first()
    if place is not None:
        side = "lt" if down else "gt"
        campaigns = campaigns.filter(
            Q(**{f"key__{side}": place[0]}) | Q(**{"key": place[0], f"pk__{side}": place[1]}),
        )
    order = ("-key", "-pk") if down else ("key", "pk")
    rows = cast("list[Campaign]", list(campaigns.select_related("workspace").order_by(*order)[: size + 1]))
    return rows[:size], rows[size - 1].pk if len(rows) > size else None
