"""The consent ledger: every agreement and every withdrawal is in it, once, and stays as it was written."""

from __future__ import annotations

import csv
import io
from importlib import import_module

import pytest
from django.db import IntegrityError, connection, transaction
from django.db.models import Model
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from accounts.models import AuditEntry, Workspace
from accounts.tenancy import tenant_scope
from campaigns.actions.contacts import add_contact
from campaigns.actions.importing import work_on_import
from campaigns.actions.replies import note_incoming
from campaigns.actions.suppression import suppress, suppress_many, unsuppress
from campaigns.models import ConsentEntry, Contact, Suppression, SuppressionSource
from devices.gateway.contract import Incoming
from tests.factories import make_contact, make_device, make_import, make_suppression, make_workspace, new_contact

pytestmark = pytest.mark.django_db

PERSON = SuppressionSource.PERSON
STRANGER = "+60123456789"


def ledger() -> list[tuple[object, ...]]:
    return list(ConsentEntry.objects.order_by("pk").values_list("phone", "kind", "source", "proof", "created_by"))


def note(workspace: Workspace, **fields: object) -> ConsentEntry:
    made = {"phone": STRANGER, "kind": "granted", "source": "In the shop", **fields}
    return ConsentEntry.objects.create(workspace=workspace, **made)


# ---- what is written


def test_each_deed_of_a_person_is_an_entry(workspace: Workspace) -> None:
    by = workspace.owner
    contact, _ = add_contact(workspace, by, phone=STRANGER, name="Siti", tags=[], consent_source="In the shop")
    add_contact(workspace, by, phone=STRANGER, name="Siti", tags=[], consent_source="Again")
    for _ in range(2):
        suppress(workspace, STRANGER, PERSON, "called us", by)
    for _ in range(2):
        unsuppress(workspace, STRANGER, "called again", by, consent_source="On the phone")
    note_incoming([Incoming(make_device(workspace).pk, "c@s.whatsapp.net", STRANGER, "A", "stop", 1.0)])
    assert ledger() == [
        (STRANGER, "granted", "In the shop", "", by.pk),
        (STRANGER, "withdrawn", "A member of the workspace", "called us", by.pk),
        (STRANGER, "granted", "On the phone", "called again", by.pk),
        (STRANGER, "withdrawn", "Their reply", "asked to stop in a reply", None),
    ]
    assert set(ConsentEntry.objects.values_list("contact", flat=True)) == {contact.pk}
    contact.refresh_from_db()
    assert contact.consent_source == "On the phone"


def test_many_numbers_at_once_are_an_entry_each_and_a_repeat_is_none(workspace: Workspace) -> None:
    known, marked = make_contact(workspace), make_contact(workspace, opted_out_at="2026-01-01T00:00Z")
    listed = make_suppression(workspace).phone
    elsewhere = make_contact(make_workspace(), phone=known.phone)
    phones = [listed, STRANGER, known.phone, marked.phone]
    done = suppress_many(workspace, phones, "from our last provider", workspace.owner)
    assert (done.new, done.contacts) == (3, 1)
    assert suppress_many(workspace, phones, "again", workspace.owner) == (0, 0)
    entries = ConsentEntry.objects.order_by("phone").values_list("phone", "contact")
    assert dict(entries) == {known.phone: known.pk, marked.phone: marked.pk, STRANGER: None}
    known.refresh_from_db()
    elsewhere.refresh_from_db()
    assert (known.opted_out_reason, elsewhere.opted_out_at) == ("from our last provider", None)
    assert Suppression.objects.get(phone=STRANGER).created_by == workspace.owner
    assert AuditEntry.objects.filter(action="suppression.added").count() == 1


def test_nobody_changes_or_deletes_an_entry(workspace: Workspace) -> None:
    note(workspace)
    for change in ({"kind": "withdrawn"}, {"source": "Other"}, {"phone": "+60111111111"}, {"proof": "p"}):
        with pytest.raises(IntegrityError, match="append-only"), transaction.atomic():
            ConsentEntry.objects.update(**change)
    with tenant_scope(workspace), pytest.raises(Exception, match="permission denied"), transaction.atomic():
        ConsentEntry.objects.all()._raw_delete("default")
    assert ConsentEntry.objects.get().kind == "granted"


def test_the_ledger_begins_with_what_was_known_before_it(workspace: Workspace) -> None:
    work_on_import(make_import(workspace, f"Phone\n{STRANGER}\n".encode(), consent_proof="form 7").pk)
    by_hand = make_contact(workspace, consent_source="In the shop")
    marked = make_contact(workspace, opted_out_at="2026-01-01T00:00Z", opted_out_reason="long ago")
    suppress(workspace, STRANGER, SuppressionSource.REPLY, "said so", None)
    gone = make_suppression(workspace, reason="no contact")
    with connection.cursor() as cursor:
        cursor.execute("DELETE FROM campaigns_consententry")
        for _ in range(2):
            cursor.execute(import_module("campaigns.migrations.0013_audience").LEDGER_BEGINS_SQL)
    found = ConsentEntry.objects.order_by("pk")
    imported = found.get(phone=STRANGER, kind="granted")
    assert (imported.proof, imported.contact_import, imported.created_by) == (
        "form 7",
        Contact.objects.get(phone=STRANGER).consent_import,
        workspace.owner,
    )
    assert found.get(contact=by_hand).source == "In the shop"
    assert set(found.filter(kind="withdrawn").values_list("phone", "source", "proof")) == {
        (STRANGER, "Their reply", "said so"),
        (marked.phone, "A member of the workspace", "long ago"),
        (gone.phone, "A member of the workspace", "no contact"),
    }
    assert len(found) == 6


@pytest.mark.parametrize("lost", ["contact", "imported", "entry of a contact", "entry of an import", "of a stranger"])
def test_nobody_and_no_entry_stands_in_a_workspace_that_is_none(workspace: Workspace, lost: str) -> None:
    """The workspace's own key is gone: composite keys and a generated column prove the same."""
    made = make_import(workspace, b"Phone\n")
    entry = {"phone": STRANGER, "kind": "withdrawn", "source": ""}
    rows: dict[str, Model] = {
        "contact": new_contact(workspace),
        "imported": new_contact(workspace, consent_import=made),
        "entry of a contact": ConsentEntry(contact=make_contact(workspace), **entry),
        "entry of an import": ConsentEntry(contact_import=made, **entry),
        "of a stranger": ConsentEntry(**entry),
    }
    rows[lost].workspace_id = 2**40  # type: ignore[attr-defined]
    with connection.cursor() as cursor:
        cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
    with pytest.raises(IntegrityError, match=r"workspace_fk|tenant_fk"), transaction.atomic():
        rows[lost].save()


def test_a_workspace_leaves_no_contact_and_no_entry_behind(workspace: Workspace) -> None:
    kept = note(make_workspace())
    work_on_import(make_import(workspace, f"Phone\n{STRANGER}\n".encode()).pk)
    note(workspace, contact=make_contact(workspace))
    note(workspace, kind="withdrawn")
    workspace.delete()
    connection.check_constraints()
    assert list(ConsentEntry.objects.all()) == [kept]
    assert not Contact.objects.exists()


# ---- the page


def test_the_page_shows_each_entry_and_how_we_know(as_alice: Client, workspace: Workspace) -> None:
    contact = make_contact(workspace, name="<b>Siti</b>", phone=STRANGER)
    note(workspace, contact=contact, source="<i>form</i>", proof="paper 7", created_by=workspace.owner)
    note(workspace, phone="", kind="withdrawn", source="Their reply")
    note(make_workspace(), phone="+60199999999")
    page = as_alice.get(reverse("campaigns:consent")).content.decode()
    for shown in ("&lt;b&gt;Siti&lt;/b&gt;", "&lt;i&gt;form&lt;/i&gt;", "paper 7", "alice@", "erased", "themselves"):
        assert shown in page
    assert "+60199999999" not in page


@pytest.mark.parametrize(
    ("asked", "found"),
    [
        ({"kind": "withdrawn"}, ["B"]),
        ({"kind": "granted"}, ["A", "C"]),
        ({"kind": "nonsense"}, ["A", "B", "C"]),
        ({"q": "012-345 6789"}, ["A", "B"]),
        ({"q": STRANGER, "kind": "granted"}, ["A"]),
        ({"q": "345"}, []),
        ({"q": "\0"}, ["A", "B", "C"]),
        ({"before": "x"}, ["A", "B", "C"]),
        ({"before": "9" * 30}, ["A", "B", "C"]),
    ],
)
def test_the_page_is_filtered_by_its_address(
    as_alice: Client, workspace: Workspace, asked: dict[str, str], found: list[str]
) -> None:
    note(workspace, contact=make_contact(workspace, phone=STRANGER), proof="proof A")
    note(workspace, kind="withdrawn", proof="proof B")  # from before they were a contact
    note(workspace, phone="+60111111111", proof="proof C")
    page = as_alice.get(reverse("campaigns:consent"), asked).content.decode()
    assert [letter for letter in "ABC" if f"proof {letter}" in page] == found


def test_the_page_turns_by_key_with_few_questions(as_alice: Client, workspace: Workspace) -> None:
    for number in range(60):
        note(workspace, contact=make_contact(workspace), proof=f"n{number}.")
    with CaptureQueriesContext(connection) as asked:
        first = as_alice.get(reverse("campaigns:consent"))
    assert len(asked) < 20
    following = first.context["following"]
    second = as_alice.get(reverse("campaigns:consent"), {"before": following}).content.decode()
    assert [number for number in range(60) if f"n{number}." in second] == list(range(10))


def test_the_export_holds_everything_and_no_formula(as_alice: Client, workspace: Workspace) -> None:
    contact = make_contact(workspace, name="=2+5", phone=STRANGER)
    note(workspace, contact=contact, source="@SUM(A1)", proof="-1", created_by=workspace.owner)
    note(workspace, contact_import=make_import(workspace, b"Phone\n"))
    note(make_workspace(), phone="+60199999999")
    answer = as_alice.post(reverse("campaigns:consent_export"))
    header, row, brought = csv.reader(io.StringIO(answer.getvalue().decode("utf-8-sig")))
    assert row[6:] == ["", "alice@example.com"]
    assert brought[6:] == ["people.csv", "alice@example.com"]
    assert (header[1], row[1:6]) == ("Number", [f"'{STRANGER}", "'=2+5", "Agreed", "'@SUM(A1)", "'-1"])
    assert AuditEntry.objects.get(action="consent.exported").detail == {"entries": 2}


def test_an_empty_ledger_and_a_viewer_have_nothing_to_press(
    as_alice: Client, workspace: Workspace, as_bob: Client
) -> None:
    assert "Nothing in the ledger yet" in as_alice.get(reverse("campaigns:consent")).content.decode()
    note(workspace)
    assert "Export" not in as_bob.get(reverse("campaigns:consent")).content.decode()
