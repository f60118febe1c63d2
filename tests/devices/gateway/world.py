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
from devices.gateway.control import ControlRefused, ControlUnavailable, SimulatorControl

PROGRAM = [sys.executable, "-m", "devices.gateway.simulator"]
OUTCOMES = (Sent, NotSent, Refused, Unknown)
PATIENCE_S = 30.0
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


class CodeRefused(Exception):
    """The phone does not take this code."""


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


class World:
    """A network with phones and people, and gateways before it. The words every gateway's tests are told in.

    Phones are E.164 text. What people and network do holds for the messages to come; `clear` ends it.
    """

    IMPATIENT_S = 0.3  # a limit for acknowledgements that a quick one keeps
    CODES_S = (60.0, 20.0)  # life of a pairing's first code, and of the later ones
    CODES_EXPIRE = True  # within a test's patience

    def __init__(self) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="fg")
        self.folder = Path(self._folder.name)
        self.ledger = self.folder / "ledger"
        self._engines: list[Engine] = []
        self._next: Engine | None = None  # a gateway that starts while the test before still runs
        self._files = count(1)

    # ------------------------------------------------------------------------------------------ gateways

    def gateway_argv(self) -> list[str]:
        raise NotImplementedError

    def gateway_environment(self) -> dict[str, str] | None:
        """None: what an engine passes on."""
        return None

    async def start_gateway(self, *options: str) -> Engine:
        if options:
            engine = await self._start(*options)
        else:
            engine = self._next or await self._start()
            self._next = await self._start()
        self._engines.append(engine)
        return engine

    async def _start(self, *options: str) -> Engine:
        engine = Engine()
        engine.gateway = await Gateway.start(
            [*self.gateway_argv(), *options],
            on_events=engine.hear,
            on_exit=engine.exited,
            env=self.gateway_environment(),
        )
        return engine

    async def start_impatient_gateway(self) -> Engine:
        """One that gives an acknowledgement IMPATIENT_S."""
        return await self.start_gateway("--send-timeout", str(self.IMPATIENT_S))

    async def stop_gateways(self, *, keep_next: bool = False) -> None:
        if self._next and not keep_next:
            self._engines.append(self._next)
            self._next = None
        for engine in self._engines:
            await engine.gateway.stop()
        self._engines.clear()

    def close(self) -> None:
        self._folder.cleanup()

    # ------------------------------------------------------------------------------------------ sessions

    def session_path(self) -> str:
        return str(self.folder / f"session-{next(self._files)}")

    def linked(self) -> tuple[str, str]:
        """A phone, and the path to open its session with."""
        raise NotImplementedError

    def twin(self, phone: str, path: str) -> str:
        """The path of another session of this phone, which replaces the one at `path` when it logs in."""
        raise NotImplementedError

    async def online(self, engine: Engine, device: int = 1, epoch: int = 1) -> tuple[str, str]:
        """Open a device with a session of its own: its phone and the session's path."""
        phone, path = self.linked()
        engine.post(Open(device, epoch, path, phone))
        await engine.see(Online, device=device)
        return phone, path

    def logged_in(self) -> list[str]:
        """Phones with a session that is connected."""
        raise NotImplementedError

    def pairings(self) -> int:
        """Codes on screens that a phone would take."""
        raise NotImplementedError

    # ----------------------------------------------------------------------------------- network and people

    def start_network(self) -> None:
        raise NotImplementedError

    def kill_network(self) -> None:
        raise NotImplementedError

    def ledger_tags(self) -> list[str]:
        """The tags of all messages that got to WhatsApp, in hex."""
        return [line.split()[3] for line in self.ledger.read_text().splitlines()]

    def scan(self, payload: str) -> str:
        """A phone scans a code: its number. Raises CodeRefused."""
        raise NotImplementedError

    def type_code(self, code: str, phone: str) -> None:
        raise NotImplementedError

    def delay_acks(self, seconds: float, *, times: int | None = None, to: str = "") -> None:
        raise NotImplementedError

    def lose_acks(self, *, times: int | None = None) -> None:
        """Messages get there; nobody says so."""
        raise NotImplementedError

    def swallow(self) -> None:
        """Neither acknowledgements nor receipts come any more."""
        raise NotImplementedError

    def go_deaf(self) -> None:
        """Nothing gets there any more, and nobody says so."""
        raise NotImplementedError

    def refuse(self, code: int, *, times: int) -> None:
        raise NotImplementedError

    def unregister(self, number: str) -> None:
        """Nobody at this number has WhatsApp."""
        raise NotImplementedError

    def write(self, phone: str, sender: str, text: str, quoted: str = "") -> None:
        """The person at `sender` writes to the device."""
        raise NotImplementedError

    def ban(self, phone: str, seconds: float) -> None:
        """For so long; 0 lifts the ban."""
        raise NotImplementedError

    def unlink(self, phone: str) -> None:
        """Remove the linked device on the phone."""
        raise NotImplementedError

    def cut(self, phone: str, seconds: float) -> None:
        """Cut the connection, and let it come back no sooner."""
        raise NotImplementedError

    def outdate(self) -> None:
        """Refuse logins as from a client too old."""
        raise NotImplementedError

    def clear(self) -> None:
        raise NotImplementedError


class SimulatedWorld(World):
    """The simulated gateway before the simulated network."""

    CODES_S = (QUICK["first_code_s"], QUICK["next_code_s"])

    def __init__(self, **behaviour: float) -> None:
        super().__init__()
        self.control = SimulatorControl(self.folder / "control")
        self.phones = self.control
        self._behaviour = QUICK | behaviour
        self.network: subprocess.Popen[bytes] | None = None

    def gateway_argv(self) -> list[str]:
        return [*PROGRAM, "--socket", str(self.folder / "network")]

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

    def close(self) -> None:
        if self.network is not None and self.network.poll() is None:
            self.network.send_signal(signal.SIGTERM)
            assert self.network.wait(PATIENCE_S) == 0
        super().close()

    def linked(self) -> tuple[str, str]:
        return new_phone(), self.session_path()

    def twin(self, phone: str, path: str) -> str:
        return self.session_path()

    def logged_in(self) -> list[str]:
        return [session["phone"] for session in self.control.state()["sessions"]]

    def pairings(self) -> int:
        return len(self.control.state()["pairings"])

    def scan(self, payload: str) -> str:
        try:
            return self.phones.scan(payload)["phone"]
        except ControlRefused as refusal:
            raise CodeRefused from refusal

    def type_code(self, code: str, phone: str) -> None:
        self.phones.scan(code, phone)

    def delay_acks(self, seconds: float, *, times: int | None = None, to: str = "") -> None:
        self.control.rule({"to": to} if to else {}, delay_s=seconds, **_limited(times))

    def lose_acks(self, *, times: int | None = None) -> None:
        self.control.rule(lost_ack=True, **_limited(times))

    def swallow(self) -> None:
        self.control.rule(dead=True)

    def go_deaf(self) -> None:
        self.control.rule(dead=True)

    def refuse(self, code: int, *, times: int) -> None:
        self.control.rule(refuse=code, times=times)

    def unregister(self, number: str) -> None:
        self.control.rule({"to": number}, not_sent="no LID found for the number")

    def write(self, phone: str, sender: str, text: str, quoted: str = "") -> None:
        self.phones.reply(phone, sender, text, quoted)

    def ban(self, phone: str, seconds: float) -> None:
        self.phones.ban(phone, seconds)

    def unlink(self, phone: str) -> None:
        self.phones.unlink(phone)

    def cut(self, phone: str, seconds: float) -> None:
        self.phones.drop(phone, seconds)

    def outdate(self) -> None:
        self.control.outdate()

    def clear(self) -> None:
        self.control.clear_rules()
        self.control.outdate(False)


def _limited(times: int | None) -> dict[str, Any]:
    return {} if times is None else {"times": times}
