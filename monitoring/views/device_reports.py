"""Device Report: all devices side by side, one by itself, the files of it, and retrying what failed at one."""

from __future__ import annotations

from dataclasses import replace
from typing import Any
from uuid import UUID

from django.contrib import messages
from django.http import Http404, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from accounts.access import WorkspaceRequest, workspace_role
from campaigns.actions.dead_letters import REOPENABLE, retry_all
from campaigns.live import database_time
from campaigns.models import Campaign
from campaigns.querysets.launched import launched
from campaigns.querysets.unsettled import Selection, count_dead
from campaigns.shown import LISTS, counted
from devices.history import history
from devices.models import Device
from devices.shown import shown, used_today
from devices.views.devices import find_device
from devices.warm_up import cap_today
from monitoring.device_report import SORTED_BY, STATES, DeviceLine, devices_of
from monitoring.forms.period import PeriodForm
from monitoring.forms.retry import AT_ONCE, RetryForm
from monitoring.metered import Took, times_taken
from monitoring.period import Period
from monitoring.summary import SORTED_BY as CAMPAIGNS_BY
from monitoring.summary import address, asked_rows, campaigns_of
from monitoring.views.report_frame import (
    FIGURES,
    asked_period,
    campaigns_file,
    charts_answer,
    file_answer,
    numbers_of,
    report_answer,
)

HISTORY = 8
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
    rows = asked_rows(request.GET, SORTED_BY)
    return report_answer(
        request,
        "device_report",
        reverse("monitoring:device_report"),
        form,
        SORTED_BY,
        found=devices_of(request.workspace, form.period, rows, state_of(request.GET)),
        states=STATES,
        of_devices=True,
    )


@require_safe
@workspace_role("viewer")
def device_report_charts(request: WorkspaceRequest) -> HttpResponse:
    return charts_answer(request)


@require_POST
@workspace_role("viewer")
def device_report_export(request: WorkspaceRequest) -> HttpResponse:
    asked = asked_period(request, request.POST)
    rows, state, table = asked_rows(request.POST, SORTED_BY), state_of(request.POST), []
    while True:
        found = devices_of(request.workspace, asked, rows, state)
        table += [device_cells(line) for line in found.lines]
        if rows.page >= found.pages:
            break
        rows = replace(rows, page=rows.page + 1)
    devices = len(table)
    if found.no_device:
        figures = dict.fromkeys(LISTS, 0) | {cell.key: cell.value for cell in found.no_device}
        table.append(("No device", "", "", "", *numbers_of(figures), "", "", "", ""))
    noted = ("devices.report_exported", "")
    return file_answer(request, "Devices", asked, DEVICE_HEAD, [table], noted, devices=devices)


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
    rows = asked_rows(request.GET)
    return report_answer(
        request,
        "one_device",
        reverse("monitoring:one_device", args=[device.uuid]),
        form,
        CAMPAIGNS_BY,
        found=campaigns_of(request.workspace, form.period, rows, device),
        figure_word=LISTS.get(rows.figure, ""),
        device=device,
        state=shown(device),
        used=used_today(device),
        cap=cap_today(device),
        took=times_taken(request.workspace, form.period, device.pk).get(device.pk, Took()),
        events=history(device).lines[:HISTORY],
    )


@require_safe
@workspace_role("viewer")
def one_device_charts(request: WorkspaceRequest, uuid: UUID) -> HttpResponse:
    return charts_answer(request, find_device(request, uuid))


@require_POST
@workspace_role("viewer")
def one_device_export(request: WorkspaceRequest, uuid: UUID) -> HttpResponse:
    """What each campaign of the period has at this device."""
    device = find_device(request, uuid)
    asked, rows = asked_period(request, request.POST), asked_rows(request.POST)
    noted = ("device.report_exported", f"device:{device.uuid}")
    return campaigns_file(request, device.name, asked, rows, noted, device)


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
    asked = asked_period(request, request.GET)
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
    form = RetryForm(request.POST, request.workspace)
    if not form.is_valid():
        raise Http404("There are no such messages.")
    if people := retry_all(form.selections(device), request.user):
        messages.success(request, f"{counted(people, 'message')} that had failed will be tried again.")
    else:
        messages.warning(request, "Nothing was retried: these messages have changed since you looked.")
    back = asked_period(request, request.POST).query
    return redirect(address(reverse("monitoring:one_device", args=[device.uuid]), back))
