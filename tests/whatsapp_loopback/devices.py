"""A linked device (a client's session file) as the server knows it."""

from __future__ import annotations

from dataclasses import dataclass, field

from .party import Bundle, PreKey
from .wire import Jid, Node


@dataclass
class Device:
    phone: str
    number: int
    registration: int = 1
    identity: bytes = b""
    signed: PreKey | None = None
    one_time: list[PreKey] = field(default_factory=list)
    reported: int = 0  # prekeys that the server claims to hold, although it was given none
    removed: bool = False
    queue: list[Node] = field(default_factory=list)  # stanzas for while it is offline

    @property
    def key(self) -> tuple[str, int]:
        return self.phone, self.number

    @property
    def jid(self) -> Jid:
        return Jid(self.phone, device=self.number)

    @property
    def lid(self) -> Jid:
        return Jid.hidden(self.phone, self.number)

    @property
    def prekeys(self) -> int:
        return len(self.one_time) or self.reported

    def bundle(self) -> Bundle:
        """Its keys, each one-time key given out once. Raises LookupError when it never showed them to this server."""
        if self.signed is None:
            raise LookupError(f"{self.jid} has not uploaded its keys to this server")
        one_time = self.one_time.pop(0) if self.one_time else None
        return Bundle(self.registration, self.identity, self.signed, one_time)
