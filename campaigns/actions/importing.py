"""The work of an import, in steps that each commit whole, so that any process can go on where another ended."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime

from django.db import connection, transaction
from django.db.models import F
from django.db.models.functions import Coalesce, Now

from accounts.audit import record
from campaigns.actions.imports import CHUNK_BYTES, IMPORT_JOB, keep_chunks, layout_of
from campaigns.erasures import digests
from campaigns.import_live import push_import
from campaigns.imports.mapping import BadRow, Column, Mapping, Person, Role
from campaigns.imports.reader import Position, Record, Records, UnreadableFile
from campaigns.imports.workbook import sheet_as_csv, sheets_of
from campaigns.models import ContactImport, Erasure, ImportChunk, ImportRow, ImportState
from campaigns.querysets.imports import (
    Rejected,
    foresee_next,
    forget_erased,
    gather,
    learn_sizes,
    reject,
    save_next,
    undo_next,
)
from devices.jobs import enqueue

STEP_ROWS = 5_000
STEP_BYTES = 4 << 20  # of the file: rows may be long
LEARN_AT = (500, 5_000, 50_000, 500_000)  # people saved; the first step of a long import ends at the first
TURN_SECONDS = 30  # then another workspace's import may come first
TRIES = 5
PUSH_EVERY = 1.0
CELL_KEPT = 2_000  # characters of each cell of a rejected row
REASON_LENGTH = 200
WAS_ERASED = "This person was erased at their request and can't be brought back by an import"
ENDED = (ImportState.DONE, ImportState.FAILED, ImportState.STOPPED)


class NotRunning(Exception):
    """The import was stopped, or ended, since the last step."""


def work_on_import(import_id: int, turn: float = TURN_SECONDS) -> None:
    """Do an import's next steps for `turn` seconds, then queue up again. Safe to lose, to repeat and to run late."""
    with only_worker(import_id) as alone:
        if not alone:
            return
        contact_import = ContactImport.objects.select_related("workspace", "created_by").filter(pk=import_id).first()
        if contact_import is None:
            return
        if contact_import.is_undoing:
            if not _undo(contact_import, time.monotonic() + turn):
                enqueue("imports", IMPORT_JOB, import_id)
            return
        if contact_import.state == ImportState.OPENING:
            if _begin(contact_import):
                _open(contact_import)
        elif contact_import.is_working and _begin(contact_import):
            try:
                if not _steps(contact_import, time.monotonic() + turn):
                    enqueue("imports", IMPORT_JOB, import_id)
                    return
            except NotRunning:
                pass
            except UnreadableFile as error:
                _end(contact_import, ImportState.FAILED, str(error))
        contact_import.refresh_from_db(fields=["state", "finished_at", "saved_up_to"])
        if contact_import.state in ENDED:
            _tidy(contact_import)


@contextmanager
def only_worker(import_id: int) -> Iterator[bool]:
    """Whether this process alone has the import. PostgreSQL lets go of the lock when the process dies."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_try_advisory_lock(hashtextextended('import', %s))", [import_id])
        (alone,) = cursor.fetchone()
    try:
        yield alone
    finally:
        if alone:
            with connection.cursor() as cursor:
                cursor.execute("SELECT pg_advisory_unlock(hashtextextended('import', %s))", [import_id])


def _begin(contact_import: ContactImport) -> bool:
    """Count the try. An import that five processes did not survive is not given to a sixth."""
    if contact_import.tries >= TRIES:
        _end(
            contact_import,
            ImportState.FAILED,
            f"The import broke off {TRIES} times after line {contact_import.lines_done:,}. Please tell us.",
        )
        return False
    if contact_import.state == ImportState.OPENING:
        return _update(contact_import, (ImportState.OPENING,), tries=F("tries") + 1, heartbeat_at=Now())
    return _update(
        contact_import,
        (ImportState.QUEUED, ImportState.RUNNING),
        state=ImportState.RUNNING,
        tries=F("tries") + 1,
        started_at=Coalesce("started_at", Now()),
        heartbeat_at=Now(),
    )


def _open(contact_import: ContactImport) -> None:
    """Turn a workbook into CSV, once it is clear which sheet; from then on it is a file like any other."""
    try:
        with tempfile.NamedTemporaryFile() as file, transaction.atomic():
            for block in _blocks(contact_import, 0):
                file.write(block)
            file.flush()
            sheets = [contact_import.sheet] if contact_import.sheet else sheets_of(file.name)
            if len(sheets) > 1:
                _opened(contact_import, mapping={"sheets": sheets})
                return
            ImportChunk.objects.filter(contact_import=contact_import).delete()
            contact_import.sheet = sheets[0]
            contact_import.size = keep_chunks(contact_import, sheet_as_csv(file.name, sheets[0]))
            layout_of(contact_import)
            _opened(contact_import, sheet=sheets[0], size=contact_import.size)
    except UnreadableFile as error:
        _end(contact_import, ImportState.FAILED, str(error))
    except NotRunning:
        pass


def _opened(contact_import: ContactImport, **changes: object) -> None:
    if not _update(contact_import, (ImportState.OPENING,), state=ImportState.UPLOADED, tries=0, **changes):
        raise NotRunning
    _refresh(contact_import)
    push_import(contact_import)


def _steps(contact_import: ContactImport, until: float) -> bool:
    """Read, then save, until it is done (True) or the turn is over (False)."""
    shown = 0.0

    def over() -> bool:
        nonlocal shown
        now = time.monotonic()
        if now - shown >= PUSH_EVERY:
            shown = now
            push_import(contact_import)
        return now > until

    if contact_import.read_at is None and not _read(contact_import, over):
        return False
    while True:
        before = contact_import.saved
        if not _save_step(contact_import):
            break
        if any(before < mark <= contact_import.saved for mark in LEARN_AT) and not contact_import.dry_run:
            learn_sizes()
        if over():
            return False
    _end(contact_import, ImportState.DONE, "")
    return True


def _read(contact_import: ContactImport, over: Callable[[], bool]) -> bool:
    """Read the file to its end, STEP_ROWS rows to a transaction."""
    start = Position(contact_import.bytes_done, contact_import.lines_done, contact_import.rows_done)
    records = Records(_blocks(contact_import, start.offset), contact_import.delimiter, start)
    mapping = mapping_of(contact_import)
    erased = Erasure.objects.filter(workspace=contact_import.workspace_id)
    rows_of: dict[str, list[Record]] | None = {} if erased.exists() else None
    people: dict[str, Person] = {}
    rejected: list[Rejected] = []

    def step(end: bool = False) -> None:
        nonlocal people, rejected
        for phone in erased_among(contact_import, list(rows_of or ())):
            people.pop(phone)
            # Without its cells: they are what was to be forgotten.
            rejected += [Rejected(row.row, row.line, WAS_ERASED, []) for row in (rows_of or {})[phone]]
        _read_step(contact_import, records.position, people, rejected, end)
        people, rejected = {}, []
        if rows_of is not None:
            rows_of.clear()

    for record_read in records:
        try:
            person = mapping.person(record_read)
        except BadRow as reason:
            rejected.append(_rejected(record_read, reason))
        else:
            earlier = people.get(person.phone)
            people[person.phone] = _later(earlier, person) if earlier else person
            if rows_of is not None:
                rows_of.setdefault(person.phone, []).append(record_read)
        at = records.position
        if at.rows - contact_import.rows_done >= STEP_ROWS or at.offset - contact_import.bytes_done >= STEP_BYTES:
            step()
            if over():
                return False
    step(end=True)
    return True


def erased_among(contact_import: ContactImport, phones: list[str], since: datetime | None = None) -> list[str]:
    """Those of the numbers whose people were erased in this workspace."""
    phone_of = {digest: phone for phone in phones for digest in digests(phone)}
    erased = Erasure.objects.filter(workspace=contact_import.workspace_id, digest__in=phone_of)
    if since:
        erased = erased.filter(created_at__gte=since)
    return [phone_of[found] for found in erased.values_list("digest", flat=True)] if phones else []


def mapping_of(contact_import: ContactImport) -> Mapping:
    columns = [Column(Role(role), field) for role, field in contact_import.mapping["columns"]]
    return Mapping(columns, contact_import.country, contact_import.mapping.get("kinds", {}))


def _blocks(contact_import: ContactImport, offset: int) -> Iterator[bytes]:
    number, inside = divmod(offset, CHUNK_BYTES)
    while True:
        chunks = ImportChunk.objects.filter(contact_import=contact_import, number=number)
        data = chunks.values_list("data", flat=True).first()
        if data is None:
            return
        yield bytes(data)[inside:]
        number, inside = number + 1, 0


def _later(earlier: Person, later: Person) -> Person:
    """Two rows of one number: the later one has the last word on what it says, and tags add up."""
    return Person(
        later.phone,
        later.name or earlier.name,
        earlier.fields | later.fields,
        list(dict.fromkeys(earlier.tags + later.tags)),
        later.status or earlier.status,
    )


def _rejected(row: Record, reason: BadRow | str) -> Rejected:
    cells = [cell[:CELL_KEPT].replace("\0", "\ufffd") for cell in row.cells or [row.text]]
    return Rejected(row.row, row.line, str(reason)[:REASON_LENGTH], cells)


def _read_step(
    contact_import: ContactImport,
    to: Position,
    people: dict[str, Person],
    rejected: list[Rejected],
    end: bool = False,
) -> None:
    rows = to.rows - contact_import.rows_done
    with transaction.atomic():
        # Locks the import's row first: a stop waits for this step, or this step finds it stopped.
        _running(contact_import, heartbeat_at=Now())
        new = gather(contact_import, people)
        reject(contact_import, rejected)
        _running(
            contact_import,
            bytes_done=contact_import.size if end else to.offset,
            lines_done=to.lines,
            rows_done=to.rows,
            accepted=F("accepted") + rows - len(rejected),
            rejected=F("rejected") + len(rejected),
            contacts=F("contacts") + new,
            read_at=Now() if end else None,
            tries=0,
        )
    _refresh(contact_import)


def _save_step(contact_import: ContactImport) -> bool:
    """Save the next people, or in a dry run only count them; False when that is everybody."""
    with transaction.atomic():
        _running(contact_import, heartbeat_at=Now())
        _leave_out_erased(contact_import)
        next_people = foresee_next if contact_import.dry_run else save_next
        first = not contact_import.saved_up_to and contact_import.contacts > STEP_ROWS
        saved = next_people(contact_import, contact_import.saved_up_to, LEARN_AT[0] if first else STEP_ROWS)
        if saved is None:
            return False
        _running(
            contact_import,
            saved_up_to=saved.last,
            created=F("created") + saved.created,
            updated=F("updated") + saved.updated,
            unchanged=F("unchanged") + saved.unchanged,
            kept_out=F("kept_out") + saved.kept_out,
            tries=0,
        )
    _refresh(contact_import)
    return True


def _leave_out_erased(contact_import: ContactImport) -> None:
    """Whoever was erased after their row was read is not saved either; the row is no longer there to be listed."""
    since = contact_import.started_at
    if not Erasure.objects.filter(workspace=contact_import.workspace_id, created_at__gte=since).exists():
        return
    rows = ImportRow.objects.filter(contact_import=contact_import, phone__gt=contact_import.saved_up_to)
    phones = list(rows.order_by("phone").values_list("phone", flat=True)[:STEP_ROWS])
    if gone := forget_erased(contact_import, erased_among(contact_import, phones, since)):
        _running(contact_import, contacts=F("contacts") - gone)


def _undo(contact_import: ContactImport, until: float) -> bool:
    """Remove what the import made until it is done (True) or the turn is over (False)."""
    shown = time.monotonic()
    while _undo_step(contact_import):
        now = time.monotonic()
        if now - shown >= PUSH_EVERY:
            shown = now
            push_import(contact_import)
        if now > until:
            return False
    return True


def _undo_step(contact_import: ContactImport) -> bool:
    with transaction.atomic():
        undoing = ContactImport.objects.filter(pk=contact_import.pk, undo_asked_at__isnull=False, undone_at=None)
        contact_import = undoing.select_for_update(of=("self",)).select_related("workspace").get()
        step = undo_next(contact_import, contact_import.undone_up_to, STEP_ROWS)
        if step is None:
            undoing.update(undone_at=Now(), heartbeat_at=Now())
        else:
            kept = {
                why: contact_import.undo_kept.get(why, 0) + step.kept.get(why, 0)
                for why in (*contact_import.undo_kept, *step.kept)
            }
            undoing.update(
                undone=F("undone") + step.removed, undo_kept=kept, undone_up_to=step.last, heartbeat_at=Now()
            )
        _refresh(contact_import)
        if step is None:
            record(
                contact_import.workspace,
                None,
                "import.undone",
                contact_import.target,
                removed=contact_import.undone,
                kept=contact_import.undo_kept,
            )
            push_import(contact_import)
    return step is not None


def _running(contact_import: ContactImport, **changes: object) -> None:
    if not _update(contact_import, (ImportState.RUNNING,), **changes):
        raise NotRunning


def _update(contact_import: ContactImport, states: tuple[str, ...], **changes: object) -> bool:
    return bool(ContactImport.objects.filter(pk=contact_import.pk, state__in=states).update(**changes))


def _refresh(contact_import: ContactImport) -> None:
    fields = [field.name for field in ContactImport._meta.concrete_fields if not field.is_relation]
    contact_import.refresh_from_db(fields=fields)


def _end(contact_import: ContactImport, state: str, error: str) -> None:
    """Unless somebody stopped it first."""
    with transaction.atomic():
        working = (ImportState.OPENING, ImportState.QUEUED, ImportState.RUNNING)
        if not _update(contact_import, working, state=state, error=error[:300], finished_at=Now()):
            return
        _refresh(contact_import)
        record(
            contact_import.workspace,
            None,
            "import.failed"
            if state != ImportState.DONE
            else "import.tested"
            if contact_import.dry_run
            else "import.done",
            contact_import.target,
            accepted=contact_import.accepted,
            rejected=contact_import.rejected,
            created=contact_import.created,
            updated=contact_import.updated,
            error=error,
        )
        push_import(contact_import)


def _tidy(contact_import: ContactImport) -> None:
    """The file and the rows between the passes have served; rejected rows stay, and those of people who opted out."""
    if contact_import.is_kept_for_real:
        return
    left = ImportRow.objects.filter(contact_import=contact_import)
    if contact_import.state == ImportState.DONE and not contact_import.dry_run:
        left = left.filter(phone__gt=contact_import.saved_up_to)
    left.delete()
    ImportChunk.objects.filter(contact_import=contact_import).delete()
