"""What people do with a single contact: add, opt out, take an opt-out back."""

from __future__ import annotations

from collections.abc import Sequence

from django.db import transaction
from django.db.models.functions import Now

from accounts.audit import record
from accounts.models import User, Workspace
from campaigns.models import Contact, ContactTag, Tag


@transaction.atomic
def add_contact(
    workspace: Workspace, by: User, *, phone: str, name: str, tags: Sequence[str], consent_source: str
) -> tuple[Contact, bool]:
    """The contact with this number, and whether it is new. One that exists already stays as it is."""
    made = Contact(workspace=workspace, phone=phone, name=name, consent_source=consent_source)
    created = _insert(made)
    contact = Contact.objects.for_workspace(workspace).get(phone=phone)
    if created:
        add_tags(contact, tags)
        record(workspace, by, "contact.added", target(contact), consent_source=consent_source)
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


@transaction.atomic
def opt_out(contact: Contact, by: User, reason: str) -> bool:
    """Nothing is sent to this person any more, from this commit on. False: they had opted out before."""
    agreeing = Contact.objects.filter(pk=contact.pk, opted_out_at__isnull=True)
    if not agreeing.update(opted_out_at=Now(), opted_out_reason=reason, updated_at=Now()):
        return False
    record(contact.workspace, by, "contact.opted_out", target(contact), reason=reason)
    return True


@transaction.atomic
def take_back_opt_out(contact: Contact, by: User, reason: str) -> bool:
    """This person may be written to again, for a reason that stays in the audit. False: they had not opted out."""
    gone = Contact.objects.filter(pk=contact.pk, opted_out_at__isnull=False)
    if not gone.update(opted_out_at=None, opted_out_reason="", updated_at=Now()):
        return False
    record(contact.workspace, by, "contact.opt_out_taken_back", target(contact), reason=reason)
    return True


def target(contact: Contact) -> str:
    return f"contact:{contact.uuid}"
