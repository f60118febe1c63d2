"""How a device's state reads to people: a word, a colour and a reason."""

from __future__ import annotations

from typing import NamedTuple

from django.utils import timezone

from devices.models import Device, DeviceEvent, DeviceState


class Shown(NamedTuple):
    word: str
    colour: str
    reason: str


# Green done, blue running, amber waiting for something named, red needs a person, grey ended by choice.
SHOWN_STATES = {
    "new": Shown("Not linked yet", "amber", "Link it with a phone."),
    "pairing": Shown("Pairing", "blue", "Waiting for a phone to scan the code."),
    "connecting": Shown("Connecting", "blue", "Its engine is logging it in."),
    "online": Shown("Online", "green", ""),
    "offline": Shown("Offline", "amber", "Its engine keeps trying to connect."),
    "unlinked": Shown("Unlinked", "red", "Link it again to send."),
    "replaced": Shown("Opened elsewhere", "red", "Another session took over. Reconnect to take it back."),
    "banned": Shown("Banned", "red", "WhatsApp has stopped this number."),
    "outdated": Shown("Library outdated", "red", "WhatsApp asks for a newer version of the library."),
    "no_engine": Shown("No engine", "red", "No running engine serves this device; messages wait."),
}

# The gateways' words, as sentences.
REASONS = {
    "expired": "No phone scanned the code in time.",
    "network is away": "WhatsApp can't be reached.",
    "session in use": "Another engine still holds its session.",
    "logged out": "Unlinked here.",
    "deleted here, remove it on the phone too": "Unlinked here while not connected: remove it on the phone too.",
    "removed on the phone": "It was removed on the phone. Link it again to send.",
    "no session": "Its session is lost. Link it again to send.",
}
ENDED_BY_CHOICE = ("logged out", "deleted here, remove it on the phone too")


def shown(device: Device) -> Shown:
    """``device`` comes from ``with_shown_state()``."""
    word, colour, reason = SHOWN_STATES[device.shown_state]
    if device.shown_state == "no_engine":
        return Shown(word, colour, reason)
    if device.state_reason in ENDED_BY_CHOICE:
        colour = "grey"
    reason = sentence(device.state_reason) or reason
    if device.shown_state == "banned" and device.banned_until:
        until = device.banned_until.astimezone(device.workspace.zone)
        reason = f"{reason} Until {until:%-d %b %Y, %H:%M}."
    return Shown(word, colour, reason)


def pairing_end(device: Device) -> str:
    """Why the last pairing of a device that is not linked came to nothing; empty when there was none."""
    why = sentence(device.state_reason)
    return f"{why} Nothing was linked." if why and device.state == DeviceState.NEW else why


def sentence(reason: str) -> str:
    reason = REASONS.get(reason, reason)
    return f"{reason[0].upper()}{reason[1:].rstrip('.')}." if reason else ""


def used_today(device: Device) -> int:
    """Counts begin anew with the day of the workspace's zone, also before the engine's next send notices."""
    zone = device.workspace.zone
    start = device.day_start
    if start is None or start.astimezone(zone).date() != timezone.now().astimezone(zone).date():
        return 0
    return device.day_used


def used_this_hour(device: Device) -> int:
    zone = device.workspace.zone
    start = device.hour_start
    hour = "%Y-%m-%d %H"
    if start is None or f"{start.astimezone(zone):{hour}}" != f"{timezone.now().astimezone(zone):{hour}}":
        return 0
    return device.hour_used


def event_word(event: DeviceEvent) -> str:
    """The engine notes states, people's deeds are words already."""
    state = SHOWN_STATES.get(event.kind)
    return state.word if state else event.kind.capitalize()


def event_colour(event: DeviceEvent) -> str:
    state = SHOWN_STATES.get(event.kind)
    return state.colour if state else "grey"


def event_detail(event: DeviceEvent) -> str:
    return sentence(event.detail) if event.kind in SHOWN_STATES else event.detail
