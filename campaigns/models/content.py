"""What a message says: immutable versions of a Liquid text, and of the file that goes with it."""

from __future__ import annotations

import uuid

from django.conf import settings
from django.db import models
from django.db.models.functions import Now

from accounts.tenancy import TenantForeignKey, TenantModel
from campaigns.models.media import Media


class Content(TenantModel):
    """One version. An edit makes another; what is unsent then points to the campaign's newest."""

    text = models.TextField(blank=True, help_text="Beside a file: its caption, which may be empty.")
    media = TenantForeignKey(Media, null=True, blank=True, on_delete=models.RESTRICT, related_name="contents")
    created_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.SET_NULL, related_name="+"
    )
    created_at = models.DateTimeField(db_default=Now())

    class Meta:
        verbose_name_plural = "content"

    def __str__(self) -> str:
        return self.text[:40]


class Template(TenantModel):
    """A message kept for later campaigns; an edit points it to a new `Content`."""

    uuid = models.UUIDField(default=uuid.uuid4, unique=True, editable=False)
    name = models.CharField(max_length=80)
    content = TenantForeignKey(Content, on_delete=models.RESTRICT, related_name="+")
    created_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.SET_NULL, related_name="+"
    )
    created_at = models.DateTimeField(db_default=Now())
    updated_at = models.DateTimeField(db_default=Now())
    archived_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ["name"]
        constraints = [models.UniqueConstraint(fields=["workspace", "name"], name="one_template_per_name")]

    def __str__(self) -> str:
        return self.name
