"""An import makes contacts of a file's rows, each once, and a repeat changes nothing."""

from __future__ import annotations

import json
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from django.db import connection

from accounts.models import AuditEntry
from campaigns.actions.importing import work_on_import
from campaigns.actions.imports import discard_upload, resume_stalled_imports, start_import, stop_import, upload_file
from campaigns.imports.reader import UnreadableFile
from campaigns.models import (
    Contact,
    ContactImport,
    ContactTag,
    ImportChunk,
    ImportReject,
    ImportRow,
    ImportState,
    Tag,
)
from tests.factories import make_contact, make_import, make_workspace
from tests.workbooks import make_xlsx

pytestmark = pytest.mark.django_db

DATA = Path(__file__).parents[1] / "data"
MESSY = (DATA / "contacts_messy.csv").read_bytes()
EXPECTED = json.loads((DATA / "contacts_messy.expected.json").read_text())


def imported(workspace, file, **options) -> ContactImport:
    contact_import = make_import(workspace, file if isinstance(file, bytes) else file.encode(), **options)
    work_on_import(contact_import.pk)
    contact_import.refresh_from_db()
    return contact_import


def everything(workspace) -> list[tuple]:
    """All rows an import may touch, with the transaction that wrote each version of them."""
    rows = []
    with connection.cursor() as cursor:
        for table in ("contact", "tag", "contacttag"):
            cursor.execute(
                f"SELECT xmin::text, ctid::text, t.* FROM campaigns_{table} t WHERE workspace_id = %s ORDER BY id",
                [workspace.pk],
            )
            rows += cursor.fetchall()
    return rows


def test_the_messy_file_imports_exactly_as_expected() -> None:
    workspace = make_workspace(default_country=EXPECTED["default_region"])
    done = imported(workspace, MESSY)
    assert (done.state, done.error) == (ImportState.DONE, "")
    assert (done.rows_done, done.accepted) == (EXPECTED["rows"], EXPECTED["accepted_rows"])
    assert done.rejected == len(EXPECTED["rejected_data_rows"])
    rejects = ImportReject.objects.filter(contact_import=done).order_by("row")
    assert [reject.row for reject in rejects] == EXPECTED["rejected_data_rows"]
    assert all(reject.reason and reject.line > reject.row for reject in rejects)
    phones = Contact.objects.for_workspace(workspace).values_list("phone", flat=True)
    assert sorted(phones) == EXPECTED["e164"]
    assert (done.contacts, done.created, done.updated, done.unchanged) == (EXPECTED["contacts"],) * 2 + (0, 0)
    assert set(Tag.objects.for_workspace(workspace).values_list("name", flat=True)) == {
        "COLD", "COLDVITAC", "new", "vip", "ไทย",
    }  # fmt: skip
    assert not ImportChunk.objects.filter(contact_import=done).exists()
    assert not ImportRow.objects.filter(contact_import=done).exists()


def test_p16_the_same_file_again_changes_nothing_at_all() -> None:
    workspace = make_workspace()
    imported(workspace, MESSY, tags=["autumn"])
    before = everything(workspace)
    again = imported(workspace, MESSY, tags=["autumn"])
    assert everything(workspace) == before
    assert (again.created, again.updated, again.unchanged) == (0, 0, EXPECTED["contacts"])
    assert again.accepted == EXPECTED["accepted_rows"]


def test_the_same_file_again_changes_nothing_though_a_number_stands_far_apart_with_two_names(monkeypatch) -> None:
    monkeypatch.setattr("campaigns.actions.importing.STEP_ROWS", 2)
    workspace = make_workspace()
    rows = ["Name,Phone,City,Tags", "First,0123456780,KL,a"]
    rows += [f"Person {i},012345678{i},," for i in range(1, 8)] + ["Last,0123456780,,b", ",0123456780,PJ,"]
    imported(workspace, "\n".join(rows))
    first = Contact.objects.get(workspace=workspace, phone="+60123456780")
    assert (first.name, first.fields) == ("Last", {"city": "PJ"})
    assert {link.tag.name for link in first.tag_links.all()} == {"a", "b"}
    before = everything(workspace)
    again = imported(workspace, "\n".join(rows))
    assert everything(workspace) == before
    assert (again.accepted, again.contacts, again.repeated, again.unchanged) == (10, 8, 2, 8)


def test_what_a_file_says_is_added_and_what_it_leaves_empty_stays() -> None:
    workspace = make_workspace()
    known = make_contact(workspace, phone="+60123456789", name="Ali", fields={"city": "KL", "x": "1"}, tags=("old",))
    done = imported(workspace, "Name,Phone,City,Age,Tags\n,0123456789,PJ,,new\nAbu,0123456788,,7,\n")
    known.refresh_from_db()
    assert (known.name, known.fields) == ("Ali", {"city": "PJ", "x": "1"})
    assert {link.tag.name for link in known.tag_links.all()} == {"old", "new"}
    assert (done.created, done.updated, done.unchanged) == (1, 1, 0)
    assert Contact.objects.get(phone="+60123456788").fields == {"age": "7"}


def test_a_row_that_only_adds_a_tag_is_an_update() -> None:
    workspace = make_workspace()
    make_contact(workspace, phone="+60123456789", name="Ali")
    done = imported(workspace, "Name,Phone\nAli,0123456789\n", tags=["vip"])
    assert (done.created, done.updated, done.unchanged) == (0, 1, 0)


def test_consent_is_kept_on_new_contacts_and_never_rewritten() -> None:
    workspace = make_workspace()
    known = make_contact(workspace, phone="+60123456789", consent_source="By hand")
    done = imported(workspace, "Phone\n0123456789\n0123456788\n", consent_source="Shop counter")
    new = Contact.objects.get(phone="+60123456788")
    assert (new.consent_source, new.consent_import) == ("Shop counter", done)
    known.refresh_from_db()
    assert (known.consent_source, known.consent_import) == ("By hand", None)


def test_an_import_never_undoes_an_opt_out() -> None:
    workspace = make_workspace()
    gone = make_contact(workspace, phone="+60123456789", opted_out_at="2026-01-01T00:00:00Z")
    imported(workspace, "Phone,Name\n0123456789,New name\n")
    gone.refresh_from_db()
    assert gone.name == "New name"
    assert gone.opted_out_at is not None


def test_two_workspaces_hold_the_same_number_apart() -> None:
    ours, theirs = make_workspace(), make_workspace()
    kept = make_contact(theirs, phone="+60123456789", name="Theirs", tags=("vip",))
    before = everything(theirs)
    imported(ours, "Phone,Name,Tags\n0123456789,Ours,vip\n")
    assert everything(theirs) == before
    assert Contact.objects.get(workspace=ours).name == "Ours"
    assert ContactTag.objects.exclude(contact=kept).get().tag.workspace == ours


def test_another_country_reads_national_numbers_as_its_own() -> None:
    workspace = make_workspace(default_country="MY")
    imported(workspace, "Mobile\n(201) 555-0123\n", country="US")
    assert Contact.objects.get(workspace=workspace).phone == "+12015550123"


def test_rejected_rows_keep_their_line_and_their_cells() -> None:
    workspace = make_workspace()
    done = imported(workspace, 'Name,Phone\n"two\nlines",0123456789\nbad,6.01E+10\nnul\0,0123456789\n"open,1\n')
    found = ImportReject.objects.filter(contact_import=done).order_by("row").values_list("row", "line", "cells")
    assert list(found) == [(2, 4, ["bad", "6.01E+10"]), (3, 5, ["nul\ufffd", "0123456789"]), (4, 6, ['"open,1'])]
    assert done.accepted == 1


def test_a_file_that_breaks_in_the_middle_leaves_the_contacts_alone() -> None:
    workspace = make_workspace()
    done = imported(workspace, "Name,Phone\nAli,0123456789\n" + 'a","b\n' * 60)
    assert done.state == ImportState.FAILED
    assert done.error.startswith("Line 52: this is the 50th line")
    assert not Contact.objects.for_workspace(workspace).exists()
    assert not ImportRow.objects.exists()
    assert not ImportChunk.objects.exists()


@pytest.mark.parametrize(
    ("file", "sentence"),
    [
        (b"PK\x03\x04" + b"\0" * 100, "Save as → CSV UTF-8"),
        ("Name,Phone\nJosé,1\n".encode("cp1252"), "Line 2 is not UTF-8"),
        ("Name,Phone\nJosé,1\n".encode("utf-16"), "This file is UTF-16"),
        (make_xlsx([["Phone"]], extra={"xl/big.xml": bytes(4 << 20)}), "times as large; 200 times is the most"),
        (b"", "empty"),
    ],
    ids=["zip", "cp1252", "utf-16", "bomb", "empty"],
)
def test_an_upload_that_cannot_be_read_leaves_nothing(file, sentence) -> None:
    workspace = make_workspace()
    with pytest.raises(UnreadableFile, match=sentence):
        make_import(workspace, file)
    assert not ContactImport.objects.exists()
    assert not ImportChunk.objects.exists()


def test_an_upload_over_the_limit_is_refused(settings) -> None:
    settings.IMPORT_MAX_BYTES = 1 << 20
    with pytest.raises(UnreadableFile, match="larger than 1 MB"):
        make_import(make_workspace(), b"Phone\n" + b"0123456789\n" * 100_000)


def test_a_turn_that_is_over_goes_on_in_the_next(monkeypatch, django_capture_on_commit_callbacks) -> None:
    monkeypatch.setattr("campaigns.actions.importing.STEP_ROWS", 100)
    workspace = make_workspace()
    contact_import = make_import(workspace, MESSY)
    turns = 0
    while contact_import.state != ImportState.DONE:
        work_on_import(contact_import.pk, turn=0)
        contact_import.refresh_from_db()
        turns += 1
    assert turns > 40
    assert (contact_import.accepted, contact_import.created) == (EXPECTED["accepted_rows"], EXPECTED["contacts"])
    assert contact_import.rejected == ImportReject.objects.count() == len(EXPECTED["rejected_data_rows"])


def test_an_import_starts_once() -> None:
    workspace = make_workspace()
    contact_import = make_import(workspace, b"Phone\n0123456789\n")
    again: dict[str, Any] = {
        "columns": [],
        "header": True,
        "country": "US",
        "tags": [],
        "consent_source": "x",
        "consent_proof": "",
    }
    assert not start_import(contact_import, workspace.owner, **again)
    contact_import.refresh_from_db()
    assert contact_import.country == "MY"


def test_a_stopped_import_saves_nothing_more() -> None:
    workspace = make_workspace()
    contact_import = make_import(workspace, MESSY)
    assert stop_import(contact_import, workspace.owner)
    assert not stop_import(contact_import, workspace.owner)
    work_on_import(contact_import.pk)
    assert not Contact.objects.exists()
    assert not ImportChunk.objects.exists()


def test_a_stop_between_two_steps_is_heard(monkeypatch) -> None:
    monkeypatch.setattr("campaigns.actions.importing.STEP_ROWS", 100)
    workspace = make_workspace()
    contact_import = make_import(workspace, MESSY)
    for _ in range(35):
        work_on_import(contact_import.pk, turn=0)
    contact_import.refresh_from_db()
    assert 0 < contact_import.created < EXPECTED["contacts"]
    stop_import(contact_import, workspace.owner)
    work_on_import(contact_import.pk)
    assert Contact.objects.count() == contact_import.created
    assert not ImportRow.objects.exists()


def test_an_import_that_kills_its_worker_again_and_again_fails_with_the_line() -> None:
    contact_import = make_import(make_workspace(), b"Phone\n0123456789\n")
    ContactImport.objects.update(tries=5, lines_done=7)
    work_on_import(contact_import.pk)
    contact_import.refresh_from_db()
    assert contact_import.state == ImportState.FAILED
    assert "5 times after line 7" in contact_import.error


def test_a_lost_job_is_enqueued_again_and_a_fresh_one_is_left_alone(django_capture_on_commit_callbacks) -> None:
    lost = make_import(make_workspace(), b"Phone\n0123456789\n")
    assert resume_stalled_imports() == 0
    ContactImport.objects.filter(pk=lost.pk).update(heartbeat_at="2026-01-01T00:00:00Z")
    assert resume_stalled_imports() == 1
    assert resume_stalled_imports() == 0


def test_forgotten_uploads_are_thrown_away_and_started_ones_are_not() -> None:
    workspace = make_workspace()
    upload = upload_file(workspace, workspace.owner, "x.csv", BytesIO(b"Phone\n"))
    started = make_import(workspace, b"Phone\n0123456789\n")
    ContactImport.objects.update(created_at="2026-01-01T00:00:00Z")
    resume_stalled_imports()
    assert list(ContactImport.objects.all()) == [started]
    assert not ImportChunk.objects.filter(contact_import_id=upload.pk).exists()
    assert not discard_upload(started, workspace.owner)


def test_imports_stand_in_the_audit_without_numbers() -> None:
    workspace = make_workspace()
    imported(workspace, "Phone\n0123456789\n")
    entries = AuditEntry.objects.filter(workspace=workspace, action__startswith="import.").order_by("pk")
    assert [entry.action for entry in entries] == ["import.uploaded", "import.started", "import.done"]
    assert entries[2].detail["created"] == 1
    assert "12345" not in json.dumps([entry.detail for entry in entries])
