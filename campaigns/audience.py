"""Who a campaign is for. The same rule as the planner's statement, so that the count is the plan."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Self

from django.db.models import Exists, OuterRef, Q, QuerySet
from django.utils import timezone

from accounts.models import Workspace
from campaigns.compose import slug, variables_for
from campaigns.engine.lifecycle import ASSUMED, DEAD, DELIVERED, READ, SENDING, SENT, UNCERTAIN
from campaigns.models import Campaign, Contact, ContactTag, Message, Retarget, Segment, Suppression
from campaigns.opt_out import link_for
from campaigns.querysets.contacts import ContactQuerySet
from campaigns.segments import BadConditions, members

SAMPLE = 1_000
NOBODY, ALL = Q(pk__in=[]), ~Q(pk__in=[])

# As in the claim, the list of suppressed numbers decides even where a contact bears no mark.
SUPPRESSED = Exists(Suppression.objects.filter(workspace=OuterRef("workspace"), phone=OuterRef("phone")))


@dataclass(frozen=True, slots=True)
class Size:
    """``people`` get a row each; of them, ``opted_out`` and ``left_out`` (not on WhatsApp) will be skipped."""

    people: int
    opted_out: int
    left_out: int = 0

    @property
    def reachable(self) -> int:
        return self.people - self.opted_out - self.left_out


@dataclass(frozen=True, slots=True)
class Audience:
    """Who is meant: everyone or whoever has one of the tags or is in one of the segments, but for the excluded ones.

    Everything by id. With ``retarget_of`` they are that campaign's recipients as ``retarget`` says (a `Retarget`), whom
    tags and segments narrow down. ``hold_out``: percent of them that will get nothing.
    """

    everyone: bool = False
    tags: tuple[int, ...] = ()
    segments: tuple[int, ...] = ()
    excluded_tags: tuple[int, ...] = ()
    excluded_segments: tuple[int, ...] = ()
    retarget_of: int | None = None
    retarget: str = ""
    not_contacted_days: int | None = None
    hold_out: int = 0

    @classmethod
    def of(cls, campaign: Campaign) -> Self:
        tags = list(campaign.tag_links.order_by("tag_id").values_list("tag_id", "excluded"))
        segments = list(campaign.segment_links.order_by("segment_id").values_list("segment_id", "excluded"))
        return cls(
            everyone=campaign.everyone,
            tags=tuple(tag for tag, excluded in tags if not excluded),
            segments=tuple(segment for segment, excluded in segments if not excluded),
            excluded_tags=tuple(tag for tag, excluded in tags if excluded),
            excluded_segments=tuple(segment for segment, excluded in segments if excluded),
            retarget_of=campaign.retarget_of_id,
            retarget=campaign.retarget,
            not_contacted_days=campaign.not_contacted_days,
            hold_out=campaign.hold_out,
        )

    @property
    def narrows(self) -> bool:
        """Whether tags and segments choose at all: everyone is meant otherwise, or the recipients of a campaign."""
        return not self.everyone and bool(self.tags or self.segments or self.retarget_of is None)

    def contacts(self, workspace: Workspace) -> ContactQuerySet:
        """The people, in the order in which they are planned; whoever is held out is one of them."""
        found = Contact.objects.for_workspace(workspace).order_by("pk")
        if self.narrows:
            either = _with_tag(self.tags) if self.tags else NOBODY
            for members_of in _segments(workspace, self.segments):
                either |= members_of
            found = found.filter(either)
        if self.retarget_of is not None:
            found = found.filter(Exists(self.recipients(workspace).filter(contact=OuterRef("pk"))))
        if self.excluded_tags:
            found = found.filter(~_with_tag(self.excluded_tags))
        for members_of in _segments(workspace, self.excluded_segments, broken=ALL):
            found = found.filter(~members_of)
        if self.not_contacted_days is not None:
            found = found.filter(~Q(Exists(_messages_since(self.not_contacted_days))))
        return found

    def recipients(self, workspace: Workspace) -> QuerySet[Message]:
        """The messages of the other campaign whose people are meant."""
        messages = Message.objects.filter(workspace=workspace, campaign=self.retarget_of, contact__isnull=False)
        match self.retarget:
            case Retarget.NOT_READ:
                return messages.filter(state__in=[SENT, DELIVERED], replied_at__isnull=True)
            case Retarget.NOT_REPLIED:
                return messages.filter(state__in=[SENT, DELIVERED, READ], replied_at__isnull=True)
            case Retarget.REPLIED:
                return messages.filter(replied_at__isnull=False)
            case Retarget.FAILED:
                return messages.filter(state=DEAD)
        return messages


def _with_tag(tags: Collection[int]) -> Q:
    links: QuerySet[ContactTag] = QuerySet(ContactTag).filter(contact=OuterRef("pk"), tag__in=tags)
    return Q(Exists(links))


def _segments(workspace: Workspace, ids: Collection[int], broken: Q = NOBODY) -> Iterator[Q]:
    """Who is in each of the segments. One whose conditions make no sense any more stands for ``broken``."""
    for segment in Segment.objects.for_workspace(workspace).filter(pk__in=ids).select_related("workspace"):
        try:
            yield Q(Exists(members(segment).filter(pk=OuterRef("pk"))))
        except BadConditions:
            yield broken


def _messages_since(days: int) -> QuerySet[Message]:
    """The outer contact's messages of campaigns that left within so many days, or may have."""
    since = timezone.now() - timedelta(days=days)
    left = Q(sent_at__gt=since) | Q(state__in=[SENDING, UNCERTAIN, ASSUMED], attempted_at__gt=since)
    return Message.objects.filter(left, contact=OuterRef("pk"), campaign__isnull=False)


def audience_of(campaign: Campaign) -> ContactQuerySet:
    return Audience.of(campaign).contacts(campaign.workspace)


def size_of(contacts: ContactQuerySet) -> Size:
    """Of a large workspace as it was at most half a minute ago."""

    def reckon() -> tuple[int, int]:
        people = contacts.order_by()
        # Apart, each with its index, and the short list gone through: asking it about each of a million takes ten
        # times as long.
        marked = people.filter(opted_out_at__isnull=False).count()
        unmarked = people.filter(SUPPRESSED, opted_out_at=None).count()
        return people.count(), marked + unmarked

    people, opted_out = contacts.kept("size", reckon)
    return Size(people, opted_out)


def reachable(contacts: ContactQuerySet) -> ContactQuerySet:
    return contacts.filter(~SUPPRESSED, opted_out_at__isnull=True)


def person_at(contacts: ContactQuerySet, number: int) -> Contact | None:
    """The n-th person who can be reached, counted from 1."""
    return reachable(contacts)[number - 1 : number].first() if number > 0 else None


def variables_of(contact: Contact) -> dict[str, object]:
    return variables_for(contact.name, contact.phone, contact.fields, link_for(contact.uuid))


def field_words(workspace: Workspace) -> list[tuple[str, str]]:
    """The custom fields of the newest contacts: (the word a text uses, the field's name), by name."""
    newest = Contact.objects.for_workspace(workspace).order_by("-pk").values_list("fields", flat=True)[:SAMPLE]
    names = {name for fields in newest for name in fields}
    return sorted(((slug(name), name) for name in names), key=lambda pair: pair[1].lower())
