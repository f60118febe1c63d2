"""Questions asked of devices and hosts, as English."""

from __future__ import annotations

from typing import Self

from django.db import models
from django.db.models.functions import Now

from accounts.tenancy import TenantQuerySet

# What a host keeps connected: every linked device but those WhatsApp or a person ended.
ENDED_STATES = ("new", "pairing", "unlinked")
# True only while a host keeps them true; the other states stay what they are without one.
HOSTED_STATES = ("pairing", "connecting", "online", "offline")


class HostQuerySet(models.QuerySet):
    def alive(self) -> Self:
        return self.filter(lease_until__gt=Now())

    def with_alive(self) -> Self:
        """Adds ``lives``."""
        return self.annotate(lives=models.Q(lease_until__gt=Now()))

    def taking_devices(self, driver: str) -> Self:
        return self.alive().filter(retiring=False, drivers__contains=[driver])

    def by_load(self) -> Self:
        """Fewest devices first. Inside a `tenant_scope` only the workspace's own devices would count."""
        return self.annotate(load=models.Count("devices")).order_by("load", "id")


class DeviceQuerySet(TenantQuerySet):
    def online(self) -> Self:
        return self.filter(state="online")

    def linked(self) -> Self:
        return self.filter(phone__isnull=False).exclude(state__in=ENDED_STATES)

    def searched(self, words: str) -> Self:
        return self.filter(models.Q(name__icontains=words) | models.Q(phone__contains=words.lstrip("+")))

    def with_live_host(self) -> Self:
        """Adds ``host_alive``: whether the state shown is vouched for by a living host."""
        return self.annotate(
            host_alive=models.Case(
                models.When(owner__lease_until__gt=Now(), then=True),
                default=False,
                output_field=models.BooleanField(),
            )
        )

    def with_shown_state(self) -> Self:
        """Adds ``host_alive`` and ``shown_state``.

        That is the state, or "no_engine" where a state needs a host and none vouches for it, or "held" where WhatsApp
        refused the number of a device that is online.
        """
        return self.with_live_host().annotate(
            shown_state=models.Case(
                models.When(host_alive=False, state__in=HOSTED_STATES, then=models.Value("no_engine")),
                models.When(state="online", held_until__gt=Now(), then=models.Value("held")),
                default=models.F("state"),
                output_field=models.CharField(),
            )
        )

    def shown_as(self, state: str) -> Self:
        """Those whose `with_shown_state` is ``state``."""
        return self.filter(shown_state=state)
