"""What the server has seen, for tests to ask about: events, counts, messages."""

from __future__ import annotations

import sys
import time
from collections import Counter, deque
from typing import Any

from .wire import Node


class Journal:
    def __init__(self, verbose: bool = False) -> None:
        self._verbose = verbose
        self.events: deque[dict[str, Any]] = deque(maxlen=10_000)
        self.messages: deque[dict[str, Any]] = deque(maxlen=10_000)
        self.counts: Counter[str] = Counter()

    def note(self, event: str, **details: Any) -> None:
        self.counts[event] += 1
        self.events.append({"t": round(time.time(), 3), "event": event, **details})
        if self._verbose:
            print(time.strftime("%H:%M:%S"), event, details, file=sys.stderr, flush=True)  # noqa: T201

    def trace(self, arrow: str, name: str, node: Node) -> None:
        if self._verbose:
            print(arrow, name, str(node)[:2000], file=sys.stderr, flush=True)  # noqa: T201
