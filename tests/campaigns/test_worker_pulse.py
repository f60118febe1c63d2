"""What an engine tells Worker Status: what changed, to whoever listens, and each thing once."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from accounts.live import FLEET_GROUP, Listeners
from campaigns import worker_pulse
from campaigns.worker_pulse import MINUTE_S, SETTLED_S, WorkerPulse
from devices.live import Crier

MINE, THEIRS = 1, 2
BOTH = Listeners({MINE: {"workers"}, THEIRS: {"devices"}}, fleet=True)
START = 1_000 * MINUTE_S + SETTLED_S


class Office:
    """A pulse, what it told in its last beat, and what the meters say."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.told: dict[str, Any] = {}
        self.sent: dict[int, int] = {}
        self.asked: list[list[int]] = []
        self.pulse = WorkerPulse(self.count)
        monkeypatch.setattr(worker_pulse, "send_frames", self.hear)

    def hear(self, frames: Any) -> None:
        self.told = {group: json.loads(frame) for group, frame in frames}

    def count(self, devices: Mapping[int, int]) -> dict[int, int]:
        self.asked.append(sorted(devices))
        return {device: count for device, count in self.sent.items() if device in devices and count}

    def beat(
        self, busy: dict[int, int] | None = None, at: float = START, listeners: Listeners = BOTH
    ) -> dict[str, Any]:
        self.told = {}
        self.pulse.beat(busy or {}, listeners, at)
        return self.told


@pytest.fixture
def office(monkeypatch: pytest.MonkeyPatch) -> Iterator[Office]:
    made = Office(monkeypatch)
    made.beat()
    yield made
    Crier.collect = None


def test_a_state_goes_to_the_pages_of_its_workspace_and_to_staff_and_only_once(office: Office) -> None:
    office.pulse.collect({7: (MINE, "banned"), 8: (THEIRS, "online")})
    assert office.beat() == {
        "workspace.1.workers": {"state": {"banned": [7]}},
        FLEET_GROUP: {"state": {"banned": [7], "online": [8]}},
    }
    office.pulse.collect({7: (MINE, "banned")})
    assert office.beat() == {}, "nothing has changed"
    office.pulse.collect({7: (MINE, "connecting")})
    office.pulse.collect({7: (MINE, "online")})
    assert office.beat()["workspace.1.workers"] == {"state": {"online": [7]}}


def test_who_is_busy_is_told_each_second(office: Office) -> None:
    told = office.beat({7: MINE, 8: THEIRS})
    assert told == {"workspace.1.workers": {"busy": [7]}, FLEET_GROUP: {"busy": [7, 8]}}
    assert office.beat() == {}


def test_after_each_minute_what_was_sent_in_it_is_told_where_it_changed(office: Office) -> None:
    office.beat({7: MINE, 8: THEIRS})
    office.sent = {7: 12, 8: 3}
    told = office.beat(at=START + 60)
    assert told == {"workspace.1.workers": {"sent": {"12": [7]}}, FLEET_GROUP: {"sent": {"12": [7], "3": [8]}}}
    assert office.beat(at=START + 61) == {}
    office.sent = {7: 12}
    assert office.beat(at=START + 120) == {FLEET_GROUP: {"sent": {"0": [8]}}}, "a cell that cools down is told, too"
    office.sent = {}
    assert office.beat(at=START + 180)["workspace.1.workers"] == {"sent": {"0": [7]}}
    assert office.beat(at=START + 240) == {}


def test_where_nobody_listens_nothing_is_counted_or_told(office: Office) -> None:
    nobody = Listeners({MINE: {"home"}})
    office.pulse.collect({7: (MINE, "banned")})
    office.beat({7: MINE}, START + 60, nobody)
    assert office.told == {}
    assert office.asked == []
    assert office.beat(at=START + 61) == {}, "whoever comes next fetches everything"


def test_only_the_devices_of_those_who_listen_are_counted(office: Office) -> None:
    only_mine = Listeners({MINE: {"workers"}})
    office.beat({7: MINE, 8: THEIRS}, START + 60, only_mine)
    assert office.asked == [[7]]


def test_what_does_not_fit_is_told_in_the_next_second(office: Office) -> None:
    office.pulse.collect(dict.fromkeys(range(10**9, 10**9 + 3000), (MINE, "online")))
    heard: set[int] = set()
    for _ in range(3):
        heard |= set(office.beat().get("workspace.1.workers", {}).get("state", {}).get("online", []))
    assert len(heard) == 3_000
    assert office.beat() == {}
