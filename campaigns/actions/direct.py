"""One message to one number, now: the test send, and the one answer to a request to stop."""

from __future__ import annotations

from django.db import transaction
from django.db.models import Case, F, When
from django.db.models.functions import Least, Now

from accounts.audit import record
from accounts.models import User
from campaigns.models import Contact, Content, Lane, Media, Message, Stream
from devices.jobs import rouse
from devices.models import Device

STOP_CONFIRMATION = "You will hear no more from {workspace}. This is the last message."
LIQUID_SIGNS = str.maketrans("", "", "{}")


@transaction.atomic
def send_test(device: Device, phone: str, text: str, by: User | None, media: Media | None = None) -> Message:
    """Queue ``text``, or a file with it, for ``phone`` (E.164) on the device's lane `direct`, ahead of every campaign.

    It obeys the device's pace and caps. ``text`` is sent as Liquid renders it without a contact.
    """
    message = _queue(device, phone, text, by, media=media)
    record(device.workspace, by, "device.test_message", f"device:{device.uuid}")
    return message


def confirm_stop(device: Device, phone: str, contact: Contact | None) -> Message:
    """Queue the answer to a request to stop, in the caller's transaction: the one that suppresses the number."""
    name = " ".join(device.workspace.name.translate(LIQUID_SIGNS).split())
    return _queue(device, phone, STOP_CONFIRMATION.format(workspace=name), None, contact=contact, confirms_stop=True)


def direct_stream(device: Device) -> Stream:
    """The device's lane for single messages, made when it is first needed."""
    stream, _ = Stream.objects.get_or_create(
        workspace_id=device.workspace_id,
        device=device,
        campaign=None,
        defaults={"lane": Lane.DIRECT, "running": True},
    )
    return stream


def _queue(
    device: Device,
    phone: str,
    text: str,
    by: User | None,
    contact: Contact | None = None,
    confirms_stop: bool = False,
    media: Media | None = None,
) -> Message:
    stream = Stream.objects.select_for_update(no_key=True).get(pk=direct_stream(device).pk)
    message = Message.objects.create(
        workspace_id=device.workspace_id,
        stream=stream,
        content=Content.objects.create(workspace_id=device.workspace_id, text=text, media=media, created_by=by),
        contact=contact,
        phone=phone,
        confirms_stop=confirms_stop,
        due_at=Now(),
    )
    message.refresh_from_db()
    Stream.objects.filter(pk=stream.pk).update(
        pending=F("pending") + 1,
        next_id=Case(When(next_due__lt=message.due_at, then=F("next_id")), default=0),
        next_due=Least("next_due", message.due_at),  # PostgreSQL's passes over null
    )
    rouse("control", [(device.owner_id, device.pk)])
    return message
