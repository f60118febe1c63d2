"""What open pages hear of devices: rows, headers and the pairing code of the moment."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from io import BytesIO
from typing import Any

import segno
from django.db import transaction
from django.utils.safestring import SafeString, mark_safe

from accounts.live import FLEET_GROUP, WORKERS, Update, group_name, push, push_many, send_frames
from devices.models import Device, DeviceState, Driver, Request
from devices.worker_frames import Changes


class Crier:
    """Where states go that Worker Status shows: an engine's pulse puts its own function here and tells once a second.

    Any other process tells at once: there they change by what a person did.
    """

    collect: Callable[[dict[int, tuple[int, str]]], object] | None = None


def push_devices(ids: Iterable[int]) -> None:
    """Show these devices as they are now, in lists and on their own pages. Any thread, after the commit."""
    devices = list(Device.objects.filter(pk__in=list(ids)).select_related("workspace").with_shown_state())
    push_many([update for device in devices for update in updates(device)])
    states = {device.pk: (device.workspace_id, device.shown_state) for device in devices}
    transaction.on_commit(lambda: (Crier.collect or tell_workers)(states), robust=True)


def tell_workers(states: dict[int, tuple[int, str]]) -> None:
    """Device → its workspace and its state as shown, to the pages of Worker Status."""
    by_group: dict[str, Changes] = {FLEET_GROUP: Changes()}
    for device, (workspace, state) in states.items():
        for group in (FLEET_GROUP, group_name(workspace, WORKERS)):
            by_group.setdefault(group, Changes()).states[device] = state
    send_frames((group, changes.frame()) for group, changes in by_group.items() if changes.states)


def updates(device: Device) -> Iterator[Update]:
    context = {"device": device}
    yield Update(device.workspace, "devices", "devices/_device.html", context)
    yield Update(device.workspace, f"device.{device.uuid}", "devices/_device_page.html", context)
    # While a code may be on the screen only the next code replaces it.
    if device.state != DeviceState.PAIRING or device.request == Request.CANCEL_PAIR:
        yield Update(device.workspace, pairing_topic(device), "devices/_pairing.html", context)


def push_removed(device: Device) -> None:
    push(device.workspace, "devices", "devices/_removed.html", device_id=device.pk)


def push_code(device_id: int, payload: str, expires_s: float) -> None:
    """Show a pairing code, valid for ``expires_s`` more seconds, on the pages that pair this device.

    Whoever scans it speaks for the device: it goes to its workspace's pages and nowhere else, no table and no log.
    """
    # Only the simulated network takes a code from a browser; a real one is scanned with a phone.
    _push_pairing(
        device_id,
        lambda device: {
            "code": qr_svg(payload),
            "expires_s": round(expires_s, 1),
            "payload": payload if device.driver == Driver.SIMULATOR else "",
        },
    )


def push_typed_code(device_id: int, code: str) -> None:
    """Show the code to type on the phone; it is as secret as one to scan."""
    _push_pairing(device_id, lambda device: {"typed_code": code})


def push_place(device_id: int, place: int) -> None:
    """Show at which place the device waits for its turn to be linked; 1 is next."""
    _push_pairing(device_id, lambda device: {"place": place})


def _push_pairing(device_id: int, shown: Callable[[Device], dict[str, Any]]) -> None:
    device = Device.objects.filter(pk=device_id).select_related("workspace").with_shown_state().first()
    if device is not None:
        push(device.workspace, pairing_topic(device), "devices/_pairing.html", device=device, **shown(device))


def pairing_topic(device: Device) -> str:
    """Apart from the device's page, which viewers keep open: a code goes to the pages that pair."""
    return f"pairing.{device.uuid}"


def qr_svg(payload: str) -> SafeString:
    """Inline SVG, dark on white with a quiet zone of four modules whatever the theme: inverted codes do not scan."""
    drawn = BytesIO()
    segno.make(payload, error="m", micro=False).save(
        drawn,
        kind="svg",
        border=4,
        dark="#000",
        light="#fff",
        xmldecl=False,
        svgns=False,
        omitsize=True,
        svgclass="qr",
        lineclass=None,
    )
    return mark_safe(drawn.getvalue().decode())  # noqa: S308 - segno writes paths and numbers, never the payload's text
