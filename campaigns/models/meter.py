"""Meters: what each device sent and heard by minute, hour and day, and how long its messages took."""

from __future__ import annotations

from django.contrib.postgres.fields import ArrayField
from django.contrib.postgres.indexes import BrinIndex
from django.db import models

from accounts.tenancy import TenantForeignKey, TenantModel
from devices.models import Device

# Upper bounds of the first classes of processing times, in milliseconds; the last class is open.
TIME_BOUNDS_MS = (50, 100, 200, 500, 1_000, 2_000, 5_000, 10_000, 30_000, 60_000, 300_000)


def no_times() -> list[int]:
    return [0] * (len(TIME_BOUNDS_MS) + 1)


def nothing_ahead() -> list[int]:
    return [0, 0, 0, 0]


class Meter(TenantModel):
    """What one device did in the time that begins at ``start``; how long that is says the model.

    Counts what engines settled: a device that was removed takes its meters along. A processing time is that from when
    a message might have left (`Message.ready_at`) to WhatsApp's acknowledgement.
    """

    device = TenantForeignKey(Device, on_delete=models.DO_NOTHING, related_name="+", db_index=False)
    start = models.DateTimeField()
    sent = models.PositiveIntegerField(default=0, help_text="Acknowledged by WhatsApp.")
    failed = models.PositiveIntegerField(default=0, help_text="Given up: dead.")
    delivered = models.PositiveIntegerField(default=0)
    replied = models.PositiveIntegerField(default=0, help_text="Messages that were replied to.")
    time_ms = models.PositiveBigIntegerField(default=0, help_text="All processing times together.")
    times = ArrayField(
        models.PositiveIntegerField(), default=no_times, help_text="Messages by class of `TIME_BOUNDS_MS`."
    )

    class Meta:
        abstract = True

    def __str__(self) -> str:
        return f"device {self.device_id} from {self.start:%Y-%m-%d %H:%M}"


class MinuteMeter(Meter):
    """A minute; kept for hours only."""

    class Meta:
        constraints = [models.UniqueConstraint(fields=["workspace", "start", "device"], name="one_minute_per_device")]
        indexes = [BrinIndex(fields=["start"], name="minutes_by_start", pages_per_range=16)]


class HourMeter(Meter):
    """An hour of the workspace's zone."""

    class Meta:
        constraints = [models.UniqueConstraint(fields=["workspace", "start", "device"], name="one_hour_per_device")]
        indexes = [BrinIndex(fields=["start"], name="hours_by_start", pages_per_range=16)]


class DayMeter(Meter):
    """A day of the workspace's zone."""

    class Meta:
        constraints = [models.UniqueConstraint(fields=["workspace", "start", "device"], name="one_day_per_device")]
        indexes = [BrinIndex(fields=["start"], name="days_by_start", pages_per_range=16)]


class MeterTotal(TenantModel):
    """All that one device's meters ever counted, which is kept when they are pruned.

    The streams' counters say the same in another way. What they have beyond the meters when a new engine takes the
    device is what the former one could not publish before it died, but for ``ahead``: that much they had before.
    """

    device = TenantForeignKey(Device, on_delete=models.DO_NOTHING, related_name="+", db_index=False)
    sent = models.PositiveBigIntegerField(default=0, db_default=0)
    failed = models.PositiveBigIntegerField(default=0, db_default=0)
    delivered = models.PositiveBigIntegerField(default=0, db_default=0)
    replied = models.PositiveBigIntegerField(default=0, db_default=0)
    ahead = ArrayField(models.BigIntegerField(), default=nothing_ahead, help_text="Of each of the four, in this order.")

    class Meta:
        constraints = [models.UniqueConstraint(fields=["workspace", "device"], name="one_total_per_device")]

    def __str__(self) -> str:
        return f"all of device {self.device_id}"
