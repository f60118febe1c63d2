"""Workspaces with failed and uncertain messages of every kind, for tests of the Queue page."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from django.utils import timezone

from accounts.models import Workspace
from campaigns.models import Campaign, Contact, Content, Lane, Message, Stream, Uncertain
from devices.models import Device
from tests.campaigns.campaign_cases import count_again
from tests.factories import make_campaign, new_contact

AGO = timedelta(minutes=30)


def failed_campaign(
    workspace: Workspace, device: Device, reasons: Sequence[str], state: str = "running", **fields: Any
) -> Campaign:
    """One person for each reason, all failed at the device half an hour ago."""
    return ended_campaign(workspace, device, "dead", reasons, state, **fields)


def doubtful_campaign(
    workspace: Workspace, device: Device, people: int, state: str = "running", **fields: Any
) -> Campaign:
    campaign = ended_campaign(workspace, device, "uncertain", ["timed out"] * people, state, **fields)
    doubt_all(campaign)
    return campaign


def ended_campaign(
    workspace: Workspace, device: Device, end: str, reasons: Sequence[str], state: str, **fields: Any
) -> Campaign:
    at = timezone.now() - AGO
    expires = fields.pop("expires_at", None)
    campaign = make_campaign(
        workspace, devices=(device,), state=state, launched_at=at, planned_at=at, recipients=len(reasons), **fields
    )
    stream = Stream.objects.create(
        workspace=workspace,
        campaign=campaign,
        device=device,
        lane=Lane.CAMPAIGN,
        running=state == "running",
        expires_at=expires,
    )
    people = Contact.objects.bulk_create(new_contact(workspace) for _ in reasons)
    Message.objects.bulk_create(
        tried(stream, campaign.content, end, reason, contact) for contact, reason in zip(people, reasons, strict=True)
    )
    count_again(campaign)
    return campaign


def tried(stream: Stream, content: Content, end: str, reason: str, contact: Contact | None = None) -> Message:
    at = timezone.now() - AGO
    return Message(
        workspace_id=stream.workspace_id,
        stream=stream,
        campaign_id=stream.campaign_id,
        contact=contact,
        content=content,
        phone=contact.phone if contact else "+60111222333",
        state=end,
        reason=reason,
        due_at=at,
        attempts=1,
        tag=bytes(32),
        epoch=0,
        attempted_at=at,
        dead_at=at if end == "dead" else None,
    )


def direct_messages(device: Device, end: str, reasons: Sequence[str]) -> Stream:
    stream = Stream.objects.create(workspace_id=device.workspace_id, device=device, lane=Lane.DIRECT, running=True)
    content = Content.objects.create(workspace_id=device.workspace_id, text="Test")
    Message.objects.bulk_create(tried(stream, content, end, reason) for reason in reasons)
    Stream.objects.filter(pk=stream.pk).update(**{end: len(reasons)})
    doubt(Message.objects.filter(stream=stream, state="uncertain"))
    return stream


def doubt_all(campaign: Campaign) -> None:
    doubt(Message.objects.filter(campaign=campaign, state="uncertain"))


def doubt(messages: Any) -> None:
    at = timezone.now() - AGO
    Uncertain.objects.bulk_create(
        Uncertain(
            workspace_id=message.workspace_id,
            message=message,
            device_id=message.stream.device_id,
            phone=message.phone,
            tag=bytes(32),
            began_at=at,
            since=at,
        )
        for message in messages.select_related("stream")
    )
