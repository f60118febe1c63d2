"""Writing campaigns: drafts are made, changed and thrown away; a running one gets another text for the unsent."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from django.db import transaction
from django.utils import timezone

from accounts.audit import record
from accounts.models import User, Workspace
from campaigns.actions.campaigns import rouse_campaign
from campaigns.actions.planning import expiry_of
from campaigns.audience import audience_of, reachable
from campaigns.compose import MAX_CAPTION, TextError, parse
from campaigns.live import push_campaigns
from campaigns.models import (
    Assignment,
    Campaign,
    CampaignDevice,
    CampaignState,
    CampaignTag,
    Content,
    Failover,
    Media,
    MediaKind,
    Stream,
    Tag,
    UncertainPolicy,
)
from devices.models import Device

# The states in which a text can still reach somebody.
OPEN_STATES = (CampaignState.DRAFT, CampaignState.SCHEDULED, CampaignState.RUNNING, CampaignState.PAUSED)


@dataclass(frozen=True, slots=True)
class Safety:
    """What happens when a number cannot send, an answer is lost, or time runs out (hours after the start)."""

    failover: str = Failover.WAIT
    uncertain_policy: str = UncertainPolicy.HOLD
    expire_after_h: int | None = None


@dataclass(frozen=True, slots=True)
class Plan:
    """What a person decides about a campaign. ``start_at`` None: when somebody presses start."""

    name: str
    text: str
    everyone: bool
    tags: Iterable[Tag]
    devices: Iterable[Device]
    start_at: datetime | None = None
    min_delay: float = 0
    assignment: str = Assignment.STICKY
    device_cap: int | None = None
    safety: Safety = Safety()
    media: Media | None = None


@transaction.atomic
def create_campaign(workspace: Workspace, by: User | None, plan: Plan) -> Campaign:
    campaign = Campaign.objects.create(
        workspace=workspace,
        content=Content.objects.create(workspace=workspace, text=plan.text, media=plan.media, created_by=by),
        created_by=by,
        **_columns(plan),
    )
    _link(campaign, plan)
    record(workspace, by, "campaign.created", campaign.target, name=campaign.name)
    return campaign


@transaction.atomic
def edit_campaign(campaign: Campaign, by: User | None, plan: Plan) -> bool:
    """Replace the plan of a draft. False: it is none any more."""
    if not Campaign.objects.filter(pk=campaign.pk, state=CampaignState.DRAFT).update(**_columns(plan)):
        return False
    _set_content(campaign, by, plan.text, plan.media)
    campaign.refresh_from_db()
    campaign.tag_links.all().delete()
    campaign.device_links.all().delete()
    _link(campaign, plan)
    record(campaign.workspace, by, "campaign.edited", campaign.target, name=campaign.name)
    push_campaigns([campaign.pk])
    return True


def _columns(plan: Plan) -> dict[str, Any]:
    return {
        "name": plan.name,
        "everyone": plan.everyone,
        "start_at": plan.start_at,
        "min_delay": plan.min_delay,
        "assignment": plan.assignment,
        "device_cap": plan.device_cap,
        **asdict(plan.safety),
    }


def _link(campaign: Campaign, plan: Plan) -> None:
    """Tags are kept for everyone too: whoever goes back to them finds them again."""
    owner = {"workspace_id": campaign.workspace_id, "campaign": campaign}
    CampaignTag.objects.bulk_create(CampaignTag(tag=tag, **owner) for tag in plan.tags)
    CampaignDevice.objects.bulk_create(CampaignDevice(device=device, **owner) for device in plan.devices)


@transaction.atomic
def change_text(campaign: Campaign, text: str, by: User | None, media: Media | None = None) -> bool:
    """Another text, with this file or none, for everyone not written to yet: a claim takes the campaign's newest.

    False: nobody can be written to any more, or nothing is different.
    """
    found = Campaign.objects.select_for_update().filter(pk=campaign.pk, state__in=OPEN_STATES).first()
    if found is None or not _set_content(found, by, text, media):
        return False
    unsent = Stream.objects.filter(campaign=found).totals()
    record(found.workspace, by, "campaign.text_changed", found.target, people=unsent["n_pending"] + unsent["n_waiting"])
    push_campaigns([found.pk])
    campaign.refresh_from_db()
    return True


@transaction.atomic
def change_safety(campaign: Campaign, safety: Safety, by: User | None) -> bool:
    """Decide anew what happens when something goes wrong, also while it runs: the streams get the new end of time.

    False: it is over, or nothing is different. What has expired stays expired.
    """
    found = Campaign.objects.select_for_update().filter(pk=campaign.pk, state__in=OPEN_STATES).first()
    wanted = asdict(safety)
    if found is None or all(getattr(found, name) == value for name, value in wanted.items()):
        return False
    for name, value in wanted.items():
        setattr(found, name, value)
    found.save(update_fields=list(wanted))
    streams = Stream.objects.filter(campaign=found)
    list(streams.order_by("pk").select_for_update(no_key=True).values_list("pk"))
    streams.update(expires_at=expiry_of(found))
    record(found.workspace, by, "campaign.safety_changed", found.target, **wanted)
    rouse_campaign(found)
    push_campaigns([found.pk])
    campaign.refresh_from_db()
    return True


@transaction.atomic
def leave_out_absent(campaign: Campaign, wanted: bool, by: User | None) -> bool:
    """Skip those who are known not to be on WhatsApp when the campaign is planned; false: it began, or it is so."""
    planned_later = Campaign.objects.filter(
        pk=campaign.pk, state__in=[CampaignState.DRAFT, CampaignState.SCHEDULED], leave_out_absent=not wanted
    )
    if not planned_later.update(leave_out_absent=wanted):
        return False
    record(campaign.workspace, by, "campaign.absent_left_out", campaign.target, left_out=wanted)
    push_campaigns([campaign.pk])
    campaign.refresh_from_db()
    return True


def _set_content(campaign: Campaign, by: User | None, text: str, media: Media | None) -> bool:
    if campaign.content.text == text and campaign.content.media == media:
        return False
    campaign.content = Content.objects.create(workspace_id=campaign.workspace_id, text=text, media=media, created_by=by)
    Campaign.objects.filter(pk=campaign.pk).update(content=campaign.content)
    return True


@transaction.atomic
def delete_draft(campaign: Campaign, by: User | None) -> bool:
    """False: it is no draft any more."""
    found = Campaign.objects.select_for_update().filter(pk=campaign.pk, state=CampaignState.DRAFT).first()
    if found is None:
        return False
    record(found.workspace, by, "campaign.deleted", found.target, name=found.name)
    found.delete()
    return True


def no_caption(text: str, media: Media | None) -> str:
    """Why this text cannot go with this file, as a sentence; empty when it can."""
    if media is not None and media.dropped_at is not None:
        return f"The file “{media.name}” is gone: it was deleted. Choose another one."
    if media is None or not text.strip():
        return ""
    if media.kind == MediaKind.AUDIO:
        return "WhatsApp shows no text with audio. Leave the text empty, or send it as a campaign of its own."
    if "{" not in text and len(text) > MAX_CAPTION:
        return f"The text has {len(text):,} characters; beside a file at most {MAX_CAPTION:,} are sent."
    return ""


def what_is_missing(campaign: Campaign) -> list[str]:
    """Why a draft cannot be started yet, each as a sentence; empty when it can."""
    missing = []
    content = campaign.content
    try:
        parse(content.text)
    except TextError as error:
        missing.append(f"The text cannot be used. {error}")
    if not content.text.strip() and content.media_id is None:
        missing.append("The text is empty.")
    if problem := no_caption(content.text, content.media):
        missing.append(problem)
    if not reachable(audience_of(campaign)).exists():
        missing.append("Nobody is in the audience.")
    if not Device.objects.filter(campaign_links__campaign=campaign).linked().exists():
        missing.append("No linked device is chosen.")
    if campaign.start_at is not None and campaign.start_at <= timezone.now():
        missing.append("The chosen time has passed.")
    return missing
