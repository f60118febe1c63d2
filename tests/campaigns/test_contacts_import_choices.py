"""What the wizard lets people choose: policies, a dry run, undo, a sheet; and whom no import brings back."""

from __future__ import annotations

from io import BytesIO

import pytest

from accounts.models import AuditEntry
from campaigns.actions.contact_changes import start_change
from campaigns.actions.contacts import add_contact, edit_contact
from campaigns.actions.importing import work_on_import
from campaigns.actions.imports import (
    choose_sheet,
    import_for_real,
    resume_stalled_imports,
    undo_import,
    upload_file,
)
from campaigns.actions.suppression import suppress
from campaigns.actions.tags import delete_tag
from campaigns.erasures import digest
from campaigns.imports.reader import UnreadableFile
from campaigns.models import (
    ConsentEntry,
    Contact,
    ContactImport,
    ContactStatus,
    ContactTag,
    CustomField,
    Deed,
    Erasure,
    FieldKind,
    GlobalSuppression,
    ImportChunk,
    ImportReject,
    ImportRow,
    ImportState,
    Reply,
    SuppressionSource,
    Tag,
    UpdatePolicy,
)
from tests.campaigns.test_contacts_import import everything, imported
from tests.factories import make_contact, make_device, make_import, make_workspace
from tests.workbooks import make_xlsx

pytestmark = pytest.mark.django_db

FILE = "Name,Phone,City,Status,Tags\nNew,0123456780,KL,customer,vip\nAbu,0123456789,PJ,customer,vip\n,0123456788,,,\n"


def done(contact_import: ContactImport) -> ContactImport:
    work_on_import(contact_import.pk)
    contact_import.refresh_from_db()
    return contact_import


def known(workspace) -> Contact:
    make_contact(workspace, phone="+60123456788", name="Same", timezone="Asia/Kuala_Lumpur")
    return make_contact(workspace, phone="+60123456789", name="Ali", fields={"x": "1"}, timezone="Asia/Tokyo")


@pytest.mark.parametrize(
    ("policy", "name", "fields", "status", "tags"),
    [
        (UpdatePolicy.OVERWRITE, "Abu", {"x": "1", "city": "PJ"}, ContactStatus.CUSTOMER, ["vip"]),
        (UpdatePolicy.FILL, "Ali", {"x": "1", "city": "PJ"}, ContactStatus.PROSPECT, ["vip"]),
        (UpdatePolicy.SKIP, "Ali", {"x": "1"}, ContactStatus.PROSPECT, []),
    ],
)
def test_the_policy_says_what_happens_to_people_who_are_contacts(policy, name, fields, status, tags) -> None:
    workspace = make_workspace()
    contact = known(workspace)
    made = imported(workspace, FILE, policy=policy)
    contact.refresh_from_db()
    assert (contact.name, contact.fields, contact.status, contact.timezone) == (name, fields, status, "Asia/Tokyo")
    assert sorted(link.tag.name for link in contact.tag_links.all()) == tags
    new = Contact.objects.get(phone="+60123456780")
    assert (new.status, new.timezone) == (ContactStatus.CUSTOMER, "Asia/Kuala_Lumpur")
    skipped = policy == UpdatePolicy.SKIP
    assert (made.created, made.updated, made.unchanged) == (1, 0 if skipped else 1, 2 if skipped else 1)


@pytest.mark.parametrize("policy", UpdatePolicy.values)
def test_a_dry_run_changes_nothing_and_foretells_the_real_one(policy) -> None:
    workspace = make_workspace()
    known(workspace)
    suppress(workspace, "+60123456780", SuppressionSource.PERSON, "", workspace.owner)
    before, ledger = everything(workspace), ConsentEntry.objects.count()
    tried = done(make_import(workspace, FILE.encode() + b"Bad,12,,,\n", policy=policy, dry_run=True))
    assert everything(workspace) == before
    assert ConsentEntry.objects.count() == ledger
    assert tried.state == ImportState.DONE
    foretold = (tried.created, tried.updated, tried.unchanged, tried.rejected, tried.kept_out)
    resume_stalled_imports()
    assert import_for_real(tried, workspace.owner)
    assert not import_for_real(tried, workspace.owner)
    real = done(tried)
    assert (real.created, real.updated, real.unchanged, real.rejected, real.kept_out) == foretold
    assert (real.created, real.rejected, real.kept_out) == (1, 1, 1)
    assert Contact.objects.for_workspace(workspace).count() == 3
    assert not ImportChunk.objects.exists()


def test_the_rows_of_a_dry_run_go_after_two_days() -> None:
    workspace = make_workspace()
    tried = done(make_import(workspace, FILE.encode(), dry_run=True))
    assert ImportRow.objects.exists()
    ContactImport.objects.update(finished_at="2026-01-01T00:00:00Z")
    assert resume_stalled_imports() == 1
    done(tried)
    assert not ImportRow.objects.exists()
    assert not ImportChunk.objects.exists()
    assert not import_for_real(tried, workspace.owner)


def test_somebody_who_was_erased_after_the_dry_run_is_refused_by_the_real_one() -> None:
    workspace = make_workspace()
    tried = done(make_import(workspace, FILE.encode(), dry_run=True))
    Erasure.objects.create(workspace=workspace, digest=digest("+60123456780"))
    assert import_for_real(tried, workspace.owner)
    real = done(tried)
    assert (real.created, real.rejected, real.accepted) == (2, 1, 2)
    assert ImportReject.objects.get().line == 2


def test_everybody_who_is_new_agrees_in_the_ledger_and_nobody_else() -> None:
    workspace = make_workspace()
    known(workspace)
    suppress(workspace, "+60123456780", SuppressionSource.PERSON, "", workspace.owner)
    made = imported(workspace, FILE + "Other,0123456787,,,\n", consent_source="Counter", consent_proof="Folder 7")
    entry = ConsentEntry.objects.get(kind="granted")
    assert entry.contact
    assert (entry.phone, entry.contact.name, entry.kind) == ("+60123456787", "Other", "granted")
    assert (entry.source, entry.proof, entry.contact_import, entry.noted_by) == (
        "Counter",
        "Folder 7",
        made,
        workspace.owner,
    )


def test_those_who_opted_out_stay_so_and_are_listed() -> None:
    workspace = make_workspace()
    suppress(workspace, "+60123456780", SuppressionSource.REPLY, "STOP", None)
    make_contact(workspace, phone="+60123456789", opted_out_at="2026-01-01T00:00:00Z")
    GlobalSuppression.objects.create(phone="+60123456788", reason="Asked us")
    made = imported(workspace, FILE + "Fine,0123456787,,,\n")
    assert made.kept_out == 3
    assert list(made.kept_out_rows.values_list("phone", flat=True).order_by("phone")) == [
        "+60123456780",
        "+60123456788",
        "+60123456789",
    ]
    assert Contact.objects.filter(opted_out_at__isnull=False).count() == 2


def test_a_row_of_somebody_who_was_erased_is_rejected_however_often_it_stands_there() -> None:
    workspace, other = make_workspace(), make_workspace()
    Erasure.objects.create(workspace=workspace, digest=digest("+60123456780"))
    Erasure.objects.create(workspace=other, digest=digest("+60123456789"))
    made = imported(workspace, FILE + "Again,+60 12-345 6780,,,\n")
    rejects = list(ImportReject.objects.order_by("row").values_list("line", "reason", "cells"))
    assert [(line, cells) for line, _, cells in rejects] == [(2, []), (5, [])]
    assert all("erased" in reason for _, reason, _ in rejects)
    assert (made.accepted, made.rejected, made.created) == (2, 2, 2)


def test_typed_fields_refuse_what_they_cannot_hold() -> None:
    workspace = make_workspace()
    CustomField.objects.create(workspace=workspace, name="age", kind=FieldKind.NUMBER)
    CustomField.objects.create(workspace=workspace, name="born", kind=FieldKind.DATE)
    imported(workspace, "Phone,Age,Born\n0123456780,41.0,31/1/1985\n0123456781,old,\n0123456782,,02/03/1985\n")
    assert Contact.objects.get().fields == {"age": "41", "born": "1985-01-31"}
    reasons = list(ImportReject.objects.order_by("row").values_list("reason", flat=True))
    assert reasons == [
        "The age “old” is not a number like 1234.5",
        "The born “02/03/1985” is not a date like 2026-01-31",
    ]


def test_undo_removes_new_contacts_that_nothing_happened_to_and_says_why_others_stay(monkeypatch) -> None:
    monkeypatch.setattr("campaigns.actions.importing.STEP_ROWS", 2)
    workspace = make_workspace()
    old = known(workspace)
    made = imported(workspace, FILE + "".join(f"P{i},012345677{i},,,new\n" for i in range(5)), tags=["autumn"])
    assert made.created == 6
    changed, answered = Contact.objects.filter(phone__in=["+60123456770", "+60123456771"]).order_by("phone")
    Contact.objects.filter(pk=changed.pk).update(name="Renamed", updated_at="2036-01-01T00:00:00Z")
    Reply.objects.create(workspace=workspace, contact=answered, phone=answered.phone, **reply_fields(workspace))
    assert undo_import(made, workspace.owner)
    assert not undo_import(made, workspace.owner)
    done(made)
    assert (made.undone, made.undo_kept) == (4, {"changed": 1, "replied": 1})
    assert made.undone_at is not None
    assert set(Contact.objects.values_list("pk", flat=True)) >= {old.pk, changed.pk, answered.pk}
    assert Contact.objects.count() == 4
    assert ConsentEntry.objects.filter(contact=None, contact_import=made).count() == 4
    assert Tag.objects.filter(name="autumn").exists()
    deeds = AuditEntry.objects.filter(action__startswith="import.und").order_by("pk")
    assert [entry.action for entry in deeds] == ["import.undo", "import.undone"]


def reply_fields(workspace) -> dict:
    return {"device": make_device(workspace), "wire_id": "1", "chat": "x", "text": "Hi", "at": "2026-01-01T00:00:00Z"}


def test_contacts_that_a_later_import_tags_stay() -> None:
    workspace = make_workspace()
    made = imported(workspace, "Phone\n0123456780\n0123456781\n")
    imported(workspace, "Phone\n0123456780\n", tags=["later"])
    undo_import(made, workspace.owner)
    done(made)
    assert (made.undone, made.undo_kept) == (1, {"changed": 1})
    assert Contact.objects.get().phone == "+60123456780"


def test_a_tag_taken_off_one_person_keeps_them_and_a_tag_that_is_deleted_keeps_nobody() -> None:
    workspace = make_workspace()
    made = imported(workspace, "".join(["Phone\n", *(f"012345678{i}\n" for i in range(3))]), tags=["fair", "autumn"])
    edited, untagged = Contact.objects.filter(phone__in=["+60123456780", "+60123456781"]).order_by("phone")
    edit_contact(
        edited, workspace.owner, name="", status=edited.status, tags=["autumn"], device=None,
        timezone=edited.timezone, fields={},
    )  # fmt: skip
    start_change(workspace, workspace.owner, Deed.UNTAG, {"uuids": [str(untagged.uuid)]}, "fair")
    delete_tag(Tag.objects.get(name="autumn"), workspace.owner)
    assert list(ContactTag.objects.values_list("contact__phone", "tag__name")) == [("+60123456782", "fair")]
    undo_import(made, workspace.owner)
    done(made)
    assert (made.undone, made.undo_kept) == (1, {"changed": 2})


def test_an_undo_that_was_cut_off_goes_on(monkeypatch) -> None:
    monkeypatch.setattr("campaigns.actions.importing.STEP_ROWS", 1)
    workspace = make_workspace()
    made = imported(workspace, FILE)
    undo_import(made, workspace.owner)
    work_on_import(made.pk, turn=0)
    assert Contact.objects.count() == 2
    ContactImport.objects.update(heartbeat_at="2026-01-01T00:00:00Z")
    assert resume_stalled_imports() == 1
    done(made)
    assert (made.undone, Contact.objects.count()) == (3, 0)


PEOPLE: list[list[object]] = [
    ["Name", "Phone", "Born"],
    ["Ali", 60123456789, None],
    [],
    ["Bad", "6.01E+10"],
    ["Abu", "012-345 6788"],
]


def test_a_workbook_with_one_sheet_imports_like_a_file() -> None:
    workspace = make_workspace()
    upload = upload_file(workspace, workspace.owner, "people.csv", BytesIO(make_xlsx(PEOPLE)))
    assert upload.state == ImportState.OPENING
    done(upload)
    assert (upload.state, upload.sheet, upload.error) == (ImportState.UPLOADED, "People", "")
    made = imported(workspace, make_xlsx(PEOPLE))
    assert (made.accepted, made.rejected, made.created) == (2, 1, 2)
    assert ImportReject.objects.get().line == 4
    assert set(Contact.objects.values_list("phone", flat=True)) == {"+60123456789", "+60123456788"}


def test_of_several_sheets_one_is_chosen() -> None:
    workspace = make_workspace()
    file = make_xlsx({"Notes": [["x"]], "Kunden; 2026": PEOPLE})
    upload = done(upload_file(workspace, workspace.owner, "people.xlsx", BytesIO(file)))
    assert upload.wants_sheet
    assert not choose_sheet(upload, "Other")
    assert choose_sheet(upload, "Kunden; 2026")
    assert not choose_sheet(upload, "Notes")
    done(upload)
    assert (upload.state, upload.sheet, upload.wants_sheet) == (ImportState.UPLOADED, "Kunden; 2026", False)


@pytest.mark.parametrize(
    ("rows", "sentence"),
    [([], "This sheet is empty."), ([["x"] * 16_384], "16,384 columns; 200 is the most")],
)
def test_a_sheet_that_cannot_be_imported_fails_with_a_sentence(rows, sentence) -> None:
    workspace = make_workspace()
    upload = done(upload_file(workspace, workspace.owner, "x.xlsx", BytesIO(make_xlsx(rows))))
    assert upload.state == ImportState.FAILED
    assert sentence in upload.error
    assert not ImportChunk.objects.exists()


def test_each_hostile_row_is_one_line_of_the_list_and_the_others_come_in() -> None:
    rows = [
        b"Name,Phone,Note",
        b'"open,0123456780,',
        b"nul\0,0123456781,",
        b"=cmd,6.01E+10,@x",
        b"long,0123456782," + b"x" * (10 << 20),
        b"a,0123456783,b,unquoted",
        b"=1+1,0123456789,-2",
    ]
    made = imported(make_workspace(), b"\n".join(rows))
    assert (made.state, made.accepted, made.rejected) == (ImportState.DONE, 1, 5)
    assert list(ImportReject.objects.order_by("row").values_list("line", "reason")) == [
        (2, "A quotation mark opened on this line is never closed"),
        (3, "The row holds a NUL character (byte 0)"),
        (
            4,
            "“6.01E+10” was shortened by a spreadsheet and its digits are lost: "
            "format the column as text and save the file again",
        ),
        (5, "This line is 10,485,777 bytes long; 1,048,576 is the most"),
        (6, "4 cells in a file of 3 columns: is a delimiter unquoted inside a cell?"),
    ]
    kept = Contact.objects.get()
    assert (kept.name, kept.fields) == ("=1+1", {"note": "-2"})


def test_a_workbook_that_is_none_is_not_kept() -> None:
    workspace = make_workspace()
    with pytest.raises(UnreadableFile, match="damaged"):
        upload_file(workspace, workspace.owner, "x.xlsx", BytesIO(make_xlsx(PEOPLE)[:-30]))
    assert not ContactImport.objects.exists()


def test_a_contact_added_by_hand_gets_its_zone() -> None:
    workspace = make_workspace()
    contact, _ = add_contact(workspace, workspace.owner, phone="+12125550123", name="", tags=[], consent_source="x")
    assert contact.timezone == "America/New_York"
