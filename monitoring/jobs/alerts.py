"""The clock's job about alerts."""

from __future__ import annotations

from monitoring.actions.alerts import watch


def tell() -> None:
    watch()
