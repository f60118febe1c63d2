"""Keeps what a chatty library prints out of sight: its lines are logged masked, or not at all."""

from __future__ import annotations

import logging
import os
import re
import sys
import threading

LONGEST = 200
_NUMBER = re.compile(r"\d(?:[ .-]?\d){4,}")
_TO_MASK = (
    re.compile(r"<.*", re.DOTALL),  # what WhatsApp sent, as the library shows it
    re.compile(r"(\"|'|`).*?\1"),
    re.compile(r"[A-Za-z0-9+/=_-]{24,}"),  # keys and codes
    _NUMBER,
)
# "Error sending" is what the call itself answers, too
_USELESS = ("Press Ctrl+C to exit", "Login event:", "SendMessage: Error sending message:")

log = logging.getLogger("whatsapp")


def mask(line: str) -> str:
    """The line without numbers of five digits and more, keys, quoted text and stanzas; at most LONGEST characters."""
    for pattern in _TO_MASK:
        line = pattern.sub("…", line)
    return line[:LONGEST]


class Mask(logging.Filter):
    """Masks what other people's code logs, and the numbers in our own errors."""

    def __init__(self, ours: set[str]) -> None:
        super().__init__()
        self._ours = ours

    def filter(self, record: logging.LogRecord) -> bool:
        if record.name not in self._ours:
            record.msg, record.args = mask(record.getMessage()), ()
            record.exc_info = None
        elif record.exc_info:
            story = logging.Formatter().formatException(record.exc_info)
            record.msg, record.args = f"{record.getMessage()}: {_NUMBER.sub('…', story)}", ()
            record.exc_info = None
        return True


def capture() -> None:
    """From now on what any library writes to descriptors 1 and 2 is logged line by line."""
    reading, writing = os.pipe()
    sys.stdout.flush()
    sys.stderr.flush()
    for descriptor in (1, 2):
        os.dup2(writing, descriptor)
    os.close(writing)
    threading.Thread(target=_log_lines, args=(reading,), name="noise", daemon=True).start()


def _log_lines(descriptor: int) -> None:
    with os.fdopen(descriptor, "r", errors="replace") as lines:
        for line in lines:
            if (text := line.strip()) and not text.startswith(_USELESS):
                log.warning("library: %s", mask(text))
