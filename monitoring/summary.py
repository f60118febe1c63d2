"""The figures of a period as its pages show them: each with where its rows are, and what it was in the period before.

They count the campaigns launched in the period, from their start until now, and come from the streams' counters.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import urlencode

from django.urls import reverse

from accounts.models import Workspace
from campaigns.charts import Bar
from campaigns.live import figures_from
from campaigns.models import Campaign
from campaigns.querysets.launched import NO_DEVICE, Counted, Launched, launched
from campaigns.recipients import AT_NO_DEVICE
from campaigns.report import funnel, per_cent
from campaigns.shown import LISTS, Shown, counted, shown_campaign
from devices.models import Device
from monitoring.period import Period

PAGE = 25
FEW_TIMES = 10  # beyond, so many per cent say less than so many times
RED = ("failed", "uncertain")
# How a list of campaigns may be sorted: the word of the address → how a page calls it.
SORTED_BY = {
    "newest": "Newest first",
    "oldest": "Oldest first",
    "name": "By name",
    **{figure: f"Most {word.lower()}" for figure, word in LISTS.items()},
    "success": "Best success rate",
    "failure": "Worst success rate",
}


@dataclass(frozen=True, slots=True)
class Change:
    """Against the period before. ``way``: up, down or level."""

    way: str
    words: str


@dataclass(frozen=True, slots=True)
class Cell:
    """One figure of a row or a total, and the address of what it counts."""

    key: str
    word: str
    value: int
    url: str
    note: str = ""
    change: Change | None = None

    @property
    def is_red(self) -> bool:
        return self.key in RED and self.value > 0


@dataclass(frozen=True, slots=True)
class Rate:
    """Per cent of what was tried to the end; None before anything was."""

    word: str
    value: float | None
    change: Change | None


@dataclass(frozen=True, slots=True)
class Line:
    campaign: Campaign
    state: Shown
    cells: list[Cell]

    @property
    def failed(self) -> int:
        return sum(cell.value for cell in self.cells if cell.key == "failed")


@dataclass(frozen=True, slots=True)
class Totals:
    """``compared``: with what, in words; it says so where there was nothing then."""

    campaigns: int
    campaigns_change: Change | None
    cells: list[Cell]
    rates: list[Rate]
    funnel: list[Bar]
    assumed: int
    compared: str
    figures: dict[str, int]


@dataclass(frozen=True, slots=True)
class Asked:
    """Which rows of a table, in which order: words of the address. ``no_device``: of those who were to get nothing."""

    search: str = ""
    figure: str = ""
    sort: str = ""
    page: int = 1
    no_device: bool = False


def asked_rows(query: Mapping[str, Any], sorts: Mapping[str, str] = SORTED_BY) -> Asked:
    """From an address; what makes no sense asks for nothing in particular. The first of the sorts is the usual one."""
    figure, sort, page = query.get("figure", ""), query.get("sort", ""), query.get("page", "")
    return Asked(
        search=query.get("q", "").replace("\0", "").strip()[:120],
        figure=figure if figure in LISTS else "",
        sort=sort if sort in sorts else next(iter(sorts)),
        page=max(1, int(page)) if page.isascii() and page.isdecimal() and len(page) < 7 else 1,
        no_device=query.get("device") == AT_NO_DEVICE,
    )


@dataclass(frozen=True, slots=True)
class Page:
    """So many lines of those ``kept``, and the totals of all."""

    asked: Asked
    totals: Totals
    lines: Sequence[Any]
    kept: int
    size: int

    @property
    def columns(self) -> list[tuple[str, str]]:
        """The figures of each line: (key, word)."""
        return [(key, word) for key, word in LISTS.items() if key != "uncertain" or self.totals.figures[key]]

    @property
    def pages(self) -> int:
        return last_page(self.kept, self.size)

    @property
    def first(self) -> int:
        return (self.asked.page - 1) * self.size + 1

    @property
    def last(self) -> int:
        return self.first + len(self.lines) - 1

    @property
    def previous(self) -> int:
        return self.asked.page - 1

    @property
    def following(self) -> int:
        return self.asked.page + 1


def last_page(rows: int, size: int) -> int:
    return max(1, -(-rows // size))


# ---- the campaigns of a period


def campaigns_of(workspace: Workspace, asked: Period, rows: Asked, device: Device | None = None) -> Page:
    """``device``: only what they have there. A page beyond the last is the last."""
    found = page_of(workspace, asked, rows, device)
    if rows.page > last_page(found.kept, PAGE):
        rows = replace(rows, page=last_page(found.kept, PAGE))
        found = page_of(workspace, asked, rows, device)
    here = campaigns_address(device)
    query = {
        **asked.query,
        **({"q": rows.search} if rows.search else {}),
        **({"device": AT_NO_DEVICE} if rows.no_device else {}),
    }
    at = AT_NO_DEVICE if rows.no_device else str(device.uuid) if device else ""
    totals = totals_of(workspace, asked, found.whole, found.before, at, lambda key: address(here, query, figure=key))
    shown = bool(found.whole.counts["uncertain"])
    known = campaigns_in(workspace, [pk for pk, _ in found.rows])
    lines = [line_of(known[pk], counts, shown, at) for pk, counts in found.rows if pk in known]
    return Page(rows, totals, lines, found.kept, PAGE)


def campaigns_address(device: Device | None) -> str:
    return reverse("monitoring:one_device", args=[device.uuid]) if device else reverse("monitoring:campaign_summary")


def page_of(workspace: Workspace, asked: Period, rows: Asked, device: Device | None) -> Launched:
    return launched(
        workspace,
        asked.span,
        asked.before,
        search=rows.search,
        device=at_of(rows, device),
        figure=rows.figure,
        sort=rows.sort,
        size=PAGE,
        offset=(rows.page - 1) * PAGE,
    )


def at_of(rows: Asked, device: Device | None) -> int | None:
    """Where campaigns are counted, as `launched` wants it: at a device, at none, or all of each (None)."""
    return NO_DEVICE if rows.no_device else device.pk if device else None


def campaigns_in(workspace: Workspace, ids: Sequence[int]) -> dict[int, Campaign]:
    found = Campaign.objects.for_workspace(workspace).filter(pk__in=ids).select_related("workspace")
    return {campaign.pk: campaign for campaign in found}


def line_of(campaign: Campaign, counts: dict[str, int], shows_uncertain: bool, at: str) -> Line:
    url_of = people_address(campaign, at)
    return Line(campaign, shown_campaign(campaign), cells_of(figures_from(counts), url_of, shows_uncertain))


def people_address(campaign: Campaign, at: str = "") -> Callable[[str], str]:
    """Where the people behind each of a campaign's figures are: at a device (its UUID), at none, or all of them."""
    url = reverse("campaigns:recipients", args=[campaign.uuid])
    narrowed = f"&device={at}" if at else ""
    return lambda key: f"{url}?figure={key}{narrowed}"


def cells_of(figures: Mapping[str, int], url_of: Callable[[str], str], shows_uncertain: bool) -> list[Cell]:
    notes = {"sent": share_of(figures["sent"], figures), "failed": share_of(figures["failed"], figures)}
    return [
        Cell(key, word, figures[key], url_of(key), notes.get(key, ""))
        for key, word in LISTS.items()
        if key != "uncertain" or shows_uncertain
    ]


def share_of(part: int, figures: Mapping[str, int]) -> str:
    share = per_cent(part, figures["sent"] + figures["failed"])
    return "" if share is None else f"{share:.1f} %"


# ---- totals and what they were before


def totals_of(
    workspace: Workspace,
    asked: Period,
    whole: Counted,
    before: Counted,
    at: str,
    list_of: Callable[[str], str],
) -> Totals:
    """Where there is only one campaign a figure leads to its people, else to the list of those that have any."""
    url_of = list_of
    if whole.only is not None and (only := campaigns_in(workspace, [whole.only]).get(whole.only)):
        url_of = people_address(only, at)
    now, then = figures_from(whole.counts), figures_from(before.counts)
    there_were = bool(before.campaigns)
    cells = [
        Cell(key, word, now[key], url_of(key), change=change(now[key], then[key]) if there_were else None)
        for key, word in LISTS.items()
        if key != "uncertain" or now[key]
    ]
    rates = [
        rate(word, key, now, then if there_were else None)
        for key, word in (("sent", "Success rate"), ("failed", "Failure rate"))
    ]
    return Totals(
        campaigns=whole.campaigns,
        campaigns_change=change(whole.campaigns, before.campaigns) if there_were else None,
        cells=cells,
        rates=rates,
        funnel=funnel(now, url_of),
        assumed=now["assumed"],
        compared=compared(asked, before),
        figures=now,
    )


def compared(asked: Period, before: Counted) -> str:
    if not before.campaigns:
        return f"No campaign in the period before ({asked.before_words})."
    return f"Compared with {counted(before.campaigns, 'campaign')} of the period before: {asked.before_words}."


def change(now: int, before: int) -> Change:
    """In words that need no arrow to be understood."""
    was = f"{before:,} before"
    if now == before:
        return Change("level", "as before")
    way = "up" if now > before else "down"
    if not before:
        return Change(way, "none before")
    if now >= FEW_TIMES * before:
        return Change(way, f"{now / before:,.0f} times as many, {was}")
    part = 100 * abs(now - before) / before
    percent = "under 1" if part < 1 else f"{part:.0f}"
    return Change(way, f"{percent} % {'more' if now > before else 'fewer'}, {was}")


def rate(word: str, key: str, now: Mapping[str, int], then: Mapping[str, int] | None) -> Rate:
    value = per_cent(now[key], now["sent"] + now["failed"])
    before = per_cent(then[key], then["sent"] + then["failed"]) if then else None
    if value is None or before is None:
        return Rate(word, value, None)
    points = round(value - before, 1)
    if not points:
        return Rate(word, value, Change("level", "as before"))
    way = "up" if points > 0 else "down"
    return Rate(
        word, value, Change(way, f"{abs(points):.1f} points {'more' if points > 0 else 'less'}, {before:.1f} % before")
    )


def address(path: str, *queries: Mapping[str, str], **more: str) -> str:
    asked = {key: value for query in (*queries, more) for key, value in query.items() if value}
    return f"{path}?{urlencode(asked)}" if asked else path
