"""People found by name, number and field: the same few or many there are, with an index or without."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal

import pytest
from django.db import connection
from django.test import Client
from django.urls import reverse

from accounts.models import User, Workspace
from accounts.tenancy import tenant_scope
from campaigns.contact_filters import Filters
from campaigns.missing import report
from campaigns.models import Contact, CustomField
from campaigns.querysets.search import (
    BETWEEN_WORDS,
    FIELDS_SQL,
    NUMBERS_SQL,
    WORDS_SQL,
    few,
    few_with_fields,
    search_for,
)
from campaigns.segments import matching
from tests.campaigns.campaign_cases import words
from tests.factories import make_contact, make_workspace

pytestmark = pytest.mark.django_db


@pytest.fixture
def workspace(alice: User) -> Workspace:
    return make_workspace(alice, default_country="MY")


@pytest.fixture(params=["few", "many", "too many for the index"])
def size(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> int:
    """How many an index may find; one contact is many, but where they are few."""
    if request.param != "few":
        monkeypatch.setattr("campaigns.querysets.contacts.MANY", 1)
    return 1 if request.param.startswith("too") else 1_000


def found(workspace: Workspace, most: int, **query: str) -> set[str]:
    with tenant_scope(workspace):
        return {contact.name for contact in Filters(workspace, query).contacts(most)}


NAMES = {
    "Zebulon Quist": "+60123456789",
    "Siti Nur-Aisyah binti Rahman": "+60127771234",
    "Sean O\u2019Brien": "+60199990001",
    "Żaneta ŁUKASZ": "+48601234567",
    "王小明": "+60111222333",
    "สมชาย ใจดี": "+60111222444",
    'a\\b "c" (Ward 12)': "+60133330777",
    "100% Halal": "+628123456789",
}
SEARCHES: list[tuple[str, set[str]]] = [
    ("zebu", {"Zebulon Quist"}),
    ("ZEBULON  q", {"Zebulon Quist"}),
    ("quist, zebulon", {"Zebulon Quist"}),
    ("ebulon", set()),
    ("aisyah siti", {"Siti Nur-Aisyah binti Rahman"}),
    ("nur-ais", {"Siti Nur-Aisyah binti Rahman"}),
    ("si", {"Siti Nur-Aisyah binti Rahman"}),
    ("siti zebulon", set()),
    ("o'brien", {"Sean O\u2019Brien"}),
    ("brien", {"Sean O\u2019Brien"}),
    ("łuk żan", {"Żaneta ŁUKASZ"}),
    ("小明", {"王小明"}),
    ("ใจ", {"สมชาย ใจดี"}),
    ("ward 12", {'a\\b "c" (Ward 12)'}),
    ("b", {'a\\b "c" (Ward 12)', "Sean O\u2019Brien", "Siti Nur-Aisyah binti Rahman"}),
    ("100", {"100% Halal"}),
    ("%", set()),
    ("zeb:*", {"Zebulon Quist"}),
    ("!zebulon", {"Zebulon Quist"}),
    ("zebulon | siti", set()),
    ("'", set()),
    ("\\", set()),
    ("+", set()),
    ("0", set()),
    ("012-34", {"Zebulon Quist"}),
    ("012-345 6789", {"Zebulon Quist"}),
    ("6012", {"Zebulon Quist", "Siti Nur-Aisyah binti Rahman"}),
    ("+48", {"Żaneta ŁUKASZ"}),
    ("0048 601", {"Żaneta ŁUKASZ"}),
    ("019-999", {"Sean O\u2019Brien"}),
    ("+60199", {"Sean O\u2019Brien"}),
    ("6789", {"Zebulon Quist", "100% Halal"}),
    ("0812 3456789", {"100% Halal"}),
    ("777", {'a\\b "c" (Ward 12)'}),
    ("0777", {'a\\b "c" (Ward 12)'}),
    ("3456", set()),
    ("+99", set()),
]


def test_people_are_found_by_the_beginnings_of_words_and_a_numbers_beginning_or_end(
    workspace: Workspace, size: int
) -> None:
    for name, phone in NAMES.items():
        make_contact(workspace, name=name, phone=phone)
    make_contact(make_workspace(), name="Zebulon Quist of elsewhere", phone="+60123456789")
    assert {text: found(workspace, size, q=text) for text, _ in SEARCHES} == dict(SEARCHES)
    assert found(workspace, size, q="zebulon", status="customer") == set()


@pytest.mark.parametrize(
    ("field", "value", "names"),
    [
        ("city", "penang", {"A", "B"}),
        ("City", "PENANG", {"C"}),
        ("City", "ipoh", {"B"}),
        ("city", "Nowhere", set()),
        ("city", '"', {"D"}),
        ("plan", "Straße", {"A"}),
        ("n", "5", {"C"}),
        ("0", "zero", {"C"}),
    ],
)
def test_people_are_found_by_the_value_of_a_field_in_whatever_letters(
    workspace: Workspace, size: int, field: str, value: str, names: set[str]
) -> None:
    make_contact(workspace, name="A", fields={"city": "Penang", "plan": "STRAßE"})
    make_contact(workspace, name="B", fields={"city": "PENANG", "City": "Ipoh"})
    make_contact(workspace, name="C", fields={"City": "Penang", "city": "Melaka", "n": "5", "0": "Zero"})
    make_contact(workspace, name="D", fields={"city": '"', "plan": "x" * 9_000})
    make_contact(make_workspace(), name="E", fields={"city": "Penang"})
    assert found(workspace, size, field=field, value=value, **{"is": "is"}) == names


def test_an_index_narrows_all_conditions_and_never_any_of_them(workspace: Workspace, size: int) -> None:
    make_contact(workspace, name="A", fields={"city": "Penang"}, status="customer")
    make_contact(workspace, name="B", fields={"city": "Ipoh"}, status="customer")
    make_contact(workspace, name="C", fields={"city": "Penang"})
    rules = [
        {"what": "field:city", "is": "is", "value": "penang"},
        {"what": "status", "is": "is", "value": "customer"},
    ]
    for match, names in (("all", {"A"}), ("any", {"A", "B", "C"})):
        people = matching(workspace, {"match": match, "rules": rules}, most=size)
        assert {contact.name for contact in people} == names


def test_both_read_the_same_words(workspace: Workspace) -> None:
    with connection.cursor() as cursor:
        for mark in BETWEEN_WORDS:
            cursor.execute("SELECT campaigns_words_of(%s, '+60123456789')::text", [f" A{mark}b  "])
            assert cursor.fetchone() == ("'+9876' 'a' 'b'",), mark
            assert search_for(f"A{mark}b", "MY").words == "'A':* & 'b':*"


@pytest.fixture
def indexes_only() -> Iterator[None]:
    with connection.cursor() as cursor:
        cursor.execute("SET LOCAL enable_seqscan = off")
        yield
        cursor.execute("SET LOCAL enable_seqscan = on")


@pytest.mark.usefixtures("indexes_only")
@pytest.mark.parametrize(
    ("sql", "values", "index"),
    [
        (WORDS_SQL, {"words": "'zeb':*"}, "contacts_by_word"),
        (FIELDS_SQL, {"fields": '{"city": "Penang"}'}, "contacts_by_field"),
    ],
)
def test_the_statements_use_the_indexes(workspace: Workspace, sql: str, values: dict[str, str], index: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute(f"EXPLAIN {sql}", {**values, "workspace": workspace.pk, "most": 1, "looked_at": 9, "phone": "%"})
        assert index in "\n".join(line for (line,) in cursor.fetchall())


def test_of_more_than_so_many_an_index_says_nothing(workspace: Workspace) -> None:
    for _ in range(3):
        make_contact(workspace, name="Lee", fields={"city": "Ipoh"})
        make_contact(make_workspace(), name="Lee", fields={"city": "Ipoh"})
    search = search_for("lee", "MY")
    assert search.few(workspace.pk, 2) is few_with_fields({"city": "IPOH"}, workspace.pk, 2) is None
    theirs = sorted(Contact.objects.for_workspace(workspace).values_list("pk", flat=True))
    assert search.few(workspace.pk, 3) == few_with_fields({"city": "IPOH"}, workspace.pk, 3) == theirs


def test_what_fits_too_many_people_of_others_is_looked_for_among_ones_own(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = make_workspace()
    for n in range(4):
        make_contact(other, name="Lee", phone=f"+6012777{n}1234", fields={"city": "Ipoh"})
    mine = make_contact(workspace, name="Lee Wong", phone="+60123451234", fields={"city": "Ipoh"})
    monkeypatch.setattr("campaigns.querysets.contacts.MANY", 1)
    for most, known in ((6, [mine.pk]), (5, None), (1, None)):
        monkeypatch.setattr("campaigns.querysets.search.LOOKED_AT", most)
        assert search_for("lee", "MY").few(workspace.pk, 2) == known
        assert search_for("1234", "MY").few(workspace.pk, 2) == known
        assert few_with_fields({"city": "ipoh"}, workspace.pk, 2) == known
        for query in ({"q": "lee"}, {"q": "1234"}, {"field": "city", "is": "is", "value": "ipoh"}):
            assert found(workspace, 1_000, **query) == {"Lee Wong"}, (most, query)


def test_an_index_that_takes_too_long_is_left_and_the_walls_stand(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_contact(workspace)
    slow = "SELECT id FROM campaigns_contact WHERE pg_sleep(1) IS NOT NULL"
    with tenant_scope(workspace), connection.cursor() as cursor:
        names = ("statement_timeout", "enable_seqscan", "role", "flotilla.workspace")
        asked = "SELECT " + ", ".join(f"current_setting('{name}')" for name in names)
        cursor.execute(asked)
        before = cursor.fetchone()
        monkeypatch.setattr("campaigns.querysets.search.PATIENCE_MS", 5)
        assert few(workspace.pk, 2, [(slow, {})]) is None
        cursor.execute(asked)
        assert cursor.fetchone() == before
        assert few(workspace.pk, 2, [(NUMBERS_SQL, {"begin": "+1", "end": "+1a"})]) is not None
        cursor.execute(asked)
        assert cursor.fetchone() == before


@pytest.mark.parametrize(
    ("value", "over_seven"),
    [("8", True), ("0008", True), ("+7.5", True), (" 9 ", True), ("7", False), ("-8", False), ("", False)]
    + [(text, False) for text in ("1e5", "NaN", "8 9", "8.", "٨", "9" * 62)],
)
def test_what_is_a_number_is_compared_and_nothing_else(workspace: Workspace, value: str, over_seven: bool) -> None:
    CustomField.objects.create(workspace=workspace, name="spent", kind="number")
    make_contact(workspace, fields={"spent": value})
    rule = {"what": "field:spent", "is": "more", "value": "7"}
    assert matching(workspace, {"match": "all", "rules": [rule]}).exists() is over_seven


MANY_NUMBERS = [
    "0",
    "0.4",
    "0.5",
    "-3",
    "7",
    "+8",
    "9",
    " 9",
    "10",
    "010",
    "4990",
    "4990.5",
    "4991",
    "05001",
    "12345678",
]


@pytest.mark.parametrize("than", ["-4", "-0.5", "0", "0.4", "7", "9", "9.5", "4990", "4990.5", "99999"])
def test_more_is_more_however_the_numbers_are_written(workspace: Workspace, than: str) -> None:
    CustomField.objects.create(workspace=workspace, name="spent", kind="number")
    for text in [*MANY_NUMBERS, "", "many", "zzzzzz"]:
        make_contact(workspace, fields={"spent": text})
    rule = {"what": "field:spent", "is": "more", "value": than}
    told = {contact.fields["spent"] for contact in matching(workspace, {"match": "all", "rules": [rule]})}
    assert told == {text for text in MANY_NUMBERS if Decimal(text.strip()) > Decimal(than)}


def test_a_change_of_many_says_how_old_its_count_is(
    workspace: Workspace, as_alice: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = {"whom": "all", "deed": "tag", "query": "q=zeb"}
    make_contact(workspace, name="Ann")
    make_contact(workspace, name="Zebulon")
    exact = words(as_alice.post(reverse("campaigns:contact_change"), asked))
    assert "This touches 1 person." in exact
    assert "Counted within" not in exact
    monkeypatch.setattr("campaigns.querysets.contacts.MANY", 1)
    for _ in range(2):
        page = words(as_alice.post(reverse("campaigns:contact_change"), asked))
        assert "This touches 1 person. Counted within the last half minute." in page
        Contact.objects.filter(name="Zebulon").update(name="Bo")


def test_what_people_of_a_large_workspace_lack_is_looked_up_twice_a_minute_for_any_text(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("campaigns.querysets.contacts.MANY", 1)
    make_contact(workspace, name="", fields={"city": "Ipoh", "City": ""})
    people = Contact.objects.for_workspace(workspace)
    assert [line.people for line in report(["{{ name }} {{ city }} {{ plan }}"], people)] == [1, 1]
    Contact.objects.update(name="Ann")
    assert [line.word for line in report(["{{ name }}"], people)] == ["name"]


def test_a_page_of_many_is_whole_wherever_its_people_stand(
    workspace: Workspace, as_alice: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("Lee 1", "Ann 1", "Lee 2", "Lee 3", "Ann 2", "Lee 4", "Ann 3"):
        make_contact(workspace, name=name, fields={"city": "Ipoh" if name > "B" else "Penang"})
    make_contact(make_workspace(), name="Lee of elsewhere")
    monkeypatch.setattr("campaigns.querysets.contacts.MANY", 1)
    monkeypatch.setattr("campaigns.views.contacts.PAGE", 2)
    for looked_through in (1, 2, 3, 4, 7, 8):
        monkeypatch.setattr("campaigns.contact_pages.LOOKED_THROUGH", looked_through)
        for query in ({"q": "lee"}, {"field": "city", "is": "is", "value": "ipoh"}):
            first = as_alice.get(reverse("campaigns:contacts"), query).context["page"]
            second = as_alice.get(reverse("campaigns:contacts"), {**query, "before": first.following}).context["page"]
            names = [[contact.name for contact in page.rows] for page in (first, second)]
            assert names == [["Lee 4", "Lee 3"], ["Lee 2", "Lee 1"]], looked_through
            assert second.following is None
    assert as_alice.get(reverse("campaigns:contacts"), {"q": "bo"}).context["page"].rows == []
