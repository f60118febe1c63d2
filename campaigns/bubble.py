"""A text as WhatsApp draws it: bold, italic, struck out and monospaced, everything else escaped."""

from __future__ import annotations

import re
from collections.abc import Iterator

from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

# A mark counts where it touches the words inside and no letter outside, within one line; ``` may span lines.
MARKED = re.compile(
    r"```(?P<code>.+?)```"
    r"|(?<![^\W_])(?P<mark>[*_~])(?=\S)(?P<inside>(?:(?!(?P=mark))[^\n])+)(?<=\S)(?P=mark)(?![^\W_])",
    re.DOTALL,
)


def drawn(text: str) -> SafeString:
    """Safe HTML; line breaks stay line breaks, for CSS to keep."""
    return format_html_join("", "{}", ((piece,) for piece in pieces(text)))


def pieces(text: str) -> Iterator[str | SafeString]:
    end = 0
    for found in MARKED.finditer(text):
        yield text[end : found.start()]
        if found["code"] is not None:
            yield format_html("<code>{}</code>", found["code"])
        elif found["mark"] == "*":
            yield format_html("<strong>{}</strong>", drawn(found["inside"]))
        elif found["mark"] == "_":
            yield format_html("<em>{}</em>", drawn(found["inside"]))
        else:
            yield format_html("<s>{}</s>", drawn(found["inside"]))
        end = found.end()
    yield text[end:]
