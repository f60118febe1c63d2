"""Devices (WhatsApp numbers), the hosts that own them, and what happened to each."""

from __future__ import annotations

import uuid

from django.core.exceptions import ValidationError
from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models
from django.db.models.functions import Now

from accounts.tenancy import TenantForeignKey, TenantModel
from devices.querysets import DeviceQuerySet, HostQuerySet


class Host(models.Model):
    """One engine process, known by the id in its ``SESSIONS_DIR``; it owns devices while its lease lasts."""

    id = models.CharField(max_length=40, primary_key=True)
    incarnation = models.PositiveBigIntegerField(default=0)
    lease_until = models.DateTimeField()
    heartbeat_at = models.DateTimeField()
    started_at = models.DateTimeField()
    drivers = models.JSONField(default=list, help_text="The drivers whose gateways this host can start.")
    hostname = models.CharField(max_length=120, blank=True)
    pid = models.PositiveIntegerField(default=0)
    meters = models.JSONField(default=dict, help_text="What it said of itself at its last heartbeat.")
    retiring = models.BooleanField(default=False, help_text="Takes no further devices; its claim ends with the lease.")

    objects = HostQuerySet.as_manager()

    def __str__(self) -> str:
        return self.id


class Driver(models.TextChoices):
    SIMULATOR = "simulator", "Simulator"
    WHATSAPP = "whatsapp", "WhatsApp"


class DeviceState(models.TextChoices):
    NEW = "new", "Not linked yet"
    PAIRING = "pairing", "Pairing"
    CONNECTING = "connecting", "Connecting"
    ONLINE = "online", "Online"
    OFFLINE = "offline", "Offline"
    UNLINKED = "unlinked", "Unlinked"
    REPLACED = "replaced", "Opened elsewhere"
    BANNED = "banned", "Banned"
    OUTDATED = "outdated", "Library outdated"


class Request(models.TextChoices):
    """What a person asked of the device; the owning host fulfils it and clears it."""

    NOTHING = "", "Nothing"
    PAIR = "pair", "Pair"
    CANCEL_PAIR = "cancel", "Cancel pairing"
    RECONNECT = "reconnect", "Reconnect"
    UNLINK = "unlink", "Unlink"


class Device(TenantModel):
    """One WhatsApp number. The lower half of the columns is written by the owning host's statements only."""

    uuid = models.UUIDField(default=uuid.uuid4, unique=True, editable=False)
    name = models.CharField(max_length=80)
    driver = models.CharField(max_length=10, choices=Driver.choices, default=Driver.SIMULATOR)
    phone = models.CharField(max_length=16, null=True, blank=True, unique=True, help_text="E.164, known once linked.")
    created_at = models.DateTimeField(auto_now_add=True)

    min_delay = models.FloatField(
        "shortest gap",
        default=10,
        validators=[MinValueValidator(0), MaxValueValidator(86400)],
        help_text="Seconds between two messages, at least.",
    )
    max_delay = models.FloatField(
        "longest gap",
        default=30,
        validators=[MinValueValidator(0), MaxValueValidator(86400)],
        help_text="Seconds between two messages; each gap is drawn between the two.",
    )
    hourly_cap = models.PositiveIntegerField(null=True, blank=True, help_text="Messages an hour; empty: no cap.")
    daily_cap = models.PositiveIntegerField(null=True, blank=True, help_text="Messages a day; empty: no cap.")

    sending_from = models.TimeField(null=True, blank=True, help_text="In the workspace's time zone; empty: always.")
    sending_to = models.TimeField(null=True, blank=True, help_text="May lie past midnight.")
    warm_cap = models.PositiveIntegerField(
        null=True, blank=True, help_text="Today's cap while the number warms up; empty: it does not."
    )
    warm_day = models.DateField(null=True, blank=True, help_text="The day of the workspace that the cap was set for.")
    warm_replies = models.PositiveIntegerField(default=0, help_text="Replies since then.")

    request = models.CharField(max_length=10, choices=Request.choices, default=Request.NOTHING, blank=True)
    requested_at = models.DateTimeField(null=True, blank=True)
    pair_phone = models.CharField(
        max_length=16, null=True, blank=True, help_text="E.164: the only number that may be linked; empty: any."
    )
    pair_by_code = models.BooleanField(
        default=False, help_text="Linked by a code that is typed on the phone, and not by scanning one."
    )

    owner = models.ForeignKey(
        Host, null=True, blank=True, on_delete=models.SET_NULL, related_name="devices", db_constraint=False
    )
    epoch = models.PositiveBigIntegerField(default=0, help_text="Raised at every assignment, never reused.")
    state = models.CharField(max_length=10, choices=DeviceState.choices, default=DeviceState.NEW)
    state_reason = models.CharField(max_length=200, blank=True)
    state_at = models.DateTimeField(db_default=Now())
    banned_until = models.DateTimeField(null=True, blank=True)

    held_until = models.DateTimeField(
        null=True, blank=True, help_text="Nothing leaves before: WhatsApp refused the number. Stays when it is over."
    )
    held_reason = models.CharField(max_length=200, blank=True, default="", db_default="")
    holds = models.PositiveSmallIntegerField(
        default=0, db_default=0, help_text="In a row, without a day between one's end and the next."
    )

    next_send_at = models.DateTimeField(db_default=Now())
    hour_start = models.DateTimeField(null=True, blank=True)
    hour_used = models.PositiveIntegerField(default=0)
    day_start = models.DateTimeField(null=True, blank=True)
    day_used = models.PositiveIntegerField(default=0)

    open_message = models.PositiveBigIntegerField(null=True, blank=True)
    open_tag = models.BinaryField(null=True, blank=True)
    open_at = models.DateTimeField(null=True, blank=True)
    last_sent_at = models.DateTimeField(null=True, blank=True)

    objects = DeviceQuerySet.as_manager()  # type: ignore[misc]  # the base class has a manager, too
    host_alive: bool  # these two by `with_shown_state()`
    shown_state: str

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["workspace", "name"],
                name="one_device_per_name",
                violation_error_message="Another device has this name.",
            ),
            models.CheckConstraint(
                condition=models.Q(min_delay__gte=0, max_delay__gte=models.F("min_delay")),
                name="delays_in_order",
                violation_error_message="The longest gap is at least the shortest gap.",
            ),
            models.CheckConstraint(
                condition=models.Q(sending_from__isnull=True, sending_to__isnull=True)
                | (
                    models.Q(sending_from__isnull=False, sending_to__isnull=False)
                    & ~models.Q(sending_from=models.F("sending_to"))
                ),
                name="sending_hours_have_both_ends",
                violation_error_message="Sending hours need a beginning and an end that differ.",
            ),
        ]
        indexes = [
            models.Index(fields=["owner"], name="devices_by_owner"),
            models.Index(fields=["owner"], name="devices_with_request", condition=~models.Q(request="")),
        ]

    def __str__(self) -> str:
        return self.name

    def clean(self) -> None:
        if self.max_delay is not None and self.min_delay is not None and self.max_delay < self.min_delay:
            raise ValidationError({"max_delay": "The longest gap is at least the shortest gap."})

    @property
    def is_linked(self) -> bool:
        return self.phone is not None

    @property
    def is_online(self) -> bool:
        return self.state == DeviceState.ONLINE


class DeviceEvent(TenantModel):
    """What happened to a device, in order: paired, online, offline, renamed … with the reason."""

    device = TenantForeignKey(Device, on_delete=models.CASCADE, related_name="events")
    at = models.DateTimeField(db_default=Now())
    kind = models.CharField(max_length=24)
    detail = models.CharField(max_length=200, blank=True)

    class Meta:
        indexes = [models.Index(fields=["device", "-id"], name="events_of_device")]

    def __str__(self) -> str:
        return f"{self.kind} {self.detail}"


class SessionVault(TenantModel):
    """A device's session, sealed with the engine's keys, for the host that comes after one that died with its disk.

    Pages never see it: the tenant role has no right on this table.
    """

    device = TenantForeignKey(Device, on_delete=models.DO_NOTHING, related_name="vault", db_index=False)
    host = models.CharField(max_length=40, blank=True, help_text="Whose disk has the session file as it is now.")
    sealed = models.BinaryField(null=True, help_text="The session file, packed and encrypted.")
    sealed_at = models.DateTimeField(null=True, blank=True)
    is_clean = models.BooleanField(
        default=False, help_text="Handed over: nobody has opened the session since this copy was taken."
    )

    class Meta:
        constraints = [models.UniqueConstraint(fields=["device"], name="one_vault_per_device")]

    def __str__(self) -> str:
        return f"session of device {self.device_id}"
