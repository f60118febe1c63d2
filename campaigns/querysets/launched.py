"""What the counters say of all campaigns that were launched in a stretch of time: together, one by one, by device.

Every question is one statement, so that a total and the rows beside it are of the same instant. None reads messages.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple

from django.db import connection

from accounts.models import Workspace
from campaigns.engine.lifecycle import FIGURES
from campaigns.models import NOBODYS
from campaigns.querysets.campaigns import COUNTERS

FAILED, SENT = FIGURES["failed"], FIGURES["sent"]


def added(states: Sequence[str]) -> str:
    return f"({' + '.join(states)})"


# How each figure is made of the counters; unreached are all whose message has a reason for it.
FIGURE_SQL = {
    "should": added([state for states in FIGURES.values() for state in states]),
    **{figure: added(states) for figure, states in FIGURES.items()},
    "delivered": "(delivered + read)",
    "read": "read",
    "replied": "replied",
    "unreached": added([*FAILED, *FIGURES["uncertain"], *FIGURES["skipped"]]),
}
RATE_SQL = f"({added(SENT)}::float8 / nullif({added((*SENT, *FAILED))}, 0))"
SORTS = {
    "newest": "launched_at DESC",
    "oldest": "launched_at",
    "name": "name",
    **{figure: f"{made} DESC" for figure, made in FIGURE_SQL.items()},
    "success": f"{RATE_SQL} DESC NULLS LAST",
    "failure": f"{RATE_SQL} NULLS LAST",
}

NO_DEVICE = 0  # in the place of a device's id: of those who were to get nothing, whose stream has one for its form only
AT_SQL = f"(CASE s.variant WHEN {NOBODYS} THEN {NO_DEVICE} ELSE s.device_id END)"
# Now and before in one pass: most of what it costs is to come by the streams.
CHOSEN_SQL = """c.workspace_id = %(workspace)s
      AND ((c.launched_at >= %(begin)s AND c.launched_at < %(end)s)
           OR (c.launched_at >= %(before_begin)s AND c.launched_at < %(before_end)s))"""
LAUNCHED_SQL = """
WITH told AS MATERIALIZED (
    SELECT c.id, c.launched_at, lower(c.name) AS name, c.launched_at >= %(begin)s AS now, {sums}
    FROM campaigns_campaign c {joined} campaigns_stream s ON s.campaign_id = c.id
    WHERE {chosen}
      AND (%(search)s = '' OR strpos(lower(c.name), lower(%(search)s)) > 0)
      AND (%(device)s::bigint IS NULL OR {at} = %(device)s)
    GROUP BY c.id
)
SELECT now, 0 AS place, count(*) AS id, min(id) AS only, count(*) FILTER (WHERE {kept}) AS kept, {totals}
FROM told GROUP BY now
UNION ALL
(SELECT now, row_number() OVER (ORDER BY {order}, id DESC) AS place, id, NULL, NULL, {counters}
 FROM told WHERE now AND {kept} ORDER BY place LIMIT %(size)s OFFSET %(offset)s)
ORDER BY place
"""
BY_DEVICE_SQL = """
SELECT t.now, grouping({at}) = 1, {at}, count(DISTINCT c.id), min(c.id), {sums}
FROM campaigns_campaign c CROSS JOIN LATERAL (SELECT c.launched_at >= %(begin)s AS now) t
LEFT JOIN campaigns_stream s ON s.campaign_id = c.id
WHERE {chosen}
GROUP BY GROUPING SETS ((t.now, {at}), (t.now))
"""
SUMS = ", ".join(f"coalesce(sum(s.{name}), 0)::bigint AS {name}" for name in COUNTERS)
TOTALS = ", ".join(f"coalesce(sum({name}), 0)::bigint" for name in COUNTERS)


@dataclass(frozen=True, slots=True)
class Counted:
    """``only``: the id of the campaign where there is one only. ``counts``: by the names of `COUNTERS`."""

    campaigns: int
    only: int | None
    counts: dict[str, int]


NOTHING = Counted(0, None, dict.fromkeys(COUNTERS, 0))


class Span(NamedTuple):
    """Instants: from ``begin``, and before ``end``."""

    begin: datetime
    end: datetime


@dataclass(frozen=True, slots=True)
class Launched:
    """``before``: those launched in the span to compare with. ``kept`` of the ``whole`` have some of the figure asked
    for; ``rows`` are a page of these: (id, counts).
    """

    whole: Counted
    before: Counted
    kept: int
    rows: list[tuple[int, dict[str, int]]]


@dataclass(frozen=True, slots=True)
class ByDevice:
    """``devices`` and ``devices_before``: by id, and `NO_DEVICE`; one without any campaign is missing."""

    whole: Counted
    before: Counted
    devices: dict[int, Counted]
    devices_before: dict[int, Counted]


def launched(
    workspace: Workspace,
    span: Span,
    before: Span | None = None,
    *,
    search: str = "",
    device: int | None = None,
    figure: str = "",
    sort: str = "newest",
    size: int = 0,
    offset: int = 0,
) -> Launched:
    """Campaigns launched in the span; ``device`` (an id, or `NO_DEVICE`): what they have at that one alone.

    ``figure``: only rows of campaigns that have any of it. ``sort``: a key of `SORTS`.
    """
    statement = LAUNCHED_SQL.format(
        sums=SUMS,
        at=AT_SQL,
        chosen=CHOSEN_SQL,
        totals=TOTALS,
        counters=", ".join(COUNTERS),
        joined="LEFT JOIN" if device is None else "JOIN",
        kept=f"{FIGURE_SQL[figure]} > 0" if figure else "true",
        order=SORTS[sort],
    )
    values = {"search": search, "device": device, "size": size, "offset": offset}
    totals, rows, found = {True: NOTHING, False: NOTHING}, [], 0
    for now, place, pk, only, kept, *counts in asked(statement, workspace, span, before, **values):
        if place:
            rows.append((pk, counts_of(counts)))
            continue
        totals[now] = counted(pk, only, counts)
        found = kept if now else found
    return Launched(totals[True], totals[False], found, rows)


def launched_by_device(workspace: Workspace, span: Span, before: Span) -> ByDevice:
    """What campaigns launched in the span, and in the one before, have at each device and at all together."""
    totals = {True: NOTHING, False: NOTHING}
    devices: dict[bool, dict[int, Counted]] = {True: {}, False: {}}
    statement = BY_DEVICE_SQL.format(sums=SUMS, at=AT_SQL, chosen=CHOSEN_SQL)
    for now, whole, device, campaigns, only, *counts in asked(statement, workspace, span, before):
        if whole:
            totals[now] = counted(campaigns, only, counts)
        elif device is not None:  # a campaign that is not planned yet is at none
            devices[now][device] = counted(campaigns, only, counts)
    return ByDevice(totals[True], totals[False], devices[True], devices[False])


def asked(
    statement: str, workspace: Workspace, span: Span, before: Span | None, **values: Any
) -> list[tuple[Any, ...]]:
    before = before or Span(span.begin, span.begin)  # none
    spans = {"begin": span.begin, "end": span.end, "before_begin": before.begin, "before_end": before.end}
    with connection.cursor() as cursor:
        cursor.execute(statement, {"workspace": workspace.pk, **spans, **values})
        return cursor.fetchall()


def counted(campaigns: int, only: int | None, numbers: Sequence[int]) -> Counted:
    return Counted(campaigns, only if campaigns == 1 else None, counts_of(numbers))


def counts_of(numbers: Sequence[int]) -> dict[str, int]:
    return dict(zip(COUNTERS, numbers, strict=True))
