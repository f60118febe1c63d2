"""What an engine tells Worker Status each second: the device workers that changed, and which of them are busy."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Mapping

from accounts.live import FLEET_GROUP, WORKERS, Listeners, group_name, send_frames
from campaigns.last_minute import ROLLED_UP_S
from devices.live import Crier
from devices.worker_frames import Changes, fitting

MINUTE_S = 60
SETTLED_S = ROLLED_UP_S + 2  # into a minute: by then the one before it is written down

SentOf = Callable[[Mapping[int, int]], dict[int, int]]  # devices with their workspaces → sent in the last full minute


class WorkerPulse:
    """Remembers what it told last, so that only changes are told. All but `collect` runs in one thread.

    What does not fit into a frame waits in ``_left``, by group, for the next one; a page that has missed something
    fetches all of it every half minute anyway.
    """

    def __init__(self, sent_of: SentOf) -> None:
        self._sent_of = sent_of
        self._states: deque[dict[int, tuple[int, str]]] = deque()
        self._told_states: dict[int, str] = {}
        self._told_sent: dict[int, int] = {}
        self._active: dict[int, int] = {}  # devices that did something since the last count, with their workspaces
        self._before: dict[int, int] = {}  # and between that and the one before
        self._warm: dict[int, int] = {}  # those that were counted more than nothing then
        self._minute = 0
        self._left: dict[str, Changes] = {}
        Crier.collect = self.collect

    def collect(self, states: dict[int, tuple[int, str]]) -> None:
        """Any thread: these devices are shown so from now on, each with its workspace."""
        self._states.append(states)

    def beat(self, busy: Mapping[int, int], listeners: Listeners, now: float | None = None) -> None:
        """``busy``: devices that claimed or answered since the last beat, with their workspaces."""
        self._active.update(busy)
        places = dict(busy)
        states: dict[int, str] = {}
        while self._states:
            for device, (workspace, state) in self._states.popleft().items():
                places[device], states[device] = workspace, state
        sent = self._counted(places, time.time() if now is None else now, listeners)
        groups = {group_name(workspace, WORKERS): workspace for workspace in listeners.to_workers()}
        self._left = {group: left for group, left in self._left.items() if group in groups or group == FLEET_GROUP}
        if not groups and not listeners.fleet:
            self._left.clear()
            self._told_states.clear()  # whoever comes next fetches everything first
            self._told_sent.clear()
            self._warm.clear()
            return
        states = changed(states, self._told_states)
        sent = changed(sent, self._told_sent)
        by_workspace: dict[int, Changes] = {}
        for of, found in (("states", states), ("sent", sent)):
            for device, value in found.items():
                getattr(by_workspace.setdefault(places[device], Changes()), of)[device] = value
        for device, workspace in busy.items():
            at = by_workspace.setdefault(workspace, Changes())
            at.busy = [*at.busy, device]
        told = {group: by_workspace.get(workspace, Changes()) for group, workspace in groups.items()}
        if listeners.fleet:
            told[FLEET_GROUP] = Changes(states, sent, list(busy))
        send_frames(self._fitted(told))

    def _counted(self, places: dict[int, int], now: float, listeners: Listeners) -> dict[int, int]:
        """Once a minute, of all that may have another count than before; their workspaces go into ``places``."""
        minute = int((now - SETTLED_S) // MINUTE_S)
        if minute == self._minute:
            return {}
        self._minute = minute
        both = {**self._warm, **self._before, **self._active}
        self._before, self._active = self._active, {}
        if not listeners.fleet:
            both = {device: workspace for device, workspace in both.items() if workspace in listeners.to_workers()}
        if not both:
            return {}
        places.update(both)
        sent = self._sent_of(both)
        self._warm = {device: both[device] for device in sent}
        return {**dict.fromkeys(both, 0), **sent}

    def _fitted(self, told: dict[str, Changes]) -> list[tuple[str, str]]:
        frames = []
        for group, changes in told.items():
            left = self._left.pop(group, Changes())
            whole = Changes({**left.states, **changes.states}, {**left.sent, **changes.sent}, changes.busy)
            if not (whole.states or whole.sent or whole.busy):
                continue
            frame, later = fitting(whole)
            if later.states or later.sent:
                self._left[group] = later
            frames.append((group, frame))
        return frames


def changed(found: dict[int, object] | dict[int, str] | dict[int, int], told: dict) -> dict:
    """Those that differ from what was told last, which is noted."""
    news = {device: value for device, value in found.items() if told.get(device) != value}
    told.update(news)
    return news
