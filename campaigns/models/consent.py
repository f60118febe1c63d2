"""The consent ledger: every agreement and every withdrawal, with source and proof. Rows are only ever added."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.conf import settings
from django.db import models
from django.db.models.functions import Now

from accounts.tenancy import TenantForeignKey, TenantModel
from campaigns.models.contact import Contact

if TYPE_CHECKING:
    from accounts.models import User


class ConsentKind(models.TextChoices):
    GRANTED = "granted", "Agreed"
    WITHDRAWN = "withdrawn", "Withdrew"


class ConsentEntry(TenantModel):
    """The database refuses updates and deletes, but for erasing a person."""

    # Like a contact's: proved by the composite keys, or by a generated column where there is neither.
    workspace = models.ForeignKey(
        "accounts.Workspace", on_delete=models.CASCADE, related_name="+", db_index=False, db_constraint=False
    )
    contact = TenantForeignKey(
        Contact, null=True, blank=True, on_delete=models.SET_NULL, related_name="consents", db_index=False
    )
    phone = models.CharField(max_length=16, help_text="E.164; empty once the person is erased.", blank=True)
    kind = models.CharField(max_length=9, choices=ConsentKind.choices)
    source = models.CharField(max_length=200, help_text="How they said so: a form, an import, their reply, a member.")
    proof = models.CharField(max_length=300, blank=True, default="", db_default="")
    contact_import = TenantForeignKey(
        "campaigns.ContactImport", null=True, blank=True, on_delete=models.SET_NULL, related_name="+", db_index=False
    )
    created_by = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        null=True,
        blank=True,
        on_delete=models.SET_NULL,
        related_name="+",
        help_text="Empty where the import says who brought it, and for whoever did it themselves.",
    )
    at = models.DateTimeField(db_default=Now())

    class Meta:
        verbose_name_plural = "consent entries"
        indexes = [
            models.Index(fields=["contact", "-id"], name="consents_of_contact"),
            models.Index(fields=["workspace", "id"], name="consents_of_workspace"),
            models.Index(
                fields=["workspace", "-id"], condition=models.Q(kind="withdrawn"), name="withdrawals_of_workspace"
            ),
            # Whoever is a contact is found by the contact.
            models.Index(
                fields=["workspace", "phone"], condition=models.Q(contact__isnull=True), name="consents_of_strangers"
            ),
        ]

    @property
    def noted_by(self) -> User | None:
        """Who brought it; None: they did it themselves."""
        return self.contact_import.created_by if self.contact_import else self.created_by

    def __str__(self) -> str:
        return f"{self.kind} {self.at:%Y-%m-%d}"
