"""The message: one text to one person, the ledger row that everything else counts; and its attempts."""

from __future__ import annotations

from django.contrib.postgres.indexes import BrinIndex
from django.db import models
from django.db.models.functions import Now

from accounts.tenancy import TenantForeignKey, TenantModel
from campaigns.engine import lifecycle
from campaigns.models.campaign import Campaign
from campaigns.models.contact import Contact
from campaigns.models.content import Content
from campaigns.models.stream import Stream


class MessageState(models.TextChoices):
    PENDING = lifecycle.PENDING, lifecycle.PENDING
    SENDING = lifecycle.SENDING, lifecycle.SENDING
    WAITING = lifecycle.WAITING, lifecycle.WAITING
    ASSUMED = lifecycle.ASSUMED, lifecycle.ASSUMED
    SENT = lifecycle.SENT, lifecycle.SENT
    DELIVERED = lifecycle.DELIVERED, lifecycle.DELIVERED
    READ = lifecycle.READ, lifecycle.READ
    DEAD = lifecycle.DEAD, lifecycle.DEAD
    UNCERTAIN = lifecycle.UNCERTAIN, lifecycle.UNCERTAIN
    SKIPPED = lifecycle.SKIPPED, lifecycle.SKIPPED
    EXPIRED = lifecycle.EXPIRED, lifecycle.EXPIRED
    CANCELLED = lifecycle.CANCELLED, lifecycle.CANCELLED


class Message(TenantModel):
    """``due_at`` orders a stream's messages; the attempt columns hold the latest try (earlier ones: `Attempt`).

    The indexes name neither state nor attempt, so that every step of a send is a heap-only update.
    """

    # The stream's composite key holds the workspace, too; a second check for each of a million rows took seconds.
    workspace = models.ForeignKey(
        "accounts.Workspace", on_delete=models.CASCADE, related_name="+", db_index=False, db_constraint=False
    )
    stream = TenantForeignKey(Stream, on_delete=models.CASCADE, related_name="messages", db_index=False)
    campaign = TenantForeignKey(
        Campaign, null=True, blank=True, on_delete=models.CASCADE, related_name="messages", db_index=False
    )
    contact = TenantForeignKey(Contact, null=True, blank=True, on_delete=models.SET_NULL, related_name="messages")
    content = TenantForeignKey(Content, on_delete=models.RESTRICT, related_name="+", db_index=False)
    phone = models.CharField(max_length=16)
    state = models.CharField(max_length=9, choices=MessageState.choices, default=lifecycle.PENDING)
    reason = models.CharField(max_length=200, blank=True, default="", db_default="")
    due_at = models.DateTimeField()

    attempts = models.PositiveIntegerField(
        default=0, db_default=0, help_text="Attempts begun, whatever became of them."
    )
    tries = models.PositiveSmallIntegerField(default=0, db_default=0, help_text="Tries that failed and count.")
    deaths = models.PositiveSmallIntegerField(default=0, db_default=0, help_text="Gateways that died with it.")
    refusals = models.PositiveSmallIntegerField(
        default=0, db_default=0, help_text="Holds of a device that WhatsApp's answer to it began."
    )
    dead_at = models.DateTimeField(null=True, blank=True, help_text="When it was given up, the last time.")
    may_duplicate = models.BooleanField(
        default=False, db_default=False, help_text="Sent again although nobody knew whether it had arrived."
    )
    confirms_stop = models.BooleanField(
        default=False, db_default=False, help_text="The one answer to STOP: passes the suppression it confirms."
    )
    tag = models.BinaryField(null=True, blank=True, help_text="32 random bytes, drawn for each attempt.")
    epoch = models.PositiveBigIntegerField(null=True, blank=True)
    attempted_at = models.DateTimeField(null=True, blank=True)
    ready_at = models.DateTimeField(
        null=True,
        blank=True,
        help_text="When it might have left at the earliest: due, and its device's pace allowed it.",
    )

    text = models.TextField(null=True, blank=True, help_text="What was sent, word for word.")
    wire_id = models.CharField(max_length=64, null=True, blank=True, help_text="WhatsApp's id of the message.")
    chat = models.CharField(max_length=64, null=True, blank=True, help_text="WhatsApp's name of the chat.")
    sent_at = models.DateTimeField(null=True, blank=True)
    delivered_at = models.DateTimeField(null=True, blank=True)
    read_at = models.DateTimeField(null=True, blank=True)
    replied_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["campaign", "contact"], name="one_message_per_campaign_contact")]
        indexes = [
            models.Index(fields=["stream", "due_at", "id"], name="messages_in_order"),
            # The reason changes where something went wrong only: what is sent at the first try never touches it.
            models.Index(
                fields=["campaign", "reason", "contact"], condition=~models.Q(reason=""), name="messages_with_reason"
            ),
            models.Index(
                fields=["campaign", "contact"], condition=models.Q(replied_at__isnull=False), name="answered_messages"
            ),
            # Of every 16 pages from when to when: an update that changes these times stays heap-only.
            BrinIndex(
                fields=["sent_at", "delivered_at", "read_at"],
                pages_per_range=16,
                autosummarize=True,
                name="messages_by_time",
            ),
        ]

    def __str__(self) -> str:
        return f"message {self.pk} is {self.state}"


class Attempt(TenantModel):
    """An earlier try of a message, copied here when the next one began."""

    message = TenantForeignKey(Message, on_delete=models.CASCADE, related_name="earlier_attempts", db_index=False)
    number = models.PositiveIntegerField()
    device_id = models.BigIntegerField(help_text="Which device tried; the message may have moved since.")
    tag = models.BinaryField()
    epoch = models.PositiveBigIntegerField()
    started_at = models.DateTimeField()
    outcome = models.CharField(max_length=200, blank=True)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["message", "number"], name="one_row_per_attempt")]

    def __str__(self) -> str:
        return f"attempt {self.number} of {self.message_id}"


class WireId(TenantModel):
    """Finds the message a receipt speaks of. Apart from the message, whose updates must touch no index."""

    device_id = models.BigIntegerField()
    wire_id = models.CharField(max_length=64)
    message_id = models.BigIntegerField()
    sent_at = models.DateTimeField(db_default=Now())

    class Meta:
        constraints = [models.UniqueConstraint(fields=["device_id", "wire_id"], name="one_message_per_wire_id")]

    def __str__(self) -> str:
        return self.wire_id


class Uncertain(TenantModel):
    """One row for each message in state ``uncertain``: what evidence is looked for by."""

    message = TenantForeignKey(Message, on_delete=models.CASCADE, related_name="uncertain", db_index=False)
    device_id = models.BigIntegerField()
    phone = models.CharField(max_length=16)
    tag = models.BinaryField()
    began_at = models.DateTimeField(help_text="When the attempt began: receipts before it speak of something else.")
    since = models.DateTimeField(db_default=Now())
    asked_at = models.DateTimeField(null=True, blank=True, help_text="When the session file was last searched.")

    class Meta:
        constraints = [models.UniqueConstraint(fields=["message"], name="one_doubt_per_message")]
        indexes = [
            models.Index(fields=["device_id", "phone"], name="doubts_by_person"),
            models.Index(fields=["since"], name="doubts_by_age"),
        ]

    def __str__(self) -> str:
        return f"message {self.message_id} is uncertain"
