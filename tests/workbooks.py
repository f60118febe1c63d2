"""Makes small workbooks, honest and hostile, without a library."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterable, Mapping, Sequence
from datetime import date
from xml.sax.saxutils import escape, quoteattr

MAIN = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"
RELS = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
PACKAGE = "http://schemas.openxmlformats.org/package/2006/relationships"
STYLES = (
    f'<styleSheet xmlns="{MAIN}"><fonts count="1"><font/></fonts><fills count="1"><fill/></fills>'
    '<borders count="1"><border/></borders><cellStyleXfs count="1"><xf/></cellStyleXfs>'
    '<cellXfs count="2"><xf numFmtId="0"/><xf numFmtId="14" applyNumberFormat="1"/></cellXfs></styleSheet>'
)

Rows = Iterable[Sequence[object]]


def make_xlsx(sheets: Rows | Mapping[str, Rows], hidden: Sequence[str] = (), extra: Mapping[str, bytes] = {}) -> bytes:
    """A workbook of one sheet ("People"), or of these; `extra` are further entries of the archive."""
    named: Mapping[str, Rows] = sheets if isinstance(sheets, Mapping) else {"People": sheets}
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        links, entries = [], []
        for number, (name, rows) in enumerate(named.items(), 1):
            state = ' state="hidden"' if name in hidden else ""
            entries.append(f'<sheet name={quoteattr(name)} sheetId="{number}"{state} r:id="rId{number}"/>')
            links.append(relation(number, "worksheet", f"worksheets/sheet{number}.xml"))
            archive.writestr(f"xl/worksheets/sheet{number}.xml", sheet_xml(rows))
        links.append(relation(len(named) + 1, "styles", "styles.xml"))
        archive.writestr(
            "xl/workbook.xml",
            f'<workbook xmlns="{MAIN}" xmlns:r="{RELS}"><sheets>{"".join(entries)}</sheets></workbook>',
        )
        archive.writestr(
            "xl/_rels/workbook.xml.rels", f'<Relationships xmlns="{PACKAGE}">{"".join(links)}</Relationships>'
        )
        archive.writestr(
            "_rels/.rels",
            f'<Relationships xmlns="{PACKAGE}">{relation(1, "officeDocument", "xl/workbook.xml")}</Relationships>',
        )
        archive.writestr("xl/styles.xml", STYLES)
        for name, data in extra.items():
            archive.writestr(name, data)
    return file.getvalue()


def relation(number: int, kind: str, target: str) -> str:
    return f'<Relationship Id="rId{number}" Type="{RELS}/{kind}" Target="{target}"/>'


def sheet_xml(rows: Rows) -> str:
    lines = []
    for y, row in enumerate(rows, 1):
        cells = "".join(cell_xml(f"{column_name(x)}{y}", value) for x, value in enumerate(row) if value is not None)
        lines.append(f'<row r="{y}">{cells}</row>')
    return f'<worksheet xmlns="{MAIN}"><sheetData>{"".join(lines)}</sheetData></worksheet>'


def cell_xml(place: str, value: object) -> str:
    match value:
        case bool():
            return f'<c r="{place}" t="b"><v>{int(value)}</v></c>'
        case int() | float():
            return f'<c r="{place}"><v>{value!r}</v></c>'
        case date():
            return f'<c r="{place}" s="1"><v>{(value - date(1899, 12, 30)).days}</v></c>'
    text = str(value)
    if text.startswith("<"):  # the XML itself
        return f'<c r="{place}">{text}</c>'
    return f'<c r="{place}" t="inlineStr"><is><t xml:space="preserve">{escape(text)}</t></is></c>'


def column_name(number: int) -> str:
    name = ""
    number += 1
    while number:
        number, letter = divmod(number - 1, 26)
        name = chr(65 + letter) + name
    return name
