"""Campaign Summary: its page, which follows what is sent, its charts and reasons, and the file of it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any
from urllib.parse import urlencode

from django.http import HttpResponse
from django.shortcuts import render
from django.urls import reverse
from django.views.decorators.http import require_POST, require_safe

from accounts.access import WorkspaceRequest, workspace_role
from accounts.audit import record
from accounts.models import Workspace
from accounts.tenancy import tenant_scope
from campaigns.live import figures_from
from campaigns.models import Campaign
from campaigns.querysets.launched import NO_DEVICE, launched
from campaigns.report import per_cent
from campaigns.sheets import ROWS_AT_ONCE, Cells, clock, csv_answer
from campaigns.shown import LISTS, shown_campaign
from devices.models import Device
from monitoring.forms.period import PeriodForm
from monitoring.metered import by_hour, over_time
from monitoring.period import RANGES, Period
from monitoring.reasons import reasons
from monitoring.summary import SORTED_BY, Asked, address, asked_rows, campaigns_in, campaigns_of

FIGURES = [*(word for word in LISTS.values()), "Success rate %", "Failure rate %"]
KEPT = ("q", "figure", "sort", "state", "device")  # what the address of a report says besides its days
HEAD = ("Campaign", "State", "Started", *FIGURES)


@require_safe
@workspace_role("viewer")
def campaign_summary(request: WorkspaceRequest) -> HttpResponse:
    form = PeriodForm(request.GET, workspace=request.workspace)
    rows = asked_rows(request.GET)
    asked = form.period
    context = {
        **report_context(request, form, reverse("monitoring:campaign_summary")),
        "found": campaigns_of(request.workspace, asked, rows),
        "figure_word": LISTS.get(rows.figure, ""),
        "sorts": SORTED_BY.items(),
        "ever": Campaign.objects.for_workspace(request.workspace).filter(launched_at__isnull=False).exists(),
    }
    return answer(request, "campaign_summary", context)


@require_safe
@workspace_role("viewer")
def campaign_summary_charts(request: WorkspaceRequest) -> HttpResponse:
    asked = PeriodForm(request.GET, workspace=request.workspace).period
    return render(request, "monitoring/_charts.html", charts_of(request.workspace, asked))


@require_POST
@workspace_role("viewer")
def campaign_summary_export(request: WorkspaceRequest) -> HttpResponse:
    """The campaigns of the period, oldest first. A POST, since the audit notes who took it."""
    asked = PeriodForm(request.POST, workspace=request.workspace).period
    rows = replace(asked_rows(request.POST), sort="oldest")
    at = NO_DEVICE if rows.nobody else None
    found = launched(request.workspace, asked.span, search=rows.search, device=at, figure=rows.figure)
    days = {"first": asked.first.isoformat(), "last": asked.last.isoformat()}
    record(request.workspace, request.user, "campaigns.summary_exported", campaigns=found.kept, **days)
    return csv_answer(request, f"Campaigns {asked.words}", HEAD, exported(request.workspace, asked, rows))


def exported(workspace: Workspace, asked: Period, rows: Asked, device: Device | None = None) -> Iterator[list[Cells]]:
    """Read while the file is sent, after the request's own transaction: each page has one of its own."""
    offset = 0
    while True:
        with tenant_scope(workspace):
            found = launched(
                workspace,
                asked.span,
                search=rows.search,
                device=NO_DEVICE if rows.nobody else device.pk if device else None,
                figure=rows.figure,
                sort=rows.sort,
                size=ROWS_AT_ONCE,
                offset=offset,
            ).rows
            known = campaigns_in(workspace, [pk for pk, _ in found])
            cells = [cells_of(known[pk], counts) for pk, counts in found if pk in known]
        yield cells
        offset += len(found)
        if len(found) < ROWS_AT_ONCE:
            return


def cells_of(campaign: Campaign, counts: dict[str, int]) -> Cells:
    started = clock(campaign.launched_at, campaign.workspace.zone)
    return (campaign.name, shown_campaign(campaign).word, started, *numbers_of(figures_from(counts)))


def numbers_of(figures: dict[str, int]) -> list[object]:
    tried = figures["sent"] + figures["failed"]
    return [*(figures[key] for key in LISTS), *(per_cent(figures[key], tried) for key in ("sent", "failed"))]


# ---- what the pages of reports have in common


def report_context(request: WorkspaceRequest, form: PeriodForm, here: str) -> dict[str, Any]:
    """``here``: the address of the report, without its query. Days that make no sense stay as they were typed."""
    asked, typed = form.period, request.GET
    days = [(name, typed[name]) for name in ("range", "from", "to") if typed.get(name)]
    first, last = (typed.get("from", ""), typed.get("to", "")) if form.errors else (asked.first, asked.last)
    return {
        "form": form,
        "period": asked,
        "ranges": RANGES.items(),
        "first_day": str(first),
        "last_day": str(last),
        "days": days,
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


def charts_of(workspace: Workspace, asked: Period, device: Device | None = None) -> dict[str, Any]:
    """What `_charts.html` reads."""
    pk = device.pk if device else None
    return {
        "period": asked,
        "over_time": over_time(workspace, asked, pk),
        "by_hour": by_hour(workspace, asked, pk),
        "reasons": reasons(workspace, asked, device),
        "device": device,
    }


def answer(request: WorkspaceRequest, name: str, context: dict[str, Any]) -> HttpResponse:
    """The page, or to htmx the region of it that follows what happens, which is swapped in by id."""
    if request.htmx and not request.htmx.boosted:
        return render(request, f"monitoring/_{name}.html", {**context, "oob": True})
    return render(request, f"monitoring/{name}.html", context)
