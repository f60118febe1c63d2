"""Questions asked of devices and hosts, as English."""

from __future__ import annotations

from typing import Self

from django.db import models
from django.db.models.functions import Now

from accounts.tenancy import TenantQuerySet

# What a host keeps connected: every linked device but those WhatsApp or a person ended.
ENDED_STATES = ("new", "pairing", "unlinked")


class HostQuerySet(models.QuerySet):
    def alive(self) -> Self:
        return self.filter(lease_until__gt=Now())

    def taking_devices(self, driver: str) -> Self:
        return self.alive().filter(retiring=False, drivers__contains=[driver])


class DeviceQuerySet(TenantQuerySet):
    def online(self) -> Self:
        return self.filter(state="online")

    def linked(self) -> Self:
        return self.filter(phone__isnull=False).exclude(state__in=ENDED_STATES)

    def with_live_host(self) -> Self:
        """Adds ``host_alive``: whether the state shown is vouched for by a living host."""
        return self.annotate(
            host_alive=models.Case(
                models.When(owner__lease_until__gt=Now(), then=True),
                default=False,
                output_field=models.BooleanField(),
            )
        )
