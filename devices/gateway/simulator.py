"""The simulated gateway: real process, real session files and locks, a simulated network behind them.

`--fd N --socket PATH` runs a gateway for the engine on descriptor N; `--network …` the network (network.py).
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import logging
import random
import secrets
import socket
import sys
import time
from collections.abc import Callable
from typing import Any

import uvloop

from devices.gateway import contract, process
from devices.gateway.contract import (
    Event,
    NotSent,
    Numbers,
    Offline,
    Online,
    Open,
    Pair,
    Paired,
    PairFailed,
    Refused,
    Send,
    Sent,
    Unlinked,
    Word,
)
from devices.gateway.link import Link
from devices.gateway.serving import SEND_TIMEOUT_S, Device, GatewayServer, State
from devices.gateway.session_file import Head, Missing, SessionFile
from devices.gateway.session_lock import InUse

FIRST_RETRY_S, LAST_RETRY_S = 0.05, 3.0

log = logging.getLogger("gateway")


class SimulatedDevice(Device):
    __slots__ = ("links_as", "links_phone", "session")

    def __init__(self, id: int, epoch: int, session: SessionFile, state: State) -> None:
        super().__init__(id, epoch, session.path, state)
        self.session = session
        self.links_as = ""  # id of the session a pairing would make
        self.links_phone = ""


class SimulatorGateway(GatewayServer[SimulatedDevice]):
    """Carries commands from the engine to the network and events back; sends of one device stay serial."""

    def __init__(self, network_path: str, send_timeout: float = SEND_TIMEOUT_S) -> None:
        super().__init__(
            send_timeout, on_congested=lambda congested: self._network.hold(congested) if self._network else None
        )
        self._network_path = network_path
        self._questions: set[tuple[int, int]] = set()
        self._network: Link | None = None
        self._network_away = False  # tried and failed, as opposed to not tried yet
        self._network_lost = asyncio.Event()
        self._events: dict[type, Callable[[Any, SimulatedDevice], None]] = {
            contract.Sent: self._settle,
            contract.NotSent: self._settle,
            contract.Refused: self._settle,
            contract.Receipt: self._pass_on,
            contract.Incoming: self._pass_on,
            contract.Qr: self._pass_on,
            contract.Code: self._pass_on,
            contract.Paired: self._paired,
            contract.PairFailed: self._pair_failed,
            contract.Online: self._online,
            contract.Offline: self._cut_off,
            contract.Banned: self._stopped,
            contract.Replaced: self._stopped,
            contract.Outdated: self._stopped,
            contract.Unlinked: self._unlinked,
            contract.Numbers: self._numbers,
        }

    # ------------------------------------------------------------------------------------------- running

    async def serve(self, engine_socket: socket.socket) -> None:
        """Run until the engine's socket ends or SIGTERM has drained what was in flight."""
        await self._begin(engine_socket)
        connecting = self._loop.create_task(self._stay_connected())
        await self.ended.wait()
        connecting.cancel()
        self.engine.close()
        for device in self._devices.values():
            device.session.close()
        log.info("gateway ended with %d devices", len(self._devices))

    async def _stay_connected(self) -> None:
        delay = FIRST_RETRY_S
        while True:
            link = Link(
                Event,
                on_words=self._hear,
                on_lost=self._network_lost.set,
                on_congested=self.engine.hold,
            )
            self._network_lost.clear()
            try:
                await self._loop.create_unix_connection(lambda link=link: link, self._network_path)  # type: ignore[misc]
            except OSError:
                if not self._network_away:
                    self._network_away = True
                    self._all_cut_off()
                await asyncio.sleep(delay * random.uniform(0.5, 1.0))  # noqa: S311 - spreads load, no secret
                delay = min(delay * 2, LAST_RETRY_S)
                continue
            delay = FIRST_RETRY_S
            log.info("connected to the network, logging %d devices in", len(self._devices))
            self._network, self._network_away = link, False
            for device in self._devices.values():
                self._log_in(device)
            await self._network_lost.wait()
            self._network, self._network_away = None, True
            self.engine.hold(False)
            self._all_cut_off()

    # ---------------------------------------------------------------------------------------- from engine

    def _transmit(self, device: SimulatedDevice, command: Send) -> None:
        try:
            device.session.remember(command.tag)
        except OSError as error:
            self._not_sent(command, f"session file: {error.strerror}")
            self._loop.call_soon(self._next, device)
            return
        device.in_flight = command
        command.wire_at = time.time()
        self._on_the_wire(device, command.wire_at)
        self._to_network(command)

    def _open_anew(self, command: Open) -> None:
        try:
            session = SessionFile.open(command.session, command.phone, command.fresh_keys)
        except InUse:
            self.engine.send(Offline(command.device, "session in use"))
        except Missing:
            self.engine.send(Unlinked(command.device, "no session"))
        except OSError as error:
            self.engine.send(Offline(command.device, f"session file: {error.strerror}"))
        else:
            device = SimulatedDevice(command.device, command.epoch, session, State.CONNECTING)
            self._devices[device.id] = device
            self._log_in(device)

    def _reopen(self, device: SimulatedDevice) -> None:
        if device.state is not State.UNLINKING:
            device.state = State.CONNECTING
            device.told_offline = False
            self._log_in(device)

    def _log_in(self, device: SimulatedDevice) -> None:
        """Log in, or go on with a pairing, when connected; otherwise the next connection does it."""
        head = device.session.head
        if self._devices.get(device.id) is not device:
            return
        if device.state is State.PAIRING:
            self._to_network(Pair(device.id, device.epoch, device.links_as, device.links_phone))
        elif device.state is State.CONNECTING and head is not None:
            self._to_network(Open(device.id, device.epoch, head.session, head.phone))
            if self._network_away:
                self._tell_offline(device, "network is away")

    def _pair_anew(self, command: Pair) -> None:
        if self._network_away:
            self.engine.send(PairFailed(command.device, "network is away"))
            return
        try:
            session = SessionFile.claim(command.session)
        except InUse:
            self.engine.send(PairFailed(command.device, "session in use"))
        except OSError as error:
            self.engine.send(PairFailed(command.device, f"session file: {error.strerror}"))
        else:
            device = SimulatedDevice(command.device, command.epoch, session, State.PAIRING)
            device.links_as, device.links_phone = secrets.token_hex(16), command.phone
            self._devices[device.id] = device
            self._log_in(device)

    def _unlink(self, command: contract.Unlink) -> None:
        device = self._devices.get(command.device)
        if device is None:
            self.engine.send(Unlinked(command.device, "no session"))
        elif self._network is None or device.state is not State.ONLINE:
            self._unlinked(Unlinked(command.device, "deleted here, remove it on the phone too"), device)
        else:
            self._interrupt(device, "session closed")
            device.state = State.UNLINKING
            self._to_network(command)

    def _check_numbers(self, command: contract.CheckNumbers) -> None:
        device = self._devices.get(command.device)
        if device is None or device.state is not State.ONLINE:
            self.engine.send(Numbers(command.device, command.request, {}))
            return
        self._questions.add((command.device, command.request))
        self._to_network(command)

    def _snapshot(self, command: contract.Snapshot) -> None:
        path = self._copy(self._devices.get(command.device))
        self.engine.send(contract.SnapshotTaken(command.device, command.request, path))

    def _copy(self, device: SimulatedDevice | None) -> str:
        """The path of a copy of the device's session; empty when there is nothing to copy."""
        if device is None or device.session.head is None:
            return ""
        try:
            return str(device.session.snapshot())
        except OSError as error:
            log.error("snapshot failed: %s", error.strerror)
            return ""

    def _evidence(self, command: contract.Evidence) -> None:
        device = self._devices.get(command.device)
        ids = device.session.ids(command.tags) if device is not None else {}
        self.engine.send(contract.Found(command.device, command.request, ids))

    # --------------------------------------------------------------------------------------- from network

    def _hear(self, events: list[Any]) -> None:
        handlers, devices = self._events, self._devices
        for event in events:
            device = devices.get(event.device)
            if device is not None:
                handlers[type(event)](event, device)

    def _pass_on(self, event: Word, device: SimulatedDevice) -> None:
        self.engine.send(event)

    def _settle(self, event: Sent | NotSent | Refused, device: SimulatedDevice) -> None:
        command = device.in_flight
        if command is None or command.tag != event.tag or command.message != event.message:
            return  # a late answer: this attempt was given up and has its outcome already
        event.wire_at = device.wire_at
        device.in_flight = None
        self._tell(event)
        if device.waiting:
            self._next(device)

    def _online(self, event: Online, device: SimulatedDevice) -> None:
        if device.state is State.UNLINKING:
            return
        device.state = State.ONLINE
        device.told_offline = False
        device.retries = 0
        self.engine.send(event)

    def _cut_off(self, event: Offline, device: SimulatedDevice) -> None:
        self._interrupt(device, "websocket disconnected before the acknowledgement")
        device.state = State.CONNECTING
        self._tell_offline(device, event.why)
        delay = min(FIRST_RETRY_S * 2**device.retries, LAST_RETRY_S)
        device.retries = min(device.retries + 1, 10)
        self._loop.call_later(delay, self._log_in, device)

    def _stopped(self, event: Word, device: SimulatedDevice) -> None:
        self._interrupt(device, "websocket disconnected before the acknowledgement")
        device.state = State.STOPPED
        self.engine.send(event)

    def _unlinked(self, event: Unlinked, device: SimulatedDevice) -> None:
        self._interrupt(device, "websocket disconnected before the acknowledgement")
        del self._devices[device.id]
        device.session.delete()
        self.engine.send(event)

    def _paired(self, event: Paired, device: SimulatedDevice) -> None:
        device.session.write(Head(event.phone, device.links_as, secrets.token_hex(16)))
        device.state = State.CONNECTING
        self.engine.send(event)

    def _pair_failed(self, event: PairFailed, device: SimulatedDevice) -> None:
        if device.state is State.PAIRING:
            del self._devices[device.id]
            device.session.close()
            self.engine.send(event)

    def _numbers(self, event: Numbers, device: SimulatedDevice) -> None:
        self._questions.discard((event.device, event.request))
        self.engine.send(event)

    def _all_cut_off(self) -> None:
        """The network itself is gone, or not there to begin with."""
        for device_id, request in self._questions:
            self.engine.send(Numbers(device_id, request, {}))
        self._questions.clear()
        for device in list(self._devices.values()):
            self._interrupt(device, "websocket disconnected before the acknowledgement")
            if device.state is State.PAIRING:
                self._pair_failed(PairFailed(device.id, "network is away"), device)
            elif device.state is State.UNLINKING:
                self._unlinked(Unlinked(device.id, "deleted here, remove it on the phone too"), device)
            elif device.state is not State.STOPPED:
                device.state = State.CONNECTING
                self._tell_offline(device, "network is away")

    # -------------------------------------------------------------------------------------------- shared

    def _to_network(self, command: Word) -> None:
        if self._network is not None:
            self._network.send(command)

    def _forget(self, device: SimulatedDevice, why: str, copy: int = 0) -> None:
        path = self._copy(device) if copy else ""
        self._interrupt(device, why)
        del self._devices[device.id]
        device.session.close()
        self.cycles += 1
        self._to_network(contract.Close(device.id))
        if copy:
            self.engine.send(contract.SnapshotTaken(device.id, copy, path))


async def _serve(engine_socket: socket.socket, arguments: argparse.Namespace) -> None:
    gc.freeze()
    await SimulatorGateway(arguments.socket, arguments.send_timeout).serve(engine_socket)


def main(argv: list[str]) -> None:
    if "--network" in argv:
        from devices.gateway import network

        network.main([argument for argument in argv if argument != "--network"])
        return
    parser = argparse.ArgumentParser(prog="simulator", description=__doc__)
    parser.add_argument("--fd", type=int, required=True, help="descriptor of the socket to the engine")
    parser.add_argument("--socket", required=True, help="path of the simulated network's socket")
    parser.add_argument("--send-timeout", type=float, default=SEND_TIMEOUT_S, metavar="SECONDS")
    arguments = parser.parse_args(argv)
    process.log_to_stderr("gateway")
    uvloop.run(_serve(process.engine_socket(arguments.fd), arguments))


if __name__ == "__main__":
    main(sys.argv[1:])
