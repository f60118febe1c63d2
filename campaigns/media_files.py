"""The files of messages on this host's disk, where its gateways read them: fetched from Postgres when first needed.

A file is named by its content, so that one of two workspaces is kept once, and a restart finds what it had.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import os
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

from campaigns.media_store import pieces
from campaigns.models import Media
from devices.gateway import contract
from devices.hosting.threads import DatabaseThread

logger = logging.getLogger(__name__)

IN_USE_S = 120.0  # a gateway may still read what was handed to it so long ago
KNOWN_MOST = 10_000
FRESH_S = 30.0  # after that a file's row is looked at again, for it may have another name


class FileGone(Exception):
    """Postgres has no such file any more, or not the whole of it."""


class Found(NamedTuple):
    """A file as it is on the disk, and how a gateway is told of it."""

    sha256: str
    size: int
    word: contract.Media
    at: float  # when its row was looked at


class MediaFiles:
    """Keeps up to ``most_bytes`` in ``folder``, the longest unused going first; what is in use stays at any rate."""

    def __init__(self, folder: Path, most_bytes: int) -> None:
        self.folder = folder
        self.most_bytes = most_bytes
        self.bytes = 0
        self._kept: dict[str, tuple[float, int]] = {}  # sha256 → (last used, size), the longest unused first
        self._known: dict[int, Found] = {}  # by the id of the row
        self._fetches: dict[int, asyncio.Task[None]] = {}
        self._database = DatabaseThread("media")
        self._looked = False

    def at_hand(self, media: int) -> contract.Media | None:
        """What to tell a gateway, where the file is on this host already; it counts as used now."""
        found = self._known.get(media)
        if found is None or not os.path.exists(found.word.path):  # made room for others, or somebody cleaned up
            return None
        self._use(found.sha256, found.size)
        if found.at < time.monotonic() - FRESH_S:  # nothing waits for the answer: the next message has it
            self._begin_fetch(media)
        return found.word

    async def bring(self, media: int) -> None:
        """Have the file on this host; whoever asks meanwhile waits for the same fetch, and giving up does not end it.

        Raises `FileGone`, the database's errors, and OSError when the disk does not take it.
        """
        await asyncio.shield(self._begin_fetch(media))

    def _begin_fetch(self, media: int) -> asyncio.Task[None]:
        fetch = self._fetches.get(media)
        if fetch is None:
            fetch = self._fetches[media] = asyncio.get_running_loop().create_task(self._fetch(media))
            fetch.add_done_callback(lambda done: self._fetched(media, done))
        return fetch

    def _fetched(self, media: int, fetch: asyncio.Task[None]) -> None:
        self._fetches.pop(media, None)
        if not fetch.cancelled():
            fetch.exception()  # told to those who wait; when all gave up, nobody has to hear of it

    async def _fetch(self, media: int) -> None:
        if not self._looked:
            self._looked = True
            for name, size in await self._database.run(take_stock, self.folder):
                self._kept[name] = (float("-inf"), size)
                self.bytes += size
        found = await self._database.run(fetch_file, media, self.folder)
        if len(self._known) >= KNOWN_MOST:
            self._known.clear()
        self._known[media] = found
        self._use(found.sha256, found.size)
        self._make_room()

    def _use(self, sha256: str, size: int) -> None:
        if self._kept.pop(sha256, None) is None:
            self.bytes += size
        self._kept[sha256] = (time.monotonic(), size)

    def _make_room(self) -> None:
        while self.bytes > self.most_bytes:
            sha256, (used, size) = next(iter(self._kept.items()))
            if used > time.monotonic() - IN_USE_S:
                return
            (self.folder / sha256).unlink(missing_ok=True)
            del self._kept[sha256]
            self.bytes -= size

    def close(self) -> None:
        for fetch in list(self._fetches.values()):
            fetch.cancel()
        self._database.close()


def take_stock(folder: Path) -> list[tuple[str, int]]:
    """Names and sizes of what an engine before this one left here, the oldest first; what is half written goes."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    folder.chmod(0o700)
    whole = []
    for file in folder.iterdir():
        if len(file.name) == hashlib.sha256().digest_size * 2:
            whole.append((file.stat(), file.name))
        else:
            file.unlink()
    return [(name, stat.st_size) for stat, name in sorted(whole, key=lambda one: one[0].st_mtime)]


def fetch_file(media: int, folder: Path) -> Found:
    """Write the file into the folder unless it is there, whole or not at all. Raises `FileGone`."""
    columns = ("kind", "mime", "name", "sha256", "size")
    row = Media.objects.filter(pk=media).values_list(*columns).first()
    if row is None:
        raise FileGone
    kind, mime, name, sha256, size = row
    path = folder / sha256
    found = Found(sha256, size, contract.Media(kind, str(path), mime, name), time.monotonic())
    if path.exists() and path.stat().st_size == size:
        return found
    digest = hashlib.sha256()
    descriptor, unfinished = tempfile.mkstemp(dir=folder)  # for its owner alone
    try:
        with os.fdopen(descriptor, "wb") as file:
            for piece in pieces(media):
                digest.update(piece)
                file.write(piece)
            file.flush()
            os.fsync(file.fileno())
        if digest.hexdigest() != sha256:  # the row went away between two pieces
            raise FileGone
        os.replace(unfinished, path)
    except BaseException:
        Path(unfinished).unlink(missing_ok=True)
        raise
    return found
