"""How the real library is linked, and what it sees when that fails."""

from __future__ import annotations

import pytest

from tests.whatsapp_loopback.clients import Client, Clients
from tests.whatsapp_loopback.conftest import LinkOne
from tests.whatsapp_loopback.control import Control


@pytest.fixture
def scanning(loopback: Control, new_client: LinkOne) -> tuple[Client, str]:
    """A client that is not linked, and the code it shows. Never stopped: the library cannot do that."""
    client = new_client().connect()
    return client, client.expect("qr")["code"]


def test_a_scanned_code_links_a_device_that_then_logs_in(loopback: Control, new_client: LinkOne, phone: str) -> None:
    client = new_client().connect()

    linked = loopback.scan(qr=client.expect("qr")["code"], phone=phone)

    assert linked["jid"] == f"{phone}:1@s.whatsapp.net"
    assert client.expect("paired") == {"client": str(client.path), "event": "paired", "phone": phone, "error": ""}
    client.expect("connected")
    assert linked["jid"] in loopback.state()["online"]
    client.ask("stop")


def test_a_typed_code_links_too(loopback: Control, scanning: tuple[Client, str], phone: str) -> None:
    client, _ = scanning

    loopback.enter_code(phone=phone, code=client.ask("request_code", phone=phone))

    assert client.expect("paired")["phone"] == phone
    client.expect("connected")
    client.ask("stop")


def test_another_code_than_the_one_shown_links_nothing(
    loopback: Control, scanning: tuple[Client, str], phone: str
) -> None:
    client, _ = scanning
    shown = client.ask("request_code", phone=phone)

    loopback.enter_code(phone=phone, code="ZZZZ-ZZZZ" if shown != "ZZZZ-ZZZZ" else "AAAA-AAAA")

    assert all(phone not in device for device in loopback.state()["devices"])


def test_a_code_is_scanned_once(loopback: Control, scanning: tuple[Client, str], phone: str) -> None:
    client, code = scanning
    loopback.scan(qr=code, phone=phone)
    client.expect("connected")

    with pytest.raises(RuntimeError, match="no such QR code"):
        loopback.scan(qr=code, phone=phone)
    client.ask("stop")


@pytest.mark.parametrize(("spoil", "said"), [("signature", "signature"), ("hmac", "identity HMAC")])
def test_a_word_that_does_not_verify_is_told_as_an_error(
    loopback: Control, scanning: tuple[Client, str], processes: Clients, phone: str, spoil: str, said: str
) -> None:
    client, code = scanning

    loopback.scan(qr=code, phone=phone, spoil=spoil)

    client.expect("link", how="error")
    processes.expect_printed(f"invalid device {said} in pair success message")
    assert all(phone not in device for device in loopback.state()["devices"])


@pytest.mark.parametrize("limit", [False, True])
def test_a_phone_that_does_not_go_on_leaves_the_client_waiting(
    loopback: Control, scanning: tuple[Client, str], new_client: LinkOne, phone: str, limit: bool
) -> None:
    client, code = scanning
    if limit:
        loopback.link_limit(phone=phone, devices=0)
        with pytest.raises(RuntimeError, match="0 linked devices"):
            loopback.scan(qr=code, phone=phone)
    else:
        loopback.scan(qr=code, phone=phone, stall=True)

    # whatever the first had been sent would have come before all that a second one is sent now
    other = new_client().connect()
    loopback.link_limit(phone=phone)
    loopback.scan(qr=other.expect("qr")["code"], phone=phone)
    other.expect("connected")
    assert client.waiting() == []
    other.ask("stop")


def test_a_client_that_runs_out_of_codes_gives_up(loopback: Control, new_client: LinkOne) -> None:
    loopback.qr_codes(count=0)

    client = new_client().connect()

    client.expect("link", how="timeout")
