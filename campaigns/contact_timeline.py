"""Everything that happened with one person, newest first: messages, replies, consent, and what members did."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from django.db.models import F, Q, QuerySet
from django.db.models.functions import Coalesce

from accounts.models import AuditEntry
from campaigns.models import ConsentEntry, Contact, Message, Reply
from campaigns.shown import Shown, shown_message

PAGE = 30
DEEDS = {
    "contact.added": "Added by hand",
    "contact.edited": "Edited",
    "contact.opted_out": "Marked as opted out",
    "contact.opt_out_taken_back": "The opt-out was taken back",
}
CHANGED = {
    "name": "name",
    "status": "status",
    "device": "the number they know",
    "timezone": "time zone",
    "fields": "fields",
}
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Entry:
    """``kind``: message, reply, consent or deed; ``what`` is the row itself. ``rank`` orders what happened at once."""

    kind: str
    at: datetime
    rank: int
    what: Any

    @property
    def key(self) -> str:
        return f"{(self.at - EPOCH) // timedelta(microseconds=1)}-{self.rank}-{self.what.pk}"

    @property
    def state(self) -> Shown:
        return shown_message(self.what)

    @property
    def text(self) -> str:
        """What was sent; of what never left there is none."""
        return self.what.text or ""

    @property
    def deed(self) -> str:
        return DEEDS.get(self.what.action, self.what.action.partition(".")[2].replace("_", " ").capitalize())

    @property
    def details(self) -> list[str]:
        """What a member's deed changed, and why."""
        detail, said = self.what.detail, []
        if changed := [CHANGED[field] for field in detail.get("changed", []) if field in CHANGED]:
            said.append(f"Changed: {', '.join(changed)}.")
        for word, tags in (("Tagged", detail.get("tags_added")), ("Tag taken off:", detail.get("tags_removed"))):
            if tags:
                said.append(f"{word} {', '.join(map(str, tags))}.")
        if detail.get("reason"):
            said.append(str(detail["reason"]))
        return said


def timeline(contact: Contact, before: str = "", size: int = PAGE) -> tuple[list[Entry], str]:
    """The entries before a key, and the key of the next page (empty: this is the last one)."""
    cursor = _cursor(before)
    found: list[Entry] = []
    for rank, (kind, rows) in enumerate(SOURCES):
        asked = rows(contact)
        if cursor:
            at, last_rank, last_pk = cursor
            earlier = Q(when__lt=at)
            if rank < last_rank:
                earlier |= Q(when=at)
            elif rank == last_rank:
                earlier |= Q(when=at, pk__lt=last_pk)
            asked = asked.filter(earlier)
        found += [Entry(kind, row.when, rank, row) for row in asked.order_by("-when", "-pk")[: size + 1]]
    found.sort(key=lambda entry: (entry.at, entry.rank, entry.what.pk), reverse=True)
    page = found[:size]
    return page, page[-1].key if len(found) > size else ""


def _cursor(key: str) -> tuple[datetime, int, int] | None:
    """Nothing where it makes no sense: that is the first page."""
    parts = key.split("-")
    if len(parts) != 3 or not all(part.isascii() and part.isdecimal() and len(part) < 19 for part in parts):
        return None
    try:
        return EPOCH + timedelta(microseconds=int(parts[0])), int(parts[1]), int(parts[2])
    except OverflowError:
        return None


def _messages(contact: Contact) -> QuerySet[Message]:
    related = contact.messages.select_related("campaign", "stream__device", "content").prefetch_related(
        "content__media"
    )
    return related.annotate(when=Coalesce("sent_at", "dead_at", "attempted_at", "due_at"))


def _replies(contact: Contact) -> QuerySet[Reply]:
    return contact.replies.select_related("device", "message__campaign").annotate(when=F("at"))


def _consents(contact: Contact) -> QuerySet[ConsentEntry]:
    return contact.consents.select_related("created_by", "contact_import__created_by").annotate(when=F("at"))


def _deeds(contact: Contact) -> QuerySet[AuditEntry]:
    entries = AuditEntry.objects.filter(workspace=contact.workspace_id, target=f"contact:{contact.uuid}")
    return entries.select_related("actor").annotate(when=F("at"))


# In this order, last first, where several things happened at once: somebody agreed, was added, got a message, replied.
SOURCES: tuple[tuple[str, Callable[[Contact], QuerySet[Any]]], ...] = (
    ("consent", _consents),
    ("deed", _deeds),
    ("message", _messages),
    ("reply", _replies),
)
