"""How long a campaign takes by the paces of its devices."""

from __future__ import annotations

import pytest

from campaigns.engine.forecast import (
    DAY,
    HOUR,
    Pace,
    common_hours,
    done_within,
    full_days,
    seconds_for,
    seconds_for_all,
    shares,
)
from campaigns.shown import duration


@pytest.mark.parametrize(
    ("messages", "pace", "seconds"),
    [
        (0, Pace(10, 30), 0),
        (9, Pace(10, 30), 180),
        (100, Pace(0, 0), 20),
        (180, Pace(20, 20), 3600),
        (100, Pace(0, 0, hourly_cap=60), 3600 + 40 * 0.2),
        (60, Pace(0, 0, hourly_cap=60), 60 * 0.2),
        (250, Pace(0, 0, daily_cap=100), 2 * 86_400 + 50 * 0.2),
        (1, Pace(10, 30, daily_cap=0), None),
        (1, Pace(10, 30, hourly_cap=0), None),
    ],
)
def test_a_device_takes_its_gaps_and_waits_for_its_caps(messages: int, pace: Pace, seconds: float | None) -> None:
    assert seconds_for(messages, pace) == (None if seconds is None else pytest.approx(seconds))


def test_the_last_device_decides_when_people_are_dealt_out_evenly() -> None:
    assert seconds_for_all(shares(11, [0, 0]), [Pace(10, 10), Pace(20, 20)]) == pytest.approx(100)
    assert seconds_for_all([], []) is None
    assert seconds_for_all([1, 1], [Pace(1, 1), Pace(1, 1, daily_cap=0)]) is None


@pytest.mark.parametrize(
    ("people", "known", "cap", "expected"),
    [
        (10, [0, 0, 0], None, [4, 3, 3]),
        (10, [6, 0], None, [8, 2]),
        (10, [6, 0], 7, [7, 3]),
        (10, [9, 0], 4, [4, 4]),
        (10, [0, 0], 3, [3, 3]),
        (5, [], None, []),
        (0, [0, 0], None, [0, 0]),
    ],
)
def test_people_get_the_number_they_know_and_the_others_are_dealt_out_within_the_cap(
    people: int, known: list[int], cap: int | None, expected: list[int]
) -> None:
    assert shares(people, known, cap) == expected


NINE_TO_FIVE = Pace(60, 60, hours=(9 * HOUR, 17 * HOUR))
NIGHT = Pace(60, 60, hours=(22 * HOUR, 6 * HOUR))


@pytest.mark.parametrize(
    ("messages", "pace", "at", "hours"),
    [
        (60, NINE_TO_FIVE, 9, 1),
        (60, NINE_TO_FIVE, 8, 2),
        (60, NINE_TO_FIVE, 18, 16),
        (480, NINE_TO_FIVE, 9, 8),
        (540, NINE_TO_FIVE, 9, 25),
        (960, NINE_TO_FIVE, 16, 48),
        (60, NIGHT, 23, 1),
        (60, NIGHT, 5, 1),
        (120, NIGHT, 5, 18),
        (60, NIGHT, 7, 16),
    ],
)
def test_a_device_waits_for_its_sending_hours(messages: int, pace: Pace, at: int, hours: float) -> None:
    found = seconds_for(messages, pace, at * HOUR)
    assert found == pytest.approx(hours * HOUR, rel=0.01)


def test_a_number_that_warms_up_climbs_a_rung_a_day() -> None:
    pace = Pace(0, 0, daily_cap=100, warm_up=(20, 50))
    days = [(seconds_for(messages, pace) or 0) // DAY for messages in (20, 21, 70, 71, 170, 171)]
    assert days == [0, 1, 1, 2, 2, 3]


def test_how_many_leave_in_time_is_what_their_seconds_say() -> None:
    paces = [Pace(10, 10), NINE_TO_FIVE]
    assert done_within(HOUR, [1_000, 1_000], paces, 8.5 * HOUR) == 360 + 30
    assert done_within(10 * DAY, [7, 8], paces) == 15
    assert done_within(0, [7, 8], paces) == 0


def test_a_campaign_can_only_slow_a_device_down() -> None:
    assert Pace(10, 30).slowed(20) == Pace(20, 30)
    assert Pace(10, 30).slowed(60) == Pace(60, 60)
    assert Pace(10, 30).slowed(0) == Pace(10, 30)


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (None, "unknown"),
        (5, "less than a minute"),
        (61, "2 minutes"),
        (3600, "1 hour"),
        (5400, "1 hour 30 minutes"),
        (90_000, "1 day 1 hour"),
        (172_800, "2 days"),
    ],
)
def test_durations_read_as_people_say_them(seconds: float | None, words: str) -> None:
    assert duration(seconds) == words


@pytest.mark.parametrize(
    ("windows", "expected"),
    [
        ([], None),
        ([(9, 18)], (9, 18)),
        ([(9, 18), (12, 20)], (12, 18)),
        ([(22, 6), (20, 23)], (22, 23)),
        ([(22, 6), (23, 2)], (23, 2)),
        ([(8, 21), (18, 10)], (18, 21)),  # the longer of two
        ([(9, 21), (21, 9)], (0, 0)),
    ],
)
def test_the_time_that_lies_in_all_hours(windows: list[tuple[int, int]], expected: tuple[int, int] | None) -> None:
    found = common_hours([(begin * HOUR, end * HOUR) for begin, end in windows])
    assert found == (None if expected is None else (expected[0] * HOUR, expected[1] * HOUR))


def test_hours_that_never_meet_are_waited_for_in_vain() -> None:
    assert seconds_for(1, Pace(1, 1, hours=(0.0, 0.0))) is None


def test_each_device_begins_a_stagger_later() -> None:
    paces = [Pace(10, 10)] * 3
    assert seconds_for_all([6, 6, 6], paces, stagger=HOUR) == pytest.approx(2 * HOUR + 60)
    assert seconds_for_all([6, 6, 0], paces, stagger=HOUR) == pytest.approx(HOUR + 60)
    assert done_within(HOUR, [6, 6, 6], paces, stagger=HOUR) == 6
    night = Pace(10, 10, hours=(9 * HOUR, 10 * HOUR))
    assert seconds_for_all([6, 6], [night] * 2, at=9.5 * HOUR, stagger=HOUR) == pytest.approx(23.5 * HOUR + 60)


@pytest.mark.parametrize(
    ("messages", "pace", "days"),
    [
        (250, Pace(0, 0, daily_cap=100), 2),
        (99, Pace(0, 0, daily_cap=100), 0),
        (100, Pace(0, 0, daily_cap=100), 1),
        (250, Pace(0, 0), 0),
        (250, Pace(0, 0, daily_cap=100, warm_up=(20, 50)), 3),
        (60, Pace(0, 0, daily_cap=100, warm_up=(20, 50)), 1),
        (250, Pace(3600, 3600, daily_cap=100), 0),  # its gaps never let it come so far
    ],
)
def test_the_days_on_which_a_cap_is_used_up(messages: int, pace: Pace, days: int) -> None:
    assert full_days(messages, pace) == days
