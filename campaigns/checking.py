"""Checking numbers: this host's devices ask WhatsApp who is there, a few at a time, at a pace apart from sending."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable

from django.conf import settings

from campaigns.actions.checks import Chunk, next_chunks, note_numbers
from devices.gateway import contract
from devices.hosting.leases import Lease
from devices.hosting.sessions import Sessions
from devices.hosting.threads import DatabaseThread

logger = logging.getLogger(__name__)

LOOK_S = 1.0
IDLE_S = 5.0  # while nobody has asked for anything
AT_ONCE = 20  # numbers in one question
ANSWER_WITHIN_S = 120.0


class Checking:
    """Spread over the workspace's devices that are online here; other hosts take from the same run."""

    def __init__(self, lease: Lease, online: Callable[[], Iterable[int]]) -> None:
        self._lease = lease
        self._online = online
        self._asked: dict[tuple[int, int], tuple[Chunk, float]] = {}
        self._again: dict[int, float] = {}  # device → when it may ask again (loop time)
        self._heard: list[tuple[Chunk, dict[str, bool]]] = []
        self._questions = 0
        self._database = DatabaseThread("checking")

    async def run(self, sessions: Sessions) -> None:
        while True:
            try:
                asked = await self._look(sessions)
            except Exception:
                logger.exception("Numbers could not be checked; again in a moment")
                asked = False
            await asyncio.sleep(LOOK_S if asked or self._asked or self._heard else IDLE_S)

    async def _look(self, sessions: Sessions) -> bool:
        """Write down what was answered, and ask the next questions; whether there were any."""
        while self._heard:
            chunk, found = self._heard[0]
            await self._database.run(note_numbers, chunk.run, found)
            self._heard.pop(0)
        now = asyncio.get_running_loop().time()
        self._asked = {key: (chunk, until) for key, (chunk, until) in self._asked.items() if until > now}
        self._again = {device: at for device, at in self._again.items() if at > now}
        busy = {device for device, _ in self._asked} | self._again.keys()
        free = [device for device in self._online() if device not in busy]
        if not free:
            return bool(busy)
        size = min(AT_ONCE, settings.CHECK_NUMBERS_PER_MINUTE)
        chunks = await self._database.run(next_chunks, self._lease, free, size)
        for chunk in chunks:
            self._questions += 1
            self._asked[chunk.device, self._questions] = chunk, now + ANSWER_WITHIN_S
            self._again[chunk.device] = now + 60 * len(chunk.numbers) / settings.CHECK_NUMBERS_PER_MINUTE
            sessions.post(chunk.device, contract.CheckNumbers(chunk.device, self._questions, chunk.numbers))
        return bool(chunks)

    def on_numbers(self, numbers: contract.Numbers) -> None:
        """Only what was asked is believed."""
        chunk, _ = self._asked.pop((numbers.device, numbers.request), (None, 0.0))
        if chunk is not None:
            asked = set(chunk.numbers)
            self._heard.append((chunk, {phone: there for phone, there in numbers.found.items() if phone in asked}))

    def close(self) -> None:
        self._database.close()
