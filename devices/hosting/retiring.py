"""Retiring a host before its machine goes: it gives all its devices away, and takes none."""

from __future__ import annotations

from datetime import timedelta

from django.conf import settings
from django.db.models import Q
from django.db.models.functions import Now

from devices.models import Device, Host
from devices.querysets import ENDED_STATES


def retire(host_id: str, *, retiring: bool = True) -> bool:
    """Ask a running host to give its devices away, or to stay after all; false when no such host runs."""
    # One that has stopped keeps its lease for a while, and its heart beats no more.
    beaten = Now() - timedelta(seconds=settings.LEASE_TIMES["ttl"])
    running = Host.objects.alive().filter(pk=host_id, heartbeat_at__gt=beaten)
    return running.update(retiring=retiring) > 0


def left_with(host_id: str) -> int:
    """How many devices a retiring host still has to give away."""
    linked = Q(phone__isnull=False) & ~Q(state__in=ENDED_STATES)
    return Device.objects.filter(linked | ~Q(request="") | Q(open_message__isnull=False), owner_id=host_id).count()


def without_a_host(host_id: str) -> list[str]:
    """The drivers of the host's devices that no other running host can start: they would wait for one."""
    drivers = Device.objects.filter(owner_id=host_id, phone__isnull=False).values_list("driver", flat=True).distinct()
    return [driver for driver in drivers if not Host.objects.taking_devices(driver).exclude(pk=host_id).exists()]
