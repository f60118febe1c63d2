"""What we read and change in the library's session files, in a process of its own.

SQLite's locks belong to a process: closing any descriptor of a file there drops those of every other copy of SQLite in
it. So the process that has sessions open in the library never opens one of their files itself. Run as a program it
answers a line of JSON, `{"do": name, …}`, by another one.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import socket
import sqlite3
import subprocess
import sys
import tempfile
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Self
from urllib.parse import quote

IDLE_S = 30.0
BUSY_S = 5.0
_COMPANIONS = ("-wal", "-shm", "-journal")


class StoreError(Exception):
    """A session file could not be read; the text says why, without its content."""


class SessionStore:
    """The gateway's side. The process behind it is started when it is needed and ended after IDLE_S without work."""

    def __init__(self) -> None:
        self._reader: _Reader | None = None
        self._starting = asyncio.Lock()

    async def identity(self, path: Path, *, fresh_keys: bool = False) -> dict[str, str] | None:
        """`jid` and `lid` of the linked device in the file, None when there is none.

        With `fresh_keys` its Signal sessions are dropped. Every method raises StoreError.
        """
        answer: dict[str, str] | None = await self._ask("identity", path, fresh_keys=fresh_keys)
        return answer

    async def ids(self, path: Path, tags: list[bytes]) -> dict[str, str | None]:
        """Each tag in hex and the id of the message that left, or was about to leave, with it."""
        answer: dict[str, str | None] = await self._ask("ids", path, tags=[tag.hex() for tag in tags])
        return answer

    async def snapshot(self, path: Path) -> str:
        """The path of a copy in one file, 0600."""
        return str(await self._ask("snapshot", path))

    async def number_of(self, path: Path, lid: str) -> str:
        """The number behind a hidden id, digits alone; empty when it is not known."""
        return str(await self._ask("number_of", path, lid=lid))

    async def _ask(self, do: str, path: Path, **request: Any) -> Any:
        async with self._starting:
            if self._reader is None or self._reader.over:
                self._reader = await _Reader.start()
            answer = self._reader.ask({"do": do, "path": str(path), **request})
        return await answer


class _Reader:
    """One process, which answers in the order it is asked."""

    def __init__(
        self, process: subprocess.Popen[bytes], reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self.over = False
        self._process = process
        self._writer = writer
        self._answers: deque[asyncio.Future[Any]] = deque()
        self._loop = asyncio.get_running_loop()
        self._idle = self._loop.call_later(IDLE_S, self._rest)
        self._hearing = self._loop.create_task(self._hear(reader))

    @classmethod
    async def start(cls) -> Self:
        ours, theirs = socket.socketpair()
        program = [sys.executable, "-m", "devices.gateway.session_store", "--fd", str(theirs.fileno())]
        with theirs:
            try:
                process = subprocess.Popen(program, pass_fds=[theirs.fileno()], stdin=subprocess.DEVNULL)
            except OSError as error:
                ours.close()
                raise StoreError(f"its reader cannot be started: {error.strerror}") from error
        ours.setblocking(False)
        return cls(process, *await asyncio.open_unix_connection(sock=ours, limit=2**24))

    def ask(self, request: dict[str, Any]) -> asyncio.Future[Any]:
        answer: asyncio.Future[Any] = self._loop.create_future()
        self._answers.append(answer)
        self._writer.write(json.dumps(request).encode() + b"\n")
        return answer

    async def _hear(self, reader: asyncio.StreamReader) -> None:
        with contextlib.suppress(ConnectionError):  # it died: the same as the end
            while line := await reader.readline():
                self._answered(json.loads(line))
        self.over = True
        self._idle.cancel()
        self._writer.close()
        for answer in self._answers:
            if not answer.done():
                answer.set_exception(StoreError("its reader ended"))
        await asyncio.to_thread(self._process.wait)

    def _answered(self, said: dict[str, Any]) -> None:
        answer = self._answers.popleft()
        if not answer.done():
            if "error" in said:
                answer.set_exception(StoreError(said["error"]))
            else:
                answer.set_result(said["value"])
        self._idle.cancel()
        self._idle = self._loop.call_later(IDLE_S, self._rest)

    def _rest(self) -> None:
        """Let the process end, which it does once it reads the end."""
        if not self._answers:
            self.over = True
            self._writer.close()


def delete(path: Path) -> None:
    """Remove a session file and what SQLite keeps beside it."""
    for name in (str(path), *(f"{path}{companion}" for companion in _COMPANIONS)):
        Path(name).unlink(missing_ok=True)


# ------------------------------------------------------------------------------------------- the process's side


def identity(path: str, fresh_keys: bool) -> dict[str, str] | None:
    with _opened(path) as session:
        if session is None:
            return None
        device = session.execute("SELECT jid, lid FROM whatsmeow_device").fetchone()
        if device is not None and fresh_keys:
            with session:
                session.execute("DELETE FROM whatsmeow_sessions")
                session.execute("DELETE FROM whatsmeow_sender_keys")
        return {"jid": device[0], "lid": device[1] or ""} if device else None


def ids(path: str, tags: list[str]) -> dict[str, str | None]:
    with _opened(path) as session:
        if session is None:
            return {}
        named = "SELECT message_id FROM whatsmeow_message_secrets WHERE key = ?"
        rows = {tag: session.execute(named, (bytes.fromhex(tag),)).fetchone() for tag in tags}
        return {tag: row[0] if row else None for tag, row in rows.items()}


def snapshot(path: str) -> str:
    with _opened(path) as session:
        if session is None:
            raise StoreError("there is no session in it")
        descriptor, name = tempfile.mkstemp(prefix=f"{Path(path).name}.", suffix=".snapshot", dir=Path(path).parent)
        os.close(descriptor)
        with contextlib.closing(sqlite3.connect(name, isolation_level=None)) as copy:
            session.backup(copy)
            copy.execute("PRAGMA journal_mode=DELETE")  # else the copy would be three files as soon as it is read
        return name


def number_of(path: str, lid: str) -> str:
    with _opened(path) as session:
        row = session and session.execute("SELECT pn FROM whatsmeow_lid_map WHERE lid = ?", (lid,)).fetchone()
        return str(row[0]) if row else ""


@contextlib.contextmanager
def _opened(path: str) -> Iterator[sqlite3.Connection | None]:
    """A connection to the session file, None when there is no session in it: no file, no tables, not a database."""
    if not Path(path).exists():
        yield None
        return
    with contextlib.closing(sqlite3.connect(f"file:{quote(path)}?mode=rw", uri=True, timeout=BUSY_S)) as session:
        try:
            known = session.execute("SELECT 1 FROM sqlite_master WHERE name = 'whatsmeow_device'").fetchone()
        except sqlite3.OperationalError:
            raise
        except sqlite3.DatabaseError:  # not a database at all
            known = None
        yield session if known else None


_REQUESTS = {"identity": identity, "ids": ids, "snapshot": snapshot, "number_of": number_of}


def _answer(line: bytes) -> dict[str, Any]:
    request = json.loads(line)
    try:
        return {"value": _REQUESTS[request.pop("do")](**request)}  # type: ignore[operator]
    except (sqlite3.Error, OSError, StoreError) as error:
        return {"error": str(error)}


def main() -> None:
    from devices.gateway import process

    parser = argparse.ArgumentParser(prog="session_store", description=__doc__)
    parser.add_argument("--fd", type=int, required=True, help="descriptor of the socket to the gateway")
    with socket.socket(fileno=parser.parse_args().fd) as gateway:
        process.die_with_parent(gateway)
        os.umask(0o077)
        with gateway.makefile("rb") as lines:
            for line in lines:
                gateway.sendall(json.dumps(_answer(line)).encode() + b"\n")


if __name__ == "__main__":
    main()
