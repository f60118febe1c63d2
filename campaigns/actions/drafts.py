"""Writing campaigns: drafts are made, changed and thrown away; a running one gets another text for the unsent."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, fields
from datetime import datetime
from enum import Enum
from typing import Any
from uuid import UUID, uuid4

from django.db import IntegrityError, transaction
from django.db.models import Model
from django.utils import timezone

from accounts.audit import record
from accounts.models import AuditEntry, User, Workspace
from campaigns.actions.campaigns import rouse_campaign
from campaigns.actions.planning import expiry_of
from campaigns.audience import audience_of, reachable
from campaigns.compose import MAX_CAPTION, TextError, parse
from campaigns.live import push_campaigns
from campaigns.models import (
    UNFINISHED,
    Assignment,
    Campaign,
    CampaignDevice,
    CampaignSegment,
    CampaignState,
    CampaignTag,
    Content,
    Failover,
    Media,
    MediaKind,
    Stream,
    Tag,
    UncertainPolicy,
    Variant,
)
from campaigns.opt_out import problem_in
from campaigns.steps import STEPS
from devices.models import Device

# The states in which a text can still reach somebody.


@dataclass(frozen=True, slots=True)
class Safety:
    """What happens when a number cannot send, an answer is lost, or time runs out (hours after the start)."""

    failover: str = Failover.WAIT
    uncertain_policy: str = UncertainPolicy.HOLD
    expire_after_h: int | None = None


@dataclass(frozen=True, slots=True)
class VariantText:
    """One text of an A/B test; ``share``: percent of the people who are written to."""

    text: str
    share: int = 100


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

    def changes(self) -> Changes:
        return {
            "variant_texts": [VariantText(self.text)],
            **{field.name: getattr(self, field.name) for field in fields(self) if field.name not in ("text", "safety")},
            **asdict(self.safety),
        }


# What somebody decided, by name: columns of the campaign, and what it is linked to. What is not named stays as it was.
Changes = dict[str, Any]
LINKS: dict[str, tuple[type[Model], str, dict[str, bool]]] = {
    "tags": (CampaignTag, "tag", {"excluded": False}),
    "excluded_tags": (CampaignTag, "tag", {"excluded": True}),
    "segments": (CampaignSegment, "segment", {"excluded": False}),
    "excluded_segments": (CampaignSegment, "segment", {"excluded": True}),
    "devices": (CampaignDevice, "device", {}),
}
SAID = ("variant_texts", "media")


class Edit(Enum):
    """How an attempt to save a draft ended."""

    SAVED = "saved"
    NEWER = "newer"  # somebody else has changed it since
    CLOSED = "closed"  # it is no draft any more


def create_campaign(workspace: Workspace, by: User | None, plan: Plan) -> Campaign:
    campaign, _ = create_draft(workspace, by, uuid4(), plan.changes(), steps_done=len(STEPS))
    return campaign


@transaction.atomic
def create_draft(
    workspace: Workspace, by: User | None, uuid: UUID, changes: Changes, steps_done: int = 1
) -> tuple[Campaign, bool]:
    """A draft with these choices, and whether it was made now: asked twice under one ``uuid``, it is made once."""
    variant_texts: Sequence[VariantText] = changes.get("variant_texts") or [VariantText("")]
    media = changes.get("media")
    try:
        with transaction.atomic():
            campaign = Campaign.objects.create(
                workspace=workspace,
                uuid=uuid,
                content=_content(workspace.pk, by, variant_texts[0].text, media),
                created_by=by,
                edited_by=by,
                edited_at=timezone.now(),
                steps_done=steps_done,
                **_columns(changes),
            )
    except IntegrityError:
        found = Campaign.objects.for_workspace(workspace).filter(uuid=uuid).first()
        # Another workspace's: only who makes such ids up by hand gets here.
        return (found, False) if found else create_draft(workspace, by, uuid4(), changes, steps_done)
    _set_variant_texts(campaign, by, variant_texts, media)
    _link(campaign, changes)
    record(workspace, by, "campaign.created", campaign.target, name=campaign.name)
    return campaign, True


@transaction.atomic
def edit_draft(
    campaign: Campaign,
    by: User | None,
    changes: Changes,
    version: int | None = None,
    *,
    alone: bool = False,
    steps_done: int = 0,
) -> Edit:
    """Change a draft. ``version`` is the one that was looked at; None: whatever there is now.

    Somebody's own later edits count as seen, from another window too, unless ``alone``: what saves itself in the
    background comes late now and then.
    """
    found = Campaign.objects.select_for_update(of=("self",)).filter(pk=campaign.pk).get()
    if found.state != CampaignState.DRAFT:
        return Edit.CLOSED
    if version is not None and version != found.version:
        own = by is not None and found.edited_by_id == by.pk and version >= found.others_version
        if alone or not own:
            return Edit.NEWER
    columns = _columns(changes)
    for name, value in columns.items():
        setattr(found, name, value)
    if "variant_texts" in changes or "media" in changes:
        _say(found, by, changes)
    _link(found, changes)
    found.steps_done = max(found.steps_done, steps_done)
    found.save(update_fields=[*columns, "content", "steps_done", *_count_edit(found, by)])
    _note_edit(found, by)
    push_campaigns([found.pk])
    campaign.refresh_from_db()
    return Edit.SAVED


def _count_edit(campaign: Campaign, by: User | None) -> list[str]:
    """The names of the columns that the caller saves."""
    if by is None or campaign.edited_by_id != by.pk:
        campaign.others_version = campaign.version
    campaign.version += 1
    campaign.edited_by, campaign.edited_at = by, timezone.now()
    return ["version", "others_version", "edited_by", "edited_at"]


def _note_edit(campaign: Campaign, by: User | None) -> None:
    """A form that saves itself would fill the ledger: an edit after an edit of the same person is one deed."""
    entries = AuditEntry.objects.filter(workspace=campaign.workspace_id, target=campaign.target)
    newest = entries.order_by("-at", "-pk").values_list("action", "actor").first()
    if newest != ("campaign.edited", by and by.pk):
        record(campaign.workspace, by, "campaign.edited", campaign.target, name=campaign.name)


def _columns(changes: Changes) -> dict[str, Any]:
    return {name: value for name, value in changes.items() if name not in LINKS and name not in SAID}


def _link(campaign: Campaign, changes: Changes) -> None:
    """Tags are kept for everyone too: whoever goes back to them finds them again.

    All that go first: one that changes from wanted to unwanted would be there twice.
    """
    owner = {"workspace_id": campaign.workspace_id, "campaign": campaign}
    named = [(name, *LINKS[name]) for name in LINKS if name in changes]
    for _, model, _, kind in named:
        model._default_manager.filter(campaign=campaign, **kind).delete()
    for name, model, noun, kind in named:
        model._default_manager.bulk_create(model(**{noun: one}, **kind, **owner) for one in changes[name])


def _say(campaign: Campaign, by: User | None, changes: Changes) -> None:
    """What is not named stays: another file under the same texts, or other texts under the same file."""
    media = changes.get("media", campaign.content.media)
    _set_variant_texts(campaign, by, changes.get("variant_texts") or variant_texts_of(campaign), media)


def variant_texts_of(campaign: Campaign) -> list[VariantText]:
    """Its texts: one, or those of its variants in their order."""
    variants = campaign.variants.select_related("content").order_by("number")
    return [VariantText(one.content.text, one.share) for one in variants] or [VariantText(campaign.content.text)]


def _set_variant_texts(
    campaign: Campaign, by: User | None, variant_texts: Sequence[VariantText], media: Media | None
) -> bool:
    """The first is also the campaign's own content. A text that stays keeps its version. False: nothing changed."""
    variants = {one.number: one for one in campaign.variants.select_related("content__media")}
    versions = [campaign.content, *(one.content for one in variants.values())]
    known = {content.text: content for content in versions if content.media == media}
    for variant in variant_texts:
        if variant.text not in known:
            known[variant.text] = _content(campaign.workspace_id, by, variant.text, media)
    contents = [known[variant.text] for variant in variant_texts]
    shares = enumerate(variant_texts, 1) if len(variant_texts) > 1 else []
    wanted = {number: (contents[number - 1].pk, variant.share) for number, variant in shares}
    before = {number: (one.content_id, one.share) for number, one in variants.items()}
    if campaign.content == contents[0] and before == wanted:
        return False
    campaign.content = contents[0]
    Campaign.objects.filter(pk=campaign.pk).update(content=campaign.content)
    campaign.variants.exclude(number__in=wanted).delete()
    for number, (content, share) in wanted.items():
        values = {"content_id": content, "share": share}
        Variant.objects.update_or_create(
            campaign=campaign,
            number=number,
            defaults=values,
            create_defaults={**values, "workspace_id": campaign.workspace_id},
        )
    return True


def _content(workspace: int, by: User | None, text: str, media: Media | None) -> Content:
    return Content.objects.create(workspace_id=workspace, text=text, media=media, created_by=by)


@transaction.atomic
def change_text(
    campaign: Campaign, text: str, by: User | None, media: Media | None = None, others: Sequence[str] = ()
) -> bool:
    """Another text, with this file or none, for everyone not written to yet: a claim takes the campaign's newest.

    ``others``: those of the variants after the first; how many there are stays. False: nobody can be written to any
    more, or nothing is different.
    """
    found = Campaign.objects.select_for_update().filter(pk=campaign.pk, state__in=UNFINISHED).first()
    if found is None:
        return False
    shares = list(found.variants.order_by("number").values_list("share", flat=True)) or [100]
    texts = [text, *others]
    if len(texts) != len(shares):
        return False
    variant_texts = [VariantText(text, share) for text, share in zip(texts, shares, strict=True)]
    if not _set_variant_texts(found, by, variant_texts, media):
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
    found = Campaign.objects.select_for_update().filter(pk=campaign.pk, state__in=UNFINISHED).first()
    wanted = asdict(safety)
    if found is None or all(getattr(found, name) == value for name, value in wanted.items()):
        return False
    for name, value in wanted.items():
        setattr(found, name, value)
    found.save(update_fields=list(wanted))
    streams = Stream.objects.filter(campaign=found)
    streams.lock()
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
    found = planned_later.select_for_update(of=("self",)).first()
    if found is None:
        return False
    found.leave_out_absent = wanted
    found.save(update_fields=["leave_out_absent", *_count_edit(found, by)])
    record(campaign.workspace, by, "campaign.absent_left_out", campaign.target, left_out=wanted)
    push_campaigns([campaign.pk])
    campaign.refresh_from_db()
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
    for variant in variant_texts_of(campaign):
        try:
            parse(variant.text)
            if problem := problem_in(variant.text):
                missing.append(problem)
        except TextError as error:
            missing.append(f"The text cannot be used. {error}")
        if not variant.text.strip() and content.media_id is None:
            missing.append("The text is empty.")
        if problem := no_caption(variant.text, content.media):
            missing.append(problem)
    if not reachable(audience_of(campaign)).exists():
        missing.append("Nobody is in the audience.")
    if not Device.objects.filter(campaign_links__campaign=campaign).linked().exists():
        missing.append("No linked device is chosen.")
    if campaign.start_at is not None and campaign.start_at <= timezone.now():
        missing.append("The chosen time has passed.")
    return missing
