"""An import: the uploaded file, kept in the database until done, how far it got, and every rejected row."""

from __future__ import annotations

import uuid

from django.conf import settings
from django.db import models
from django.db.models.functions import Now

from accounts.tenancy import TenantForeignKey, TenantModel


class ImportState(models.TextChoices):
    UPLOADED = "uploaded", "Waiting for its columns"
    QUEUED = "queued", "Queued"
    RUNNING = "running", "Running"
    DONE = "done", "Done"
    FAILED = "failed", "Failed"


class ContactImport(TenantModel):
    uuid = models.UUIDField(default=uuid.uuid4, unique=True, editable=False)
    filename = models.CharField(max_length=200)
    size = models.PositiveBigIntegerField(default=0, help_text="Bytes.")
    state = models.CharField(max_length=8, choices=ImportState.choices, default=ImportState.UPLOADED)
    error = models.CharField(max_length=300, blank=True)
    encoding = models.CharField(max_length=16, blank=True)
    delimiter = models.CharField(max_length=1, blank=True)
    country = models.CharField(max_length=2, blank=True)
    mapping = models.JSONField(default=dict, blank=True, help_text="Column number → what it holds.")
    tags = models.JSONField(default=list, blank=True, help_text="Names of the tags that every row gets.")
    consent_source = models.CharField(max_length=200, blank=True)
    consent_proof = models.CharField(max_length=300, blank=True)

    rows_done = models.PositiveBigIntegerField(default=0)
    bytes_done = models.PositiveBigIntegerField(default=0)
    accepted = models.PositiveBigIntegerField(default=0)
    rejected = models.PositiveBigIntegerField(default=0)
    created = models.PositiveBigIntegerField(default=0)
    updated = models.PositiveBigIntegerField(default=0)
    unchanged = models.PositiveBigIntegerField(default=0)

    created_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.SET_NULL, related_name="+"
    )
    created_at = models.DateTimeField(db_default=Now())
    started_at = models.DateTimeField(null=True, blank=True)
    heartbeat_at = models.DateTimeField(null=True, blank=True)
    finished_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        verbose_name = "import"
        indexes = [models.Index(fields=["workspace", "-id"], name="imports_of_workspace")]

    def __str__(self) -> str:
        return self.filename


class ImportChunk(TenantModel):
    """A piece of the uploaded file, ≤ 1 MiB, so that any machine's worker can read it."""

    contact_import = TenantForeignKey(ContactImport, on_delete=models.CASCADE, related_name="chunks", db_index=False)
    number = models.PositiveIntegerField()
    data = models.BinaryField()

    class Meta:
        constraints = [models.UniqueConstraint(fields=["contact_import", "number"], name="one_chunk_per_number")]

    def __str__(self) -> str:
        return f"chunk {self.number}"


class ImportReject(TenantModel):
    contact_import = TenantForeignKey(ContactImport, on_delete=models.CASCADE, related_name="rejects", db_index=False)
    row = models.PositiveBigIntegerField(help_text="The data row, counted from 1.")
    line = models.PositiveBigIntegerField(help_text="The line of the file where the row begins.")
    reason = models.CharField(max_length=200)
    cells = models.JSONField(default=list, help_text="The row as it stood in the file.")

    class Meta:
        constraints = [models.UniqueConstraint(fields=["contact_import", "row"], name="one_reject_per_row")]

    def __str__(self) -> str:
        return f"line {self.line}: {self.reason}"
