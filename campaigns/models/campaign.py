"""A campaign: one message to an audience, once."""

from __future__ import annotations

import uuid
from collections.abc import Iterable

from django.conf import settings
from django.db import models
from django.db.models.functions import Now

from accounts.tenancy import TenantForeignKey, TenantModel
from campaigns.engine.lifecycle import CAMPAIGN_MOVES
from campaigns.models.contact import Tag
from campaigns.models.content import Content
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


class Campaign(TenantModel):
    uuid = models.UUIDField(default=uuid.uuid4, unique=True, editable=False)
    name = models.CharField(max_length=120)
    state = models.CharField(max_length=9, choices=CampaignState.choices, default=CampaignState.DRAFT)
    content = TenantForeignKey(Content, on_delete=models.RESTRICT, related_name="+")
    everyone = models.BooleanField(default=False, help_text="The audience is all contacts, whatever their tags.")
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


class CampaignTag(TenantModel):
    """The audience: contacts with any of these tags."""

    campaign = TenantForeignKey(Campaign, on_delete=models.CASCADE, related_name="tag_links", db_index=False)
    tag = TenantForeignKey(Tag, on_delete=models.CASCADE, related_name="campaign_links")

    class Meta:
        constraints = [models.UniqueConstraint(fields=["campaign", "tag"], name="one_tag_per_campaign")]

    def __str__(self) -> str:
        return f"{self.campaign_id} addresses {self.tag_id}"


class CampaignDevice(TenantModel):
    """The devices a campaign may use."""

    campaign = TenantForeignKey(Campaign, on_delete=models.CASCADE, related_name="device_links", db_index=False)
    device = TenantForeignKey(Device, on_delete=models.CASCADE, related_name="campaign_links")

    class Meta:
        constraints = [models.UniqueConstraint(fields=["campaign", "device"], name="one_device_per_campaign")]

    def __str__(self) -> str:
        return f"{self.campaign_id} uses {self.device_id}"
