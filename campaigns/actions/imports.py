"""What people and the clock do with imports: upload, start, stop, discard, resume."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Protocol

from django.conf import settings
from django.db import transaction
from django.db.models import Exists, OuterRef, Q
from django.db.models.functions import Now
from django.utils import timezone

from accounts.audit import record
from accounts.models import User, Workspace
from campaigns.import_live import push_import
from campaigns.imports.mapping import Column, clean
from campaigns.imports.reader import SAMPLE_BYTES, Layout, TextCheck, UnreadableFile, examine
from campaigns.models import ContactImport, ImportChunk, ImportState
from devices.jobs import enqueue

IMPORT_JOB = "campaigns.jobs.imports.run_import"
CHUNK_BYTES = 1 << 20
UNFINISHED_MOST = 5
STALLED_AFTER = timedelta(seconds=30)
UPLOAD_KEPT = timedelta(days=2)
OPEN = (ImportState.UPLOADED, ImportState.QUEUED, ImportState.RUNNING)


class Readable(Protocol):
    def read(self, size: int = -1, /) -> bytes: ...


class TooManyImports(Exception):
    """This workspace has UNFINISHED_MOST imports that wait or run."""


@transaction.atomic
def upload_file(workspace: Workspace, by: User, filename: str, file: Readable) -> ContactImport:
    """Keep an uploaded file, 1 MiB at a time. Raises UnreadableFile, TooManyImports; then nothing is kept."""
    if ContactImport.objects.for_workspace(workspace).filter(state__in=OPEN).count() >= UNFINISHED_MOST:
        raise TooManyImports
    check = TextCheck()
    upload = ContactImport.objects.create(
        workspace=workspace, filename=filename[-200:], country=workspace.default_country, created_by=by
    )
    number = 0
    while block := file.read(CHUNK_BYTES):
        check.feed(block)
        upload.size += len(block)
        if upload.size > settings.IMPORT_MAX_BYTES:
            raise UnreadableFile(f"This file is larger than {settings.IMPORT_MAX_BYTES >> 20:,} MB. Split it in parts.")
        ImportChunk.objects.create(workspace=workspace, contact_import=upload, number=number, data=block)
        number += 1
    check.finish()
    layout_of(upload)
    upload.save(update_fields=["size"])
    record(workspace, by, "import.uploaded", upload.target, filename=upload.filename, bytes=upload.size)
    return upload


def layout_of(contact_import: ContactImport) -> Layout:
    """How the uploaded file is laid out, from its beginning. Raises UnreadableFile."""
    head = contact_import.chunks.get(number=0).data
    return examine(bytes(head[:SAMPLE_BYTES]), whole=contact_import.size <= SAMPLE_BYTES)


@transaction.atomic
def start_import(
    contact_import: ContactImport,
    by: User,
    *,
    columns: Sequence[Column],
    header: bool,
    country: str,
    tags: Sequence[str],
    consent_source: str,
    consent_proof: str,
) -> bool:
    """Queue the import with what its columns mean; False: somebody else started it first."""
    layout = layout_of(contact_import)
    start = layout.after_header if header else layout.start
    names = [clean(cell)[:200] if header else f"Column {i + 1}" for i, cell in enumerate(layout.first[0])]
    moved = ContactImport.objects.filter(pk=contact_import.pk, state=ImportState.UPLOADED).update(
        state=ImportState.QUEUED,
        delimiter=layout.delimiter,
        encoding="utf-8",
        country=country,
        mapping={"header": header, "names": names, "columns": [[str(c.role), c.field] for c in columns]},
        tags=list(tags),
        consent_source=consent_source,
        consent_proof=consent_proof,
        bytes_done=start.offset,
        lines_done=start.lines,
        heartbeat_at=Now(),
    )
    if not moved:
        return False
    record(
        contact_import.workspace,
        by,
        "import.started",
        contact_import.target,
        filename=contact_import.filename,
        consent_source=consent_source,
    )
    enqueue("imports", IMPORT_JOB, contact_import.pk)
    return True


@transaction.atomic
def stop_import(contact_import: ContactImport, by: User) -> bool:
    """Stop reading or saving; what was saved stays. False: it had already ended."""
    running = ContactImport.objects.filter(pk=contact_import.pk, state__in=(ImportState.QUEUED, ImportState.RUNNING))
    if not running.update(state=ImportState.STOPPED, error=f"Stopped by {by}.", finished_at=Now()):
        return False
    contact_import.refresh_from_db()
    record(contact_import.workspace, by, "import.stopped", contact_import.target, saved=contact_import.saved)
    enqueue("imports", IMPORT_JOB, contact_import.pk)  # tidies up
    push_import(contact_import)
    return True


@transaction.atomic
def discard_upload(contact_import: ContactImport, by: User | None) -> bool:
    """Forget an uploaded file that was never started. False: it was."""
    upload = ContactImport.objects.filter(pk=contact_import.pk, state=ImportState.UPLOADED).select_for_update().first()
    if upload is None:
        return False
    record(upload.workspace, by, "import.discarded", upload.target, filename=upload.filename)
    upload.delete()
    return True


def resume_stalled_imports() -> int:
    """Enqueue again every import whose job was lost, and forget uploads nobody came back to; returns how many.

    For the clock, every 30 s: safe on any number of clocks, since a second job of a running import ends at once.
    """
    now = timezone.now()
    working = Q(state__in=(ImportState.QUEUED, ImportState.RUNNING), heartbeat_at__lt=now - STALLED_AFTER)
    untidy = ~Q(state__in=OPEN) & Q(Exists(ImportChunk.objects.filter(contact_import=OuterRef("pk"))))
    lost = list(ContactImport.objects.filter(working | untidy).values_list("pk", flat=True))
    ContactImport.objects.filter(pk__in=lost).update(heartbeat_at=now)
    for import_id in lost:
        enqueue("imports", IMPORT_JOB, import_id)
    forgotten = ContactImport.objects.filter(state=ImportState.UPLOADED, created_at__lt=now - UPLOAD_KEPT)
    for upload in forgotten.select_related("workspace"):
        discard_upload(upload, None)
    return len(lost)
