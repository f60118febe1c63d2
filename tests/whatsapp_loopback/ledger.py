"""The witness of what recipients could really read: a file that only grows, written before anybody is told."""

from __future__ import annotations

import fcntl
import hashlib
import os
import time
from pathlib import Path


class Ledger:
    """`time phone device secret sha256(text) id`: a line for each message id that a recipient's phone decrypted.

    Time in Unix seconds; phone and device number are the sender's; secret (32 bytes) and hash in hex; '-' where the
    message carried no secret. For media the text is the caption. Raises BlockingIOError when another server writes
    this ledger.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self._descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
        fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        lines = [line.split() for line in Path(path).read_text().splitlines()]
        self._known = {(phone, message) for _, phone, _, _, _, message in lines}

    def witness(self, phone: str, device: int, secret: str, text: str, message: str) -> None:
        if (phone, message) in self._known:
            return
        self._known.add((phone, message))
        digest = hashlib.sha256(text.encode()).hexdigest()
        line = f"{time.time():.6f} {phone} {device} {secret or '-'} {digest} {message}\n"
        os.write(self._descriptor, line.encode())

    def close(self) -> None:
        os.close(self._descriptor)
