"""What people choose for themselves on the page behind their opt-out link."""

from __future__ import annotations

from datetime import timedelta

from django.db import transaction
from django.db.models import Q
from django.db.models.functions import Now

from accounts.audit import record
from campaigns.actions.suppression import suppress, suppression_of, unsuppress
from campaigns.models import Contact, SuppressionSource

SILENCE = timedelta(days=30)
STOPPED = "asked to stop on the opt-out page"
STARTED = "started again on the opt-out page"
OWN_CHOICE = "Their own choice on the opt-out page"


def stop_all(contact: Contact) -> bool:
    """Nothing leaves for them from this commit on. False: they had stopped before."""
    return suppress(contact.workspace, contact.phone, SuppressionSource.LINK, STOPPED, None)


@transaction.atomic
def keep_silent(contact: Contact) -> bool:
    """Nothing leaves for them for `SILENCE`. False: it is silent already."""
    loud = Contact.objects.filter(Q(paused_until=None) | Q(paused_until__lte=Now()), pk=contact.pk)
    if not loud.update(paused_until=Now() + SILENCE, updated_at=Now()):
        return False
    record(contact.workspace, None, "contact.silenced", f"contact:{contact.uuid}", days=SILENCE.days)
    return True


@transaction.atomic
def start_again(contact: Contact) -> bool:
    """Take back what was chosen on this page, and only that. False: nothing of it holds."""
    suppression = suppression_of(contact.workspace, contact.phone)
    if suppression and suppression.source != SuppressionSource.LINK:
        return False
    started = bool(suppression) and unsuppress(
        contact.workspace, contact.phone, STARTED, None, consent_source=OWN_CHOICE
    )
    silent = Contact.objects.filter(pk=contact.pk, paused_until__isnull=False)
    if silent.update(paused_until=None, updated_at=Now()):
        record(contact.workspace, None, "contact.silence_ended", f"contact:{contact.uuid}")
        started = True
    return started
