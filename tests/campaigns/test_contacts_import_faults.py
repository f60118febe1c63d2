"""An import survives the death of its workers, and its memory does not grow with the file."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit

import pytest
from django.db import connection, transaction
from django.db.models import Count
from django.db.models.functions import Now

from campaigns.actions.importing import NotRunning, Read, _read_step, _save_chunk, only_worker, work_on_import
from campaigns.actions.imports import resume_stalled_imports
from campaigns.imports.mapping import Person
from campaigns.imports.reader import Position
from campaigns.models import Contact, ContactImport, ContactTag, ImportChunk, ImportReject, ImportRow, ImportState
from campaigns.querysets.imports import Chunk
from tests.benchmarks.bench_import import GeneratedFile
from tests.campaigns.waiting_for_locks import crosswise
from tests.factories import make_contact, make_import, make_workspace

pytestmark = [pytest.mark.faults, pytest.mark.django_db(transaction=True)]

ROWS = 12_000


def environment() -> dict[str, str]:
    """For a process of its own on this test's database."""
    url = urlsplit(os.environ["DATABASE_URL"])._replace(path="/" + connection.settings_dict["NAME"])
    return {**os.environ, "DATABASE_URL": url.geturl()}


@contextmanager
def rq_worker() -> Iterator[subprocess.Popen[bytes]]:
    """`manage.py work imports`, in a session of its own so that it dies with the job process it forked."""
    command = [sys.executable, "manage.py", "work", "imports"]
    process = subprocess.Popen(command, env=environment(), start_new_session=True, stderr=subprocess.DEVNULL)
    try:
        yield process
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def wait_for(contact_import: ContactImport, condition: Callable[[ContactImport], bool]) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        contact_import.refresh_from_db()
        if condition(contact_import):
            return
        time.sleep(0.005)
    raise AssertionError(f"still {contact_import.state} at row {contact_import.rows_done}")


def contacts_of(workspace) -> list[tuple]:
    found = Contact.objects.for_workspace(workspace).annotate(tags=Count("tag_links")).order_by("phone")
    return list(found.values_list("phone", "name", "fields", "tags"))


def test_an_import_whose_workers_are_killed_ends_as_if_nothing_had_happened() -> None:
    workspace, calm = make_workspace(), make_workspace()
    contact_import = make_import(workspace, GeneratedFile(ROWS))
    moments: list[Callable[[ContactImport], bool]] = [
        lambda i: i.rows_done > 0,
        lambda i: i.rows_done > ROWS // 2,
        lambda i: i.saved > 0,
        lambda i: i.saved > ROWS // 2,
    ]
    for moment in moments:
        with rq_worker():
            wait_for(contact_import, moment)
        contact_import.refresh_from_db()
        assert contact_import.state == ImportState.RUNNING
        ContactImport.objects.filter(pk=contact_import.pk).update(heartbeat_at="2026-01-01T00:00:00Z")
        assert resume_stalled_imports() == 1
    with rq_worker():
        wait_for(contact_import, lambda i: i.state == ImportState.DONE and not i.chunks.exists())

    undisturbed = make_import(calm, GeneratedFile(ROWS))
    work_on_import(undisturbed.pk, turn=600)
    undisturbed.refresh_from_db()
    figures = ("rows_done", "accepted", "rejected", "contacts", "created", "updated", "unchanged")
    assert [getattr(contact_import, f) for f in figures] == [getattr(undisturbed, f) for f in figures]
    assert contacts_of(workspace) == contacts_of(calm)
    assert contact_import.created == Contact.objects.for_workspace(workspace).count()
    assert contact_import.rejected == ImportReject.objects.filter(contact_import=contact_import).count()
    assert contact_import.accepted + contact_import.rejected == ROWS
    assert not ImportRow.objects.exists()
    assert not ImportChunk.objects.exists()


def test_a_second_worker_of_the_same_import_does_nothing() -> None:
    contact_import = make_import(make_workspace(), b"Phone\n0123456789\n")
    program = (
        "import sys, django; django.setup();"
        "from campaigns.actions.importing import work_on_import; work_on_import(int(sys.argv[1]))"
    )
    second = [sys.executable, "-c", program, str(contact_import.pk)]
    with only_worker(contact_import.pk) as alone:
        assert alone
        subprocess.run(second, env=environment(), check=True)
        contact_import.refresh_from_db()
        assert contact_import.state == ImportState.QUEUED
    subprocess.run(second, env=environment(), check=True)
    contact_import.refresh_from_db()
    assert contact_import.state == ImportState.DONE


def test_memory_stays_flat_over_thirty_thousand_rows() -> None:
    workspace = make_workspace()
    small = make_import(workspace, GeneratedFile(10_000, seed=2))
    large = make_import(workspace, GeneratedFile(30_000, seed=3))
    program = textwrap.dedent(
        """
        import sys
        import django
        django.setup()
        from campaigns.actions.importing import work_on_import
        from tests.memory import peak_mb
        for import_id in sys.argv[1:]:
            work_on_import(int(import_id), turn=600)
            print(peak_mb())
        """
    )
    command = [sys.executable, "-c", program, str(small.pk), str(large.pk)]
    out = subprocess.run(command, env=environment(), check=True, capture_output=True, text=True).stdout
    after_small, after_large = map(int, out.split())
    large.refresh_from_db()
    assert large.state == ImportState.DONE
    assert large.accepted + large.rejected == 30_000
    assert ContactTag.objects.for_workspace(workspace).count() > 15_000
    assert after_large < 200
    assert after_large - after_small < 25


def test_two_chunks_are_saved_at_once_beside_somebody_who_holds_people_of_both(monkeypatch) -> None:
    monkeypatch.setattr("campaigns.actions.importing.STEP_ROWS", 2)
    monkeypatch.setattr("campaigns.actions.importing.LEARN_AT", (1,))
    monkeypatch.setattr("campaigns.actions.importing.TWO_HANDS_FROM", 4)
    monkeypatch.setattr("campaigns.actions.importing.PATIENCE_S", 0.5)
    workspace = make_workspace()
    phones = [f"+6012345678{n}" for n in range(7)]
    for phone in phones:
        make_contact(workspace, phone=phone, name="As before")
    rows = "".join(f"{phone},As the file says,t{n}\n" for n, phone in enumerate(phones))
    contact_import = make_import(workspace, f"Phone,Name,Tags\n{rows}".encode())

    def held(phone: str) -> Callable[[], object]:
        return lambda: list(Contact.objects.filter(workspace=workspace, phone=phone).select_for_update())

    def held_once_the_import_holds_them() -> None:
        """The first step saves one person, the second the chunks 1, 2 and 3, 4."""
        free, deadline = True, time.monotonic() + 2
        while free and time.monotonic() < deadline:
            with transaction.atomic():
                fourth = Contact.objects.filter(workspace=workspace, phone=phones[3])
                free = bool(fourth.select_for_update(skip_locked=True))
                transaction.set_rollback(True)
        held(phones[3])()

    crosswise([held(phones[1]), held_once_the_import_holds_them], lambda: work_on_import(contact_import.pk))
    contact_import.refresh_from_db()
    assert (contact_import.state, contact_import.error) == (ImportState.DONE, "")
    assert (contact_import.updated, contact_import.created, contact_import.saved_up_to) == (7, 0, phones[-1])
    assert set(Contact.objects.for_workspace(workspace).values_list("name", flat=True)) == {"As the file says"}
    assert ContactTag.objects.for_workspace(workspace).count() == 7
    assert not ImportRow.objects.exists()


def test_a_step_from_a_place_where_the_import_no_longer_is_changes_nothing() -> None:
    workspace = make_workspace()
    contact_import = make_import(workspace, b"Phone\n0123456789\n0123456788\n")
    ContactImport.objects.filter(pk=contact_import.pk).update(state=ImportState.RUNNING, started_at=Now())
    contact_import.refresh_from_db()
    start = Position(contact_import.bytes_done, contact_import.lines_done, 0)
    person = Person("+60123456789", "", {}, [])
    with pytest.raises(NotRunning):
        _read_step(contact_import, Read(start._replace(rows=1), Position(9, 9, 2), {person.phone: person}, [], False))
    assert not ImportRow.objects.exists()
    people = {phone: Person(phone, "", {}, []) for phone in ("+60123456788", "+60123456789")}
    _read_step(contact_import, Read(start, Position(contact_import.size, 3, 2), people, [], True))
    with pytest.raises(NotRunning):
        _save_chunk(contact_import, Chunk("+60123456788", "+60123456789", 1))
    assert not Contact.objects.exists()
    contact_import.refresh_from_db()
    assert (contact_import.rows_done, contact_import.saved_up_to) == (2, "")
