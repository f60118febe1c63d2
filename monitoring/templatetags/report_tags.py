"""What tables of reports repeat by the hundred."""

from __future__ import annotations

from collections.abc import Iterable

from django import template
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

from accounts.templatetags.flotilla import number
from monitoring.summary import Cell

register = template.Library()
CELL = '<td data-label="{}" class="number"><span><a {}href="{}">{}</a>{}</span></td>'
NOTE = ' <span class="text-secondary cell-note">{}</span>'
RED = SafeString('class="figure-link-red" ')


@register.simple_tag
def figure_cells(cells: Iterable[Cell]) -> SafeString:
    """The figures of a row, each a link: a template asks seven things of each, which is most of what a row costs."""
    return format_html_join("", CELL, [(one.word, RED if one.is_red else "", one.url, *said(one)) for one in cells])


def said(cell: Cell) -> tuple[str, str]:
    return number(cell.value), format_html(NOTE, cell.note) if cell.note and cell.value else ""
