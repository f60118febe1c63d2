"""Phone numbers alone, out of pasted text or a CSV file: each line is a number, or is listed with what is wrong."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import NamedTuple, TypeVar

from accounts.phones import BadPhone, to_e164
from campaigns.imports.mapping import Role, clean, guess_columns, has_header
from campaigns.imports.reader import SAMPLE_BYTES, SAVE_AS_CSV, Records, TextCheck, UnreadableFile, examine
from campaigns.imports.workbook import is_workbook

Row = TypeVar("Row")

MOST = 100_000  # lines at once
BETWEEN = re.compile(r"[,;\t]")


class BadLine(NamedTuple):
    line: int
    text: str
    problem: str


@dataclass(slots=True)
class Numbers:
    """``phones``: E.164, each once, in their order."""

    phones: dict[str, None] = field(default_factory=dict)
    bad: list[BadLine] = field(default_factory=list)

    def take(self, line: int, text: str, region: str) -> None:
        try:
            self.phones[to_e164(clean(text), region)] = None
        except BadPhone as problem:
            self.bad.append(BadLine(line, text, f"{problem}."))


def numbers_in_text(text: str, region: str) -> Numbers:
    """One number a line, or several with commas, semicolons or tabs between them. Raises `UnreadableFile`."""
    found = Numbers()
    for line, content in _limited(enumerate(text.splitlines(), 1)):
        for part in BETWEEN.split(content):
            if part.strip():
                found.take(line, part.strip(), region)
    return found


def numbers_in_file(data: bytes, region: str) -> Numbers:
    """The column of phone numbers of a CSV file, guessed as an import guesses it. Raises `UnreadableFile`."""
    if is_workbook(data):
        raise UnreadableFile(f"This is an Excel workbook or a ZIP file. {SAVE_AS_CSV}")
    check = TextCheck()
    check.feed(data)
    check.finish()
    layout = examine(data[:SAMPLE_BYTES], whole=len(data) <= SAMPLE_BYTES)
    header = has_header(layout.first, region)
    columns = guess_columns(layout.first, header, region)
    place = next((place for place, column in enumerate(columns) if column.role is Role.PHONE), None)
    if place is None:
        raise UnreadableFile("No column of this file holds phone numbers.")
    found = Numbers()
    start = layout.after_header if header else layout.start
    records = Records([data[start.offset :]], layout.delimiter, start)
    for line, record in _limited((record.line, record) for record in records):
        if record.problem:
            found.bad.append(BadLine(line, record.text, f"{record.problem}."))
        elif any(map(str.strip, record.cells)):
            found.take(line, record.cells[place] if place < len(record.cells) else "", region)
    return found


def _limited(rows: Iterable[Row]) -> Iterator[Row]:
    for count, row in enumerate(rows, 1):
        if count > MOST:
            raise UnreadableFile(f"These are more than {MOST:,} lines. Add them in parts.")
        yield row
