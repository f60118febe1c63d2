"""How a client becomes a linked device, by QR code or by an 8-character code, and how that fails."""

from __future__ import annotations

import os

from cryptography.exceptions import InvalidTag

from . import protobuf
from .connection import Connection, Registration
from .devices import Device
from .hub import Hub
from .link import SPOILS, CodeLink, QrCode, signed_identity
from .party import PreKey
from .wire import SERVER, Jid, Node, now

REG = "link_code_companion_reg"
PAIRING = "link_code_pairing"


def _request(children: list[Node]) -> Node:
    attrs = {"from": SERVER, "type": "set", "id": os.urandom(4).hex(), "xmlns": "md", "t": now()}
    return Node("iq", attrs, children)


class Linking:
    def __init__(self, hub: Hub) -> None:
        self._hub = hub

    def register(self, connection: Connection, pairing_data: bytes) -> None:
        """A client without a session came: it gets the refs its QR codes are made of."""
        keys = protobuf.decode(pairing_data)
        registration, _, identity, signed_id, signed, signature = (
            protobuf.first(keys, number) for number in range(1, 7)
        )
        connection.registration = Registration(
            int.from_bytes(registration, "big"),
            identity,
            PreKey(int.from_bytes(signed_id, "big"), signed, signature),
            [f"2@{os.urandom(24).hex()}{i}" for i in range(self._hub.qr_codes)],
        )
        self._hub.unpaired.append(connection)
        self._hub.journal.note("registration")
        refs = [Node("ref", {}, ref) for ref in connection.registration.refs]
        connection.send(_request([Node("pair-device", {}, refs)]))

    def scan(
        self, qr: str, phone: str, stall: bool = False, spoil: str | None = None, prekeys: int | None = None
    ) -> dict[str, str] | None:
        """The phone scans a QR code, which nobody can scan again.

        `stall`: the phone asks its user for a passkey and never goes on, so the client sees nothing. `spoil`
        (signature, hmac): the phone's word does not verify, and the client says so. `prekeys`: as the server's
        `reported_prekeys`, for this client.
        Raises LookupError (no such code) or ValueError.
        """
        seen = QrCode.parse(qr)
        if spoil is not None and spoil not in SPOILS:
            raise ValueError(f"spoil is one of {', '.join(SPOILS)}")
        for connection in self._hub.unpaired:
            registration = connection.registration
            if registration and seen.ref in registration.refs:
                break
        else:
            raise LookupError("no such QR code (expired, or scanned before)")
        if seen.identity != registration.identity or seen.noise != connection.noise_key:
            raise ValueError("the QR code's keys are not those of the connection")
        self._make_room(phone)
        registration.refs.remove(seen.ref)
        if stall:
            self._hub.journal.note("link stalled", phone=phone)
            return None
        return self._vouch(connection, registration, phone, seen.adv_secret, spoil, prekeys)

    def _make_room(self, phone: str) -> None:
        """The phone tells its user; nothing of it reaches the client. Raises PermissionError."""
        limit = self._hub.link_limits.get(phone)
        if limit is not None and len(self._hub.linked(phone)) >= limit:
            raise PermissionError(f"the phone has {limit} linked devices, which is all it allows")

    def _vouch(
        self,
        connection: Connection,
        registration: Registration,
        phone: str,
        adv_secret: bytes,
        spoil: str | None = None,
        prekeys: int | None = None,
    ) -> dict[str, str]:
        """The phone signs for the client, which then confirms or reports an error."""
        taken = self._hub.numbers(phone) + [
            other.registration.device.number
            for other in self._hub.unpaired
            if other.registration and other.registration.device and other.registration.device.phone == phone
        ]
        device = Device(phone, max(taken, default=0) + 1, registration.registration, registration.identity)
        device.signed = registration.signed
        device.reported = self._hub.reported_prekeys if prekeys is None else prekeys
        registration.device = device
        phone_key = self._hub.party(Jid.hidden(phone)).identity
        identity = signed_identity(phone_key, device.identity, adv_secret, device.number, spoil)
        parts = [
            Node("device-identity", {}, identity),
            Node("device", {"jid": device.jid, "lid": device.lid}),
            Node("platform", {"name": "android"}),
        ]
        connection.send(_request([Node("pair-success", {}, parts)]))
        self._hub.journal.note("link", device=str(device.jid))
        return {"jid": str(device.jid), "lid": str(device.lid)}

    def confirmed(self, connection: Connection) -> None:
        """The client accepted: it exists from now on, and is told to log in."""
        device = connection.registration.device if connection.registration else None
        assert device, "it answers what we asked"
        self._hub.add(device)
        self._hub.journal.note("linked", device=str(device.jid))
        connection.send(Node("stream:error", {"code": "515"}))

    # ------------------------------------------------------------------------------------ with a code

    def code_step(self, connection: Connection, node: Node) -> list[Node] | None:
        """The client asks for a code to show, or sends its keys after the user typed it on the phone."""
        registration = connection.registration
        assert registration, "only a client that is not linked asks for this"
        if node.attrs.get("stage") == "companion_hello":
            phone = node.attrs["jid"].user
            phone_key = self._hub.party(Jid.hidden(phone)).identity
            code = CodeLink(phone, phone_key, node.data(f"{PAIRING}_wrapped_companion_ephemeral_pub"))
            registration.code = code
            self._hub.journal.note("link code requested", phone=phone)
            return [Node(REG, {"stage": "companion_hello"}, [Node(f"{PAIRING}_ref", {}, code.ref)])]
        assert registration.code, "companion_hello comes first"
        bundle = node.data(f"{PAIRING}_wrapped_key_bundle")
        try:
            secret = registration.code.secret(node.data("companion_identity_public"), bundle)
        except InvalidTag:
            self._hub.journal.note("wrong link code", phone=registration.code.phone)
            return None
        self._hub.later(self._vouch_after_answer(connection, registration, registration.code.phone, secret))
        return None

    async def _vouch_after_answer(
        self, connection: Connection, registration: Registration, phone: str, secret: bytes
    ) -> None:
        self._vouch(connection, registration, phone, secret)

    def enter_code(self, phone: str, code: str) -> None:
        """The user types the 8 characters on the phone. Raises LookupError or PermissionError."""
        for connection in self._hub.unpaired:
            registration = connection.registration
            if registration and registration.code and registration.code.phone == phone:
                break
        else:
            raise LookupError("no code was requested for this phone")
        self._make_room(phone)
        link = registration.code
        parts = [
            Node(f"{PAIRING}_wrapped_primary_ephemeral_pub", {}, link.answer(code)),
            Node("primary_identity_pub", {}, self._hub.party(Jid.hidden(phone)).identity.pub),
            Node(f"{PAIRING}_ref", {}, link.ref),
        ]
        attrs = {"from": SERVER, "type": REG, "id": os.urandom(4).hex(), "t": now()}
        connection.send(Node("notification", attrs, [Node(REG, {"stage": "primary_hello"}, parts)]))
