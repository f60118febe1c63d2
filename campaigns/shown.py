"""How campaigns and messages read to people: a word, a colour and a reason, and numbers as sentences."""

from __future__ import annotations

import math
from typing import NamedTuple

from campaigns.engine import lifecycle
from campaigns.models import Campaign, Message


class Shown(NamedTuple):
    word: str
    colour: str
    reason: str = ""


# green done or on its way, blue running, amber waiting for something named, red needs a person, grey ended by choice
CAMPAIGN_STATES = {
    "draft": Shown("Draft", "grey"),
    "scheduled": Shown("Scheduled", "amber"),
    "running": Shown("Running", "blue"),
    "paused": Shown("Paused", "amber", "Nothing leaves until it is resumed."),
    "completed": Shown("Completed", "green"),
    "cancelled": Shown("Cancelled", "grey", "Stopped for good."),
}

MESSAGE_STATES = {
    lifecycle.PENDING: Shown("Pending", "amber", "Waits for its turn on the device."),
    lifecycle.SENDING: Shown("Sending", "blue"),
    lifecycle.WAITING: Shown("Waiting", "amber", "Tried, not sent; tried again later."),
    lifecycle.ASSUMED: Shown("Assumed sent", "green", "Nobody knows; counted as sent."),
    lifecycle.SENT: Shown("Sent", "green", "WhatsApp has it; not yet on the phone."),
    lifecycle.DELIVERED: Shown("Delivered", "green"),
    lifecycle.READ: Shown("Read", "green"),
    lifecycle.DEAD: Shown("Failed", "red"),
    lifecycle.UNCERTAIN: Shown("Uncertain", "red", "Nobody knows whether it left."),
    lifecycle.SKIPPED: Shown("Skipped", "grey"),
    lifecycle.EXPIRED: Shown("Expired", "grey", "Its time passed before it could leave."),
    lifecycle.CANCELLED: Shown("Cancelled", "grey"),
}

REASONS = {
    "opted_out": "This person has opted out.",
    "suppressed": "This number asked to hear no more.",
    "contact_deleted": "This person was deleted from the contacts.",
    "barred": "Nobody may write to this number from here.",
    "frequency_cap": "They had as many messages lately as the workspace allows.",
    "quiet_hours": "It is outside the hours for writing to them, by their own clock.",
    "silence": "They asked to hear nothing for a while.",
    "not_on_whatsapp": "This number was not on WhatsApp when it was last checked.",
    "hold_out": "Held out: this person gets nothing, so that the others can be compared with them.",
    "no_room": "Every number had its fill: the campaign allows each only so many people.",
    "erased": "This person was erased.",
    "too_late": "The campaign's time to send had passed.",
    "campaign_cancelled": "The campaign was cancelled.",
    "given_up": "It had failed, and somebody gave it up.",
    "given_up_unsure": "Nobody knew whether it had left, and somebody gave it up.",
    "engine_lost": "The engine died while it was being sent.",
    "template": "The text could not be made for this person.",
    "offline": "The device was offline.",
}

# Which rule decided that somebody gets nothing, and when it is asked.
RULES = {
    "contact_deleted": "Nothing of a campaign goes to whoever is no contact any more, not even when it is tried again.",
    "opted_out": "Asked at the moment of sending: nothing goes to whoever has opted out.",
    "suppressed": "Asked at the moment of sending: nothing goes to a number on the list of those who want no more.",
    "barred": "Asked at the moment of sending: those who run this installation keep this number from being written to.",
    "frequency_cap": "Asked at the moment of sending: each person gets only so many messages within some days.",
    "quiet_hours": "Asked at the moment of sending, by the person's own clock: it waits until the hours begin.",
    "silence": "Asked at the moment of sending: it waits until the silence they asked for is over.",
    "not_on_whatsapp": "Asked when the campaign was planned: it leaves out numbers known not to be on WhatsApp.",
    "hold_out": "Drawn when the campaign was planned: a part of the audience gets nothing, to compare the others with.",
    "no_room": "Asked when the campaign was planned: each device takes only so many people of it.",
    "too_late": "The campaign has an end: what has not left by then expires.",
    "campaign_cancelled": "Somebody cancelled the campaign: what had not left by then was taken back.",
    "template": "A text that cannot be made for somebody is not sent to them. Mend the text, then try again.",
}

# What can be looked at as a list: the figures, their parts, and the steps of the funnel.
LISTS = {
    "should": "Should",
    "sent": "Sent",
    "failed": "Failed",
    "remaining": "Remaining",
    "skipped": "Skipped",
    "uncertain": "Uncertain",
    "delivered": "Delivered",
    "read": "Read",
    "replied": "Replied",
}

DEEDS = {
    "campaign.created": "Written",
    "campaign.edited": "Edited",
    "campaign.scheduled": "Scheduled",
    "campaign.unscheduled": "Taken back to draft",
    "campaign.started": "Started",
    "campaign.paused": "Paused",
    "campaign.paused_itself": "Paused itself",
    "campaign.resumed": "Resumed",
    "campaign.canary_passed": "The first people looked at: all others follow",
    "campaign.cancelled": "Cancelled",
    "campaign.completed": "Completed",
    "campaign.cloned": "Made as a copy",
    "campaign.archived": "Archived",
    "campaign.unarchived": "Taken out of the archive",
    "campaign.text_changed": "Text changed for everyone not yet written to",
    "campaign.messages_moved": "Messages moved to other devices",
    "campaign.safety_changed": "Changed what happens if something goes wrong",
    "campaign.absent_left_out": "Changed whether it writes to numbers not on WhatsApp",
    "campaign.failed_retried": "Failed messages tried again",
    "campaign.recipients_exported": "People exported",
    "campaign.doubts_sent_again": "Uncertain messages sent again",
    "campaign.doubts_assumed_sent": "Uncertain messages counted as sent",
    "campaign.doubts_given_up": "Uncertain messages given up",
    "campaign.failed_given_up": "Failed messages given up",
}


def shown_campaign(campaign: Campaign) -> Shown:
    shown = CAMPAIGN_STATES[campaign.state]
    if campaign.state == "paused" and campaign.paused_why:
        return shown._replace(colour="red", reason=f"It paused itself. {campaign.paused_why}")
    if campaign.state == "running" and campaign.awaits_word:
        first = counted(campaign.canary or 0, "person", "people")
        return shown._replace(reason=f"{first} first; {campaign.awaiting_word:,} wait for your word.")
    if campaign.state == "scheduled" and campaign.start_at:
        at = campaign.start_at.astimezone(campaign.workspace.zone)
        return shown._replace(reason=f"Starts {at:%a %-d %b %Y, %H:%M} ({campaign.workspace.timezone}).")
    return shown


def shown_message(message: Message) -> Shown:
    shown = _shown_message(message)
    if not message.may_duplicate:
        return shown
    left = message.state not in (*lifecycle.CLAIMABLE, *lifecycle.FIGURES["skipped"])
    twice = "Sent again; may have arrived twice." if left else "May have arrived once already."
    return shown._replace(reason=f"{twice} {shown.reason}".strip())


def _shown_message(message: Message) -> Shown:
    shown = MESSAGE_STATES[message.state]
    if not message.reason:
        return shown
    words = reason_in_words(message.reason)
    if message.state in (lifecycle.UNCERTAIN, lifecycle.ASSUMED):
        words = f"{words.rstrip('.')}. {shown.reason}"
    return shown._replace(reason=words)


def reason_in_words(reason: str) -> str:
    """Why an attempt came to nothing, as a sentence; empty for no reason."""
    head, _, rest = reason.partition(":")
    if head in REASONS:
        return f"{REASONS[head]}{rest and ' ' + rest.strip()}"
    if head.startswith("refused "):
        return f"WhatsApp refused it (error {head.removeprefix('refused ')}){rest and ':' + rest}"
    said = reason.replace("_", " ")
    return said[:1].upper() + said[1:]


def rule_in_words(reason: str) -> str:
    """The rule behind a reason; empty where the reason says it all."""
    return RULES.get(reason.partition(":")[0], "")


def shown_deed(action: str) -> str:
    return DEEDS.get(action, action.removeprefix("campaign.").replace("_", " ").capitalize())


def counted(count: int, noun: str, nouns: str = "") -> str:
    """``1 message``, ``2,000 messages``; ``nouns`` where an s does not make the plural."""
    return f"{count:,} {noun if count == 1 else nouns or f'{noun}s'}"


def duration(seconds: float | None) -> str:
    """About how long, in one or two units: ``3 hours 20 minutes``."""
    if seconds is None:
        return "unknown"
    if seconds < 60:
        return "less than a minute"
    minutes = math.ceil(seconds / 60)
    days, minutes = divmod(minutes, 1440)
    hours, minutes = divmod(minutes, 60)
    if days:
        parts = [(days, "day"), (hours, "hour")]
    elif hours:
        parts = [(hours, "hour"), (minutes, "minute")]
    else:
        parts = [(minutes, "minute")]
    return " ".join(f"{count} {unit}{'' if count == 1 else 's'}" for count, unit in parts if count)
