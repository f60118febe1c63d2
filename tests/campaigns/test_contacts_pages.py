"""Contacts and imports as Alice (owner), Bob (viewer) and Charlie (a stranger) see them."""

from __future__ import annotations

import csv
import io
import json
import uuid
from pathlib import Path
from typing import Any

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client
from django.urls import reverse
from django.utils.html import strip_tags

from accounts.models import AuditEntry, User, Workspace
from campaigns.actions.importing import work_on_import
from campaigns.actions.suppression import suppress
from campaigns.models import Contact, ContactImport, CustomField, ImportState, SuppressionSource, Tag
from tests.factories import make_campaign, make_contact, make_device, make_import, make_workspace
from tests.workbooks import make_xlsx

pytestmark = pytest.mark.django_db

DATA = Path(__file__).parents[1] / "data"
MESSY = (DATA / "contacts_messy.csv").read_bytes()
EXPECTED = json.loads((DATA / "contacts_messy.expected.json").read_text())


@pytest.fixture
def workspace(alice: User, charlie: User) -> Workspace:
    return make_workspace(alice, default_country="MY")


def upload(client: Client, file: bytes, name: str = "people.csv") -> Any:
    return client.post(reverse("campaigns:import_upload"), {"file": SimpleUploadedFile(name, file)})


def finished(workspace, file: bytes, **options) -> ContactImport:
    contact_import = make_import(workspace, file, **options)
    work_on_import(contact_import.pk)
    contact_import.refresh_from_db()
    return contact_import


def test_a_file_goes_from_upload_to_contacts(as_alice, workspace) -> None:
    page = as_alice.get(upload(as_alice, MESSY).url)
    assert page.status_code == 200
    form = page.context["form"]
    roles = [column.role.value() for column in form.columns_on_page()]
    assert roles == ["name", "phone", "field", "tags"]
    sent = {name: form[name].value() or "" for name in form.fields} | {
        "header": "on",
        "tags": "autumn; first",
        "consent": "Wrote to us first",
        "consent_proof": "folder 7",
    }
    contact_import = ContactImport.objects.get()
    started = as_alice.post(reverse("campaigns:import_start", args=[contact_import.uuid]), sent)
    assert started.url == reverse("campaigns:import", args=[contact_import.uuid])
    work_on_import(contact_import.pk)
    page = as_alice.get(started.url)
    assert page.status_code == 200
    text = page.content.decode()
    assert f"{EXPECTED['accepted_rows']:,}" in text
    assert f"{EXPECTED['contacts']:,}" in text
    listed = as_alice.get(reverse("campaigns:contacts"), {"tag": "autumn"})
    assert listed.context["count"] == EXPECTED["contacts"]
    someone = listed.context["page"].rows[0]
    assert someone.consent_source == "Wrote to us first"
    assert "folder 7" in as_alice.get(reverse("campaigns:contact", args=[someone.uuid])).content.decode()


def mapped(form, **changes) -> dict:
    fields = {name: form[name].value() or "" for name in form.fields}
    return fields | {"header": "on", "consent": "Wrote to us first", "consent_proof": "folder 7"} | changes


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"consent": ""}, "Say how they agreed"),
        ({"policy": "erase"}, "not one of the available choices"),
        ({"consent": "other"}, "Describe how they agreed"),
        ({"role_1": "ignore"}, "exactly one column as the phone number"),
        ({"role_0": "phone"}, "exactly one column as the phone number"),
        ({"role_2": "field", "field_2": " - "}, "Give the field a name"),
        ({"role_0": "field", "field_0": "CITY", "field_2": "city"}, "Two columns can&#x27;t both be"),
        ({"country": "XX"}, "not one of the available choices"),
        ({"tags": "x" * 61}, "61 characters long"),
    ],
)
def test_a_mapping_that_lacks_something_says_so_and_keeps_what_was_chosen(as_alice, changes, sentence) -> None:
    page = as_alice.get(upload(as_alice, MESSY).url)
    contact_import = ContactImport.objects.get()
    sent = mapped(page.context["form"], consent_proof="kept words", **changes)
    answer = as_alice.post(reverse("campaigns:import_start", args=[contact_import.uuid]), sent)
    assert answer.status_code == 422
    text = answer.content.decode()
    assert sentence in text
    assert "kept words" in text
    contact_import.refresh_from_db()
    assert contact_import.state == ImportState.UPLOADED


@pytest.mark.parametrize(
    ("file", "sentence"),
    [
        (b"PK\x03\x04" + b"\0" * 100, "Save as → CSV UTF-8"),
        ("Name\nJosé\n".encode("cp1252"), "Line 2 is not UTF-8"),
        (b"", "empty"),
        (b"\n\n", "no rows"),
    ],
)
def test_an_upload_that_cannot_be_read_is_answered_beside_the_field(as_alice, file, sentence) -> None:
    answer = upload(as_alice, file, "list.xlsx")
    assert answer.status_code == 422
    assert sentence in answer.content.decode()
    assert not ContactImport.objects.exists()


def test_the_proof_of_consent_is_asked(as_alice, workspace) -> None:
    page = as_alice.get(upload(as_alice, MESSY).url)
    url = reverse("campaigns:import_start", args=[ContactImport.objects.get().uuid])
    answer = as_alice.post(url, mapped(page.context["form"], consent_proof=" "))
    assert answer.status_code == 422
    assert "Say where the proof is kept" in answer.content.decode()


def test_a_header_with_control_characters_is_tidied_not_an_error(as_alice, workspace) -> None:
    page = as_alice.get(upload(as_alice, b"Na\0me,Phone,Ci\0ty\nAli,0123456789,KL\n").url)
    contact_import = ContactImport.objects.get()
    as_alice.post(reverse("campaigns:import_start", args=[contact_import.uuid]), mapped(page.context["form"]))
    work_on_import(contact_import.pk)
    assert Contact.objects.get(workspace=workspace).fields == {"city": "KL"}


def test_a_sixth_unfinished_import_waits(as_alice) -> None:
    for _ in range(5):
        assert upload(as_alice, b"Phone\n0123456789\n").status_code == 302
    assert "5 imports wait or run" in upload(as_alice, b"Phone\n0123456789\n").content.decode()


def test_the_list_of_rejected_rows_names_the_column_of_each_cell_that_says_something(as_alice, workspace) -> None:
    head = "Name;Phone;City;Note;A;B;C;D"
    rows = ("Ana;;;;;;;", ";-; ;x<y;1;2;3;4", ";;;;;;;", f"Li;12;{'long ' * 20}", 'Z;1;"open', "1;2;3;4;5;6;7;8;9")
    done = finished(workspace, "\n".join([head, *rows]).encode())
    page = as_alice.get(reverse("campaigns:import", args=[done.uuid])).content.decode()
    table = page.partition("Rejected rows")[2].partition("</table>")[0]
    shown = [row.partition("</td>")[0] for row in table.split('class="import-row">')[1:]]
    cells = [" ".join(strip_tags(row.replace("</div>", " ")).split()) for row in shown]
    assert cells[0] == "Name: Ana"
    assert cells[1].startswith("Phone: - Note: x&lt;y A: 1 B: 2 C: 3 D: 4")
    assert cells[2].startswith("All cells are empty.")
    assert cells[3].startswith(f"Name: Li Phone: 12 City: {'long ' * 12}…")
    assert cells[4].startswith("Row: Z;1;&quot;open")
    assert cells[5].startswith("Name: 1 Phone: 2 City: 3 Note: 4 A: 5 B: 6 and 3 more cells")


def test_rejected_rows_come_back_neutralised_and_import_again_once_repaired(as_alice, workspace, monkeypatch) -> None:
    monkeypatch.setattr("campaigns.sheets.ROWS_AT_ONCE", 1)
    file = b'Name;Phone;Note\n=cmd();6.01E+10;"a;b\nc"\n"Abu";-;@x\n'
    contact_import = finished(workspace, file)
    answer = as_alice.get(reverse("campaigns:import_rejects", args=[contact_import.uuid]))
    assert "attachment" in answer["Content-Disposition"]
    data = b"".join(answer.streaming_content)
    rows = list(csv.reader(io.StringIO(data.decode("utf-8-sig")), delimiter=";"))
    assert rows[0] == ["Line", "Reason", "Name", "Phone", "Note"]
    assert [row[0] for row in rows[1:]] == ["2", "4"]
    assert rows[1][2:] == ["'=cmd()", "6.01E+10", "a;b\nc"]
    assert rows[2][2:] == ["Abu", "'-", "'@x"]
    repaired = data.replace(b"6.01E+10", b"'+60123456789").replace(b"'-", b"0123456788")
    again = finished(workspace, repaired)
    assert (again.accepted, again.rejected) == (2, 0)
    contact = Contact.objects.get(phone="+60123456789")
    assert (contact.name, contact.fields) == ("=cmd()", {"note": "a;b\nc"})
    assert Contact.objects.get(phone="+60123456788").fields == {"note": "@x"}


def test_a_workbook_goes_from_its_sheet_through_a_dry_run_to_an_undo(as_alice, workspace) -> None:
    CustomField.objects.create(workspace=workspace, name="age", kind="number")
    suppress(workspace, "+60123456788", SuppressionSource.PERSON, "", workspace.owner)
    rows = [["Name", "Phone", "Age"], ["Ali\nB", 60123456789, 41], ["=Abu", "012-345 6788", 7], ["Bad", 12, 1]]
    url = upload(as_alice, make_xlsx({"Notes": [["x"]], "Leute": rows}), "people.xlsx").url
    assert "The workbook is being read" in as_alice.get(url).content.decode()
    contact_import = ContactImport.objects.get()
    post = {name: reverse(f"campaigns:{name}", args=[contact_import.uuid]) for name in ACT[2:]}
    work_on_import(contact_import.pk)
    assert "Which sheet holds the people?" in as_alice.get(url).content.decode()
    assert as_alice.post(post["import_sheet"], {"sheet": "Other"}).status_code == 422
    assert as_alice.post(post["import_start"], {}).status_code == 302
    assert as_alice.post(post["import_sheet"], {"sheet": "Leute"}).url == url
    work_on_import(contact_import.pk)
    page = as_alice.get(url)
    assert "A number; rows with anything else are rejected." in page.content.decode()
    as_alice.post(post["import_start"], mapped(page.context["form"], dry_run="yes"))
    work_on_import(contact_import.pk)
    text = as_alice.get(url).content.decode()
    assert "Would be new" in text
    assert "Import these people now" in text
    assert "would be 2" in as_alice.get(reverse("campaigns:imports")).content.decode()
    assert not Contact.objects.exists()
    part = as_alice.post(post["import_real"], HTTP_HX_REQUEST="true")
    assert part.content.decode().strip().startswith(f'<div id="import-{contact_import.uuid}"')
    work_on_import(contact_import.pk)
    text = as_alice.get(url).content.decode()
    assert "Kept opted out" in text
    kept = as_alice.get(reverse("campaigns:import_kept_out", args=[contact_import.uuid]))
    lines = b"".join(kept.streaming_content).decode("utf-8-sig").splitlines()
    assert lines == ["Phone,Name", "'+60123456788,'=Abu"]
    as_alice.post(post["import_undo"], HTTP_HX_REQUEST="true")
    work_on_import(contact_import.pk)
    assert "2 of 2 new contacts removed." in as_alice.get(url).content.decode()
    assert not Contact.objects.exists()


def test_a_running_import_can_be_stopped_and_an_upload_discarded(as_alice, workspace) -> None:
    running = make_import(workspace, b"Phone\n0123456789\n")
    as_alice.post(reverse("campaigns:import_stop", args=[running.uuid]))
    running.refresh_from_db()
    assert running.state == ImportState.STOPPED
    waiting = ContactImport.objects.get(uuid=upload(as_alice, b"Phone\n0123456789\n").url.split("/")[-2])
    as_alice.post(reverse("campaigns:import_discard", args=[waiting.uuid]))
    as_alice.post(reverse("campaigns:import_discard", args=[running.uuid]))
    assert list(ContactImport.objects.all()) == [running]


def test_the_import_page_and_its_fragment_share_one_url(as_alice, workspace) -> None:
    contact_import = finished(workspace, MESSY)
    url = reverse("campaigns:import", args=[contact_import.uuid])
    whole = as_alice.get(url).content.decode()
    part = as_alice.get(url, headers={"HX-Request": "true"}).content.decode()
    assert part.strip().startswith(f'<div id="import-{contact_import.uuid}"')
    assert "<html" in whole
    assert "<html" not in part
    assert "hx-swap-oob" not in part


def test_an_empty_list_names_the_next_step(as_alice, as_bob) -> None:
    assert reverse("campaigns:import_upload") in as_alice.get(reverse("campaigns:contacts")).content.decode()
    assert reverse("campaigns:import_upload") not in as_bob.get(reverse("campaigns:contacts")).content.decode()
    assert as_alice.get(reverse("campaigns:imports")).status_code == 200


@pytest.mark.parametrize(
    ("query", "names"),
    [
        ({}, ["Gone", "Siti", "Ahmad, Siti"]),
        ({"q": "siti"}, ["Siti", "Ahmad, Siti"]),
        ({"q": "012-345 6789"}, ["Siti"]),
        ({"q": "+60123456789"}, ["Siti"]),
        ({"q": "6789"}, ["Siti"]),
        ({"tag": "COLD"}, ["Ahmad, Siti"]),
        ({"tag": "cold"}, []),
        ({"tag": "COL"}, []),
        ({"consent": "opted-out"}, ["Gone"]),
        ({"consent": "agreed"}, ["Siti", "Ahmad, Siti"]),
        ({"q": "%"}, []),
        ({"q": "\0"}, ["Gone", "Siti", "Ahmad, Siti"]),
        ({"before": "99999999999999999999"}, ["Gone", "Siti", "Ahmad, Siti"]),
    ],
)
def test_contacts_are_found_by_name_number_tag_and_consent(as_alice, workspace, query, names) -> None:
    make_contact(workspace, name="Ahmad, Siti", phone="+60123450000", tags=("COLD",))
    make_contact(workspace, name="Siti", phone="+60123456789", tags=("COLDVITAC",))
    make_contact(workspace, name="Gone", phone="+60123451111", opted_out_at="2026-01-01T00:00:00Z")
    make_contact(make_workspace(), name="Siti elsewhere", phone="+60123456789", tags=("COLD",))
    page = as_alice.get(reverse("campaigns:contacts"), query)
    assert [contact.name for contact in page.context["page"].rows] == names
    assert page.context["count"] == len(names)


def test_long_lists_are_paged_by_key(as_alice, workspace) -> None:
    Contact.objects.bulk_create(
        [Contact(workspace=workspace, phone=f"+6012345{i:04}", consent_source="x") for i in range(120)]
    )
    seen: list[str] = []
    query: dict[str, int] = {}
    while True:
        page = as_alice.get(reverse("campaigns:contacts"), query)
        seen += [contact.phone for contact in page.context["page"].rows]
        if not page.context["page"].following:
            break
        query = {"before": page.context["page"].following}
    assert len(seen) == len(set(seen)) == 120


def test_a_contact_added_by_hand_asks_for_consent_and_stands_once(as_alice, workspace) -> None:
    url = reverse("campaigns:contact_add")
    assert "Say how they agreed" in as_alice.post(url, {"phone": "012-345 6789"}).content.decode()
    assert "is too short" in as_alice.post(url, {"phone": "12", "consent": "Wrote to us first"}).content.decode()
    sent = {"phone": "012-345 6789", "name": " Ali ", "tags": "vip, new", "consent": "Wrote to us first"}
    as_alice.post(url, sent)
    contact = Contact.objects.get(workspace=workspace)
    assert (contact.phone, contact.name, contact.consent_source) == ("+60123456789", "Ali", "Wrote to us first")
    assert {link.tag.name for link in contact.tag_links.all()} == {"vip", "new"}
    answer = as_alice.post(url, sent | {"name": "Other"}, follow=True)
    assert "in your contacts already" in answer.content.decode()
    contact.refresh_from_db()
    assert contact.name == "Ali"


def test_an_opt_out_and_its_undoing_need_a_reason_and_are_audited(as_alice, workspace) -> None:
    contact = make_contact(workspace)
    out, back = (reverse(f"campaigns:{name}", args=[contact.uuid]) for name in ("contact_opt_out", "contact_opt_in"))
    assert as_alice.post(out, {"reason": ""}).status_code == 422
    as_alice.post(out, {"reason": "said so"})
    contact.refresh_from_db()
    assert (contact.opted_out_at is not None, contact.opted_out_reason) == (True, "said so")
    assert "said so" in as_alice.get(reverse("campaigns:contact", args=[contact.uuid])).content.decode()
    assert as_alice.post(back, {"reason": ""}).status_code == 422
    as_alice.post(back, {"reason": "asked again", "consent": "Wrote to us first"})
    contact.refresh_from_db()
    assert contact.opted_out_at is None
    entries = AuditEntry.objects.filter(target=f"contact:{contact.uuid}").order_by("pk")
    assert [(e.action, e.detail["reason"]) for e in entries] == [
        ("contact.opted_out", "said so"),
        ("contact.opt_out_taken_back", "asked again"),
    ]


def test_the_contact_page_says_how_somebody_opted_out(as_alice, workspace) -> None:
    contact = make_contact(workspace)
    suppress(workspace, contact.phone, SuppressionSource.REPLY, "asked to stop in a reply", None)
    page = as_alice.get(reverse("campaigns:contact", args=[contact.uuid])).content.decode()
    assert "They replied with a request to stop." in page
    assert "Take the opt-out back" in page
    Contact.objects.update(opted_out_at=None, opted_out_reason="")  # the list of numbers decides
    page = as_alice.get(reverse("campaigns:contact", args=[contact.uuid])).content.decode()
    assert "asked to stop in a reply" in page
    assert "Take the opt-out back" in page


def test_a_suppressed_number_added_by_hand_says_so(as_alice, workspace) -> None:
    suppress(workspace, "+60123456789", SuppressionSource.PERSON, "called us", workspace.owner)
    sent = {"phone": "+60123456789", "name": "Siti", "consent": "Wrote to us first"}
    answer = as_alice.post(reverse("campaigns:contact_add"), sent, follow=True).content.decode()
    assert "This number has opted out" in answer
    assert "called us" in answer


def test_the_contact_page_shows_its_messages(as_alice, workspace) -> None:
    contact = make_contact(workspace)
    campaign = make_campaign(workspace, devices=(make_device(workspace),), name="Autumn greeting")
    from campaigns.actions.campaigns import launch_campaign
    from campaigns.actions.planning import plan_whole

    launch_campaign(campaign, workspace.owner)
    plan_whole(campaign.pk)
    assert "Autumn greeting" in as_alice.get(reverse("campaigns:contact", args=[contact.uuid])).content.decode()


READ = ["contact", "import", "import_rejects", "import_kept_out"]
ACT = [
    "contact_opt_out",
    "contact_opt_in",
    "import_start",
    "import_stop",
    "import_discard",
    "import_sheet",
    "import_real",
    "import_undo",
]


def nouns(workspace) -> dict[str, uuid.UUID]:
    return {"contact": make_contact(workspace).uuid, "import": make_import(workspace, b"Phone\n0123456789\n").uuid}


@pytest.mark.parametrize("name", READ + ACT)
def test_a_stranger_finds_nothing_and_changes_nothing(as_charlie, workspace, name) -> None:
    url = reverse(f"campaigns:{name}", args=[nouns(workspace)[name.split("_")[0]]])
    before = list(Contact.objects.values()), list(ContactImport.objects.values())
    method = as_charlie.get if name in READ else as_charlie.post
    assert method(url, {"reason": "x"}).status_code == 404
    assert (list(Contact.objects.values()), list(ContactImport.objects.values())) == before


def test_a_stranger_lists_nothing_of_another_workspace(as_charlie, workspace) -> None:
    uuids = nouns(workspace)
    Tag.objects.create(workspace=workspace, name="secret-tag")
    assert as_charlie.get(reverse("campaigns:contacts"), {"import": uuids["import"]}).status_code == 404
    assert as_charlie.get(reverse("campaigns:contacts"), {"import": "x"}).status_code == 404
    page = as_charlie.get(reverse("campaigns:contacts"), {"tag": "secret-tag"})
    assert page.context["page"].rows == []
    assert not list(page.context["tags"])
    assert as_charlie.get(reverse("campaigns:imports")).context["rows"] == []


@pytest.mark.parametrize("name", ACT)
def test_a_viewer_reads_but_does_not_act(as_bob, workspace, name) -> None:
    uuids = nouns(workspace)
    for readable in READ:
        assert as_bob.get(reverse(f"campaigns:{readable}", args=[uuids[readable.split("_")[0]]])).status_code == 200
    assert as_bob.post(reverse(f"campaigns:{name}", args=[uuids[name.split("_")[0]]])).status_code == 403
    assert as_bob.get(reverse("campaigns:contact_add")).status_code == 403
    assert upload(as_bob, b"Phone\n").status_code == 403
    assert "opt-form" not in as_bob.get(reverse("campaigns:contact", args=[uuids["contact"]])).content.decode()


def test_nobody_gets_in_without_signing_in(workspace) -> None:
    for url in [reverse("campaigns:contacts"), reverse("campaigns:import_upload"), reverse("campaigns:imports")]:
        assert Client().get(url).status_code == 302
