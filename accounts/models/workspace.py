"""The workspace (the tenant) and who may do what in it."""

from __future__ import annotations

import uuid
import zoneinfo
from functools import cache
from typing import Any

from django.conf import settings
from django.core.exceptions import ValidationError
from django.core.validators import MaxValueValidator, MinValueValidator, RegexValidator
from django.db import connection, models, transaction


def validate_timezone(value: str) -> None:
    """PostgreSQL must know it too: a claim reckons with the zones of many workspaces, and one error would stop all."""
    try:
        zoneinfo.ZoneInfo(value)
        with connection.cursor() as cursor:
            cursor.execute("SELECT EXISTS (SELECT FROM pg_timezone_names WHERE name = %s)", [value])
            if not cursor.fetchone()[0]:
                raise ValueError
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):
        raise ValidationError(f"“{value}” is not a time zone. Choose one like Asia/Kuala_Lumpur.") from None


@cache  # beyond the eight that the library keeps each would be read from its file again
def zone_named(name: str) -> zoneinfo.ZoneInfo:
    return zoneinfo.ZoneInfo(name)


class Role(models.TextChoices):
    OWNER = "owner"
    MANAGER = "manager"
    VIEWER = "viewer"

    def covers(self, needed: str) -> bool:
        ranks = [Role.VIEWER, Role.MANAGER, Role.OWNER]
        return ranks.index(self) >= ranks.index(Role(needed))


class Workspace(models.Model):
    uuid = models.UUIDField(default=uuid.uuid4, unique=True, editable=False)
    name = models.CharField(max_length=80)
    owner = models.OneToOneField(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="owned_workspace")
    timezone = models.CharField(max_length=64, default="UTC", validators=[validate_timezone])
    default_country = models.CharField(
        max_length=2,
        default="MY",
        validators=[RegexValidator(r"^[A-Z]{2}$", "Two capital letters, like MY.")],
        help_text="Numbers written without a country code belong to this country.",
    )
    device_limit = models.PositiveSmallIntegerField(default=15)
    weight = models.PositiveSmallIntegerField(
        default=1,
        validators=[MinValueValidator(1), MaxValueValidator(100)],
        help_text="Turns at sending it gets for each turn of a workspace with 1, where many wait.",
    )
    quiet_from = models.TimeField(
        null=True, blank=True, help_text="From here to the end nobody is written to, by each person's own clock."
    )
    quiet_to = models.TimeField(null=True, blank=True)
    frequency_cap = models.PositiveSmallIntegerField(
        null=True,
        blank=True,
        help_text="Messages a person gets at most within the days; replies and tests not counted.",
    )
    frequency_days = models.PositiveSmallIntegerField(default=7, db_default=7, validators=[MinValueValidator(1)])
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=models.Q(quiet_from__isnull=True, quiet_to__isnull=True)
                | (
                    models.Q(quiet_from__isnull=False, quiet_to__isnull=False)
                    & ~models.Q(quiet_from=models.F("quiet_to"))
                ),
                name="quiet_hours_have_both_ends",
            )
        ]

    def __str__(self) -> str:
        return self.name

    def delete(self, using: Any = None, keep_parents: bool = False) -> tuple[int, dict[str, int]]:
        """With everything in it. References between its rows are checked at the end: Django knows no order for them."""
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute("SET CONSTRAINTS ALL DEFERRED")
            return super().delete(using, keep_parents)

    @property
    def zone(self) -> zoneinfo.ZoneInfo:
        return zone_named(self.timezone)


class Membership(models.Model):
    """A person's role in a workspace. The owner has one too, so that every question about roles reads one table."""

    workspace = models.ForeignKey(Workspace, on_delete=models.CASCADE, related_name="memberships")
    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="memberships")
    role = models.CharField(max_length=8, choices=Role.choices)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["workspace", "user"], name="one_membership_per_person")]

    def __str__(self) -> str:
        return f"{self.user} is {self.role} of {self.workspace}"
