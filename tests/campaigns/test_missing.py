"""What people lack of a text's variables, and what they read in its place."""

from __future__ import annotations

import pytest
from django.test import Client
from django.urls import reverse

from accounts.models import User, Workspace
from campaigns import missing
from campaigns.actions.suppression import suppress
from campaigns.audience import Audience
from campaigns.missing import report
from campaigns.models import Content, SuppressionSource, Variant
from tests.campaigns.campaign_cases import at, words
from tests.factories import make_campaign, make_contact, make_workspace

pytestmark = pytest.mark.django_db


@pytest.fixture
def workspace(alice: User) -> Workspace:
    return make_workspace(alice)


def said(workspace: Workspace, *texts: str) -> list[str]:
    return [str(line) for line in report(texts, Audience(everyone=True).contacts(workspace))]


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


def test_each_variant_of_a_message_is_looked_at_and_a_line_says_which_asks(workspace: Workspace) -> None:
    make_contact(workspace, name="", fields={})
    make_contact(workspace, name="Ann", fields={})
    three = ("Hi {{ name }}", "Hi {{ name | default: 'you' }} {{ city }}", "{% if city %}{{ city }}{% endif %}")
    assert said(workspace, *three) == [
        "2 people have no city: with variant B or C they get nothing.",
        "1 person has no name: with variant A or B this person gets nothing or “you”.",
    ]
    assert said(workspace, "{{ name }}", "{{ name }}") == ["1 person has no name: this person gets nothing."]
    assert said(workspace, "{% for %}", "{{ name }}") == [
        "1 person has no name: with variant B this person gets nothing."
    ]


def test_both_pages_that_say_it_read_all_variants(workspace: Workspace, as_alice: Client) -> None:
    make_contact(workspace)
    campaign = make_campaign(workspace, text="Hi")
    for number, text in enumerate(("Hi", "Hi {{ city }}"), 1):
        content = Content.objects.create(workspace=workspace, text=text)
        Variant.objects.create(workspace=workspace, campaign=campaign, number=number, content=content, share=50)
    line = "1 person has no city: with variant B this person gets nothing."
    assert line in words(as_alice.get(at("missing", campaign)))
    looked_at = {"text": "Hi", "text_2": "Hi {{", "look": "text_2"}
    written = as_alice.post(reverse("campaigns:preview"), {**looked_at, "field": "text_2"})
    assert "text-problem" in written.content.decode()
    reviewed = as_alice.post(reverse("campaigns:preview"), looked_at)
    assert "text-problem" not in reviewed.content.decode()  # nothing is written there, so nothing is marked
    typed = {"text": "Hi", "text_2": "Hi {{ city }}\r\n", "text_3": " ", "campaign": campaign.uuid}
    assert line in words(as_alice.post(reverse("campaigns:preview_missing"), typed))


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
