"""The devices of a workspace side by side: what campaigns launched in a period have at each, and how it fares."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from django.urls import reverse

from accounts.models import Workspace
from campaigns.live import figures_from
from campaigns.models import Campaign
from campaigns.querysets.launched import NO_DEVICE, NOTHING, ByDevice, Counted, launched_by_device
from campaigns.recipients import AT_NO_DEVICE
from campaigns.report import per_cent
from campaigns.shown import LISTS
from devices.models import Device
from devices.shown import SHOWN_STATES, Shown, shown, used_today
from devices.warm_up import cap_today
from monitoring.metered import Took, times_taken
from monitoring.period import Period
from monitoring.summary import (
    Asked,
    Cell,
    Change,
    Page,
    address,
    campaigns_in,
    cells_of,
    change,
    last_page,
    people_address,
    totals_of,
)

PAGE = 50
SORTED_BY = {
    "name": "By name",
    **{figure: f"Most {word.lower()}" for figure, word in LISTS.items()},
    "success": "Best success rate",
    "failure": "Worst success rate",
    "slowest": "Slowest first",
}


@dataclass(frozen=True, slots=True)
class DeviceLine:
    """``used`` today of ``cap`` (None: no cap). ``change``: what it sent against the period before."""

    device: Device
    state: Shown
    campaigns: int
    figures: dict[str, int]
    cells: list[Cell]
    took: Took
    used: int
    cap: int | None
    change: Change | None

    @property
    def success(self) -> float | None:
        return per_cent(self.figures["sent"], self.figures["sent"] + self.figures["failed"])


@dataclass(frozen=True, slots=True)
class Devices(Page):
    """``state``: only those in it. The workspace has ``every``; the totals are of all of them, and of those whom
    ``no_device`` was to write to: on the last page, where nothing is searched for."""

    state: str
    every: int
    no_device: Sequence[Cell]


def devices_of(workspace: Workspace, asked: Period, rows: Asked, state: str = "") -> Devices:
    """The totals are of all devices, whichever of them the rows show."""
    counts = launched_by_device(workspace, asked.span, asked.before)
    page_url = reverse("monitoring:campaign_summary")
    totals = totals_of(
        workspace, asked, counts.whole, counts.before, "", lambda key: address(page_url, asked.query, figure=key)
    )
    shows_uncertain = bool(totals.figures["uncertain"])
    devices = Device.objects.for_workspace(workspace).select_related("workspace").with_shown_state().order_by("name")
    every = devices.count()
    if rows.search:
        devices = devices.searched(rows.search)
    if state:
        devices = devices.shown_as(state)
    lines = lines_of(workspace, asked, list(devices), counts, shows_uncertain)
    lines.sort(key=KEYS.get(rows.sort, by_figure(rows.sort)))
    page = min(rows.page, last_page(len(lines), PAGE))
    shown = lines[(page - 1) * PAGE : page * PAGE]
    is_end = page == last_page(len(lines), PAGE) and not (rows.search or state)
    no_device = cells_of_no_device(workspace, asked, counts, shows_uncertain) if is_end else []
    return Devices(replace(rows, page=page), totals, shown, len(lines), PAGE, state, every, no_device)


def cells_of_no_device(workspace: Workspace, asked: Period, counts: ByDevice, shows_uncertain: bool) -> list[Cell]:
    """Of people who were to get nothing from any device; empty where there are none."""
    if (found := counts.devices.get(NO_DEVICE)) is None:
        return []
    page = reverse("monitoring:campaign_summary")

    def url_of(key: str) -> str:
        return address(page, {**asked.query, "device": AT_NO_DEVICE}, figure=key)

    if found.only is not None and (only := campaigns_in(workspace, [found.only]).get(found.only)):
        return cells_of(figures_from(found.counts), people_address(only, AT_NO_DEVICE), shows_uncertain)
    return cells_of(figures_from(found.counts), url_of, shows_uncertain)


def lines_of(
    workspace: Workspace,
    asked: Period,
    devices: Sequence[Device],
    counts: ByDevice,
    shows_uncertain: bool,
) -> list[DeviceLine]:
    took = times_taken(workspace, asked)
    only = campaigns_in(workspace, [one.only for one in counts.devices.values() if one.only is not None])
    return [
        line_of(
            device,
            asked,
            counts.devices.get(device.pk, NOTHING),
            counts.devices_before.get(device.pk),
            took.get(device.pk, Took()),
            only,
            shows_uncertain,
        )
        for device in devices
    ]


def line_of(
    device: Device,
    asked: Period,
    counted: Counted,
    before: Counted | None,
    took: Took,
    only: Mapping[int, Campaign],
    shows_uncertain: bool,
) -> DeviceLine:
    figures = figures_from(counted.counts)
    return DeviceLine(
        device=device,
        state=shown(device),
        campaigns=counted.campaigns,
        figures=figures,
        cells=cells_of(figures, rows_address(device, asked, only.get(counted.only or 0)), shows_uncertain),
        took=took,
        used=used_today(device),
        cap=cap_today(device),
        change=change(figures["sent"], figures_from(before.counts)["sent"]) if before else None,
    )


def rows_address(device: Device, asked: Period, only: Campaign | None) -> Callable[[str], str]:
    """The people of its only campaign, or the list of its campaigns that have any of a figure."""
    if only is not None:
        return people_address(only, str(device.uuid))
    page = reverse("monitoring:one_device", args=[device.uuid])
    return lambda key: address(page, asked.query, figure=key)


def by_figure(figure: str) -> Callable[[DeviceLine], Any]:
    return lambda line: (-line.figures.get(figure, 0), line.device.name.lower())


def by_name(line: DeviceLine) -> Any:
    return line.device.name.lower()


def by_success(line: DeviceLine) -> Any:
    return (line.success is None, -(line.success or 0), by_name(line))


def by_failure(line: DeviceLine) -> Any:
    return (line.success is None, line.success or 0, by_name(line))


def by_slowness(line: DeviceLine) -> Any:
    return (-(line.took.p95_ms or 0), -(line.took.mean_ms or 0), by_name(line))


KEYS: dict[str, Callable[[DeviceLine], Any]] = {
    "name": by_name,
    "success": by_success,
    "failure": by_failure,
    "slowest": by_slowness,
}
STATES = [(name, state.word) for name, state in SHOWN_STATES.items()]
