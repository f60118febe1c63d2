"""What a recipient reads of a message, what the sender hears, and what the ledger says."""

from __future__ import annotations

import hashlib
import secrets
from base64 import b64decode
from pathlib import Path

import pytest

from tests.whatsapp_loopback.clients import Client
from tests.whatsapp_loopback.control import Control
from tests.whatsapp_loopback.controls import PIXEL

BUDI = "6281311111111"
PICTURE = b64decode(PIXEL)


def test_a_recipient_reads_what_was_sent_and_its_secret(loopback: Control, client: Client, phone: str) -> None:
    secret = secrets.token_hex(32)

    message = client.send(BUDI, "Halo Budi", secret=secret)

    seen = loopback.messages()[-1]
    assert (seen["id"], seen["sender"], seen["recipient"]) == (message, phone, BUDI)
    assert (seen["kind"], seen["text"], seen["secret"]) == ("text", "Halo Budi", secret)


def test_every_message_a_recipient_read_is_in_the_ledger_once(
    loopback: Control, client: Client, phone: str, ledger: Path
) -> None:
    secret = secrets.token_hex(32)

    first = client.send(BUDI, "one", secret=secret)
    second = client.send(BUDI, "two")

    lines = [line.split()[1:] for line in ledger.read_text().splitlines() if phone in line]
    assert lines == [
        [phone, "1", secret, hashlib.sha256(b"one").hexdigest(), first],
        [phone, "1", "-", hashlib.sha256(b"two").hexdigest(), second],
    ]


def test_a_message_that_the_library_repeats_after_a_cut_is_read_once(
    loopback: Control, client: Client, phone: str, ledger: Path
) -> None:
    loopback.rules(rules=[{"recipient": BUDI, "drop": True, "times": 1}])

    message = client.send(BUDI, "once")

    first, second = (seen for seen in loopback.messages() if seen["id"] == message)
    assert first["text"] == "once"
    assert second["repeated"]
    assert len([line for line in ledger.read_text().splitlines() if phone in line]) == 1


def test_the_ledger_is_written_before_the_acknowledgement(
    loopback: Control, client: Client, phone: str, ledger: Path
) -> None:
    loopback.rules(rules=[{"recipient": BUDI, "drop": True, "then_refuse": 503}])

    with pytest.raises(RuntimeError, match="disconnected"):
        client.send(BUDI, "nobody will tell you")

    (line,) = [line for line in ledger.read_text().splitlines() if phone in line]
    assert hashlib.sha256(b"nobody will tell you").hexdigest() in line


def test_a_refused_message_reaches_nobody_and_is_not_in_the_ledger(
    loopback: Control, client: Client, phone: str, ledger: Path
) -> None:
    loopback.rules(rules=[{"recipient": "62813*", "ack_error": 463}])

    with pytest.raises(RuntimeError, match="server returned error 463"):
        client.send(BUDI, "no")

    assert phone not in ledger.read_text()
    assert loopback.messages()[-1]["refused"] == 463
    assert "text" not in loopback.messages()[-1]
    loopback.rules(rules=[])
    client.send(BUDI, "yes")
    assert loopback.messages()[-1]["text"] == "yes"


def test_receipts_come_as_the_rules_say(loopback: Control, client: Client) -> None:
    loopback.rules(rules=[{"recipient": BUDI, "delivered": 0, "read": 0.01}])

    message = client.send(BUDI, "read me")

    client.expect("receipt", ids=[message], kind="delivered")
    client.expect("receipt", ids=[message], kind="read")


def test_people_whom_no_rule_names_do_what_people_do(loopback: Control, client: Client) -> None:
    loopback.people(delivered=0, reply="terima kasih")

    client.send(BUDI, "thanks in advance")

    assert client.expect("message")["text"] == "terima kasih"


def test_a_number_that_is_not_on_whatsapp_is_not_found(loopback: Control, client: Client) -> None:
    loopback.rules(rules=[{"recipient": "628999", "exists": False}])

    assert client.ask("exists", phone=BUDI)
    assert not client.ask("exists", phone="628999")


def test_a_recipient_gets_the_picture_and_its_caption(
    loopback: Control, client: Client, phone: str, ledger: Path
) -> None:
    message = client.ask("send_image", to=BUDI, data=PICTURE.hex(), caption="our menu")

    seen = loopback.messages()[-1]
    assert (seen["id"], seen["kind"], seen["text"]) == (message, "image", "our menu")
    assert seen["image_sha256"] == hashlib.sha256(PICTURE).hexdigest()
    (line,) = [line for line in ledger.read_text().splitlines() if phone in line]
    assert hashlib.sha256(b"our menu").hexdigest() in line


def test_a_person_answers_a_message_by_quoting_it(loopback: Control, client: Client, phone: str) -> None:
    question = client.send(BUDI, "Do you want it?")

    (answer,) = loopback.text(phone=phone, sender=BUDI, text="yes please", quoted=question)

    told = client.expect("message", id=answer)
    assert (told["text"], told["quoted"], told["sender"]) == ("yes please", question, BUDI)


@pytest.mark.parametrize("kind", ["image", "video", "document", "audio"])
def test_a_person_sends_media_that_can_be_downloaded(loopback: Control, client: Client, phone: str, kind: str) -> None:
    caption = "" if kind == "audio" else "look"

    (message,) = loopback.media(phone=phone, sender=BUDI, kind=kind, caption=caption, data="aGVsbG8=")

    told = client.expect("message", id=message)
    assert (told["kind"], told["text"]) == (kind, caption)
    assert client.ask("download", message=message) == hashlib.sha256(b"hello").hexdigest()


def test_two_clients_read_each_other(loopback: Control, client: Client, second_client: tuple[Client, str]) -> None:
    other, number = second_client

    message = client.send(number, "from one client to another")

    assert other.expect("message", id=message)["text"] == "from one client to another"
