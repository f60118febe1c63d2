"""Parsed texts that are still being sent, so that each is read once and not for every person."""

from __future__ import annotations

from campaigns.compose import Template, parse

CHARACTERS = 500_000  # a parsed text takes 30 to 95 bytes for each character


class Parsed:
    """Together the texts have at most ``room`` characters; whichever was parsed first makes room for another.

    The texts of all campaigns that run at once have to fit, since their turns come one after the other.
    """

    def __init__(self, room: int = CHARACTERS) -> None:
        self._room = room
        self._kept: dict[str, Template] = {}

    def __len__(self) -> int:
        return len(self._kept)

    def template(self, text: str) -> Template:
        """Raises `TextError`."""
        template = self._kept.get(text)
        if template is None:
            template = self._kept[text] = parse(text)
            self._room -= len(text)
            while self._room < 0:
                first = next(iter(self._kept))
                del self._kept[first]
                self._room += len(first)
        return template
