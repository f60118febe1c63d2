"""A stage for gateways: a network with phones, and an engine's end of one gateway that remembers what it hears."""

from __future__ import annotations

import asyncio
import secrets
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from itertools import count
from pathlib import Path
from typing import Any, TypeVar

from devices.gateway.client import Gateway
from devices.gateway.contract import Command, Event, NotSent, Online, Open, Refused, Send, Sent, Unknown
from devices.gateway.control import ControlUnavailable, SimulatorControl

PROGRAM = [sys.executable, "-m", "devices.gateway.simulator"]
OUTCOMES = (Sent, NotSent, Refused, Unknown)
PATIENCE_S = 10.0
QUICK = {
    "ack_ms": 20,
    "jitter_ms": 0,
    "delivered_ms": 20,
    "read_ms": 20,
    "read_share": 1,
    "reply_share": 0,
    "stop_share": 0,
    "first_code_s": 2,
    "next_code_s": 0.15,
}
E = TypeVar("E")
_phones = count(2_000_000)


def new_phone() -> str:
    return f"+6012{next(_phones):07}"


def wait_until(condition: Callable[[], bool], what: str) -> None:
    """For conditions outside the event loop. Fails loudly after PATIENCE_S."""
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline, f"never came true: {what}"
        time.sleep(0.01)


class Engine:
    """The engine's end of one gateway."""

    def __init__(self) -> None:
        self.events: list[Event] = []
        self.exits = 0
        self.on_event: Callable[[Event], None] = lambda event: None
        self.gateway: Gateway
        self._heard = asyncio.Event()
        self._messages = count(1)

    def hear(self, events: list[Event]) -> None:
        for event in events:
            self.on_event(event)
        self.events += events
        self._heard.set()

    def exited(self, gateway: Gateway) -> None:
        assert gateway is self.gateway
        self.exits += 1
        self._heard.set()

    def post(self, *commands: Command) -> None:
        self.gateway.post(commands)

    def seen(self, *kinds: type, **fields: Any) -> list[Any]:
        return [
            event
            for event in self.events
            if isinstance(event, kinds) and all(getattr(event, name) == value for name, value in fields.items())
        ]

    async def until(self, condition: Callable[[], bool], what: str) -> None:
        async def wait() -> None:
            while not condition():
                self._heard.clear()
                await self._heard.wait()

        try:
            await asyncio.wait_for(wait(), PATIENCE_S)
        except TimeoutError:
            raise AssertionError(f"never came: {what}; heard {self.events[-20:]}") from None

    async def see(self, kind: type[E], /, times: int = 1, **fields: Any) -> E:
        """The event number `times` of this kind with these fields, waited for."""
        await self.until(lambda: len(self.seen(kind, **fields)) >= times, f"{kind.__name__} {fields}, {times} of them")
        found: E = self.seen(kind, **fields)[times - 1]
        return found

    async def outcome(self, message: int) -> Any:
        """The one outcome of a message."""
        await self.until(lambda: bool(self.seen(*OUTCOMES, message=message)), f"outcome of {message}")
        outcomes = self.seen(*OUTCOMES, message=message)
        assert len(outcomes) == 1
        return outcomes[0]

    def sending(self, device: int = 1, epoch: int = 1, to: str = "+60111111111", text: str = "Hello") -> Send:
        return Send(device, epoch, next(self._messages), secrets.token_bytes(32), to, text)


class SimulatedWorld:
    """The simulated gateway before the simulated network."""

    def __init__(self, **behaviour: float) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="fg")
        self.folder = Path(self._folder.name)
        self.ledger = self.folder / "ledger"
        self.control = SimulatorControl(self.folder / "control")
        self.phones = self.control
        self._behaviour = QUICK | behaviour
        self._engines: list[Engine] = []
        self._files = count(1)
        self.network: subprocess.Popen[bytes] | None = None

    def network_argv(self, ledger: Path | None = None, socket: str = "network") -> list[str]:
        argv = [*PROGRAM, "--network", "--socket", str(self.folder / socket), "--ledger", str(ledger or self.ledger)]
        for name, value in self._behaviour.items():
            argv += [f"--{name.replace('_', '-')}", str(value)]
        return argv

    def start_network(self, ledger: Path | None = None) -> None:
        control = ["--control", str(self.folder / "control")]
        self.network = subprocess.Popen([*self.network_argv(ledger), *control], stderr=subprocess.DEVNULL)
        wait_until(self._answers, "the network answers")

    def kill_network(self) -> None:
        assert self.network is not None
        self.network.kill()
        self.network.wait()

    def _answers(self) -> bool:
        try:
            self.control.state()
        except ControlUnavailable:
            return False
        return True

    def session_path(self) -> str:
        return str(self.folder / f"session-{next(self._files)}")

    def ledger_tags(self) -> list[str]:
        return [line.split()[3] for line in self.ledger.read_text().splitlines()]

    async def start_gateway(self, *options: str) -> Engine:
        engine = Engine()
        argv = [*PROGRAM, "--socket", str(self.folder / "network"), *options]
        engine.gateway = await Gateway.start(argv, on_events=engine.hear, on_exit=engine.exited)
        self._engines.append(engine)
        return engine

    async def online(self, engine: Engine, device: int = 1, epoch: int = 1) -> tuple[str, str]:
        """Open a device with a session of its own: its phone and the session's path."""
        phone, path = new_phone(), self.session_path()
        engine.post(Open(device, epoch, path, phone))
        await engine.see(Online, device=device)
        return phone, path

    async def stop_gateways(self) -> None:
        for engine in self._engines:
            await engine.gateway.stop()
        self._engines.clear()

    def close(self) -> None:
        if self.network is not None and self.network.poll() is None:
            self.network.send_signal(signal.SIGTERM)
            assert self.network.wait(PATIENCE_S) == 0
        self._folder.cleanup()
