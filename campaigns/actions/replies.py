"""What people answer: tied to the message that caused it, and a request to stop is honoured at once."""

from __future__ import annotations

from collections.abc import Sequence

from django.db import transaction
from django.db.models import F
from django.db.models.functions import Now

from accounts.audit import record
from campaigns.engine.stop_words import asks_to_stop
from campaigns.models import Contact, Message, Stream
from devices.gateway.contract import Incoming
from devices.models import Device


def note_incoming(incoming: Sequence[Incoming]) -> set[int]:
    """Write down these replies; returns the ids of the campaigns whose figures changed."""
    touched = set()
    for reply in incoming:
        with transaction.atomic():
            campaign = _note(reply)
        if campaign:
            touched.add(campaign)
    return touched


def _note(reply: Incoming) -> int | None:
    device = Device.objects.filter(pk=reply.device).select_related("workspace").first()
    if device is None:
        return None
    contact = Contact.objects.for_workspace(device.workspace).filter(phone=reply.sender).first()
    if contact is None:
        return None
    if asks_to_stop(reply.text) and _opt_out(contact):
        record(device.workspace, None, "contact.opted_out", f"contact:{contact.uuid}", by="reply")
    answered = Message.objects.filter(contact=contact, stream__device=device, sent_at__isnull=False)
    cause = answered.filter(replied_at__isnull=True).order_by("-pk").first()
    if cause is None:
        return None
    Stream.objects.select_for_update().get(pk=cause.stream_id)
    if Message.objects.filter(pk=cause.pk, replied_at__isnull=True).update(replied_at=Now()):
        Stream.objects.filter(pk=cause.stream_id).update(replied=F("replied") + 1)
    return cause.campaign_id


def _opt_out(contact: Contact) -> bool:
    found = Contact.objects.filter(pk=contact.pk, opted_out_at__isnull=True)
    return bool(found.update(opted_out_at=Now(), opted_out_reason="asked to stop in a reply"))
