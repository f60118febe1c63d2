"""An import: the uploaded file, kept in the database until done, how far it got, and every rejected row.

It runs in two passes. Reading gathers each number once, the last word on every column, in `ImportRow`; saving writes
those people to the contacts. One pass could not keep the promise that the same file again changes nothing: where a
file holds a number twice, its first row would undo the second and be undone again.

A workbook is first turned into CSV, so that everything after that knows one kind of file.
"""

from __future__ import annotations

import uuid
from datetime import datetime, timedelta

from django.conf import settings
from django.db import models
from django.db.models.functions import Now
from django.utils import timezone

from accounts.tenancy import TenantForeignKey, TenantModel

DRY_RUN_KEPT = timedelta(days=2)


class ImportState(models.TextChoices):
    OPENING = "opening", "Workbook being opened"
    UPLOADED = "uploaded", "Waiting for its columns"
    QUEUED = "queued", "Queued"
    RUNNING = "running", "Running"
    DONE = "done", "Done"
    FAILED = "failed", "Failed"
    STOPPED = "stopped", "Stopped"


class UpdatePolicy(models.TextChoices):
    FILL = "fill", "Fill what is empty"
    OVERWRITE = "overwrite", "Overwrite"
    SKIP = "skip", "Leave as they are"


class ContactImport(TenantModel):
    uuid = models.UUIDField(default=uuid.uuid4, unique=True, editable=False)
    filename = models.CharField(max_length=200)
    size = models.PositiveBigIntegerField(default=0, help_text="Bytes.")
    state = models.CharField(max_length=8, choices=ImportState.choices, default=ImportState.UPLOADED)
    error = models.CharField(max_length=300, blank=True)
    encoding = models.CharField(max_length=16, blank=True)
    delimiter = models.CharField(max_length=1, blank=True)
    country = models.CharField(max_length=2, blank=True)
    mapping = models.JSONField(
        default=dict,
        blank=True,
        help_text="header: whether there is one; names of the columns; columns: [role, field]; kinds of typed fields; "
        "sheets of a workbook while nobody chose one.",
    )
    tags = models.JSONField(default=list, blank=True, help_text="Names of the tags that every row gets.")
    consent_source = models.CharField(max_length=200, blank=True)
    consent_proof = models.CharField(max_length=300, blank=True)
    policy = models.CharField(
        max_length=9,
        choices=UpdatePolicy.choices,
        default=UpdatePolicy.OVERWRITE,
        db_default=UpdatePolicy.OVERWRITE,
        help_text="What happens to people who are contacts already.",
    )
    dry_run = models.BooleanField(default=False, db_default=False, help_text="Counts and rejects only; saves nobody.")
    sheet = models.CharField(max_length=100, blank=True, default="", db_default="", help_text="Of a workbook.")
    undo_asked_at = models.DateTimeField(null=True, blank=True)
    undone_at = models.DateTimeField(null=True, blank=True)
    undone = models.PositiveBigIntegerField(default=0, db_default=0, help_text="New contacts that were removed again.")
    undo_kept = models.JSONField(
        default=dict,
        blank=True,
        db_default=models.Value({}, models.JSONField()),
        help_text="Why a new contact stayed → how many.",
    )
    undone_up_to = models.PositiveBigIntegerField(default=0, db_default=0, help_text="The last contact looked at.")

    rows_done = models.PositiveBigIntegerField(default=0)
    bytes_done = models.PositiveBigIntegerField(default=0)
    lines_done = models.PositiveBigIntegerField(default=0)
    accepted = models.PositiveBigIntegerField(default=0)
    rejected = models.PositiveBigIntegerField(default=0)
    created = models.PositiveBigIntegerField(default=0)
    updated = models.PositiveBigIntegerField(default=0)
    unchanged = models.PositiveBigIntegerField(default=0)
    kept_out = models.PositiveBigIntegerField(
        default=0, db_default=0, help_text="People of the file who had opted out, and stay so."
    )
    contacts = models.PositiveBigIntegerField(default=0, help_text="Different numbers among the accepted rows.")
    saved_up_to = models.CharField(max_length=16, blank=True, help_text="The last number that was saved.")
    tries = models.PositiveSmallIntegerField(default=0, help_text="Starts since the last step forward.")

    created_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.SET_NULL, related_name="+"
    )
    created_at = models.DateTimeField(db_default=Now())
    started_at = models.DateTimeField(null=True, blank=True)
    read_at = models.DateTimeField(null=True, blank=True)
    heartbeat_at = models.DateTimeField(null=True, blank=True)
    finished_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        verbose_name = "import"
        indexes = [models.Index(fields=["workspace", "-id"], name="imports_of_workspace")]

    def __str__(self) -> str:
        return self.filename

    @property
    def target(self) -> str:
        return f"import:{self.uuid}"

    @property
    def key(self) -> str:
        """The UUID as text, for the query of a link."""
        return str(self.uuid)

    @property
    def is_working(self) -> bool:
        return self.state in (ImportState.OPENING, ImportState.QUEUED, ImportState.RUNNING)

    @property
    def is_kept_for_real(self) -> bool:
        """A dry run whose rows still wait to be imported."""
        done = self.dry_run and self.state == ImportState.DONE
        return done and self.finished_at is not None and self.finished_at > timezone.now() - DRY_RUN_KEPT

    @property
    def wants_sheet(self) -> bool:
        """A workbook with several sheets, of which nobody has chosen one."""
        return self.state == ImportState.UPLOADED and bool(self.mapping.get("sheets"))

    @property
    def kept_out_rows(self) -> models.QuerySet[ImportRow]:
        """The people of the file who had opted out; an import that is done keeps no other rows."""
        return self.rows.filter(phone__lte=self.saved_up_to) if not self.dry_run else self.rows.none()

    @property
    def is_undoing(self) -> bool:
        return self.undo_asked_at is not None and self.undone_at is None

    @property
    def can_be_undone(self) -> bool:
        """Whether it made contacts that it may remove again."""
        ended = self.state in (ImportState.DONE, ImportState.STOPPED, ImportState.FAILED)
        return ended and not self.dry_run and self.undo_asked_at is None and self.created > 0

    @property
    def saved(self) -> int:
        return self.created + self.updated + self.unchanged

    @property
    def repeated(self) -> int:
        """Accepted rows whose number stands on a later row too."""
        return self.accepted - self.contacts

    @property
    def rows_expected(self) -> int:
        """How many rows the file has, judged by the part that was read."""
        if self.read_at or not self.bytes_done:
            return self.rows_done
        return max(self.rows_done, round(self.rows_done * self.size / self.bytes_done))

    def rate(self, now: datetime) -> float:
        """Rows read or contacts saved, a second, since this pass began."""
        began = self.read_at or self.started_at
        seconds = (now - began).total_seconds() if began else 0
        return (self.saved if self.read_at else self.rows_done) / seconds if seconds > 0 else 0

    def seconds_left(self, now: datetime) -> float | None:
        """How long the rest will take at this rate; None while nobody can say. Saving is about as fast as reading."""
        rate = self.rate(now)
        if not rate:
            return None
        if self.read_at:
            return (self.contacts - self.saved) / rate
        return (2 * self.rows_expected - self.rows_done) / rate


class ImportChunk(TenantModel):
    """A piece of the uploaded file, ≤ 1 MiB, so that any machine's worker can read it."""

    contact_import = TenantForeignKey(ContactImport, on_delete=models.CASCADE, related_name="chunks", db_index=False)
    number = models.PositiveIntegerField()
    data = models.BinaryField()

    class Meta:
        constraints = [models.UniqueConstraint(fields=["contact_import", "number"], name="one_chunk_per_number")]

    def __str__(self) -> str:
        return f"chunk {self.number}"


class ImportRow(TenantModel):
    """A person as the file tells of them, between reading and saving. Tags stand one a line.

    Of those who had opted out the row stays: it is the list of the people that the import left out.
    """

    # The import's composite key holds the workspace, too; a second check for each of a million rows took seconds.
    workspace = models.ForeignKey(
        "accounts.Workspace", on_delete=models.CASCADE, related_name="+", db_index=False, db_constraint=False
    )
    contact_import = TenantForeignKey(ContactImport, on_delete=models.CASCADE, related_name="rows", db_index=False)
    phone = models.CharField(max_length=16)
    name = models.CharField(max_length=200)
    fields = models.JSONField(default=dict)
    tags = models.TextField()
    status = models.CharField(max_length=8, blank=True, default="", db_default="")
    timezone = models.CharField(max_length=64, blank=True, default="", db_default="")

    class Meta:
        constraints = [models.UniqueConstraint(fields=["contact_import", "phone"], name="one_import_row_per_phone")]

    def __str__(self) -> str:
        return f"row of import {self.contact_import_id}"


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
