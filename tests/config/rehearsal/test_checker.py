"""The checker of rehearsals, shown a clean account and then each defect: a checker that cannot fail is a defect."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from campaigns.models import Attempt, Lane, Message, Stream
from config.rehearsal.chaos import NAMES
from config.rehearsal.checker import RULES, Books, Silence, Told, check, read_books
from config.rehearsal.ledger import Entry
from devices.fault_points import POINTS
from tests.factories import make_campaign, make_contact, make_device, make_workspace

TEXT = "Hello Aminah"
DIGEST = hashlib.sha256(TEXT.encode()).hexdigest()


def clean_books() -> Books:
    """Two people, two devices: one message sent at the second try, the other at the first; a third nobody knows of."""
    return Books(
        entries=[
            Entry(at=11.0, device=1, epoch=4, tag="a2", digest=DIGEST, left=11.0),
            Entry(at=12.0, device=1, epoch=5, tag="b1", digest=DIGEST, left=12.0),
            Entry(at=11.1, device=2, epoch=1, tag="c1", digest=DIGEST, left=11.1),
        ],
        messages=[
            Told(1, campaign=7, contact=1, state="delivered", attempts={"a1": 5.0, "a2": 10.9}, text=TEXT),
            Told(2, campaign=7, contact=2, state="sent", attempts={"b1": 11.9}, text=TEXT),
            Told(3, campaign=7, contact=3, state="uncertain", attempts={"c1": 11.0}),
            Told(4, campaign=7, contact=4, state="cancelled"),
        ],
        people={7: 4},
        recipients={7: 4},
        min_delays={1: 1.0, 2: 1.0},
        at_risk=frozenset({"c1"}),
        silences=(Silence("campaign", 7, since=12.5), Silence("contact", 3, since=11.2)),
    )


def with_message(message: Told) -> Books:
    """The clean books with one message told otherwise."""
    books = clean_books()
    return replace(books, messages=[message if one.id == message.id else one for one in books.messages])


def with_entry(*more: Entry) -> Books:
    books = clean_books()
    return replace(books, entries=[*books.entries, *more])


CLEAN = clean_books()
SENT_TWICE = Entry(at=13.0, device=2, epoch=1, tag="b1", digest=DIGEST, left=13.0)
FIRST, SECOND, THIRD, FOURTH = CLEAN.messages

DEFECTS: dict[str, list[Books]] = {
    "missing_from_the_sum": [
        replace(CLEAN, messages=CLEAN.messages[:3]),
        replace(CLEAN, recipients={7: 5}),
        replace(CLEAN, people={7: 5}),
    ],
    "sent_but_not_in_ledger": [replace(CLEAN, entries=CLEAN.entries[1:])],
    "in_ledger_twice": [
        with_entry(replace(SENT_TWICE, left=12.4)),
        with_entry(Entry(at=12.4, device=2, epoch=1, tag="a1", digest=DIGEST, left=12.4)),
    ],
    "in_ledger_but_may_be_sent_again": [
        with_message(replace(SECOND, state="pending")),
        with_message(replace(SECOND, state="waiting")),
        with_message(replace(SECOND, state="waiting", attempts={"b1": 11.9, "b2": 12.1})),
    ],
    "in_ledger_but_told_unsent": [
        with_message(replace(SECOND, state=state)) for state in ("cancelled", "expired", "skipped", "dead")
    ],
    "in_ledger_without_earlier_attempt": [
        with_entry(Entry(at=12.4, device=2, epoch=1, tag="zz", digest=DIGEST, left=12.4)),
        with_message(replace(SECOND, attempts={"b1": 12.1})),
        replace(CLEAN, entries=[replace(CLEAN.entries[0], left=10.8), *CLEAN.entries[1:]]),
    ],
    "arrived_before_it_left": [
        replace(CLEAN, entries=[*CLEAN.entries[:2], replace(CLEAN.entries[2], left=11.15)]),
    ],
    "other_text_in_ledger": [with_message(replace(SECOND, text="Hello somebody else"))],
    "epoch_went_back": [
        replace(CLEAN, entries=[replace(CLEAN.entries[0], epoch=6), *CLEAN.entries[1:]]),
    ],
    "gap_too_short": [
        replace(CLEAN, min_delays={1: 1.06}),
        replace(CLEAN, entries=[replace(CLEAN.entries[0], at=11.06, left=11.06), *CLEAN.entries[1:]]),
    ],
    "uncertain_but_not_open_at_a_fault": [
        replace(CLEAN, at_risk=frozenset()),
        replace(with_message(replace(THIRD, state="assumed")), at_risk=frozenset({"b1"})),
    ],
    "left_after_it_was_stopped": [
        replace(CLEAN, silences=(Silence("campaign", 7, since=11.5),)),
        replace(CLEAN, silences=(Silence("contact", 2, since=11.5),)),
        replace(CLEAN, silences=(Silence("campaign", 7, since=11.5, until=12.1),)),
    ],
}


def test_a_clean_account_has_no_findings() -> None:
    assert check(CLEAN) == {}


@pytest.mark.parametrize(("rule", "books"), [(rule, books) for rule, shown in DEFECTS.items() for books in shown])
def test_each_defect_is_found_and_nothing_else(rule: str, books: Books) -> None:
    assert list(check(books)) == [rule]


def test_every_rule_is_shown_a_defect() -> None:
    assert DEFECTS.keys() == RULES.keys()


@pytest.mark.parametrize(
    "books",
    [
        pytest.param(
            replace(with_entry(SENT_TWICE), messages=[FIRST, replace(SECOND, may_duplicate=True), THIRD, FOURTH],
                    silences=()),
            id="somebody resent it",
        ),
        pytest.param(with_message(replace(SECOND, state="dead", deaths=3)), id="three gateways died with it"),
        pytest.param(replace(CLEAN, min_delays={1: 1.04}), id="a gap within the tolerance"),
        pytest.param(
            replace(CLEAN, entries=[replace(CLEAN.entries[0], at=11.9), *CLEAN.entries[1:]]),
            id="a gap that only the arrival made short",
        ),
        pytest.param(
            replace(CLEAN, entries=[*CLEAN.entries[:2], replace(CLEAN.entries[2], at=13.0)]),
            id="arrived after it was stopped, but left before",
        ),
        pytest.param(with_message(replace(SECOND, attempts={"b1": 12.01})), id="a clock within the tolerance"),
        pytest.param(replace(CLEAN, silences=(Silence("campaign", 7, 11.5, 11.9),)), id="resumed before it left"),
        pytest.param(replace(CLEAN, silences=(Silence("contact", 7, 0),)), id="a contact is no campaign"),
    ],
)  # fmt: skip
def test_what_is_allowed_is_no_finding(books: Books) -> None:
    assert check(books) == {}


@pytest.mark.django_db
def test_the_database_side_is_read_with_every_attempt_in_its_order() -> None:
    workspace = make_workspace()
    device = make_device(workspace, min_delay=2.5, max_delay=3)
    contact = make_contact(workspace)
    campaign = make_campaign(workspace, recipients=1)
    stream = Stream.objects.create(workspace=workspace, campaign=campaign, device=device, lane=Lane.CAMPAIGN, sent=1)
    moments = [datetime.fromtimestamp(second, UTC) for second in (100.5, 200.5)]
    message = Message.objects.create(
        workspace=workspace, campaign=campaign, stream=stream, contact=contact, content=campaign.content,
        phone=contact.phone, state="sent", due_at=moments[0], tag=b"\x02", epoch=3, attempted_at=moments[1],
        attempts=2, text=TEXT, may_duplicate=True, deaths=1,
    )  # fmt: skip
    Attempt.objects.create(
        workspace=workspace, message=message, number=1, device_id=device.pk, tag=b"\x01", epoch=2, started_at=moments[0]
    )
    books = read_books([], {campaign.pk: 1}, {"02"}, [Silence("contact", contact.pk, 0)])
    attempts = {"01": 100.5, "02": 200.5}
    assert books.messages == [Told(message.pk, campaign.pk, contact.pk, "sent", attempts, True, 1, TEXT)]
    assert list(books.messages[0].attempts) == ["01", "02"]
    assert books.recipients == {campaign.pk: 1}
    assert books.min_delays == {device.pk: 2.5}
    assert books.at_risk == {"02"}
    assert list(check(books)) == ["sent_but_not_in_ledger"]


def test_every_scenario_can_be_asked_for_by_its_name() -> None:
    from config.rehearsal.scenarios import scenarios

    for short in (True, False):
        assert tuple(scenarios(short)) == NAMES
    points = [fault.partition(":")[0] for fault in scenarios(short=False)["fault-points"].fault_points]
    assert tuple(points) == POINTS
