"""What is known of who is on WhatsApp, as long as it is good; finding it out is in `campaigns.actions.checks`."""

from __future__ import annotations

from collections.abc import Sequence

from django.db.models import Exists, OuterRef, Q, QuerySet
from django.utils import timezone

from campaigns.models import GOOD_FOR, Contact, NumberCheck
from campaigns.querysets.contacts import ContactQuerySet


def on_whatsapp(contacts: ContactQuerySet, there: bool) -> ContactQuerySet:
    """Those whose number was found there, or not."""
    return contacts.filter(on_whatsapp_check("yes" if there else "no"))


def unchecked(contacts: ContactQuerySet) -> ContactQuerySet:
    """Those of whom nobody knows, or not any more."""
    return contacts.filter(on_whatsapp_check("unknown"))


def on_whatsapp_check(word: str) -> Q:
    """Of contacts: ``yes`` and ``no`` as the last check found, ``unknown`` where there is none that is good."""
    if word == "unknown":
        return ~Q(Exists(_checks()))
    return Q(Exists(_checks().filter(on_whatsapp=word == "yes")))


def check_of(contact: Contact) -> NumberCheck | None:
    return _good().filter(workspace=contact.workspace_id, phone=contact.phone).first()


def absent_among(contacts: Sequence[Contact]) -> set[str]:
    """The numbers of these contacts (of one workspace) that are known not to be there."""
    if not contacts:
        return set()
    asked = _good().filter(workspace=contacts[0].workspace_id, phone__in=[contact.phone for contact in contacts])
    return set(asked.filter(on_whatsapp=False).values_list("phone", flat=True))


def _good() -> QuerySet[NumberCheck]:
    return NumberCheck.objects.filter(checked_at__gt=timezone.now() - GOOD_FOR)


def _checks() -> QuerySet[NumberCheck]:
    """Of the outer contact's number."""
    return _good().filter(workspace=OuterRef("workspace"), phone=OuterRef("phone"))
