"""Session files of the library, looked into by a process that the sessions are not open in."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from devices.gateway import session_store
from devices.gateway.session_store import SessionStore, StoreError
from tests.devices.gateway.world import wait_until

TAG = bytes(range(32))
TABLES = """
CREATE TABLE whatsmeow_device (jid TEXT PRIMARY KEY, lid TEXT);
CREATE TABLE whatsmeow_sessions (our_jid TEXT, session BLOB);
CREATE TABLE whatsmeow_sender_keys (our_jid TEXT, sender_key BLOB);
CREATE TABLE whatsmeow_message_secrets (message_id TEXT, key BLOB);
CREATE TABLE whatsmeow_lid_map (lid TEXT, pn TEXT);
INSERT INTO whatsmeow_sessions VALUES ('us', x'00');
INSERT INTO whatsmeow_sender_keys VALUES ('us', x'00');
INSERT INTO whatsmeow_lid_map VALUES ('771', '60123456789');
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A session in WAL mode, with a name that SQLite would take for part of an address."""
    path = tmp_path / "odd%20name?#.session"
    with closing(sqlite3.connect(path)) as session, session:
        session.execute("PRAGMA journal_mode=WAL")
        session.executescript(TABLES)
        session.execute("INSERT INTO whatsmeow_device VALUES ('60123456789:3@s.whatsapp.net', '771:3@lid')")
        session.execute("INSERT INTO whatsmeow_message_secrets VALUES ('3EB0', ?)", (TAG,))
    return path


def rows(path: str | Path, table: str) -> int:
    with closing(sqlite3.connect(path)) as session:
        return int(session.execute(f"SELECT count(*) FROM {table}").fetchone()[0])


async def test_a_session_says_who_it_is_and_keeps_its_keys_unless_fresh_ones_are_wanted(path: Path) -> None:
    store = SessionStore()
    who = {"jid": "60123456789:3@s.whatsapp.net", "lid": "771:3@lid"}
    assert await store.identity(path) == who
    assert (rows(path, "whatsmeow_sessions"), rows(path, "whatsmeow_sender_keys")) == (1, 1)
    assert await store.identity(path, fresh_keys=True) == who
    assert (rows(path, "whatsmeow_sessions"), rows(path, "whatsmeow_sender_keys")) == (0, 0)
    assert await store.ids(path, [TAG]) == {TAG.hex(): "3EB0"}


@pytest.mark.parametrize("content", [None, b"", b"no database at all, but long enough to be looked at" * 40])
async def test_a_file_without_a_session_in_it_names_nobody(tmp_path: Path, content: bytes | None) -> None:
    file = tmp_path / "s"
    if content is not None:
        file.write_bytes(content)
    store = SessionStore()
    assert await store.identity(file) is None
    assert await store.ids(file, [TAG]) == {}
    assert await store.number_of(file, "771") == ""
    with pytest.raises(StoreError, match="no session"):
        await store.snapshot(file)
    assert file.exists() == (content is not None)


async def test_a_device_that_was_unlinked_names_nobody(path: Path) -> None:
    with closing(sqlite3.connect(path)) as session, session:
        session.execute("DELETE FROM whatsmeow_device")
    assert await SessionStore().identity(path) is None


async def test_hidden_ids_and_tags_are_found_or_not(path: Path) -> None:
    store = SessionStore()
    assert await store.number_of(path, "771") == "60123456789"
    assert await store.number_of(path, "772") == ""
    other = bytes(32)
    assert await store.ids(path, [TAG, other]) == {TAG.hex(): "3EB0", other.hex(): None}


async def test_a_snapshot_is_one_file_for_its_owner_with_what_was_written_last(path: Path) -> None:
    with closing(sqlite3.connect(path)) as session:
        with session:  # lies in the write-ahead log alone
            session.execute("INSERT INTO whatsmeow_message_secrets VALUES ('3EB1', ?)", (bytes(32),))
        copy = Path(await SessionStore().snapshot(path))
    assert copy.parent == path.parent
    assert copy.stat().st_mode & 0o777 == 0o600
    assert rows(copy, "whatsmeow_message_secrets") == 2
    assert not list(path.parent.glob(f"{copy.name}-*"))


async def test_a_locked_file_is_an_error_and_not_a_missing_session(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with closing(sqlite3.connect(path)) as session:
        session.execute("PRAGMA locking_mode=EXCLUSIVE")
        session.execute("BEGIN IMMEDIATE")
        session.execute("DELETE FROM whatsmeow_sessions")
        with pytest.raises(StoreError, match="locked"):
            await SessionStore().identity(path)


async def test_the_process_is_started_again_after_its_death_and_its_rest(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session_store, "IDLE_S", 0.1)
    store = SessionStore()
    await store.identity(path)
    reader = store._reader
    assert reader is not None
    rested = reader._process.pid
    await asyncio.to_thread(wait_until, lambda: reader.over and not Path(f"/proc/{rested}").exists(), "it rests")
    assert await store.identity(path)
    assert store._reader is not None
    killed = store._reader._process.pid
    os.kill(killed, signal.SIGKILL)
    with contextlib.suppress(StoreError):  # it may be asked once more before its end is seen
        await store.identity(path)
    assert await store.identity(path)
    assert store._reader._process.pid not in (rested, killed)


def test_a_deleted_session_leaves_nothing_beside_it(tmp_path: Path) -> None:
    for name in ("s", "s-wal", "s-shm", "s-journal", "other", "s.lock"):
        (tmp_path / name).touch()
    session_store.delete(tmp_path / "s")
    assert sorted(file.name for file in tmp_path.iterdir()) == ["other", "s.lock"]
