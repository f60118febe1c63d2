"""The database and the Redis of a rehearsal: real servers of its own that can be killed and started again."""

from __future__ import annotations

import os
import secrets
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from config.embedded import READY_TIMEOUT_S, UNPRIVILEGED, Postgres, Server, ServerError, Valkey, tethered, wait_until

SERVER_KINDS = ("postgres", "redis")


class OwnServer:
    """An embedded server as our own child. `pid` is that of the running process, 0 when it is down."""

    def __init__(self, kind: str, server: Server) -> None:
        self.kind = kind
        self.server = server
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        return self.process.pid if self.process and self.process.poll() is None else 0

    def start(self) -> None:
        """Start it, again if need be, and wait until it answers."""
        self.server.prepare()
        command = tethered(self.server.program, user=self.server.user, lock=self.server.lock, death=self.server.death)
        self.process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, start_new_session=True
        )
        if not wait_until(lambda: not self.pid or self.server.is_ready(), READY_TIMEOUT_S) or not self.pid:
            raise ServerError(f"{self.kind} did not start (exit code {self.process.poll()})")

    def end(self, number: int) -> None:
        """End it by this signal; returns when it is gone."""
        if self.process is not None:
            self.process.send_signal(number)
            self.process.wait(READY_TIMEOUT_S)


@dataclass(frozen=True)
class Servers:
    """What an installation stands on."""

    postgres: OwnServer
    redis: OwnServer

    @property
    def urls(self) -> dict[str, str]:
        return {"DATABASE_URL": self.postgres.server.url, "REDIS_URL": self.redis.server.url}


@contextmanager
def own_servers() -> Iterator[Servers]:
    """Both, in a private folder that goes away again. They sync to disk as an installation's would."""
    folder = Path(tempfile.mkdtemp(prefix="flotilla-"))
    user = UNPRIVILEGED if os.geteuid() == 0 else None
    if user:
        folder.chmod(0o711)  # the database's user passes through it to its own folders
    valkey = Valkey(folder / "redis", folder / "sockets" / "valkey", secrets.token_urlsafe(24))
    postgres = Postgres(folder / "postgres" / "data", folder / "pg", (), user)
    servers = Servers(OwnServer("postgres", postgres), OwnServer("redis", valkey))
    try:
        servers.postgres.start()
        servers.redis.start()
        yield servers
    finally:
        servers.redis.end(signal.SIGTERM)
        servers.postgres.end(signal.SIGINT)
        shutil.rmtree(folder, ignore_errors=True)
