"""A campaign that has run: two variants on two devices, people held out, every state and reason, hours and replies."""

from __future__ import annotations

from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from accounts.models import Workspace
from campaigns.engine.lifecycle import MESSAGE_STATES
from campaigns.models import NOBODYS, Campaign, Content, Message, Reply, Stream, Variant
from tests.campaigns.campaign_cases import count_again, planned_campaign

REASONS = {
    "waiting": "websocket not connected",
    "dead": "refused 479: SmaxInvalid",
    "uncertain": "timed out waiting for the ack",
    "skipped": "opted_out",
    "expired": "too_late",
    "cancelled": "campaign_cancelled",
}
CHANGED = [
    "stream", "state", "reason", "attempts", "attempted_at", "sent_at", "delivered_at", "read_at", "replied_at", "text",
]  # fmt: skip
DAY = datetime(2026, 11, 20, tzinfo=ZoneInfo("Asia/Kuala_Lumpur"))


def told_campaign(workspace: Workspace, rounds: int = 2) -> Campaign:
    """A message in each state for each of two devices and two variants, `rounds` times, and as many held out."""
    campaign = planned_campaign(workspace, people=(len(MESSAGE_STATES) + 1) * rounds * 4, name="=Sale; Kuala Lumpur")
    for number, share in ((1, 60), (2, 40)):
        content = Content.objects.create(workspace=workspace, text=f"Wording {number} for {{{{ name }}}}")
        Variant.objects.create(workspace=workspace, campaign=campaign, number=number, content=content, share=share)
    streams, nobodys = [], Stream.objects.filter(campaign=campaign).earliest("pk")
    for stream in Stream.objects.filter(campaign=campaign).order_by("pk"):
        for number in (1, 2):
            stream.pk, stream.variant = None, number
            stream.save(force_insert=True)
            streams.append(Stream.objects.get(pk=stream.pk))
    messages = list(Message.objects.filter(campaign=campaign).order_by("pk"))
    replies = [
        reply for place, message in enumerate(messages) for reply in tell(message, streams[place % 4], place // 4)
    ]
    for message in messages:
        message.stream = nobodys if message.reason == "hold_out" else message.stream
    Message.objects.bulk_update(messages, CHANGED)
    Reply.objects.bulk_create(replies)
    Stream.objects.filter(campaign=campaign, variant=0).exclude(pk=nobodys.pk).delete()
    Stream.objects.filter(pk=nobodys.pk).update(variant=NOBODYS)
    count_again(campaign)
    Campaign.objects.filter(pk=campaign.pk).update(launched_at=DAY)
    campaign.refresh_from_db()
    return campaign


def tell(message: Message, stream: Stream, place: int) -> list[Reply]:
    """Its state by its place in line; what was sent went at nine, was read at ten and answered at a quarter to one."""
    state = [*MESSAGE_STATES, "held"][place % (len(MESSAGE_STATES) + 1)]
    left = state in ("sent", "delivered", "read")
    message.stream, message.reason = stream, "hold_out" if state == "held" else REASONS.get(state, "")
    message.state = "skipped" if state == "held" else state
    message.attempts = int(left or state in ("dead", "uncertain", "waiting", "sending"))
    message.attempted_at = message.sent_at = DAY + timedelta(hours=9) if left else None
    message.text = "@Word for word" if left else None
    if state in ("delivered", "read"):
        message.delivered_at = DAY + timedelta(hours=9, minutes=59)
    if state == "read":
        message.read_at = DAY + timedelta(days=1, hours=10)
        message.replied_at = DAY + timedelta(days=1, hours=12, minutes=45)
    if state != "read":
        return []
    return [
        Reply(
            workspace=message.workspace,
            device=stream.device,
            contact=message.contact,
            message=message,
            phone=message.phone,
            chat="chat",
            wire_id=f"reply-{message.pk}",
            text="Yes please",
            at=message.replied_at or DAY,
        )
    ]
