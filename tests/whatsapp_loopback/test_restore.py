"""Session files restored from a copy, and servers that forgot their sessions: how both sides find together again."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.whatsapp_loopback.clients import Client, Clients
from tests.whatsapp_loopback.conftest import link
from tests.whatsapp_loopback.control import Control
from tests.whatsapp_loopback.patch import Prepared
from tests.whatsapp_loopback.server import LoopbackServer

BUDI = "6281322222222"
WATI = "6281333333333"
PHONE = "6281355555555"


def copy_session(source: Path, target: Path, *, drop_signal_sessions: bool) -> None:
    with sqlite3.connect(source) as original, sqlite3.connect(target) as copy:
        original.backup(copy)
        if drop_signal_sessions:
            copy.execute("DELETE FROM whatsmeow_sessions")
    original.close()
    copy.close()


def talk(loopback: Control, client: Client, phone: str) -> None:
    """Both ways, until each side writes in a session that both have confirmed."""
    client.send(BUDI, "first")
    (answer,) = loopback.text(phone=phone, sender=BUDI, text="hello back")
    client.expect("message", id=answer)
    client.send(BUDI, "second")


Restore = Callable[..., Client]


@pytest.fixture
def restore(loopback: Control, processes: Clients, client: Client, phone: str) -> Iterator[Restore]:
    """Another machine takes over with a copy made before the last message, as it is when the first one dies."""
    copies = []

    def restored(*, drop_signal_sessions: bool) -> Client:
        talk(loopback, client, phone)
        copy = processes.client(client.path.with_name("restored.session"))
        copy_session(client.path, copy.path, drop_signal_sessions=drop_signal_sessions)
        client.send(BUDI, "after the copy was taken")
        copies.append(copy.connect())
        copy.expect("connected")
        client.expect("replaced")
        return copy

    yield restored
    for copy in copies:
        copy.ask("stop")


def test_a_restored_session_makes_new_keys_that_the_recipient_accepts(
    loopback: Control, restore: Restore, phone: str
) -> None:
    copy = restore(drop_signal_sessions=True)

    message = copy.send(BUDI, "from the new machine")

    seen = loopback.messages()[-1]
    assert (seen["id"], seen["text"]) == (message, "from the new machine")
    assert "undecryptable" not in seen
    (answer,) = loopback.text(phone=phone, sender=BUDI, text="welcome")
    assert copy.expect("message", id=answer)["text"] == "welcome"


def test_a_person_who_writes_first_in_the_old_session_is_asked_to_write_again(
    loopback: Control, restore: Restore, phone: str
) -> None:
    copy = restore(drop_signal_sessions=True)

    (message,) = loopback.text(phone=phone, sender=BUDI, text="are you there?")

    copy.expect("undecryptable", id=message)
    assert copy.expect("message", id=message)["text"] == "are you there?"


def test_keys_of_a_copy_that_kept_its_sessions_open_nothing_twice(loopback: Control, restore: Restore) -> None:
    copy = restore(drop_signal_sessions=False)

    message = copy.send(BUDI, "with keys that were used")
    copy.expect("receipt", ids=[message], kind="delivered")

    first, again = (seen for seen in loopback.messages() if seen["id"] == message and seen["recipient"] == BUDI)
    assert "undecryptable" in first
    assert again["text"] == "with keys that were used"
    assert again["retry"]


def test_a_client_is_asked_by_another_client_to_write_again(
    processes: Clients, client: Client, second_client: tuple[Client, str]
) -> None:
    other, number = second_client
    other.expect("message", id=client.send(number, "one"))
    copy = processes.client(other.path.with_name("restored.session"))
    copy_session(other.path, copy.path, drop_signal_sessions=True)
    copy.connect()
    other.expect("replaced")
    copy.expect("connected")

    message = client.send(number, "two")

    copy.expect("undecryptable", id=message)
    assert copy.expect("message", id=message)["text"] == "two"
    copy.ask("stop")


def test_a_server_that_forgot_everything_gets_what_it_needs_from_its_clients(
    prepared: Prepared, tmp_path: Path
) -> None:
    ledger = tmp_path / "ledger.log"
    first = LoopbackServer(prepared, ledger=ledger).start_in_thread()
    clients = Clients(prepared.env(first.port))
    client = link(Control(first.port), clients.client(tmp_path / "1.session"), PHONE)
    talk(Control(first.port), client, PHONE)
    first.stop_thread()
    client.expect("disconnected")

    second = LoopbackServer(prepared, port=first.port, ledger=ledger).start_in_thread()
    client.expect("connected")
    message = client.send(BUDI, "does anybody know me?")
    client.expect("receipt", ids=[message], kind="delivered")
    (answer,) = second.call("text", phone=PHONE, sender=WATI, text="I do not, but hello")

    assert client.expect("message", id=answer)["text"] == "I do not, but hello"
    assert ledger.read_text().split()[-1] == message
    clients.close()
    second.stop_thread()
