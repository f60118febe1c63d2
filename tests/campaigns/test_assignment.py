"""Which device writes to whom."""

from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from campaigns.engine.assignment import assign


def test_without_a_known_device_people_are_dealt_out_in_turn() -> None:
    assert assign([None] * 5, {1: None, 2: None, 3: None}) == [1, 2, 3, 1, 2]
    assert assign([None] * 5, {1: None, 2: None, 3: None}, turn=7) == [2, 3, 1, 2, 3]


def test_who_knows_a_device_gets_that_device() -> None:
    assert assign([2, None, 2, 9, None], {1: None, 2: None}) == [2, 1, 2, 2, 1]


def test_a_full_device_hands_people_on_and_nobody_has_room_for_the_rest() -> None:
    assert assign([1, 1, 1, None, None], {1: 2, 2: 1}) == [1, 1, 2, None, None]


def test_who_knows_a_device_goes_before_who_does_not() -> None:
    assert assign([None, None, 1, 1], {1: 2, 2: None}) == [2, 2, 1, 1]


def test_without_a_device_nobody_is_written_to() -> None:
    assert assign([None, 3], {}) == [None, None]


@given(
    known=st.lists(st.one_of(st.none(), st.integers(0, 5)), max_size=60),
    rooms=st.dictionaries(st.integers(0, 4), st.one_of(st.none(), st.integers(0, 12)), max_size=5),
    turn=st.integers(0, 1_000),
)
def test_no_room_is_exceeded_and_none_stays_empty_while_people_go_without(
    known: list[int | None], rooms: dict[int, int | None], turn: int
) -> None:
    chosen = assign(known, rooms, turn)
    used = Counter(device for device in chosen if device is not None)
    assert len(chosen) == len(known)
    assert set(used) <= set(rooms)
    full = [device for device, room in rooms.items() if room is not None and used[device] >= room]
    assert all(used[device] <= (rooms[device] or 0) for device in full)
    if None in chosen:
        assert len(full) == len(rooms)
    for wish, device in zip(known, chosen, strict=True):
        assert device == wish or wish not in rooms or wish in full


@given(people=st.integers(0, 200), devices=st.integers(1, 15), turn=st.integers(0, 1_000))
def test_in_turn_no_device_gets_two_people_more_than_another(people: int, devices: int, turn: int) -> None:
    used = Counter(assign([None] * people, dict.fromkeys(range(devices)), turn))
    counts = [used[device] for device in range(devices)]
    assert max(counts) - min(counts) <= 1
