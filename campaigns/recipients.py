"""The people behind each figure of a campaign, page by page, with what each was or will be told."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from django.core.cache import cache
from django.db.models import QuerySet
from django.db.models.functions import ExtractHour
from django.utils import timezone

from campaigns.audience import variables_of
from campaigns.compose import Template, TextError, parse, render
from campaigns.engine.lifecycle import CLAIMABLE, DELIVERED, FIGURES, MESSAGE_STATES, READ, WAITING
from campaigns.live import figures
from campaigns.models import NOBODYS, Attempt, Campaign, Content, Media, Message, Reply, Stream
from campaigns.querysets.report import STEPS, UNKNOWN, at_hour
from campaigns.report import HOURS, NO_REASON
from campaigns.shown import LISTS, Shown, reason_in_words, shown_message
from devices.models import Device

REPLIES = 5  # of one person's in a list; the others stand on their own page
FUNNEL = {"delivered": (DELIVERED, READ), "read": (READ,)}
REASON_LENGTH = 200
MOST_VARIANT = 32_767
AT_NO_DEVICE = "none"  # in an address
LARGE = 20_000  # messages: a smaller campaign is gone through at once
COUNT_KEPT_S = 30
REPLIED = {"yes": "Replied", "no": "Have not replied"}


@dataclass(frozen=True, slots=True)
class Recipient:
    """``text`` is what was sent; ``note`` says where it is only what would be; ``media`` went along, or will.

    In a list: ``tries``, earlier ones and why they came to nothing, and ``replies``, what they answered; both in order.
    """

    message: Message
    state: Shown
    text: str
    note: str
    media: Media | None = None
    tries: Sequence[tuple[datetime, str]] = ()
    replies: Sequence[Reply] = ()

    @property
    def moments(self) -> list[tuple[str, datetime]]:
        """What comes after the latest try, in a word each."""
        found = [(word, getattr(self.message, f"{word}_at")) for word in ("delivered", "read", "replied")]
        again = [("again", self.message.due_at)] if self.message.state == WAITING else []
        return [*again, *((word, at) for word, at in found if at is not None)]


@dataclass(frozen=True, slots=True)
class Asked:
    """Which people: a figure (a key of `LISTS`), within it what each of the others says, and from which key on.

    ``state``; ``device``: its id; ``variant``: its number, `NOBODYS` for those who were to get nothing; ``reason``:
    word for word, `NO_REASON` for none; ``hour``: of the day in which the figure's step was made, or `UNKNOWN`;
    ``replied``: yes or no.
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
            if self.variant in (None, stream.variant)
            and (self.device is None or (self.device == stream.device_id and not stream.is_nobodys))
        ]


def asked_list(query: Mapping[str, Any], devices: Iterable[Device]) -> Asked:
    """From a URL or a form; what makes no sense asks for nothing in particular."""
    figure = query.get("figure", "")
    figure = figure if figure in LISTS else "should"
    state, variant, hour = query.get("state", ""), query.get("variant", ""), query.get("hour", "")
    number = int(variant) if variant.isascii() and variant.isdecimal() and len(variant) < 6 else None
    number = NOBODYS if query.get("device") == AT_NO_DEVICE else number
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
        found = found.filter(stream__device=asked.device, stream__variant__lt=NOBODYS)
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
        zone, since = campaign.workspace.zone, campaign.launched_at or campaign.created_at
        found = found.annotate(hour=ExtractHour(f"{asked.figure}_at", tzinfo=zone))
        found = found.filter(at_hour(asked.figure, int(asked.hour), zone, since, timezone.now()))
    return found


def is_large(streams: Iterable[Stream]) -> bool:
    """Whether the campaign has too many messages to go through them for one page."""
    return figures(streams)["should"] > LARGE


def length_of(campaign: Campaign, asked: Asked, streams: Sequence[Stream]) -> int:
    """How many there are; by the counters where these know."""
    total = counted(asked, streams)
    if not total or asked.is_counted:
        return total
    if asked.replied == "no" and not (asked.reason or asked.hour):
        # Those who replied have an index of their own; these are all the rest.
        return total - messages_behind(campaign, replace(asked, replied="yes")).count()
    return messages_behind(campaign, asked).count()


def length_lately(campaign: Campaign, asked: Asked, streams: Sequence[Stream]) -> int:
    """The same; of a large campaign as it was at most half a minute ago, where it takes more than its counters."""
    if asked.is_counted or not is_large(streams):
        return length_of(campaign, asked, streams)
    question = repr((replace(asked, after=""), campaign.workspace.timezone))
    key = f"campaign-people:{campaign.pk}:{hashlib.sha256(question.encode()).hexdigest()}"
    kept = cache.get(key)
    if type(kept) is int:
        return kept
    found = length_of(campaign, asked, streams)
    cache.set(key, found, COUNT_KEPT_S)
    return found


def known_length(campaign: Campaign, asked: Asked, streams: Sequence[Stream]) -> int | None:
    """The same; None where only a pass over a large campaign tells."""
    if counted(asked, streams) and not asked.is_counted and is_large(streams):
        return None
    return length_of(campaign, asked, streams)


def counted(asked: Asked, streams: Sequence[Stream]) -> int:
    """What the counters say, which know nothing of reasons, hours and replies."""
    counts = figures(asked.among(streams))
    return counts[f"n_{asked.state}"] if asked.state else counts[asked.figure]


def told(campaign: Campaign, messages: Sequence[Message], streams: Iterable[Stream]) -> list[Recipient]:
    """These messages of the campaign, which come with their contacts, as rows of a list.

    All else that is shown of them is looked up here, for all at once: a row costs as little as it can.
    """
    streams_by_id = {stream.pk: stream for stream in streams}
    contents = Content.objects.select_related("media").in_bulk({message.content_id for message in messages})
    ids, tries, replies = [message.pk for message in messages], defaultdict(list), defaultdict(list)
    for attempt in Attempt.objects.filter(message__in=ids).order_by("number"):
        tries[attempt.message_id].append((attempt.started_at, reason_in_words(attempt.outcome)))
    for reply in Reply.objects.filter(message__in=ids).order_by("pk"):
        replies[reply.message_id].append(reply)
    parsed: dict[int, Template] = {}
    rows = []
    for message in messages:
        message.campaign = campaign  # the same one, so that what belongs to it is looked up once
        message.content = contents[message.content_id]
        if message.stream_id in streams_by_id:  # else it was moved to one that is newer than these
            message.stream = streams_by_id[message.stream_id]
        row = recipient(message, parsed)
        rows.append(replace(row, tries=tries[message.pk], replies=replies[message.pk][:REPLIES]))
    return rows


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
    state, content = shown_message(message), content_of(message)
    media = content.media
    if message.text is not None and message.state not in CLAIMABLE:
        return Recipient(message, state, message.text, "", media)
    if message.contact is None:
        return Recipient(message, state, "", "", media)
    try:
        if content.pk not in parsed:
            parsed[content.pk] = parse(content.text)
        variables = variables_of(message.contact)
        text = render(parsed[content.pk], variables, caption=media is not None, seed=message.pk)
    except TextError as error:
        return Recipient(message, state, "", str(error), media)
    note = "As it would read now." if message.state in CLAIMABLE else "Made again from the text; not recorded."
    return Recipient(message, state, text, note, media)
