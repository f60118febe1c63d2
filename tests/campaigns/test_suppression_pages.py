"""The pages over the suppressed numbers: add one or many, find one, take one off with how they agreed again."""

from __future__ import annotations

import csv
import io
import time

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client
from django.urls import reverse

from accounts.models import Workspace
from campaigns.actions.replies import note_incoming
from campaigns.actions.suppression import suppress
from campaigns.imports import numbers
from campaigns.models import ConsentEntry, Contact, GlobalSuppression, Suppression, SuppressionSource
from devices.gateway.contract import Incoming
from tests.factories import make_contact, make_device, make_suppression, make_workspace

pytestmark = pytest.mark.django_db

LIST, ADD = reverse("campaigns:suppression"), reverse("campaigns:suppression_add")
STRANGER = "+60123456789"


def listed(workspace: Workspace) -> list[str]:
    return sorted(Suppression.objects.for_workspace(workspace).values_list("phone", flat=True))


# ---- the list


def test_the_list_shows_numbers_people_and_how_we_know(as_alice: Client, workspace: Workspace) -> None:
    make_contact(workspace, phone=STRANGER, name="<b>Siti</b>")
    make_suppression(workspace, phone=STRANGER, source="reply", reason="<i>stop</i>")
    make_suppression(workspace, phone="+601111111111", created_by=workspace.owner)
    make_suppression(make_workspace(), phone="+60199999999")
    page = as_alice.get(LIST).content.decode()
    for shown in ("&lt;b&gt;Siti&lt;/b&gt;", "&lt;i&gt;stop&lt;/i&gt;", "Their reply", "no contact", "alice@"):
        assert shown in page
    assert "+60199999999" not in page


@pytest.mark.parametrize(
    ("asked", "found"),
    [
        ({"source": "link"}, ["link"]),
        ({"source": "person"}, ["person"]),
        ({"source": "nonsense"}, ["link", "person"]),
        ({"q": "012 345 6789"}, ["link"]),
        ({"q": STRANGER, "source": "person"}, []),
        ({"q": "+6012"}, []),
    ],
)
def test_the_list_is_filtered_by_its_address(
    as_alice: Client, workspace: Workspace, asked: dict[str, str], found: list[str]
) -> None:
    make_suppression(workspace, phone=STRANGER, source="link", reason="why link")
    make_suppression(workspace, source="person", reason="why person")
    page = as_alice.get(LIST, asked).content.decode()
    assert [word for word in ("link", "person") if f"why {word}" in page] == found


def test_members_see_which_of_their_contacts_staff_took_off_and_not_why(as_alice: Client, workspace: Workspace) -> None:
    contact = make_contact(workspace, phone=STRANGER, name="Siti")
    GlobalSuppression.objects.create(phone=STRANGER, reason="a secret of the staff")
    GlobalSuppression.objects.create(phone="+60199999999", reason="no contact here")
    assert "Staff suppressed 1 of your contacts for all workspaces" in as_alice.get(LIST).content.decode()
    page = as_alice.get(LIST, {"source": "everywhere"}).content.decode()
    assert "Siti" in page
    assert "+60199999999" not in page
    about = as_alice.get(reverse("campaigns:contact", args=[contact.uuid])).content.decode()
    assert "for all workspaces" in about
    assert "Take the opt-out back" not in about
    assert "a secret" not in page + about


def test_the_export_can_be_added_again(as_alice: Client, workspace: Workspace) -> None:
    for phone in (STRANGER, "+601111111111"):
        make_suppression(workspace, phone=phone, reason="=cmd()")
    answer = as_alice.post(reverse("campaigns:suppression_export")).getvalue()
    rows = list(csv.reader(io.StringIO(answer.decode("utf-8-sig"))))
    assert rows[1][:3] == [f"'{STRANGER}", "A member of the workspace", "'=cmd()"]
    Suppression.objects.all().delete()
    file = SimpleUploadedFile("again.csv", answer)
    assert as_alice.post(ADD, {"file": file, "reason": "again"}).status_code == 302
    assert listed(workspace) == ["+601111111111", STRANGER]


# ---- adding


def test_pasted_numbers_are_read_as_people_write_them(as_alice: Client, workspace: Workspace) -> None:
    text = f"012-345 6789\n\n  +1 212 555 0100 ; 0060 11 1111 1111\t\n{STRANGER}"
    answer = as_alice.post(ADD, {"text": text, "reason": "old list"}, follow=True)
    assert "3 numbers were added." in answer.content.decode()
    assert listed(workspace) == ["+12125550100", "+601111111111", STRANGER]


def test_bad_lines_are_listed_and_kept_and_the_others_are_saved(as_alice: Client, workspace: Workspace) -> None:
    text = f"{STRANGER}\n<b>Siti</b>\n6.01E+10\n12"
    answer = as_alice.post(ADD, {"text": text, "reason": "old list"})
    page = answer.content.decode()
    assert answer.status_code == 422
    assert listed(workspace) == [STRANGER]
    assert "1 number was added." in page
    for shown in ("Line 2:", "Line 3:", "Line 4:", "&lt;b&gt;Siti&lt;/b&gt;", "old list"):
        assert shown in page
    assert answer.context["form"].initial["text"] == "<b>Siti</b>\n6.01E+10\n12"


def test_a_file_gives_its_column_of_numbers(as_alice: Client, workspace: Workspace) -> None:
    file = SimpleUploadedFile("old.csv", "\ufeffName;Mobile;City\nSiti;012-345 6789;KL\nAli;none;KL\n".encode())
    answer = as_alice.post(ADD, {"file": file, "reason": "old list"})
    assert listed(workspace) == [STRANGER]
    assert "Line 3:" in answer.content.decode()


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "This file is empty"),
        (b"\xff\xfe1\x002\x00", "UTF-16"),
        (b"PK\x03\x04zip", "This is an Excel workbook or a ZIP file"),
        (b"Phone\n" + bytes(100), "This is not a text file"),
        (b"Name,City\nSiti,KL\n", "No column of this file holds phone numbers"),
        (b'Phone\n"+60123456789\n', ""),
        (b"Phone\n\x00\x00\x00\x00\n", ""),
        (b"Phone\n" + b"9" * 3_000_000, ""),
    ],
)
def test_hostile_files_end_in_a_sentence(as_alice: Client, data: bytes, said: str) -> None:
    answer = as_alice.post(ADD, {"file": SimpleUploadedFile("x.csv", data), "reason": "why"})
    assert answer.status_code == 422
    assert said in answer.content.decode()
    assert not Suppression.objects.exists()


def test_too_many_lines_nothing_at_all_and_no_reason_are_refused(
    as_alice: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(numbers, "MOST", 2)
    three = {"text": "+60123456781\n+60123456782\n+60123456783", "reason": "why"}
    for sent, said in (
        (three, "more than 2 lines"),
        ({"text": " \n", "reason": "why"}, "at least one number"),
        ({"text": STRANGER, "reason": ""}, "Say why"),
    ):
        answer = as_alice.post(ADD, sent)
        assert (answer.status_code, said in answer.content.decode()) == (422, True), said
    assert not Suppression.objects.exists()


# ---- taking off


def remove(workspace: Workspace, **fields: str) -> str:
    made = make_suppression(workspace, phone=STRANGER, **fields)
    return reverse("campaigns:suppression_remove", args=[made.uuid])


AGREED = {"consent": "Wrote to us first", "reason": "asked on the phone"}
IN_OWN_WORDS = {"consent": "other", "consent_other": "Signed a form in our shop", "reason": "asked again"}


def test_what_a_member_added_is_taken_off_with_how_they_agreed(as_alice: Client, workspace: Workspace) -> None:
    contact = make_contact(workspace, phone=STRANGER, opted_out_at="2026-01-01T00:00Z")
    url = remove(workspace)
    for missing in ({"reason": "why"}, {"consent": "Wrote to us first"}, {**AGREED, "consent": "nonsense"}):
        assert as_alice.post(url, missing).status_code == 422
    assert as_alice.post(url, AGREED).status_code == 302
    assert listed(workspace) == []
    entry = ConsentEntry.objects.get()
    assert (entry.contact, entry.kind, entry.source, entry.created_by) == (
        contact, "granted", "Wrote to us first", workspace.owner,
    )  # fmt: skip
    assert Contact.objects.get().opted_out_at is None
    assert as_alice.post(url, AGREED).status_code == 404


@pytest.mark.parametrize("source", ["reply", "link"])
def test_whoever_stopped_by_themselves_is_taken_off_only_in_own_words(
    as_alice: Client, workspace: Workspace, source: str
) -> None:
    url = remove(workspace, source=source)
    for sent in (AGREED, {**IN_OWN_WORDS, "consent_other": "yes"}):
        answer = as_alice.post(url, sent)
        assert answer.status_code == 422
        assert "have not written since" in answer.content.decode()
    assert as_alice.post(url, IN_OWN_WORDS).status_code == 302
    assert listed(workspace) == []


def test_whoever_wrote_again_is_taken_off_with_what_they_wrote_in_sight(as_alice: Client, workspace: Workspace) -> None:
    suppress(workspace, STRANGER, SuppressionSource.LINK, "asked", None)
    Suppression.objects.update(created_at="2026-01-01T00:00Z")
    device = make_device(workspace)
    note_incoming([Incoming(device.pk, "c@s.whatsapp.net", STRANGER, "A", "Please <b>send</b>", time.time())])
    url = reverse("campaigns:suppression_remove", args=[Suppression.objects.get().uuid])
    assert "Please &lt;b&gt;send&lt;/b&gt;" in as_alice.get(url).content.decode()
    assert as_alice.post(url, AGREED).status_code == 302


def test_the_contact_page_asks_the_same_and_leads_back(as_alice: Client, workspace: Workspace) -> None:
    contact = make_contact(workspace, phone=STRANGER)
    url = reverse("campaigns:contact_opt_in", args=[contact.uuid])
    assert as_alice.get(url).status_code == 302  # nothing to take back
    suppress(workspace, STRANGER, SuppressionSource.REPLY, "asked", None)
    assert as_alice.post(url, AGREED).status_code == 422
    assert as_alice.post(url, IN_OWN_WORDS)["Location"] == reverse("campaigns:contact", args=[contact.uuid])
    contact.refresh_from_db()
    assert (contact.opted_out_at, contact.consent_source) == (None, "Signed a form in our shop")


def test_a_mark_without_a_row_of_the_list_is_taken_back_too(as_alice: Client, workspace: Workspace) -> None:
    contact = make_contact(workspace, opted_out_at="2026-01-01T00:00Z", opted_out_reason="long ago")
    url = reverse("campaigns:contact_opt_in", args=[contact.uuid])
    assert "long ago" in as_alice.get(url).content.decode()
    as_alice.post(url, AGREED)
    contact.refresh_from_db()
    assert contact.opted_out_at is None
