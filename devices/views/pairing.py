"""Pairing: the page with the code, its live region, and the button that plays the phone of a simulated device."""

from __future__ import annotations

from uuid import UUID

from django.conf import settings
from django.http import Http404, HttpResponse, QueryDict
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.cache import never_cache
from django.views.decorators.debug import sensitive_post_parameters
from django.views.decorators.http import require_http_methods, require_POST
from django_htmx.http import HttpResponseClientRedirect

from accounts.access import WorkspaceRequest, workspace_role
from devices import actions
from devices.forms import BY_CODE, PairForm
from devices.gateway.control import ControlRefused, ControlUnavailable, SimulatorControl
from devices.jobs import hurry
from devices.models import Device, DeviceState, Driver, Request
from devices.views.devices import find_device


@sensitive_post_parameters("phone")
@never_cache
@require_http_methods(["GET", "HEAD", "POST"])
@workspace_role("manager")
def pair(request: WorkspaceRequest, uuid: UUID) -> HttpResponse:
    """The page, or its live region for htmx. The code itself is not here: its host shows it again when asked."""
    device = find_device(request, uuid)
    form = pair_form(request, request.POST if request.method == "POST" else None)
    if request.method == "POST" and form.is_valid():
        try:
            begin(request, device, form)
        except actions.TooMany as refusal:
            form.add_error(None, str(refusal))
            answer = render_region(request, device, form, status=429)
            answer["Retry-After"] = str(refusal.retry_after_s)
            return answer
        device = find_device(request, uuid)
    if device.phone is not None and device.request != Request.UNLINK:
        page = reverse("devices:device", args=[uuid])
        return HttpResponseClientRedirect(page) if request.htmx else redirect(page)
    if device.state == DeviceState.PAIRING or device.request:
        hurry(device.owner_id, [device.pk])
    return render_region(request, device, form, status=422 if form.errors else 200)


def pair_form(request: WorkspaceRequest, data: QueryDict | None = None) -> PairForm:
    return PairForm(data, country=request.workspace.default_country)


def begin(request: WorkspaceRequest, device: Device, form: PairForm) -> None:
    chosen = form.cleaned_data
    if not actions.pair_device(device, request.user, phone=chosen["phone"], by_code=chosen["way"] == BY_CODE):
        form.add_error(None, "The device changed meanwhile. Look at its state and try again.")


def render_region(request: WorkspaceRequest, device: Device, form: PairForm, status: int) -> HttpResponse:
    template = "devices/_pairing.html" if request.htmx else "devices/pair.html"
    return render(request, template, {"device": device, "form": form}, status=status)


@require_POST
@workspace_role("manager")
def cancel(request: WorkspaceRequest, uuid: UUID) -> HttpResponse:
    device = find_device(request, uuid)
    actions.cancel_pairing(device, request.user)
    context = {"device": find_device(request, uuid), "form": pair_form(request), "cancelled": True}
    return render(request, "devices/_pairing.html", context)


@sensitive_post_parameters("payload")
@require_POST
@workspace_role("manager")
def play_phone(request: WorkspaceRequest, uuid: UUID) -> HttpResponse:
    """Scan the code on the screen, or type it, with a phone of the simulated network."""
    device: Device = find_device(request, uuid)
    if device.driver != Driver.SIMULATOR:
        raise Http404
    error = ""
    try:
        SimulatorControl(settings.SIMULATOR_CONTROL).scan(request.POST.get("payload", ""), device.pair_phone)
    except ControlUnavailable:
        error = "The simulated network is not running, so there is no phone to link."
    except ControlRefused as refusal:
        error = f"The phone says: {refusal}. Try again with the next code."
    return render(request, "devices/_played.html", {"error": error})
