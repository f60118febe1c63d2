"""Why messages failed, in groups that ask for one deed each. The reasons are those that gateways and claims note."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import NamedTuple

from campaigns.engine import outcome

RETRY, DEVICE, NUMBER, TEXT, REFUSED, CRASH, OVER = "retry", "device", "number", "text", "refused", "crash", "over"

REFUSAL = re.compile(r"refused (\d+)")
OF_THE_NUMBER = frozenset(outcome.HOLDS)  # the number that sends, and not the person, is refused
FOR_A_WHILE = outcome.SOON | outcome.LATER
NO_SUCH_NUMBER = ("no LID found for the number", "not a number", "not_on_whatsapp")
NO_SUCH_TEXT = ("template", "WhatsApp has no texts beside audio", "it could not be encoded")


class Cause(NamedTuple):
    """``deeds``: what may be done about it, the right one first: retry, move, look, give_up."""

    title: str
    text: str
    deeds: tuple[str, ...]


CAUSES: dict[str, Cause] = {
    DEVICE: Cause(
        "Their device cannot send to them",
        "WhatsApp refuses the number that was to send, or it is no longer linked. Other devices can send instead.",
        ("move", "retry", "give_up"),
    ),
    NUMBER: Cause(
        "The number is wrong or not on WhatsApp",
        "Look at these people: whoever has another number is added with it, and is written to there. A number that "
        "came to WhatsApp since then can be tried again.",
        ("look", "retry", "give_up"),
    ),
    TEXT: Cause(
        "The text could not be made for them",
        "Mend the text, or the value that is missing; then try these again with the new text.",
        ("look", "retry", "give_up"),
    ),
    RETRY: Cause(
        "Surely not sent",
        "The connection, the file or WhatsApp's own servers failed on every try. Nobody got these: try them again.",
        ("retry", "give_up"),
    ),
    REFUSED: Cause(
        "Refused for good",
        "WhatsApp refused these with an error that does not pass by itself. The same message will hardly get through.",
        ("give_up", "retry"),
    ),
    CRASH: Cause(
        "Three gateways ended while sending it",
        "The message itself may be what ends them, and one of the tries may have arrived. Sent again it may arrive "
        "twice.",
        ("give_up", "retry"),
    ),
    OVER: Cause(
        "Nothing more can be sent",
        "Their campaign was cancelled, its time to send has passed, or the person was deleted or erased.",
        ("give_up",),
    ),
}


@lru_cache(maxsize=1_000)
def cause_of(reason: str) -> str:
    """The key of `CAUSES` that a reason belongs to, as far as the reason tells."""
    if found := REFUSAL.match(reason):
        code = int(found[1])
        return DEVICE if code in OF_THE_NUMBER else RETRY if code in FOR_A_WHILE else REFUSED
    if reason.startswith(NO_SUCH_NUMBER):
        return NUMBER
    if reason.startswith(NO_SUCH_TEXT):
        return TEXT
    return CRASH if reason.startswith(outcome.GATEWAY_DIED) else RETRY


def group_of(reason: str, *, sendable: bool, device_gone: bool, direct: bool = False) -> str:
    """Where a failed message belongs. ``device_gone``: its device cannot send until somebody links it again.

    ``direct``: a test or a reply, which no other device sends.
    """
    if not sendable:
        return OVER
    cause = cause_of(reason)
    if direct:
        return REFUSED if cause == DEVICE else cause
    return DEVICE if device_gone and cause == RETRY else cause
