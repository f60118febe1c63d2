"""Sealing: packs a session's files and encrypts them, with a ring of keys of which the first seals and all open."""

from __future__ import annotations

import zlib
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Sequence

import msgspec
from cryptography.fernet import Fernet, InvalidToken, MultiFernet


class BadKeys(ValueError):
    """There are no keys, or something that is none; the text says so in one line and names no key."""


class CannotOpen(Exception):
    """None of the keys opens this, or it is another device's."""


class Packed(msgspec.Struct, array_like=True):
    """What is inside. The device's id is, so that no row's copy can pass for another's."""

    device: int
    parts: dict[str, bytes]


class Seal:
    """Raises `BadKeys` unless every key is 32 bytes in URL-safe base64."""

    def __init__(self, keys: Sequence[str]) -> None:
        if not keys:
            raise BadKeys("VAULT_KEYS is not set")
        try:
            self._ring = MultiFernet([Fernet(key) for key in keys])
        except ValueError:
            raise BadKeys("VAULT_KEYS holds something that is no key: each is 32 bytes in URL-safe base64") from None

    def close(self, device: int, parts: dict[str, bytes]) -> bytes:
        packed = zlib.compress(msgspec.msgpack.encode(Packed(device, parts)))
        return urlsafe_b64decode(self._ring.encrypt(packed))

    def open(self, device: int, sealed: bytes) -> dict[str, bytes]:
        """Raises `CannotOpen`."""
        try:
            packed = self._ring.decrypt(urlsafe_b64encode(sealed))
        except InvalidToken:
            raise CannotOpen("none of the keys opens it") from None
        found = msgspec.msgpack.decode(zlib.decompress(packed), type=Packed)
        if found.device != device:
            raise CannotOpen("it is another device's")
        return found.parts

    def renew(self, sealed: bytes) -> bytes:
        """The same, sealed with the first key. Raises `CannotOpen`."""
        try:
            return urlsafe_b64decode(self._ring.rotate(urlsafe_b64encode(sealed)))
        except InvalidToken:
            raise CannotOpen("none of the keys opens it") from None
