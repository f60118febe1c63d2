"""What people do with a single contact: add and edit it. Opting out is told in `campaigns.actions.suppression`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from django.db import transaction
from django.db.models.functions import Now

from accounts.audit import record
from accounts.models import User, Workspace
from accounts.phones import zone_of
from campaigns.actions.consent import note_granted
from campaigns.actions.erasing import is_erased
from campaigns.actions.suppression import suppression_of
from campaigns.models import Contact, ContactTag, Tag
from devices.models import Device


class Erased(ValueError):
    """Somebody who was erased does not come back."""


@transaction.atomic
def add_contact(
    workspace: Workspace, by: User, *, phone: str, name: str, tags: Sequence[str], consent_source: str
) -> tuple[Contact, bool]:
    """The contact with this number, and whether it is new. One that exists already stays as it is.

    A number that is suppressed makes a contact that has opted out. Raises `Erased`.
    """
    if is_erased(workspace, phone):
        raise Erased
    made = Contact(workspace=workspace, phone=phone, name=name, consent_source=consent_source, timezone=zone_of(phone))
    if suppression := suppression_of(workspace, phone):
        made.opted_out_at, made.opted_out_reason = suppression.created_at, suppression.reason
    created = _insert(made)
    contact = Contact.objects.for_workspace(workspace).get(phone=phone)
    if created:
        add_tags(contact, tags)
        note_granted(workspace, phone, contact, consent_source, "", by)
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


@transaction.atomic
def edit_contact(
    contact: Contact,
    by: User,
    *,
    name: str,
    status: str,
    tags: Sequence[str],
    device: Device | None,
    timezone: str,
    fields: Mapping[str, str],
) -> list[str]:
    """What was changed, in words. ``fields`` says all that were shown: an empty one goes, one not named stays."""
    locked = Contact.objects.for_workspace(contact.workspace).select_for_update(no_key=True).get(pk=contact.pk)
    kept = {key: value for key, value in locked.fields.items() if key not in fields}
    wanted = {
        "name": name,
        "status": status,
        "device": device,
        "timezone": timezone,
        "fields": kept | {key: value for key, value in fields.items() if value},
    }
    changed = [field for field, value in wanted.items() if getattr(locked, field) != value]
    for field, value in wanted.items():
        setattr(locked, field, value)
    had = set(contact.tag_links.values_list("tag__name", flat=True))
    added, removed = [tag for tag in tags if tag not in had], sorted(had - set(tags))
    if changed or added or removed:
        locked.updated_at = Now()
        locked.save(update_fields=[*changed, "updated_at"])
    add_tags(contact, added)
    contact.tag_links.filter(tag__name__in=removed).delete()
    told = {"changed": changed, "tags_added": added, "tags_removed": removed}
    if said := {word: what for word, what in told.items() if what}:
        record(contact.workspace, by, "contact.edited", f"contact:{contact.uuid}", **said)
    return [*changed, *(["tags"] if added or removed else [])]
