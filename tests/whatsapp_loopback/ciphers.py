"""The symmetric half of the cryptography: HMAC, HKDF and AES-CBC."""

from __future__ import annotations

import hmac

from cryptography.hazmat.primitives import padding
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes


def mac(key: bytes, data: bytes) -> bytes:
    return hmac.digest(key, data, "sha256")


def hkdf(secret: bytes, salt: bytes, info: bytes, size: int) -> bytes:
    """HKDF with SHA-256 (RFC 5869); an empty salt is the one of zeros."""
    key = mac(salt or bytes(32), secret)
    block = out = b""
    while len(out) < size:
        block = mac(key, block + info + bytes([len(out) // 32 + 1]))
        out += block
    return out[:size]


def seal_cbc(key: bytes, iv: bytes, plain: bytes) -> bytes:
    padder = padding.PKCS7(128).padder()
    cipher = Cipher(algorithms.AES(key), modes.CBC(iv)).encryptor()
    return cipher.update(padder.update(plain) + padder.finalize()) + cipher.finalize()


def open_cbc(key: bytes, iv: bytes, sealed: bytes) -> bytes:
    """Raises ValueError when the padding is wrong."""
    cipher = Cipher(algorithms.AES(key), modes.CBC(iv)).decryptor()
    unpadder = padding.PKCS7(128).unpadder()
    return unpadder.update(cipher.update(sealed) + cipher.finalize()) + unpadder.finalize()
