"""Workbooks become the CSV that the reader knows, or a sentence; nothing is unpacked before it is looked through."""

from __future__ import annotations

import io
import struct
import tempfile
import zipfile
from datetime import date, datetime, time, timedelta
from pathlib import Path

import pytest

from campaigns.imports import workbook
from campaigns.imports.reader import LINE_BREAK, UnreadableFile
from campaigns.imports.workbook import as_text, check, is_workbook, sheet_as_csv, sheets_of
from tests.workbooks import make_xlsx


def read(data: bytes, sheet: str = "") -> str:
    with tempfile.NamedTemporaryFile() as file:
        Path(file.name).write_bytes(data)
        return b"".join(sheet_as_csv(file.name, sheet or sheets_of(file.name)[0])).decode()


def refused(data: bytes) -> str:
    with pytest.raises(UnreadableFile) as error:  # noqa: PT012
        check(io.BytesIO(data))
        read(data)
    return str(error.value)


def test_each_row_of_the_sheet_is_the_same_line_of_csv() -> None:
    rows: list[list[object]] = [
        ["Name", "Phone", "Born", "Notes", "VIP"],
        ["Ali, A.", 60123456789, date(1990, 1, 31), "two\nlines", True],
        [],
        ['"Quoted"', "6.01E+10", None, "=SUM(A1)", False],
        ["Float", 60123456789.0, None, 12.5, None, None],
    ]
    assert read(make_xlsx(rows)).split("\r\n") == [
        "Name,Phone,Born,Notes,VIP",
        f'"Ali, A.",60123456789,1990-01-31,two{LINE_BREAK}lines,TRUE',
        "",
        '"""Quoted""",6.01E+10,,=SUM(A1),FALSE',
        "Float,60123456789,,12.5",
        "",
    ]


def test_a_sheet_that_begins_further_down_keeps_its_line_numbers() -> None:
    assert read(make_xlsx([[], [], ["Phone"], [60123456789]])) == "\r\n\r\nPhone\r\n60123456789\r\n"


def test_a_formula_counts_as_its_last_result() -> None:
    cell = '<f>HYPERLINK("http://x")</f><v>60123456789</v>'
    assert read(make_xlsx([["Phone"], [cell]])) == "Phone\r\n60123456789\r\n"


def test_hidden_sheets_are_left_out() -> None:
    file = make_xlsx({"Old": [["x"]], "Täglich": [["Phone"]], "More": []}, hidden=["Old"])
    with tempfile.NamedTemporaryFile() as copy:
        Path(copy.name).write_bytes(file)
        assert sheets_of(copy.name) == ["Täglich", "More"]


@pytest.mark.parametrize(
    ("cell", "text"),
    [
        (60123456789.0, "60123456789"),
        (6.01e10, "60100000000"),
        (1e20, "1E+20"),
        (0.1, "0.1"),
        (float("nan"), ""),
        (True, "TRUE"),
        (datetime(2026, 1, 31), "2026-01-31"),
        (datetime(2026, 1, 31, 9, 30, 1, 5), "2026-01-31 09:30:01"),
        (date(2026, 1, 31), "2026-01-31"),
        (time(9, 30), "09:30:00"),
        (timedelta(hours=30), "1 day, 6:00:00"),
        ("a\r\nb\rc", f"a{LINE_BREAK}b{LINE_BREAK}c"),
    ],
)
def test_cells_read_as_the_csv_reader_knows_them(cell: object, text: str) -> None:
    assert as_text(cell) == text


def test_the_kind_is_told_by_content() -> None:
    assert is_workbook(make_xlsx([["x"]]))
    assert is_workbook(b"\xd0\xcf\x11\xe0" + bytes(100))
    assert not is_workbook(b"Name,Phone\n")


def bomb() -> bytes:
    return make_xlsx([["Phone"]], extra={"xl/media/image1.png": bytes(64 << 20)})


def liar() -> bytes:
    """An entry of 32 MB that says it has 100 bytes, in both of its headers."""
    data = bytearray(make_xlsx([["Phone"]], extra={"xl/big.xml": bytes(32 << 20)}))
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        entry = archive.getinfo("xl/big.xml")
    real, told = struct.pack("<L", entry.file_size), struct.pack("<L", 100)
    while (at := data.find(real)) >= 0:
        data[at : at + 4] = told
    return bytes(data)


def zipped(**entries: bytes) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name, data in entries.items():
            archive.writestr(name, data)
    return file.getvalue()


def locked() -> bytes:
    return b"\xd0\xcf\x11\xe0" + bytes(508) + "EncryptedPackage".encode("utf-16-le") + bytes(512)


@pytest.mark.parametrize(
    ("file", "sentence"),
    [
        (bomb, "times as large; 200 times is the most"),
        (liar, "is damaged"),
        (lambda: zipped(people=b"Phone\n"), "a ZIP file, not a workbook"),
        (lambda: make_xlsx([["x"]], extra={f"x/{i}": b"" for i in range(2_001)}), "2,000 are the most"),
        (lambda: make_xlsx([["x"]])[:-30], "is damaged"),
        (lambda: b"PK\x03\x04" + bytes(100), "is damaged"),
        (lambda: b"\xd0\xcf\x11\xe0" + bytes(1000), "is damaged"),
        (locked, "protected by a password"),
        (lambda: make_xlsx([]), "This sheet is empty"),
        (lambda: make_xlsx({"x": [["x"]]}, hidden=["x"]), "no sheet that can be read"),
    ],
    ids=["bomb", "liar", "zip", "entries", "cut", "no zip", "no xls", "locked", "empty", "hidden"],
)
def test_what_cannot_be_read_ends_in_a_sentence(file, sentence) -> None:
    assert sentence in refused(file())


def test_a_small_file_that_names_a_huge_sheet_meets_the_limit_of_memory() -> None:
    corners = {"A1": "x", "XFD1048576": "y"}
    cells = "".join(f'<row r="{c.lstrip("AXFD")}"><c r="{c}" t="str"><v>{v}</v></c></row>' for c, v in corners.items())
    plain = make_xlsx([["x"]])
    file = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(plain)) as old, zipfile.ZipFile(file, "w") as new:
        for entry in old.infolist():
            data = old.read(entry)
            if entry.filename.endswith("sheet1.xml"):
                start, end = data.split(b"<row", 1)[0], b"</sheetData></worksheet>"
                data = start + cells.encode() + end
            new.writestr(entry.filename, data)
    assert f"{workbook.MAX_MEMORY >> 20} MB of memory" in refused(file.getvalue())
