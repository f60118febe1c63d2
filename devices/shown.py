"""How a device's state reads to people: a word, a colour and a reason."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, time, timedelta
from typing import NamedTuple

from django.utils import timezone

from devices.models import Device, DeviceEvent, DeviceState
from devices.warm_up import cap_today


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
    "queued": "Other numbers are being linked; its turn comes by itself.",
    "no answer": "WhatsApp fell silent. If the phone asked for a passkey, this account can't be linked here.",
    "refused": "WhatsApp refused to link this number.",
    "outdated": "WhatsApp asks for a newer version of the library.",
    "another number": "The phone that scanned has another number than the one expected.",
    "taken": "This number is already linked to another device here. Unlink it there first.",
    "cancelled": "Pairing was cancelled.",
    "interrupted": "Pairing was interrupted. Start again.",
    "its copy cannot be opened": "No key opens the copy of its session: give the engine the key it was sealed with.",
    "its session ends the gateway": "Its session ends the program that opens it. Reconnect it to try again, or unlink.",
    "gateway restarts": "Its gateway is being restarted.",
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
    """A state's reason as people read it; empty for none."""
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
    """As `used_today`: by the hour of the workspace's zone."""
    zone = device.workspace.zone
    start = device.hour_start
    hour = "%Y-%m-%d %H"
    if start is None or f"{start.astimezone(zone):{hour}}" != f"{timezone.now().astimezone(zone):{hour}}":
        return 0
    return device.hour_used


# Why a claim gives a device nothing now, in its words.
HELD = {
    "in_flight": "A message is on its way.",
    "offline": "It is not online.",
    "pace": "The gap after its last message.",
    "hourly_cap": "This hour's messages are used up.",
    "daily_cap": "Today's messages are used up.",
    "warm_up": "Today's messages of its warm-up are used up.",
    "sending_hours": "Outside its sending hours.",
}


class Held(NamedTuple):
    """``until`` None: nobody knows until when."""

    verdict: str
    until: datetime | None

    @property
    def reason(self) -> str:
        return HELD[self.verdict]


def held(device: Device, at_any_hour: bool = False) -> Held | None:
    """What keeps it from sending now, the longest hold of all; ``device`` comes from ``with_shown_state()``.

    Judged like the claim (`campaigns.outbox.claim`), which alone decides. ``at_any_hour``: as for tests and replies.
    """
    if device.open_message is not None:
        return Held("in_flight", None)
    if device.shown_state != DeviceState.ONLINE:
        return Held("offline", None)
    holds = [hold for hold in _holds(device, timezone.now()) if not (at_any_hour and hold.verdict == "sending_hours")]
    return max(holds, key=lambda hold: hold.until or device.next_send_at, default=None)


def _holds(device: Device, now: datetime) -> Iterator[Held]:
    local = now.astimezone(device.workspace.zone)
    if device.next_send_at > now:
        yield Held("pace", device.next_send_at)
    cap = cap_today(device)
    if cap is not None and used_today(device) >= cap:
        warming = device.warm_cap is not None and (device.daily_cap is None or device.warm_cap < device.daily_cap)
        yield Held("warm_up" if warming else "daily_cap", _on_day(local, 1, time.min))
    if device.hourly_cap is not None and used_this_hour(device) >= device.hourly_cap:
        yield Held("hourly_cap", local.replace(minute=0, second=0, microsecond=0) + timedelta(hours=1))
    begin, end, clock = device.sending_from, device.sending_to, local.time()
    if begin and end and not (begin <= clock < end if begin < end else clock >= begin or clock < end):
        yield Held("sending_hours", _on_day(local, int(clock >= begin), begin))


def _on_day(local: datetime, days: int, at: time) -> datetime:
    return datetime.combine(local.date() + timedelta(days=days), at, local.tzinfo)


def may_send_at(device: Device) -> datetime:
    """When it may send at the earliest, as far as anybody knows."""
    hold = held(device)
    return hold.until if hold and hold.until else device.next_send_at


def event_word(event: DeviceEvent) -> str:
    """The engine notes states, people's deeds are words already."""
    state = SHOWN_STATES.get(event.kind)
    return state.word if state else event.kind.capitalize()


def event_colour(event: DeviceEvent) -> str:
    state = SHOWN_STATES.get(event.kind)
    return state.colour if state else "grey"


def event_detail(event: DeviceEvent) -> str:
    return sentence(event.detail) if event.kind in SHOWN_STATES else event.detail
