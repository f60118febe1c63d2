"""What a message says: immutable versions of a Liquid text, and of the file that goes with it."""

from __future__ import annotations

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
