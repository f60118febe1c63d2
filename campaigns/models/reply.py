"""A reply: what a person wrote to one of our devices, once, tied to the message that caused it."""

from __future__ import annotations

from django.db import models
from django.db.models.functions import Now

from accounts.tenancy import TenantForeignKey, TenantModel
from campaigns.models.contact import Contact
from campaigns.models.message import Message
from devices.models import Device


class ReplyKind(models.TextChoices):
    TEXT = "text", "Text"
    IMAGE = "image", "Picture"
    VIDEO = "video", "Video"
    AUDIO = "audio", "Voice message"
    DOCUMENT = "document", "Document"
    STICKER = "sticker", "Sticker"
    LOCATION = "location", "Location"
    CONTACT = "contact", "Contact card"
    REACTION = "reaction", "Reaction"
    OTHER = "other", "Something else"


class Reply(TenantModel):
    """``text`` is a picture's caption too; what was sent beside the text is not kept."""

    TEXT_LENGTH = 4096

    device = TenantForeignKey(Device, on_delete=models.CASCADE, related_name="+", db_index=False)
    contact = TenantForeignKey(
        Contact, null=True, blank=True, on_delete=models.SET_NULL, related_name="replies", db_index=False
    )
    message = TenantForeignKey(
        Message,
        null=True,
        blank=True,
        on_delete=models.SET_NULL,
        related_name="replies",
        help_text="What it answers: the one it quotes, else the last one sent to this person from this device.",
    )
    phone = models.CharField(max_length=16, blank=True, help_text="E.164; empty where WhatsApp does not tell it.")
    chat = models.CharField(max_length=64, help_text="WhatsApp's name of the chat.")
    wire_id = models.CharField(max_length=64, help_text="WhatsApp's id of the message.")
    kind = models.CharField(max_length=8, choices=ReplyKind.choices, default=ReplyKind.TEXT)
    text = models.CharField(max_length=TEXT_LENGTH, blank=True)
    at = models.DateTimeField(help_text="When it was written, as WhatsApp says.")
    heard_at = models.DateTimeField(db_default=Now())

    class Meta:
        verbose_name_plural = "replies"
        constraints = [models.UniqueConstraint(fields=["device", "wire_id"], name="one_reply_per_wire_id")]
        indexes = [
            models.Index(fields=["contact", "-id"], name="replies_of_contact"),
            models.Index(fields=["workspace", "-id"], name="replies_of_workspace"),
        ]

    def __str__(self) -> str:
        return f"reply {self.pk} ({self.kind})"
