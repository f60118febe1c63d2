"""A fake device, a person's phone most often: its keys, and how it starts and keeps Signal sessions (X3DH)."""

from __future__ import annotations

import hashlib
import os
from typing import NamedTuple

from . import protobuf
from .curve import KeyPair, key33
from .ratchet import VERSION, Session

SESSIONS_KEPT = 5


class PreKey(NamedTuple):
    id: int
    pub: bytes
    signature: bytes = b""


class Bundle(NamedTuple):
    """The public keys of a device that somebody wants to write to."""

    registration: int
    identity: bytes
    signed: PreKey
    one_time: PreKey | None = None


class Party:
    """Keys are derived from the name, so they outlive the server; sessions do not.

    The latest sessions with a peer are kept, newest first: both sides may begin one at the same moment.
    """

    def __init__(self, name: str) -> None:
        self.identity = KeyPair.derive(name, "identity")
        self._signed = KeyPair.derive(name, "signed")
        self._one_time = KeyPair.derive(name, "one-time")
        self._sessions: dict[str, list[Session]] = {}
        self.bundle = Bundle(
            int.from_bytes(hashlib.sha256(name.encode()).digest()[:2], "big") % 16380 + 1,
            self.identity.pub,
            PreKey(1, self._signed.pub, self.identity.sign(key33(self._signed.pub))),
            PreKey(1, self._one_time.pub),
        )

    def knows(self, peer: str) -> bool:
        return peer in self._sessions

    def decrypt(self, peer: str, kind: str, data: bytes) -> bytes:
        """The plaintext (still a Message protobuf), padding removed.

        Raises KeyError (no session, or a message read before) or ValueError (of no session we have, or damaged).
        """
        if kind == "pkmsg":
            fields = protobuf.decode(data[1:])
            self._accept(peer, protobuf.first(fields, 2), protobuf.first(fields, 3), 1 in fields)
            data = protobuf.first(fields, 4)
        sessions = self._sessions[peer]
        for session in sessions:
            try:
                plain = session.decrypt(data)
            except ValueError:
                continue
            if session is not sessions[0]:
                self._put_first(peer, session)
            return plain[: -plain[-1]]
        raise ValueError("of no session with this device")

    def _accept(self, peer: str, base: bytes, identity: bytes, with_one_time: bool) -> None:
        """The other side began a session, unless it is one that it began before."""
        if any(session.base == base for session in self._sessions.get(peer, [])):
            return
        secret = b"\xff" * 32 + self._signed.agree(identity) + self.identity.agree(base) + self._signed.agree(base)
        if with_one_time:
            secret += self._one_time.agree(base)
        self._put_first(peer, Session(self.identity.pub, identity, secret, self._signed, base))

    def begin(self, peer: str, bundle: Bundle) -> None:
        """Start a session with the device whose keys these are; what is written next is written in it."""
        base = KeyPair.generate()
        secret = b"\xff" * 32 + self.identity.agree(bundle.signed.pub) + base.agree(bundle.identity)
        secret += base.agree(bundle.signed.pub)
        if bundle.one_time:
            secret += base.agree(bundle.one_time.pub)
        opening = protobuf.encode(
            (1, bundle.one_time.id if bundle.one_time else None),
            (2, key33(base.pub)),
            (3, key33(self.identity.pub)),
            (5, self.bundle.registration),
            (6, bundle.signed.id),
        )
        session = Session(self.identity.pub, bundle.identity, secret, KeyPair.generate(), base.pub, opening)
        session.start_sending(bundle.signed.pub)
        self._put_first(peer, session)

    def _put_first(self, peer: str, session: Session) -> None:
        others = [other for other in self._sessions.get(peer, []) if other is not session]
        self._sessions[peer] = [session, *others][:SESSIONS_KEPT]

    def encrypt(self, peer: str, plain: bytes) -> tuple[str, bytes]:
        """(enc type, bytes): a pkmsg until the other side has written. Raises KeyError without a session."""
        session = self._sessions[peer][0]
        padding = os.urandom(1)[0] % 15 + 1
        message = session.encrypt(plain + bytes([padding]) * padding)
        if not session.opening:
            return "msg", message
        return "pkmsg", VERSION + session.opening + protobuf.encode((4, message))
