"""What the server knows: linked devices, who is connected, people, rules and faults. Everything else works on it."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from fnmatch import fnmatchcase
from typing import Any

from .connection import Connection
from .devices import Device
from .journal import Journal
from .ledger import Ledger
from .media import MediaStore
from .party import Party
from .rules import Rules
from .wire import Jid, Node

QR_CODES = 6


class Hub:
    def __init__(self, journal: Journal, ledger: Ledger | None, decrypt: bool, reported_prekeys: int) -> None:
        self.journal, self.ledger = journal, ledger
        self.decrypt, self.reported_prekeys = decrypt, reported_prekeys
        self._devices: dict[str, dict[int, Device]] = {}  # by phone, then by number
        self.online: dict[tuple[str, int], Connection] = {}
        self.unpaired: list[Connection] = []
        self.media = MediaStore()
        self.rules = Rules()
        self.login_failures: dict[str, dict[str, Any]] = {}  # phone or * -> attributes of <failure>
        self.link_limits: dict[str, int] = {}  # phone -> how many linked devices it allows
        self.refuse: int | None = None  # HTTP status for new websockets
        self.silent = False  # nothing is answered any more, keepalives neither
        self.qr_codes = QR_CODES
        self._parties: dict[str, Party] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    def party(self, jid: Jid) -> Party:
        """The fake device with this JID, of which there is one as soon as somebody asks."""
        name = f"{jid.phone}:{jid.device}"
        if name not in self._parties:
            self._parties[name] = Party(name)
        return self._parties[name]

    def device(self, jid: Jid) -> Device | None:
        """The client's device with this JID. Number 0 is a phone, and all phones are ours."""
        return self._devices.get(jid.phone, {}).get(jid.device) if jid.device else None

    def add(self, device: Device) -> None:
        self._devices.setdefault(device.phone, {})[device.number] = device

    def numbers(self, phone: str) -> list[int]:
        """Given to this phone's devices, removed ones too: none is given again."""
        return list(self._devices.get(phone, {}))

    def linked(self, phone: str | None = None) -> list[Device]:
        """The devices that are not removed, of one phone or of all."""
        phones = list(self._devices.values()) if phone is None else [self._devices.get(phone, {})]
        return [device for devices in phones for device in devices.values() if not device.removed]

    def connections(self, phone: str) -> list[Connection]:
        """Of the phones that match a shell pattern."""
        return [connection for (number, _), connection in self.online.items() if fnmatchcase(number, phone)]

    def deliver(self, device: Device, node: Node) -> None:
        """Now, or when it comes online."""
        connection = self.online.get(device.key)
        if connection:
            connection.send(node)
        else:
            device.queue.append(node)

    def stream_error(self, connection: Connection, code: str | None, conflict: str | None) -> None:
        children = [Node("conflict", {"type": conflict})] if conflict else None
        connection.send(Node("stream:error", {"code": code}, children))
        self.later(connection.close_soon())

    def later(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def close(self) -> None:
        for connection in [*self.online.values(), *self.unpaired]:
            connection.close(abort=True)
        for task in list(self._tasks):
            task.cancel()
        if self.ledger:
            self.ledger.close()
