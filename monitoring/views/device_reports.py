"""Device Report: all devices side by side, one by itself, the files of it, and retrying what failed at one."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.contrib import messages
from django.core.exceptions import ValidationError
from django.http import Http404, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils.dateparse import parse_datetime
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from accounts.access import WorkspaceRequest, workspace_role
from accounts.audit import record
from campaigns.actions.dead_letters import REOPENABLE, retry_all
from campaigns.live import database_time
from campaigns.models import Campaign
from campaigns.querysets.launched import launched
from campaigns.querysets.unsettled import Selection, count_dead
from campaigns.sheets import csv_answer
from campaigns.shown import LISTS, counted
from devices.history import history
from devices.models import Device
from devices.shown import shown, used_today
from devices.views.devices import find_device
from devices.warm_up import cap_today
from monitoring.device_report import SORTED_BY, STATES, DeviceLine, devices_of
from monitoring.forms.period import PeriodForm
from monitoring.metered import Took, times_taken
from monitoring.period import Period
from monitoring.summary import SORTED_BY as CAMPAIGNS_BY
from monitoring.summary import Asked, address, asked_rows, campaigns_of
from monitoring.views.reports import FIGURES, HEAD, answer, charts_of, exported, numbers_of, report_context

HISTORY = 8
AT_ONCE = 100  # campaigns whose failed messages are retried together
DEVICE_HEAD = (
    "Device", "Number", "State", "Campaigns", *FIGURES, "Processing mean ms", "Processing p95 ms", "Sent today",
    "Cap today",
)  # fmt: skip


def state_of(query: Any) -> str:
    return query.get("state", "") if query.get("state", "") in dict(STATES) else ""


@require_safe
@workspace_role("viewer")
def device_report(request: WorkspaceRequest) -> HttpResponse:
    form = PeriodForm(request.GET, workspace=request.workspace)
    asked = form.period
    context = {
        **report_context(request, form, reverse("monitoring:device_report")),
        "found": devices_of(request.workspace, asked, asked_rows(request.GET, SORTED_BY), state_of(request.GET)),
        "sorts": SORTED_BY.items(),
        "states": STATES,
    }
    return answer(request, "device_report", context)


@require_safe
@workspace_role("viewer")
def device_report_charts(request: WorkspaceRequest) -> HttpResponse:
    asked = PeriodForm(request.GET, workspace=request.workspace).period
    return render(request, "monitoring/_charts.html", charts_of(request.workspace, asked))


@require_POST
@workspace_role("viewer")
def device_report_export(request: WorkspaceRequest) -> HttpResponse:
    asked = PeriodForm(request.POST, workspace=request.workspace).period
    rows, state, table = asked_rows(request.POST, SORTED_BY), state_of(request.POST), []
    while True:
        found = devices_of(request.workspace, asked, rows, state)
        table += [device_cells(line) for line in found.lines]
        if rows.page >= found.pages:
            break
        rows = Asked(rows.search, rows.figure, rows.sort, rows.page + 1)
    days = {"first": asked.first.isoformat(), "last": asked.last.isoformat()}
    record(request.workspace, request.user, "devices.report_exported", devices=len(table), **days)
    if found.nobody:
        figures = dict.fromkeys(LISTS, 0) | {cell.key: cell.value for cell in found.nobody}
        table.append(("No device", "", "", "", *numbers_of(figures), "", "", "", ""))
    return csv_answer(request, f"Devices {asked.words}", DEVICE_HEAD, [table])


def device_cells(line: DeviceLine) -> tuple[object, ...]:
    times = [None if ms is None else round(ms) for ms in (line.took.mean_ms, line.took.p95_ms)]
    return (
        line.device.name,
        line.device.phone,
        line.state.word,
        line.campaigns,
        *numbers_of(line.figures),
        *times,
        line.used,
        line.cap,
    )


# ---- one device


@require_safe
@workspace_role("viewer")
def one_device(request: WorkspaceRequest, uuid: UUID) -> HttpResponse:
    device = find_device(request, uuid)
    form = PeriodForm(request.GET, workspace=request.workspace)
    asked, rows = form.period, asked_rows(request.GET)
    context = {
        **report_context(request, form, reverse("monitoring:one_device", args=[device.uuid])),
        "device": device,
        "state": shown(device),
        "used": used_today(device),
        "cap": cap_today(device),
        "took": times_taken(request.workspace, asked, device.pk).get(device.pk, Took()),
        "found": campaigns_of(request.workspace, asked, rows, device),
        "figure_word": LISTS.get(rows.figure, ""),
        "sorts": CAMPAIGNS_BY.items(),
        "events": history(device).lines[:HISTORY],
    }
    return answer(request, "one_device", context)


@require_safe
@workspace_role("viewer")
def one_device_charts(request: WorkspaceRequest, uuid: UUID) -> HttpResponse:
    device = find_device(request, uuid)
    asked = PeriodForm(request.GET, workspace=request.workspace).period
    return render(request, "monitoring/_charts.html", charts_of(request.workspace, asked, device))


@require_POST
@workspace_role("viewer")
def one_device_export(request: WorkspaceRequest, uuid: UUID) -> HttpResponse:
    """What each campaign of the period has at this device."""
    device = find_device(request, uuid)
    asked = PeriodForm(request.POST, workspace=request.workspace).period
    asked_for = asked_rows(request.POST)
    rows = Asked(asked_for.search, asked_for.figure, "oldest")
    found = launched(request.workspace, asked.span, search=rows.search, figure=rows.figure, device=device.pk)
    record(
        request.workspace,
        request.user,
        "device.report_exported",
        f"device:{device.uuid}",
        campaigns=found.kept,
        first=asked.first.isoformat(),
        last=asked.last.isoformat(),
    )
    pages = exported(request.workspace, asked, rows, device)
    return csv_answer(request, f"{device.name} {asked.words}", HEAD, pages)


# ---- what failed at one device


@require_http_methods(["GET", "HEAD", "POST"])
@workspace_role("manager")
def retry_device(request: WorkspaceRequest, uuid: UUID) -> HttpResponse:
    """How many failed messages of which campaigns would be tried again at this device; then one button.

    The button names the campaigns and the instant they were looked at: what fails from then on is not meant.
    """
    device = find_device(request, uuid)
    if request.method == "POST":
        return retry(request, device)
    asked = PeriodForm(request.GET, workspace=request.workspace).period
    looked_at = database_time()
    found, left_out = failed_campaigns(device, asked)
    counts = [(campaign, count_dead(Selection(campaign, looked_at, device))) for campaign in found]
    chosen = [(campaign, count) for campaign, count in counts if count]
    context = {
        "device": device,
        "period": asked,
        "until": looked_at.isoformat(),
        "chosen": chosen,
        "people": sum(count for _, count in chosen),
        "left_out": left_out,
        "back": address(reverse("monitoring:one_device", args=[device.uuid]), asked.query),
    }
    return render(request, "monitoring/retry_device.html", context)


def failed_campaigns(device: Device, asked: Period) -> tuple[list[Campaign], int]:
    """Those of the period that have failed messages there and may be sent again, and how many more there are."""
    told = launched(device.workspace, asked.span, device=device.pk, figure="failed", sort="failed", size=AT_ONCE)
    campaigns = Campaign.objects.for_workspace(device.workspace).select_related("workspace")
    found = campaigns.filter(pk__in=[pk for pk, _ in told.rows], state__in=REOPENABLE)
    return list(found.order_by("-launched_at", "-pk")), told.kept - len(told.rows)


def retry(request: WorkspaceRequest, device: Device) -> HttpResponse:
    until = parsed(request.POST.get("until", ""))
    try:
        asked = Campaign.objects.for_workspace(request.workspace).filter(uuid__in=request.POST.getlist("campaign"))
        campaigns = list(asked.select_related("workspace").order_by("pk")[: AT_ONCE + 1])
    except ValidationError:
        campaigns = []
    if until is None or not campaigns or len(campaigns) > AT_ONCE:
        raise Http404("There are no such messages.")
    people = retry_all([Selection(campaign, until, device) for campaign in campaigns], request.user)
    if people:
        messages.success(request, f"{counted(people, 'message')} that had failed will be tried again.")
    else:
        messages.warning(request, "Nothing was retried: these messages have changed since you looked.")
    back = PeriodForm(request.POST, workspace=request.workspace).period.query
    return redirect(address(reverse("monitoring:one_device", args=[device.uuid]), back))


def parsed(text: str) -> Any:
    """An instant with its zone, or None."""
    try:
        found = parse_datetime(text)
    except ValueError:
        return None
    return found if found is not None and found.tzinfo is not None else None
