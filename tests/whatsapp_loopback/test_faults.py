"""What the network does to connections, as the real library sees it."""

from __future__ import annotations

import pytest

from tests.whatsapp_loopback.clients import Client
from tests.whatsapp_loopback.conftest import LinkOne
from tests.whatsapp_loopback.control import Control

BUDI = "6281344444444"


def test_a_cut_connection_comes_back(loopback: Control, client: Client, phone: str) -> None:
    assert loopback.drop(phone=phone) == 1

    client.expect("disconnected")
    client.expect("connected")
    client.send(BUDI, "still here")


def test_what_people_write_to_a_device_that_is_offline_waits_for_it(
    loopback: Control, client: Client, phone: str
) -> None:
    loopback.refuse(status=503)
    loopback.drop(phone=phone)

    (message,) = loopback.text(phone=phone, sender=BUDI, text="call me")

    loopback.refuse()
    assert client.expect("message", id=message)["text"] == "call me"


def test_a_removed_device_is_logged_out(loopback: Control, client: Client, phone: str) -> None:
    loopback.logout(phone=phone)

    client.expect("logged out")
    assert all(phone not in device for device in loopback.state()["devices"])


def test_a_device_that_logs_out_is_gone(loopback: Control, client: Client, phone: str) -> None:
    client.ask("logout")

    assert all(phone not in device for device in loopback.state()["devices"])


def test_a_replaced_connection_stays_away(loopback: Control, client: Client, phone: str) -> None:
    loopback.stream_error(phone=phone, conflict="replaced")

    client.expect("replaced")


@pytest.mark.parametrize("action", ["_hub", "no_such_thing"])
def test_an_action_that_is_none_is_told(loopback: Control, action: str) -> None:
    with pytest.raises(RuntimeError, match="no such action"):
        loopback._post(action, {})


def test_a_rule_with_a_field_that_none_has_is_told(loopback: Control) -> None:
    with pytest.raises(RuntimeError, match="no rule has colour"):
        loopback.rules(rules=[{"colour": "green"}])


def test_a_refused_websocket_ends_the_first_connect(loopback: Control, new_client: LinkOne) -> None:
    loopback.refuse(status=429)

    client = new_client().connect()

    assert "429" in client.expect("ended")["why"]
