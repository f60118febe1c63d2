"""Dead letters: they are kept, with every attempt and reason, until a person has them tried again (P12)."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from django.db import transaction

from accounts.audit import record
from accounts.models import User
from campaigns.actions.campaigns import rouse_campaign
from campaigns.live import push_campaigns
from campaigns.models import Campaign, CampaignState, Stream
from campaigns.querysets.unsettled import Selection, retry_dead

# A cancelled campaign sends nothing any more, whoever asks.
REOPENABLE = (CampaignState.RUNNING, CampaignState.PAUSED, CampaignState.COMPLETED)


@transaction.atomic
def retry_failed(selection: Selection, by: User) -> int:
    """Return exactly these dead messages to ``pending``, each once; returns how many.

    The only action that does. A completed campaign runs again; a cancelled one refuses, and so does one whose time to
    send has passed.
    """
    return bring_back(selection, by, retry_dead, "campaign.failed_retried")


@transaction.atomic
def retry_failed_together(selections: Sequence[Selection], by: User) -> int:
    """`retry_failed` of several campaigns at once, whose streams are all locked before any of their messages."""
    ids = [selection.campaign.pk for selection in selections]
    list(
        Campaign.objects.select_for_update(of=("self",)).filter(pk__in=ids).order_by("pk").values_list("pk", flat=True)
    )
    streams = Stream.objects.filter(campaign__in=ids).order_by("pk")
    list(streams.select_for_update(no_key=True).values_list("pk", flat=True))
    return sum(retry_failed(selection, by) for selection in selections)


def bring_back(
    selection: Selection, by: User | None, statement: Callable[[Selection], int], deed: str, **detail: str
) -> int:
    """Make the selected messages claimable by ``statement``, in the caller's transaction, and see them on their way."""
    campaign = lock_with_streams(selection.campaign)
    if campaign.state not in REOPENABLE:
        return 0
    people = statement(selection)
    if not people:
        return 0
    if campaign.move_to(CampaignState.RUNNING, [CampaignState.COMPLETED], finished_at=None):
        Stream.objects.filter(campaign=campaign).update(running=True)
    record(campaign.workspace, by, deed, campaign.target, people=people, **detail)
    rouse_campaign(campaign)
    push_campaigns([campaign.pk])
    return people


def lock_with_streams(campaign: Campaign) -> Campaign:
    """The campaign as it is, locked, and after it all its streams in id order, like everywhere."""
    locked = Campaign.objects.select_for_update(of=("self",)).select_related("workspace").get(pk=campaign.pk)
    streams = Stream.objects.filter(campaign=locked).order_by("pk")
    list(streams.select_for_update(no_key=True).values_list("pk", flat=True))
    return locked
