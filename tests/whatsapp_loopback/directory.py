"""The directory: who is on WhatsApp, with which devices, and the public keys of each."""

from __future__ import annotations

from .connection import Connection
from .devices import Device
from .hub import Hub
from .party import Bundle, PreKey
from .wire import Jid, Node


def _prekey_node(tag: str, key: PreKey) -> Node:
    parts = [Node("id", {}, key.id.to_bytes(3, "big")), Node("value", {}, key.pub)]
    return Node(tag, {}, [*parts, Node("signature", {}, key.signature)] if key.signature else parts)


def _read_prekey(node: Node) -> PreKey:
    signature = node.data("signature") if node.child("signature") else b""
    return PreKey(int.from_bytes(node.data("id"), "big"), node.data("value"), signature)


def bundle_nodes(bundle: Bundle) -> tuple[Node, list[Node]]:
    """(registration, keys), which stand side by side or one in the other, as the stanza wants it."""
    one_time = [_prekey_node("key", bundle.one_time)] if bundle.one_time else []
    keys = [
        Node("type", {}, b"\x05"),
        Node("identity", {}, bundle.identity),
        *one_time,
        _prekey_node("skey", bundle.signed),
    ]
    return Node("registration", {}, bundle.registration.to_bytes(4, "big")), keys


def read_bundle(registration: bytes, keys: Node) -> Bundle:
    """Raises ValueError when a key is missing."""
    one_time, signed = keys.child("key"), keys.child("skey")
    if signed is None:
        raise ValueError("no signed prekey")
    return Bundle(
        int.from_bytes(registration, "big"),
        keys.data("identity"),
        _read_prekey(signed),
        _read_prekey(one_time) if one_time else None,
    )


class Directory:
    def __init__(self, hub: Hub) -> None:
        self._hub = hub

    def keep_prekeys(self, device: Device, node: Node) -> None:
        keys = read_bundle(node.data("registration"), node)
        device.registration, device.identity, device.signed = keys.registration, keys.identity, keys.signed
        uploaded = node.child("list")
        device.one_time += [_read_prekey(key) for key in (uploaded.children if uploaded else [])]
        device.reported = 0
        self._hub.journal.note("prekeys", device=str(device.jid), count=device.prekeys)

    def bundles(self, node: Node) -> Node:
        """Keys of the devices somebody wants to write to."""
        return Node("list", {}, [self._bundle(user.attrs["jid"]) for user in node.children])

    def _bundle(self, jid: Jid) -> Node:
        device = self._hub.device(jid)
        registration, keys = bundle_nodes(device.bundle() if device else self._hub.party(jid).bundle)
        return Node("user", {"jid": jid}, [registration, *keys])

    def look_up(self, connection: Connection, usync: Node) -> Node:
        query, asked = usync.child("query"), usync.child("list")
        wanted = {part.tag for part in query.children} if query else set()
        users = [self._user(connection, user, wanted) for user in (asked.children if asked else [])]
        attrs = {"sid": usync.attrs.get("sid"), "index": "0", "last": "true", "mode": "query"}
        return Node("usync", attrs, [Node("result", {}, []), Node("list", {}, users)])

    def _user(self, connection: Connection, user: Node, wanted: set[str]) -> Node:
        contact = user.child("contact")
        if contact is not None:
            text = contact.content.decode() if isinstance(contact.content, bytes) else str(contact.content)
            phone = text.partition("@")[0].removeprefix("+")
            jid = Jid.hidden(phone)
        else:
            text, jid = "", user.attrs["jid"]
            phone = jid.phone
        asker = connection.device.phone if connection.device else ""
        exists = self._hub.rules.find(asker, phone).exists
        parts = []
        if "contact" in wanted:
            parts.append(Node("contact", {"type": "in" if exists else "out"}, text or None))
        if "lid" in wanted and exists:
            parts.append(Node("lid", {"val": Jid.hidden(phone)}))
        if "devices" in wanted:
            numbers = [0, *sorted(device.number for device in self._hub.linked(phone))] if exists else []
            devices = [Node("device", {"id": str(number)}) for number in numbers]
            parts.append(Node("devices", {}, [Node("device-list", {}, devices)]))
        return Node("user", {"jid": jid, "pn_jid": Jid(phone) if contact is not None else None}, parts)
