"""What is inside a message: texts, media and the Message protobuf that carries them."""

from __future__ import annotations

import hashlib
import os
from typing import Any, NamedTuple

from . import protobuf
from .ciphers import hkdf, mac, open_cbc, seal_cbc


class MediaFields(NamedTuple):
    """Field numbers of one kind of media (WAWebProtobufsE2E.proto); `message` is that of the Message around it."""

    message: int
    url: int
    mime: int
    caption: int | None
    sha256: int
    size: int
    key: int
    sealed_sha256: int
    direct_path: int


MEDIA = {
    "image": MediaFields(3, 1, 2, 3, 4, 5, 8, 9, 11),
    "document": MediaFields(7, 1, 2, 20, 4, 5, 7, 9, 10),
    "audio": MediaFields(8, 1, 2, None, 3, 4, 7, 8, 9),
    "video": MediaFields(9, 1, 2, 7, 3, 4, 6, 11, 13),
}


def text_message(text: str, quoted: str | None = None, author: str = "") -> bytes:
    """A text; `quoted` is the id of the message it answers, `author` the JID of who wrote that."""
    if quoted is None:
        return protobuf.encode((1, text))
    context = protobuf.encode((1, quoted), (2, author or None), (3, protobuf.encode((1, "…"))))
    return protobuf.encode((6, protobuf.encode((1, text), (17, context))))


def describe(message: bytes) -> dict[str, Any]:
    """What a Message protobuf says: its kind, text or caption, secret and (for media) where it was uploaded."""
    fields = protobuf.decode(message)
    if 31 in fields:  # a copy for the sender's own devices
        inner = protobuf.decode(fields[31][0])
        return describe(protobuf.first(inner, 2, b"")) | {"own_copy_for": protobuf.first(inner, 1, b"").decode()}
    seen = _content(fields)
    secret = protobuf.first(protobuf.decode(protobuf.first(fields, 35, b"")), 3)
    return seen | {"secret": secret.hex()} if secret else seen


def _content(fields: protobuf.Fields) -> dict[str, Any]:
    if 1 in fields:
        return {"kind": "text", "text": fields[1][0].decode()}
    if 6 in fields:
        return {"kind": "text", "text": protobuf.first(protobuf.decode(fields[6][0]), 1, b"").decode()}
    for kind, numbers in MEDIA.items():
        if numbers.message in fields:
            media = protobuf.decode(fields[numbers.message][0])
            return {
                "kind": kind,
                "text": protobuf.first(media, numbers.caption, b"").decode(),
                "url": protobuf.first(media, numbers.url, b"").decode(),
                "mimetype": protobuf.first(media, numbers.mime, b"").decode(),
                "direct_path": protobuf.first(media, numbers.direct_path, b"").decode(),
                "media_key": protobuf.first(media, numbers.key, b"").hex(),
            }
    return {"kind": "other", "fields": sorted(fields)}


class SealedMedia(NamedTuple):
    key: bytes
    sealed: bytes
    plain: bytes


def _media_keys(key: bytes, kind: str) -> tuple[bytes, bytes, bytes]:
    keys = hkdf(key, b"", f"WhatsApp {kind.capitalize()} Keys".encode(), 112)
    return keys[:16], keys[16:48], keys[48:80]


def seal_media(kind: str, plain: bytes) -> SealedMedia:
    key = os.urandom(32)
    iv, cipher_key, mac_key = _media_keys(key, kind)
    sealed = seal_cbc(cipher_key, iv, plain)
    return SealedMedia(key, sealed + mac(mac_key, iv + sealed)[:10], plain)


def open_media(kind: str, key: bytes, sealed: bytes) -> bytes:
    """An uploaded file as its recipient sees it. Raises ValueError when it was damaged."""
    iv, cipher_key, mac_key = _media_keys(key, kind)
    if mac(mac_key, iv + sealed[:-10])[:10] != sealed[-10:]:
        raise ValueError("bad media MAC")
    return open_cbc(cipher_key, iv, sealed[:-10])


def media_message(kind: str, media: SealedMedia, url: str, direct_path: str, mime: str, caption: str) -> bytes:
    numbers = MEDIA[kind]
    values: list[tuple[int, int | bytes | str | None]] = [
        (numbers.url, url),
        (numbers.mime, mime),
        (numbers.sha256, hashlib.sha256(media.plain).digest()),
        (numbers.size, len(media.plain)),
        (numbers.key, media.key),
        (numbers.sealed_sha256, hashlib.sha256(media.sealed).digest()),
        (numbers.direct_path, direct_path),
    ]
    if numbers.caption is not None and caption:
        values.append((numbers.caption, caption))
    return protobuf.encode((numbers.message, protobuf.encode(*values)))
