"""The test message of a device: its form, and what became of the last ones."""

from __future__ import annotations

from datetime import timedelta
from typing import NamedTuple
from uuid import UUID

from django.http import HttpResponse
from django.shortcuts import get_object_or_404, render
from django.utils import timezone
from django.views.decorators.http import require_POST, require_safe

from accounts.access import WorkspaceRequest, workspace_role
from campaigns.actions.direct import send_test
from campaigns.engine import lifecycle
from campaigns.forms.direct import TestMessageForm
from campaigns.models import Lane, Message
from campaigns.shown import MESSAGE_STATES, REASONS, Shown, duration
from devices.models import Device
from devices.shown import held, is_connected
from devices.shown import shown as shown_device

MESSAGES_SHOWN = 3
WATCHED_CLOSELY = timedelta(minutes=1)
WATCHED = timedelta(minutes=30)
UNFINISHED = {lifecycle.PENDING, lifecycle.WAITING, lifecycle.SENDING, lifecycle.SENT, lifecycle.UNCERTAIN}


class Line(NamedTuple):
    """A test message as the page shows it."""

    message: Message
    shown: Shown


@require_safe
@workspace_role("viewer")
def device_test(request: WorkspaceRequest, uuid: UUID) -> HttpResponse:
    """The card on a device's page, or for htmx's target `test-messages` only the last messages."""
    device = find_device(request, uuid)
    form = TestMessageForm(request.workspace) if request.role.covers("manager") else None
    template = "_messages.html" if request.htmx.target == "test-messages" else "_test.html"
    return render_card(request, template, device, form)


@require_POST
@workspace_role("manager")
def send_device_test(request: WorkspaceRequest, uuid: UUID) -> HttpResponse:
    device = find_device(request, uuid)
    form = TestMessageForm(request.workspace, request.POST)
    if not form.is_valid():
        return render_card(request, "_test.html", device, form, status=422)
    send_test(device, form.cleaned_data["phone"], form.cleaned_data["text"], by=request.user)
    return render_card(request, "_test.html", device, TestMessageForm(request.workspace, initial=form.cleaned_data))


def find_device(request: WorkspaceRequest, uuid: UUID) -> Device:
    found = Device.objects.for_workspace(request.workspace).select_related("workspace").with_shown_state()
    device: Device = get_object_or_404(found, uuid=uuid)
    return device


def render_card(
    request: WorkspaceRequest, template: str, device: Device, form: TestMessageForm | None, status: int = 200
) -> HttpResponse:
    lines = latest(device)
    context = {"device": device, "form": form, "lines": lines, "poll": poll(lines)}
    return render(request, f"campaigns/direct/{template}", context, status=status)


def latest(device: Device) -> list[Line]:
    messages = Message.objects.filter(
        workspace=device.workspace, stream__device=device, stream__lane=Lane.DIRECT, stream__campaign=None
    )
    recent = messages.select_related("content").order_by("-due_at", "-id")[:MESSAGES_SHOWN]
    return [Line(message, shown_message(message, device)) for message in recent]


def shown_message(message: Message, device: Device) -> Shown:
    """What it waits for, or why it did not go."""
    state = MESSAGE_STATES[message.state]
    reason = REASONS.get(message.reason, message.reason)
    if message.state in lifecycle.CLAIMABLE and not is_connected(device):
        word = shown_device(device).word.lower()
        return state._replace(reason=f"The device is not online ({word}). It goes out when it is.")
    if message.state == lifecycle.PENDING and not reason:
        hold = held(device, at_any_hour=True)
        seconds = (hold.until - timezone.now()).total_seconds() if hold and hold.until else 0
        if hold is None or seconds <= 1:
            reason = "Next in line."
        elif hold.verdict == "pace":
            reason = f"The device's pace lets the next message go in {round(seconds)} s."
        else:
            reason = f"{hold.reason} It goes out in {duration(seconds)}."
    return state._replace(reason=reason or state.reason)


def poll(lines: list[Line]) -> str:
    """How often the lines look again: closely at first, then now and then, and not for ever."""
    ages = [timezone.now() - line.message.due_at for line in lines if line.message.state in UNFINISHED]
    if not ages or min(ages) > WATCHED:
        return ""
    return "1s" if min(ages) < WATCHED_CLOSELY else "10s"
