"""What people lack of a text's variables, and what they read in its place."""

from __future__ import annotations

import pytest
from django.test import Client

from accounts.models import User, Workspace
from campaigns import missing
from campaigns.actions.suppression import suppress
from campaigns.audience import Audience
from campaigns.missing import report
from campaigns.models import SuppressionSource
from tests.campaigns.campaign_cases import at, words
from tests.factories import make_campaign, make_contact, make_workspace

pytestmark = pytest.mark.django_db


@pytest.fixture
def workspace(alice: User) -> Workspace:
    return make_workspace(alice)


def said(workspace: Workspace, text: str) -> list[str]:
    return [str(line) for line in report(text, Audience(everyone=True).contacts(workspace))]


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        ("Hi", []),
        ("{% for %}", []),
        ("{{ phone }}{{ opt_out_link }}", []),
        ("Hi {{ first_name }}", ["2 people have no first name: they get nothing."]),
        ('Hi {{ first_name | default: "there" }}', ["2 people have no first name: they get “there”."]),
        ("{Hi {{ name | default: 'you' | upcase }}|Hello}", ["2 people have no name: they get “YOU”."]),
        ("{{ name }}, {{ name | default: 'you' }}", ["2 people have no name: they get nothing or “you”."]),
        ("{{ first_name | default: order_no }}", [
            "3 people have no order_no: they get “{{ first_name }}”.",
            "2 people have no first name: they get “{{ order_no }}”.",
        ]),
        ("{% if name %}Hi {{ name }}{% endif %}", ["2 people have no name: the text says what happens then."]),
        ("{% assign n = name | default: 'you' %}{{ n }}", ["2 people have no name: they get “you”."]),
        ("{{ order_no }} {{ nmae }}", [
            "4 people have no nmae: they get nothing.",
            "3 people have no order_no: they get nothing.",
        ]),
        ("{{ city }}", ["1 person has no city: this person gets nothing."]),
    ],
)  # fmt: skip
def test_it_says_how_many_and_what_they_get(workspace: Workspace, text: str, lines: list[str]) -> None:
    make_contact(workspace, name="Ann Lee", fields={"Order no.": "7", "city": "Ipoh"})
    make_contact(workspace, name="Ben", fields={"order_no": " ", "Order no.": "8", "City": "Ipoh"})
    make_contact(workspace, name="", fields={"city": "Ipoh", "City": ""})
    make_contact(workspace, name=" ", fields={})
    gone = make_contact(workspace, name="")
    suppress(workspace, gone.phone, SuppressionSource.PERSON, "", None)
    make_contact(make_workspace(), name="", fields={})
    assert said(workspace, text) == lines


def test_of_too_many_people_only_so_many_are_looked_at_and_it_says_so(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(missing, "LOOKED_AT", 2)
    for name in ("", "Ann", ""):
        make_contact(workspace, name=name)
    assert said(workspace, "{{ name }}") == ["1 of the 2 people looked at has no name: this person gets nothing."]


def test_the_page_that_reviews_a_draft_says_it(workspace: Workspace, as_alice: Client) -> None:
    make_contact(workspace, name="", fields={"<b>": "%s"})
    campaign = make_campaign(workspace, text="Hi {{ name | default: '<b>you</b>' }} {{ b }}")
    assert at("missing", campaign) in as_alice.get(at("campaign", campaign)).content.decode()
    page = words(as_alice.get(at("missing", campaign)))
    assert "1 person has no name: this person gets “&lt;b&gt;you&lt;/b&gt;”." in page
