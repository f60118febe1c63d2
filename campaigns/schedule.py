"""The schedule: a heap of device workers by the instant at which each may send, fair between workspaces.

A device worker is a small object in a heap, not a task: ten thousand cost tens of megabytes (docs/performance.md).
"""

from __future__ import annotations

import asyncio
import heapq
from collections.abc import Iterable
from dataclasses import dataclass

from campaigns.engine.turns import Turns
from campaigns.outbox import Claimed

# Who may send within AHEAD_S is claimed already now, together with whoever may send in MARGIN_S or earlier; the message
# then leaves at its instant. So neither the batching nor the claim's own time lengthens anybody's gap.
AHEAD_S = 0.12
MARGIN_S = 0.06
MOVED_KEPT = 100


class DeviceWorker:
    """What serves one device. ``due`` is when it may send next (loop time), None while it rests.

    ``ready``: it waits for its workspace's turn. ``slow``: its last answer came late, or not yet. ``passed_over``: how
    often in a row somebody else had locked what it was asked for.
    """

    __slots__ = (
        "asking", "device", "due", "epoch", "flight", "online", "passed_over", "ready", "rung", "slow", "unanswered",
        "weight", "workspace",
    )  # fmt: skip

    def __init__(self, device: int, epoch: int, workspace: int, weight: int) -> None:
        self.device = device
        self.epoch = epoch
        self.workspace = workspace
        self.weight = weight
        self.due: float | None = None
        self.ready = False
        self.asking = False
        self.rung = False
        self.online = True
        self.slow = False
        self.passed_over = 0
        self.flight: Flight | None = None
        self.unanswered: set[bytes] = set()  # tags of claims whose answer was lost: they may be committed


@dataclass(slots=True)
class Flight:
    """A claimed message until its settlement is written down."""

    claimed: Claimed
    began: float  # when it leaves or left, in loop time
    slow: bool  # it took one of the slots for slow devices
    text: str | None = None  # once it is put into words
    posted: bool = False  # handed to the gateway
    holds_slot: bool = True
    answered: bool = False


class Schedule:
    """Every device worker of this host: who is to be asked now, and when the next one is."""

    def __init__(self) -> None:
        self.workers: dict[int, DeviceWorker] = {}
        self.woken = asyncio.Event()  # there is something to look at earlier than thought
        self._heap: list[tuple[float, int, DeviceWorker]] = []
        self._pushed = 0
        self._ready: Turns[DeviceWorker] = Turns()
        self._ready_slow: Turns[DeviceWorker] = Turns()
        self._loop = asyncio.get_running_loop()

    @property
    def ready(self) -> int:
        """How many wait for a turn, the slow ones not counted."""
        return len(self._ready)

    @property
    def ready_slow(self) -> int:
        return len(self._ready_slow)

    def __len__(self) -> int:
        """Entries of the heap, those of workers that have moved since among them."""
        return len(self._heap)

    def rouse(self, device_ids: Iterable[int]) -> None:
        """There may be something due for these devices; those of other hosts are ignored."""
        now = self._loop.time()
        for device_id in device_ids:
            worker = self.workers.get(device_id)
            if worker is not None:
                worker.rung = worker.asking
                self.put(worker, now)

    def put(self, worker: DeviceWorker, at: float) -> None:
        """Ask the worker at loop time ``at``, or earlier if it was due earlier."""
        if not worker.online or worker.ready or worker.asking or worker.flight:
            return
        if worker.due is not None and worker.due <= at:
            return
        worker.due = at
        self._pushed += 1
        heapq.heappush(self._heap, (at, self._pushed, worker))
        if len(self._heap) > 2 * len(self.workers) + MOVED_KEPT:
            self._forget_moved()
        if self._heap[0][2] is worker:
            self.woken.set()

    def _forget_moved(self) -> None:
        """Whoever is roused leaves an entry behind until its time comes: at a daily cap one for each ring all day."""
        entries = (entry for entry in self._heap if entry[2].due == entry[0])
        self._heap = list({worker: (at, order, worker) for at, order, worker in entries}.values())
        heapq.heapify(self._heap)

    def next_look(self) -> float:
        """The loop time at which the first worker has to be asked; infinity while all rest."""
        return self._heap[0][0] - MARGIN_S if self._heap else float("inf")

    def ripen(self) -> None:
        """Once somebody may send soon, all who may send a little later too wait for the turns of their workspaces."""
        now = self._loop.time()
        if self.next_look() > now:
            return
        while self._heap and self._heap[0][0] <= now + AHEAD_S:
            at, _, worker = heapq.heappop(self._heap)
            if worker.due == at and self.workers.get(worker.device) is worker:  # else: moved, or no longer ours
                worker.due = None
                worker.ready = True
                turns = self._ready_slow if worker.slow else self._ready
                turns.add(worker.workspace, worker.weight, worker)

    def take(self, room: int, slow_room: int) -> list[DeviceWorker]:
        """Up to ``room`` workers by their workspaces' turns, at most ``slow_room`` slow ones among them."""
        slow = self._ready_slow.take(min(room, slow_room), self._is_wanted)
        due = slow + self._ready.take(room - len(slow), self._is_wanted)
        for worker in due:
            worker.asking = True
        return due

    def _is_wanted(self, worker: DeviceWorker) -> bool:
        worker.ready = False
        return worker.online and self.workers.get(worker.device) is worker
