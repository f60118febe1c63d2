"""The clock's job about files that no message uses."""

from __future__ import annotations

from campaigns import media_store


def forget_unused() -> None:
    media_store.forget_unused()
