"""The limit of concurrent sends: grows with load, shrinks when answers come late, says when it holds sending back."""

from __future__ import annotations

from campaigns.engine.concurrency import BEAT_S, Limit


def beat(limit: Limit, *, in_flight: int, waiting: int, latency_s: float, answers: int = 20) -> None:
    limit.started(in_flight)
    for _ in range(answers):
        limit.answered(latency_s)
    limit.adjust(in_flight, waiting)


def test_it_starts_at_the_least_and_grows_to_the_most_while_work_waits() -> None:
    limit = Limit(50, 500)
    assert limit.value == 50
    beats = 0
    while limit.value < 500:
        beat(limit, in_flight=limit.value, waiting=100, latency_s=0.8)
        beats += 1
    assert beats * BEAT_S < 5
    assert limit.held_back_s == 0
    for _ in range(8):
        beat(limit, in_flight=500, waiting=100, latency_s=0.8)
    assert limit.held_back_s == 8 * BEAT_S


def test_devices_that_wait_to_be_asked_while_slots_are_free_are_not_held_back_by_it() -> None:
    """All come online together, and nearly none has anything to send."""
    limit = Limit(50, 50)
    beat(limit, in_flight=2, waiting=1_000, latency_s=0.1)
    assert limit.held_back_s == 0
    beat(limit, in_flight=40, waiting=1_000, latency_s=0.1)
    assert limit.held_back_s == BEAT_S


def test_it_grows_where_more_wait_than_there_is_room_for() -> None:
    """A claim of many waits for half of the slots: the last few stay empty, and would hide that more are wanted."""
    limit = Limit(50, 500)
    beat(limit, in_flight=45, waiting=5, latency_s=0.8)
    assert limit.value == 50
    beat(limit, in_flight=45, waiting=20, latency_s=0.8)
    assert limit.value > 50


def test_it_stays_where_nothing_waits_and_comes_down_when_little_is_in_flight() -> None:
    limit = Limit(50, 500)
    limit.value = 400
    beat(limit, in_flight=300, waiting=0, latency_s=0.1)
    assert limit.value == 400
    for _ in range(200):
        beat(limit, in_flight=5, waiting=0, latency_s=0.1)
    assert limit.value == 50


def test_late_answers_bring_it_down_even_while_work_waits() -> None:
    limit = Limit(50, 500)
    for _ in range(20):
        beat(limit, in_flight=limit.value, waiting=9, latency_s=0.1)
    assert limit.value == 500
    for _ in range(4):
        beat(limit, in_flight=limit.value, waiting=9, latency_s=2.0)
    assert limit.value < 400


def test_what_takes_long_always_is_usual_and_not_late() -> None:
    limit = Limit(50, 3_000)
    for _ in range(40):
        beat(limit, in_flight=limit.value, waiting=9, latency_s=0.85)
    assert limit.value == 3_000


def test_slow_devices_get_a_fifth_of_the_slots_and_at_least_one() -> None:
    assert Limit(50, 500).slow == 10
    assert Limit(1, 1).slow == 1


def test_a_least_above_the_most_is_the_most() -> None:
    assert Limit(50, 20).value == 20
