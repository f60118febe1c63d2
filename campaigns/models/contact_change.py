"""A change of many contacts at once: what is done, to whom, and how far it got, so that any process can go on."""

from __future__ import annotations

import uuid

from django.conf import settings
from django.db import models
from django.db.models.functions import Now

from accounts.tenancy import TenantModel


class Deed(models.TextChoices):
    TAG = "tag", "Add a tag"
    UNTAG = "untag", "Take a tag off"
    FIELD = "field", "Set a field"
    STATUS = "status", "Set the status"
    DEVICE = "device", "Set the number they know"
    DELETE = "delete", "Delete"
    MERGE = "merge", "Merge a tag"


ON_PEOPLE = [choice for choice in Deed.choices if choice[0] != Deed.MERGE]  # what is done to people chosen in a list


class ContactChange(TenantModel):
    uuid = models.UUIDField(default=uuid.uuid4, unique=True, editable=False)
    deed = models.CharField(max_length=6, choices=Deed.choices)
    name = models.CharField(
        max_length=60, blank=True, default="", help_text="Of the tag or the field; of a merge, the tag that stays."
    )
    value = models.CharField(
        max_length=1000,
        blank=True,
        default="",
        help_text="Of the field, status or device; of a merge, the tag that goes.",
    )
    selection = models.JSONField(help_text='{"uuids": […]} or {"query": the filters of the list, as in its address}.')
    up_to = models.PositiveBigIntegerField(
        help_text="Contacts up to this id take part; of a merge, those still to come."
    )
    expected = models.PositiveIntegerField(help_text="People who were meant when somebody asked.")
    people = models.PositiveIntegerField(default=0, help_text="Gone through so far.")
    changed = models.PositiveIntegerField(default=0, help_text="Of them, those who were not so already.")
    error = models.CharField(max_length=200, blank=True, default="")
    last_phone = models.CharField(max_length=16, blank=True, default="", help_text="The last number gone through.")
    created_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.SET_NULL, related_name="+"
    )
    created_at = models.DateTimeField(db_default=Now())
    heartbeat_at = models.DateTimeField(db_default=Now())
    finished_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        indexes = [
            models.Index(fields=["heartbeat_at"], condition=models.Q(finished_at__isnull=True), name="open_changes")
        ]

    def __str__(self) -> str:
        return f"{self.get_deed_display()} ({self.people} people)"

    @property
    def target(self) -> str:
        return f"contacts:{self.uuid}"
