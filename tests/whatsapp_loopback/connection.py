"""One websocket of a client: frames, the Noise handshake, and nodes both ways."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import Protocol

from . import web
from .devices import Device
from .journal import Journal
from .link import CodeLink
from .noise import Responder, ServerIdentity, Transport
from .party import PreKey
from .protobuf import Fields
from .wire import Decoder, Node, encode


class Desk(Protocol):
    """Whom a connection tells what happens to it."""

    def opened(self, connection: Connection, payload: Fields) -> None: ...

    def received(self, connection: Connection, node: Node) -> None: ...

    def gone(self, connection: Connection) -> None: ...


@dataclass
class Registration:
    """A client that is not linked yet: the keys it will have, and how far the linking is."""

    registration: int
    identity: bytes
    signed: PreKey
    refs: list[str] = field(default_factory=list)  # of its QR codes that nobody has scanned
    code: CodeLink | None = None
    device: Device | None = None  # what it becomes when it accepts the phone's word


class Connection:
    def __init__(
        self,
        desk: Desk,
        identity: ServerIdentity,
        decoder: Decoder,
        journal: Journal,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
    ) -> None:
        self._desk, self._identity, self._decoder, self._journal = desk, identity, decoder, journal
        self._reader, self._writer = reader, writer
        self._header = b""
        self._transport: Transport | None = None
        self.noise_key = b""
        self.device: Device | None = None
        self.registration: Registration | None = None
        self.closed = False

    @property
    def name(self) -> str:
        return str(self.device.jid) if self.device else "unpaired"

    async def run(self) -> None:
        """Until the client or the server ends it."""
        try:
            transport, payload = await self._handshake()
            self._transport = transport
            self._desk.opened(self, payload)
            while not self.closed:
                node = self._decoder.decode(transport.open(await self._frame()))
                self._journal.trace("<", self.name, node)
                self._desk.received(self, node)
        except (asyncio.IncompleteReadError, ConnectionError, OSError):
            pass
        except Exception as error:  # a fault of this stand-in: no test may pass over it
            self._journal.note("error", error=repr(error), device=self.name)
            raise
        finally:
            self.close()

    async def _handshake(self) -> tuple[Transport, Fields]:
        hello = await self._frame()
        noise = Responder(self._identity, self._header)
        self._send_frame(noise.hello(hello))
        self.noise_key, payload, transport = noise.finish(await self._frame())
        return transport, payload

    async def _frame(self) -> bytes:
        while True:
            opcode, data = await web.read_websocket(self._reader)
            if opcode == web.CLOSE:
                self._writer.write(web.websocket_frame(data[:2], web.CLOSE))
                raise ConnectionError("closed")
            if opcode == web.PING:
                self._writer.write(web.websocket_frame(data, web.PONG))
            if opcode in (web.TEXT, web.BINARY):
                if data[:2] == b"WA":
                    self._header, data = data[:4], data[4:]
                return data[3 : 3 + int.from_bytes(data[:3], "big")]

    def _send_frame(self, data: bytes) -> None:
        self._writer.write(web.websocket_frame(len(data).to_bytes(3, "big") + data))

    def send(self, node: Node) -> None:
        if not self.closed and self._transport:
            self._journal.trace(">", self.name, node)
            self._send_frame(self._transport.seal(encode(node)))

    def close(self, abort: bool = False) -> None:
        """`abort`: at once, what is under way is lost."""
        if self.closed:
            return
        self.closed = True
        self._desk.gone(self)
        if abort:
            self._writer.transport.abort()
        else:
            self._writer.close()

    async def close_soon(self) -> None:
        """After the client has read what was sent last."""
        await asyncio.sleep(0.05)
        self.close()
