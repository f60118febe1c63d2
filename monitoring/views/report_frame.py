"""What the pages of reports have in common: their days, the table with its order, the charts and the file."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any
from urllib.parse import urlencode

from django.http import HttpResponse
from django.shortcuts import render
from django.urls import reverse

from accounts.access import WorkspaceRequest
from accounts.audit import record
from accounts.models import Workspace
from accounts.tenancy import tenant_scope
from campaigns.live import figures_from
from campaigns.models import Campaign
from campaigns.querysets.launched import Launched, launched
from campaigns.report import per_cent
from campaigns.sheets import ROWS_AT_ONCE, Cells, clock, csv_answer
from campaigns.shown import LISTS, shown_campaign
from devices.models import Device
from monitoring.forms.period import PeriodForm
from monitoring.metered import by_hour, over_time
from monitoring.period import RANGES, Period
from monitoring.reasons import reasons
from monitoring.summary import Asked, address, at_of, campaigns_in

FIGURES = [*(word for word in LISTS.values()), "Success rate %", "Failure rate %"]
KEPT = ("q", "figure", "sort", "state", "device")  # what the address of a report says besides its days
CAMPAIGN_HEAD = ("Campaign", "State", "Started", *FIGURES)


def asked_period(request: WorkspaceRequest, query: Mapping[str, Any]) -> Period:
    return PeriodForm(query, workspace=request.workspace).period


def report_answer(
    request: WorkspaceRequest, name: str, here: str, form: PeriodForm, sorts: Mapping[str, str], **own: Any
) -> HttpResponse:
    """The page, or to htmx what of it follows what happens, each part swapped in by its id.

    ``here``: the address of the report, without its query; ``own``: what this report alone says, ``found`` above all.
    """
    context = {**frame_context(request, form, here), "sorts": sorts.items(), **own}
    if request.htmx and not request.htmx.boosted:
        return render(request, "monitoring/_report.html", {**context, "oob": True})
    return render(request, f"monitoring/{name}.html", context)


def frame_context(request: WorkspaceRequest, form: PeriodForm, here: str) -> dict[str, Any]:
    """Days that make no sense stay as they were typed."""
    asked, typed = form.period, request.GET
    first, last = (typed.get("from", ""), typed.get("to", "")) if form.errors else (asked.first, asked.last)
    return {
        "form": form,
        "period": asked,
        "ranges": RANGES.items(),
        "first_day": str(first),
        "last_day": str(last),
        "days": [(name, typed[name]) for name in ("range", "from", "to") if typed.get(name)],
        "kept": [(name, typed[name]) for name in KEPT if typed.get(name)],
        "period_query": urlencode(asked.query),
        "charts_url": f"{here}/charts",
        "export_url": f"{here}/export",
        "campaigns_url": f"{address(campaigns_list(here), asked.query)}#report-rows",
        "can_manage": request.role.covers("manager"),
    }


def campaigns_list(here: str) -> str:
    """Where the campaigns behind a report's totals are listed: on the page itself, but for that of all devices."""
    return reverse("monitoring:campaign_summary") if here == reverse("monitoring:device_report") else here


# ---- charts, which come after the page


def charts_answer(request: WorkspaceRequest, device: Device | None = None) -> HttpResponse:
    asked = asked_period(request, request.GET)
    pk = device.pk if device else None
    context = {
        "period": asked,
        "over_time": over_time(request.workspace, asked, pk),
        "by_hour": by_hour(request.workspace, asked, pk),
        "reasons": reasons(request.workspace, asked, device),
        "device": device,
    }
    return render(request, "monitoring/_charts.html", context)


# ---- files


def file_answer(
    request: WorkspaceRequest,
    name: str,
    asked: Period,
    head: Cells,
    pages: Iterable[Iterable[Cells]],
    noted: tuple[str, str],
    **counted: Any,
) -> HttpResponse:
    """Asked for by POST, since the audit notes who took it. ``noted``: as which action, and of what."""
    days = {"first": asked.first.isoformat(), "last": asked.last.isoformat()}
    action, target = noted
    record(request.workspace, request.user, action, target, **counted, **days)
    return csv_answer(request, f"{name} {asked.words}", head, pages)


def campaigns_file(
    request: WorkspaceRequest,
    name: str,
    asked: Period,
    rows: Asked,
    noted: tuple[str, str],
    device: Device | None = None,
) -> HttpResponse:
    """The campaigns of the period; with a device, what each has there."""
    kept = part_of(request.workspace, asked, rows, device, size=1).kept
    pages = exported(request.workspace, asked, rows, device)
    return file_answer(request, name, asked, CAMPAIGN_HEAD, pages, noted, campaigns=kept)


def exported(workspace: Workspace, asked: Period, rows: Asked, device: Device | None) -> Iterator[list[Cells]]:
    """Read while the file is sent, after the request's own transaction: each page has one of its own."""
    offset = 0
    while True:
        with tenant_scope(workspace):
            found = part_of(workspace, asked, rows, device, size=ROWS_AT_ONCE, offset=offset).rows
            known = campaigns_in(workspace, [pk for pk, _ in found])
            cells = [campaign_cells(known[pk], counts) for pk, counts in found if pk in known]
        yield cells
        offset += len(found)
        if len(found) < ROWS_AT_ONCE:
            return


def part_of(
    workspace: Workspace, asked: Period, rows: Asked, device: Device | None, size: int, offset: int = 0
) -> Launched:
    return launched(
        workspace,
        asked.span,
        search=rows.search,
        device=at_of(rows, device),
        figure=rows.figure,
        sort="oldest",
        size=size,
        offset=offset,
    )


def campaign_cells(campaign: Campaign, counts: dict[str, int]) -> Cells:
    started = clock(campaign.launched_at, campaign.workspace.zone)
    return (campaign.name, shown_campaign(campaign).word, started, *numbers_of(figures_from(counts)))


def numbers_of(figures: Mapping[str, int]) -> list[object]:
    tried = figures["sent"] + figures["failed"]
    return [*(figures[key] for key in LISTS), *(per_cent(figures[key], tried) for key in ("sent", "failed"))]
