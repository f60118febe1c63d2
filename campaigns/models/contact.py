"""A person, their tags, and how they came to agree."""

from __future__ import annotations

from django.conf import settings
from django.contrib.postgres.functions import RandomUUID
from django.db import models
from django.db.models.functions import Now

from accounts.tenancy import TenantForeignKey, TenantModel
from campaigns.querysets.contacts import ContactQuerySet
from devices.models import Device


class ContactStatus(models.TextChoices):
    PROSPECT = "prospect", "Prospect"
    CUSTOMER = "customer", "Customer"


class Contact(TenantModel):
    """One E.164 number per workspace."""

    # The composite key of the import holds the workspace, too; of those who came without one a generated column of the
    # table proves it. A second check for each of a million rows took seconds.
    workspace = models.ForeignKey(
        "accounts.Workspace", on_delete=models.CASCADE, related_name="+", db_index=False, db_constraint=False
    )
    uuid = models.UUIDField(db_default=RandomUUID(), unique=True, editable=False)
    phone = models.CharField(max_length=16, help_text="E.164, like +60123456789.")
    name = models.CharField(max_length=200, blank=True, default="")
    fields = models.JSONField(default=dict, blank=True, help_text="Custom fields: name → text.")
    status = models.CharField(max_length=8, choices=ContactStatus.choices, default=ContactStatus.PROSPECT)
    consent_source = models.CharField(max_length=200, help_text="How this person agreed to be written to.")
    consent_at = models.DateTimeField(db_default=Now())
    consent_import = TenantForeignKey(
        "campaigns.ContactImport", null=True, blank=True, on_delete=models.SET_NULL, related_name="+", db_index=False
    )
    device = TenantForeignKey(
        Device,
        null=True,
        blank=True,
        on_delete=models.SET_NULL,
        related_name="+",
        db_index=False,
        help_text="The number that this person knows: campaigns with sticky devices write from it.",
    )
    timezone = models.CharField(
        max_length=64, blank=True, default="", db_default="", help_text="Empty: not known, the workspace's zone."
    )
    paused_until = models.DateTimeField(null=True, blank=True, help_text="They asked for silence until then.")
    claimed_at = models.DateTimeField(
        null=True, blank=True, help_text="When a message to them last began to leave, where a frequency cap is set."
    )
    last_reply_at = models.DateTimeField(null=True, blank=True)
    opted_out_at = models.DateTimeField(null=True, blank=True)
    opted_out_reason = models.CharField(max_length=200, blank=True, default="")
    created_at = models.DateTimeField(db_default=Now())
    updated_at = models.DateTimeField(db_default=Now())

    objects = ContactQuerySet.as_manager()  # type: ignore[misc]  # the base class has a manager, too

    class Meta:
        constraints = [models.UniqueConstraint(fields=["workspace", "phone"], name="one_contact_per_phone")]
        indexes = [
            models.Index(
                fields=["workspace", "-id"], condition=models.Q(opted_out_at__isnull=False), name="opted_out_contacts"
            ),
            models.Index(
                fields=["workspace", "last_reply_at"],
                condition=models.Q(last_reply_at__isnull=False),
                name="contacts_by_last_reply",
            ),
            models.Index(fields=["consent_import", "id"], name="contacts_of_import"),
            models.Index(fields=["workspace", "timezone"], condition=~models.Q(timezone=""), name="contacts_by_zone"),
        ]

    def __str__(self) -> str:
        return self.name or self.phone


class SuppressionSource(models.TextChoices):
    REPLY = "reply", "Their reply"
    PERSON = "person", "A member of the workspace"
    IMPORT = "import", "An import"
    LINK = "link", "Their opt-out link"


class Suppression(TenantModel):
    """A number this workspace must not write to, whether or not it is a contact now; checked by every claim."""

    uuid = models.UUIDField(db_default=RandomUUID(), unique=True, editable=False)
    phone = models.CharField(max_length=16, help_text="E.164.")
    source = models.CharField(max_length=6, choices=SuppressionSource.choices)
    reason = models.CharField(max_length=200, blank=True, default="", db_default="")
    created_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.SET_NULL, related_name="+"
    )
    created_at = models.DateTimeField(db_default=Now())

    class Meta:
        constraints = [models.UniqueConstraint(fields=["workspace", "phone"], name="one_suppression_per_phone")]
        indexes = [
            models.Index(fields=["workspace", "-id"], name="suppressions_of_workspace"),
            models.Index(fields=["workspace", "source", "-id"], name="suppressions_by_source"),
        ]

    def __str__(self) -> str:
        return self.phone


class GlobalSuppression(models.Model):
    """A number that no workspace of this installation may write to. Staff keep the list; every claim asks it."""

    phone = models.CharField(max_length=16, unique=True, help_text="E.164.")
    reason = models.CharField(max_length=200)
    created_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.SET_NULL, related_name="+"
    )
    created_at = models.DateTimeField(db_default=Now())

    def __str__(self) -> str:
        return self.phone


class Erasure(TenantModel):
    """Somebody who was erased: only a keyed digest of the number is kept, so that no import brings them back."""

    digest = models.CharField(max_length=64, help_text="HMAC-SHA256 of the E.164 number, in hex.")
    created_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.SET_NULL, related_name="+"
    )
    created_at = models.DateTimeField(db_default=Now())

    class Meta:
        constraints = [models.UniqueConstraint(fields=["workspace", "digest"], name="one_erasure_per_number")]

    def __str__(self) -> str:
        return self.digest[:8]


class Tag(TenantModel):
    name = models.CharField(max_length=60)
    created_at = models.DateTimeField(db_default=Now())

    class Meta:
        ordering = ["name"]
        constraints = [models.UniqueConstraint(fields=["workspace", "name"], name="one_tag_per_name")]

    def __str__(self) -> str:
        return self.name


class ContactTag(TenantModel):
    # The contact's composite key holds the workspace, too; a second check for each of a million rows took seconds.
    workspace = models.ForeignKey(
        "accounts.Workspace", on_delete=models.CASCADE, related_name="+", db_index=False, db_constraint=False
    )
    contact = TenantForeignKey(Contact, on_delete=models.CASCADE, related_name="tag_links", db_index=False)
    tag = TenantForeignKey(Tag, on_delete=models.CASCADE, related_name="contact_links", db_index=False)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["contact", "tag"], name="one_link_per_contact_tag")]
        indexes = [models.Index(fields=["tag", "contact"], name="contacts_of_tag")]

    def __str__(self) -> str:
        return f"{self.contact_id} is tagged {self.tag_id}"
