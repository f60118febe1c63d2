"""Gateways: starts, watches and restarts the gateway processes of this host, each with places for some devices.

Everything here runs in the engine's event loop.
"""

from __future__ import annotations

import asyncio
import logging
import sys
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from devices.gateway import contract
from devices.gateway.client import Gateway
from devices.gateway.contract import Command, Event

logger = logging.getLogger(__name__)

RESTART_PAUSE_S = 1.0
HEARTBEAT_S = 5.0
SILENCE_S = 30.0  # a gateway that says no word for so long stands still


@dataclass(slots=True, eq=False)
class GatewaySlot:
    """A place for one gateway process, which is started again when it dies."""

    driver: str
    devices: set[int] = field(default_factory=set)
    process: Gateway | None = None
    heard: bool = False  # since the last heartbeat
    silent: int = 0  # heartbeats in a row that nothing answered
    stats: contract.StatsReport | None = None

    def post(self, commands: Sequence[Command]) -> bool:
        """Hand commands to the process; false when there is none now."""
        if self.process is None:
            return False
        self.process.post(commands)
        return True


class Gateways:
    """``programs``: driver → argv of its gateway; ``sizes``: driver → devices a process.

    ``on_events`` gets what a process says, ``on_started`` a slot whose process runs now, ``on_lost`` one whose
    process has died.
    """

    def __init__(
        self,
        programs: Mapping[str, Sequence[str]],
        sizes: Mapping[str, int],
        *,
        on_events: Callable[[GatewaySlot, list[Event]], None],
        on_started: Callable[[GatewaySlot], None],
        on_lost: Callable[[GatewaySlot], None],
    ) -> None:
        self.programs = programs
        self.sizes = sizes
        self.slots: list[GatewaySlot] = []
        self._on_events = on_events
        self._on_started = on_started
        self._on_lost = on_lost
        self._stopping = False
        self._tasks: set[asyncio.Task[None]] = set()

    async def run(self) -> None:
        """Nobody is told when a gateway stands still: its socket stays open. So each is asked for a word.

        Heartbeats without an answer are counted, and not seconds: after the engine itself stood still, what its
        gateways said meanwhile is yet to be read.
        """
        for driver in self.programs:
            self.place_for(driver)  # ready before the first device comes
        while True:
            await asyncio.sleep(HEARTBEAT_S)
            for slot in self.slots:
                self._beat(slot)

    def place_for(self, driver: str) -> GatewaySlot:
        """A slot with room for one more device; a new one when all are full."""
        for slot in self.slots:
            if slot.driver == driver and len(slot.devices) < self.sizes[driver]:
                return slot
        slot = GatewaySlot(driver)
        self.slots.append(slot)
        self._spawn(self._start(slot))
        return slot

    @property
    def congested(self) -> bool:
        """A gateway does not keep up: claim nothing more for now."""
        return any(slot.process is not None and slot.process.congested for slot in self.slots)

    def meters(self) -> dict[str, Any]:
        """For the host's heartbeat."""
        told = [slot.stats for slot in self.slots if slot.process and slot.stats]
        return {
            "gateways": sum(slot.process is not None for slot in self.slots),
            "gateway_rss_mb": round(sum(stats.rss_mb for stats in told), 1),
            "gateway_cpu_s": round(sum(stats.cpu_s for stats in told), 1),
        }

    async def stop(self) -> None:
        self._stopping = True
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*(slot.process.stop(2.0) for slot in self.slots if slot.process))

    # ------------------------------------------------------------------ life and death of one

    async def _start(self, slot: GatewaySlot) -> None:
        while not self._stopping:
            try:
                slot.process = await Gateway.start(
                    [sys.executable, *self.programs[slot.driver]],
                    on_events=lambda events: self._hear(slot, events),
                    on_exit=lambda process: self._lost(slot, process),
                )
                break
            except OSError as error:
                logger.error("A gateway could not be started: %s", error)
                await asyncio.sleep(RESTART_PAUSE_S)
        self._on_started(slot)

    async def _restart(self, slot: GatewaySlot) -> None:
        await asyncio.sleep(RESTART_PAUSE_S)
        await self._start(slot)

    def _hear(self, slot: GatewaySlot, events: list[Event]) -> None:
        slot.heard = True
        for event in events:
            if isinstance(event, contract.StatsReport):
                slot.stats = event
        self._on_events(slot, events)

    def _lost(self, slot: GatewaySlot, process: Gateway) -> None:
        if slot.process is not process:
            return
        slot.process, slot.stats, slot.silent = None, None, 0
        if self._stopping:
            return
        logger.error("A gateway ended; its %d devices are opened again", len(slot.devices))
        self._on_lost(slot)
        self._spawn(self._restart(slot))

    def _beat(self, slot: GatewaySlot) -> None:
        if slot.process is None:
            return
        slot.silent = 0 if slot.heard else slot.silent + 1
        slot.heard = False
        if slot.silent * HEARTBEAT_S >= SILENCE_S:
            logger.error("A gateway says nothing any more and is killed")
            slot.process.kill()
        else:
            slot.post([contract.Stats(0)])

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
