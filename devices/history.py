"""What happened to a device, as lines to read: the newest first, and a connection that flaps told in one."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

from devices.models import Device, DeviceEvent
from devices.shown import REFUSED, SHOWN_STATES, refusal, sentence

LINES_A_PAGE = 15
READ_AT_ONCE = 500
FLAPPING = ("online", "offline", "connecting")  # what a bad connection alternates between
TOGETHER = timedelta(hours=1)  # what lies further apart is told apart
FLAPS = 6  # events: fewer are told one by one


@dataclass(frozen=True, slots=True)
class Line:
    """One event, or ``times`` of a flapping connection between ``since`` and ``at``."""

    word: str
    colour: str
    detail: str
    at: datetime
    since: datetime | None = None
    times: int = 1


@dataclass(frozen=True, slots=True)
class Page:
    """``following``: before which id the next page begins; None: this is the last one."""

    lines: list[Line]
    following: int | None


def history(device: Device, before: int | None = None) -> Page:
    """Those that happened before the event with this id; in order of ids, which is that of writing."""
    lines: list[Line] = []
    last = 0
    for run in _runs(_newest(device, before)):
        if len(lines) == LINES_A_PAGE:
            return Page(lines, last)
        lines.append(_line(run))
        last = run[-1].pk
    return Page(lines, None)


def line_of(event: DeviceEvent) -> Line:
    """One event by itself."""
    return _line([event])


def _newest(device: Device, before: int | None) -> Iterator[DeviceEvent]:
    events = device.events.order_by("-pk")
    return (events.filter(pk__lt=before) if before else events).iterator(READ_AT_ONCE)


def _runs(events: Iterable[DeviceEvent]) -> Iterator[list[DeviceEvent]]:
    """Each event alone, but a long run of a flapping connection together."""
    run: list[DeviceEvent] = []
    for event in events:
        if run and not _goes_on(run[-1], event):
            yield from _told(run)
            run = []
        run.append(event)
    if run:
        yield from _told(run)


def _goes_on(later: DeviceEvent, event: DeviceEvent) -> bool:
    flaps = later.kind in FLAPPING and event.kind in FLAPPING
    return flaps and later.at - event.at <= TOGETHER


def _told(run: list[DeviceEvent]) -> Iterator[list[DeviceEvent]]:
    if len(run) >= FLAPS:
        yield run
    else:
        yield from ([event] for event in run)


def _line(run: list[DeviceEvent]) -> Line:
    event = run[0]
    if len(run) == 1:
        state = SHOWN_STATES.get(event.kind)
        return Line(
            state.word if state else event.kind.capitalize(),
            state.colour if state else "grey",
            _detail(event),
            event.at,
        )
    kinds = Counter(one.kind for one in run)
    away = [one for one in run if one.kind != "online"]
    reasons = Counter(sentence(one.detail) for one in away if one.detail)
    said = " ".join(reason for reason, _ in reasons.most_common(2))
    return Line("Offline and online", "amber", said, event.at, run[-1].at, kinds["offline"] or kinds["connecting"])


def _detail(event: DeviceEvent) -> str:
    if event.kind == "held":
        found = REFUSED.match(event.detail)
        hours = int(found["seconds"]) / 3600 if found and found["seconds"] else 0
        lasts = f"{round(hours * 60)} minutes" if hours < 1 else f"{hours:g} hour{'' if hours == 1 else 's'}"
        return f"{refusal(event.detail)} Nothing leaves for {lasts}."
    return sentence(event.detail) if event.kind in SHOWN_STATES else event.detail
