"""How a device's state reads to people: a word, a colour and a reason."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import datetime, time, timedelta
from typing import NamedTuple

from django.utils import timezone

from devices.models import Device, DeviceState
from devices.seen import Judged
from devices.warm_up import cap_today


class Shown(NamedTuple):
    word: str
    colour: str
    reason: str


# Green done, blue running, amber waiting for something named, red needs a person, grey ended by choice.
SHOWN_STATES = {
    "new": Shown("Not linked yet", "amber", "Link it with a phone."),
    "pairing": Shown("Pairing", "blue", "Waiting for a phone to take the code."),
    "connecting": Shown("Connecting", "blue", "Its engine is logging it in."),
    "online": Shown("Online", "green", ""),
    "held": Shown("Held", "amber", "WhatsApp refused the number for a while."),
    "offline": Shown("Offline", "amber", "Its engine keeps trying to connect."),
    "unlinked": Shown("Unlinked", "red", "Link it again to send."),
    "replaced": Shown("Opened elsewhere", "red", "Another session took over. Reconnect to take it back."),
    "banned": Shown("Banned", "red", "WhatsApp has stopped this number."),
    "outdated": Shown("Library outdated", "red", "WhatsApp asks for a newer version of the library."),
    "no_engine": Shown("No engine", "red", "No running engine serves this device; messages wait."),
}

# The gateways' words, as sentences: how a pairing came to nothing, and why a device is not online.
REASONS = {
    "expired": "No phone completed the link in time. "
    "If the phone asked for a passkey, this account can't be linked here.",
    "queued": "Other numbers are being linked; its turn comes by itself.",
    "no answer": "WhatsApp fell silent. If the phone asked for a passkey, this account can't be linked here.",
    "its copy cannot be opened": "No key opens the copy of its session: give the engine the key it was sealed with.",
    "gateway restarts": "Its gateway is being restarted.",
    "network is away": "WhatsApp can't be reached.",
    "refused": "WhatsApp refused the link. "
    "Too many linked devices is one reason: a phone may have four; remove one there.",
    "session in use": "Another engine still holds its session.",
    "outdated": "WhatsApp asks for a newer version of the library.",
    "another number": "Another number than the one you named was linked; it was unlinked again.",
    "taken": "This number is already linked to another device here. Unlink it there first.",
    "cancelled": "The pairing was cancelled.",
    "interrupted": "The pairing was interrupted: its engine or gateway ended. Start again.",
    "connection cut": "The connection was cut.",
    "no answer from WhatsApp": "WhatsApp does not answer.",
    "its session ends the gateway": "Its session ended the gateway several times and is left alone.",
    "temporarily banned": "WhatsApp has banned this number for a while.",
    "logged out": "Unlinked here.",
    "deleted here, remove it on the phone too": "Unlinked here while not connected: remove it on the phone too.",
    "removed on the phone": "It was removed on the phone. Link it again to send.",
    "WhatsApp has locked the account": "WhatsApp has locked the account. Open it on the phone, then link it again.",
    "WhatsApp has banned the account": "WhatsApp has banned the account. The phone says what can be done.",
    "no session": "Its session is lost. Link it again to send.",
}
LEFT_ALONE = ("its session ends the gateway",)  # nobody tries to connect it again
# What WhatsApp's number says of ours; `campaigns.engine.outcome` has the sources.
REFUSALS = {
    429: "WhatsApp refused it for sending too fast (429).",
    463: "WhatsApp refused to let it write to new people (463).",
    475: "WhatsApp refused it more new chats, its month's are used up (475).",
}
REFUSED = re.compile(r"refused (?P<code>\d+)(?:.* for (?P<seconds>\d+) s$)?", re.DOTALL)
ENDED_BY_CHOICE = ("logged out", "deleted here, remove it on the phone too")


def shown(device: Judged) -> Shown:
    """``device`` comes from ``with_shown_state()``."""
    word, colour, reason = SHOWN_STATES[device.shown_state]
    if device.shown_state == "no_engine":
        return Shown(word, colour, reason)
    if device.shown_state == "held":
        return Shown(f"Held until {_clock(device, device.held_until)}", colour, refusal(device.held_reason))
    if device.state_reason in ENDED_BY_CHOICE:
        colour = "grey"
    reason = sentence(device.state_reason) or reason
    if device.shown_state == "offline" and device.state_reason:
        reason += " Reconnect to try again." if device.state_reason in LEFT_ALONE else " It reconnects by itself."
    if device.shown_state == "banned" and device.banned_until:
        until = device.banned_until.astimezone(device.workspace.zone)
        reason = f"{reason} Until {until:%-d %b %Y, %H:%M}."
    return Shown(word, colour, reason)


def _clock(device: Judged, at: datetime | None) -> str:
    """In the workspace's zone; with its day where that is not today."""
    if at is None:
        return "?"
    local, today = at.astimezone(device.workspace.zone), timezone.now().astimezone(device.workspace.zone).date()
    return f"{local:%H:%M}" if local.date() == today else f"{local:%-d %b, %H:%M}"


def refusal(reason: str) -> str:
    """Why WhatsApp refused a number, as a sentence."""
    found = REFUSED.match(reason)
    code = int(found["code"]) if found else 0
    return REFUSALS.get(code, f"WhatsApp refused the number ({code})." if code else "WhatsApp refused the number.")


def pairing_end(device: Device) -> str:
    """Why the last pairing of a device that is not linked came to nothing; empty when there was none."""
    return sentence(device.state_reason)


def queue_words(place: int) -> str:
    """``place`` among the pairings that wait; 1 comes next."""
    ahead = place - 1
    if ahead <= 0:
        return "Yours is next."
    return f"{ahead} pairing{' is' if ahead == 1 else 's are'} ahead of yours."


def fours(code: str) -> list[str]:
    """A code to type, in groups as the phone shows them."""
    plain = code.replace("-", "")
    return [plain[start : start + 4] for start in range(0, len(plain), 4)]


def spelled(code: str) -> str:
    return ", ".join(" ".join(four) for four in fours(code))


def sentence(reason: str) -> str:
    """A state's reason as people read it; empty for none."""
    reason = REASONS.get(reason, reason)
    return f"{reason[0].upper()}{reason[1:].rstrip('.')}." if reason else ""


def used_today(device: Judged) -> int:
    """Counts begin anew with the day of the workspace's zone, also before the engine's next send notices."""
    zone = device.workspace.zone
    start = device.day_start
    if start is None or start.astimezone(zone).date() != timezone.now().astimezone(zone).date():
        return 0
    return device.day_used


def used_this_hour(device: Judged) -> int:
    """As `used_today`: by the hour of the workspace's zone."""
    zone = device.workspace.zone
    start = device.hour_start
    if start is None:
        return 0
    begun, now = start.astimezone(zone), timezone.now().astimezone(zone)
    return device.hour_used if (begun.date(), begun.hour) == (now.date(), now.hour) else 0


# Why a claim gives a device nothing now, in its words.
HELD = {
    "in_flight": "A message is on its way.",
    "offline": "It is not online.",
    "refused": "WhatsApp refused the number for a while.",
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


def held(device: Judged, at_any_hour: bool = False) -> Held | None:
    """What keeps it from sending now, the longest hold of all; ``device`` comes from ``with_shown_state()``.

    Judged like the claim (`campaigns.outbox.claim`), which alone decides. ``at_any_hour``: as for tests and replies.
    """
    if device.open_message is not None:
        return Held("in_flight", None)
    if not is_connected(device):
        return Held("offline", None)
    holds = [hold for hold in _holds(device, timezone.now()) if not (at_any_hour and hold.verdict == "sending_hours")]
    return max(holds, key=lambda hold: hold.until or device.next_send_at, default=None)


def is_connected(device: Judged) -> bool:
    """Online, though WhatsApp may have refused its number for a while; ``device`` comes from ``with_shown_state()``."""
    return device.shown_state in (DeviceState.ONLINE, "held")


def _holds(device: Judged, now: datetime) -> Iterator[Held]:
    local = now.astimezone(device.workspace.zone)
    if device.held_until is not None and device.held_until > now:
        yield Held("refused", device.held_until)
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


def may_send_at(device: Judged, hold: Held | None) -> datetime | None:
    """When it may send at the earliest by ``hold``, as `held` told it; None: nobody knows."""
    return hold.until if hold else device.next_send_at
