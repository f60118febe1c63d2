"""A wall link: one view, without names, numbers or text, for a screen on which nobody is signed in."""

from __future__ import annotations

import uuid

from django.conf import settings
from django.db import models
from django.db.models.functions import Now

from accounts.tenancy import TenantForeignKey, TenantModel, TenantQuerySet
from campaigns.models import Campaign
from devices.models import Device


class WallKind(models.TextChoices):
    WORKERS = "workers", "Worker Status"
    DEVICE = "device", "One device"
    CAMPAIGN = "campaign", "One campaign"


class WallLinkQuerySet(TenantQuerySet):
    def open(self) -> WallLinkQuerySet:
        return self.filter(revoked_at__isnull=True, expires_at__gt=Now())

    def ended(self) -> WallLinkQuerySet:
        return self.filter(models.Q(revoked_at__isnull=False) | models.Q(expires_at__lte=Now()))


class WallLink(TenantModel):
    """The address is signed and made of `uuid` (`monitoring.wall`); whoever has it may look until it ends."""

    uuid = models.UUIDField(default=uuid.uuid4, unique=True, editable=False)
    name = models.CharField(max_length=80, help_text="Where it hangs; the screen never shows it.")
    kind = models.CharField(max_length=8, choices=WallKind.choices)
    device = TenantForeignKey(Device, null=True, blank=True, on_delete=models.CASCADE, related_name="+", db_index=False)
    campaign = TenantForeignKey(
        Campaign, null=True, blank=True, on_delete=models.CASCADE, related_name="+", db_index=False
    )
    created_at = models.DateTimeField(db_default=Now())
    created_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.SET_NULL, related_name="+", db_index=False
    )
    expires_at = models.DateTimeField()
    revoked_at = models.DateTimeField(null=True, blank=True)

    objects = WallLinkQuerySet.as_manager()  # type: ignore[misc]  # the base class has a manager, too

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=models.Q(kind="workers")
                | models.Q(kind="device", device__isnull=False)
                | models.Q(kind="campaign", campaign__isnull=False),
                name="a_wall_link_shows_something",
            )
        ]
        indexes = [models.Index(fields=["workspace", "-id"], name="wall_links")]

    def __str__(self) -> str:
        return self.name

    @property
    def target(self) -> str:
        """How the audit ledger names it."""
        return f"wall:{self.uuid}"
