"""What people answer: tied to the message that caused it, and a request to stop is honoured at once."""

from __future__ import annotations

import re
from collections.abc import Sequence

from django.db import transaction
from django.db.models import F
from django.db.models.functions import Now

from campaigns.actions.direct import confirm_stop, direct_stream
from campaigns.actions.suppression import suppress
from campaigns.engine.stop_words import asks_to_stop
from campaigns.models import Contact, Message, Stream, SuppressionSource
from devices.gateway.contract import Incoming
from devices.models import Device

ASKED_TO_STOP = "asked to stop in a reply"
E164 = re.compile(r"\+[1-9]\d{6,14}")


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
    phone = _phone_of(reply)
    if device is None or phone is None:
        return None
    contact = Contact.objects.for_workspace(device.workspace).filter(phone=phone).first()
    # Whoever asks again had the answer before: it goes with the row that is new.
    stopped = asks_to_stop(reply.text) and suppress(
        device.workspace, phone, SuppressionSource.REPLY, ASKED_TO_STOP, None
    )
    # Locks in the order of everywhere: the device, then the streams by id.
    Device.objects.filter(pk=device.pk, warm_cap__isnull=False).update(warm_replies=F("warm_replies") + 1)
    cause = _cause(device, contact) if contact else None
    _lock_streams(([direct_stream(device).pk] if stopped else []) + ([cause.stream_id] if cause else []))
    if stopped:
        confirm_stop(device, phone, contact)
    if cause is None:
        return None
    if Message.objects.filter(pk=cause.pk, replied_at__isnull=True).update(replied_at=Now()):
        Stream.objects.filter(pk=cause.stream_id).update(replied=F("replied") + 1)
    return cause.campaign_id


def _phone_of(reply: Incoming) -> str | None:
    """WhatsApp does not always tell the number: then it is that of whom this device wrote to in the same chat."""
    if E164.fullmatch(reply.sender):
        return reply.sender
    written = Message.objects.filter(stream__device=reply.device, chat=reply.chat)
    return next(iter(written.values_list("phone", flat=True)[:1]), None)


def _cause(device: Device, contact: Contact) -> Message | None:
    answered = Message.objects.filter(contact=contact, stream__device=device, sent_at__isnull=False)
    return answered.filter(replied_at__isnull=True).order_by("-pk").first()


def _lock_streams(ids: Sequence[int]) -> None:
    list(Stream.objects.filter(pk__in=ids).order_by("pk").select_for_update(no_key=True).values_list("pk", flat=True))
