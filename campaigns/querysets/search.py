"""What a search for people means: the beginnings of words of a name, the beginning or the end of a number.

The wall between workspaces lets no index answer such questions, for they might tell of a stranger's row by failing on
it. Among very many people an index is therefore asked beyond the wall, for ids of this workspace and nothing else; who
they are is read behind the wall.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from django.contrib.postgres.fields import ArrayField
from django.db import OperationalError, connection
from django.db.models import BigIntegerField, BooleanField, F, Func, Q, TextField, Value
from django.db.models.functions import Lower
from django.db.models.lookups import Contains
from phonenumbers import country_code_for_region
from psycopg.errors import QueryCanceled

from accounts.tenancy import beyond_workspace

FEW = 2_000
LOOKED_AT = 20_000  # people of the installation that an index may name for one question
PATIENCE_MS = 1_000  # an index that takes longer is left, too
# As the database reads a name (campaigns_words_of).
BETWEEN_WORDS = (
    "-'`.,;:!?()[]{}<>/\\|\"&_+*#@~="
    "\u00a0\u00ab\u00b4\u00b7\u00bb\u060c\u2013\u2014\u2018\u2019\u201c\u201d\u2022\u3000\u3001\u3002\u30fb\t\r\n"
)
END = 4  # digits of a number's end that its index knows, the last one first
NATIONAL = 7  # digits that may be a whole number without its country's code
_BLANKS = str.maketrans(dict.fromkeys(BETWEEN_WORDS, " "))
_NUMBER = re.compile(r"[+\d][\d\s().-]*")
# Thai to Burmese, kana, Chinese: names without blanks, whose parts people look for all the same.
_WITHOUT_BLANKS = re.compile(
    "[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30fa\u30fc-\u30ff\u3400-\u9fff\U00020000-\U0003ffff]"
)

# Materialized, so that the index is asked first whatever the planner believes of a workspace it does not know yet. A
# row without an id says that so many fit in the whole installation that the index was left: those of others must not
# be gone through for what this workspace asks.
BOUNDED = """
), ours AS MATERIALIZED (
    SELECT id FROM found WHERE workspace_id = %(workspace)s AND phone LIKE %(phone)s LIMIT %(most)s
)
SELECT id FROM ours
UNION ALL
SELECT NULL WHERE (SELECT count(*) FROM ours) < %(most)s AND (SELECT count(*) FROM found) >= %(looked_at)s
"""
WORDS_SQL = f"""
WITH found AS MATERIALIZED (
    SELECT id, workspace_id, phone FROM campaigns_contact
    WHERE campaigns_words_of(name, phone) @@ lower(%(words)s)::tsquery LIMIT %(looked_at)s
{BOUNDED}"""  # noqa: S608
FIELDS_SQL = f"""
WITH found AS MATERIALIZED (
    SELECT id, workspace_id, phone FROM campaigns_contact
    WHERE campaigns_in_small_letters(fields) @> lower(%(fields)s)::jsonb LIMIT %(looked_at)s
{BOUNDED}"""  # noqa: S608
# In an order, so that the index of numbers is the cheapest, again whatever the planner believes.
NUMBERS_SQL = """
SELECT id FROM campaigns_contact
WHERE workspace_id = %(workspace)s AND phone >= %(begin)s AND phone < %(end)s ORDER BY phone LIMIT %(most)s
"""

PLANNING_SQL = "SELECT set_config('statement_timeout', %s, true), set_config('enable_seqscan', %s, true)"


@dataclass(frozen=True, slots=True)
class Search:
    """What was typed: ``words`` as a query of the index, ``ends`` and ``begins`` of numbers; ``asked`` is all of it."""

    asked: Q
    words: str = ""
    ends: str = ""
    begins: tuple[str, ...] = ()
    indexed: bool = True

    def few(self, workspace_id: int, most: int) -> list[int] | None:
        """The ids of whom it means, if they are so many at most; None: they are more, or no index knows."""
        if not self.indexed:
            return None
        asked: list[tuple[str, dict[str, Any]]] = [(WORDS_SQL, {"words": self.words})] if self.words else []
        if self.ends:
            mark = self.ends[-END:][::-1]
            words = f"'+{mark}'{':*' if len(mark) < END else ''}"
            asked.append((WORDS_SQL, {"words": words, "phone": f"%{self.ends}"}))
        asked += [(NUMBERS_SQL, {"begin": begin, "end": after(begin)}) for begin in self.begins]
        return few(workspace_id, most, asked)


def search_for(text: str, country: str) -> Search:
    """Whoever has words that begin as all of these do, or a number that begins or ends so. ``country``: ISO 3166."""
    numbers = _NUMBER.fullmatch(text)
    digits = re.sub(r"\D", "", text) if numbers else ""
    # 012 345 6789 may be written so in another country than this one.
    whole = digits.lstrip("0")
    ends, begins = whole if len(whole) >= NATIONAL else digits, _beginnings(text, digits, country)
    found = [Q(phone__endswith=ends)] if ends else []
    found += [Q(phone__startswith=begin) for begin in begins]
    if _WITHOUT_BLANKS.search(text):
        return Search(Q(name__icontains=text), indexed=False)
    words = text.translate(_BLANKS).split()
    query = " & ".join("'" + word.replace("\\", "\\\\") + "':*" for word in words)
    if words:
        # That the letters stand there at all is found out in a sixth of the time.
        there = Q(*(Q(Contains(Lower("name"), Lower(Value(word)))) for word in words))
        found.append(there & Q(_words_begin(query)))
    asked = Q(pk__in=[])
    for one in found:
        asked |= one
    return Search(asked, query, ends, begins)


def _beginnings(text: str, digits: str, country: str) -> tuple[str, ...]:
    """As it may stand in E.164: 012-34 is +6012 34 in Malaysia."""
    if not digits.strip("0"):
        return ()
    if text.startswith("+") or digits.startswith("00"):
        return (f"+{digits.lstrip('0')}",)
    national = f"+{country_code_for_region(country)}{digits.lstrip('0')}"
    return (national,) if digits.startswith("0") else (national, f"+{digits}")


def after(begin: str) -> str:
    """The first text, in the order of numbers, that begins otherwise: +6013 after +6012."""
    digits = begin[1:].rstrip("9")
    return f"+{int(digits) + 1}" if digits else "+a"


def _words_begin(query: str) -> Func:
    words = Func(F("name"), F("phone"), function="campaigns_words_of", output_field=TextField())
    asked = Lower(Value(query))
    return Func(words, asked, template="(%(expressions)s::tsquery)", arg_joiner=" @@ ", output_field=BooleanField())


def few_with_fields(fields: Mapping[str, str], workspace_id: int, most: int) -> list[int] | None:
    """The ids of at most so many people, among whom all are that have each of these values, in whatever letters.

    Only fields in small letters: of City and city, should anybody have both, the index keeps the latter.
    """
    known = {name: value for name, value in fields.items() if name == name.lower()}
    if not known:
        return None
    return few(workspace_id, most, [(FIELDS_SQL, {"fields": json.dumps(known, ensure_ascii=False)})])


def few(workspace_id: int, most: int, asked: Iterable[tuple[str, dict[str, Any]]]) -> list[int] | None:
    """The ids that any of the statements gives; None where that is more than ``most``, or an index was left.

    Whoever gets None goes through the workspace's own people, which costs nobody else anything.
    """
    found: set[int | None] = set()
    bounds: dict[str, Any] = {"workspace": workspace_id, "most": most + 1, "looked_at": LOOKED_AT, "phone": "%"}
    try:
        with beyond_workspace(), by_index(PATIENCE_MS), connection.cursor() as cursor:
            for sql, values in asked:
                cursor.execute(sql, bounds | values)
                found.update(pk for (pk,) in cursor.fetchall())
                if len(found) > most or None in found:
                    return None
    except OperationalError as problem:
        if not isinstance(problem.__cause__, QueryCanceled):
            raise
        return None
    return sorted(pk for pk in found if pk is not None)


@contextmanager
def by_index(patience_ms: int) -> Iterator[None]:
    """Inside a transaction: statements of the block use an index wherever one can be used, and none takes longer."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT current_setting('statement_timeout'), current_setting('enable_seqscan')")
        before = cursor.fetchone()
        cursor.execute(PLANNING_SQL, [f"{patience_ms}ms", "off"])
    yield
    if not connection.needs_rollback:
        with connection.cursor() as cursor:
            cursor.execute(PLANNING_SQL, before)


def one_of(ids: Iterable[int]) -> Q:
    """One parameter however many they are."""
    array = Value(list(ids), output_field=ArrayField(BigIntegerField()))
    any_of = Func(array, function="ANY", template="%(function)s(%(expressions)s::bigint[])")
    return Q(Func(F("pk"), any_of, template="(%(expressions)s)", arg_joiner=" = ", output_field=BooleanField()))
