"""CSV files as spreadsheets read them."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest
from django.core.handlers.asgi import ASGIRequest
from django.test import AsyncRequestFactory, RequestFactory

from campaigns.sheets import Cells, clock, csv_answer, csv_text, plain

PAGES: list[list[Cells]] = [[("=1+1", None)], [("Zoë, “x”\nsecond line", 3)]]
FILE = '\ufeffName,Number\r\n\'=1+1,\r\n"Zoë, “x”\nsecond line",3\r\n'


def test_a_file_is_sent_a_page_at_a_time_by_both_kinds_of_server() -> None:
    plainly = csv_answer(RequestFactory().get("/"), "x", ("Name", "Number"), PAGES)
    assert b"".join(plainly).decode() == FILE
    request = AsyncRequestFactory().get("/")
    assert isinstance(request, ASGIRequest)
    answer = csv_answer(request, "x", ("Name", "Number"), iter(PAGES))

    async def gathered() -> list[bytes]:
        return [part async for part in answer]  # type: ignore[attr-defined]

    parts = asyncio.run(gathered())
    assert len(parts) == 3
    assert b"".join(parts).decode() == FILE


@pytest.mark.parametrize("start", ["=", "+", "-", "@", "\t", "\r", "＝"])  # noqa: RUF001
def test_no_cell_begins_a_formula(start: str) -> None:
    assert csv_text([(f"{start}x",)]).lstrip('"').startswith(f"'{start}")


def test_times_carry_their_offset() -> None:
    at = datetime(2026, 11, 1, 5, 30, tzinfo=UTC)
    assert clock(at, ZoneInfo("America/New_York")) == "2026-11-01T01:30:00-04:00"
    assert clock(at.replace(hour=6), ZoneInfo("America/New_York")) == "2026-11-01T01:30:00-05:00"
    assert clock(None, ZoneInfo("UTC")) == ""


@pytest.mark.parametrize(
    ("name", "file"),
    [('a"b\r\nc/..', "a_b__c_"), ("", "campaign"), ("Größe", "Gr__e"), ("Sale 3 - sent", "Sale 3 - sent")]
)  # fmt: skip
def test_a_file_name_breaks_no_header(name: str, file: str) -> None:
    assert plain(name) == file
