"""A rehearsal's installation: every process for real, restarted when it ends, as supervisor would."""

from __future__ import annotations

import os
import secrets
import signal
import subprocess
import sys
import tempfile
import time
from base64 import urlsafe_b64encode
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path

from config.embedded import tethered
from config.rehearsal.servers import OwnServer, Servers, own_servers

PROJECT = Path(__file__).resolve().parents[2]
MANAGE = [sys.executable, str(PROJECT / "manage.py")]
PATIENCE_S = 100.0
LOOK_S = 0.05
RESTART_S = 0.5
STOP_WITHIN_S = 12.0
ORDERLY = (0, -signal.SIGTERM, 143)
# People who neither answer nor refuse: what is sent ends as sent.
QUIET_PEOPLE = ("--jitter-ms", "0", "--reply-share", "0", "--stop-share", "0")


class NeverHappened(Exception):
    """What a rehearsal waited for did not come about in time."""


class Program:
    """One process of the installation. ``wanted_end``: somebody here ends it, so that its end is no news.

    ``speaks``: it says something on its standard output, which is no log.
    """

    def __init__(self, kind: str, argv: list[str], environment: dict[str, str], speaks: bool = False) -> None:
        self.kind = kind
        self.argv = argv
        self.environment = environment
        self.speaks = speaks
        self.wanted_end = False
        self.ended_at: float | None = None
        self.process: subprocess.Popen[bytes]

    @property
    def pid(self) -> int:
        return self.process.pid

    @property
    def running(self) -> bool:
        return self.process.poll() is None

    def first_line(self) -> str:
        """What it says first, waited for; nothing when it ends without a word."""
        assert self.process.stdout is not None
        return self.process.stdout.readline().decode(errors="replace")


class Installation:
    """Servers, the simulated network, and Flotilla's own processes.

    ``at_risk``: tags of the attempts that were open when something went wrong, the only ones that may end uncertain.
    ``ends``: every process that ended without being asked to, with its exit code. ``roots``: pid → kind.
    """

    def __init__(self, folder: Path, servers: Servers) -> None:
        self.folder = folder
        self.servers = servers
        self.logs = (folder / "log").open("ab")
        self.roots: dict[int, str] = {}
        self.programs: list[Program] = []
        self.at_risk: set[str] = set()
        self.ends: list[tuple[Program, int]] = []
        self.on_tick: Callable[[], None] | None = None
        self.ledger = folder / "ledger.log"
        for server in (servers.postgres, servers.redis):
            self.roots[server.pid] = server.kind

    # ------------------------------------------------------------------ starting

    def start(
        self, kind: str, argv: list[str], environment: Mapping[str, str] | None = None, *, speaks: bool = False
    ) -> Program:
        program = Program(kind, argv, dict(environment or {}), speaks)
        self._spawn(program)
        self.programs.append(program)
        return program

    def _spawn(self, program: Program) -> None:
        environment = {**os.environ, **program.environment}
        said = subprocess.PIPE if program.speaks else self.logs
        program.process = subprocess.Popen(
            tethered(program.argv), cwd=PROJECT, env=environment, stdout=said, stderr=self.logs
        )
        program.wanted_end, program.ended_at = False, None
        self.roots[program.pid] = program.kind

    def start_network(self, *behaviour: str, ledger: str = "ledger.log") -> None:
        self.ledger = self.folder / ledger
        self.ledger.unlink(missing_ok=True)
        sockets = ["--socket", os.environ["SIMULATOR_SOCKET"], "--control", os.environ["SIMULATOR_CONTROL"]]
        network = ["-m", "devices.gateway.simulator", "--network", *sockets, "--ledger", str(self.ledger)]
        self.start("simulator", [sys.executable, *network, *QUIET_PEOPLE, *behaviour])

    def start_office(self) -> None:
        """Everything but engines: web, both workers, the clock."""
        self.start("web", [sys.executable, "-m", "daphne", "-u", str(self.folder / "web"), "config.asgi:application"])
        self.start("worker", [*MANAGE, "work", "clock", "planning", "webhooks"])
        self.start("worker", [*MANAGE, "work", "imports", "exports"])
        self.start_clock()

    def start_clock(self) -> Program:
        return self.start("clock", [*MANAGE, "run_clock"])

    def disk(self, number: int) -> Path:
        """The folder of an engine's session files."""
        return self.folder / f"sessions{number}"

    def start_engine(self, number: int, **environment: str) -> Program:
        """Each engine number has a disk of its own, and so its own host id."""
        environment["SESSIONS_DIR"] = str(self.disk(number))
        return self.start("engine", [*MANAGE, "run_engine"], environment)

    def start_server(self, server: OwnServer) -> None:
        server.start()
        self.roots[server.pid] = server.kind

    def of_kind(self, *kinds: str) -> list[Program]:
        return [program for program in self.programs if program.kind in kinds]

    @property
    def engines(self) -> list[Program]:
        return self.of_kind("engine")

    # ------------------------------------------------------------------ ending

    def end_server(self, server: OwnServer, number: int) -> None:
        self.roots.pop(server.pid, None)
        server.end(number)

    def kill(self, program: Program) -> None:
        """kill -9; the next `tend` starts it again."""
        program.wanted_end = True
        program.process.kill()
        program.process.wait()

    def terminate(self, program: Program) -> tuple[int, float]:
        """SIGTERM, as at a deployment: (exit code, seconds it took). The next `tend` starts it again."""
        program.wanted_end = True
        began = time.monotonic()
        program.process.terminate()
        code = program.process.wait(PATIENCE_S)
        return code, round(time.monotonic() - began, 2)

    def retire(self, programs: Iterable[Program]) -> None:
        """End these for good, all at the same time."""
        leaving = list(programs)
        for program in leaving:
            self.programs.remove(program)
            program.process.send_signal(signal.SIGCONT)
            program.process.terminate()
        for program in leaving:
            try:
                program.process.wait(STOP_WITHIN_S)
            except subprocess.TimeoutExpired:
                program.process.kill()
                program.process.wait()
            self.roots.pop(program.pid, None)

    # ------------------------------------------------------------------ keeping it up

    def tend(self) -> None:
        """Start again what has ended, half a second later; note which attempts an engine left open."""
        for program in self.programs:
            if program.running:
                continue
            if program.ended_at is None:
                program.ended_at = time.monotonic()
                if not program.wanted_end:
                    self.ends.append((program, program.process.returncode))
                self._note_open_attempts(program)
            elif time.monotonic() - program.ended_at >= RESTART_S:
                # Again: PostgreSQL carries the last statement of a dead client to its end
                self._note_open_attempts(program)
                self.roots.pop(program.pid, None)
                self._spawn(program)

    def _note_open_attempts(self, program: Program) -> None:
        """After an orderly stop nothing may be open, so that nothing is excused."""
        from django.db import Error, connection

        from config.rehearsal.looking import open_tags

        if program.kind == "engine" and program.process.returncode not in ORDERLY:
            try:
                self.at_risk |= open_tags(owner__pid=program.pid)
            except Error:  # PostgreSQL is away: whoever stopped it noted what was open
                connection.close()

    def until(self, what: str, condition: Callable[[], bool], within: float = PATIENCE_S) -> float:
        """Keep everything up until this is so; the seconds it took. Raises NeverHappened."""
        from django.db import Error, connection

        began = time.monotonic()
        while True:
            try:
                self._tick()
                if condition():
                    return round(time.monotonic() - began, 2)
            except Error:  # PostgreSQL is away or has just come back: ask again on a new connection
                connection.close()
            if time.monotonic() - began > within:
                raise NeverHappened(f"not within {within:.0f} s: {what}")
            time.sleep(LOOK_S)

    def let_pass(self, seconds: float) -> None:
        """Keep everything up for so long."""
        ends = time.monotonic() + seconds
        self.until("the passing of time", lambda: time.monotonic() >= ends, seconds + PATIENCE_S)

    def next_message(self) -> float:
        """Seconds until another message arrives in the network."""
        size = self.ledger.stat().st_size
        return self.until("another message", lambda: self.ledger.stat().st_size > size)

    def everybody_online(self) -> bool:
        from config.rehearsal.looking import all_online

        return all_online(engine.pid for engine in self.engines if engine.running)

    def _tick(self) -> None:
        self.tend()
        if self.on_tick is not None:
            self.on_tick()

    def tail(self) -> str:
        self.logs.flush()
        return (self.folder / "log").read_text(errors="replace")[-2_000:]


@contextmanager
def new_installation(driver: str = "simulator") -> Iterator[Installation]:
    """Servers, the environment for all processes and a migrated database; nothing of it is left behind.

    Django is set up in here, because its settings need the servers.
    """
    with ExitStack() as cleanup:
        folder = Path(cleanup.enter_context(tempfile.TemporaryDirectory(prefix="flotilla-rehearsal-")))
        servers = cleanup.enter_context(own_servers())
        os.environ.update(
            servers.urls,
            ENV_FILE="",
            SECRET_KEY=secrets.token_urlsafe(48),
            VAR_DIR=str(folder),
            SESSIONS_DIR=str(folder / "sessions"),
            SIMULATOR_SOCKET=str(folder / "network"),
            SIMULATOR_CONTROL=str(folder / "phones"),
            STATIC_MANIFEST="0",
            DRIVERS=driver,
            VAULT_KEYS=urlsafe_b64encode(secrets.token_bytes(32)).decode(),
            DJANGO_SETTINGS_MODULE="config.settings",
        )
        import django

        django.setup()
        from django.core.management import call_command
        from django.db import connection

        call_command("migrate", verbosity=0)
        installation = Installation(folder, servers)
        cleanup.callback(connection.close)
        cleanup.callback(lambda: installation.retire(list(installation.programs)))
        yield installation
