"""What people do with a single contact: add it. Opting out is told in `campaigns.actions.suppression`."""

from __future__ import annotations

from collections.abc import Sequence

from django.db import transaction

from accounts.audit import record
from accounts.models import User, Workspace
from accounts.phones import zone_of
from campaigns.actions.suppression import suppression_of
from campaigns.models import Contact, ContactTag, Tag


@transaction.atomic
def add_contact(
    workspace: Workspace, by: User, *, phone: str, name: str, tags: Sequence[str], consent_source: str
) -> tuple[Contact, bool]:
    """The contact with this number, and whether it is new. One that exists already stays as it is.

    A number that is suppressed makes a contact that has opted out.
    """
    made = Contact(workspace=workspace, phone=phone, name=name, consent_source=consent_source, timezone=zone_of(phone))
    if suppression := suppression_of(workspace, phone):
        made.opted_out_at, made.opted_out_reason = suppression.created_at, suppression.reason
    created = _insert(made)
    contact = Contact.objects.for_workspace(workspace).get(phone=phone)
    if created:
        add_tags(contact, tags)
        record(workspace, by, "contact.added", f"contact:{contact.uuid}", consent_source=consent_source)
    return contact, created


def _insert(contact: Contact) -> bool:
    before = Contact.objects.filter(workspace=contact.workspace, phone=contact.phone).exists()
    Contact.objects.bulk_create([contact], ignore_conflicts=True)
    return not before


def add_tags(contact: Contact, names: Sequence[str]) -> None:
    workspace = contact.workspace
    Tag.objects.bulk_create([Tag(workspace=workspace, name=name) for name in names], ignore_conflicts=True)
    tags = Tag.objects.for_workspace(workspace).filter(name__in=names)
    links = [ContactTag(workspace=workspace, contact=contact, tag=tag) for tag in tags]
    ContactTag.objects.bulk_create(links, ignore_conflicts=True)
