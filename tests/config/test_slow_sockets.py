"""What a websocket does for an end that does not read: it owes little, not for long, and answers none of its pings."""

from __future__ import annotations

import daphne.server  # noqa: F401 - chooses the reactor, before anything else of Twisted is read
import pytest
from autobahn.twisted.websocket import WebSocketServerFactory
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport

from config import slow_sockets
from config.slow_sockets import MOST_OWED, ReadSocket

HANDSHAKE = (
    b"GET / HTTP/1.1\r\nHost: here\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)
PING = b"\x89\x84\0\0\0\0ping"
PONG = b"\x8a\x04ping"


class Alone(ReadSocket):
    """Without Daphne's server behind it."""

    client_addr = None

    def onConnect(self, request: object) -> None:
        pass

    def onOpen(self) -> None:
        pass

    def connectionLost(self, reason: object) -> None:
        pass


class Full(StringTransport):
    """Its buffer is full from `fill` on, until `drain`; as Twisted's own it then tells its producer."""

    was_aborted = False

    def fill(self) -> None:
        self.producer.pauseProducing()

    def drain(self) -> None:
        self.producer.resumeProducing()

    def abortConnection(self) -> None:
        self.was_aborted = True


@pytest.fixture
def transport() -> Full:
    transport = Full()
    transport.registerProducer(object(), True)  # the HTTP channel's
    return transport


@pytest.fixture
def socket(transport: Full) -> Alone:
    factory = WebSocketServerFactory(reactor=Clock())
    factory.protocol = Alone
    socket: Alone = factory.buildProtocol(None)
    socket.makeConnection(transport)
    socket.dataReceived(HANDSHAKE)
    assert b"101 Switching" in transport.value()
    transport.clear()
    return socket


def test_pings_are_answered_while_the_other_end_reads_and_not_while_it_does_not(socket: Alone, transport: Full) -> None:
    socket.dataReceived(PING)
    assert transport.value() == PONG
    transport.clear()
    transport.fill()
    socket.dataReceived(PING * 1_000)
    assert transport.value() == b""
    transport.drain()
    socket.dataReceived(PING)
    assert transport.value() == PONG


def test_who_is_owed_too_much_is_cut_off(socket: Alone, transport: Full) -> None:
    transport.fill()
    socket.serverSend("x" * MOST_OWED)
    assert not transport.was_aborted
    socket.serverSend("x")
    assert transport.was_aborted


def test_who_does_not_read_for_too_long_is_cut_off(
    socket: Alone, transport: Full, monkeypatch: pytest.MonkeyPatch
) -> None:
    transport.fill()
    transport.fill()  # said again at each write
    socket.serverSend("x")
    assert not transport.was_aborted
    monkeypatch.setattr(slow_sockets, "PATIENCE_S", -1.0)
    socket.serverSend("x")
    assert transport.was_aborted
