"""The list of devices, one device's page, and what can be done there."""

from __future__ import annotations

from uuid import UUID

from django.contrib import messages
from django.core.paginator import Paginator
from django.db.models import F, Sum
from django.http import HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.views.decorators.http import require_http_methods, require_POST, require_safe
from django_htmx.http import HttpResponseClientRedirect

from accounts.access import WorkspaceRequest, workspace_role
from devices import actions
from devices.forms import AddDeviceForm, DeviceFilterForm, PaceForm, RenameForm
from devices.history import history
from devices.models import Device

DEVICES_A_PAGE = 50
# One address, one view: htmx names the region it wants by its target.
REGIONS = {
    "device-header": "devices/_header.html",
    "device-today": "devices/_today.html",
    "device-unsent": "devices/_unsent.html",
    "device-events": "devices/_events.html",
}


def find_device(request: WorkspaceRequest, uuid: UUID) -> Device:
    found = Device.objects.for_workspace(request.workspace).select_related("workspace").with_shown_state()
    device: Device = get_object_or_404(found, uuid=uuid)
    return device


@require_safe
@workspace_role("viewer")
def index(request: WorkspaceRequest) -> HttpResponse:
    everything = Device.objects.for_workspace(request.workspace)
    filters = DeviceFilterForm(request.GET)
    filters.is_valid()
    chosen = {name: value for name, value in filters.cleaned_data.items() if value}
    found = everything.select_related("workspace").with_shown_state().order_by("name")
    if words := chosen.get("q"):
        found = found.searched(words)
    if state := chosen.get("state"):
        found = found.shown_as(state)
    context = {
        "page": Paginator(found, DEVICES_A_PAGE).get_page(request.GET.get("page")),
        "filters": filters,
        "filtered": bool(chosen),
        "total": everything.count(),
        "limit": request.workspace.device_limit,
        "can_manage": request.role.covers("manager"),
    }
    return render(request, "devices/_list.html" if request.htmx else "devices/index.html", context)


@require_http_methods(["GET", "HEAD", "POST"])
@workspace_role("manager")
def add(request: WorkspaceRequest) -> HttpResponse:
    form = AddDeviceForm(request.POST if request.method == "POST" else None)
    if request.method == "POST" and form.is_valid():
        try:
            device = actions.add_device(request.workspace, request.user, **form.cleaned_data)
        except actions.Refused as refusal:
            form.add_error("name" if "name" in str(refusal) else None, str(refusal))
        else:
            return redirect("devices:pair", uuid=device.uuid)
    status = 422 if form.errors else 200
    return render(request, "devices/add.html", {"form": form, "limit": request.workspace.device_limit}, status=status)


@require_safe
@workspace_role("viewer")
def device(request: WorkspaceRequest, uuid: UUID) -> HttpResponse:
    device = find_device(request, uuid)
    can_manage = request.role.covers("manager")
    context = {
        "device": device,
        "unsent": unsent_messages(device),
        "page": history(device, before_of(request)),
        "can_manage": can_manage,
        "pace": PaceForm(instance=device, zone=request.workspace.timezone) if can_manage else None,
        "rename": RenameForm(instance=device) if can_manage else None,
    }
    return render(request, REGIONS.get(request.htmx.target or "", "devices/device.html"), context)


def before_of(request: WorkspaceRequest) -> int | None:
    """Where the page of the history begins; what is no id means the newest."""
    asked = request.GET.get("before", "")
    return int(asked) if asked.isdecimal() and len(asked) < 19 else None


@require_POST
@workspace_role("manager")
def rename(request: WorkspaceRequest, uuid: UUID) -> HttpResponse:
    device = find_device(request, uuid)
    form = RenameForm(request.POST, instance=Device(name=device.name))
    if form.is_valid():
        try:
            actions.rename_device(device, request.user, form.cleaned_data["name"])
        except actions.Refused as refusal:
            form.add_error("name", str(refusal))
    if form.errors:
        return render(request, "devices/_rename.html", {"device": device, "rename": form}, status=422)
    messages.success(request, "Renamed.")
    return HttpResponseClientRedirect(reverse("devices:device", args=[uuid]))


@require_POST
@workspace_role("manager")
def pace(request: WorkspaceRequest, uuid: UUID) -> HttpResponse:
    device = find_device(request, uuid)
    form = PaceForm(request.POST, instance=Device(), zone=request.workspace.timezone)
    if form.is_valid():
        try:
            actions.set_pace(device, request.user, **form.cleaned_data)
        except actions.Refused as refusal:
            form.add_error(None, str(refusal))
    context = {"device": find_device(request, uuid), "pace": form, "saved": form.is_valid()}
    return render(request, "devices/_pace.html", context, status=422 if form.errors else 200)


@require_POST
@workspace_role("manager")
def reconnect(request: WorkspaceRequest, uuid: UUID) -> HttpResponse:
    device = find_device(request, uuid)
    if actions.reconnect_device(device, request.user):
        messages.success(request, "Reconnecting: the state below follows by itself.")
    else:
        messages.warning(request, why_not(find_device(request, uuid)))
    return redirect("devices:device", uuid=uuid)


@require_POST
@workspace_role("manager")
def send_again(request: WorkspaceRequest, uuid: UUID) -> HttpResponse:
    """End a hold before its time."""
    if actions.lift_hold(find_device(request, uuid), request.user):
        messages.success(request, "It may send again. If WhatsApp refuses it once more, it is held for longer.")
    else:
        messages.info(request, "Nothing holds this number any more.")
    return redirect("devices:device", uuid=uuid)


@require_POST
@workspace_role("manager")
def unlink(request: WorkspaceRequest, uuid: UUID) -> HttpResponse:
    device = find_device(request, uuid)
    if actions.unlink_device(device, request.user):
        messages.success(request, "Unlinking: the session ends here and on the phone.")
    else:
        messages.warning(request, why_not(find_device(request, uuid)))
    return redirect("devices:device", uuid=uuid)


@require_POST
@workspace_role("manager")
def remove(request: WorkspaceRequest, uuid: UUID) -> HttpResponse:
    device = find_device(request, uuid)
    try:
        actions.remove_device(device, request.user)
    except actions.Refused as refusal:
        messages.warning(request, str(refusal))
        return redirect("devices:device", uuid=uuid)
    messages.success(request, f"“{device.name}” was removed.")
    return redirect("devices:index")


def unsent_messages(device: Device) -> int:
    """Planned through this device and not begun, in every campaign of its workspace, paused ones too."""
    streams = device.streams.filter(workspace=device.workspace)
    return streams.aggregate(unsent=Sum(F("pending") + F("waiting")))["unsent"] or 0


def why_not(device: Device) -> str:
    """The sentence for a request that a device in this state cannot take."""
    if device.phone is None:
        return "This device is not linked. Link it first."
    if device.request:
        return f"“{device.get_request_display()}” is under way already; the engine has not answered yet."
    if device.state == "banned":
        return "WhatsApp has banned this number. It connects by itself when the ban ends."
    return "The device changed meanwhile. Look at its state and try again."
