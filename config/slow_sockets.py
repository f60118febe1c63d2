"""Websockets whose other end does not read: closed, so that what they are told is not kept in memory for nobody."""

from __future__ import annotations

import time
from typing import Any

from daphne.ws_protocol import WebSocketFactory, WebSocketProtocol
from twisted.internet.interfaces import IPushProducer
from zope.interface import implementer

PATIENCE_S = 5.0
MOST_OWED = 256 * 1024  # bytes, beyond the 64 KB at which the transport says that it is full


class ReadSocket(WebSocketProtocol):
    """``full_since``: since when the transport has had more to write than its buffer should hold; None: it has not."""

    full_since: float | None = None
    owed = 0

    def connectionMade(self) -> None:
        super().connectionMade()
        self.transport.unregisterProducer()  # the HTTP channel's, which would only read no more
        self.transport.registerProducer(Backlog(self), True)

    def onPing(self, payload: bytes) -> None:
        """Left unanswered while the other end does not read, as RFC 6455 allows: pongs pass by what counts the rest."""
        if self.full_since is None:
            super().onPing(payload)

    def serverSend(self, content: Any, binary: bool = False) -> None:
        if self.full_since is not None:
            self.owed += len(content)
            if self.owed > MOST_OWED or time.monotonic() - self.full_since > PATIENCE_S:
                self.dropConnection(abort=True)
                return
        super().serverSend(content, binary)


@implementer(IPushProducer)
class Backlog:
    """What the transport tells when its buffer is full, and when it has room again."""

    def __init__(self, socket: ReadSocket) -> None:
        self.socket = socket

    def pauseProducing(self) -> None:
        if self.socket.full_since is None:  # said again at each write
            self.socket.full_since, self.socket.owed = time.monotonic(), 0

    def resumeProducing(self) -> None:
        self.socket.full_since = None

    def stopProducing(self) -> None:
        pass


def install() -> None:
    """Daphne makes its sockets by this factory."""
    WebSocketFactory.protocol = ReadSocket
