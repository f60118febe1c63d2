"""The line on every page that says what does not work; read from memory, never looked up."""

from __future__ import annotations

from typing import Any

from django import template

from monitoring.checkup.parts import Look
from monitoring.checkup.watch import watch

register = template.Library()


def banner_of(found: Look | None) -> dict[str, Any]:
    """``mark`` tells whether a page shows this already."""
    concerning = found.concerning if found else []
    first = concerning[0] if concerning else None
    return {"first": first, "rest": len(concerning) - 1, "mark": "+".join(one.part for one in concerning) or "well"}


@register.inclusion_tag("monitoring/_banner.html")
def health_banner() -> dict[str, Any]:
    return banner_of(watch.found)
