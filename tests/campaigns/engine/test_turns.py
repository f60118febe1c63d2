"""Turns: fair between workspaces, by weight, in order inside each."""

from __future__ import annotations

from campaigns.engine.turns import Turns


def everybody(_: object) -> bool:
    return True


def test_a_small_workspace_waits_for_one_turn_and_not_for_the_whole_queue() -> None:
    turns: Turns[str] = Turns()
    for number in range(1_000):
        turns.add(1, 1, f"a{number}")
    turns.take(10, everybody)
    turns.add(2, 1, "b0")
    turns.add(2, 1, "b1")
    taken = turns.take(4, everybody)
    assert {"b0", "b1"} <= set(taken)
    assert len(turns) == 1_000 - 10 + 2 - 4


def test_inside_a_workspace_who_came_first_goes_first() -> None:
    turns: Turns[int] = Turns()
    for number in range(5):
        turns.add(1, 1, number)
    assert turns.take(9, everybody) == [0, 1, 2, 3, 4]
    assert len(turns) == 0


def test_a_weight_of_three_gets_three_turns_for_each_one() -> None:
    turns: Turns[str] = Turns()
    for _ in range(400):
        turns.add(1, 1, "light")
        turns.add(2, 3, "heavy")
    taken = turns.take(200, everybody)
    assert taken.count("heavy") == 150


def test_who_had_nothing_waiting_saves_up_no_turns() -> None:
    turns: Turns[str] = Turns()
    for _ in range(100):
        turns.add(1, 1, "busy")
    turns.take(50, everybody)
    for _ in range(100):
        turns.add(2, 1, "late")
    assert turns.take(20, everybody).count("late") == 10


def test_who_is_not_wanted_any_more_costs_no_turn() -> None:
    turns: Turns[str] = Turns()
    for name in ("gone", "gone", "here"):
        turns.add(1, 1, name)
    turns.add(2, 1, "there")
    assert turns.take(2, lambda name: name != "gone") == ["here", "there"]
