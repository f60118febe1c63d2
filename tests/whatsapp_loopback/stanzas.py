"""The desk that every connection comes to: logins, and each stanza to whom it concerns."""

from __future__ import annotations

from . import protobuf
from .connection import Connection
from .devices import Device
from .directory import Directory
from .hub import Hub
from .linking import Linking
from .media import HOST
from .messages import Messages
from .people import People
from .wire import SERVER, Jid, Node, now

PAIRING_DATA = 19  # field of ClientPayload, there when the client has no session


class Stanzas:
    def __init__(self, hub: Hub, linking: Linking, people: People) -> None:
        self._hub, self._linking, self._people = hub, linking, people
        self._directory, self._messages = Directory(hub), Messages(hub, people)

    def opened(self, connection: Connection, payload: protobuf.Fields) -> None:
        if PAIRING_DATA in payload:
            self._linking.register(connection, payload[PAIRING_DATA][0])
        else:
            self._log_in(connection, str(protobuf.first(payload, 1)), protobuf.first(payload, 18, 0))

    def _log_in(self, connection: Connection, phone: str, number: int) -> None:
        hub = self._hub
        device = hub.device(Jid(phone, device=number))
        if device is None:  # linked when another server ran: taken at its word, and asked for its keys again
            device = Device(phone, number)
            hub.add(device)
        failure = hub.login_failures.get(phone) or hub.login_failures.get("*")
        if device.removed:
            failure = {"reason": 401, "location": "loopback"}
        if failure:
            hub.journal.note("login refused", phone=phone, **failure)
            connection.send(Node("failure", dict(failure)))
            hub.later(connection.close_soon())
            return
        older = hub.online.get(device.key)
        if older:
            hub.stream_error(older, None, "replaced")
        connection.device = device
        hub.online[device.key] = connection
        hub.journal.note("login", device=connection.name)
        attrs = {"t": now(), "creation": now(), "props": "27", "lid": device.lid, "location": "loopback"}
        connection.send(Node("success", attrs))
        queued, device.queue = device.queue, []
        for node in queued:
            connection.send(node)

    def gone(self, connection: Connection) -> None:
        if connection in self._hub.unpaired:
            self._hub.unpaired.remove(connection)
        device = connection.device
        if device and self._hub.online.get(device.key) is connection:
            del self._hub.online[device.key]
            self._hub.journal.note("disconnect", device=connection.name)

    def received(self, connection: Connection, node: Node) -> None:
        if self._hub.silent:
            return
        if node.tag == "iq":
            self._on_iq(connection, node)
        elif connection.device is None:
            return
        elif node.tag == "message":
            self._messages.received(connection, connection.device, node)
        elif node.tag == "receipt":
            self._on_receipt(connection, connection.device, node)
        elif node.tag == "ack":
            self._hub.journal.counts[f"ack {node.attrs.get('class')}"] += 1
        elif node.tag == "presence":
            attrs = {key: str(value) for key, value in node.attrs.items()}
            self._hub.journal.note("presence", device=connection.name, **attrs)

    def _on_receipt(self, connection: Connection, device: Device, node: Node) -> None:
        ident, to, kind = node.attrs["id"], node.attrs["to"], node.attrs.get("type", "")
        self._hub.journal.note("receipt from client", device=connection.name, id=ident, type=kind)
        connection.send(Node("ack", {"class": "receipt", "id": ident, "from": to, "t": now()}))
        if kind != "retry":
            return
        other = self._hub.device(to)
        if other:
            self._hub.deliver(
                other, Node("receipt", {**node.attrs, "to": None, "from": device.lid, "t": now()}, node.content)
            )
        else:
            self._people.write_again(device, node)

    def _on_iq(self, connection: Connection, node: Node) -> None:
        kind, xmlns = node.attrs.get("type"), node.attrs.get("xmlns")
        if kind == "result":
            if node.child("pair-device-sign"):
                self._linking.confirmed(connection)
            return
        if kind == "error":
            self._hub.journal.note("iq error from client", node=str(node))
            return
        self._hub.journal.counts[f"iq {xmlns}"] += 1
        attrs = {"from": SERVER, "type": "result", "id": node.attrs["id"]}
        connection.send(Node("iq", attrs, self._answer(connection, node, str(xmlns))))

    def _answer(self, connection: Connection, node: Node, xmlns: str) -> list[Node] | None:
        child = node.children[0] if node.children else Node("")
        device = connection.device
        match xmlns, child.tag:
            case "md", "link_code_companion_reg":
                return self._linking.code_step(connection, child)
            case "w:m", _:
                attrs = {"auth": "loopback", "ttl": "3600", "auth_ttl": "21600", "max_buckets": "12"}
                return [Node("media_conn", attrs, [Node("host", {"hostname": HOST})])]
            case "usync", _:
                return [self._directory.look_up(connection, child)]
            case "encrypt", "key":
                return [self._directory.bundles(child)]
            case "encrypt", "count" if device:
                return [Node("count", {"value": str(device.prekeys)})]
            case "encrypt", _ if device and node.attrs.get("type") == "set":
                self._directory.keep_prekeys(device, node)
            case "md", "remove-companion-device" if device:
                device.removed = True
                self._hub.journal.note("logout", device=connection.name)
        return None
