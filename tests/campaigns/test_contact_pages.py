"""Lists of contacts that no index answers: looked through a few at a time, and everybody found all the same."""

from __future__ import annotations

import re
from html import unescape
from typing import Any
from urllib.parse import parse_qsl

import pytest
from django.test import Client
from django.urls import reverse

from accounts.models import Workspace
from campaigns.models import Contact, ContactTag, CustomField, Tag
from tests.factories import make_contact, make_segment, make_workspace

pytestmark = pytest.mark.django_db

NUMBERS = [900, 1, 2, 800, 3, 4, 5, 700, 6, 7, 8, 600, 9]
FITTING = ["600", "700", "800", "900"]
MORE_THAN_500 = {"field": "spent", "is": "more", "value": "500"}


@pytest.fixture
def people(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    """One contact is many, and there is time to look at two in one request; beside them those of somebody else."""
    monkeypatch.setattr("campaigns.querysets.contacts.MANY", 1)
    monkeypatch.setattr("campaigns.contact_pages.LOOKED_THROUGH", 2)
    monkeypatch.setattr("campaigns.contact_pages.PATIENCE_S", -1)
    monkeypatch.setattr("campaigns.contact_pages.FURTHER_S", -1)
    elsewhere = make_workspace()
    for owner in (workspace, elsewhere):
        CustomField.objects.create(workspace=owner, name="spent", kind="number")
    for number in NUMBERS:
        make_contact(workspace, name=str(number), fields={"spent": str(number), "plan": f"plan {number}"})
        make_contact(elsewhere, name="Eve", fields={"spent": "999"})
    return workspace


def ask(client: Client, query: Any, htmx: bool = False) -> Any:
    headers = {"HX-Request": "true"} if htmx else {}
    return client.get(reverse("campaigns:contacts"), query, headers=headers)


def link(answer: Any) -> dict[str, str]:
    """What the page asks for by itself, or behind its link."""
    found = re.search(r'hx-get="\?([^"]*further=[^"]*)" hx-trigger="load, click"', answer.content.decode())
    return dict(parse_qsl(unescape(found[1]))) if found else {}


def names(answer: Any) -> list[str]:
    return [contact.name for contact in answer.context["page"].rows]


def give_tag(workspace: Workspace, *names: str) -> None:
    tag = Tag.objects.create(workspace=workspace, name="vip")
    for contact in Contact.objects.for_workspace(workspace).filter(name__in=names):
        ContactTag.objects.create(workspace=workspace, contact=contact, tag=tag)


def text(answer: Any) -> str:
    return " ".join(re.sub(r"<[^>]*>", " ", answer.content.decode()).split())


@pytest.mark.parametrize("htmx", [True, False])
def test_a_list_is_looked_through_until_all_who_fit_are_found(people: Workspace, as_alice: Client, htmx: bool) -> None:
    answer = ask(as_alice, MORE_THAN_500)
    assert "Looked through 2 of about 24 contacts; 1 fits so far." in text(answer)
    assert answer.context["count"] is None
    assert "count=1" not in answer.content.decode()
    found, asked = names(answer), 1
    while query := link(answer):
        answer = ask(as_alice, query, htmx)
        found += names(answer)
        asked += 1
    assert (found, asked) == (FITTING, 7)
    assert answer.context["count"] == 4
    assert "4 found" in text(answer)
    assert "All contacts were looked through; 4 fit." in text(answer)


def test_each_look_adds_rows_below_those_that_stand(people: Workspace, as_alice: Client) -> None:
    second = ask(as_alice, link(ask(as_alice, MORE_THAN_500)), htmx=True)
    assert "contact-list" not in second.content.decode()
    assert "Looked through 4 of about 16 contacts; 1 fits so far." in text(second)
    third = ask(as_alice, link(second), htmx=True)
    assert '<tbody hx-swap-oob="beforeend:#contact-rows">' in third.content.decode()
    assert names(third) == ["700"]
    assert "2 fit so far" in text(third)


def test_the_list_itself_comes_with_the_first_who_fits(people: Workspace, as_alice: Client) -> None:
    first = ask(as_alice, {"field": "spent", "is": "is", "value": "900"})
    assert names(first) == []
    assert "Looked through 2 of about 24 contacts; nobody fits so far." in text(first)
    answer = first
    while query := link(answer):
        assert 'hx-target="#contact-list"' in answer.content.decode()
        answer = ask(as_alice, query, htmx=True)
    assert names(answer) == ["900"]
    assert '<div id="contact-list">' in answer.content.decode()
    assert '<span id="contact-count" hx-swap-oob="true">1 found</span>' in answer.content.decode()


def test_whom_nobody_fits_says_so_in_the_end(people: Workspace, as_alice: Client) -> None:
    answer = ask(as_alice, {"field": "spent", "is": "more", "value": "5000"})
    while query := link(answer):
        assert "Nobody like that" not in text(answer)
        answer = ask(as_alice, query, htmx=True)
    assert "Nobody like that" in text(answer)
    assert "0 found" in text(answer)


def test_a_page_that_is_full_leads_to_the_next(
    people: Workspace, as_alice: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("campaigns.views.contacts.PAGE", 2)
    found, query, pages = [], dict(MORE_THAN_500), 0
    while query:
        answer = ask(as_alice, query)
        here = names(answer)
        while further := link(answer):
            answer = ask(as_alice, further, htmx=True)
            here += names(answer)
        assert len(here) == 2
        following = answer.context["page"].following
        if following:
            assert "count=1" in answer.content.decode()
        found += here
        pages += 1
        query = {**MORE_THAN_500, "before": following} if following else {}
    assert (found, pages) == (FITTING, 2)


def test_all_that_are_found_means_those_nobody_has_looked_at_too(people: Workspace, as_alice: Client) -> None:
    assert names(ask(as_alice, MORE_THAN_500)) == FITTING[:1]
    form = {"whom": "all", "query": "field=spent&is=more&value=500"}
    asked = as_alice.post(reverse("campaigns:contact_change"), {**form, "deed": "tag"})
    assert asked.context["people"] == 4
    as_alice.post(reverse("campaigns:contact_change_start"), {**form, "deed": "tag", "name": "rich"})
    assert Contact.objects.filter(tag_links__tag__name="rich").count() == 4


def test_however_it_is_narrowed_a_list_in_parts_holds_whom_a_short_one_holds(
    people: Workspace, as_alice: Client
) -> None:
    give_tag(people, "700", "800", "900")
    Contact.objects.for_workspace(people).filter(name="800").update(status="customer")
    segment = make_segment(people, {"what": "field:spent", "is": "more", "value": "800"})
    for query, found in (
        ({"field": "plan", "is": "contains", "value": "AN 90"}, ["900"]),
        ({"field": "plan", "is": "is_set"}, [str(number) for number in reversed(NUMBERS)]),
        ({"status": "customer"}, ["800"]),
        ({"reply": "never", "tag": "vip"}, ["700", "800", "900"]),
        ({"segment": str(segment.uuid), "tag": "vip"}, ["900"]),
        ({"tag": "nobody's", "reply": "never"}, []),
    ):
        answer = ask(as_alice, query)
        here = names(answer)
        while further := link(answer):
            answer = ask(as_alice, further, htmx=True)
            here += names(answer)
        assert here == found, query


def test_whom_an_index_names_stands_on_the_first_page(people: Workspace, as_alice: Client) -> None:
    give_tag(people, "900")
    Contact.objects.for_workspace(people).filter(name="900").update(name="Zebulon", phone="+60123450000")
    for query in (
        {"q": "zebu"},
        {"q": "+60123450000"},
        {"tag": "vip"},
        {"tag": "vip", **MORE_THAN_500},
        {"field": "plan", "is": "is", "value": "PLAN 900"},
    ):
        answer = ask(as_alice, query)
        assert (names(answer), link(answer), answer.context["count"]) == (["Zebulon"], {}, 1), query


def test_a_place_that_makes_no_sense_is_the_beginning(people: Workspace, as_alice: Client) -> None:
    for place in (
        "",
        "x",
        "1",
        "-5.0.0",
        "1.0.0.0",
        "9" * 19 + ".0.0",
        "1.0.99999",
        "\u0663.0.0",
        "1.0.0\0",
        "' OR 1=1",
    ):
        assert names(ask(as_alice, {**MORE_THAN_500, "further": place})) == FITTING[:1], place


def test_a_place_among_others_people_shows_nobody_of_theirs(
    people: Workspace, as_alice: Client, as_charlie: Client
) -> None:
    theirs = Contact.objects.exclude(workspace=people).latest("pk").pk
    for place in (f"{theirs}.0.0", "999999999999999999.999999999999999999.9999"):
        for htmx in (True, False):
            assert "Eve" not in text(ask(as_alice, {**MORE_THAN_500, "further": place}, htmx))
            assert names(ask(as_charlie, {"q": "6", "further": place}, htmx)) == []
    assert names(ask(as_alice, {**MORE_THAN_500, "further": f"{theirs}.0.0"})) == FITTING[:1]
