"""The icons of pages, all of them read at once: to open their archive for each takes as long as to read a third."""

from __future__ import annotations

from functools import cache
from importlib.resources import files
from zipfile import ZipFile

from django.utils.html import format_html_join
from django.utils.safestring import SafeString

ARCHIVE = files("lucide") / "lucide.zip"


@cache
def bodies() -> dict[str, str]:
    """By name, what stands within each icon's svg element: 1,700 of them are 0.6 MB."""
    with ARCHIVE.open("rb") as file, ZipFile(file) as archive:
        return {name.removesuffix(".svg"): body_of(archive.read(name).decode()) for name in archive.namelist()}


def body_of(svg: str) -> str:
    return svg[svg.index(">") + 1 : svg.rindex("</svg>")].strip()


def draw(name: str, size: int, attributes: tuple[tuple[str, str], ...]) -> SafeString:
    """``size`` in CSS pixels; an attribute's ``_`` stands for ``-``. Raises KeyError for an icon that there is not."""
    more = format_html_join("", ' {}="{}"', [(key.replace("_", "-"), value) for key, value in attributes])
    return SafeString(
        f'<svg width="{size}" height="{size}" viewBox="0 0 24 24" fill="none" stroke="currentColor" stroke-width="2"'
        f' stroke-linecap="round" stroke-linejoin="round"{more}>{bodies()[name]}</svg>'
    )
