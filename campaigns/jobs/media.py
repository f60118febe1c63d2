"""The clock's job about files that no message uses."""

from __future__ import annotations

from campaigns.actions.media import forget_unused_media


def forget_unused() -> None:
    forget_unused_media()
