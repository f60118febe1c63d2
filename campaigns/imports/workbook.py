"""Workbooks (xlsx, xlsb, ods, xls): looked through before they are unpacked, then turned into CSV.

calamine holds a sheet in memory, and a small file can name a huge one. So a workbook is opened in a process of its
own (this module's ``__main__``) under a limit of memory and time, and only CSV comes out of it.
"""

from __future__ import annotations

import csv
import io
import json
import math
import resource
import subprocess
import sys
import zipfile
import zlib
from collections.abc import Iterator
from datetime import date, datetime, time, timedelta
from pathlib import Path
from typing import IO, Any

from campaigns.imports.reader import LINE_BREAK, UnreadableFile

ZIP = b"PK\x03\x04"
OLE = b"\xd0\xcf\x11\xe0"
MAX_ENTRIES = 2_000
MAX_RATIO = 200
MAX_UNPACKED = 256 << 20
MAX_MEMORY = 300 << 20
MAX_SECONDS = 120
MAX_SHEETS = 200
READ_BYTES = 1 << 20
REFUSED = 3

_PARTS = ("xl/workbook.xml", "xl/workbook.bin", "content.xml")
_ENCRYPTED = "EncryptedPackage".encode("utf-16-le")
_AS_CSV = "In Excel choose File → Save as → CSV UTF-8, then upload that file."
_TOO_LARGE = (
    f"This workbook needs more than the {MAX_MEMORY >> 20} MB of memory or the {MAX_SECONDS} s that opening one may "
    "take: 200,000 rows of 10 columns go in. Save the sheet as CSV, which may be much longer, then upload that file."
)
_LOCKED = "This workbook is protected by a password. Take the password off in Excel and save it, then upload it again."
_DAMAGED = f"This workbook is damaged. Open and save it again in Excel, or: {_AS_CSV}"


def is_workbook(head: bytes) -> bool:
    """By content, whatever the name says: a ZIP archive or an OLE container. `check` says whether it really is one."""
    return head.startswith((ZIP, OLE))


def check(file: IO[bytes]) -> None:
    """Look at a workbook without unpacking more of it than a counter. Raises UnreadableFile.

    A bomb lies about its sizes, so each entry is also inflated once into nothing, and stopped where it says it ends.
    """
    file.seek(0)
    if file.read(4) == OLE:
        file.seek(0)
        if _ENCRYPTED in file.read():
            raise UnreadableFile(_LOCKED)
        return
    try:
        with zipfile.ZipFile(file) as archive:
            _check_entries(archive, file)
    except (
        zipfile.BadZipFile,
        zlib.error,
        NotImplementedError,
        OSError,
        EOFError,
        UnicodeDecodeError,
        ValueError,
    ) as e:
        if isinstance(e, UnreadableFile):
            raise
        raise UnreadableFile(_DAMAGED) from None


def _check_entries(archive: zipfile.ZipFile, file: IO[bytes]) -> None:
    entries = archive.infolist()
    if not {entry.filename for entry in entries} & set(_PARTS):
        raise UnreadableFile(
            "This is a ZIP file, not a workbook. Unpack it, then upload the CSV file or workbook inside."
        )
    if any(entry.flag_bits & 1 for entry in entries):
        raise UnreadableFile(_LOCKED)
    if len(entries) > MAX_ENTRIES:
        raise UnreadableFile(f"This workbook holds {len(entries):,} parts; {MAX_ENTRIES:,} are the most. {_AS_CSV}")
    packed, unpacked = sum(entry.compress_size for entry in entries), sum(entry.file_size for entry in entries)
    if packed > file.seek(0, io.SEEK_END):  # entries that share their bytes
        raise UnreadableFile(_DAMAGED)
    if unpacked > MAX_UNPACKED:
        raise UnreadableFile(
            f"Unpacked, this workbook is {unpacked >> 20:,} MB large; {MAX_UNPACKED >> 20} MB is the most. {_AS_CSV}"
        )
    if unpacked > MAX_RATIO * max(packed, READ_BYTES // MAX_RATIO):
        raise UnreadableFile(
            f"Unpacked, this workbook is {unpacked // max(packed, 1):,} times as large; {MAX_RATIO} times is the most. "
            f"{_AS_CSV}"
        )
    for entry in entries:
        _inflate(entry, file)


def _inflate(entry: zipfile.ZipInfo, file: IO[bytes]) -> None:
    if entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise UnreadableFile(_DAMAGED)
    if entry.compress_type == zipfile.ZIP_STORED:
        if entry.compress_size != entry.file_size:
            raise UnreadableFile(_DAMAGED)
        return
    file.seek(entry.header_offset)
    header = file.read(30)
    if len(header) < 30 or not header.startswith(ZIP):
        raise UnreadableFile(_DAMAGED)
    file.seek(int.from_bytes(header[26:28], "little") + int.from_bytes(header[28:30], "little"), io.SEEK_CUR)
    inflater, left, size = zlib.decompressobj(-zlib.MAX_WBITS), entry.compress_size, 0
    while not inflater.eof:
        data = inflater.unconsumed_tail
        if not data:
            data = file.read(min(left, 1 << 16))
            left -= len(data)
        out = inflater.decompress(data, 1 << 16)
        size += len(out)
        if size > entry.file_size or not (data or out):
            raise UnreadableFile(_DAMAGED)
    if size != entry.file_size:
        raise UnreadableFile(_DAMAGED)


def sheets_of(path: str) -> list[str]:
    """Names of the sheets that hold a table, hidden ones left out. Raises UnreadableFile."""
    names: list[str] = json.loads(b"".join(_opened("sheets", path)))
    if not names:
        raise UnreadableFile("This workbook has no sheet that can be read.")
    return names


def sheet_as_csv(path: str, sheet: str) -> Iterator[bytes]:
    """A sheet as CSV (UTF-8, commas), READ_BYTES at a time: row n of the sheet is line n. Raises UnreadableFile."""
    return _opened("csv", path, sheet)


def _opened(*arguments: str) -> Iterator[bytes]:
    command = [sys.executable, "-m", "campaigns.imports.workbook", *arguments]
    project = Path(__file__).parents[2]
    with subprocess.Popen(command, cwd=project, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        try:
            while block := process.stdout.read(READ_BYTES):
                yield block
            said = process.stderr.read()
        finally:
            process.kill()
    if process.returncode == REFUSED:
        raise UnreadableFile(said.decode())
    if process.returncode:
        raise UnreadableFile(_TOO_LARGE)


def main(deed: str, path: str, sheet: str = "") -> None:
    """Inside the limits: answer on stdout, or refuse with a sentence on stderr."""
    from python_calamine import CalamineError, PasswordError, load_workbook

    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_CPU, (MAX_SECONDS, MAX_SECONDS))
    resource.setrlimit(resource.RLIMIT_AS, (MAX_MEMORY, MAX_MEMORY))
    try:
        workbook = load_workbook(path)
        if deed == "sheets":
            found = [s.name for s in workbook.sheets_metadata if _is_table(s)]
            sys.stdout.write(json.dumps(found[:MAX_SHEETS]))
        else:
            _write(workbook.get_sheet_by_name(sheet), io.TextIOWrapper(sys.stdout.buffer, "utf-8", newline=""))
    except MemoryError:
        _refuse(_TOO_LARGE)
    except PasswordError:
        _refuse(_LOCKED)
    except CalamineError:
        _refuse(_DAMAGED)


def _is_table(sheet: Any) -> bool:
    return str(sheet.typ).endswith("WorkSheet") and str(sheet.visible).endswith(".Visible")


def _refuse(sentence: str) -> None:
    sys.stderr.write(sentence)
    sys.stderr.flush()
    raise SystemExit(REFUSED)


def _write(sheet: Any, out: io.TextIOWrapper) -> None:
    if sheet.start is None:
        _refuse("This sheet is empty.")
    writer = csv.writer(out)
    for row in sheet.iter_rows():  # from the first row on, also where a table begins further down
        cells = [as_text(cell) for cell in row]
        while cells and not cells[-1]:
            cells.pop()
        writer.writerow(cells)
    out.flush()


def as_text(cell: object) -> str:
    """A cell as the CSV reader knows it: whole numbers without their .0, dates as ISO text, one line."""
    match cell:
        case str():
            text = cell.replace("\r\n", "\n").replace("\r", "\n")
            return LINE_BREAK.join(text.split("\n")) if "\n" in text else text
        case bool():
            return "TRUE" if cell else "FALSE"
        case float():
            if not math.isfinite(cell):
                return ""
            # A number has 15 digits in a workbook: what is longer has lost some, and is refused as a phone number.
            return str(int(cell)) if cell.is_integer() and abs(cell) < 1e15 else repr(cell).upper()
        case datetime() if cell.time() == time():
            return cell.date().isoformat()
        case datetime():
            return cell.replace(microsecond=0).isoformat(" ")
        case date():
            return cell.isoformat()
        case time():
            return cell.replace(microsecond=0).isoformat()
        case timedelta():
            return str(cell)
    return str(cell)


if __name__ == "__main__":
    main(*sys.argv[1:])
