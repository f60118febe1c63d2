"""Reads delimited text as it arrives, in bounded memory, whatever is in it, and knows where each row began."""

import csv
import re
from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice
from typing import NamedTuple

DELIMITERS = {",": "comma", ";": "semicolon", "\t": "tab"}
MAX_LINE_BYTES = 1 << 20
MAX_RECORD_LINES = 200
MAX_RECORD_BYTES = 1 << 20
MAX_UNCLOSED = 50
MAX_COLUMNS = 200
SAMPLE_BYTES = 256 * 1024
LINE_BREAK = "\u2028"  # a line break inside a cell of a workbook, where each row of the sheet is one line of CSV

_SEP_LINE = re.compile(r"sep=(.)\r?\n?", re.IGNORECASE)
_QUOTED_CELL = re.compile(r'(^|[,;\t\r\n])[ ]*"(?:[^"]|"")*"')
_UTF8_BOM = b"\xef\xbb\xbf"
SAVE_AS_CSV = "In Excel choose File → Save as → CSV UTF-8, then upload that file."
_KNOWN_FILES = (
    (b"%PDF", "This is a PDF. Export the list as CSV, then upload that file."),
    (b"\x1f\x8b", "This file is compressed. Unpack it, then upload the CSV file inside."),
    (b"\xff\xfe", f"This file is UTF-16 (“Unicode text”). {SAVE_AS_CSV}"),
    (b"\xfe\xff", f"This file is UTF-16 (“Unicode text”). {SAVE_AS_CSV}"),
)


class UnreadableFile(ValueError):
    """The file as a whole can't be read; its text is a sentence for the person who uploaded it."""


class Record(NamedTuple):
    """One data row. `row` counts data rows from 1, `line` is the physical line it begins on.

    `text` is the row as it stands in the file, `problem` why it can't be split into cells (then `cells` is empty).
    """

    row: int
    line: int
    cells: list[str]
    text: str
    problem: str = ""


class Position(NamedTuple):
    """Where reading can go on: bytes, physical lines and data rows already done."""

    offset: int = 0
    lines: int = 0
    rows: int = 0


@dataclass(frozen=True, slots=True)
class Layout:
    """What the first rows of a file tell: how it is delimited, where its rows begin and what they look like.

    `start` is the place of the first record and `after_header` that of the second; `first` begins with the header.
    """

    delimiter: str
    start: Position
    after_header: Position
    first: list[list[str]]


class LongLine(bytes):
    """The beginning of a physical line that is over MAX_LINE_BYTES; `size` is its whole length in bytes."""

    size: int = 0


class _Unclosed(Exception):
    pass


def split_lines(blocks: Iterable[bytes]) -> Iterator[bytes]:
    """Physical lines with their ends (LF, CRLF or CR, also mixed); never holds more than a block and a line."""
    tail = b""
    long: LongLine | None = None
    for block in blocks:
        pieces = (tail + block).splitlines(keepends=True)
        # a CR at the end of a block may be half of a CRLF
        tail = pieces.pop() if pieces and not pieces[-1].endswith(b"\n") else b""
        for piece in pieces:
            if long is not None:
                long.size += len(piece)
                yield long
                long = None
            else:
                yield piece if len(piece) <= MAX_LINE_BYTES else _long_line(piece)
        if long is not None or len(tail) > MAX_LINE_BYTES:
            kept = b"\r" if tail.endswith(b"\r") else b""
            if long is None:
                long = _long_line(tail)
                long.size -= len(kept)
            else:
                long.size += len(tail) - len(kept)
            tail = kept
    if long is not None:
        long.size += len(tail)
        yield long
    elif tail:
        # a lone CR inside the tail was already split; what is left is one last line, with or without its end
        yield tail


def _long_line(piece: bytes) -> LongLine:
    line = LongLine(piece[:MAX_LINE_BYTES])
    line.size = len(piece)
    return line


class Records:
    """Iterates the data rows of `blocks`, which begin at byte `start.offset` of the file.

    `position` is always the place after the row given last, so a reader that begins there goes on exactly. Blank
    lines are no rows. Quotes are read as Excel writes them, and stray ones inside a cell are kept. A quote that is
    never closed (within MAX_RECORD_LINES) costs only the line it stands on: reading goes on at the next.
    Raises UnreadableFile, naming the line, for text that isn't UTF-8 or has MAX_UNCLOSED such lines.
    """

    def __init__(self, blocks: Iterable[bytes], delimiter: str, start: Position = Position()) -> None:  # noqa: B008
        self.position = start
        self._delimiter = delimiter
        self._lines = split_lines(blocks)
        self._put_back: deque[bytes] = deque()
        self._unclosed = 0

    def __iter__(self) -> Iterator[Record]:
        delimiter, put_back, lines = self._delimiter, self._put_back, self._lines
        offset, line_no, row = self.position
        while True:
            line = put_back.popleft() if put_back else next(lines, None)
            if line is None:
                return
            if b'"' not in line and type(line) is bytes:  # the fast path: nothing to unquote
                text = self._decoded(line, line_no)
                offset, line_no = offset + len(line), line_no + 1
                text = text.rstrip("\r\n")
                if not text:
                    continue
                row += 1
                self.position = Position(offset, line_no, row)
                yield Record(row, line_no, text.split(delimiter), text)
                continue
            cells, taken, problem = self._unquoted(line, line_no)
            row += 1
            first = line_no + 1
            text = "".join(part.decode(errors="replace") for part in taken).rstrip("\r\n")
            offset += sum(part.size if isinstance(part, LongLine) else len(part) for part in taken)
            line_no += len(taken)
            self.position = Position(offset, line_no, row)
            yield Record(row, first, cells, text, problem)

    def _decoded(self, line: bytes, lines_before: int) -> str:
        try:
            return line.decode()
        except UnicodeDecodeError as error:
            raise UnreadableFile(not_utf8(lines_before + 1, error.start + 1)) from None

    def _unquoted(self, first: bytes, lines_before: int) -> tuple[list[str], list[bytes], str]:
        """The cells of the record that begins with `first`, the physical lines it took, and its problem if any."""
        if isinstance(first, LongLine):
            return [], [first], f"This line is {first.size:,} bytes long; {MAX_LINE_BYTES:,} is the most"
        taken: list[bytes] = []
        try:
            return next(self._parse(self._feed(first, lines_before, taken), strict=True)), taken, ""
        except (csv.Error, _Unclosed):
            # The next quoted cell of a later row closes a forgotten quote and then fails here: give its lines back.
            self._put_back.extendleft(reversed(taken[1:]))
        try:
            only = self._decoded(first, lines_before)
            return next(self._parse(self._alone(only), strict=False)), [first], ""
        except csv.Error:
            return [], [first], f"A cell of this row is longer than {csv.field_size_limit():,} characters"
        except _Unclosed:
            self._unclosed += 1
            if self._unclosed >= MAX_UNCLOSED:  # each may cost reading MAX_RECORD_LINES again
                raise UnreadableFile(
                    f"Line {lines_before + 1:,}: this is the {MAX_UNCLOSED}th line with a quotation mark that is "
                    "never closed. Repair the quotation marks, then upload the file again."
                ) from None
            return [], [first], "A quotation mark opened on this line is never closed"

    def _parse(self, lines: Iterator[str], strict: bool) -> Iterator[list[str]]:
        return csv.reader(lines, delimiter=self._delimiter, skipinitialspace=True, strict=strict)

    def _feed(self, first: bytes, lines_before: int, taken: list[bytes]) -> Iterator[str]:
        """Gives csv the lines it asks for; it asks for another only inside an open quote."""
        line: bytes | None = first
        size = 0
        while line is not None:
            taken.append(line)
            size += len(line)
            if isinstance(line, LongLine) or len(taken) > MAX_RECORD_LINES or size > MAX_RECORD_BYTES:
                break
            yield self._decoded(line, lines_before + len(taken) - 1)
            line = self._put_back.popleft() if self._put_back else next(self._lines, None)
        raise _Unclosed

    @staticmethod
    def _alone(line: str) -> Iterator[str]:
        yield line
        raise _Unclosed


def not_utf8(line: int, byte: int) -> str:
    return f"Line {line:,} is not UTF-8 text (byte {byte:,} of the line). {SAVE_AS_CSV}"


class TextCheck:
    """Looks through a file as it is uploaded, so that a wrong encoding is answered before anything is kept."""

    def __init__(self) -> None:
        self._rest = b""
        self._lines = 0
        self._line_bytes = 0
        self._first = True

    def feed(self, block: bytes) -> None:
        """Raises UnreadableFile for archives and anything that isn't UTF-8, naming the line."""
        if self._first and block:
            refuse_known_files(block)
            self._first = False
        data = self._rest + block
        try:
            data.decode()
            good = len(data)
        except UnicodeDecodeError as error:
            if error.end < len(data) or error.reason != "unexpected end of data":
                raise self._error(data, error.start) from None
            good = error.start
        if data[:good].endswith(b"\r"):  # perhaps half of a CRLF
            good -= 1
        self._count(data[:good])
        self._rest = data[good:]

    def finish(self) -> int:
        """The number of physical lines, about the number of rows. Raises UnreadableFile."""
        if self._first:
            raise UnreadableFile("This file is empty.")
        if self._rest.strip(b"\r"):
            raise self._error(self._rest, self._rest.count(b"\r"))
        self._count(self._rest)
        return self._lines + (self._line_bytes > 0)

    def _count(self, data: bytes) -> None:
        ends = _line_ends(data)
        self._lines += ends
        after = len(data) - 1 - max(data.rfind(b"\n"), data.rfind(b"\r"))
        self._line_bytes = after if ends else self._line_bytes + after

    def _error(self, data: bytes, at: int) -> UnreadableFile:
        self._count(data[:at])
        return UnreadableFile(not_utf8(self._lines + 1, self._line_bytes + 1))


def _line_ends(data: bytes) -> int:
    return data.count(b"\n") + data.count(b"\r") - data.count(b"\r\n")


def refuse_known_files(head: bytes) -> None:
    """Raises UnreadableFile for what is plainly another kind of file, by content and not by name."""
    for magic, sentence in _KNOWN_FILES:
        if head.startswith(magic):
            raise UnreadableFile(sentence)
    if head[:SAMPLE_BYTES].count(0) > len(head[:SAMPLE_BYTES]) // 10:
        raise UnreadableFile("This is not a text file. Save the list as CSV UTF-8, then upload that file.")


def examine(head: bytes, whole: bool, delimiter: str = "") -> Layout:
    """The layout of a file from its first bytes (`whole`: these are all of it). Raises UnreadableFile.

    The delimiter is the one the first record uses most outside quotes; rows decide only between equals. An Excel
    `sep=;` line settles it and is not a row. With a known ``delimiter`` there is nothing to find out.
    """
    refuse_known_files(head)
    if not whole:  # the last line of the sample may be cut anywhere, also inside a character
        head = head[: max(head.rfind(b"\n"), head.rfind(b"\r")) + 1] or head.decode(errors="ignore").encode()
    start = Position(len(_UTF8_BOM)) if head.startswith(_UTF8_BOM) else Position()
    first_line = next(split_lines([head[start.offset :]]), b"")
    guessing = not delimiter and len(first_line) < 10
    told = _SEP_LINE.fullmatch(first_line.decode(errors="replace")) if guessing else None
    if told:
        start = Position(start.offset + len(first_line), 1)
    body = head[start.offset :]
    if not delimiter:
        delimiter = told[1] if told and told[1] in DELIMITERS else _likeliest_delimiter(body, start)
    records = Records([body], delimiter, start)
    first = next(iter(records), None)
    if first is None:
        raise UnreadableFile("This file has no rows.")
    if first.problem:
        raise UnreadableFile(f"Line {first.line}: {first.problem[0].lower()}{first.problem[1:]}.")
    if len(first.cells) > MAX_COLUMNS:
        raise UnreadableFile(f"The first row has {len(first.cells):,} columns; {MAX_COLUMNS} is the most.")
    return Layout(delimiter, start, records.position._replace(rows=0), _first_rows(body, delimiter, start, 50))


def _likeliest_delimiter(body: bytes, start: Position) -> str:
    text = body[: 64 * 1024].decode(errors="replace").lstrip("\r\n")
    header = re.split(r"[\r\n]", _QUOTED_CELL.sub(r"\1", text), maxsplit=1)[0]

    def evidence(delimiter: str) -> tuple[int, int]:
        rows = _first_rows(body, delimiter, start, 20)
        return header.count(delimiter), sum(len(row) == len(rows[0]) for row in rows)

    return max(DELIMITERS, key=evidence)


def _first_rows(body: bytes, delimiter: str, start: Position, most: int) -> list[list[str]]:
    rows: list[list[str]] = []
    with suppress(UnreadableFile):  # further down; the import itself names the line
        good = (record.cells for record in Records([body], delimiter, start) if not record.problem)
        rows.extend(islice(good, most))
    return rows
