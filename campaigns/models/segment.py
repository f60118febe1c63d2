"""Segments: a saved query over contacts; and the typed custom fields that queries and texts use."""

from __future__ import annotations

import uuid

from django.conf import settings
from django.db import models
from django.db.models.functions import Now

from accounts.tenancy import TenantModel


class FieldKind(models.TextChoices):
    TEXT = "text", "Text"
    NUMBER = "number", "Number"
    DATE = "date", "Date"
    BOOLEAN = "boolean", "Yes or no"


class CustomField(TenantModel):
    """What `Contact.fields` may hold under this name. A name without a row here is text."""

    name = models.CharField(max_length=60)
    kind = models.CharField(max_length=7, choices=FieldKind.choices, default=FieldKind.TEXT)
    created_at = models.DateTimeField(db_default=Now())

    class Meta:
        ordering = ["name"]
        constraints = [models.UniqueConstraint(fields=["workspace", "name"], name="one_custom_field_per_name")]

    def __str__(self) -> str:
        return self.name


class Segment(TenantModel):
    uuid = models.UUIDField(default=uuid.uuid4, unique=True, editable=False)
    name = models.CharField(max_length=80)
    conditions = models.JSONField(
        default=dict,
        help_text='{"match": "all" or "any", "rules": [{"what": …, "is": …, "value": …}]}; see campaigns/segments.py.',
    )
    created_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.SET_NULL, related_name="+"
    )
    created_at = models.DateTimeField(db_default=Now())
    updated_at = models.DateTimeField(db_default=Now())

    class Meta:
        ordering = ["name"]
        constraints = [models.UniqueConstraint(fields=["workspace", "name"], name="one_segment_per_name")]

    def __str__(self) -> str:
        return self.name
