"""What both gateways share: obeying the engine, one message in flight for each device, draining, counting."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import time
from collections import deque
from collections.abc import Callable
from enum import Enum, auto
from typing import Any, Generic, TypeVar

from devices.gateway import contract, process
from devices.gateway.contract import NotSent, Offline, Outcome, PairFailed, Refused, Send, Sent, Unknown, Wire
from devices.gateway.link import Link

SEND_TIMEOUT_S = 75.0  # as whatsmeow waits for an acknowledgement
DRAIN_S = 8.0
QUEUE_LIMIT = 100
TIMED_OUT = "timed out waiting for message send response"


class State(Enum):
    PAIRING = auto()
    CONNECTING = auto()
    ONLINE = auto()
    STOPPED = auto()  # banned, replaced, outdated: nothing happens until the next Open
    UNLINKING = auto()


class Device:
    """What a gateway knows of one device it opened."""

    __slots__ = ("epoch", "id", "in_flight", "retries", "state", "told_offline", "waiting", "wire_at")

    def __init__(self, id: int, epoch: int, state: State) -> None:
        self.id = id
        self.epoch = epoch
        self.state = state
        self.in_flight: Send | None = None
        self.wire_at = 0.0
        self.waiting: deque[Send] = deque()
        self.told_offline = False
        self.retries = 0


D = TypeVar("D", bound=Device)


class GatewayServer(Generic[D]):
    """The engine's half of a gateway. A message is sent by `_transmit`; everything else about it happens here."""

    def __init__(self, send_timeout: float, on_congested: Callable[[bool], None]) -> None:
        self.ended = asyncio.Event()
        self.cycles = 0
        self._send_timeout = send_timeout
        self._devices: dict[int, D] = {}
        self._counts = dict.fromkeys((Sent, NotSent, Refused, Unknown), 0)
        self._draining = False
        self._loop = asyncio.get_running_loop()
        self.engine = Link(contract.Command, on_words=self._obey, on_lost=self.ended.set, on_congested=on_congested)
        self._commands: dict[type, Callable[[Any], None]] = {
            contract.Send: self._send,
            contract.Open: self._open,
            contract.Close: self._close,
            contract.Pair: self._pair,
            contract.Unlink: self._unlink,
            contract.CheckNumbers: self._check_numbers,
            contract.Snapshot: self._snapshot,
            contract.Evidence: self._evidence,
            contract.Stats: self._stats,
        }

    # ------------------------------------------------------------------------------------------- running

    async def _begin(self, engine_socket: socket.socket) -> None:
        await self._loop.create_unix_connection(lambda: self.engine, sock=engine_socket)
        self._loop.add_signal_handler(signal.SIGTERM, self._start_draining)
        self._loop.add_signal_handler(signal.SIGINT, self._start_draining)
        self._loop.call_later(self._sweep_period, self._sweep)

    @property
    def _sweep_period(self) -> float:
        return min(1.0, self._send_timeout / 4)

    def _sweep(self) -> None:
        """Give up on acknowledgements that are overdue. Looking at every device once a second is cheaper than a
        timer for every message."""
        overdue = time.time() - self._send_timeout
        for device in list(self._devices.values()):
            if device.in_flight is not None and device.wire_at < overdue:
                self._timed_out(device)
        self._loop.call_later(self._sweep_period, self._sweep)

    def _timed_out(self, device: D) -> None:
        self._give_up(device, TIMED_OUT)
        self._next(device)

    def _start_draining(self) -> None:
        if self._draining:
            return
        self._draining = True
        for device in list(self._devices.values()):
            self._refuse_waiting(device, "gateway is stopping")
            if device.state is State.PAIRING:
                self.engine.send(PairFailed(device.id, "cancelled"))
                self._close(contract.Close(device.id))
        self._drain_until(self._loop.time() + DRAIN_S)

    def _drain_until(self, deadline: float) -> None:
        busy = [device for device in self._devices.values() if device.in_flight is not None]
        if busy and self._loop.time() < deadline:
            self._loop.call_later(0.02, self._drain_until, deadline)
            return
        for device in busy:
            self._give_up(device, "gateway stopped")
        self.ended.set()

    # ---------------------------------------------------------------------------------------- from engine

    def _obey(self, commands: list[Any]) -> None:
        handlers = self._commands
        for command in commands:
            handlers[type(command)](command)

    def _send(self, command: Send) -> None:
        device = self._devices.get(command.device)
        if device is None or device.state is not State.ONLINE:
            self._not_sent(command, "not connected")
        elif command.epoch != device.epoch:
            self._not_sent(command, "stale epoch")
        elif self._draining:
            self._not_sent(command, "gateway is stopping")
        elif device.in_flight is None and not device.waiting:
            self._transmit(device, command)
        elif len(device.waiting) < QUEUE_LIMIT:
            device.waiting.append(command)
        else:
            self._not_sent(command, "too many messages wait for this device")

    def _next(self, device: D) -> None:
        if device.waiting and device.in_flight is None and device.state is State.ONLINE:
            self._transmit(device, device.waiting.popleft())

    def _transmit(self, device: D, command: Send) -> None:
        raise NotImplementedError

    def _open(self, command: contract.Open) -> None:
        raise NotImplementedError

    def _close(self, command: contract.Close) -> None:
        device = self._devices.get(command.device)
        if device is not None:
            self._forget(device, "session closed", command.copy)
        elif command.copy:
            self.engine.send(contract.SnapshotTaken(command.device, command.copy, ""))

    def _forget(self, device: D, why: str, copy: int = 0) -> None:
        """With ``copy``, the request of a Close, a copy of the session file is left behind and told of."""
        raise NotImplementedError

    def _pair(self, command: contract.Pair) -> None:
        raise NotImplementedError

    def _unlink(self, command: contract.Unlink) -> None:
        raise NotImplementedError

    def _check_numbers(self, command: contract.CheckNumbers) -> None:
        raise NotImplementedError

    def _snapshot(self, command: contract.Snapshot) -> None:
        raise NotImplementedError

    def _evidence(self, command: contract.Evidence) -> None:
        raise NotImplementedError

    def _stats(self, command: contract.Stats) -> None:
        devices = self._devices.values()
        self.engine.send(
            contract.StatsReport(
                command.request,
                pid=os.getpid(),
                open=len(devices),
                online=sum(device.state is State.ONLINE for device in devices),
                in_flight=sum(device.in_flight is not None for device in devices),
                sent=self._counts[Sent],
                not_sent=self._counts[NotSent],
                refused=self._counts[Refused],
                unknown=self._counts[Unknown],
                cycles=self.cycles,
                **process.usage()._asdict(),
            )
        )

    # ------------------------------------------------------------------------------------------ to engine

    def _on_the_wire(self, device: D, at: float) -> None:
        device.wire_at = at
        if device.in_flight is not None:
            self.engine.send(Wire(device.id, device.in_flight.message, at))

    def _tell(self, outcome: Outcome) -> None:
        self._counts[type(outcome)] += 1
        self.engine.send(outcome)

    def _tell_offline(self, device: D, why: str) -> None:
        if not device.told_offline:
            device.told_offline = True
            self.engine.send(Offline(device.id, why))

    def _not_sent(self, command: Send, why: str) -> None:
        self._tell(NotSent(command.device, command.message, command.tag, None, why))

    def _give_up(self, device: D, why: str) -> None:
        """End the open send as Unknown: it was on the wire, and no answer will be believed any more."""
        command, device.in_flight = device.in_flight, None
        if command is not None:
            self._tell(Unknown(command.device, command.message, command.tag, device.wire_at, why))

    def _refuse_waiting(self, device: D, why: str) -> None:
        while device.waiting:
            self._not_sent(device.waiting.popleft(), why)

    def _interrupt(self, device: D, why: str) -> None:
        self._give_up(device, why)
        self._refuse_waiting(device, "not connected")
