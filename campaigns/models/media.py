"""The file that a message may carry. Postgres holds its bytes: the hosts that send it share no disk."""

from __future__ import annotations

import uuid
from typing import Any

from django.conf import settings
from django.db import models
from django.db.models.functions import Now

from accounts.tenancy import TenantManager, TenantModel


class MediaKind(models.TextChoices):
    IMAGE = "image", "Image"
    VIDEO = "video", "Video"
    AUDIO = "audio", "Audio"
    DOCUMENT = "document", "Document"


class MediaManager(TenantManager):
    """Never brings the bytes along, not even for a content's `media`."""

    def get_queryset(self) -> Any:
        return super().get_queryset().defer("data", "thumbnail")


class Media(TenantModel):
    """One file of a workspace; the same file under the same name is one row, however often it is uploaded."""

    uuid = models.UUIDField(default=uuid.uuid4, unique=True, editable=False)
    kind = models.CharField(max_length=8, choices=MediaKind.choices)
    mime = models.CharField(max_length=100)
    name = models.CharField(max_length=100, help_text="As the recipient of a document sees it.")
    size = models.PositiveIntegerField(help_text="Bytes.")
    sha256 = models.CharField(max_length=64, help_text="Of the bytes, in hex.")
    width = models.PositiveIntegerField(null=True, blank=True, help_text="Pixels of an image.")
    height = models.PositiveIntegerField(null=True, blank=True)
    seconds = models.PositiveIntegerField(null=True, blank=True, help_text="Of video and audio, where it is known.")
    data = models.BinaryField()
    thumbnail = models.BinaryField(null=True, blank=True, help_text="A small JPEG of an image, made when first shown.")
    created_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.SET_NULL, related_name="+"
    )
    created_at = models.DateTimeField(db_default=Now())
    chosen_at = models.DateTimeField(
        db_default=Now(), help_text="When it was last uploaded or put into a message; unused a day later it is deleted."
    )
    kept_at = models.DateTimeField(
        null=True, blank=True, help_text="When somebody put it into the library: there it stays, used or not."
    )

    dropped_at = models.DateTimeField(
        null=True, blank=True, help_text="When its bytes were let go. The row says what old messages carried."
    )

    objects = MediaManager()  # type: ignore[misc]  # the base class has a manager, too

    class Meta:
        verbose_name_plural = "media"
        base_manager_name = "objects"
        constraints = [models.UniqueConstraint(fields=["workspace", "sha256", "name"], name="one_row_per_media")]
        indexes = [
            models.Index(fields=["chosen_at"], name="media_by_age"),
            models.Index(fields=["workspace", "-id"], name="media_of_workspace"),
        ]

    def __str__(self) -> str:
        return self.name

    @property
    def is_image(self) -> bool:
        return self.kind == MediaKind.IMAGE

    @property
    def length(self) -> str:
        """Of video and audio, as players show it: ``1:05``; empty where nobody knows."""
        if self.seconds is None:
            return ""
        minutes, seconds = divmod(self.seconds, 60)
        hours, minutes = divmod(minutes, 60)
        return f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02}"
