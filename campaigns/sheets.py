"""CSV files for spreadsheets: streamed a page at a time, safe from formulas, and with the mark that Excel looks for."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse

from accounts.models import Workspace
from accounts.tenancy import tenant_scope
from campaigns.imports.neutral import neutral
from campaigns.streamed import streamed

MARK = "\ufeff"
ROWS_AT_ONCE = 500  # a rejected row of an import is up to 1 MB long
Cells = Sequence[object]


def csv_answer(
    request: HttpRequest, filename: str, head: Cells, pages: Iterable[Iterable[Cells]], delimiter: str = ","
) -> HttpResponse:
    """A download. ``pages`` are read while it is sent, one at a time: each sees to its own transaction."""
    answer = streamed(request, csv_parts(head, pages, delimiter), "text/csv; charset=utf-8")
    answer.headers["Content-Disposition"] = f'attachment; filename="{plain(filename)}.csv"'
    return answer


def csv_parts(head: Cells, pages: Iterable[Iterable[Cells]], delimiter: str = ",") -> Iterator[str]:
    yield MARK + csv_text([head], delimiter)
    for page in pages:
        yield csv_text(page, delimiter)


def pages_of(workspace: Workspace, rows: QuerySet[Any], key: str, *columns: str) -> Iterator[list[tuple[Any, ...]]]:
    """These columns of all rows, by ``key``, of which no two have the same. Each page has a transaction of its own."""
    ordered = rows.order_by(key).values_list(key, *columns)
    left = ordered
    while True:
        with tenant_scope(workspace):
            page = list(left[:ROWS_AT_ONCE])
        yield [row[1:] for row in page]
        if len(page) < ROWS_AT_ONCE:
            return
        left = ordered.filter(**{f"{key}__gt": page[-1][0]})


def csv_text(rows: Iterable[Cells], delimiter: str = ",") -> str:
    text = io.StringIO(newline="")
    out = csv.writer(text, delimiter=delimiter)
    out.writerows([neutral("" if cell is None else str(cell)) for cell in row] for row in rows)
    return text.getvalue()


def clock(at: datetime | None, zone: ZoneInfo) -> str:
    """`2026-11-27T15:02:03+08:00`; empty for no time."""
    return at.astimezone(zone).isoformat(timespec="seconds") if at else ""


def plain(name: str) -> str:
    """A file name that every system takes, and no header is broken by."""
    kept = "".join(letter if letter.isalnum() or letter in " -_.,()" else "_" for letter in name)
    return kept.encode("ascii", "replace").decode().replace("?", "_").strip(" .") or "campaign"
