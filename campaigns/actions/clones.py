"""Using a campaign again: a copy to write anew, the same for some of its recipients; and putting old ones away."""

from __future__ import annotations

from typing import Any

from django.db import transaction
from django.db.models.functions import Now
from django.utils import timezone

from accounts.audit import record
from accounts.models import User
from campaigns.live import push_campaigns
from campaigns.models import (
    Campaign,
    CampaignDevice,
    CampaignSegment,
    CampaignState,
    CampaignTag,
    Retarget,
    Variant,
)

COPY = " (copy)"
# What a person decided about the one campaign holds for its copy too.
KEPT = (
    "content_id", "everyone", "retarget_of_id", "retarget", "not_contacted_days", "hold_out", "min_delay",
    "assignment", "device_cap", "failover", "uncertain_policy", "leave_out_absent", "expire_after_h", "local_from",
    "local_to", "stagger_s", "canary", "stop_failures", "stop_opt_outs",
)  # fmt: skip
# Nothing of it will leave before somebody starts it again.
RESTING = (CampaignState.DRAFT, CampaignState.COMPLETED, CampaignState.CANCELLED)


@transaction.atomic
def clone(campaign: Campaign, user: User | None, retarget: str = "") -> Campaign:
    """A new draft with all settings; with a word of `Retarget`, for those of the campaign's recipients.

    Raises ValueError for another word. A time of start that has passed is left out.
    """
    if retarget and retarget not in Retarget.values:
        raise ValueError(f"{retarget} is no way to choose recipients")
    settings = {name: getattr(campaign, name) for name in KEPT}
    if campaign.start_at is not None and campaign.start_at > timezone.now():
        settings["start_at"] = campaign.start_at
    if retarget:
        settings |= _recipients_of(campaign, retarget)
    copy = Campaign.objects.create(
        workspace_id=campaign.workspace_id,
        name=copy_name(campaign.name),
        created_by=user,
        **settings,
    )
    _copy_links(campaign, copy, everybody=not retarget)
    record(copy.workspace, user, "campaign.cloned", copy.target, name=copy.name, of=campaign.target, retarget=retarget)
    return copy


def copy_name(name: str) -> str:
    longest = Campaign._meta.get_field("name").max_length or 0
    return f"{name[: longest - len(COPY)].rstrip()}{COPY}"


def _recipients_of(campaign: Campaign, retarget: str) -> dict[str, Any]:
    """The audience of a second try. Its people were just written to, so nothing may leave them out for that."""
    return {
        "everyone": False,
        "retarget_of_id": campaign.pk,
        "retarget": retarget,
        "not_contacted_days": None,
        "hold_out": 0,
    }


def _copy_links(campaign: Campaign, copy: Campaign, everybody: bool) -> None:
    """Without ``everybody`` the tags and segments that chose people stay behind; those that leave people out do not."""
    own = {"workspace_id": copy.workspace_id, "campaign": copy}
    tags, segments = campaign.tag_links.all(), campaign.segment_links.all()
    if not everybody:
        tags, segments = tags.filter(excluded=True), segments.filter(excluded=True)
    CampaignTag.objects.bulk_create(CampaignTag(tag_id=link.tag_id, excluded=link.excluded, **own) for link in tags)
    CampaignSegment.objects.bulk_create(
        CampaignSegment(segment_id=link.segment_id, excluded=link.excluded, **own) for link in segments
    )
    CampaignDevice.objects.bulk_create(
        CampaignDevice(device_id=link.device_id, **own) for link in campaign.device_links.all()
    )
    Variant.objects.bulk_create(
        Variant(number=one.number, content_id=one.content_id, share=one.share, **own) for one in campaign.variants.all()
    )


@transaction.atomic
def archive_campaign(campaign: Campaign, by: User | None) -> bool:
    """Out of the list, with all it did. False: it is archived already, or may still send."""
    resting = Campaign.objects.filter(pk=campaign.pk, archived_at=None, state__in=RESTING)
    if not resting.update(archived_at=Now()):
        return False
    return _told(campaign, by, "campaign.archived")


@transaction.atomic
def unarchive_campaign(campaign: Campaign, by: User | None) -> bool:
    """False: it is not archived."""
    if not Campaign.objects.filter(pk=campaign.pk, archived_at__isnull=False).update(archived_at=None):
        return False
    return _told(campaign, by, "campaign.unarchived")


def _told(campaign: Campaign, by: User | None, deed: str) -> bool:
    record(campaign.workspace, by, deed, campaign.target, name=campaign.name)
    push_campaigns([campaign.pk])
    campaign.refresh_from_db()
    return True
