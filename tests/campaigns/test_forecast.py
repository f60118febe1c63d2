"""How long a campaign takes by the paces of its devices."""

from __future__ import annotations

import pytest

from campaigns.engine.forecast import Pace, seconds_for, seconds_for_all
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
    assert seconds_for_all(11, [Pace(10, 10), Pace(20, 20)]) == pytest.approx(100)
    assert seconds_for_all(5, []) is None
    assert seconds_for_all(2, [Pace(1, 1), Pace(1, 1, daily_cap=0)]) is None


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
