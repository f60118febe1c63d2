"""Doubts: what becomes of messages of which nobody knows whether they left, when no evidence turns up."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta

from django.conf import settings
from django.db import transaction
from django.db.models import Q
from django.db.models.functions import Now
from django.utils import timezone

from accounts.models import User
from campaigns.actions.dead_letters import REOPENABLE, bring_back, lock_all, settle_for_good
from campaigns.models import Campaign, Uncertain, UncertainPolicy
from campaigns.querysets.unsettled import Selection, assume_uncertain_sent, give_up_uncertain, send_uncertain_again

AT_ONCE = 10_000


@transaction.atomic
def send_again(selection: Selection, by: User | None, **detail: str) -> int:
    """Send these uncertain messages once more, each marked ``may_duplicate``; returns how many.

    ``by`` None: the campaign's policy decided. Like `retry_failed`, it reopens a completed campaign.
    """
    return bring_back(selection, by, send_uncertain_again, "campaign.doubts_sent_again", **detail)


@transaction.atomic
def assume_sent(selection: Selection, by: User | None, **detail: str) -> int:
    """Count these uncertain messages as sent, in a state of their own; returns how many."""
    return settle_for_good(selection, by, assume_uncertain_sent, "campaign.doubts_assumed_sent", **detail)


@transaction.atomic
def give_up_doubts(selection: Selection, by: User) -> int:
    """Nobody waits for a proof of these any more: they count as cancelled, unless one comes all the same."""
    return settle_for_good(selection, by, give_up_uncertain, "campaign.doubts_given_up")


def settle_doubts() -> int:
    """Do what each campaign's policy says with what is uncertain for too long; returns how many messages it settled.

    For the clock: safe on any number. Messages without a campaign wait for a person, whatever their age.
    """
    until = timezone.now() - timedelta(seconds=settings.UNCERTAIN_AFTER_S)
    settled = 0
    for campaign_id, messages in _overdue(until).items():
        campaign = Campaign.objects.get(pk=campaign_id)
        # An attempt begins before it becomes uncertain: one that began after `until` is another one.
        selection = Selection(campaign, until, messages=messages)
        settle = send_again if campaign.uncertain_policy == UncertainPolicy.RESEND else assume_sent
        settled += settle(selection, None, policy=campaign.uncertain_policy)
    return settled


def _overdue(until: datetime) -> dict[int, list[int]]:
    """By campaign, the messages that are uncertain since ``until`` or longer and that its policy may settle."""
    not_expired = Q(message__stream__expires_at__isnull=True) | Q(message__stream__expires_at__gt=Now())
    resend = Q(  # once: who may have it twice already gets a third one from a person only
        message__campaign__uncertain_policy=UncertainPolicy.RESEND,
        message__campaign__state__in=REOPENABLE,
        message__may_duplicate=False,
    ) & Q(message__contact__isnull=False)  # nothing goes to whoever was deleted or erased since
    assume = Q(message__campaign__uncertain_policy=UncertainPolicy.ASSUME_SENT)
    found = Uncertain.objects.filter(assume | (resend & not_expired), since__lte=until).order_by("since")
    campaigns: dict[int, list[int]] = defaultdict(list)
    for campaign, message in found.values_list("message__campaign_id", "message_id")[:AT_ONCE]:
        campaigns[campaign].append(message)
    return dict(sorted(campaigns.items()))


@transaction.atomic
def settle_all(selections: Sequence[Selection], settle: Callable[[Selection, User], int], by: User) -> int:
    """``settle`` is one of the deeds above; of several campaigns in one transaction."""
    lock_all(selections)
    return sum(settle(selection, by) for selection in selections)
