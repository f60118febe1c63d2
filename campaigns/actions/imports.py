"""What people and the clock do with imports: upload, choose a sheet, start, stop, undo, discard, resume."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Sequence
from datetime import timedelta
from typing import IO, Protocol

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
from campaigns.imports.workbook import check, is_workbook
from campaigns.models import ContactImport, CustomField, Erasure, FieldKind, ImportChunk, ImportState, UpdatePolicy
from campaigns.models.contact_import import DRY_RUN_KEPT
from devices.jobs import enqueue

IMPORT_JOB = "campaigns.jobs.imports.run_import"
CHUNK_BYTES = 1 << 20
UNFINISHED_MOST = 5
STALLED_AFTER = timedelta(seconds=30)
UPLOAD_KEPT = timedelta(days=2)
WORKING = (ImportState.OPENING, ImportState.QUEUED, ImportState.RUNNING)
OPEN = (ImportState.UPLOADED, *WORKING)


class Readable(Protocol):
    def read(self, size: int = -1, /) -> bytes: ...


class TooManyImports(Exception):
    """This workspace has UNFINISHED_MOST imports that wait or run."""


@transaction.atomic
def upload_file(workspace: Workspace, by: User, filename: str, file: Readable) -> ContactImport:
    """Keep an uploaded file, 1 MiB at a time. Raises UnreadableFile, TooManyImports; then nothing is kept.

    A workbook is looked through here and opened by a worker.
    """
    if ContactImport.objects.for_workspace(workspace).filter(state__in=OPEN).count() >= UNFINISHED_MOST:
        raise TooManyImports
    upload = ContactImport.objects.create(
        workspace=workspace, filename=filename[-200:], country=workspace.default_country, created_by=by
    )
    first = file.read(CHUNK_BYTES)
    if is_workbook(first):
        with tempfile.TemporaryFile() as copy:
            upload.size = keep_chunks(upload, _copied(_blocks(first, file), copy))
            check(copy)
        upload.state, upload.heartbeat_at = ImportState.OPENING, timezone.now()
        enqueue("imports", IMPORT_JOB, upload.pk)
    else:
        check_text = TextCheck()
        upload.size = keep_chunks(upload, _checked(_blocks(first, file), check_text))
        check_text.finish()
        layout_of(upload)
    upload.save(update_fields=["size", "state", "heartbeat_at"])
    record(workspace, by, "import.uploaded", upload.target, filename=upload.filename, bytes=upload.size)
    return upload


def keep_chunks(upload: ContactImport, blocks: Iterable[bytes]) -> int:
    """Keep the blocks as chunks of CHUNK_BYTES; returns how many bytes they are. Raises UnreadableFile: too many."""
    size, number, rest = 0, 0, b""
    for block in blocks:
        size += len(block)
        if size > settings.IMPORT_MAX_BYTES:
            raise UnreadableFile(f"This file is larger than {settings.IMPORT_MAX_BYTES >> 20:,} MB. Split it in parts.")
        rest += block
        while len(rest) >= CHUNK_BYTES:
            _keep_chunk(upload, number, rest[:CHUNK_BYTES])
            number, rest = number + 1, rest[CHUNK_BYTES:]
    if rest or not number:
        _keep_chunk(upload, number, rest)
    return size


def _keep_chunk(upload: ContactImport, number: int, data: bytes) -> None:
    ImportChunk.objects.create(workspace_id=upload.workspace_id, contact_import=upload, number=number, data=data)


def _blocks(first: bytes, file: Readable) -> Iterable[bytes]:
    block = first
    while block:
        yield block
        block = file.read(CHUNK_BYTES)


def _checked(blocks: Iterable[bytes], check_text: TextCheck) -> Iterable[bytes]:
    for block in blocks:
        check_text.feed(block)
        yield block


def _copied(blocks: Iterable[bytes], copy: IO[bytes]) -> Iterable[bytes]:
    for block in blocks:
        copy.write(block)
        yield block


def layout_of(contact_import: ContactImport) -> Layout:
    """How the uploaded file is laid out, from its beginning. Raises UnreadableFile."""
    head = contact_import.chunks.get(number=0).data
    whole = contact_import.size <= SAMPLE_BYTES
    return examine(bytes(head[:SAMPLE_BYTES]), whole, "," if contact_import.sheet else "")


@transaction.atomic
def choose_sheet(contact_import: ContactImport, sheet: str) -> bool:
    """Have this sheet of a workbook opened. False: it has no such sheet, or one was chosen already."""
    upload = ContactImport.objects.filter(pk=contact_import.pk).select_for_update().get()
    if not upload.wants_sheet or sheet not in upload.mapping["sheets"]:
        return False
    upload.sheet, upload.mapping = sheet, {}
    upload.state, upload.heartbeat_at = ImportState.OPENING, timezone.now()
    upload.save(update_fields=["sheet", "mapping", "state", "heartbeat_at"])
    enqueue("imports", IMPORT_JOB, upload.pk)
    return True


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
    policy: str = UpdatePolicy.OVERWRITE,
    dry_run: bool = False,
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
        mapping={
            "header": header,
            "names": names,
            "columns": [[str(c.role), c.field] for c in columns],
            "kinds": kinds_of(contact_import.workspace, columns),
        },
        policy=policy,
        dry_run=dry_run,
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
        "import.tried" if dry_run else "import.started",
        contact_import.target,
        filename=contact_import.filename,
        consent_source=consent_source,
        policy=policy,
    )
    enqueue("imports", IMPORT_JOB, contact_import.pk)
    return True


def kinds_of(workspace: Workspace, columns: Sequence[Column]) -> dict[str, str]:
    """The fields among these columns that are more than text, and what they are."""
    names = [column.field for column in columns if column.field]
    typed = CustomField.objects.for_workspace(workspace).filter(name__in=names).exclude(kind=FieldKind.TEXT)
    return dict(typed.values_list("name", "kind"))


@transaction.atomic
def import_for_real(contact_import: ContactImport, by: User) -> bool:
    """Save the people whom a dry run has read. False: it was no dry run, is not done, or its rows are gone.

    Read once more only if somebody was erased since: then a row may have to be refused.
    """
    tried = ContactImport.objects.filter(pk=contact_import.pk, dry_run=True, state=ImportState.DONE)
    found = tried.select_for_update(of=("self",)).select_related("workspace").first()
    if found is None or not found.is_kept_for_real:
        return False
    found.dry_run, found.state, found.finished_at, found.heartbeat_at = False, ImportState.QUEUED, None, timezone.now()
    found.created = found.updated = found.unchanged = found.kept_out = 0
    found.saved_up_to, found.created_by = "", by
    if Erasure.objects.for_workspace(found.workspace).filter(created_at__gte=found.started_at).exists():
        forget_reading(found)
    found.save()
    record(found.workspace, by, "import.started", found.target, filename=found.filename, policy=found.policy)
    enqueue("imports", IMPORT_JOB, found.pk)
    return True


def forget_reading(contact_import: ContactImport) -> None:
    """To the first row again; the caller saves it."""
    contact_import.rows.all().delete()
    contact_import.rejects.all().delete()
    layout = layout_of(contact_import)
    start = layout.after_header if contact_import.mapping["header"] else layout.start
    contact_import.bytes_done, contact_import.lines_done, contact_import.rows_done = start.offset, start.lines, 0
    contact_import.accepted = contact_import.rejected = contact_import.contacts = 0
    contact_import.read_at = contact_import.started_at = None


@transaction.atomic
def undo_import(contact_import: ContactImport, by: User) -> bool:
    """Have the contacts removed that this import made, if nothing happened to them. False: it can't be undone."""
    found = (
        ContactImport.objects.filter(pk=contact_import.pk)
        .select_for_update(of=("self",))
        .select_related("workspace")
        .get()
    )
    if not found.can_be_undone:
        return False
    found.undo_asked_at = found.heartbeat_at = timezone.now()
    found.save(update_fields=["undo_asked_at", "heartbeat_at"])
    record(found.workspace, by, "import.undo", found.target, filename=found.filename, created=found.created)
    enqueue("imports", IMPORT_JOB, found.pk)
    push_import(found)
    return True


@transaction.atomic
def stop_import(contact_import: ContactImport, by: User) -> bool:
    """Stop reading or saving; what was saved stays. False: it had already ended."""
    running = ContactImport.objects.filter(pk=contact_import.pk, state__in=WORKING)
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
    undoing = Q(undo_asked_at__isnull=False, undone_at__isnull=True)
    stalled = (Q(state__in=WORKING) | undoing) & Q(heartbeat_at__lt=now - STALLED_AFTER)
    tried = Q(state=ImportState.DONE, dry_run=True, finished_at__gt=now - DRY_RUN_KEPT)
    untidy = ~Q(state__in=OPEN) & ~tried & Q(Exists(ImportChunk.objects.filter(contact_import=OuterRef("pk"))))
    lost = list(ContactImport.objects.filter(stalled | untidy).values_list("pk", flat=True))
    ContactImport.objects.filter(pk__in=lost).update(heartbeat_at=now)
    for import_id in lost:
        enqueue("imports", IMPORT_JOB, import_id)
    forgotten = ContactImport.objects.filter(state=ImportState.UPLOADED, created_at__lt=now - UPLOAD_KEPT)
    for upload in forgotten.select_related("workspace"):
        discard_upload(upload, None)
    return len(lost)
