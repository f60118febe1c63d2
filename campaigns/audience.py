"""Who a campaign is for. The same rule as the planner's statement, so that the count is the plan."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from django.db.models import Count, Exists, OuterRef, Q, QuerySet

from accounts.models import Workspace
from campaigns.compose import TextError, slug, variables_for, variables_in
from campaigns.models import Campaign, Contact, ContactTag, Suppression
from campaigns.opt_out import link_for
from campaigns.querysets.contacts import ContactQuerySet

SAMPLE = 1_000

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


def audience(workspace: Workspace, everyone: bool, tags: Collection[int]) -> ContactQuerySet:
    """All contacts, or those with any of the tags (ids), in the order in which they are planned."""
    contacts = Contact.objects.for_workspace(workspace).order_by("pk")
    if everyone:
        return contacts
    if not tags:
        return contacts.none()
    links: QuerySet[ContactTag] = QuerySet(ContactTag).filter(contact=OuterRef("pk"), tag__in=tags)
    return contacts.filter(Exists(links))


def audience_of(campaign: Campaign) -> ContactQuerySet:
    tags = list(campaign.tag_links.values_list("tag_id", flat=True))
    return audience(campaign.workspace, campaign.everyone, tags)


def size_of(contacts: ContactQuerySet) -> Size:
    counted = contacts.order_by().aggregate(people=Count("pk"), agreeing=Count("pk", filter=Q(opted_out_at=None)))
    # Apart, so that the short list is gone through: asking it about each of a million contacts takes ten times as long.
    unmarked = contacts.order_by().filter(SUPPRESSED, opted_out_at=None).count()
    return Size(counted["people"], counted["people"] - counted["agreeing"] + unmarked)


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


def missing_values(text: str, contacts: ContactQuerySet) -> tuple[int, dict[str, int]]:
    """How many reachable people were looked at (≤ `SAMPLE`), and how many of them lack each of the text's variables."""
    try:
        wanted = variables_in(text)
    except TextError:
        return 0, {}
    if not wanted:
        return 0, {}
    found = reachable(contacts).only("pk", "uuid", "name", "phone", "fields")
    people = [variables_of(contact) for contact in found[:SAMPLE]]
    lacking = {word: sum(not str(person.get(word) or "").strip() for person in people) for word in sorted(wanted)}
    return len(people), {word: count for word, count in lacking.items() if count}
