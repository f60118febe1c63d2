"""What became of one message: what it waited for, who tried, what WhatsApp said, and which rule decided."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

from django.utils import timezone

from campaigns.engine import lifecycle
from campaigns.models import CampaignState, Message, Reply
from campaigns.shown import MESSAGE_STATES, Shown, reason_in_words, rule_in_words, shown_message
from devices.history import line_of
from devices.models import Device, DeviceEvent
from devices.shown import held

EVENTS_READ = 300  # of a device, the newest
EVENTS_SHOWN = 20
# What keeps a device from sending, and that it is back.
TOLD = ("held", "online", "offline", "unlinked", "replaced", "banned", "outdated")


@dataclass(frozen=True, slots=True)
class Step:
    """``at`` None: nobody noted when. ``why`` explains; ``text`` is somebody's own words."""

    at: datetime | None
    what: str
    colour: str = "grey"
    why: str = ""
    device: str = ""
    text: str = ""


@dataclass(frozen=True, slots=True)
class Timeline:
    """``rule``: which one decided; ``holds``: what it waits for now."""

    state: Shown
    rule: str
    holds: list[str]
    steps: list[Step]


def timeline_of(message: Message) -> Timeline:
    """``message`` comes with its campaign, its stream's device, and their workspace."""
    steps = [*planned(message), *tries(message), *receipts(message), *answers(message), *device_events(message)]
    dated = sorted((step.at, place, step) for place, step in enumerate(steps) if step.at is not None)
    return Timeline(
        state=shown_message(message),
        rule=rule_in_words(message.reason) if message.state not in lifecycle.FIGURES["sent"] else "",
        holds=list(holds(message)) if message.state in lifecycle.CLAIMABLE else [],
        steps=[*(step for _, _, step in dated), *(step for step in steps if step.at is None), *ending(message)],
    )


def planned(message: Message) -> Iterator[Step]:
    campaign = message.campaign
    if campaign and campaign.launched_at:
        yield Step(campaign.launched_at, "The campaign was started")
    if message.state in lifecycle.CLAIMABLE and (not campaign or message.due_at != campaign.launched_at):
        again = "Due again" if message.attempts else "Due"
        yield Step(message.due_at, again, "amber", reason_in_words(message.reason))


def tries(message: Message) -> Iterator[Step]:
    """Each attempt with its device and outcome. The latest stands in the message, unless it was put away already."""
    earlier = sorted(message.earlier_attempts.all(), key=lambda attempt: attempt.number)
    found = Device.objects.filter(workspace=message.workspace_id, pk__in={one.device_id for one in earlier})
    names = dict(found.values_list("pk", "name"))
    for attempt in earlier:
        name = names.get(attempt.device_id, "a device that was removed")
        yield Step(attempt.started_at, f"Try {attempt.number}", "amber", failed(attempt.outcome), name)
    if message.attempted_at is None or message.attempts in {attempt.number for attempt in earlier}:
        return
    if message.state in lifecycle.FIGURES["sent"] and message.state != lifecycle.ASSUMED:
        why, colour = "It was sent.", "green"
    elif message.state == lifecycle.SENDING:
        why, colour = "It is on its way.", "blue"
    else:
        shown = shown_message(message)
        why, colour = shown.reason or shown.word, "amber" if message.state in lifecycle.CLAIMABLE else shown.colour
    if message.state in lifecycle.FIGURES["skipped"]:  # what ended it came after the try
        why, colour = "It was not sent.", "amber"
    yield Step(message.attempted_at, f"Try {message.attempts}", colour, why, message.stream.device.name)


def failed(outcome: str) -> str:
    return reason_in_words(outcome) or "It came to nothing; no reason was noted."


def receipts(message: Message) -> Iterator[Step]:
    if message.sent_at:
        yield Step(message.sent_at, "WhatsApp took it", "green")
    if message.delivered_at:
        yield Step(message.delivered_at, "It reached their phone", "green")
    if message.read_at:
        yield Step(message.read_at, "They read it", "green")


def answers(message: Message) -> Iterator[Step]:
    replies: list[Reply] = sorted(message.replies.all(), key=lambda reply: reply.pk)
    for reply in replies:
        kind = "" if reply.kind == "text" else reply.get_kind_display()
        yield Step(reply.at, "They answered", "green", kind, text=reply.text)
    if message.replied_at and not replies:
        yield Step(message.replied_at, "They answered", "green")


def device_events(message: Message) -> Iterator[Step]:
    """What kept its device from sending between the start and the moment this message left."""
    begin = message.campaign.launched_at if message.campaign else message.due_at
    end = message.sent_at or message.dead_at or timezone.now()
    if begin is None or message.state in lifecycle.FIGURES["skipped"]:
        return
    device = message.stream.device
    newest = DeviceEvent.objects.filter(workspace=message.workspace_id, device=device).order_by("-pk")[:EVENTS_READ]
    told = [event for event in newest if event.kind in TOLD and begin <= event.at <= end][:EVENTS_SHOWN]
    for event in told:
        line = line_of(event)
        yield Step(event.at, f"{device.name}: {line.word.lower()}", line.colour, line.detail)


def ending(message: Message) -> Iterator[Step]:
    """How it ended where that has no time of its own."""
    if message.state in (*lifecycle.FIGURES["skipped"], lifecycle.ASSUMED):
        shown = MESSAGE_STATES[message.state]
        yield Step(None, shown.word, shown.colour, shown_message(message).reason)


def holds(message: Message) -> Iterator[str]:
    """What it waits for, the campaign first; the device's own hold as its page says it."""
    campaign, now = message.campaign, timezone.now()
    if campaign and campaign.state == CampaignState.PAUSED:
        yield "The campaign is paused."
    if message.due_at > now:
        yield "It is not due yet."
    device = message.stream.device
    if hold := held(device):
        zone = device.workspace.zone
        until = f" Until {hold.until.astimezone(zone):%a %-d %b, %H:%M}." if hold.until else ""
        yield f"{device.name}: {hold.reason}{until}"
    elif message.due_at <= now:
        yield f"{device.name} takes the messages before it first."
