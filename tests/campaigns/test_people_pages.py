"""The list's filters, many at once, the contact's page, tags, fields, segments and the export, as pages."""

from __future__ import annotations

import csv
import io
from datetime import timedelta
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from accounts.models import AuditEntry, Workspace
from campaigns.models import (
    CampaignSegment,
    CampaignTag,
    ConsentEntry,
    Contact,
    ContactChange,
    Content,
    CustomField,
    Lane,
    Message,
    MessageState,
    Reply,
    Segment,
    Stream,
    Tag,
)
from tests.factories import make_campaign, make_contact, make_device, make_import, make_segment, make_workspace

pytestmark = pytest.mark.django_db


@pytest.fixture
def people(workspace: Workspace) -> Workspace:
    device = make_device(workspace, name="Shop")
    make_contact(workspace, name="Ana", tags=("vip",), status="customer", fields={"city": "Kuala Lumpur"})
    make_contact(workspace, name="Ben", device=device, last_reply_at=timezone.now() - timedelta(days=40))
    make_contact(workspace, name="Cem", opted_out_at=timezone.now())
    make_contact(make_workspace(), name="Eve", tags=("vip",), status="customer", fields={"city": "Kuala Lumpur"})
    return workspace


def listed(client: Client, **query: Any) -> Any:
    return client.get(reverse("campaigns:contacts"), query)


def names(page: Any) -> list[str]:
    return [contact.name for contact in page.context["page"].rows]


def words(answer: Any) -> str:
    return answer.content.decode()


# ---- the filters


@pytest.mark.parametrize(
    ("query", "found", "chips"),
    [
        ({}, ["Cem", "Ben", "Ana"], []),
        ({"status": "customer"}, ["Ana"], ["Customer"]),
        ({"reply": "90"}, ["Ben"], ["Replied in the last 90 days"]),
        ({"reply": "7"}, [], ["Replied in the last 7 days"]),
        ({"reply": "never"}, ["Cem", "Ana"], ["Never replied"]),
        ({"device": "none"}, ["Cem", "Ana"], ["Knows no number of ours"]),
        ({"field": "city", "is": "contains", "value": "kuala"}, ["Ana"], ["city contains “kuala”"]),
        ({"field": "city", "is": "is_empty"}, ["Cem", "Ben"], ["city is empty"]),
        ({"field": "", "is": "is", "value": ""}, ["Cem", "Ben", "Ana"], []),
        ({"tag": "vip", "status": "customer", "q": "a"}, ["Ana"], ["“a”", "Tag vip", "Customer"]),
    ],
)
def test_filters_stand_in_the_address_and_as_chips(as_alice, people, query, found, chips) -> None:
    page = listed(as_alice, **query)
    assert names(page) == found
    assert [chip.words for chip in page.context["filters"].chips()] == chips


def test_a_chip_takes_its_own_filter_away_and_no_other(as_alice, people) -> None:
    page = listed(as_alice, status="customer", field="city", value="Kuala Lumpur", **{"is": "is"})
    status, city = page.context["filters"].chips()
    assert status.query == "field=city&is=is&value=Kuala+Lumpur"
    assert city.query == "status=customer"


@pytest.mark.parametrize(
    "query",
    [
        {"status": "friend"},
        {"reply": "365"},
        {"consent": "maybe"},
        {"whatsapp": "perhaps"},
        {"device": "c9a8b0a4-3f0e-4bb6-9d4e-0b9a6b7f4a11"},
        {"device": "7"},
        {"field": "city", "is": "is", "value": ""},
        {"field": "city", "is": "near", "value": "x"},
    ],
)
def test_a_filter_that_makes_no_sense_finds_nobody_so_that_a_change_of_all_touches_nobody(
    as_alice, people, query
) -> None:
    page = listed(as_alice, **query)
    assert names(page) == []
    assert page.context["filters"].unclear
    sent = {"whom": "all", "deed": "delete", "query": page.context["filters"].query}
    as_alice.post(reverse("campaigns:contact_change_start"), sent)
    assert Contact.objects.for_workspace(people).count() == 3


def test_a_segment_narrows_the_list_and_a_foreign_one_is_not_found(as_alice, as_charlie, people) -> None:
    segment = make_segment(people)
    assert names(listed(as_alice, segment=segment.uuid)) == ["Ana"]
    assert listed(as_charlie, segment=segment.uuid).status_code == 404
    assert listed(as_alice, segment="x").status_code == 404


# ---- many at once


def ticked(*found: Contact) -> list[str]:
    return [str(contact.uuid) for contact in found]


def test_the_ticked_are_asked_about_with_their_count_before_anything_changes(as_alice, people) -> None:
    ana, ben = Contact.objects.get(workspace=people, name="Ana"), Contact.objects.get(workspace=people, name="Ben")
    sent = {"whom": "ticked", "deed": "tag", "who": ticked(ana, ben), "query": ""}
    asked = as_alice.post(reverse("campaigns:contact_change"), sent)
    assert "<strong>2</strong> people" in words(asked)
    assert not Tag.objects.filter(name="new").exists()
    done = as_alice.post(reverse("campaigns:contact_change_start"), {**sent, "name": "new"}, follow=True)
    assert "2 people got the tag “new”." in words(done)
    assert set(Contact.objects.filter(tag_links__tag__name="new")) == {ana, ben}


def test_all_that_match_are_changed_and_the_list_comes_back_as_it_was(as_alice, people) -> None:
    sent = {"whom": "all", "deed": "status", "value": "customer", "query": "reply=90"}
    answer = as_alice.post(reverse("campaigns:contact_change_start"), sent)
    assert answer.url == f"{reverse('campaigns:contacts')}?reply=90"
    assert set(Contact.objects.filter(workspace=people, status="customer").values_list("name", flat=True)) == {
        "Ana",
        "Ben",
    }


def test_a_large_change_goes_to_a_job_and_shows_how_far_it_is(as_alice, as_bob, people, redis, monkeypatch) -> None:
    monkeypatch.setattr("campaigns.actions.in_steps.STEP", 1)
    sent = {"whom": "all", "deed": "delete", "query": ""}
    answer = as_alice.post(reverse("campaigns:contact_change_start"), sent)
    change = ContactChange.objects.get()
    assert answer.url == reverse("campaigns:contact_change_page", args=[change.uuid])
    assert "hx-trigger" in words(as_bob.get(answer.url))
    from campaigns.actions.contact_changes import work_on_change

    work_on_change(change.pk)
    page = words(as_bob.get(answer.url, headers={"HX-Request": "true"}))
    assert "3 people were deleted." in page
    assert "hx-trigger" not in page
    assert Contact.objects.filter(name="Eve").exists()


@pytest.mark.parametrize(
    ("sent", "sentence"),
    [
        ({"deed": "tag", "name": " "}, "Write a tag."),
        ({"deed": "tag", "name": "a, b"}, "Write one tag"),
        ({"deed": "untag", "name": "no such"}, "Choose one of the tags."),
        ({"deed": "field", "name": "-"}, "Choose a field."),
        ({"deed": "field", "name": "spent", "value": "much"}, "Write a number"),
        ({"deed": "status", "value": "friend"}, "Choose a status."),
        ({"deed": "device", "value": "7"}, "Choose one of your devices."),
    ],
)
def test_what_is_missing_is_said_beside_the_field_and_nothing_changes(as_alice, people, sent, sentence) -> None:
    CustomField.objects.create(workspace=people, name="spent", kind="number")
    before = list(Contact.objects.values())
    answer = as_alice.post(reverse("campaigns:contact_change_start"), {"whom": "all", "query": "", **sent})
    assert answer.status_code == 422
    assert sentence in words(answer)
    assert list(Contact.objects.values()) == before


def test_nobody_ticked_goes_back_to_the_list_and_says_so(as_alice, people) -> None:
    for sent in ({"whom": "ticked", "deed": "delete"}, {"whom": "ticked", "deed": "delete", "who": ["x", "\0"]}):
        answer = as_alice.post(reverse("campaigns:contact_change"), sent, follow=True)
        assert "Tick the people first" in words(answer)
    answer = as_alice.post(reverse("campaigns:contact_change"), {"whom": "all", "deed": "dance"}, follow=True)
    assert "Choose what to do" in words(answer)


# ---- the contact's page


def test_editing_a_contact_keeps_what_it_was_not_told_and_is_audited(as_alice, people) -> None:
    CustomField.objects.create(workspace=people, name="spent", kind="number")
    ana = Contact.objects.get(workspace=people, name="Ana")
    device = make_device(people)
    url = reverse("campaigns:contact_edit", args=[ana.uuid])
    form = as_alice.get(url).context["form"]
    sent = {name: form[name].value() or "" for name in form.fields}
    shown = {field.name: bound.html_name for field, bound in form.on_page()}
    assert set(shown) == {"city", "spent"}
    sent |= {
        "name": " Ana  Lee ",
        "tags": "new, vip",
        "device": str(device.uuid),
        "timezone": "Europe/Berlin",
        shown["spent"]: " 12.50 ",
        "new_field": "Date of birth",
        "new_value": "1990-01-02",
    }
    as_alice.post(url, sent)
    ana.refresh_from_db()
    assert (ana.name, ana.device, ana.timezone, ana.status) == ("Ana Lee", device, "Europe/Berlin", "customer")
    assert ana.fields == {"city": "Kuala Lumpur", "spent": "12.5", "date_of_birth": "1990-01-02"}
    assert set(ana.tag_links.values_list("tag__name", flat=True)) == {"new", "vip"}
    detail = AuditEntry.objects.get(action="contact.edited").detail
    assert detail == {"changed": ["name", "device", "timezone", "fields"], "tags_added": ["new"]}
    page = words(as_alice.get(reverse("campaigns:contact", args=[ana.uuid])))
    assert "Tagged new." in page
    as_alice.post(url, {**sent, "tags": "", "new_field": "", "new_value": "", shown["city"]: ""})
    ana.refresh_from_db()
    assert "city" not in ana.fields
    assert ana.fields["date_of_birth"] == "1990-01-02", "what the form did not show stays"
    assert not ana.tag_links.exists()


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"spent": "much"}, "Write a number"),
        ({"born": "02/01/1990"}, "Write a date"),
        ({"timezone": "Mars/Base"}, "not one of the available choices"),
        ({"status": "friend"}, "not one of the available choices"),
        ({"tags": "x" * 61}, "61 characters"),
        ({"new_value": "x"}, "Say which field"),
        ({"new_field": "-", "new_value": "x"}, "letters or digits"),
    ],
)
def test_a_mistake_stands_beside_its_field_and_keeps_what_was_typed(as_alice, people, changes, sentence) -> None:
    for name, kind in (("spent", "number"), ("born", "date")):
        CustomField.objects.create(workspace=people, name=name, kind=kind)
    ana = Contact.objects.get(workspace=people, name="Ana")
    url = reverse("campaigns:contact_edit", args=[ana.uuid])
    form = as_alice.get(url).context["form"]
    shown = {field.name: bound.html_name for field, bound in form.on_page()}
    sent = {name: form[name].value() or "" for name in form.fields} | {"name": "kept words"}
    answer = as_alice.post(url, sent | {shown.get(name, name): value for name, value in changes.items()})
    assert answer.status_code == 422
    assert sentence in words(answer)
    assert "kept words" in words(answer)


def test_a_value_that_does_not_fit_its_kind_can_stay_as_it_is(as_alice, people) -> None:
    ana = Contact.objects.get(workspace=people, name="Ana")
    for kind in ("boolean", "number", "date"):
        CustomField.objects.update_or_create(workspace=people, name="city", defaults={"kind": kind})
        url = reverse("campaigns:contact_edit", args=[ana.uuid])
        form = as_alice.get(url).context["form"]
        sent = {name: form[name].value() or "" for name in form.fields}
        assert as_alice.post(url, sent).status_code == 302
        ana.refresh_from_db()
        assert ana.fields == {"city": "Kuala Lumpur"}


def test_the_timeline_tells_everything_in_order_page_by_page(as_alice, people) -> None:
    ana = Contact.objects.get(workspace=people, name="Ana")
    device = make_device(people)
    stream = Stream.objects.create(workspace=people, device=device, lane=Lane.DIRECT)
    content = Content.objects.create(workspace=people, text="Hello")
    now = timezone.now()
    Message.objects.bulk_create(
        Message(
            workspace=people,
            stream=stream,
            contact=ana,
            content=content,
            phone=ana.phone,
            due_at=now - timedelta(hours=i),
            sent_at=now - timedelta(hours=i // 2 * 2),
            state=MessageState.SENT,
            text=f"text {i}",
        )
        for i in range(1, 60)
    )
    Message.objects.filter(text="text 5").update(state=MessageState.SKIPPED, reason="suppressed", sent_at=None)
    Reply.objects.create(workspace=people, device=device, contact=ana, wire_id="A", at=now, text="Thank you")
    ConsentEntry.objects.create(
        workspace=people, contact=ana, phone=ana.phone, kind="granted", source="Web form", at=now - timedelta(days=9)
    )
    url = reverse("campaigns:contact", args=[ana.uuid])
    page = as_alice.get(url)
    assert words(page).index("Thank you") < words(page).index("text 1")
    assert "This number asked to hear no more." in words(page)
    seen = list(page.context["entries"])
    older = page.context["older"]
    while older:
        part = as_alice.get(url, {"before": older}, headers={"HX-Request": "true"})
        assert "<html" not in words(part)
        seen += part.context["entries"]
        older = part.context["older"]
    assert len(seen) == 61
    assert len({(entry.kind, entry.what.pk) for entry in seen}) == 61
    assert [entry.at for entry in seen] == sorted((entry.at for entry in seen), reverse=True)
    assert "Web form" in words(part)
    for nonsense in ("x", "1-2", "999999999999999999-0-1", "-1-0-1", "\0"):
        assert as_alice.get(url, {"before": nonsense}).status_code == 200


# ---- tags and fields


def test_a_tag_is_renamed_with_the_segments_that_mean_it(as_alice, people) -> None:
    segment = make_segment(people, {"what": "tag", "is": "has", "value": "vip"})
    as_alice.post(reverse("campaigns:tag_rename"), {"tag": "vip", "name": "gold"})
    segment.refresh_from_db()
    assert segment.conditions["rules"][0]["value"] == "gold"
    assert names(listed(as_alice, segment=segment.uuid)) == ["Ana"]
    assert Tag.objects.exclude(workspace=people).get().name == "vip"
    Tag.objects.create(workspace=people, name="other")
    answer = as_alice.post(reverse("campaigns:tag_rename"), {"tag": "gold", "name": "other"})
    assert answer.status_code == 422
    assert "There is a tag “other” already" in words(answer)


def test_a_tag_in_use_stays_and_one_that_is_not_goes(as_alice, people) -> None:
    tag = Tag.objects.get(workspace=people)
    url = reverse("campaigns:tag_delete")
    campaign = make_campaign(people, name="Autumn")
    link = CampaignTag.objects.create(workspace=people, campaign=campaign, tag=tag)
    assert "the campaign “Autumn”" in words(as_alice.post(url, {"tag": "vip"}, follow=True))
    link.delete()
    segment = make_segment(people, {"what": "tag", "is": "has_not", "value": "vip"}, name="Not gold")
    assert "the segment “Not gold”" in words(as_alice.post(url, {"tag": "vip"}, follow=True))
    segment.delete()
    assert Tag.objects.filter(pk=tag.pk).exists()
    assert "taken off 1 person" in words(as_alice.post(url, {"tag": "vip"}, follow=True))
    assert not Tag.objects.filter(pk=tag.pk).exists()
    assert Contact.objects.for_workspace(people).count() == 3


def test_the_tags_page_counts_what_uses_each(as_alice, people) -> None:
    make_segment(people, {"what": "tag", "is": "has", "value": "vip"})
    CampaignTag.objects.create(workspace=people, campaign=make_campaign(people), tag=Tag.objects.get(workspace=people))
    (row,) = as_alice.get(reverse("campaigns:tags")).context["rows"]
    assert (row.tag.name, row.people, row.campaigns, row.segments) == ("vip", 1, 1, 1)


def test_fields_get_a_kind_and_lose_it_unless_a_segment_asks(as_alice, people) -> None:
    assert [row.field.name for row in as_alice.get(reverse("campaigns:fields")).context["rows"]] == ["city"]
    as_alice.post(reverse("campaigns:field_save"), {"name": "Date of birth", "kind": "date"})
    as_alice.post(reverse("campaigns:field_save"), {"name": "date_of_birth", "kind": "text"})
    assert CustomField.objects.get().kind == "text"
    assert as_alice.post(reverse("campaigns:field_save"), {"name": "-", "kind": "text"}).status_code == 422
    assert as_alice.post(reverse("campaigns:field_save"), {"name": "x", "kind": "colour"}).status_code == 422
    segment = make_segment(people, {"what": "field:date_of_birth", "is": "is_set", "value": ""}, name="Born")
    url = reverse("campaigns:field_delete")
    assert "the segment “Born”" in words(as_alice.post(url, {"name": "date_of_birth"}, follow=True))
    segment.delete()
    as_alice.post(url, {"name": "date_of_birth"})
    assert not CustomField.objects.exists()


# ---- segments


def rows(*rules: tuple[str, str, str], **more: str) -> dict[str, Any]:
    return {
        "match": "all",
        "what": [what for what, _, _ in rules],
        "is": [operator for _, operator, _ in rules],
        "value": [value for _, _, value in rules],
        **more,
    }


def test_a_segment_is_built_with_a_live_count_saved_used_and_deleted(as_alice, people) -> None:
    customers = ("status", "is", "customer")
    preview = as_alice.post(reverse("campaigns:segment_preview"), rows(customers))
    assert "<strong>1</strong> person" in words(preview)
    assert "Ana" in words(preview)
    assert not Segment.objects.exists()
    as_alice.post(reverse("campaigns:segment_new"), rows(customers, name="Customers"))
    segment = Segment.objects.get()
    assert segment.conditions == {
        "match": "all",
        "rules": [{"what": "status", "is": "is", "value": "customer"}],
    }
    page = words(as_alice.get(reverse("campaigns:segments")))
    assert "Status is Customer" in page
    assert f"{reverse('campaigns:create')}?segment={segment.uuid}" in page
    assert ">1</a>" in words(as_alice.get(reverse("campaigns:segment_count", args=[segment.uuid])))
    link = CampaignSegment.objects.create(
        workspace=people, campaign=make_campaign(people, name="Sale"), segment=segment
    )
    url = reverse("campaigns:segment_delete", args=[segment.uuid])
    assert "the campaign “Sale”" in words(as_alice.post(url, follow=True))
    assert Segment.objects.exists()
    link.delete()
    as_alice.post(url)
    assert not Segment.objects.exists()


def test_the_builders_rows_change_with_what_they_are_about(as_alice, people) -> None:
    url = reverse("campaigns:segment_rows")
    status = ("status", "is", "customer")
    added = as_alice.post(url, rows(status, add="1"))
    assert len(added.context["builder"].rows()) == 2
    removed = as_alice.post(url, rows(status, ("tag", "has", "vip"), remove="0"))
    assert [row.what for row in removed.context["builder"].rows()] == ["tag"]
    changed = as_alice.post(url, rows(("reply", "has", "vip")))
    (row,) = changed.context["builder"].rows()
    assert (row.operator, row.input) == ("within", "number")
    for nonsense in ({}, {"what": ["\0"], "is": [""], "value": [""]}, {"remove": "99"}, {"what": ["x"] * 99}):
        assert as_alice.post(url, nonsense).status_code == 200


@pytest.mark.parametrize(
    ("sent", "sentence"),
    [
        (rows(("status", "is", "customer")), "Write a name"),
        (rows(name="None"), "Add at least one condition"),
        (rows(("tag", "has", ""), name="Tag"), "Say what to compare with"),
        (rows(("reply", "within", "0"), name="Days"), "Say how many days"),
        (rows(("status", "is", "customer"), name="Taken"), "Another segment is called so"),
    ],
)
def test_a_segment_that_lacks_something_is_not_saved(as_alice, people, sent, sentence) -> None:
    make_segment(people, name="Taken")
    answer = as_alice.post(reverse("campaigns:segment_new"), sent)
    assert answer.status_code == 422
    assert sentence in words(answer)
    assert Segment.objects.count() == 1


def test_a_lists_filters_become_a_segment(as_alice, people) -> None:
    page = as_alice.get(reverse("campaigns:segment_new"), {"tag": "vip", "consent": "opted-out"})
    assert page.context["builder"].rules == [
        {"what": "tag", "is": "has", "value": "vip"},
        {"what": "consent", "is": "is", "value": "opted_out"},
    ]


# ---- the export


def exported(client: Client, query: str = "") -> list[list[str]]:
    answer = client.post(reverse("campaigns:contact_export"), {"query": query})
    data = b"".join(answer)
    assert data.startswith(b"\xef\xbb\xbf")
    return list(csv.reader(io.StringIO(data.decode("utf-8-sig"), newline="")))


@pytest.mark.filterwarnings("ignore:StreamingHttpResponse must consume")
def test_the_export_holds_exactly_those_found_and_nothing_a_spreadsheet_runs(as_alice, people, monkeypatch) -> None:
    monkeypatch.setattr("campaigns.contact_files.PART", 2)
    make_contact(
        people, name="=HYPERLINK(1)", phone="+60123456789", tags=("-a", "b"), fields={"@x": "\tcmd", "city": 'x,"y"\n'}
    )
    header, *found = exported(as_alice)
    assert header[:2] == ["Phone", "Name"]
    assert header[-2:] == ["'@x", "city"]
    assert [row[1] for row in found] == ["Ana", "Ben", "Cem", "'=HYPERLINK(1)"]
    last = dict(zip(header, found[-1], strict=True))
    assert [last[name] for name in ("Phone", "Tags", "'@x", "city")] == ["'+60123456789", "'-a; b", "'\tcmd", 'x,"y"\n']
    assert [row[1] for row in exported(as_alice, "status=customer")[1:]] == ["Ana"]
    assert [e.detail["people"] for e in AuditEntry.objects.filter(action="contacts.exported").order_by("pk")] == [4, 1]


@pytest.mark.filterwarnings("ignore:StreamingHttpResponse must consume")
def test_an_export_imports_again_as_it_was(as_alice, people) -> None:
    answer = as_alice.post(reverse("campaigns:contact_export"), {"query": ""})
    data = b"".join(answer)
    before = list(Contact.objects.for_workspace(people).order_by("pk").values("phone", "name"))
    from campaigns.actions.importing import work_on_import

    work_on_import(make_import(people, data).pk)
    assert list(Contact.objects.for_workspace(people).order_by("pk").values("phone", "name")) == before


def test_a_stranger_and_a_viewer_change_nothing(as_bob, as_charlie, people) -> None:
    segment, ana = make_segment(people), Contact.objects.get(workspace=people, name="Ana")
    posts = {
        reverse("campaigns:contact_edit", args=[ana.uuid]): {"name": "x"},
        reverse("campaigns:segment", args=[segment.uuid]): rows(("status", "is", "customer"), name="x"),
        reverse("campaigns:segment_delete", args=[segment.uuid]): {},
        reverse("campaigns:tag_delete"): {"tag": "vip"},
        reverse("campaigns:tag_rename"): {"tag": "vip", "name": "x"},
    }
    for url, sent in posts.items():
        assert as_bob.post(url, sent).status_code == 403
        if "tags" not in url:
            assert as_charlie.post(url, sent).status_code == 404
    sent = {"whom": "ticked", "deed": "delete", "who": ticked(ana)}
    assert as_bob.post(reverse("campaigns:contact_change_start"), sent).status_code == 403
    as_charlie.post(reverse("campaigns:contact_change_start"), sent)
    as_charlie.post(reverse("campaigns:contact_change_start"), {"whom": "all", "deed": "delete", "query": ""})
    assert "It is gone" in words(as_charlie.post(reverse("campaigns:tag_delete"), {"tag": "vip"}, follow=True))
    assert Contact.objects.for_workspace(people).count() == 3
    assert Tag.objects.for_workspace(people).count() == 1
    assert Segment.objects.get().name == segment.name


@pytest.mark.parametrize("name", ["segments", "tags", "fields"])
def test_an_empty_page_names_the_next_step_to_whoever_may_take_it(as_alice, as_bob, workspace, name) -> None:
    for client in (as_alice, as_bob):
        assert "empty-page" in words(client.get(reverse(f"campaigns:{name}")))
    if name == "segments":
        assert reverse("campaigns:segment_new") in words(as_alice.get(reverse("campaigns:segments")))
        assert reverse("campaigns:segment_new") not in words(as_bob.get(reverse("campaigns:segments")))


def test_a_reply_is_kept_as_the_contacts_last_one_and_an_older_one_changes_nothing(as_alice, people) -> None:
    from campaigns.actions.replies import note_incoming
    from devices.gateway.contract import Incoming

    device = make_device(people)
    ana = Contact.objects.get(workspace=people, name="Ana")
    now = timezone.now().replace(microsecond=0)
    for wire_id, at in (("A", now), ("B", now - timedelta(days=2))):
        note_incoming(
            [Incoming(device=device.pk, chat=ana.phone, sender=ana.phone, id=wire_id, text="Hi", at=at.timestamp())]
        )
        ana.refresh_from_db()
        assert ana.last_reply_at == now
    assert names(listed(as_alice, reply="7")) == ["Ana"]
