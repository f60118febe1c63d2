"""When a campaign will be done, how many wait for tomorrow, and why."""

from __future__ import annotations

from datetime import datetime
from zoneinfo import ZoneInfo

import pytest

from campaigns.engine.forecast import Pace, seconds_for_all
from campaigns.outlook import Outlook, outlook

START = datetime(2026, 11, 5, 10, tzinfo=ZoneInfo("Asia/Kuala_Lumpur"))
TEN = 10 * 3600


def of(count: int, pace: Pace, start: datetime = START) -> Outlook:
    at = start.hour * 3600
    return outlook(start, seconds_for_all([count], [pace], at), [count], [pace])


def test_what_is_done_today_makes_nobody_wait() -> None:
    found = of(60, Pace(60, 60))
    assert (found.later, found.days, found.cap) == ([], 1, None)
    assert found.ends_at == START.replace(hour=11)


@pytest.mark.parametrize(
    ("count", "pace", "later"),
    [
        (500, Pace(60, 60, daily_cap=300), (200, "the number's daily cap is reached")),
        (500, Pace(60, 60, daily_cap=300, warm_up=(20, 50)), (480, "the number is warming up")),
        (500, Pace(60, 60, hours=(9 * 3600, 12 * 3600)), (380, "it is outside the hours for sending")),
        (500, Pace(60, 60, hourly_cap=10), (360, "the number's hourly cap lets no more through")),
        (2_000, Pace(60, 60), (1_160, "the gaps between messages take longer than the day")),
    ],
)
def test_whoever_waits_for_tomorrow_has_a_reason(count: int, pace: Pace, later: tuple[int, str]) -> None:
    found = of(count, pace)
    assert found.later == [later]
    assert found.days is not None
    assert found.days > 1
    assert found.ends_at is not None
    assert found.ends_at.date() > START.date()


def test_the_caps_of_the_first_day_say_how_much_of_them_is_taken() -> None:
    found = outlook(START, 3600, [50, 10, 9], [Pace(1, 1, daily_cap=40), Pace(1, 1, daily_cap=100), Pace(1, 1)])
    assert (found.used, found.cap) == (50, 140)
    assert found.later == [(10, "the number's daily cap is reached")]


def test_a_day_of_25_hours_ends_at_its_own_midnight() -> None:
    start = datetime(2026, 11, 1, 0, tzinfo=ZoneInfo("America/New_York"))
    assert of(1_450, Pace(60, 60), start).later == []
    assert of(1_450, Pace(60, 60), start.replace(day=2)).later == [
        (10, "the gaps between messages take longer than the day")
    ]


def test_no_end_is_no_error() -> None:
    assert outlook(START, None, [5], [Pace(1, 1, daily_cap=0)]).ends_at is None
    assert outlook(START, 1e12, [5], [Pace(1e9, 1e9)]).days is None
