"""Engines as real processes in front of the simulated network, and a door to PostgreSQL that can be shut."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

from django.db import connection

from config.embedded import wait_until
from devices.models import Device
from tests.devices.gateway.world import SimulatedWorld

ROOT = Path(__file__).resolve().parents[3]
PATIENCE_S = 30.0
SHORT_LEASES = {"LEASE_TTL": "3", "LEASE_RENEW": "0.5", "LEASE_STOP_AFTER": "1.5", "LEASE_EXIT_AFTER": "2"}


def until(condition: Callable[[], bool], what: str, timeout: float = PATIENCE_S) -> None:
    assert wait_until(condition, timeout), f"never came true: {what}"


def postgres_folder() -> str:
    return parse_qs(urlsplit(os.environ["DATABASE_URL"]).query)["host"][0]


def database_url(folder: str = "") -> str:
    """Of the tests' own database, reached by the socket in ``folder``."""
    server = urlsplit(os.environ["DATABASE_URL"])
    name = connection.settings_dict["NAME"]
    return server._replace(path=f"/{name}", query=f"host={folder or postgres_folder()}").geturl()


class EngineProcess:
    """One `manage.py run_engine` with a disk of its own, which outlives it."""

    def __init__(self, world: SimulatedWorld, disk: Path, **environment: str) -> None:
        self.disk = disk
        self.log = disk.with_suffix(".log")
        self.process: subprocess.Popen[bytes]
        self._environment = {
            **os.environ,
            "DATABASE_URL": database_url(),
            "SESSIONS_DIR": str(disk),
            "SIMULATOR_SOCKET": str(world.folder / "network"),
            **SHORT_LEASES,
            **environment,
        }

    @property
    def host(self) -> str:
        return (self.disk / "host.id").read_text()

    @property
    def said(self) -> str:
        return self.log.read_text()

    def start(self) -> EngineProcess:
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "manage.py", "run_engine"], cwd=ROOT, env=self._environment, stdout=log, stderr=log
            )
        return self

    def start_up(self) -> EngineProcess:
        self.start()
        until(lambda: " is up, " in self.said or self.process.poll() is not None, "the engine is up")
        assert self.process.poll() is None, self.said
        return self

    def stop(self, timeout: float = 10) -> int:
        """By SIGTERM; its exit code."""
        self.process.terminate()
        return self.process.wait(timeout)

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()

    def online(self) -> int:
        """How many devices it owns and has online."""
        return Device.objects.filter(owner_id=self.host, state="online").count()


class Machine:
    """Where a test starts its engines; those that still run at its end are killed."""

    def __init__(self, world: SimulatedWorld, folder: Path) -> None:
        self._world = world
        self._folder = folder
        self._engines: list[EngineProcess] = []

    def engine(self, name: str, **environment: str) -> EngineProcess:
        engine = EngineProcess(self._world, self._folder / name, **environment)
        self._engines.append(engine)
        return engine

    def close(self) -> None:
        for engine in self._engines:
            with contextlib.suppress(AttributeError):  # it was never started
                if engine.process.poll() is None:
                    engine.process.send_signal(signal.SIGCONT)
                    engine.kill()


class Door:
    """A socket that leads to PostgreSQL while it is open. Shut, PostgreSQL is away for whoever goes through it."""

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="fg"))
        self._path = self.folder / ".s.PGSQL.5432"
        self._behind = f"{postgres_folder()}/.s.PGSQL.5432"
        self._listener: socket.socket | None = None
        self._through: list[socket.socket] = []

    def open(self) -> None:
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(self._path))
        self._listener.listen(64)
        threading.Thread(target=self._let_in, args=(self._listener,), daemon=True).start()

    def shut(self) -> None:
        if self._listener:
            self._path.unlink()
            _end(self._listener)
            self._listener = None
        while self._through:
            _end(self._through.pop())

    def close(self) -> None:
        self.shut()
        shutil.rmtree(self.folder)

    def _let_in(self, listener: socket.socket) -> None:
        while True:
            try:
                guest, _ = listener.accept()
            except OSError:
                return
            inside = socket.socket(socket.AF_UNIX)
            inside.connect(self._behind)
            self._through += [guest, inside]
            for source, target in ((guest, inside), (inside, guest)):
                threading.Thread(target=_carry, args=(source, target), daemon=True).start()


def _carry(source: socket.socket, target: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while data := source.recv(65536):
            target.sendall(data)
    _end(source)
    _end(target)


def _end(end: socket.socket) -> None:
    with contextlib.suppress(OSError):
        end.shutdown(socket.SHUT_RDWR)
    end.close()


@contextmanager
def door() -> Iterator[Door]:
    made = Door()
    made.open()
    try:
        yield made
    finally:
        made.close()
