"""The engine's side of a gateway: starts the process, posts commands to it, hands its events on."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import socket
import subprocess
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Self

from devices.gateway.contract import Command, Event, NotSent, Send, Word
from devices.gateway.link import Link

PROJECT = Path(__file__).resolve().parents[2]
# What a Python program needs to start, and to get out to WhatsApp. Database address, keys and the like stay in the
# engine.
PASSED_ON = (
    *("PATH", "HOME", "USER", "LANG", "LC_ALL", "TZ", "TMPDIR", "VIRTUAL_ENV", "LD_LIBRARY_PATH"),
    *("SSL_CERT_FILE", "SSL_CERT_DIR", "HTTPS_PROXY"),
)
LINGER_S = 2.0

log = logging.getLogger(__name__)


class Gateway:
    """One gateway process and the socket to it. Use it from the thread of the loop that started it.

    That has to be the engine's main thread: the kernel ends the gateway with the thread that started it.
    """

    def __init__(self, on_events: Callable[[list[Event]], None], on_exit: Callable[[Gateway], None]) -> None:
        self._on_exit = on_exit
        self._on_events = on_events
        self._link = Link(Event, on_words=on_events, on_lost=self._lost, on_unsendable=self._unsendable)
        self._process: subprocess.Popen[bytes] | None = None
        self._gone = asyncio.Event()
        self._farewell: asyncio.Task[None] | None = None

    @classmethod
    async def start(
        cls,
        argv: Sequence[str],
        *,
        on_events: Callable[[list[Event]], None],
        on_exit: Callable[[Gateway], None],
        env: Mapping[str, str] | None = None,
    ) -> Self:
        """Run `argv --fd N` from the project's folder; its stdout and stderr are ours.

        `on_events` gets every batch in the loop's thread. `on_exit` is called exactly once, after the last
        event was handed over and the process is dead, so its session files are free to be opened again.
        `env` is the whole environment; without it the process gets only PASSED_ON and PYTHON*.
        Raises OSError when the program cannot be started.
        """
        gateway = cls(on_events, on_exit)
        ours, theirs = socket.socketpair()
        with theirs:
            gateway._process = subprocess.Popen(
                [*argv, "--fd", str(theirs.fileno())],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                cwd=PROJECT,
                env=lean_environment() if env is None else dict(env),
                # Ctrl-C in the terminal is for the engine, which settles what is in flight before its gateways go
                start_new_session=True,
            )
        ours.setblocking(False)
        await asyncio.get_running_loop().create_unix_connection(lambda: gateway._link, sock=ours)
        return gateway

    @property
    def pid(self) -> int:
        return self._process.pid if self._process else 0

    @property
    def was_killed(self) -> bool:
        """It ended because somebody else wanted it to: an operator, the kernel for want of memory, or we."""
        return self._process is not None and self._process.returncode in (-signal.SIGKILL, -signal.SIGTERM, 0)

    @property
    def alive(self) -> bool:
        return not self._gone.is_set()

    @property
    def congested(self) -> bool:
        """True while the gateway does not keep up: start nothing new until it is False again."""
        return self._link.congested

    def post(self, commands: Iterable[Command]) -> None:
        """Send a batch without waiting. After the gateway's end it goes nowhere; `on_exit` tells."""
        self._link.send_all(commands)
        self._link.flush()

    def hold(self, held: bool) -> None:
        """Stop (True) or go on (False) taking events, when they come faster than they can be settled."""
        self._link.hold(held)

    def kill(self) -> None:
        """SIGKILL, for one that stands still. What it had said before is handed over first, then comes `on_exit`."""
        if self._process and self.alive:
            self._process.kill()

    async def stop(self, timeout: float = 5.0) -> None:
        """End the gateway by closing its socket, after `timeout` seconds by SIGKILL; `on_exit` comes first."""
        self._link.hold(False)
        self._link.finish()
        try:
            await asyncio.wait_for(self._gone.wait(), timeout)
        except TimeoutError:
            log.warning("gateway did not end in time, killing it")
            if self._process:
                self._process.kill()
            self._link.abort()
            await self._gone.wait()

    def _unsendable(self, command: Word) -> None:
        """A send that cannot even be written down has an outcome too."""
        if isinstance(command, Send):
            why = "text cannot be encoded"
            outcome: list[Event] = [NotSent(command.device, command.message, command.tag, None, why)]
            asyncio.get_running_loop().call_soon(self._on_events, outcome)

    def _lost(self) -> None:
        self._farewell = asyncio.get_running_loop().create_task(self._bury())

    async def _bury(self) -> None:
        """Wait for the process behind a closed socket: while it lingers it holds its session files."""
        if self._process:
            try:
                await asyncio.to_thread(self._process.wait, LINGER_S)
            except subprocess.TimeoutExpired:
                self._process.kill()
                await asyncio.to_thread(self._process.wait)
        self._gone.set()
        self._on_exit(self)


def lean_environment() -> dict[str, str]:
    """What a gateway is given of the engine's environment."""
    return {name: value for name, value in os.environ.items() if name in PASSED_ON or name.startswith("PYTHON")}
