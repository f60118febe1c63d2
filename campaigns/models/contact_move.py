"""A move of everybody who knows one device to another one: how far it got, so that any process can go on."""

from __future__ import annotations

from django.conf import settings
from django.db import models
from django.db.models.functions import Now

from accounts.tenancy import TenantForeignKey, TenantModel
from devices.models import Device


class ContactMove(TenantModel):
    source = TenantForeignKey(Device, on_delete=models.CASCADE, related_name="+", db_index=False)
    target = TenantForeignKey(Device, on_delete=models.CASCADE, related_name="+", db_index=False)
    expected = models.PositiveIntegerField(help_text="People who knew the device when somebody asked.")
    people = models.PositiveIntegerField(default=0)
    messages = models.PositiveIntegerField(default=0)
    by_campaign = models.JSONField(default=dict, help_text="Campaign's id → how many of its messages moved.")
    last_phone = models.CharField(max_length=16, blank=True, help_text="The last number that was looked at.")
    created_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.SET_NULL, related_name="+"
    )
    created_at = models.DateTimeField(db_default=Now())
    heartbeat_at = models.DateTimeField(db_default=Now())
    finished_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["source"], condition=models.Q(finished_at__isnull=True), name="one_open_move_per_device"
            )
        ]
        indexes = [models.Index(fields=["source", "-id"], name="moves_of_device")]

    def __str__(self) -> str:
        return f"move {self.pk} of the people of {self.source_id}"
