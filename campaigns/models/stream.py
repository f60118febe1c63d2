"""A stream: what one campaign, or one variant of it, still has to send through one device, and all the counters."""

from __future__ import annotations

from django.db import models

from accounts.tenancy import TenantForeignKey, TenantModel
from campaigns.models.campaign import Campaign
from campaigns.querysets.campaigns import StreamQuerySet
from devices.models import Device

NO_VARIANT = 0
NOBODYS = 32_767  # stands in for the number of a variant


class Lane(models.IntegerChoices):
    """Priority at the device: test sends and replies, then campaigns, then sequences."""

    DIRECT = 0, "direct"
    CAMPAIGN = 1, "campaign"
    SEQUENCE = 2, "sequence"


class Stream(TenantModel):
    """Stands between a device and its messages, so that a claim never filters messages by campaign.

    Those who were to get nothing when the campaign was planned have a stream of their own, `NOBODYS`, which is no
    device's in any figure though it names one.

    No claimable message of the stream comes before (``next_due``, ``next_id``) in (due_at, id) order; null means that
    there is none. Whoever makes a message claimable lowers the pair in the same transaction.
    """

    campaign = TenantForeignKey(
        Campaign, null=True, blank=True, on_delete=models.CASCADE, related_name="streams", db_index=False
    )
    device = TenantForeignKey(Device, on_delete=models.CASCADE, related_name="streams", db_index=False)
    lane = models.PositiveSmallIntegerField(choices=Lane.choices)
    variant = models.PositiveSmallIntegerField(
        default=NO_VARIANT,
        db_default=NO_VARIANT,
        help_text="Number of the campaign's variant; 0: the campaign's own content; 32767: of those who get none.",
    )
    running = models.BooleanField(default=False)
    min_delay = models.FloatField(default=0)
    expires_at = models.DateTimeField(null=True, blank=True, help_text="Nothing of it leaves from then on.")
    held_until = models.DateTimeField(
        null=True, blank=True, help_text="Until then it is outside the hours for writing to any of its people."
    )
    spread = models.BooleanField(
        default=False, db_default=False, help_text="Its first send has its place within the device's longest gap."
    )
    next_due = models.DateTimeField(null=True, blank=True)
    next_id = models.PositiveBigIntegerField(default=0)

    pending = models.PositiveIntegerField(default=0)
    sending = models.PositiveIntegerField(default=0)
    waiting = models.PositiveIntegerField(default=0)
    assumed = models.PositiveIntegerField(default=0, db_default=0)
    sent = models.PositiveIntegerField(default=0)
    delivered = models.PositiveIntegerField(default=0)
    read = models.PositiveIntegerField(default=0)
    dead = models.PositiveIntegerField(default=0)
    uncertain = models.PositiveIntegerField(default=0)
    skipped = models.PositiveIntegerField(default=0)
    expired = models.PositiveIntegerField(default=0)
    cancelled = models.PositiveIntegerField(default=0)
    replied = models.PositiveIntegerField(default=0, help_text="People who replied; not a state.")

    objects = StreamQuerySet.as_manager()  # type: ignore[misc]  # the base class has a manager, too

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["campaign", "device", "variant"], name="one_stream_per_campaign_device"),
            models.UniqueConstraint(
                fields=["device"],
                condition=models.Q(campaign__isnull=True),
                name="one_direct_stream_per_device",
            ),
        ]
        indexes = [
            # Its predicate names only what seldom changes, so that counting stays a heap-only update.
            models.Index(fields=["device", "lane"], name="running_streams", condition=models.Q(running=True)),
        ]

    @property
    def is_nobodys(self) -> bool:
        """Whether it holds those who were to get nothing, at no device and with no variant."""
        return self.variant == NOBODYS

    def __str__(self) -> str:
        return f"stream {self.pk}"
