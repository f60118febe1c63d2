"""What a message says: immutable versions of a Liquid text."""

from __future__ import annotations

from django.conf import settings
from django.db import models
from django.db.models.functions import Now

from accounts.tenancy import TenantModel


class Content(TenantModel):
    """One version. An edit makes another; what is unsent then points to the campaign's newest."""

    text = models.TextField()
    created_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.SET_NULL, related_name="+"
    )
    created_at = models.DateTimeField(db_default=Now())

    class Meta:
        verbose_name_plural = "content"

    def __str__(self) -> str:
        return self.text[:40]
