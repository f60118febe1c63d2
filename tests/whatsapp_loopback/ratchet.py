"""Signal's double ratchet (protocol version 3) between one fake device and one client device.

Not hardened: skipped message keys are kept without limit.
"""

from __future__ import annotations

from typing import Self

from . import protobuf
from .ciphers import hkdf, mac, open_cbc, seal_cbc
from .curve import KeyPair, key33

VERSION = b"\x33"


class Chain:
    """A chain of message keys in one direction."""

    __slots__ = ("index", "key", "skipped")

    def __init__(self, key: bytes, index: int = 0, skipped: dict[int, bytes] | None = None) -> None:
        self.key, self.index, self.skipped = key, index, skipped or {}

    def copy(self) -> Self:
        return type(self)(self.key, self.index, dict(self.skipped))

    def _step(self) -> bytes:
        seed = mac(self.key, b"\x01")
        self.key = mac(self.key, b"\x02")
        self.index += 1
        return seed

    def at(self, counter: int) -> tuple[bytes, bytes, bytes]:
        """(cipher key, MAC key, IV) of a message. Raises KeyError for one that was read before: no key opens twice."""
        if counter < self.index:
            seed = self.skipped.pop(counter)
        else:
            while self.index < counter:
                index = self.index
                self.skipped[index] = self._step()
            seed = self._step()
        keys = hkdf(seed, b"", b"WhisperMessageKeys", 80)
        return keys[:32], keys[32:64], keys[64:]


class Session:
    """`base` is the public key that began it, by which a repeated first message is known. `opening` goes before
    each message of ours until the other side has written, so that whichever arrives first can begin it there."""

    def __init__(
        self, ours: bytes, theirs: bytes, secret: bytes, ratchet: KeyPair, base: bytes, opening: bytes = b""
    ) -> None:
        self.base, self.opening = base, opening
        self._ours, self._theirs = key33(ours), key33(theirs)
        self._root = hkdf(secret, b"", b"WhisperText", 64)[:32]
        self._ratchet = ratchet
        self._sending: Chain | None = None
        self._receiving: dict[bytes, Chain] = {}
        self._previous = 0

    def _turned(self, their_ratchet: bytes) -> tuple[bytes, Chain]:
        keys = hkdf(self._ratchet.agree(their_ratchet), self._root, b"WhisperRatchet", 64)
        return keys[:32], Chain(keys[32:])

    def start_sending(self, their_ratchet: bytes) -> None:
        self._root, self._sending = self._turned(their_ratchet)

    def encrypt(self, plain: bytes) -> bytes:
        assert self._sending is not None, "begun by us, or a message of theirs was read: both start the chain"
        counter = self._sending.index
        cipher_key, mac_key, iv = self._sending.at(counter)
        body = seal_cbc(cipher_key, iv, plain)
        # both counters must be there even when 0
        fields = protobuf.encode((1, key33(self._ratchet.pub)), (2, counter), (3, self._previous), (4, body))
        message = VERSION + fields
        return message + mac(mac_key, self._ours + self._theirs + message)[:8]

    def decrypt(self, data: bytes) -> bytes:
        """Raises KeyError (read before) or ValueError (of another session, or damaged), and is then as it was."""
        fields = protobuf.decode(data[1:-8])
        ratchet, counter = protobuf.first(fields, 1), protobuf.first(fields, 2, 0)
        known = self._receiving.get(ratchet)
        root, chain = (self._root, known.copy()) if known else self._turned(ratchet)
        cipher_key, mac_key, iv = chain.at(counter)
        if mac(mac_key, self._theirs + self._ours + data[:-8])[:8] != data[-8:]:
            raise ValueError("bad message MAC")
        plain = open_cbc(cipher_key, iv, protobuf.first(fields, 4))
        self._receiving[ratchet] = chain
        self.opening = b""
        if not known:
            self._previous = max(self._sending.index - 1, 0) if self._sending else 0
            self._root, self._ratchet = root, KeyPair.generate()
            self.start_sending(ratchet)
        return plain
