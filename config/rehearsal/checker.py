"""The checker: what the database says, held against the ledger of what was really sent. It tolerates nothing.

`check` is pure, so that tests can show it every defect; `read_books` fetches what it needs.
"""

from __future__ import annotations

import hashlib
import itertools
import math
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from config.rehearsal.ledger import Entry

CLOCK_TOLERANCE_S = 0.02  # PostgreSQL and the network read the same clock
GAP_TOLERANCE_S = 0.05
ACKNOWLEDGED = ("sent", "delivered", "read")
CLAIMABLE = ("pending", "waiting")
ENDED_UNSENT = ("cancelled", "expired", "skipped", "dead")
EXAMPLES = 5


@dataclass(frozen=True, slots=True)
class Told:
    """A message as the database tells it. ``attempts``: tag → Unix seconds at which it began, the latest last."""

    id: int
    campaign: int
    contact: int
    state: str
    attempts: Mapping[str, float] = field(default_factory=dict)
    may_duplicate: bool = False
    deaths: int = 0
    text: str | None = None


@dataclass(frozen=True, slots=True)
class Silence:
    """From ``since`` to ``until`` (Unix seconds) nothing may leave: of a ``campaign`` or to a ``contact`` (its id)."""

    of: str
    id: int
    since: float
    until: float = math.inf

    def broken_by(self, message: Told, at: float) -> bool:
        return self.since < at < self.until and getattr(message, self.of) == self.id


@dataclass(frozen=True, slots=True)
class Books:
    """Both sides of the account.

    ``people``: campaign → how many have to be in it; ``recipients``: how many the database says; ``min_delays``:
    device → seconds; ``at_risk``: tags that were open when something went wrong.
    """

    entries: list[Entry]
    messages: list[Told]
    people: Mapping[int, int] = field(default_factory=dict)
    recipients: Mapping[int, int] = field(default_factory=dict)
    min_delays: Mapping[int, float] = field(default_factory=dict)
    at_risk: frozenset[str] = frozenset()
    silences: tuple[Silence, ...] = ()

    def message_of(self) -> dict[str, Told]:
        return {tag: message for message in self.messages for tag in message.attempts}

    def times_sent(self) -> Counter[int]:
        of_tag = self.message_of()
        return Counter(of_tag[entry.tag].id for entry in self.entries if entry.tag in of_tag)


Findings = dict[str, list[str]]


def check(books: Books) -> Findings:
    """For each rule that is broken, what breaks it; nothing at all when the account is clean."""
    found = {name: list(rule(books)) for name, rule in RULES.items()}
    return {name: examples for name, examples in found.items() if examples}


def missing_from_the_sum(books: Books) -> Iterator[str]:
    """P2: everybody addressed has exactly one message, in one state or another."""
    rows = Counter(message.campaign for message in books.messages)
    for campaign, people in books.people.items():
        counted = (people, books.recipients.get(campaign, 0), rows[campaign])
        if len(set(counted)) > 1:
            yield "campaign {}: {} people, {} recipients, {} messages".format(campaign, *counted)


def sent_but_not_in_ledger(books: Books) -> Iterator[str]:
    """P17."""
    seen = {entry.tag for entry in books.entries}
    for message in books.messages:
        if message.state in ACKNOWLEDGED and seen.isdisjoint(message.attempts):
            yield f"message {message.id} is {message.state}"


def in_ledger_twice(books: Books) -> Iterator[str]:
    """P4: no silent duplicate; a person or a policy may have asked for one."""
    allowed = {message.id for message in books.messages if message.may_duplicate}
    for message, times in books.times_sent().items():
        if times > 1 and message not in allowed:
            yield f"message {message}: {times} times"


def in_ledger_but_may_be_sent_again(books: Books) -> Iterator[str]:
    """P11: what has left, or may have, is not claimable."""
    sent = books.times_sent()
    for message in books.messages:
        if message.state in CLAIMABLE and sent[message.id] and not message.may_duplicate:
            yield f"message {message.id} is {message.state}"


def in_ledger_but_told_unsent(books: Books) -> Iterator[str]:
    """Who reads "cancelled" or "failed" may believe that nothing left. Not so after three dead gateways."""
    sent = books.times_sent()
    for message in books.messages:
        if message.state in ENDED_UNSENT and sent[message.id] and not message.deaths and not message.may_duplicate:
            yield f"message {message.id} is {message.state}"


def in_ledger_without_earlier_attempt(books: Books) -> Iterator[str]:
    """Every try is journaled, and committed, before the wire."""
    of_tag = books.message_of()
    for entry in books.entries:
        message = of_tag.get(entry.tag)
        if message is None:
            yield f"{entry.tag}: no attempt"
        elif message.attempts[entry.tag] > entry.left + CLOCK_TOLERANCE_S:
            yield f"{entry.tag}: the attempt began {message.attempts[entry.tag] - entry.left:.3f} s later"


def arrived_before_it_left(books: Books) -> Iterator[str]:
    """What gateways say of departures is believed by the rules on time, so the witness's own clock checks it."""
    for entry in books.entries:
        if entry.left > entry.at:
            yield f"{entry.tag}: {entry.left - entry.at:.3f} s"


def other_text_in_ledger(books: Books) -> Iterator[str]:
    """The text kept for a message is the text that left."""
    of_tag = books.message_of()
    for entry in books.entries:
        message = of_tag.get(entry.tag)
        if message is None or message.text is None or not entry.digest or entry.tag != [*message.attempts][-1]:
            continue
        if hashlib.sha256(message.text.encode()).hexdigest() != entry.digest:
            yield f"message {message.id}"


def epoch_went_back(books: Books) -> Iterator[str]:
    """P6: once a new owner has sent, the former one never does."""
    for device, entries in by_device(books.entries):
        for earlier, later in itertools.pairwise(entries):
            if later.epoch < earlier.epoch:
                yield f"device {device}: {earlier.epoch}, then {later.epoch}"


def gap_too_short(books: Books) -> Iterator[str]:
    """P10: pace survives everything."""
    for device, entries in by_device(books.entries):
        least = books.min_delays.get(device, 0.0) - GAP_TOLERANCE_S
        for earlier, later in itertools.pairwise(entries):
            if later.left - earlier.left < least:
                yield f"device {device}: {later.left - earlier.left:.3f} s, epochs {earlier.epoch} and {later.epoch}"


def uncertain_but_not_open_at_a_fault(books: Books) -> Iterator[str]:
    """P5: at most what was in flight when something went wrong."""
    for message in books.messages:
        if message.state in ("uncertain", "assumed") and books.at_risk.isdisjoint(message.attempts):
            yield f"message {message.id}"


def left_after_it_was_stopped(books: Books) -> Iterator[str]:
    """P9: pause, cancel and opt-out hold."""
    of_tag = books.message_of()
    stopped: dict[tuple[str, int], list[Silence]] = defaultdict(list)
    for silence in books.silences:
        stopped[silence.of, silence.id].append(silence)
    for entry in books.entries:
        if (message := of_tag.get(entry.tag)) is None:
            continue
        for silence in (*stopped["campaign", message.campaign], *stopped["contact", message.contact]):
            if silence.broken_by(message, entry.left):
                yield f"{silence.of} {silence.id}: {entry.left - silence.since:.2f} s too late"


RULES: dict[str, Callable[[Books], Iterable[str]]] = {
    rule.__name__: rule
    for rule in (
        missing_from_the_sum,
        sent_but_not_in_ledger,
        in_ledger_twice,
        in_ledger_but_may_be_sent_again,
        in_ledger_but_told_unsent,
        in_ledger_without_earlier_attempt,
        arrived_before_it_left,
        other_text_in_ledger,
        epoch_went_back,
        gap_too_short,
        uncertain_but_not_open_at_a_fault,
        left_after_it_was_stopped,
    )
}


def by_device(entries: Iterable[Entry]) -> Iterable[tuple[int, list[Entry]]]:
    """Each device's entries in the ledger's order."""
    sorted_out: dict[int, list[Entry]] = defaultdict(list)
    for entry in entries:
        sorted_out[entry.device].append(entry)
    return sorted_out.items()


MESSAGES_SQL = """
SELECT m.id, coalesce(m.campaign_id, 0), coalesce(m.contact_id, 0), m.state, m.may_duplicate, m.deaths, m.text,
       encode(m.tag, 'hex'), extract(epoch FROM m.attempted_at)::float8
FROM campaigns_message m ORDER BY m.id
"""
ATTEMPTS_SQL = """
SELECT message_id, encode(tag, 'hex'), extract(epoch FROM started_at)::float8
FROM campaigns_attempt ORDER BY message_id, number
"""


def read_books(
    entries: list[Entry], people: Mapping[int, int], at_risk: Iterable[str], silences: Iterable[Silence]
) -> Books:
    """The whole database's side, beside this ledger."""
    from django.db import connection

    from campaigns.models import Campaign
    from devices.models import Device

    attempts: dict[int, dict[str, float]] = defaultdict(dict)
    messages = []
    with connection.cursor() as cursor:
        cursor.execute(ATTEMPTS_SQL)
        for message, tag, began in cursor.fetchall():
            attempts[message][tag] = began
        cursor.execute(MESSAGES_SQL)
        for id, campaign, contact, state, may_duplicate, deaths, text, tag, began in cursor.fetchall():
            if tag is not None:
                attempts[id][tag] = began
            messages.append(Told(id, campaign, contact, state, attempts[id], may_duplicate, deaths, text))
    return Books(
        entries=entries,
        messages=messages,
        people=people,
        recipients=dict(Campaign.objects.values_list("pk", "recipients")),
        min_delays=dict(Device.objects.values_list("pk", "min_delay")),
        at_risk=frozenset(at_risk),
        silences=tuple(silences),
    )
