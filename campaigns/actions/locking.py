"""The locks of whoever moves several campaigns, or all of one, in one transaction."""

from __future__ import annotations

from collections.abc import Iterable

from django.db.models import Q

from accounts.models import Workspace
from campaigns.models import Campaign, Stream


def lock_with_streams(campaigns: Iterable[Campaign], direct_of: Iterable[Workspace] = ()) -> list[Campaign]:
    """Lock these campaigns, then all streams of theirs and of the tests and replies of ``direct_of``, each by id.

    Before anything else of them is locked (see `campaigns.outbox`), and all at once: one by one, the streams of the
    second would be locked after the messages of the first. Returns the campaigns as they are now, by id.
    """
    chosen = Campaign.objects.filter(pk__in=[campaign.pk for campaign in campaigns]).select_related("workspace")
    locked = list(chosen.order_by("pk").select_for_update(of=("self",)))
    direct = Q(workspace__in=list(direct_of), campaign__isnull=True)
    Stream.objects.filter(Q(campaign__in=locked) | direct).lock()
    return locked
