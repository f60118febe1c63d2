"""Messages from linked devices: who reads them, when they are acknowledged, and what the recipient does."""

from __future__ import annotations

import asyncio
import hashlib
import time
from typing import Any

from . import content
from .connection import Connection
from .devices import Device
from .hub import Hub
from .people import People
from .rules import Rule
from .wire import Jid, Node, now

READ_KEPT = 100_000


def _copies(node: Node) -> list[tuple[Jid, Node]]:
    """Each device's, encrypted for it alone."""
    participants = node.child("participants")
    found = [(part.attrs["jid"], part.child("enc")) for part in (participants.children if participants else [])]
    return [(jid, sealed) for jid, sealed in found if sealed]


class Messages:
    def __init__(self, hub: Hub, people: People) -> None:
        self._hub, self._people = hub, people
        self._read: dict[tuple[Jid, str, str], None] = {}  # who read which message of whom, the latest

    def received(self, connection: Connection, device: Device, node: Node) -> None:
        """Decrypted, recorded and witnessed now; acknowledged afterwards."""
        to, again = node.attrs["to"], node.child("enc")
        rule = self._hub.rules.find(device.phone, to.phone, use=again is None)
        copies = [(to, again)] if again else _copies(node)
        record: dict[str, Any] = {
            "t": round(time.time(), 3),
            "id": node.attrs["id"],
            "sender": device.phone,
            "device": device.number,
            "recipient": to.phone,
            "type": node.attrs.get("type"),
            "devices": [str(jid) for jid, _ in copies],
            "extra": [child.tag for child in node.children if child.tag not in ("participants", "enc")],
        }
        if again:
            record["retry"] = again.attrs.get("count")
        else:
            self._hub.journal.counts["messages"] += 1
        unread = []
        if rule.ack_error is None:
            unread = [jid for jid, sealed in copies if not self._hand_over(device, node, jid, sealed, record)]
        else:
            record["refused"] = rule.ack_error  # by the server: it goes no further
        self._hub.journal.messages.append(record)
        if rule.drop:
            self._hub.refuse = rule.then_refuse or self._hub.refuse
            connection.close(abort=True)
        else:
            self._hub.later(self._answer(connection, device, to, node.attrs["id"], rule, unread))

    def _hand_over(self, device: Device, node: Node, jid: Jid, sealed: Node, record: dict[str, Any]) -> bool:
        """Whether this device of the recipient's, or of the sender's own, has read its copy, now or before.

        The library sends a message once more, as it was, when the connection was cut before the acknowledgement.
        """
        companion = self._hub.device(jid)
        if companion:
            self._forward(device, node, companion, sealed)
            return True
        if not self._hub.decrypt:
            return True
        if (jid, device.phone, record["id"]) in self._read:
            record["repeated"] = True
            return True
        try:
            kind, data = sealed.attrs["type"], sealed.data()
            seen = content.describe(self._hub.party(jid).decrypt(str(device.lid), kind, data))
        except (KeyError, ValueError) as error:
            record["undecryptable"] = repr(error)
            return False
        self._read[jid, device.phone, record["id"]] = None
        if len(self._read) > READ_KEPT:
            del self._read[next(iter(self._read))]
        self._look_at_media(seen)
        own_copy = "own_copy_for" in seen
        if not own_copy and self._hub.ledger:
            secret, text = seen.get("secret", ""), seen.get("text", "")
            self._hub.ledger.witness(device.phone, device.number, secret, text, record["id"])
        if not own_copy or "kind" not in record:
            record.update(seen)
        return True

    def _forward(self, device: Device, node: Node, companion: Device, sealed: Node) -> None:
        """Another client reads this itself."""
        attrs = {
            "from": device.lid,
            "id": node.attrs["id"],
            "type": node.attrs["type"],
            "t": now(),
            "notify": "loopback",
            "sender_pn": device.jid.bare,
            "recipient": node.attrs["to"] if companion.phone == device.phone else None,
        }
        self._hub.deliver(companion, Node("message", attrs, [sealed]))

    def _look_at_media(self, seen: dict[str, Any]) -> None:
        """Fetch and decrypt the file as the recipient would."""
        uploaded = self._hub.media.find(seen.get("direct_path", ""))
        if uploaded is not None:
            kind = seen["kind"]
            plain = content.open_media(kind, bytes.fromhex(seen["media_key"]), uploaded)
            seen[f"{kind}_size"], seen[f"{kind}_sha256"] = len(plain), hashlib.sha256(plain).hexdigest()

    async def _answer(
        self, connection: Connection, device: Device, to: Jid, ident: str, rule: Rule, unread: list[Jid]
    ) -> None:
        if not rule.ack:
            return
        if rule.ack_delay:
            await asyncio.sleep(rule.ack_delay)
        error = str(rule.ack_error) if rule.ack_error else None
        connection.send(Node("ack", {"class": "message", "id": ident, "from": to, "t": now(), "error": error}))
        if error:
            return
        for reader in unread:
            self._people.ask_again(device, reader, to, ident)
        if any(reader.phone == to.phone for reader in unread):
            return
        acknowledged = time.monotonic()
        steps = [(delay, kind) for delay, kind in ((rule.delivered, None), (rule.read, "read")) if delay is not None]
        for delay, kind in sorted(steps, key=lambda step: step[0]):
            await asyncio.sleep(max(0, acknowledged + delay - time.monotonic()))
            self._people.receipt(device, to, [ident], kind)
        if rule.reply:
            self._people.write(device, to.phone, content.text_message(rule.reply))
