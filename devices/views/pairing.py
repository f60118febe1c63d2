"""Pairing: the page with the code, its live region, and the button that plays the phone of a simulated device."""

from __future__ import annotations

from uuid import UUID

from django.conf import settings
from django.http import Http404, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.cache import never_cache
from django.views.decorators.debug import sensitive_post_parameters
from django.views.decorators.http import require_http_methods, require_POST
from django_htmx.http import HttpResponseClientRedirect

from accounts.access import WorkspaceRequest, workspace_role
from devices import actions
from devices.forms import PairForm
from devices.gateway.control import ControlRefused, ControlUnavailable, SimulatorControl
from devices.jobs import hurry
from devices.models import Device, DeviceState, Driver, Request
from devices.views.devices import find_device


@never_cache
@require_http_methods(["GET", "HEAD", "POST"])
@workspace_role("manager")
def pair(request: WorkspaceRequest, uuid: UUID) -> HttpResponse:
    """The page, or its live region for htmx. The code itself is not here: its host shows it again when asked."""
    device = find_device(request, uuid)
    form = PairForm(request.POST if request.method == "POST" else None)
    if request.method == "POST" and form.is_valid():
        if not actions.pair_device(device, request.user):
            form.add_error(None, "The device changed meanwhile. Look at its state and try again.")
        device = find_device(request, uuid)
    if device.phone is not None and device.request != Request.UNLINK:
        page = reverse("devices:device", args=[uuid])
        return HttpResponseClientRedirect(page) if request.htmx else redirect(page)
    if device.state == DeviceState.PAIRING or device.request:
        hurry(device.owner_id, [device.pk])
    template = "devices/_pairing.html" if request.htmx else "devices/pair.html"
    context = {"device": device, "form": form}
    return render(request, template, context, status=422 if form.errors else 200)


@require_POST
@workspace_role("manager")
def cancel(request: WorkspaceRequest, uuid: UUID) -> HttpResponse:
    device = find_device(request, uuid)
    actions.cancel_pairing(device, request.user)
    context = {"device": find_device(request, uuid), "form": PairForm(), "cancelled": True}
    return render(request, "devices/_pairing.html", context)


@sensitive_post_parameters("payload")
@require_POST
@workspace_role("manager")
def play_phone(request: WorkspaceRequest, uuid: UUID) -> HttpResponse:
    """Scan the code on the screen with a phone of the simulated network."""
    device: Device = find_device(request, uuid)
    if device.driver != Driver.SIMULATOR:
        raise Http404
    error = ""
    try:
        SimulatorControl(settings.SIMULATOR_CONTROL).scan(request.POST.get("payload", ""))
    except ControlUnavailable:
        error = "The simulated network is not running, so there is no phone to scan with."
    except ControlRefused as refusal:
        error = f"The phone says: {refusal}. Try again with the next code."
    return render(request, "devices/_played.html", {"error": error})
