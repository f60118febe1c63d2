"""What the counters say of all campaigns that were launched in a stretch of time: together, one by one, by device.

Every question is one statement, so that a total and the rows beside it are of the same instant. None reads messages.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple

from django.db import connection

from accounts.models import Workspace
from campaigns.engine.lifecycle import FIGURES
from campaigns.models import NO_VARIANT, NOBODYS
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
# By their workspace, which spares each of thousands of streams the wall's own question.
STREAMS_SQL = "campaigns_stream s ON s.campaign_id = c.id AND s.workspace_id = %(workspace)s"
# Now and before in one pass: most of what it costs is to come by the streams.
CHOSEN_SQL = """c.workspace_id = %(workspace)s
      AND ((c.launched_at >= %(begin)s AND c.launched_at < %(end)s)
           OR (c.launched_at >= %(before_begin)s AND c.launched_at < %(before_end)s))"""
LAUNCHED_SQL = """
WITH told AS MATERIALIZED (
    SELECT c.id, c.launched_at, lower(c.name) AS name, c.launched_at >= %(begin)s AS now, {sums}
    FROM campaigns_campaign c {joined} {streams}
    WHERE {chosen}
      AND (%(search)s = '' OR strpos(lower(c.name), lower(%(search)s)) > 0)
      AND {there}
    GROUP BY c.id
)
SELECT now, 0 AS place, count(*) AS id, min(id) AS only, count(*) FILTER (WHERE {kept}) AS kept, {totals}
FROM told GROUP BY now
UNION ALL
(SELECT now, row_number() OVER (ORDER BY {order}, id DESC) AS place, id, NULL, NULL, {counters}
 FROM told WHERE now AND {kept} ORDER BY place LIMIT %(size)s OFFSET %(offset)s)
ORDER BY place
"""
# To count a device's campaigns among its streams, these would have to be sorted. A campaign without variants has one
# stream at each device; those of one with variants are put together first.
BY_DEVICE_SQL = """
WITH chosen AS MATERIALIZED (
    SELECT c.id, c.launched_at >= %(begin)s AS now FROM campaigns_campaign c WHERE {chosen}
)
SELECT now, NULL::bigint AS device, count(*), min(id), {zeros} FROM chosen GROUP BY now
UNION ALL
SELECT now, device, sum(CASE apart WHEN 0 THEN streams ELSE 1 END)::bigint, min(first), {totals}
FROM (
    SELECT c.now, {at} AS device, CASE s.variant WHEN {no_variant} THEN 0 ELSE c.id END AS apart, count(*) AS streams,
           min(c.id) AS first, {sums}
    FROM chosen c JOIN {streams} GROUP BY 1, 2, 3
) told
GROUP BY now, device
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
    there = "s.variant = {nobodys}" if device == NO_DEVICE else "s.device_id = %(device)s AND s.variant <> {nobodys}"
    statement = LAUNCHED_SQL.format(
        sums=SUMS,
        there="true" if device is None else there.format(nobodys=NOBODYS),
        chosen=CHOSEN_SQL,
        totals=TOTALS,
        counters=", ".join(COUNTERS),
        joined="LEFT JOIN" if device is None else "JOIN",
        streams=STREAMS_SQL,
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
    whole: dict[bool, tuple[int, int | None]] = {True: (0, None), False: (0, None)}
    devices: dict[bool, dict[int, Counted]] = {True: {}, False: {}}
    statement = BY_DEVICE_SQL.format(
        at=AT_SQL,
        chosen=CHOSEN_SQL,
        streams=STREAMS_SQL,
        no_variant=NO_VARIANT,
        sums=SUMS,
        totals=TOTALS,
        zeros=", ".join("0" for _ in COUNTERS),
    )
    for now, device, campaigns, only, *counts in asked(statement, workspace, span, before):
        if device is None:
            whole[now] = campaigns, only
        else:
            devices[now][device] = counted(campaigns, only, counts)
    return ByDevice(
        together(*whole[True], devices[True].values()),
        together(*whole[False], devices[False].values()),
        devices[True],
        devices[False],
    )


def together(campaigns: int, only: int | None, devices: Collection[Counted]) -> Counted:
    """So many campaigns, some of which may be planned at none of the devices yet."""
    return counted(campaigns, only, [sum(one.counts[name] for one in devices) for name in COUNTERS])


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
