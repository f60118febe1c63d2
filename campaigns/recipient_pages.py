"""The list of people behind a figure, page by page, by the way that reads few messages of a large campaign."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta

from django.db.models import F, QuerySet

from campaigns.engine.lifecycle import CANCELLED, DEAD, EXPIRED, FIGURES, GIVEN_UP, GIVEN_UP_UNSURE, SKIPPED, UNCERTAIN
from campaigns.models import Campaign, Message, Stream
from campaigns.querysets.report import EPOCH, UNKNOWN, next_in_turn, reasons_in
from campaigns.recipients import Asked, Recipient, is_large, messages_behind, states_of, told
from campaigns.shown import RULES

PAGE = 50
ERASED = "erased-"
TURN = re.compile(r"turn-(?P<due>\d{1,17})-(?P<pk>\d{1,18})")  # microseconds since 1970, and an id
RARE = 2_000
MANY_REASONS = 200
BY_CLOCK = ("sent", "delivered", "read")  # the steps that `messages_by_time` holds
Nearest = Callable[[int, int], list[int]]  # the ids of so many messages after a contact's, in the order of contacts


def recipients(
    campaign: Campaign, asked: Asked, streams: Sequence[Stream], total: int | None
) -> tuple[list[Recipient], str]:
    """The page that is asked for, and the key of the next (empty: this is the last one).

    ``streams``: the campaign's, with their devices; ``total``: how many there are by them, None: nobody knows.
    """
    messages = messages_behind(campaign, asked).select_related("contact")
    if is_by_turn(asked, streams):
        rows, following = page_by_turn(campaign, messages, asked, PAGE)
    else:
        rows, following = page_of(messages, asked.after, PAGE, short_way(campaign, asked, streams, total))
    return told(campaign, rows, streams), following


# --- in the order of contacts ---------------------------------------------------------------------------------------


def page_of(
    messages: QuerySet[Message], after: str = "", size: int = PAGE, nearest: Nearest | None = None
) -> tuple[list[Message], str]:
    """The messages after a key, and the key of the next page (empty: this is the last one).

    In the order of contacts, for which there is an index; people erased meanwhile come last. ``nearest`` knows a
    shorter way to those with a contact.
    """
    erased = after.startswith(ERASED)
    key = after.removeprefix(ERASED)
    last = int(key) if key.isascii() and key.isdecimal() and len(key) < 19 else 0
    rows: list[Message] = []
    if not erased:
        # First which ones, then all about them: in one statement the planner may walk through every contact beside it.
        ids = nearest(last, size + 1) if nearest else ids_after(messages, last, size + 1)
        rows = sorted(messages.filter(pk__in=ids), key=lambda message: message.contact_id or 0)
    if len(rows) <= size:
        rest = messages.filter(contact_id__isnull=True, pk__gt=last if erased else 0).order_by("pk")
        rows += rest[: size + 1 - len(rows)]
    if len(rows) <= size:
        return rows, ""
    end = rows[size - 1]
    return rows[:size], str(end.contact_id) if end.contact_id else f"{ERASED}{end.pk}"


def ids_after(messages: QuerySet[Message], contact: int, size: int) -> list[int]:
    bare = messages.select_related(None)
    return list(bare.filter(contact_id__gt=contact).order_by("contact_id").values_list("pk", flat=True)[:size])


def short_way(campaign: Campaign, asked: Asked, streams: Sequence[Stream], total: int | None) -> Nearest | None:
    """To the few of a large campaign that its index of contacts leads to only past all the others."""
    if not is_large(streams):
        return None
    if asked.figure in BY_CLOCK and asked.hour and asked.hour != UNKNOWN:
        return lambda last, size: ids_by_clock(messages_behind(campaign, asked), last, size)
    if total is None or not asked.is_counted:
        return None
    states = (asked.state,) if asked.state else states_of(asked.figure)
    if not states or total > RARE or not all(map(may_have, states)):
        return None
    reasons = [
        reason for reason in reasons_in(campaign, MANY_REASONS) if any(may_be_of(state, reason) for state in states)
    ]
    reasoned = messages_behind(campaign, asked).filter(reason__in=reasons, contact_id__isnull=False).exclude(reason="")
    found = sorted(reasoned.order_by().values_list("contact_id", "pk")[: RARE + 1])
    # Somebody was erased, a message has no reason, or one moved between the two looks: then the long way.
    if len(found) == total:
        return lambda last, size: [pk for contact, pk in found if contact > last][:size]
    return None


def ids_by_clock(messages: QuerySet[Message], contact: int, size: int) -> list[int]:
    """Gathers all of the hour and sorts them: in the order of the index it would read every other hour, too."""
    place = F("contact_id") + 0
    return list(messages.filter(contact_id__gt=contact).order_by(place).values_list("pk", flat=True)[:size])


def may_have(state: str) -> bool:
    """Whether messages in this state have a reason, as a rule."""
    return state in (DEAD, UNCERTAIN, *FIGURES["skipped"])


def may_be_of(state: str, reason: str) -> bool:
    """Whether it may be why messages are in this state, for all that is known of it."""
    rule = reason.partition(":")[0]
    if rule == "too_late":
        return state == EXPIRED
    if rule in ("campaign_cancelled", "erased", GIVEN_UP, GIVEN_UP_UNSURE):
        return state == CANCELLED
    if rule in RULES and rule != "template":
        return state == SKIPPED
    return state in (DEAD, UNCERTAIN, SKIPPED)


# --- in the order in which they are due -----------------------------------------------------------------------------


def is_by_turn(asked: Asked, streams: Sequence[Stream]) -> bool:
    """What remains of a large campaign stands in the order in which it will leave."""
    states = (asked.state,) if asked.state else states_of(asked.figure)
    return bool(states) and set(states) <= set(FIGURES["remaining"]) and asked.is_counted and is_large(streams)


def page_by_turn(
    campaign: Campaign, messages: QuerySet[Message], asked: Asked, size: int = PAGE
) -> tuple[list[Message], str]:
    """As `page_of`; ``messages`` are the remaining ones that are asked for."""
    due, pk = turn_of(asked.after)
    turns = next_in_turn(campaign, due, pk, size + 1, asked.device, asked.variant, asked.state)
    found = messages.in_bulk([pk for _, pk in turns[:size]])
    rows = [found[pk] for _, pk in turns[:size] if pk in found]
    if len(turns) <= size:
        return rows, ""
    due, pk = turns[size - 1]
    return rows, f"turn-{(due - EPOCH) // timedelta(microseconds=1)}-{pk}"


def turn_of(key: str) -> tuple[datetime, int]:
    """The one that a key names; without one, before all."""
    found = TURN.fullmatch(key)
    if found is None:
        return EPOCH, 0
    return EPOCH + timedelta(microseconds=int(found["due"])), int(found["pk"])
