"""What the counters say of all campaigns that were launched in a stretch of time: together, one by one, by device.

Every question is one statement, so that a total and the rows beside it are of the same instant. None reads messages.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db import connection

from accounts.models import Workspace
from campaigns.engine.lifecycle import FIGURES
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

LAUNCHED_SQL = """
WITH told AS MATERIALIZED (
    SELECT c.id, c.launched_at, lower(c.name) AS name, {sums}
    FROM campaigns_campaign c {joined} campaigns_stream s ON s.campaign_id = c.id
    WHERE c.workspace_id = %(workspace)s AND c.launched_at >= %(begin)s AND c.launched_at < %(end)s
      AND (%(search)s = '' OR strpos(lower(c.name), lower(%(search)s)) > 0)
      AND (%(device)s::bigint IS NULL OR s.device_id = %(device)s)
    GROUP BY c.id
)
SELECT 0 AS place, count(*) AS id, min(id) AS only, count(*) FILTER (WHERE {kept}) AS kept, {totals} FROM told
UNION ALL
(SELECT row_number() OVER (ORDER BY {order}, id DESC) AS place, id, NULL, NULL, {counters}
 FROM told WHERE {kept} ORDER BY place LIMIT %(size)s OFFSET %(offset)s)
ORDER BY place
"""
BY_DEVICE_SQL = """
SELECT s.device_id, count(DISTINCT s.campaign_id), min(s.campaign_id), {sums}
FROM campaigns_campaign c JOIN campaigns_stream s ON s.campaign_id = c.id
WHERE c.workspace_id = %(workspace)s AND c.launched_at >= %(begin)s AND c.launched_at < %(end)s
GROUP BY s.device_id
"""
SUMS = ", ".join(f"coalesce(sum(s.{name}), 0)::bigint AS {name}" for name in COUNTERS)
TOTALS = ", ".join(f"coalesce(sum({name}), 0)::bigint" for name in COUNTERS)


@dataclass(frozen=True, slots=True)
class Counted:
    """``only``: the id of the campaign where there is one only. ``counts``: by the names of `COUNTERS`."""

    campaigns: int
    only: int | None
    counts: dict[str, int]


@dataclass(frozen=True, slots=True)
class Launched:
    """``kept`` of the campaigns have some of the figure asked for; ``rows`` are a page of these: (id, counts)."""

    whole: Counted
    kept: int
    rows: list[tuple[int, dict[str, int]]]


def launched(
    workspace: Workspace,
    begin: datetime,
    end: datetime,
    *,
    search: str = "",
    device: int | None = None,
    figure: str = "",
    sort: str = "newest",
    size: int = 0,
    offset: int = 0,
) -> Launched:
    """Campaigns launched from ``begin`` and before ``end``; ``device`` (an id): what they have at that one alone.

    ``figure``: only rows of campaigns that have any of it. ``sort``: a key of `SORTS`.
    """
    statement = LAUNCHED_SQL.format(
        sums=SUMS,
        totals=TOTALS,
        counters=", ".join(COUNTERS),
        joined="LEFT JOIN" if device is None else "JOIN",
        kept=f"{FIGURE_SQL[figure]} > 0" if figure else "true",
        order=SORTS[sort],
    )
    values = {"search": search, "device": device, "size": size, "offset": offset}
    (_, campaigns, only, kept, *totals), *rows = asked(statement, workspace, begin, end, **values)
    return Launched(
        Counted(campaigns, only if campaigns == 1 else None, counts_of(totals)),
        kept,
        [(pk, counts_of(counts)) for _, pk, _, _, *counts in rows],
    )


def launched_by_device(workspace: Workspace, begin: datetime, end: datetime) -> dict[int, Counted]:
    """By device (id): what campaigns launched in this stretch have there; a device without any is missing."""
    rows = asked(BY_DEVICE_SQL.format(sums=SUMS), workspace, begin, end)
    return {
        device: Counted(campaigns, only if campaigns == 1 else None, counts_of(counts))
        for device, campaigns, only, *counts in rows
    }


def asked(statement: str, workspace: Workspace, begin: datetime, end: datetime, **values: Any) -> list[tuple[Any, ...]]:
    with connection.cursor() as cursor:
        cursor.execute(statement, {"workspace": workspace.pk, "begin": begin, "end": end, **values})
        return cursor.fetchall()


def counts_of(numbers: Sequence[int]) -> dict[str, int]:
    return dict(zip(COUNTERS, numbers, strict=True))
