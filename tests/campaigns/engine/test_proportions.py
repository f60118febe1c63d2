"""Two shares compared."""

from __future__ import annotations

import pytest

from campaigns.engine.proportions import Interval, Share, difference


def test_a_group_of_nobody_says_nothing() -> None:
    assert difference(Share(0, 0), Share(1, 2)) is None
    assert difference(Share(1, 2), Share(0, 0)) is None


@pytest.mark.parametrize("one", [Share(0, 5), Share(5, 5), Share(3, 40), Share(500, 1000)])
@pytest.mark.parametrize("other", [Share(0, 5), Share(5, 5), Share(3, 40), Share(500, 1000)])
def test_the_interval_turns_round_with_the_groups_and_stays_possible(one: Share, other: Share) -> None:
    there, back = difference(one, other), difference(other, one)
    assert there
    assert back
    assert (there.low, there.high) == pytest.approx((-back.high, -back.low))
    assert -1 <= there.low <= there.high <= 1
    assert there.low < there.high


def test_a_few_people_tell_little_and_many_tell_much() -> None:
    few, many = difference(Share(2, 10), Share(1, 10)), difference(Share(2000, 10_000), Share(1000, 10_000))
    assert few is not None
    assert not few.tells
    assert many is not None
    assert many.tells
    assert many == pytest.approx(Interval(0.0902, 0.1098), abs=0.0001)
