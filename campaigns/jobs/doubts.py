"""The clock's job about uncertain messages."""

from __future__ import annotations

from campaigns.actions.doubts import settle_doubts


def settle() -> None:
    settle_doubts()
