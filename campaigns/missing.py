"""What a text asks for and people do not have: how many lack it, and what they read in its place."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from django.db import connection

from campaigns.audience import reachable
from campaigns.compose import RESERVED, TextError, Use, parse, slug, uses_of, variables_in
from campaigns.querysets.contacts import ContactQuerySet

LOOKED_AT = 100_000
OWN_LABELS = {"name": "name", "first_name": "first name"}
EVERYBODY_HAS = {"phone", "opt_out_link"}

# Of all people under no key, then of each field: how many are there, and how many of them hold more than blanks.
FILLED_SQL = r"""
WITH person AS MATERIALIZED ({people})
SELECT '', count(*), count(*) FILTER (WHERE name ~ '\S') FROM person
UNION ALL
SELECT field.key, count(*), count(*) FILTER (WHERE field.value ~ '\S')
FROM person CROSS JOIN LATERAL jsonb_each_text(person.fields) field WHERE field.key <> '' GROUP BY field.key
"""
COUNT_SQL = "SELECT {lacking} FROM ({people}) person"


@dataclass(frozen=True, slots=True)
class Missing:
    """So many of those ``looked_at`` lack the variable ``word``; ``exact``: these are all who can be reached.

    ``fallbacks`` is what they read in its place, where an empty text is nothing; no fallbacks at all: the text has
    conditions about it, which decide. ``variants``: letters of those that ask for it; empty: every one does.
    """

    word: str
    label: str
    people: int
    looked_at: int
    exact: bool
    fallbacks: tuple[str, ...]
    variants: tuple[str, ...] = ()

    def __str__(self) -> str:
        who = "person has" if self.people == 1 else "people have"
        if not self.exact:
            who = f"of the {self.looked_at:,} people looked at {'has' if self.people == 1 else 'have'}"
        where = f"with variant {' or '.join(self.variants)} " if self.variants else ""
        return f"{self.people:,} {who} no {self.label}: {where}{self.instead}."

    @property
    def instead(self) -> str:
        they = "they" if self.people != 1 else "this person"
        if not self.fallbacks:
            return "the text says what happens then"
        gets = "get" if self.people != 1 else "gets"
        return f"{they} {gets} " + " or ".join(f"“{text}”" if text else "nothing" for text in self.fallbacks)


def report(texts: Sequence[str], contacts: ContactQuerySet) -> list[Missing]:
    """What people who can be reached lack of the texts' variables, by how many lack it; unusable texts have none.

    ``texts``: the variants A, B … of one message; who gets which is not known yet. Exact for fewer than `LOOKED_AT`
    people; of more, the first so many are looked at, and each line says so. Half a minute old in a large workspace.
    """
    asked: dict[str, list[str]] = {}  # variable → the letters of the variants that ask for it
    uses: list[Use] = []
    for place, text in enumerate(texts):
        try:
            names, found = variables_in(text) - EVERYBODY_HAS, uses_of(parse(text))
        except TextError:
            continue
        uses += found
        for name in names:
            asked.setdefault(name, []).append(chr(ord("A") + place))
    if not asked:
        return []
    looked_at, more, lacking = counted(sorted(asked), contacts)
    lines = [
        Missing(
            word,
            label,
            people,
            looked_at,
            not more,
            tuple(fallbacks(word, uses)),
            tuple(asked[word]) if len(asked[word]) < len(texts) else (),
        )
        for word, (label, people) in lacking.items()
        if people
    ]
    return sorted(lines, key=lambda missing: (-missing.people, missing.word))


def counted(wanted: list[str], contacts: ContactQuerySet) -> tuple[int, bool, dict[str, tuple[str, int]]]:
    """How many were looked at, whether there may be more, and for each word its label and who lacks it."""
    sql, params = reachable(contacts).order_by("pk").values("name", "fields")[:LOOKED_AT].query.sql_with_params()

    def filled() -> list[tuple[str, int, int]]:
        with connection.cursor() as cursor:
            cursor.execute(FILLED_SQL.format(people=sql), params)
            return cursor.fetchall()

    rows = contacts.kept_rows("filled", filled, (str, int, int))
    looked_at, named = next((there, having) for key, there, having in rows if not key)
    fields = {key: having for key, _there, having in rows if key}
    lacking, doubtful = {}, {}
    for word in wanted:
        keys = keys_of(word, fields)
        label = OWN_LABELS.get(word) or (keys[0] if keys else word)
        if len(keys) > 1 and word not in RESERVED:
            doubtful[word] = keys
        lacking[word] = (label, looked_at - (named if word in RESERVED else fields.get(keys[0], 0) if keys else 0))
    if doubtful:
        columns = [f"count(*) FILTER (WHERE coalesce({value_sql(keys)}, '') !~ '\\S')" for keys in doubtful.values()]
        values = [value for keys in doubtful.values() for key in keys for value in (key, key)]

        def either() -> list[int]:
            with connection.cursor() as cursor:
                cursor.execute(COUNT_SQL.format(lacking=", ".join(columns), people=sql), [*values, *params])
                return list(cursor.fetchone())

        counts = contacts.kept(f"lacking {doubtful}", either)
        lacking |= {word: (lacking[word][0], count) for word, count in zip(doubtful, counts, strict=True)}
    return looked_at, looked_at == LOOKED_AT, lacking


def keys_of(word: str, keys: Iterable[str]) -> list[str]:
    """The custom fields that a text means by this word, the one that decides first (see `variables_for`)."""
    meant = [key for key in keys if key == word or slug(key) == word]
    # PostgreSQL keeps the keys of an object by length.
    return sorted(meant, key=lambda key: (key != word, len(key.encode()), key.encode()))


def value_sql(keys: list[str]) -> str:
    return "CASE " + " ".join("WHEN person.fields ? %s THEN person.fields ->> %s" for _ in keys) + " END"


def fallbacks(word: str, uses: Iterable[Use]) -> Iterator[str]:
    """Each once, in the order of the text."""
    seen = set()
    for use in uses:
        if use.word == word and use.instead not in seen:
            seen.add(use.instead)
            yield use.instead
