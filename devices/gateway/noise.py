"""Keeps what a chatty library prints out of sight: its lines are logged masked, or not at all."""

from __future__ import annotations

import logging
import os
import re
import sys
import threading

LONGEST = 200
_TO_MASK = (
    (re.compile(r"<.*", re.DOTALL), "<…>"),  # what WhatsApp sent, as the library shows it
    (re.compile(r"(\"|'|`).*?\1"), "…"),
    (re.compile(r"[A-Za-z0-9+/=_-]{24,}"), "…"),  # keys and codes
    (re.compile(r"\d(?:[ .-]?\d){4,}"), "…"),  # numbers of people
)
_USELESS = ("Press Ctrl+C to exit", "Login event:")

log = logging.getLogger("whatsapp")


def mask(line: str) -> str:
    """The line without numbers of five digits and more, keys, quoted text and stanzas; at most LONGEST characters."""
    for pattern, stand_in in _TO_MASK:
        line = pattern.sub(stand_in, line)
    return line[:LONGEST]


class MaskForeign(logging.Filter):
    """Masks what other people's code logs; what ours logs holds no numbers to begin with."""

    def __init__(self, ours: set[str]) -> None:
        super().__init__()
        self._ours = ours

    def filter(self, record: logging.LogRecord) -> bool:
        if record.name not in self._ours:
            record.msg, record.args = mask(record.getMessage()), ()
            record.exc_info = record.exc_text = None
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
