"""The work of an import, in steps that each commit whole, so that any process can go on where another ended.

A step's rows and the place that the import has come to by them are one transaction, and steps commit in their order:
each names the place that it began at, and finds the import there or changes nothing. So no step waits for the disk.
When a machine dies, PostgreSQL has lost some of the last commits, never one from among them; the import goes on at an
earlier place, and the rows after it are not there either. Whatever else came to depend on a lost step was lost with it,
having been committed later. The end of an import does wait, and thereby for every step before it.

Two cores work on a long import: while one step is written the next is read, and two chunks of people are saved at once.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, wait
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime

from django.db import connection, transaction
from django.db.models import F
from django.db.models.functions import Coalesce, Now

from accounts.audit import record
from campaigns.actions.imports import CHUNK_BYTES, IMPORT_JOB, keep_chunks, layout_of
from campaigns.beside import Hand, second_hand
from campaigns.erasures import digests, no_erasing
from campaigns.import_live import push_import
from campaigns.imports.mapping import BadRow, Column, Mapping, Person, Role
from campaigns.imports.reader import Position, Record, Records, UnreadableFile
from campaigns.imports.workbook import sheet_as_csv, sheets_of
from campaigns.models import ContactImport, Erasure, ImportChunk, ImportRow, ImportState
from campaigns.querysets.imports import (
    Chunk,
    Rejected,
    commit_soon,
    foresee,
    forget_erased,
    gather,
    make_tags,
    next_chunk,
    reject,
    save,
    undo_next,
)
from campaigns.querysets.sizes import learn_sizes
from devices.jobs import enqueue

STEP_ROWS = 5_000
STEP_BYTES = 4 << 20  # of the file: rows may be long
LEARN_AT = (500, 5_000, 50_000, 500_000)  # people saved; the first step of a long import ends at the first
TWO_HANDS_FROM = 10_000  # people still to be saved; fewer are not worth a second connection
PATIENCE_S = 2.0
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

    with second_hand() as beside:
        if contact_import.read_at is None and not _read(contact_import, over, beside):
            return False
        while True:
            before = contact_import.saved
            if not _save_step(contact_import, beside):
                break
            if any(before < mark <= contact_import.saved for mark in LEARN_AT) and not contact_import.dry_run:
                learn_sizes()
            if over():
                return False
    _end(contact_import, ImportState.DONE, "")
    return True


@dataclass(frozen=True, slots=True)
class Read:
    """What was read of the file between two places."""

    since: Position
    to: Position
    people: dict[str, Person]
    rejected: list[Rejected]
    end: bool


def _read(contact_import: ContactImport, over: Callable[[], bool], beside: Hand) -> bool:
    """Read the file to its end; False: the turn is over before."""
    reading = Reading(contact_import, beside)
    for row in reading.records:
        reading.take(row)
        if reading.is_full:
            reading.hand_over()
            if over():
                break
    else:
        reading.hand_over(end=True)
    reading.wait()
    return contact_import.read_at is not None


class Reading:
    """The file's rows from where the import stands, STEP_ROWS to a transaction, each written beside the reading."""

    def __init__(self, contact_import: ContactImport, beside: Hand) -> None:
        self.contact_import = contact_import
        self.beside = beside
        self.since = Position(contact_import.bytes_done, contact_import.lines_done, contact_import.rows_done)
        self.records = Records(_blocks(contact_import, self.since.offset), contact_import.delimiter, self.since)
        self.mapping = mapping_of(contact_import)
        self.people: dict[str, Person] = {}
        self.rejected: list[Rejected] = []
        erased = Erasure.objects.filter(workspace=contact_import.workspace_id)
        self.rows_of: dict[str, list[Record]] | None = {} if erased.exists() else None
        self.written: Future[None] | None = None

    def take(self, row: Record) -> None:
        try:
            person = self.mapping.person(row)
        except BadRow as reason:
            self.rejected.append(_rejected(row, reason))
            return
        earlier = self.people.get(person.phone)
        self.people[person.phone] = _later(earlier, person) if earlier else person
        if self.rows_of is not None:
            self.rows_of.setdefault(person.phone, []).append(row)

    @property
    def is_full(self) -> bool:
        at, since = self.records.position, self.since
        return at.rows - since.rows >= STEP_ROWS or at.offset - since.offset >= STEP_BYTES

    def hand_over(self, end: bool = False) -> None:
        """Have what was read written, once what was handed over before is."""
        self._leave_out_erased()
        self.wait()
        read = Read(self.since, self.records.position, self.people, self.rejected, end)
        self.written = self.beside(lambda: _read_step(self.contact_import, read))
        self.since, self.people, self.rejected = read.to, {}, []

    def _leave_out_erased(self) -> None:
        if not self.rows_of:
            return
        for phone in erased_among(self.contact_import, list(self.rows_of)):
            self.people.pop(phone)
            # Without its cells: they are what was to be forgotten.
            self.rejected += [Rejected(row.row, row.line, WAS_ERASED, []) for row in self.rows_of[phone]]
        self.rows_of.clear()

    def wait(self) -> None:
        """Until what was handed over is written."""
        if self.written:
            self.written.result()
            _refresh(self.contact_import)


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


def _read_step(contact_import: ContactImport, read: Read) -> None:
    rows = read.to.rows - read.since.rows
    with transaction.atomic():
        commit_soon()
        # Locks the import's row first: a stop waits for this step, or this step finds it stopped.
        _running(contact_import, heartbeat_at=Now())
        new = gather(contact_import, read.people)
        reject(contact_import, read.rejected)
        _running_at(
            contact_import,
            {"rows_done": read.since.rows, "bytes_done": read.since.offset},
            bytes_done=contact_import.size if read.end else read.to.offset,
            lines_done=read.to.lines,
            rows_done=read.to.rows,
            accepted=F("accepted") + rows - len(read.rejected),
            rejected=F("rejected") + len(read.rejected),
            contacts=F("contacts") + new,
            read_at=Now() if read.end else None,
            tries=0,
        )


def _save_step(contact_import: ContactImport, beside: Hand) -> bool:
    """Save the next people, or in a dry run only count them; False when that is everybody.

    Two chunks at once where many are left. Neither locks the import's row until it is done: nobody is erased
    meanwhile, and a stop is found in the end.
    """
    with no_erasing(contact_import.workspace_id):
        _refresh(contact_import)
        _leave_out_erased(contact_import)
        chunks = _next_chunks(contact_import)
        if not chunks:
            _running(contact_import, heartbeat_at=Now())
            return False
        if not contact_import.dry_run:
            make_tags(contact_import, Chunk(chunks[0].after, chunks[-1].last, sum(chunk.people for chunk in chunks)))
        if len(chunks) == 1:
            _save_chunk(contact_import, chunks[0])
        else:
            earlier = beside(lambda: _save_chunk(contact_import, chunks[0]))
            try:
                _save_chunk(contact_import, chunks[1], earlier)
            except TimeoutError:
                pass  # the next step does it again
            finally:
                wait([earlier])
            earlier.result()
    _refresh(contact_import)
    return True


def _next_chunks(contact_import: ContactImport) -> list[Chunk]:
    sizes = [STEP_ROWS]
    if not contact_import.saved_up_to and contact_import.contacts > STEP_ROWS:
        sizes = [LEARN_AT[0]]
    elif contact_import.contacts - contact_import.saved >= TWO_HANDS_FROM and not connection.in_atomic_block:
        sizes = [STEP_ROWS, STEP_ROWS]
    chunks: list[Chunk] = []
    for size in sizes:
        if chunk := next_chunk(contact_import, chunks[-1].last if chunks else contact_import.saved_up_to, size):
            chunks.append(chunk)
    return chunks


def _save_chunk(contact_import: ContactImport, chunk: Chunk, earlier: Future[None] | None = None) -> None:
    """Save a chunk of people, and commit it after the chunk before it.

    Raises TimeoutError when that one takes PATIENCE_S longer: it may wait for somebody who holds people of its own and
    waits for people of this chunk. PostgreSQL does not see that this one waits, too, so this one gives way.
    """
    with transaction.atomic():
        commit_soon()
        saved = (foresee if contact_import.dry_run else save)(contact_import, chunk)
        if earlier:
            earlier.result(PATIENCE_S)
        _running_at(
            contact_import,
            {"saved_up_to": chunk.after},
            heartbeat_at=Now(),
            saved_up_to=chunk.last,
            created=F("created") + saved.created,
            updated=F("updated") + saved.updated,
            unchanged=F("unchanged") + saved.unchanged,
            kept_out=F("kept_out") + saved.kept_out,
            tries=0,
        )


def _leave_out_erased(contact_import: ContactImport) -> None:
    """Whoever was erased after their row was read is not saved either; the row is no longer there to be listed."""
    since = contact_import.started_at
    if not Erasure.objects.filter(workspace=contact_import.workspace_id, created_at__gte=since).exists():
        return
    rows = ImportRow.objects.filter(contact_import=contact_import, phone__gt=contact_import.saved_up_to)
    phones = list(rows.order_by("phone").values_list("phone", flat=True)[: 2 * STEP_ROWS])
    with transaction.atomic():
        _running(contact_import, heartbeat_at=Now())
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


def _running_at(contact_import: ContactImport, place: dict[str, object], **changes: object) -> None:
    """Raises NotRunning also when the import is at another place: a process that died had just sent its commit."""
    running = ContactImport.objects.filter(pk=contact_import.pk, state=ImportState.RUNNING, **place)
    if not running.update(**changes):
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
