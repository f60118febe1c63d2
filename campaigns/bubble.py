"""A text as WhatsApp draws it: marks, code, lists, quotes and links become shapes, everything else is escaped."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from itertools import groupby

from django.utils.html import escape, format_html, format_html_join
from django.utils.safestring import SafeString

BLOCK_OF_CODE = re.compile(r"```(.+?)```", re.DOTALL)
# A mark counts where it touches the words inside and no letter outside, within one line.
MARKED = re.compile(
    r"`(?P<code>[^`\n]+)`"
    r"|(?P<link>\bhttps?://[^\s<>\"]*[^\s<>\".,:;!?)*_~])"
    r"|(?<![^\W_])(?P<mark>[*_~])(?=\S)(?P<inside>(?:(?!(?P=mark))[^\n])+)(?<=\S)(?P=mark)(?![^\W_])"
)
LINE = re.compile(r"(?P<bullet>[*-]) (?=\S)|(?P<number>\d{1,3})\. (?=\S)|(?P<quote>> ?)(?=\S)")
MAY_MEAN = re.compile(r"[*_~`>\n-]|https?://|\d\. ")  # without any of these a text is only words
TAGS = {"*": "strong", "_": "em", "~": "s"}

Line = list[str | SafeString]  # SafeString: code that has been drawn


def drawn(text: str) -> SafeString:
    """Safe HTML; line breaks within a block stay line breaks, for CSS to keep."""
    return joined(blocks(lines_of(text))) if MAY_MEAN.search(text) else escape(text)


def lines_of(text: str) -> Iterator[Line]:
    """Line by line; code in ``` may go over several, and is in one piece nevertheless."""
    line: Line = []
    for place, piece in enumerate(BLOCK_OF_CODE.split(text)):
        if place % 2:
            line.append(format_html("<code>{}</code>", piece))
            continue
        first, *others = piece.split("\n")
        line.append(first)
        for other in others:
            yield line
            line = [other]
    yield line


def blocks(lines: Iterable[Line]) -> Iterator[SafeString]:
    """Lists, quotes and what stands between them: a block ends its line, so no break follows it."""
    for kind, group in groupby(map(begun, lines), lambda begun: begun[0]):
        parts = [(number, joined(map(marked, line))) for _, number, line in group]
        match kind:
            case "bullet":
                yield format_html("<ul>{}</ul>", format_html_join("", "<li>{}</li>", ((part,) for _, part in parts)))
            case "number":
                items = format_html_join("", '<li value="{}">{}</li>', parts)
                yield format_html("<ol>{}</ol>", items)
            case "quote":
                quoted = format_html_join("\n", "{}", ((part,) for _, part in parts))
                yield format_html("<blockquote>{}</blockquote>", quoted)
            case _:
                yield format_html_join("\n", "{}", ((part,) for _, part in parts))


def begun(line: Line) -> tuple[str, str, Line]:
    """Which kind of block the line belongs to, its number in a list, and what follows the sign."""
    sign = LINE.match(line[0])
    if sign is None:
        return "", "", line
    kind = sign.lastgroup or ""
    return kind, sign["number"] or "", [line[0][sign.end() :], *line[1:]]


def marked(piece: str | SafeString) -> SafeString:
    return piece if isinstance(piece, SafeString) else joined(shapes(piece))


def shapes(text: str) -> Iterator[str | SafeString]:
    end = 0
    for found in MARKED.finditer(text):
        yield text[end : found.start()]
        if found["code"] is not None:
            yield format_html("<code>{}</code>", found["code"])
        elif found["link"] is not None:
            yield format_html('<a href="{0}" target="_blank" rel="noopener noreferrer nofollow">{0}</a>', found["link"])
        else:
            yield format_html("<{0}>{1}</{0}>", SafeString(TAGS[found["mark"]]), marked(found["inside"]))
        end = found.end()
    yield text[end:]


def joined(pieces: Iterable[str | SafeString]) -> SafeString:
    return format_html_join("", "{}", ((piece,) for piece in pieces))
