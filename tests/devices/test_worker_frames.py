"""Frames of Worker Status: compact, never too large, and nothing that matters is lost for want of room."""

from __future__ import annotations

import json

from devices.worker_frames import LARGEST, Changes, fitting

IDS = range(100_000, 103_000)


def test_devices_that_share_a_value_stand_in_one_list() -> None:
    changes = Changes({3: "online", 1: "banned", 2: "online"}, {7: 12}, [5, 4])
    assert changes.frame() == '{"state":{"banned":[1],"online":[2,3]},"sent":{"12":[7]},"busy":[4,5]}'


def test_what_does_not_fit_waits_for_the_next_frame() -> None:
    """All come online in the same second in which the minute is counted anew and everybody is busy."""
    changes = Changes(dict.fromkeys(IDS, "online"), {device: device % 40 for device in IDS}, list(IDS))
    told: list[dict[str, dict[str, list[int]]]] = []
    while changes.states or changes.sent:
        frame, changes = fitting(changes)
        assert len(frame) <= LARGEST
        told.append(json.loads(frame))
    assert len(told) <= 4
    states = [device for frame in told for device in frame.get("state", {}).get("online", [])]
    sent = {device: int(count) for frame in told for count, ids in frame.get("sent", {}).items() for device in ids}
    assert sorted(states) == list(IDS)
    assert sent == {device: device % 40 for device in IDS}


def test_who_is_busy_gives_way_first() -> None:
    frame, left = fitting(Changes({1: "banned"}, {}, list(IDS)))
    assert json.loads(frame) == {"state": {"banned": [1]}}
    assert left == Changes()


def test_a_thousand_busy_devices_a_second_fit_easily() -> None:
    frame, _ = fitting(Changes(busy=list(IDS)[:1_000]))
    assert len(frame) < 8 * 1024
