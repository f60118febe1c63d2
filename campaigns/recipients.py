"""The people behind each figure of a campaign, page by page, with what each was or will be told."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from django.db.models import QuerySet
from django.db.models.functions import ExtractHour

from campaigns.audience import variables_of
from campaigns.compose import Template, TextError, parse, render
from campaigns.engine.lifecycle import CLAIMABLE, DELIVERED, FIGURES, MESSAGE_STATES, READ
from campaigns.live import figures
from campaigns.models import Campaign, Content, Media, Message, Reply, Stream
from campaigns.querysets.report import REASONED, STEPS, UNKNOWN, remaining_after
from campaigns.report import HOURS, NO_REASON
from campaigns.shown import LISTS, Shown, reason_in_words, shown_message
from devices.models import Device

PAGE = 50
REPLIES = 5  # of one person's in a list; the others stand on their own page
FUNNEL = {"delivered": (DELIVERED, READ), "read": (READ,)}
ERASED = "erased-"
REASON_LENGTH = 200
MOST_VARIANT = 32_767
LARGE = 20_000  # messages: a smaller campaign is gone through at once
FEW = 0.2  # of all
RARE = 2_000
Nearest = Callable[[int, int], list[int]]  # the ids of so many messages after a contact's, in the order of contacts
REPLIED = {"yes": "Replied", "no": "Have not replied"}


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
    """Which people: a figure (a key of `LISTS`), within it what each of the others says, and from which key on.

    ``state``; ``device``: its id; ``variant``: its number; ``reason``: word for word, `NO_REASON` for none; ``hour``:
    of the day in which the figure's step was made, or `UNKNOWN`; ``replied``: yes or no.
    """

    figure: str = "should"
    state: str = ""
    device: int | None = None
    variant: int | None = None
    reason: str = ""
    hour: str = ""
    replied: str = ""
    after: str = ""

    @property
    def is_counted(self) -> bool:
        """Whether the streams' counters say how many there are."""
        return not (self.reason or self.hour or self.replied)

    @property
    def reason_words(self) -> str:
        return "No reason was noted." if self.reason == NO_REASON else reason_in_words(self.reason)

    def among(self, streams: Iterable[Stream]) -> list[Stream]:
        """Those of the device and the variant."""
        return [
            stream
            for stream in streams
            if self.device in (None, stream.device_id) and self.variant in (None, stream.variant)
        ]


def asked_list(query: Mapping[str, Any], devices: Iterable[Device]) -> Asked:
    """From a URL or a form; what makes no sense asks for nothing in particular."""
    figure = query.get("figure", "")
    figure = figure if figure in LISTS else "should"
    state, variant, hour = query.get("state", ""), query.get("variant", ""), query.get("hour", "")
    number = int(variant) if variant.isascii() and variant.isdecimal() and len(variant) < 6 else None
    return Asked(
        figure=figure,
        state=state if state in states_of(figure) else "",
        device=next((device.pk for device in devices if str(device.uuid) == query.get("device")), None),
        variant=number if number is not None and number <= MOST_VARIANT else None,
        reason=query.get("reason", "").replace("\0", "")[:REASON_LENGTH],
        hour=hour if figure in STEPS and (hour in HOURS or hour == UNKNOWN) else "",
        replied=query.get("replied", "") if query.get("replied", "") in REPLIED else "",
        after=query.get("after", ""),
    )


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
    if asked.variant is not None:
        found = found.filter(stream__variant=asked.variant)
    if asked.reason:
        found = found.filter(reason="" if asked.reason == NO_REASON else asked.reason)
    if asked.replied:
        found = found.filter(replied_at__isnull=asked.replied == "no")
    if asked.hour == UNKNOWN:
        found = found.filter(**{f"{asked.figure}_at__isnull": True})
    elif asked.hour:
        # On the clock of the workspace, like the report; each hour of the day on whatever day.
        clock = ExtractHour(f"{asked.figure}_at", tzinfo=campaign.workspace.zone)
        found = found.annotate(hour=clock).filter(hour=int(asked.hour))
    return found


def length_of(campaign: Campaign, asked: Asked, streams: Sequence[Stream]) -> int:
    """How many there are; by the counters where these know."""
    total = counted(asked, streams)
    if not total or asked.is_counted:
        return total
    if asked.replied == "no" and not (asked.reason or asked.hour):
        # Those who replied have an index of their own; these are all the rest.
        return total - messages_behind(campaign, replace(asked, replied="yes")).count()
    return messages_behind(campaign, asked).count()


def known_length(campaign: Campaign, asked: Asked, streams: Sequence[Stream]) -> int | None:
    """The same; None where only a pass over a large campaign tells."""
    if counted(asked, streams) and not asked.is_counted and figures(streams)["should"] > LARGE:
        return None
    return length_of(campaign, asked, streams)


def counted(asked: Asked, streams: Sequence[Stream]) -> int:
    """What the counters say, which know nothing of reasons, hours and replies."""
    counts = figures(asked.among(streams))
    return counts[f"n_{asked.state}"] if asked.state else counts[asked.figure]


def page_of(
    messages: QuerySet[Message], after: str = "", size: int = PAGE, nearest: Nearest | None = None
) -> tuple[list[Message], str]:
    """The messages after a key, and the key of the next page (empty: this is the last one).

    In the order of contacts, for which there is an index; people erased meanwhile come last. ``nearest`` knows a
    shorter way to those with a contact.
    """
    erased = after.startswith(ERASED)
    key = after.removeprefix(ERASED)
    last = int(key) if key.isdecimal() and len(key) < 19 else 0
    rows: list[Message] = []
    if not erased:
        # First which ones, then all about them: in one statement the planner may walk through every contact beside it.
        ids = nearest(last, size + 1) if nearest else ids_after(messages, last, size + 1)
        rows = list(messages.filter(pk__in=ids).order_by("contact_id"))
    if len(rows) <= size:
        rest = messages.filter(contact_id__isnull=True, pk__gt=last if erased else 0).order_by("pk")
        rows += rest[: size + 1 - len(rows)]
    if len(rows) <= size:
        return rows, ""
    end = rows[size - 1]
    return rows[:size], str(end.contact_id) if end.contact_id else f"{ERASED}{end.pk}"


def ids_after(messages: QuerySet[Message], contact: int, size: int) -> list[int]:
    bare = messages.select_related(None).prefetch_related(None)
    return list(bare.filter(contact_id__gt=contact).order_by("contact_id").values_list("pk", flat=True)[:size])


def short_way(campaign: Campaign, asked: Asked, streams: Sequence[Stream], total: int | None) -> Nearest | None:
    """To the few of a large campaign that its index of contacts leads to only past all the others."""
    if total is None or not asked.is_counted or figures(streams)["should"] <= LARGE:
        return None
    states = (asked.state,) if asked.state else states_of(asked.figure)
    if set(states) <= set(FIGURES["remaining"]) and total < figures(streams)["should"] * FEW:
        return lambda last, size: remaining_after(campaign, last, size, asked.device, asked.variant, asked.state)
    if states and set(states) <= set(REASONED) and total <= RARE:
        reasoned = messages_behind(campaign, asked).exclude(reason="").filter(contact_id__isnull=False)
        found = sorted(reasoned.order_by().values_list("contact_id", "pk")[: RARE + 1])
        # Somebody was erased, a message has no reason, or one moved between the two looks: then the long way.
        if len(found) == total:
            return lambda last, size: [pk for contact, pk in found if contact > last][:size]
    return None


def recipients(
    campaign: Campaign, messages: QuerySet[Message], after: str = "", size: int = PAGE, nearest: Nearest | None = None
) -> tuple[list[Recipient], str]:
    """``messages`` are the campaign's."""
    rows, following = page_of(with_words(messages), after, size, nearest)
    parsed: dict[int, Template] = {}
    for message in rows:
        message.campaign = campaign  # the same one, so that what belongs to it is looked up once
    return [recipient(message, parsed) for message in rows], following


def with_words(messages: QuerySet[Message]) -> QuerySet[Message]:
    """With all that `recipient` reads of each but the campaign."""
    related = messages.select_related("contact", "content", "stream__device")
    return related.prefetch_related("earlier_attempts", "replies", "content__media")


def content_of(message: Message) -> Content:
    """Who is unsent gets the newest, of the campaign or of their variant; an attempt noted which one it took."""
    if message.state not in CLAIMABLE or message.campaign is None:
        return message.content
    return contents_of(message.campaign).get(message.stream.variant, message.campaign.content)


def contents_of(campaign: Campaign) -> dict[int, Content]:
    """By the variant's number; asked for once of each campaign that was read."""
    found: dict[int, Content] | None = campaign.__dict__.get("variant_contents")
    if found is None:
        variants = campaign.variants.select_related("content__media")
        found = campaign.__dict__["variant_contents"] = {one.number: one.content for one in variants}
    return found


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
