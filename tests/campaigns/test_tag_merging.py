"""Two tags become one: people, segments, campaigns, imports, checks mean the one that stays; nothing is turned over."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone

from accounts.models import AuditEntry, Workspace
from campaigns.actions.contact_changes import (
    change_step,
    resume_stalled_changes,
    start_change,
    start_merge,
    work_on_change,
)
from campaigns.actions.merging import Gone
from campaigns.actions.segments import InUse
from campaigns.actions.tags import delete_tag, rename_tag
from campaigns.models import CampaignTag, CheckRun, Contact, ContactChange, ContactImport, Deed, Tag
from tests.factories import make_campaign, make_contact, make_import, make_segment, make_workspace

pytestmark = pytest.mark.django_db

PAIR = {"tag": "VIP", "into": "vip"}


@pytest.fixture
def people(workspace: Workspace) -> Workspace:
    make_contact(workspace, name="Ana", tags=("VIP",))
    make_contact(workspace, name="Ben", tags=("VIP", "vip", "other"))
    make_contact(workspace, name="Cem", tags=("vip",))
    make_contact(make_workspace(), name="Eve", tags=("VIP", "vip"))
    return workspace


def tag(workspace: Workspace, name: str) -> Tag:
    return Tag.objects.select_related("workspace").get(workspace=workspace, name=name)


def address(workspace: Workspace, campaign: Any, name: str, *, excluded: bool = False) -> CampaignTag:
    return CampaignTag.objects.create(
        workspace=workspace, campaign=campaign, tag=tag(workspace, name), excluded=excluded
    )


def merge(client: Client, **fields: str) -> str:
    return client.post(reverse("campaigns:tag_merge"), PAIR | fields, follow=True).content.decode()


def asked(client: Client, **fields: str) -> Any:
    return client.get(reverse("campaigns:tag_merge"), PAIR | fields)


def test_everybody_has_the_tag_that_stays_once_and_the_deed_is_noted(as_alice: Client, people: Workspace) -> None:
    assert "2 people had it" in merge(as_alice)
    tagged = Contact.objects.filter(workspace=people, tag_links__tag__name="vip").order_by("name")
    assert [contact.name for contact in tagged] == ["Ana", "Ben", "Cem"]
    assert set(Tag.objects.filter(workspace=people).values_list("name", flat=True)) == {"vip", "other"}
    assert Tag.objects.exclude(workspace=people).count() == 2
    detail = AuditEntry.objects.get(action="tag.merged").detail
    assert detail == {"old": "VIP", "name": "vip", "people": 2, "new": 1, "segments": 0, "campaigns": 0}


def test_a_second_post_finds_nothing_to_do(as_alice: Client, people: Workspace) -> None:
    source, target = tag(people, "VIP"), tag(people, "vip")
    merge(as_alice)
    assert "It is gone" in merge(as_alice)
    assert AuditEntry.objects.filter(action="tag.merged").count() == 1
    with pytest.raises(Gone):
        start_merge(source, target, people.owner)
    with pytest.raises(Gone):
        delete_tag(source, people.owner)


def test_campaigns_mean_the_tag_that_stays_without_having_it_twice(as_alice: Client, people: Workspace) -> None:
    both, one, ended = (make_campaign(people, name=name) for name in ("both", "one", "ended"))
    type(ended).objects.filter(pk=ended.pk).update(state="completed", planned_at=timezone.now())
    address(people, both, "VIP")
    address(people, both, "vip")
    address(people, one, "VIP", excluded=True)
    address(people, ended, "VIP")
    address(people, ended, "vip", excluded=True)
    page = asked(as_alice).content.decode()
    assert "both" in page
    assert "1 campaign that found its people before keeps them" in page
    assert "was joined" in merge(as_alice)
    links = set(CampaignTag.objects.values_list("campaign__name", "tag__name", "excluded"))
    assert links == {("both", "vip", False), ("one", "vip", True), ("ended", "vip", True)}


def test_segments_ask_for_the_tag_that_stays_once(as_alice: Client, people: Workspace) -> None:
    other = {"what": "tag", "is": "has", "value": "other"}
    rules = [{"what": "tag", "is": "has", "value": name} for name in ("VIP", "vip")]
    segment = make_segment(people, rules[0], other, rules[1], name="<Loyal>")
    untouched = make_segment(make_workspace(), rules[0])
    assert "&lt;Loyal&gt;" in asked(as_alice).content.decode()
    merge(as_alice)
    segment.refresh_from_db()
    assert segment.conditions["rules"] == [rules[1], other]
    untouched.refresh_from_db()
    assert untouched.conditions["rules"] == [rules[0]]


def test_imports_that_are_not_done_and_checks_follow(as_alice: Client, people: Workspace) -> None:
    waiting = make_import(people, b"Phone\n", tags=["VIP", "x", "vip"])
    done = make_import(people, b"Phone\n", tags=["VIP"])
    ContactImport.objects.filter(pk=done.pk).update(state="done")
    run = CheckRun.objects.create(workspace=people, tag=tag(people, "VIP"), total=1)
    merge(as_alice)
    assert ContactImport.objects.get(pk=waiting.pk).tags == ["vip", "x"]
    assert ContactImport.objects.get(pk=done.pk).tags == ["VIP"]
    run.refresh_from_db()
    assert run.tag == tag(people, "vip")


@pytest.mark.parametrize("torn", ["campaign", "segment", "finding", "change"])
def test_nothing_is_merged_that_would_turn_a_meaning_over(as_alice: Client, people: Workspace, torn: str) -> None:
    if torn == "campaign":
        campaign = make_campaign(people, name="Autumn")
        address(people, campaign, "VIP")
        address(people, campaign, "vip", excluded=True)
    elif torn == "finding":
        campaign = make_campaign(people, name="Autumn")
        type(campaign).objects.filter(pk=campaign.pk).update(state="running")
        address(people, campaign, "vip")
    elif torn == "segment":
        rules = [("has", "VIP"), ("has_not", "vip")]
        make_segment(people, *({"what": "tag", "is": is_, "value": value} for is_, value in rules), name="Autumn")
    else:
        ContactChange.objects.create(
            workspace=people, deed="untag", name="VIP", selection={"uuids": []}, up_to=0, expected=0
        )
    page, answer = asked(as_alice).content.decode(), merge(as_alice)
    words = "a change of many people" if torn == "change" else "“Autumn”"
    assert words in page
    assert "Merge them" not in page
    assert words in answer
    assert tag(people, "VIP").contact_links.count() == 2
    assert not AuditEntry.objects.filter(action="tag.merged").exists()


@pytest.mark.parametrize(
    ("into", "error"),
    [
        ("", "Write the tag"),
        ("VIP", "the tag itself"),
        ("<b>no", "There is no tag"),
        ("a\0", "Null characters"),
        ("a,b", "Write one tag"),
    ],
)
def test_what_is_no_other_tag_is_said_beside_the_field(
    as_alice: Client, people: Workspace, into: str, error: str
) -> None:
    for answer in (asked(as_alice, into=into), as_alice.post(reverse("campaigns:tag_merge"), PAIR | {"into": into})):
        assert answer.status_code == 422
        assert error in answer.content.decode()
        assert "<b>no" not in answer.content.decode()
    assert tag(people, "VIP")


def test_neither_strangers_nor_viewers_merge(
    as_alice: Client, as_bob: Client, client: Client, people: Workspace
) -> None:
    """The role matrix asks for every address; here, that nothing of another workspace is found by its name."""
    Tag.objects.create(workspace=make_workspace(), name="theirs")
    assert "There is no tag" in asked(as_alice, into="theirs").content.decode()
    assert "It is gone" in merge(as_alice, tag="theirs", into="vip")
    assert as_bob.post(reverse("campaigns:tag_merge"), PAIR).status_code == 403
    assert client.post(reverse("campaigns:tag_merge"), PAIR).status_code == 302
    assert "Merge into" not in as_bob.get(reverse("campaigns:tags")).content.decode()
    assert tag(people, "VIP").contact_links.count() == 2


def test_many_people_and_campaigns_take_no_more_questions(people: Workspace) -> None:
    for number in range(5):
        make_contact(people, name=f"n{number}", tags=("VIP",))
        address(people, make_campaign(people, name=f"c{number}"), "VIP")
    with CaptureQueriesContext(connection) as questions:
        start_merge(tag(people, "VIP"), tag(people, "vip"), people.owner)
    assert len(questions) < 60
    assert tag(people, "vip").contact_links.count() == 8


# ---- of many people, in steps


@pytest.fixture
def many(people: Workspace, redis: object, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    """Two people are too many to be done at once."""
    monkeypatch.setattr("campaigns.actions.in_steps.STEP", 1)
    return people


def started(workspace: Workspace, source: str = "VIP", target: str = "vip") -> ContactChange:
    return start_merge(tag(workspace, source), tag(workspace, target), workspace.owner)


def having(workspace: Workspace, name: str) -> list[str]:
    tagged = Contact.objects.filter(workspace=workspace, tag_links__tag__name=name)
    return list(tagged.order_by("name").values_list("name", flat=True))


def stopped(change: ContactChange) -> str:
    """It has ended, by its error, and nobody lost a tag."""
    assert change_step(change.pk)
    change.refresh_from_db()
    assert change.finished_at
    assert not AuditEntry.objects.filter(action="tag.merged").exists()
    return change.error


def test_many_are_merged_by_a_job_while_a_page_shows_how_far_it_is(
    as_alice: Client, as_bob: Client, as_charlie: Client, many: Workspace
) -> None:
    make_contact(many, name="Dan", tags=("VIP",))
    assert "Until it is done, they have both tags" in asked(as_alice).content.decode()
    answer = as_alice.post(reverse("campaigns:tag_merge"), PAIR)
    change = ContactChange.objects.get()
    progress = reverse("campaigns:contact_change_page", args=[change.uuid])
    assert answer["Location"] == progress
    assert as_charlie.get(progress).status_code == 404
    page = as_bob.get(progress).content.decode()
    assert "hx-trigger" in page
    assert "0 of 3 people" in page
    assert not change_step(change.pk, size=1)
    assert (having(many, "VIP"), having(many, "vip")) == (["Ana", "Ben", "Dan"], ["Ben", "Cem", "Dan"])
    work_on_change(change.pk)
    page = as_bob.get(progress, headers={"HX-Request": "true"}).content.decode()
    assert "“VIP” was joined to “vip”. 3 people had it." in page
    assert "hx-trigger" not in page
    assert having(many, "vip") == ["Ana", "Ben", "Cem", "Dan"]
    assert not Tag.objects.filter(workspace=many, name="VIP").exists()
    detail = AuditEntry.objects.get(action="tag.merged").detail
    assert (detail["people"], detail["new"]) == (3, 2)


def test_a_merge_whose_process_died_goes_on_where_it_was(many: Workspace) -> None:
    make_contact(many, name="Dan", tags=("VIP",))
    change = started(many)
    assert not change_step(change.pk, size=1)
    ContactChange.objects.update(heartbeat_at=timezone.now() - timedelta(minutes=5))
    assert resume_stalled_changes() == 1
    work_on_change(change.pk)
    work_on_change(change.pk)  # a job that came twice
    change.refresh_from_db()
    assert (change.people, change.changed, change.error) == (3, 2, "")
    assert having(many, "vip") == ["Ana", "Ben", "Cem", "Dan"]
    assert AuditEntry.objects.filter(action="tag.merged").count() == 1
    assert resume_stalled_changes() == 0


def test_whoever_gets_the_tag_meanwhile_is_merged_too(many: Workspace) -> None:
    change = started(many)
    assert not change_step(change.pk)
    make_contact(many, name="Late", phone="+10000000000", tags=("VIP",))
    work_on_change(change.pk)
    assert having(many, "vip") == ["Ana", "Ben", "Cem", "Late"]
    change.refresh_from_db()
    assert (change.people, change.changed) == (3, 2)


def test_whoever_gets_the_tag_at_the_last_moment_takes_another_round(
    many: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    from campaigns.actions import merging

    change = started(many)
    look = merging.hindrance

    def meanwhile(*args: Any) -> str:
        monkeypatch.setattr(merging, "hindrance", look)
        make_contact(many, name="Late", tags=("VIP",))
        return look(*args)

    monkeypatch.setattr(merging, "hindrance", meanwhile)
    work_on_change(change.pk)
    assert having(many, "vip") == ["Ana", "Ben", "Cem", "Late"]
    assert not having(many, "VIP")


def test_what_would_be_turned_over_at_the_end_ends_it_and_people_keep_both(as_alice: Client, many: Workspace) -> None:
    change = started(many)
    assert not change_step(change.pk)
    campaign = make_campaign(many, name="Autumn " * 17)
    address(many, campaign, "VIP")
    address(many, campaign, "vip", excluded=True)
    assert "one of them is addressed and the other one left out by the campaign “Autumn" in stopped(change)
    assert (having(many, "VIP"), having(many, "vip")) == (["Ana", "Ben"], ["Ana", "Ben", "Cem"])
    page = as_alice.get(reverse("campaigns:contact_change_page", args=[change.uuid])).content.decode()
    assert "“VIP” was not merged into “vip”: one of them" in page
    assert "1 person had got “vip” by then; that stays." in page
    campaign.delete()
    work_on_change(started(many).pk)
    assert not having(many, "VIP"), "the same again, once nothing is in the way"


@pytest.mark.parametrize("lost", ["deleted", "renamed", "target"])
def test_a_tag_that_is_lost_meanwhile_ends_it(many: Workspace, lost: str) -> None:
    change = started(many)
    if lost == "renamed":
        rename_tag(tag(many, "VIP"), "friends", many.owner)
    else:
        delete_tag(tag(many, "vip" if lost == "target" else "VIP"), many.owner)
    assert stopped(change) == "one of the two was deleted or renamed meanwhile"
    assert having(many, "friends" if lost == "renamed" else "VIP") == ([] if lost == "deleted" else ["Ana", "Ben"])


@pytest.mark.parametrize(("source", "target"), [("VIP", "vip"), ("vip", "VIP"), ("vip", "other"), ("other", "VIP")])
def test_of_two_merges_of_one_tag_the_second_is_told_of_the_first(
    as_alice: Client, many: Workspace, source: str, target: str
) -> None:
    change = started(many)
    said = merge(as_alice, tag=source, into=target)
    assert f"“{source}” was not merged: “VIP” is being merged into “vip” already." in said
    with pytest.raises(InUse):
        started(many, source, target)
    work_on_change(change.pk)
    assert set(Tag.objects.filter(workspace=many).values_list("name", flat=True)) == {"vip", "other"}


def test_a_change_with_one_of_the_two_that_is_under_way_ends_it(many: Workspace) -> None:
    change, eve = started(many), Contact.objects.get(name="Eve")
    start_change(eve.workspace, many.owner, Deed.UNTAG, {"query": {}}, "VIP")
    other = start_change(many, many.owner, Deed.UNTAG, {"query": {}}, "vip")
    assert not other.finished_at
    assert not change_step(change.pk)
    assert stopped(change) == "a change of many people is under way with them"


def test_a_merge_is_nothing_that_is_done_to_people_of_the_list(as_alice: Client, people: Workspace) -> None:
    assert 'value="merge"' not in as_alice.get(reverse("campaigns:contacts")).content.decode()
    sent = {"whom": "all", "query": "", "deed": "merge", "name": "vip", "value": "VIP"}
    for address_of in ("contact_change", "contact_change_start"):
        assert as_alice.post(reverse(f"campaigns:{address_of}"), sent).status_code == 302
    assert not ContactChange.objects.exists()
    assert having(people, "VIP") == ["Ana", "Ben"]
