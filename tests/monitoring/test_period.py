"""Whole days of the workspace's clock, also where a clock is changed, and as many before them."""

from __future__ import annotations

from datetime import UTC, date, datetime
from zoneinfo import ZoneInfo

import pytest

from monitoring.metered import in_words, places
from monitoring.period import between, period

KL, BERLIN = ZoneInfo("Asia/Kuala_Lumpur"), ZoneInfo("Europe/Berlin")
NOW = datetime(2026, 11, 26, 20, 30, tzinfo=UTC)  # the 27th, 4:30 in the morning, in Kuala Lumpur


@pytest.mark.parametrize(
    ("key", "words", "before"),
    [
        ("today", "27 November 2026", "26 November 2026, up to 04:30"),
        ("7", "21 to 27 November 2026", "14 to 20 November 2026, up to 04:30"),
        ("30", "29 October to 27 November 2026", "29 September to 28 October 2026, up to 04:30"),
        ("month", "1 to 27 November 2026", "5 to 31 October 2026, up to 04:30"),
    ],
)
def test_days_are_those_of_the_workspaces_clock(key: str, words: str, before: str) -> None:
    asked = period(key, NOW, KL)
    assert (asked.words, asked.before_words) == (words, before)
    assert asked.before_end - asked.before_begin <= asked.end - asked.begin


def test_days_that_are_over_are_compared_with_as_many_whole_days() -> None:
    asked = period("own", NOW, KL, date(2026, 1, 1), date(2026, 1, 10))
    assert (asked.before_begin, asked.before_end) == (
        datetime(2025, 12, 22, tzinfo=KL),
        datetime(2026, 1, 1, tzinfo=KL),
    )
    assert asked.before_words == "22 to 31 December 2025"
    assert between(date(2025, 12, 31), date(2026, 1, 2)) == "31 December 2025 to 2 January 2026"


def test_a_day_is_as_long_as_its_clock_says() -> None:
    asked = period("own", NOW, BERLIN, date(2026, 10, 25), date(2026, 10, 25))
    assert asked.end.astimezone(UTC) - asked.begin.astimezone(UTC) == (
        datetime(2026, 10, 25, 23, tzinfo=UTC) - datetime(2026, 10, 24, 22, tzinfo=UTC)
    )
    assert asked.before_begin.astimezone(UTC) == datetime(2026, 10, 23, 22, tzinfo=UTC)
    labels, place = places(asked)
    assert (len(labels), place(datetime(2026, 10, 25, 22, 59, tzinfo=UTC).astimezone(BERLIN))) == (24, 23)


@pytest.mark.parametrize(
    ("days", "labels", "last"),
    [(1, 24, "23:00"), (2, 48, "Sat 23:00"), (92, 92, "31 Jan"), (93, 14, "from 31 Jan"), (366, 53, "from 31 Oct")],
)
def test_a_long_period_is_drawn_in_longer_steps(days: int, labels: int, last: str) -> None:
    first = date(2026, 11, 1) if days > 2 else date(2026, 1, 31 - days + 1)
    end = date.fromordinal(first.toordinal() + days - 1)
    asked = period("own", datetime(2028, 1, 1, tzinfo=UTC), KL, first, end)
    found, place = places(asked)
    assert (len(found), found[-1]) == (labels, last)
    assert (place(asked.begin), place(datetime(end.year, end.month, end.day, 23, 59, tzinfo=KL))) == (0, labels - 1)


@pytest.mark.parametrize(
    ("ms", "words"), [(None, ""), (85.2, "85 ms"), (1_240, "1.2 s"), (119_000, "119.0 s"), (300_000, "5 min")]
)
def test_a_processing_time_reads_well(ms: float | None, words: str) -> None:
    assert in_words(ms) == words
