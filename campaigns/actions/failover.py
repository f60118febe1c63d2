"""Failover: what becomes of a campaign's messages at a device that cannot send, by its policy or a person's answer."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace
from uuid import UUID

from django.db import transaction

from accounts.models import User
from campaigns.actions.drafts import Safety, change_safety
from campaigns.actions.locking import lock_with_streams
from campaigns.actions.moving import move_pending
from campaigns.failover import able_devices, failover_questions, stuck_at
from campaigns.live import push_campaigns
from campaigns.models import Campaign, CampaignState, Failover, Stream


def fail_over() -> int:
    """Move what the policy `other` says, and show what `ask` asks; returns how many messages moved."""
    moved = 0
    for campaign in _with_unsent(Failover.OTHER):
        for question in stuck_at(Stream.objects.filter(campaign=campaign)):
            others = able_devices(campaign, question.device)
            moved += move_pending(question.device, others, campaign, None, why=question.reason)
    push_campaigns([campaign.pk for campaign in _with_unsent(Failover.ASK) if failover_questions(campaign)])
    return moved


@transaction.atomic
def send_from_others(campaign: Campaign, devices: Collection[UUID], by: User) -> int:
    """The answer to what the campaign asks about these devices: its other devices send. Returns how many messages."""
    lock_with_streams([campaign])  # all of them at once and in order: the devices come in another one
    asked = [question for question in failover_questions(campaign) if question.device.uuid in devices]
    return sum(
        move_pending(question.device, able_devices(campaign, question.device), campaign, by, why=question.reason)
        for question in asked
    )


def keep_waiting(campaign: Campaign, by: User) -> bool:
    """The other answer: its messages wait for their devices, and the campaign asks no more."""
    safety = Safety(campaign.failover, campaign.uncertain_policy, campaign.expire_after_h)
    return change_safety(campaign, replace(safety, failover=Failover.WAIT), by)


def _with_unsent(policy: str) -> Sequence[Campaign]:
    unsent = Stream.objects.unsent().filter(campaign__isnull=False)
    found = Campaign.objects.filter(state=CampaignState.RUNNING, failover=policy, pk__in=unsent.values("campaign"))
    return list(found.select_related("workspace").order_by("pk"))
