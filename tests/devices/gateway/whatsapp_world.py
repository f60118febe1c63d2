"""The real gateway, unmodified neonize inside, before the stand-in for WhatsApp's servers."""

from __future__ import annotations

import asyncio
import json
import signal
import sqlite3
import subprocess
import sys
import tempfile
import threading
from contextlib import closing
from pathlib import Path
from typing import Any

from devices.gateway.client import Gateway, lean_environment
from devices.gateway.contract import Event, Online, Pair, Qr
from tests.devices.gateway.world import PATIENCE_S, CodeRefused, Engine, World, new_phone
from tests.whatsapp_loopback.control import Control

GATEWAY = [sys.executable, "-m", "devices.gateway.whatsapp"]
NETWORK = [sys.executable, "-m", "tests.whatsapp_loopback"]
# The copy of the library that trusts the stand-in: made once, by whichever run comes first
WORK = Path(tempfile.gettempdir()) / "flotilla-whatsapp-loopback"
PEOPLE = ["--people-delivered", "0.02", "--people-read", "0.04"]


class WhatsAppWorld(World):
    """Sessions are linked when they are needed: a few at first, then many at once."""

    IMPATIENT_S = 1.0  # the first message to a person takes a while: keys are looked up
    CODES_EXPIRE = False

    def __init__(self) -> None:
        super().__init__()
        self._many = 2
        self._linked: list[tuple[str, str]] = []
        self._port = 0
        self._environment: dict[str, str] = {}
        self._rules: list[dict[str, Any]] = []
        self._failing: set[str] = set()
        self._timers: list[threading.Timer] = []
        self.network: subprocess.Popen[bytes] | None = None

    @property
    def control(self) -> Control:
        return Control(self._port)

    # ------------------------------------------------------------------------------------------ gateways

    def gateway_argv(self) -> list[str]:
        return GATEWAY

    def gateway_environment(self) -> dict[str, str]:
        return self._environment

    def start_network(self) -> None:
        argv = [*NETWORK, "--work", str(WORK), "--port", str(self._port), "--ledger", str(self.ledger), *PEOPLE]
        self.network = subprocess.Popen([*argv, "--reported-prekeys", "812"], stdout=subprocess.PIPE)
        assert self.network.stdout is not None
        ready = json.loads(self.network.stdout.readline())
        self._port = ready["port"]
        self._environment = {**lean_environment(), **ready["env"]}
        self.clear()

    def kill_network(self) -> None:
        assert self.network is not None
        self.network.kill()
        self.network.wait()

    def close(self) -> None:
        for timer in self._timers:
            timer.cancel()
        if self.network is not None and self.network.poll() is None:
            self.network.send_signal(signal.SIGTERM)
            assert self.network.wait(PATIENCE_S) == 0
        super().close()

    async def _link(self, number: int) -> None:
        """All in one gateway: what cannot be stopped in it is only a pairing that nobody finishes."""
        sessions = {device: (new_phone(), self.session_path()) for device in range(1, number + 1)}
        engine = Engine()

        def scan(event: Event) -> None:
            if isinstance(event, Qr):
                self.control.scan(qr=event.payload, phone=_digits(sessions[event.device][0]))

        engine.on_event = scan
        engine.gateway = await Gateway.start(
            self.gateway_argv(), on_events=engine.hear, on_exit=engine.exited, env=self.gateway_environment()
        )
        engine.post(*[Pair(device, 1, path) for device, (_, path) in sessions.items()])
        for device in sessions:
            await engine.see(Online, device=device)
        await engine.gateway.stop()
        self._linked += sessions.values()

    # ------------------------------------------------------------------------------------------ sessions

    def linked(self) -> tuple[str, str]:
        if not self._linked:
            linking = threading.Thread(target=asyncio.run, args=(self._link(self._many),))
            linking.start()
            linking.join()
            self._many = 40
        return self._linked.pop()

    def twin(self, phone: str, path: str) -> str:
        copy = self.session_path()
        with closing(sqlite3.connect(path)) as session, closing(sqlite3.connect(copy)) as other:
            session.backup(other)
        return copy

    def logged_in(self) -> list[str]:
        return [f"+{jid.partition(':')[0]}" for jid in self.control.state()["online"]]

    def pairings(self) -> int:
        return int(self.control.state()["unpaired"])

    # ----------------------------------------------------------------------------------- network and people

    def scan(self, payload: str) -> str:
        phone = new_phone()
        try:
            self.control.scan(qr=payload, phone=_digits(phone))
        except RuntimeError as refusal:
            raise CodeRefused from refusal
        return phone

    def type_code(self, code: str, phone: str) -> None:
        self.control.enter_code(phone=_digits(phone), code=code)

    def delay_acks(self, seconds: float, *, times: int | None = None, to: str = "") -> None:
        self._rule(times=times, recipient=_digits(to) or "*", ack_delay=seconds, delivered=0.02, read=0.04)

    def lose_acks(self, *, times: int | None = None) -> None:
        self._rule(times=times, ack=False)

    def swallow(self) -> None:
        self._rule(ack=False)

    def go_deaf(self) -> None:
        self.control.silent(on=True)

    def refuse(self, code: int, *, times: int) -> None:
        self._rule(times=times, ack_error=code)

    def unregister(self, number: str) -> None:
        self._rule(recipient=_digits(number), exists=False)

    def _rule(self, **rule: Any) -> None:
        self._rules.append(rule)
        self.control.rules(rules=self._rules)

    def write(self, phone: str, sender: str, text: str, quoted: str = "") -> None:
        self.control.text(phone=_digits(phone), sender=_digits(sender), text=text, quoted=quoted or None)

    def ban(self, phone: str, seconds: float) -> None:
        if seconds:
            self.fail_logins(phone, 402, code=101, expire=int(seconds))
        else:
            self.control.fail_login(phone=_digits(phone), attrs=None)
        self.control.drop(phone=_digits(phone))

    def unlink(self, phone: str) -> None:
        self.control.logout(phone=_digits(phone))

    def cut(self, phone: str, seconds: float) -> None:
        self.control.refuse(status=503)
        self.control.drop(phone=_digits(phone))
        self._timers.append(threading.Timer(seconds, self.control.refuse))
        self._timers[-1].start()

    def outdate(self) -> None:
        self.fail_logins("*", 405)

    def fail_logins(self, phone: str, reason: int, **attributes: int) -> None:
        """WhatsApp's number for why, and what it says beside it."""
        self._failing.add(_digits(phone))
        self.control.fail_login(phone=_digits(phone), attrs={"reason": reason, **attributes})

    def clear(self) -> None:
        for timer in self._timers:
            timer.join()
        self._rules = []
        self.control.rules(rules=[])
        self.control.silent(on=False)
        for phone in self._failing:
            self.control.fail_login(phone=phone, attrs=None)
        self._failing.clear()


def _digits(phone: str) -> str:
    return phone.removeprefix("+")
