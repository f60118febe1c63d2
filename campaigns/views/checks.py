"""Who is on WhatsApp: the part of the contacts page that says what is known, begins to ask and shows how far it is."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.utils.http import urlencode
from django.views.decorators.http import require_POST, require_safe

from accounts.access import WorkspaceRequest, workspace_role
from campaigns.actions.checks import start_check, stop_check, those_of
from campaigns.models import CheckRun, Tag
from campaigns.numbers import unchecked
from campaigns.shown import counted, duration
from devices.models import Device, DeviceState


@require_safe
@workspace_role("viewer")
def check_region(request: WorkspaceRequest) -> HttpResponse:
    """About everybody, or those with the tag that the list is narrowed to."""
    return render(request, "campaigns/contacts/_check.html", region(request, the_tag(request, request.GET)))


def region(request: WorkspaceRequest, tag: Tag | None) -> dict[str, Any]:
    run = CheckRun.objects.for_workspace(request.workspace).select_related("tag").order_by("-pk").first()
    open_run = run if run and run.finished_at is None else None
    devices = Device.objects.for_workspace(request.workspace).with_shown_state().shown_as(DeviceState.ONLINE).count()
    unknown = unchecked(those_of(request.workspace, tag)).count_lately() if open_run is None else 0
    left = open_run.total - open_run.asked if open_run else unknown
    return {
        "tag": tag,
        "run": run,
        "open_run": open_run,
        "unknown": unknown,
        "devices": devices,
        "lasts": lasts(left, devices),
        "can_manage": request.role.covers("manager"),
    }


def lasts(numbers: int, devices: int) -> str:
    """How long asking takes, if these devices stay online; empty without any."""
    if not devices:
        return ""
    seconds = 60 * numbers / (devices * settings.CHECK_NUMBERS_PER_MINUTE)
    return f"{'about ' if seconds >= 60 else ''}{duration(seconds)}"


@require_POST
@workspace_role("manager")
def check_start(request: WorkspaceRequest) -> HttpResponse:
    tag = the_tag(request, request.POST)
    if run := start_check(request.workspace, request.user, tag):
        messages.success(request, f"Asking WhatsApp about {counted(run.total, 'number')}.")
    else:
        messages.info(request, "Nothing to ask: every number is known, or is being asked about.")
    return back(tag)


@require_POST
@workspace_role("manager")
def check_stop(request: WorkspaceRequest) -> HttpResponse:
    if stop_check(request.workspace, request.user):
        messages.success(request, "Stopped. What was found out stays known.")
    return back(the_tag(request, request.POST))


def the_tag(request: WorkspaceRequest, asked: Any) -> Tag | None:
    """By its name, as the list's filter has it; a foreign one is not found."""
    name = asked.get("tag", "").replace("\0", "")
    return get_object_or_404(Tag.objects.for_workspace(request.workspace), name=name) if name else None


def back(tag: Tag | None) -> HttpResponse:
    contacts = reverse("campaigns:contacts")
    return redirect(f"{contacts}?{urlencode({'tag': tag.name})}" if tag else contacts)
