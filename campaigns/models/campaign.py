"""A campaign: one message to an audience, once."""

from __future__ import annotations

import uuid
from collections.abc import Iterable

from django.conf import settings
from django.db import models
from django.db.models.functions import Now

from accounts.tenancy import TenantForeignKey, TenantModel
from campaigns.engine.lifecycle import CAMPAIGN_MOVES, OPEN
from campaigns.engine.watching import Tally
from campaigns.models.contact import Tag
from campaigns.models.content import Content
from campaigns.models.segment import Segment
from campaigns.querysets.campaigns import CampaignQuerySet
from devices.models import Device


class CampaignState(models.TextChoices):
    DRAFT = "draft", "Draft"
    SCHEDULED = "scheduled", "Scheduled"
    RUNNING = "running", "Running"
    PAUSED = "paused", "Paused"
    COMPLETED = "completed", "Completed"
    CANCELLED = "cancelled", "Cancelled"


class Assignment(models.TextChoices):
    STICKY = "sticky", "The number each person knows"
    ROUND_ROBIN = "round_robin", "All numbers in turn"


class Failover(models.TextChoices):
    WAIT = "wait", "Wait for the number"
    OTHER = "other", "Send from another number"
    ASK = "ask", "Ask me"


class UncertainPolicy(models.TextChoices):
    HOLD = "hold", "Leave it to me"
    RESEND = "resend", "Send again"
    ASSUME_SENT = "assume_sent", "Count as sent"


class Retarget(models.TextChoices):
    NOT_READ = "not_read", "Got it, but have not read it"
    NOT_REPLIED = "not_replied", "Got it, but have not replied"
    REPLIED = "replied", "Replied"
    FAILED = "failed", "It failed"


class Campaign(TenantModel):
    uuid = models.UUIDField(default=uuid.uuid4, unique=True, editable=False)
    name = models.CharField(max_length=120)
    state = models.CharField(max_length=9, choices=CampaignState.choices, default=CampaignState.DRAFT)
    content = TenantForeignKey(Content, on_delete=models.RESTRICT, related_name="+")
    everyone = models.BooleanField(default=False, help_text="The audience is all contacts, whatever their tags.")
    retarget_of = TenantForeignKey(
        "self",
        null=True,
        blank=True,
        on_delete=models.SET_NULL,
        related_name="+",
        help_text="The audience is this campaign's recipients, as `retarget` says; tags and segments narrow it.",
    )
    retarget = models.CharField(max_length=11, choices=Retarget.choices, blank=True, default="", db_default="")
    not_contacted_days = models.PositiveSmallIntegerField(
        null=True, blank=True, help_text="Whoever got a message within so many days is left out when planned."
    )
    hold_out = models.PositiveSmallIntegerField(
        default=0, db_default=0, help_text="Percent of the audience that get nothing, to compare with."
    )
    min_delay = models.FloatField(default=0, help_text="Seconds; the campaign's own least gap on each device.")

    assignment = models.CharField(max_length=11, choices=Assignment.choices, default=Assignment.STICKY)
    device_cap = models.PositiveIntegerField(
        null=True, blank=True, help_text="People a device gets at most from this campaign; empty: no cap."
    )
    failover = models.CharField(max_length=5, choices=Failover.choices, default=Failover.WAIT)
    uncertain_policy = models.CharField(max_length=11, choices=UncertainPolicy.choices, default=UncertainPolicy.HOLD)
    leave_out_absent = models.BooleanField(
        default=False, db_default=False, help_text="Whoever is known not to be on WhatsApp when planned is skipped."
    )
    expire_after_h = models.PositiveIntegerField(
        null=True, blank=True, help_text="Hours after the start; what has not left by then expires. Empty: never."
    )

    local_from = models.TimeField(
        null=True, blank=True, help_text="It leaves only between these hours of each person's own clock."
    )
    local_to = models.TimeField(null=True, blank=True)
    stagger_s = models.PositiveIntegerField(
        default=0, db_default=0, help_text="Seconds: each device begins so much later than the one before it."
    )
    canary = models.PositiveIntegerField(
        null=True, blank=True, help_text="So many people first; the others once somebody has looked and says so."
    )
    canary_passed_at = models.DateTimeField(null=True, blank=True)
    awaiting_word = models.PositiveIntegerField(
        default=0, db_default=0, help_text="So many people wait until somebody has looked at the first few."
    )
    stop_failures = models.PositiveSmallIntegerField(
        null=True, blank=True, help_text="It pauses itself when more than this percent of what was tried failed."
    )
    stop_opt_outs = models.PositiveSmallIntegerField(
        null=True,
        blank=True,
        help_text="It pauses itself when more than this percent of the people written to opted out.",
    )
    paused_why = models.CharField(
        max_length=200,
        blank=True,
        default="",
        db_default="",
        help_text="Why it paused itself; empty when a person did.",
    )
    # What was counted when it was last resumed: whether it goes wrong is judged by what came after.
    resumed_tried = models.PositiveIntegerField(default=0, db_default=0)
    resumed_failed = models.PositiveIntegerField(default=0, db_default=0)
    resumed_sent = models.PositiveIntegerField(default=0, db_default=0)
    resumed_opted_out = models.PositiveIntegerField(default=0, db_default=0)
    archived_at = models.DateTimeField(null=True, blank=True)

    # Who saves a draft says which version was looked at: nobody writes over what somebody else did meanwhile.
    version = models.PositiveIntegerField(default=0, db_default=0, help_text="Counts the edits of a draft.")
    edited_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.SET_NULL, related_name="+"
    )
    edited_at = models.DateTimeField(null=True, blank=True)
    others_version = models.PositiveIntegerField(
        default=0, db_default=0, help_text="The last version that was not yet the work of `edited_by`."
    )
    steps_done = models.PositiveSmallIntegerField(
        default=0, db_default=0, help_text="How far somebody has come in writing it: steps of `campaigns/steps.py`."
    )

    start_at = models.DateTimeField(null=True, blank=True, help_text="Empty: when somebody presses start.")
    launched_at = models.DateTimeField(null=True, blank=True)
    finished_at = models.DateTimeField(null=True, blank=True)
    planned_at = models.DateTimeField(null=True, blank=True, help_text="Every recipient has a message row.")
    plan_cursor = models.PositiveBigIntegerField(default=0, help_text="The last contact id that was looked at.")
    plan_last = models.PositiveBigIntegerField(null=True, blank=True, help_text="Contacts up to here take part.")
    recipients = models.PositiveBigIntegerField(default=0)

    created_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.SET_NULL, related_name="+"
    )
    created_at = models.DateTimeField(db_default=Now())

    objects = CampaignQuerySet.as_manager()  # type: ignore[misc]  # the base class has a manager, too

    class Meta:
        indexes = [
            models.Index(fields=["workspace", "-id"], name="campaigns_of_workspace"),
            models.Index(fields=["state", "start_at"], name="campaigns_by_state"),
        ]

    def __str__(self) -> str:
        return self.name

    def move_to(self, state: str, origins: Iterable[str] | None = None, **changes: object) -> bool:
        """A guarded move: false when somebody else moved the campaign first, or no such move exists.

        ``origins`` narrows the states it may come from.
        """
        known = [origin for origin, targets in CAMPAIGN_MOVES.items() if state in targets]
        origins = known if origins is None else [origin for origin in origins if origin in known]
        moved = Campaign.objects.filter(pk=self.pk, state__in=origins).update(state=state, **changes)
        if moved:
            self.refresh_from_db()
        return bool(moved)

    @property
    def target(self) -> str:
        """How the audit ledger names this campaign."""
        return f"campaign:{self.uuid}"

    @property
    def awaits_word(self) -> bool:
        """The first few were planned, and the others wait until somebody has looked."""
        return self.awaiting_word > 0 and self.canary_passed_at is None and self.state in OPEN

    @property
    def resumed_at_tally(self) -> Tally:
        """What had been counted when it was last resumed."""
        return Tally(self.resumed_tried, self.resumed_failed, self.resumed_sent, self.resumed_opted_out)


class CampaignTag(TenantModel):
    """The audience: contacts with any of these tags or in any of the segments, and with none of the excluded ones."""

    campaign = TenantForeignKey(Campaign, on_delete=models.CASCADE, related_name="tag_links", db_index=False)
    tag = TenantForeignKey(Tag, on_delete=models.CASCADE, related_name="campaign_links")
    excluded = models.BooleanField(default=False, db_default=False)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["campaign", "tag"], name="one_tag_per_campaign")]

    def __str__(self) -> str:
        return f"{self.campaign_id} addresses {self.tag_id}"


class CampaignSegment(TenantModel):
    campaign = TenantForeignKey(Campaign, on_delete=models.CASCADE, related_name="segment_links", db_index=False)
    segment = TenantForeignKey(Segment, on_delete=models.RESTRICT, related_name="campaign_links")
    excluded = models.BooleanField(default=False, db_default=False)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["campaign", "segment"], name="one_segment_per_campaign")]

    def __str__(self) -> str:
        return f"{self.campaign_id} addresses segment {self.segment_id}"


class Variant(TenantModel):
    """One text of an A/B test. Its messages have streams of their own, so its figures are kept like all others.

    A campaign without variants sends its own content. `Stream.variant` is ``number``, 0 where there are none; in a
    campaign with variants a stream of variant 0 holds those who were to get none of them.
    """

    campaign = TenantForeignKey(Campaign, on_delete=models.CASCADE, related_name="variants", db_index=False)
    number = models.PositiveSmallIntegerField(help_text="1 is shown as A.")
    content = TenantForeignKey(Content, on_delete=models.RESTRICT, related_name="+")
    share = models.PositiveSmallIntegerField(help_text="Percent of the people who are not held out; all add up to 100.")

    class Meta:
        constraints = [models.UniqueConstraint(fields=["campaign", "number"], name="one_variant_per_number")]

    def __str__(self) -> str:
        return self.letter

    @property
    def letter(self) -> str:
        return chr(ord("A") + self.number - 1)


class CampaignDevice(TenantModel):
    """The devices a campaign may use."""

    campaign = TenantForeignKey(Campaign, on_delete=models.CASCADE, related_name="device_links", db_index=False)
    device = TenantForeignKey(Device, on_delete=models.CASCADE, related_name="campaign_links")

    class Meta:
        constraints = [models.UniqueConstraint(fields=["campaign", "device"], name="one_device_per_campaign")]

    def __str__(self) -> str:
        return f"{self.campaign_id} uses {self.device_id}"
