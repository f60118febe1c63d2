"""The gate before the library's unlocked maps: many calls at a time, or one client that starts or stops.

Go ends the whole process when a map is written while somebody else uses it. Starting and stopping a client writes
the maps of clients; a call reads them first of all and is in nobody's way from then on, however long it takes.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

ENTERED_S = 0.5  # far longer than a call needs to get past the maps


class Pass:
    """One call's way through the gate. It ends by itself ENTERED_S after it was given."""

    __slots__ = ("_gate", "_timer")

    def __init__(self, gate: Gate) -> None:
        self._gate: Gate | None = gate
        self._timer = asyncio.get_running_loop().call_later(ENTERED_S, self.leave)

    def leave(self) -> None:
        gate, self._gate = self._gate, None
        if gate is not None:
            self._timer.cancel()
            gate._call_over()


class Gate:
    """Use it from the loop's thread. Calls and lone ones take turns: neither can keep the other out for good."""

    def __init__(self) -> None:
        self._entering = 0
        self._taken = False
        self._calls: deque[asyncio.Future[None]] = deque()
        self._lone: deque[asyncio.Future[None]] = deque()

    async def enter(self) -> Pass:
        """Wait until nobody starts or stops a client; leave the pass when the call is over."""
        if self._taken or self._lone:
            await self._wait(self._calls, self._call_over)
        else:
            self._entering += 1
        return Pass(self)

    @asynccontextmanager
    async def alone(self) -> AsyncIterator[None]:
        """Nobody else enters, starts or stops inside this block."""
        if self._taken or self._entering or self._lone:
            await self._wait(self._lone, self._alone_over)
        else:
            self._taken = True
        try:
            yield
        finally:
            self._alone_over()

    async def _wait(self, queue: deque[asyncio.Future[None]], give_back: Callable[[], None]) -> None:
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        queue.append(turn)
        try:
            await turn
        except asyncio.CancelledError:
            if not turn.cancelled():  # the turn had come already
                give_back()
            else:
                self._let_in()
            raise

    def _call_over(self) -> None:
        self._entering -= 1
        self._let_in()

    def _alone_over(self) -> None:
        self._taken = False
        self._let_calls_in()
        self._let_in()

    def _let_in(self) -> None:
        while self._lone and self._lone[0].cancelled():
            self._lone.popleft()
        if self._taken:
            return
        if not self._lone:
            self._let_calls_in()
        elif not self._entering:
            self._taken = True
            self._lone.popleft().set_result(None)

    def _let_calls_in(self) -> None:
        while self._calls:
            turn = self._calls.popleft()
            if not turn.cancelled():
                self._entering += 1
                turn.set_result(None)
