"""A simulated device's session on disk: who it is, and the tags it put on the wire. One writer at a time."""

from __future__ import annotations

import hashlib
import os
import secrets
import tempfile
from pathlib import Path
from typing import Self

import msgspec

from devices.gateway import session_lock

TAGS_KEPT = 512
_TAG_LINE = 65  # 32 bytes in hex and a newline
_HEAD_SIZE = 256


class Missing(Exception):
    """There is no session in this file."""


class Head(msgspec.Struct):
    """First line of the file. `keys` stands for the Signal sessions that a take-over without a clean copy drops."""

    phone: str
    session: str
    keys: str


def message_id(tag: bytes) -> str:
    """The id WhatsApp knows this attempt's message by; found again from the tag alone."""
    return "3EB0" + hashlib.blake2b(tag, digest_size=9).hexdigest().upper()


class SessionFile:
    """An open session: locked with flock until `close`, its process's death included.

    First line: JSON, padded to a fixed size. Then a line a tag, the latest TAGS_KEPT at most, each written
    before its message leaves, so that a crash leaves the id to match receipts with.
    """

    def __init__(self, path: Path, descriptor: int, head: Head | None) -> None:
        self.path = path
        self.head = head
        self._descriptor = descriptor
        self._end = max(os.fstat(descriptor).st_size, _HEAD_SIZE)

    @classmethod
    def open(cls, path: str | Path, phone: str = "", fresh_keys: bool = False) -> Self:
        """Lock and read the session at `path`; with `phone`, make one where there is none.

        Raises InUse, Missing (no file, nothing or garbage in it) or OSError.
        """
        path = Path(path)
        if not phone and not path.exists():
            raise Missing
        session = cls.claim(path)
        try:
            if session.head is None and phone:
                session.write(Head(phone, secrets.token_hex(16), secrets.token_hex(16)))
            if session.head is None:
                raise Missing
            if fresh_keys:
                session.write(Head(session.head.phone, session.head.session, secrets.token_hex(16)))
        except BaseException:
            session.close()
            raise
        return session

    @classmethod
    def claim(cls, path: str | Path) -> Self:
        """Lock the file at `path` whatever is in it, an empty new one when it is missing. Raises InUse, OSError."""
        path = Path(path)
        descriptor = session_lock.claim(path)
        return cls(path, descriptor, _read_head(descriptor))

    def write(self, head: Head) -> None:
        line = msgspec.json.encode(head).ljust(_HEAD_SIZE - 1) + b"\n"
        os.pwrite(self._descriptor, line, 0)
        self.head = head

    def remember(self, tag: bytes) -> None:
        """Note that a message with this tag is about to leave."""
        if self._end >= _HEAD_SIZE + TAGS_KEPT * _TAG_LINE:
            self._forget_older_half()
        os.pwrite(self._descriptor, tag.hex().ljust(_TAG_LINE - 1).encode() + b"\n", self._end)
        self._end += _TAG_LINE

    def ids(self, tags: list[bytes]) -> dict[str, str | None]:
        """Each tag in hex, and its message's id or None when the file does not name it."""
        known = set(os.pread(self._descriptor, self._end, _HEAD_SIZE).decode("ascii", "replace").split())
        return {tag.hex(): message_id(tag) if tag.hex() in known else None for tag in tags}

    def snapshot(self) -> Path:
        """Copy the session to a file of its own beside it, 0600."""
        descriptor, name = tempfile.mkstemp(prefix=f"{self.path.name}.", suffix=".snapshot", dir=self.path.parent)
        with os.fdopen(descriptor, "wb") as copy:
            copy.write(os.pread(self._descriptor, self._end, 0))
        return Path(name)

    def delete(self) -> None:
        """Remove the file, then let go of the lock."""
        self.path.unlink(missing_ok=True)
        self.close()

    def close(self) -> None:
        """Let go; an empty file, left by a pairing that came to nothing, goes too."""
        if self._descriptor >= 0:
            if os.fstat(self._descriptor).st_size == 0:
                self.path.unlink(missing_ok=True)
            os.close(self._descriptor)
            self._descriptor = -1

    def _forget_older_half(self) -> None:
        keep = TAGS_KEPT // 2 * _TAG_LINE
        newer = os.pread(self._descriptor, keep, self._end - keep)
        os.pwrite(self._descriptor, newer, _HEAD_SIZE)
        self._end = _HEAD_SIZE + len(newer)
        os.ftruncate(self._descriptor, self._end)


def _read_head(descriptor: int) -> Head | None:
    try:
        return msgspec.json.decode(os.pread(descriptor, _HEAD_SIZE, 0), type=Head)
    except msgspec.MsgspecError:
        return None
