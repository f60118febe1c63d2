"""Who is on WhatsApp: what was found out about each number, and the runs that find it out for many."""

from __future__ import annotations

from datetime import timedelta

from django.conf import settings
from django.db import models
from django.db.models.functions import Now

from accounts.tenancy import TenantForeignKey, TenantModel
from campaigns.models.contact import Tag

GOOD_FOR = timedelta(days=30)  # then nobody knows any more


class NumberCheck(TenantModel):
    """The last answer about one number, whether or not it is a contact now."""

    phone = models.CharField(max_length=16, help_text="E.164.")
    on_whatsapp = models.BooleanField()
    checked_at = models.DateTimeField(db_default=Now())

    class Meta:
        constraints = [models.UniqueConstraint(fields=["workspace", "phone"], name="one_check_per_phone")]

    def __str__(self) -> str:
        return f"{self.phone} is{'' if self.on_whatsapp else ' not'} on WhatsApp"


class CheckRun(TenantModel):
    """Everybody of a workspace, or those with a tag, asked about once, in the order of their numbers.

    Engines take the next numbers from it; whose answer never comes stays unknown.
    """

    tag = TenantForeignKey(Tag, null=True, blank=True, on_delete=models.CASCADE, related_name="+", db_index=False)
    total = models.PositiveIntegerField(help_text="Numbers nobody knew about when it began.")
    last_phone = models.CharField(max_length=16, blank=True, help_text="The last number that was asked about.")
    asked = models.PositiveIntegerField(default=0)
    answered = models.PositiveIntegerField(default=0)
    absent = models.PositiveIntegerField(default=0, help_text="Answered: not on WhatsApp.")
    created_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.SET_NULL, related_name="+"
    )
    created_at = models.DateTimeField(db_default=Now())
    finished_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["workspace"],
                condition=models.Q(finished_at__isnull=True),
                name="one_open_check_run_per_workspace",
            )
        ]
        indexes = [models.Index(fields=["workspace", "-id"], name="check_runs_of_workspace")]

    def __str__(self) -> str:
        return f"check run {self.pk}: {self.answered} of {self.total}"
