"""Session files restored from a copy, and servers that forgot their sessions: how both sides find together again."""

from __future__ import annotations

import sqlite3
from pathlib import Path

from tests.whatsapp_loopback.clients import Client, Clients
from tests.whatsapp_loopback.control import Control

BUDI = "6281322222222"
WATI = "6281333333333"


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


def restored(processes: Clients, client: Client, *, drop_signal_sessions: bool) -> Client:
    """The copy was made before the last message, as it is when a machine dies."""
    copy = client.path.with_name("restored.session")
    copy_session(client.path, copy, drop_signal_sessions=drop_signal_sessions)
    client.send(BUDI, "after the copy was taken")
    other = processes.client(copy).connect()
    other.expect("connected")
    client.expect("replaced")
    return other


def test_a_restored_session_makes_new_keys_that_the_recipient_accepts(
    loopback: Control, processes: Clients, client: Client, phone: str
) -> None:
    talk(loopback, client, phone)
    copy = restored(processes, client, drop_signal_sessions=True)

    message = copy.send(BUDI, "from the new machine")

    seen = loopback.messages()[-1]
    assert (seen["id"], seen["text"]) == (message, "from the new machine")
    assert "undecryptable" not in seen
    (answer,) = loopback.text(phone=phone, sender=BUDI, text="welcome")
    assert copy.expect("message", id=answer)["text"] == "welcome"
    copy.ask("stop")


def test_a_person_who_writes_first_in_the_old_session_is_asked_to_write_again(
    loopback: Control, processes: Clients, client: Client, phone: str
) -> None:
    talk(loopback, client, phone)
    copy = restored(processes, client, drop_signal_sessions=True)

    (message,) = loopback.text(phone=phone, sender=BUDI, text="are you there?")

    copy.expect("undecryptable", id=message)
    assert copy.expect("message", id=message)["text"] == "are you there?"
    copy.ask("stop")


def test_keys_of_a_copy_that_kept_its_sessions_open_nothing_twice(
    loopback: Control, processes: Clients, client: Client, phone: str
) -> None:
    talk(loopback, client, phone)
    copy = restored(processes, client, drop_signal_sessions=False)

    message = copy.send(BUDI, "with keys that were used")
    copy.expect("receipt", ids=[message], kind="delivered")

    first, again = (seen for seen in loopback.messages() if seen["id"] == message and seen["recipient"] == BUDI)
    assert "undecryptable" in first
    assert again["text"] == "with keys that were used"
    assert again["retry"]
    copy.ask("stop")
