"""One message to one number, now: the test send."""

from __future__ import annotations

from django.db import transaction
from django.db.models import F
from django.db.models.functions import Now

from accounts.audit import record
from accounts.models import User
from campaigns.models import Content, Lane, Message, Stream
from devices.jobs import rouse
from devices.models import Device


@transaction.atomic
def send_test(device: Device, phone: str, text: str, by: User | None) -> Message:
    """Queue ``text`` for ``phone`` (E.164) on the device's lane `direct`, ahead of every campaign.

    It obeys the device's pace and caps. ``text`` is sent as Liquid renders it without a contact.
    """
    Stream.objects.get_or_create(
        workspace_id=device.workspace_id,
        device=device,
        campaign=None,
        defaults={"lane": Lane.DIRECT, "running": True},
    )
    stream = Stream.objects.select_for_update().get(device=device, campaign=None)
    content = Content.objects.create(workspace_id=device.workspace_id, text=text, created_by=by)
    message = Message.objects.create(
        workspace_id=device.workspace_id, stream=stream, content=content, phone=phone, due_at=Now()
    )
    message.refresh_from_db()
    if stream.next_due is None or message.due_at < stream.next_due:
        stream.next_due, stream.next_id = message.due_at, 0
    Stream.objects.filter(pk=stream.pk).update(
        pending=F("pending") + 1, next_due=stream.next_due, next_id=stream.next_id
    )
    record(device.workspace, by, "device.test_message", f"device:{device.uuid}")
    rouse("control", [(device.owner_id, device.pk)])
    return message
