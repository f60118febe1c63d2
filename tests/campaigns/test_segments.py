"""What conditions mean, asked of the database; and that nothing in them or in people's values breaks a statement."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import pytest
from django.db import connection
from django.utils import timezone

from accounts.models import Workspace
from campaigns.actions.suppression import suppress
from campaigns.models import (
    Contact,
    Content,
    CustomField,
    Lane,
    Message,
    NumberCheck,
    Segment,
    Stream,
    SuppressionSource,
    Tag,
)
from campaigns.segments import BadConditions, check, matching, members
from tests.factories import make_contact, make_device, make_workspace

pytestmark = pytest.mark.django_db


def rule(what: str, operator: str, value: Any = "") -> dict[str, Any]:
    return {"what": what, "is": operator, "value": value}


def conditions(*rules: dict[str, Any], match: str = "all") -> dict[str, Any]:
    return {"match": match, "rules": list(rules)}


def found(workspace: Workspace, *rules: dict[str, Any], match: str = "all") -> set[str]:
    asked = conditions(*rules, match=match)
    check(workspace, asked)
    return {contact.name for contact in matching(workspace, asked)}


def days_ago(days: float) -> datetime:
    return timezone.now() - timedelta(days=days)


@pytest.fixture
def people(workspace: Workspace) -> Workspace:
    device = make_device(workspace, name="Shop")
    make_contact(workspace, name="Ana", tags=("vip", "KL"), status="customer", device=device, last_reply_at=days_ago(2))
    make_contact(workspace, name="Ben", tags=("vip",), last_reply_at=days_ago(40), created_at=days_ago(90))
    make_contact(workspace, name="Cem", opted_out_at=days_ago(1))
    make_contact(make_workspace(), name="Eve", tags=("vip", "KL"), status="customer", last_reply_at=days_ago(2))
    return workspace


@pytest.mark.parametrize(
    ("asked", "names"),
    [
        (rule("tag", "has", "vip"), {"Ana", "Ben"}),
        (rule("tag", "has_not", "vip"), {"Cem"}),
        (rule("status", "is", "customer"), {"Ana"}),
        (rule("status", "is_not", "customer"), {"Ben", "Cem"}),
        (rule("consent", "is", "agreed"), {"Ana", "Ben"}),
        (rule("consent", "is", "opted_out"), {"Cem"}),
        (rule("consent", "is_not", "opted_out"), {"Ana", "Ben"}),
        (rule("device", "is_set"), {"Ana"}),
        (rule("device", "is_empty"), {"Ben", "Cem"}),
        (rule("reply", "within", 7), {"Ana"}),
        (rule("reply", "not_within", "7"), {"Ben", "Cem"}),
        (rule("reply", "never"), {"Cem"}),
        (rule("added", "within", "30"), {"Ana", "Cem"}),
        (rule("added", "not_within", "30"), {"Ben"}),
        (rule("message", "never"), {"Ana", "Ben", "Cem"}),
        (rule("whatsapp", "is", "unknown"), {"Ana", "Ben", "Cem"}),
    ],
)
def test_each_condition_finds_its_people_and_nobody_elses(people, asked, names) -> None:
    assert found(people, asked) == names


def test_all_and_any_join_conditions(people) -> None:
    vip, customer = rule("tag", "has", "vip"), rule("status", "is", "customer")
    opted_out = rule("consent", "is", "opted_out")
    assert found(people, vip, customer) == {"Ana"}
    assert found(people, customer, opted_out, match="any") == {"Ana", "Cem"}
    assert found(people, vip, opted_out) == set()


def test_the_device_somebody_knows(people) -> None:
    shop, other = people.owner and make_device(people), make_device(people)
    Contact.objects.filter(name="Ben").update(device=shop)
    assert found(people, rule("device", "is", str(shop.uuid))) == {"Ben"}
    assert found(people, rule("device", "is_not", str(shop.uuid))) == {"Ana", "Cem"}
    assert found(people, rule("device", "is", str(other.uuid))) == set()


def test_a_suppressed_number_counts_as_not_agreeing_although_its_contact_bears_no_mark(people) -> None:
    ben = Contact.objects.get(workspace=people, name="Ben")
    suppress(people, ben.phone, SuppressionSource.PERSON, "asked", None)
    Contact.objects.filter(pk=ben.pk).update(opted_out_at=None)
    assert found(people, rule("consent", "is", "suppressed")) == {"Ben"}
    assert found(people, rule("consent", "is", "agreed")) == {"Ana"}


def test_the_last_message_somebody_got(people) -> None:
    content = Content.objects.create(workspace=people, text="Hello")
    device = make_device(people)
    stream = Stream.objects.create(workspace=people, device=device, lane=Lane.DIRECT)
    for name, sent_at in (("Ana", days_ago(3)), ("Ben", days_ago(50)), ("Cem", None)):
        contact = Contact.objects.get(workspace=people, name=name)
        Message.objects.create(
            workspace=people,
            stream=stream,
            contact=contact,
            content=content,
            phone=contact.phone,
            due_at=timezone.now(),
            sent_at=sent_at,
        )
    assert found(people, rule("message", "within", 30)) == {"Ana"}
    assert found(people, rule("message", "not_within", 30)) == {"Ben", "Cem"}
    assert found(people, rule("message", "never")) == {"Cem"}


def test_who_is_on_whatsapp(people) -> None:
    for name, there in (("Ana", True), ("Ben", False)):
        phone = Contact.objects.get(workspace=people, name=name).phone
        NumberCheck.objects.create(workspace=people, phone=phone, on_whatsapp=there, checked_at=timezone.now())
    assert found(people, rule("whatsapp", "is", "yes")) == {"Ana"}
    assert found(people, rule("whatsapp", "is", "no")) == {"Ben"}
    assert found(people, rule("whatsapp", "is_not", "unknown")) == {"Ana", "Ben"}


@pytest.fixture
def fields(workspace: Workspace) -> Workspace:
    for name, kind in (("spent", "number"), ("born", "date"), ("member", "boolean"), ("city", "text")):
        CustomField.objects.create(workspace=workspace, name=name, kind=kind)
    make_contact(
        workspace, name="Ana", fields={"spent": "120.50", "born": "1990-02-28", "member": "Yes", "city": "Kuala Lumpur"}
    )
    make_contact(
        workspace, name="Ben", fields={"spent": "9", "born": "2001-12-01", "member": "no", "city": "50% off, KL"}
    )
    make_contact(
        workspace,
        name="Odd",
        fields={"spent": "lots", "born": "2001-02-31", "member": "?", "city": {"a": [1]}, "0": "zero", "x": None},
    )
    make_contact(workspace, name="Bare", fields={"city": ""})
    return workspace


@pytest.mark.parametrize(
    ("asked", "names"),
    [
        (rule("field:spent", "is", "120.5"), {"Ana"}),
        (rule("field:spent", "is_not", "9.0"), {"Ana", "Odd", "Bare"}),
        (rule("field:spent", "more", "10"), {"Ana"}),
        (rule("field:spent", "less", "10"), {"Ben"}),
        (rule("field:spent", "is_set"), {"Ana", "Ben", "Odd"}),
        (rule("field:spent", "is_empty"), {"Bare"}),
        (rule("field:born", "is", "1990-02-28"), {"Ana"}),
        (rule("field:born", "after", "2001-02-28"), {"Ben", "Odd"}),
        (rule("field:born", "before", "2000-01-01"), {"Ana"}),
        (rule("field:born", "is_not", "1990-02-28"), {"Ben", "Odd", "Bare"}),
        (rule("field:member", "is", "yes"), {"Ana"}),
        (rule("field:member", "is", "No"), {"Ben"}),
        (rule("field:city", "is", "kuala LUMPUR"), {"Ana"}),
        (rule("field:city", "is_not", "Kuala Lumpur"), {"Ben", "Odd", "Bare"}),
        (rule("field:city", "contains", "%"), {"Ben"}),
        (rule("field:city", "contains", "kl"), {"Ben"}),
        (rule("field:city", "is_empty"), {"Bare"}),
        (rule("field:0", "is", "zero"), {"Odd"}),
        (rule("field:x", "is_empty"), {"Ana", "Ben", "Odd", "Bare"}),
        (rule('field:nobody\'s "field" %s', "is_set"), set()),
    ],
)
def test_a_field_compares_by_its_kind_and_bad_values_belong_nowhere(fields, asked, names) -> None:
    assert found(fields, asked) == names


@pytest.mark.parametrize(
    "asked",
    [
        {},
        {"rules": []},
        {"match": "some", "rules": [rule("status", "is", "customer")]},
        {"rules": "all"},
        {"rules": [7]},
        conditions(rule("colour", "is", "red")),
        conditions(rule("field:", "is", "red")),
        conditions(rule("fields", "is", "red")),
        conditions({"what": None}),
        conditions(rule("status", "has", "customer")),
        conditions(rule("status", "is", "friend")),
        conditions(rule("consent", "is", "maybe")),
        conditions(rule("tag", "has", "no such tag")),
        conditions(rule("tag", "has", "")),
        conditions(rule("tag", "has", ["vip"])),
        conditions(rule("device", "is", "7")),
        conditions(rule("device", "is", "c9a8b0a4-3f0e-4bb6-9d4e-0b9a6b7f4a11")),
        conditions(rule("reply", "within", 0)),
        conditions(rule("reply", "within", -3)),
        conditions(rule("reply", "within", "9999")),
        conditions(rule("reply", "within", "٣")),
        conditions(rule("added", "never")),
        conditions(rule("field:spent", "more", "much")),
        conditions(rule("field:spent", "more", "NaN")),
        conditions(rule("field:spent", "more", "1e400")),
        conditions(rule("field:born", "after", "2001-02-31")),
        conditions(rule("field:member", "is", "maybe")),
        conditions(rule("field:city", "contains", "x" * 201)),
        conditions(rule("field:city", "contains", "\0")),
        conditions(*[rule("status", "is", "customer")] * 21),
    ],
)
def test_what_means_nothing_is_refused_in_words(fields, asked) -> None:
    with pytest.raises(BadConditions, match=r"\w"):
        check(fields, asked)


def test_an_empty_segment_is_nobody_and_a_tag_that_is_gone_belongs_to_nobody(people) -> None:
    segment = Segment(workspace=people, name="Empty", conditions={})
    assert not members(segment).exists()
    segment.conditions = conditions(rule("tag", "has", "vip"))
    assert members(segment).count() == 2
    Tag.objects.filter(name="vip").delete()
    assert not members(segment).exists()


def test_tags_and_messages_are_asked_by_semi_joins(people) -> None:
    asked = conditions(rule("tag", "has", "vip"), rule("message", "not_within", 30), rule("consent", "is", "agreed"))
    with connection.cursor() as cursor:
        sql, values = matching(people, asked).query.sql_with_params()
        cursor.execute(f"EXPLAIN {sql}", values)
        plan = "\n".join(line for (line,) in cursor.fetchall())
    assert "SubPlan" not in plan, plan
    assert Contact.objects.filter(pk__in=matching(people, asked)).count() == 2
