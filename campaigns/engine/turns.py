"""Whose turn it is: device workers wait in their workspaces' queues, and workspaces take turns by their weights."""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Callable
from typing import Generic, TypeVar

Item = TypeVar("Item")


class Turns(Generic[Item]):
    """First come, first served inside a workspace; between them, one with weight 3 gets three turns for each one.

    Stride scheduling: the workspace whose clock stands earliest is served, and its clock moves on by 1 / weight. Who
    had nothing waiting starts again at the present, and gets neither credit nor arrears for it.
    """

    def __init__(self) -> None:
        self._queues: dict[int, deque[Item]] = {}
        self._weights: dict[int, int] = {}
        self._order: list[tuple[float, int]] = []  # a heap of (clock, workspace): those with somebody waiting
        self._clocks: dict[int, float] = {}
        self._present = 0.0
        self._length = 0

    def __len__(self) -> int:
        return self._length

    def add(self, workspace: int, weight: int, item: Item) -> None:
        """``item`` waits at the end of its workspace's queue."""
        self._weights[workspace] = max(1, weight)
        queue = self._queues.setdefault(workspace, deque())
        if not queue:
            clock = max(self._present, self._clocks.get(workspace, 0.0))
            heapq.heappush(self._order, (clock, workspace))
        queue.append(item)
        self._length += 1

    def take(self, most: int, wanted: Callable[[Item], bool]) -> list[Item]:
        """Up to ``most`` items in turn; those no longer ``wanted`` are dropped and cost no turn."""
        taken: list[Item] = []
        while self._order and len(taken) < most:
            self._present, workspace = self._order[0]
            queue = self._queues[workspace]
            item = queue.popleft()
            self._length -= 1
            clock = self._present
            if wanted(item):
                taken.append(item)
                clock += 1 / self._weights[workspace]
            if queue:
                heapq.heapreplace(self._order, (clock, workspace))
            else:
                heapq.heappop(self._order)
                self._clocks[workspace] = clock
        return taken
