"""Gateways: starts, watches and restarts the gateway processes of this host, each with places for some devices.

Everything here runs in the engine's event loop.
"""

from __future__ import annotations

import asyncio
import logging
import resource
import sys
from collections.abc import Collection, Coroutine, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from devices.gateway import contract
from devices.gateway.client import Gateway
from devices.gateway.contract import Command, Event

logger = logging.getLogger(__name__)

RESTART_PAUSE_S, LONGEST_PAUSE_S = 1.0, 30.0
HEARTBEAT_S = 5.0
SILENCE_S = 30.0  # a gateway that says no word for so long stands still
STEADY_S = 10.0  # a process that lived so long is started again at once, any other ever more rarely
EARLY_S = 60.0  # a death so soon after a session was opened may be that session's work
DEATHS_TO_SPLIT = 2
DEATHS_TO_HOLD = 3
MOST_ON_TRIAL = 10  # halving 150 devices takes 8; more than that, and it is not one session's work
REPLACED_AFTER_S = 600.0  # a process that is younger is not replaced: the next one would be no better
_FDS = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
MOST_FDS = sys.maxsize if _FDS == resource.RLIM_INFINITY else int(0.8 * _FDS)


@dataclass(frozen=True, slots=True)
class Limits:
    """What one process may come to before it is replaced; each client that was stopped leaks a little of all three.

    A process is 75 MB, a device 2 MB once it has talked to 300 people: 150 devices, twice that.
    """

    mb: int = 75 + 4 * 150
    cycles: int = 1_000
    fds: int = MOST_FDS

    def passed(self, stats: contract.StatsReport) -> bool:
        return stats.rss_mb > self.mb or stats.cycles > self.cycles or stats.fds > self.fds


@dataclass(slots=True, eq=False)
class GatewaySlot:
    """A place for one gateway process, which is started again when it dies."""

    driver: str
    devices: set[int] = field(default_factory=set)
    process: Gateway | None = None
    up: bool = False  # the process has said something
    up_at: float = 0.0
    opened: set[int] = field(default_factory=set)  # devices that were opened in this process
    opened_at: float = 0.0
    deaths: int = 0  # early ones in a row
    pause: float = RESTART_PAUSE_S
    on_trial: bool = False  # it has some of the devices of a process that died early again and again, and no others
    retiring: bool = False  # its devices are being moved to others
    heard: bool = False  # since the last heartbeat
    silent: int = 0  # heartbeats in a row that nothing answered
    stats: contract.StatsReport | None = None

    @property
    def suspects(self) -> set[int]:
        return self.opened & self.devices

    def post(self, commands: Sequence[Command]) -> bool:
        """Hand commands to the process; false when there is none now."""
        if self.process is None:
            return False
        self.process.post(commands)
        return True

    def meters(self) -> dict[str, Any]:
        """What is known of the process; only its driver and devices while there is none."""
        stats = self.stats if self.process else None
        known = {"driver": self.driver, "devices": len(self.devices), "state": self.state}
        if stats is None:
            return known
        return {
            **known,
            "pid": stats.pid,
            "online": stats.online,
            "in_flight": stats.in_flight,
            "rss_mb": round(stats.rss_mb, 1),
            "fds": stats.fds,
            "threads": stats.threads,
            "cpu_s": round(stats.cpu_s, 1),
        }

    @property
    def state(self) -> str:
        if self.process is None or not self.up:
            return "starting"
        if self.silent:
            return "silent"
        return "retiring" if self.retiring else "on trial" if self.on_trial else "running"

    def open(self, command: contract.Open) -> None:
        if self.post([command]):
            self.opened.add(command.device)
            self.opened_at = asyncio.get_running_loop().time()


class GatewaySide(Protocol):
    """What whoever has sessions in the gateways wants to hear."""

    def on_events(self, slot: GatewaySlot, events: list[Event]) -> None: ...

    def on_up(self, slot: GatewaySlot) -> None:
        """Its process runs now: the devices of the slot can be opened."""

    def on_lost(self, slot: GatewaySlot) -> None:
        """Its process died."""

    def on_moved(self, devices: Collection[int], slot: GatewaySlot) -> None:
        """These devices, which are not open now, have their place here from now on."""

    def on_fatal(self, device: int) -> None:
        """This device's session ends every process that it is opened in."""

    def on_worn(self, slot: GatewaySlot) -> None:
        """Its devices are to be moved to others; then `Gateways.remove` it."""


class Gateways:
    """By driver: ``programs``, the argv of its gateway; ``sizes``, devices a process; ``limits``, if it has any."""

    def __init__(
        self,
        programs: Mapping[str, Sequence[str]],
        sizes: Mapping[str, int],
        limits: Mapping[str, Limits],
        side: GatewaySide,
    ) -> None:
        self.programs = programs
        self.sizes = sizes
        self.limits = limits
        self.side = side
        self.slots: list[GatewaySlot] = []
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
            for slot in list(self.slots):
                self._beat(slot)
                self._watch(slot)

    def place_for(self, driver: str) -> GatewaySlot:
        """A slot with room for one more device; a new one when all are full."""
        for slot in self.slots:
            if slot.driver == driver and self._has_room(slot):
                return slot
        return self._new_slot(driver)

    def isolate(self, device: int, slot: GatewaySlot) -> None:
        """Give the device of this slot, which is not open, a process of its own."""
        self._try({device}, slot)

    async def remove(self, slot: GatewaySlot) -> None:
        """End a slot that has no devices any more."""
        process, slot.process = slot.process, None
        self.slots.remove(slot)
        if process is not None:
            await process.stop()

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
            "gateway_fds": sum(stats.fds for stats in told),
            "processes": [slot.meters() for slot in self.slots],
        }

    def ask(self) -> None:
        """Have every gateway say now how it is."""
        for slot in self.slots:
            slot.post([contract.Stats(0)])

    async def stop(self) -> None:
        self._stopping = True
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*(slot.process.stop(2.0) for slot in self.slots if slot.process))

    # ------------------------------------------------------------------ places

    def _has_room(self, slot: GatewaySlot) -> bool:
        return not slot.on_trial and not slot.retiring and len(slot.devices) < self.sizes[slot.driver]

    def _new_slot(self, driver: str) -> GatewaySlot:
        slot = GatewaySlot(driver)
        self.slots.append(slot)
        self._spawn(self._start(slot))
        return slot

    def _try(self, devices: set[int], slot: GatewaySlot) -> None:
        """Move these devices of the slot to a new one, to see which of the two dies."""
        other = self._new_slot(slot.driver)
        other.on_trial = True
        other.devices = devices
        slot.devices -= devices
        self.side.on_moved(devices, other)

    # ------------------------------------------------------------------ life and death of one

    async def _start(self, slot: GatewaySlot) -> None:
        while not self._stopping:
            try:
                slot.process = await Gateway.start(
                    [sys.executable, *self.programs[slot.driver]],
                    on_events=lambda events: self._hear(slot, events),
                    on_exit=lambda process: self._lost(slot, process),
                )
                slot.post([contract.Stats(0)])  # its first word: what dies before it says one dies of itself
                return
            except OSError as error:
                logger.error("A gateway could not be started: %s", error)
                await asyncio.sleep(slot.pause)
                slot.pause = min(2 * slot.pause, LONGEST_PAUSE_S)

    async def _restart(self, slot: GatewaySlot, pause: float) -> None:
        await asyncio.sleep(pause)
        await self._start(slot)

    def _hear(self, slot: GatewaySlot, events: list[Event]) -> None:
        slot.heard = True
        for event in events:
            if isinstance(event, contract.StatsReport):
                slot.stats = event
        if not slot.up:
            slot.up, slot.up_at = True, asyncio.get_running_loop().time()
            self.side.on_up(slot)
        self.side.on_events(slot, events)

    def _lost(self, slot: GatewaySlot, process: Gateway) -> None:
        if slot.process is not process:
            return
        now = asyncio.get_running_loop().time()
        lasted = slot.up and now > slot.up_at + STEADY_S
        early = slot.up and now < slot.opened_at + EARLY_S
        suspects = slot.suspects if early and not process.was_killed else set()
        slot.process, slot.stats, slot.silent, slot.up, slot.retiring = None, None, 0, False, False
        slot.opened.clear()
        if self._stopping:
            return
        logger.error("A gateway ended; its %d devices are opened again", len(slot.devices))
        self.side.on_lost(slot)
        slot.deaths = slot.deaths + 1 if suspects else 0
        parted = self._judge(slot, suspects)
        pause = RESTART_PAUSE_S if lasted or parted else slot.pause
        slot.pause = min(2 * pause, LONGEST_PAUSE_S)
        self._spawn(self._restart(slot, pause))

    def _judge(self, slot: GatewaySlot, suspects: set[int]) -> bool:
        """One session may end every process that it is opened in: half the suspects go to another process, and so on
        with the half that dies, until one is alone. True when something was done.

        A process that was killed says nothing of its sessions; only one that ended of itself has suspects.
        """
        if len(suspects) == 1:
            if slot.deaths < DEATHS_TO_HOLD:
                return False
            slot.deaths = 0
            self.side.on_fatal(*suspects)
            return True
        on_trial = sum(other.on_trial for other in self.slots)
        if len(suspects) < 2 or slot.deaths < (1 if slot.on_trial else DEATHS_TO_SPLIT) or on_trial >= MOST_ON_TRIAL:
            return False
        slot.deaths = 0
        slot.on_trial = True
        half = set(sorted(suspects)[len(suspects) // 2 :])
        logger.warning("%d sessions are tried apart, since their gateway dies again and again", len(suspects))
        self._try(half, slot)
        return True

    def _watch(self, slot: GatewaySlot) -> None:
        if slot.retiring or not slot.up:
            return
        now = asyncio.get_running_loop().time()
        if slot.on_trial:
            if now > max(slot.up_at, slot.opened_at) + EARLY_S:
                self._acquit(slot)
        elif now > slot.up_at + REPLACED_AFTER_S:
            limits = self.limits.get(slot.driver)
            if limits and slot.stats and limits.passed(slot.stats):
                self.retire(slot)

    def _acquit(self, slot: GatewaySlot) -> None:
        """Nothing died here: its devices go where there is room for all of them, and if there is none, they stay."""
        slot.on_trial, slot.deaths = False, 0
        room = sum(
            self.sizes[slot.driver] - len(other.devices)
            for other in self.slots
            if other is not slot and other.driver == slot.driver and self._has_room(other)
        )
        if room >= len(slot.devices):
            self.retire(slot)

    def retire(self, slot: GatewaySlot) -> None:
        """Have the slot emptied and ended."""
        logger.info("A gateway is replaced; its %d devices are moved to others", len(slot.devices))
        slot.retiring = True
        self.side.on_worn(slot)

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
