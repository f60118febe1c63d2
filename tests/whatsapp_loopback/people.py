"""What people's phones send to linked devices: messages, receipts, and their help when something was unreadable."""

from __future__ import annotations

import os
from collections import Counter
from dataclasses import dataclass

from .devices import Device
from .directory import bundle_nodes, read_bundle
from .hub import Hub
from .wire import Jid, Node, now

KEPT = 2000  # messages of people that can be asked for again
RETRIES = 4


@dataclass(frozen=True)
class Letter:
    sender: str
    message: bytes
    media_type: str | None


class People:
    def __init__(self, hub: Hub) -> None:
        self._hub = hub
        self._letters: dict[tuple[str, int, str], Letter] = {}
        self._asked: Counter[tuple[Jid, str, str]] = Counter()

    def write(
        self, device: Device, sender: str, message: bytes, media_type: str | None = None, ident: str | None = None
    ) -> str:
        """A person writes to a linked device, encrypted end to end; gives the message's id.

        Raises LookupError when the server does not know the device's keys.
        """
        ident = ident or "3A" + os.urandom(9).hex().upper()
        letter = Letter(sender, message, media_type)
        party, peer = self._hub.party(Jid.hidden(sender)), str(device.lid)
        if not party.knows(peer):
            party.begin(peer, device.bundle())
        self._letters[*device.key, ident] = letter
        if len(self._letters) > KEPT:
            del self._letters[next(iter(self._letters))]
        self._post(device, letter, ident)
        return ident

    def _post(self, device: Device, letter: Letter, ident: str, count: str | None = None) -> None:
        jid = Jid.hidden(letter.sender)
        kind, sealed = self._hub.party(jid).encrypt(str(device.lid), letter.message)
        enc = Node("enc", {"v": "2", "type": kind, "mediatype": letter.media_type, "count": count}, sealed)
        attrs = {
            "from": jid,
            "id": ident,
            "type": "media" if letter.media_type else "text",
            "t": now(),
            "notify": f"contact {letter.sender}",
            "sender_pn": Jid(letter.sender),
        }
        self._hub.deliver(device, Node("message", attrs, [enc]))

    def write_again(self, device: Device, receipt: Node) -> None:
        """A device could not read a message: its sender begins a new session and sends it again.

        The keys come with the second request for a message, and are else those that the device uploaded.
        """
        ident, retry, keys = receipt.attrs["id"], receipt.child("retry"), receipt.child("keys")
        letter = self._letters.get((*device.key, ident))
        if letter is None or retry is None:
            self._hub.journal.note("asked for an unknown message again", device=str(device.jid), id=ident)
            return
        bundle = read_bundle(receipt.data("registration"), keys) if keys else device.bundle()
        self._hub.party(Jid.hidden(letter.sender)).begin(str(device.lid), bundle)
        self._post(device, letter, ident, count=retry.attrs["count"])

    def ask_again(self, device: Device, reader: Jid, recipient: Jid, ident: str) -> None:
        """A phone could not read a device's message: it wants it again, in a session begun with these keys."""
        asked = (reader, device.phone, ident)
        if self._asked[asked] >= RETRIES:
            return
        self._asked[asked] += 1
        registration, keys = bundle_nodes(self._hub.party(reader).bundle)
        retry = Node("retry", {"count": str(self._asked[asked]), "id": ident, "t": now(), "v": "1"})
        attrs = {"from": reader, "id": ident, "type": "retry", "t": now()}
        if reader.phone == device.phone:  # the client's own phone: it has to say which chat it means
            attrs["recipient"] = recipient
        self._hub.deliver(device, Node("receipt", attrs, [retry, registration, Node("keys", {}, keys)]))

    def receipt(self, device: Device, sender: Jid, idents: list[str], kind: str | None) -> None:
        """`kind`: None for delivered, else read or played."""
        more = [Node("list", {}, [Node("item", {"id": ident}) for ident in idents[1:]])] if idents[1:] else None
        attrs = {"from": sender, "id": idents[0], "type": kind, "t": now()}
        self._hub.deliver(device, Node("receipt", attrs, more))
