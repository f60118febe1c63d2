"""The audit ledger: who did what, when. Rows are only ever added."""

from __future__ import annotations

from django.conf import settings
from django.db import models

from accounts.tenancy import TenantQuerySet


class AuditEntry(models.Model):
    """One deed. ``workspace`` is empty for what concerns the installation (a failed login, staff work)."""

    workspace = models.ForeignKey(
        "accounts.Workspace",
        null=True,
        blank=True,
        on_delete=models.CASCADE,
        related_name="+",
        db_index=False,
    )
    at = models.DateTimeField(auto_now_add=True)
    actor = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.SET_NULL, related_name="+"
    )
    action = models.CharField(max_length=64)
    target = models.CharField(max_length=80, blank=True)
    detail = models.JSONField(default=dict, blank=True)

    objects = TenantQuerySet.as_manager()

    class Meta:
        verbose_name_plural = "audit entries"
        indexes = [
            models.Index(fields=["workspace", "target", "-at"], name="audit_by_target"),
            models.Index(fields=["workspace", "-at"], name="audit_by_time"),
        ]

    def __str__(self) -> str:
        return f"{self.action} {self.target}"
