"""Small pieces that pages repeat by the dozen, the same each time: every one is drawn once and kept."""

from __future__ import annotations

from functools import cache, lru_cache
from uuid import UUID

from django import template
from django.template.loader import render_to_string
from django.urls import reverse
from django.utils.safestring import SafeString

from accounts.icons import draw

register = template.Library()


@register.simple_tag
def lucide(name: str, *, size: int = 24, **attributes: str) -> SafeString:
    """An icon."""
    return icon(str(name), size, tuple((key, str(value)) for key, value in attributes.items()))


@register.simple_tag
def state(word: str, colour: str, reason: str = "") -> SafeString:
    """A state as `components/_state.html` shows it."""
    return chip(str(word), str(colour), str(reason))


@register.simple_tag
def row_url(name: str, key: int | UUID) -> str:
    """As `url`, where it stands in each row of a list: to look one up costs as much as half the row."""
    before, after = around(name, 0 if isinstance(key, int) else UUID(int=0))
    return f"{before}{key}{after}"


@cache
def around(name: str, sample: int | UUID) -> tuple[str, str]:
    """What stands before and after the key in addresses of this name."""
    before, _, after = reverse(name, args=[sample]).rpartition(str(sample))
    return before, after


@lru_cache(maxsize=1_000)
def icon(name: str, size: int, attributes: tuple[tuple[str, str], ...]) -> SafeString:
    return draw(name, size, attributes)


@lru_cache(maxsize=1_000)
def chip(word: str, colour: str, reason: str) -> SafeString:
    return SafeString(render_to_string("components/_state.html", {"word": word, "colour": colour, "reason": reason}))
