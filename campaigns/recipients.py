"""The people behind each figure of a campaign, page by page, with what each was or will be told."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db.models import QuerySet

from campaigns.audience import variables_of
from campaigns.compose import Template, TextError, parse, render
from campaigns.engine.lifecycle import CLAIMABLE, DELIVERED, FIGURES, MESSAGE_STATES, READ
from campaigns.models import Campaign, Content, Media, Message, Reply
from campaigns.shown import LISTS, Shown, reason_in_words, shown_message
from devices.models import Device

PAGE = 50
REPLIES = 5  # of one person's in a list; the others stand on their own page
FUNNEL = {"delivered": (DELIVERED, READ), "read": (READ,)}
ERASED = "erased-"


@dataclass(frozen=True, slots=True)
class Recipient:
    """``text`` is what was sent; ``note`` says where it is only what would be. ``tries``: earlier ones, and why."""

    message: Message
    state: Shown
    text: str
    note: str

    @property
    def media(self) -> Media | None:
        """The file that went along, or will."""
        return content_of(self.message).media

    @property
    def tries(self) -> list[tuple[datetime, str]]:
        earlier = sorted(self.message.earlier_attempts.all(), key=lambda attempt: attempt.number)
        return [(attempt.started_at, reason_in_words(attempt.outcome)) for attempt in earlier]

    @property
    def replies(self) -> list[Reply]:
        """What they answered, in order."""
        return sorted(self.message.replies.all(), key=lambda reply: reply.pk)[:REPLIES]


@dataclass(frozen=True, slots=True)
class Asked:
    """Which people: a figure (a key of `LISTS`), within it a state, a device (its id), and from which key on."""

    figure: str = "should"
    state: str = ""
    device: int | None = None
    after: str = ""


def asked_list(query: Mapping[str, Any], devices: Iterable[Device]) -> Asked:
    """From a URL; what makes no sense asks for nothing in particular."""
    figure = query.get("figure", "")
    figure = figure if figure in LISTS else "should"
    state = query.get("state", "")
    device = next((device.pk for device in devices if str(device.uuid) == query.get("device")), None)
    return Asked(figure, state if state in states_of(figure) else "", device, query.get("after", ""))


def states_of(figure: str) -> tuple[str, ...]:
    """The states a figure counts; none for `replied`, which is no state."""
    if figure == "replied":
        return ()
    return FIGURES.get(figure) or FUNNEL.get(figure) or MESSAGE_STATES


def messages_behind(campaign: Campaign, asked: Asked) -> QuerySet[Message]:
    """Exactly the rows that the figure counts."""
    found = campaign.messages.all()
    if asked.figure == "replied":
        found = found.filter(replied_at__isnull=False)
    elif asked.figure != "should":
        found = found.filter(state__in=states_of(asked.figure))
    if asked.state:
        found = found.filter(state=asked.state)
    if asked.device is not None:
        found = found.filter(stream__device=asked.device)
    return found


def page_of(messages: QuerySet[Message], after: str = "", size: int = PAGE) -> tuple[list[Message], str]:
    """The messages after a key, and the key of the next page (empty: this is the last one).

    In the order of contacts, for which there is an index; people erased meanwhile come last.
    """
    erased = after.startswith(ERASED)
    key = after.removeprefix(ERASED)
    last = int(key) if key.isdecimal() and len(key) < 19 else 0
    rows: list[Message] = []
    if not erased:
        rows = list(messages.filter(contact_id__gt=last).order_by("contact_id")[: size + 1])
    if len(rows) <= size:
        rest = messages.filter(contact_id__isnull=True, pk__gt=last if erased else 0).order_by("pk")
        rows += rest[: size + 1 - len(rows)]
    if len(rows) <= size:
        return rows, ""
    end = rows[size - 1]
    return rows[:size], str(end.contact_id) if end.contact_id else f"{ERASED}{end.pk}"


def recipients(messages: QuerySet[Message], after: str = "") -> tuple[list[Recipient], str]:
    related = messages.select_related("contact", "content", "campaign__content", "stream__device")
    wordings = ("content__media", "campaign__content__media", "campaign__variants__content__media")
    also = ("earlier_attempts", "replies", *wordings)
    rows, following = page_of(related.prefetch_related(*also), after)
    parsed: dict[int, Template] = {}
    return [recipient(message, parsed) for message in rows], following


def content_of(message: Message) -> Content:
    """Who is unsent gets the campaign's newest; an attempt noted which one it took."""
    if message.state not in CLAIMABLE or not message.campaign:
        return message.content
    number = message.stream.variant
    return next(
        (variant.content for variant in message.campaign.variants.all() if variant.number == number),
        message.campaign.content,
    )


def recipient(message: Message, parsed: dict[int, Template]) -> Recipient:
    """A text that a crash left unwritten is made again from its content, and says so."""
    if message.text is not None and message.state not in CLAIMABLE:
        return Recipient(message, shown_message(message), message.text, "")
    if message.contact is None:
        return Recipient(message, shown_message(message), "", "")
    try:
        content = content_of(message)
        if content.pk not in parsed:
            parsed[content.pk] = parse(content.text)
        variables, beside_a_file = variables_of(message.contact), content.media is not None
        text = render(parsed[content.pk], variables, caption=beside_a_file, seed=message.pk)
    except TextError as error:
        return Recipient(message, shown_message(message), "", str(error))
    note = "As it would read now." if message.state in CLAIMABLE else "Made again from the text; not recorded."
    return Recipient(message, shown_message(message), text, note)
