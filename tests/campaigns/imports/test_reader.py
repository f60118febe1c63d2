"""The reader splits any delimited text into rows that know their place, and never loses one silently."""

import contextlib
import itertools
import random
import subprocess
import sys
import textwrap

import pytest
from hypothesis import given
from hypothesis import strategies as st

from campaigns.imports import reader
from campaigns.imports.reader import Position, Records, TextCheck, UnreadableFile, examine, split_lines

DELIMITERS = st.sampled_from([",", ";", "\t"])


def blocks(data: bytes, size: int) -> list[bytes]:
    return [data[i : i + size] for i in range(0, len(data), size)]


def read(text: str | bytes, delimiter: str = ",", size: int = 7) -> list[reader.Record]:
    data = text.encode() if isinstance(text, str) else text
    return list(Records(blocks(data, size), delimiter))


def cells(text: str | bytes, delimiter: str = ",") -> list[list[str]]:
    return [record.cells for record in read(text, delimiter)]


@given(st.binary(max_size=80).map(lambda data: data.replace(b"\x00", b"\r\n")), st.integers(1, 9))
def test_lines_are_whole_however_the_file_arrives(data, size) -> None:
    assert list(split_lines(blocks(data, size))) == data.splitlines(keepends=True)


def written(rows: list[list[str]], delimiter: str, end: str, always: bool) -> str:
    """Quoted as RFC 4180 and Excel do (Python's own writer leaves a lone CR bare)."""

    def cell(text: str) -> str:
        return '"' + text.replace('"', '""') + '"' if always or set(text) & set('",;\t\r\n') else text

    return "".join(delimiter.join(map(cell, row)) + end for row in rows)


@given(
    # our reader forgives blanks before an opening quote, so it can't keep them
    st.lists(st.lists(st.text("ab \"',;\t\r\né李", max_size=6).map(str.lstrip), min_size=2, max_size=4), max_size=12),
    DELIMITERS,
    st.sampled_from(["\n", "\r\n", "\r"]),
    st.booleans(),
    st.integers(1, 50),
)
def test_what_a_spreadsheet_writes_is_read_back_cell_for_cell(rows, delimiter, end, always, size) -> None:
    assert cells_of(written(rows, delimiter, end, always), delimiter, size) == rows


def cells_of(text: str, delimiter: str, size: int) -> list[list[str]]:
    return [record.cells for record in read(text, delimiter, size)]


def test_rows_know_the_line_they_begin_on_and_blank_lines_are_no_rows() -> None:
    records = read('a,b\r\n\r\n"x\r\ny",1\n\nlast,2')
    assert [(r.row, r.line, r.cells) for r in records] == [
        (1, 1, ["a", "b"]),
        (2, 3, ["x\r\ny", "1"]),
        (3, 6, ["last", "2"]),
    ]


@given(st.integers(0, 60))
def test_reading_goes_on_exactly_where_it_stopped(stop) -> None:
    rng = random.Random(stop)
    lines = [rng.choice(['"q\n{i}",x\r\n', "plain{i},x\n", "\n", '"open{i},x\n', "é{i},李\r"]) for _ in range(60)]
    data = "".join(line.replace("{i}", str(i)) for i, line in enumerate(lines)).encode()
    whole = list(Records([data], ","))
    records = Records(blocks(data, 64), ",")
    first = list(itertools.islice(records, stop))
    place = records.position if first else Position()
    assert first + list(Records(blocks(data[place.offset :], 10), ",", place)) == whole


def test_a_forgotten_closing_quote_costs_only_its_own_line() -> None:
    records = read('name,phone\n"Ali,1\nAbu,2\n"Tan, W",3\nLee,4\n')
    assert [r.cells for r in records if not r.problem] == [
        ["name", "phone"],
        ["Abu", "2"],
        ["Tan, W", "3"],
        ["Lee", "4"],
    ]
    assert [(r.row, r.line, r.text, r.problem) for r in records if r.problem] == [
        (2, 2, '"Ali,1', "A quotation mark opened on this line is never closed")
    ]


def test_a_forgotten_quote_at_the_end_of_a_long_file_is_found_without_holding_the_file() -> None:
    records = read('"open,1\n' + "x,2\n" * 5000, size=4096)
    assert records[0].problem
    assert [r.cells for r in records[1:]] == [["x", "2"]] * 5000


def test_a_file_full_of_open_quotes_is_refused_naming_the_line() -> None:
    with pytest.raises(UnreadableFile, match=r"Line 51: this is the 50th line"):
        read("name,phone\n" + 'a","b\n' * 40_000, size=1 << 20)


def test_stray_quotes_inside_a_cell_are_kept() -> None:
    assert cells('5" screen,1\n"Bob "The B" Lim",2\n"a" ,3\n') == [
        ['5" screen', "1"],
        ['Bob The B" Lim"', "2"],
        ["a ", "3"],
    ]


def test_quotes_after_a_blank_still_quote() -> None:
    assert cells('x, "a, b",y\n') == [["x", "a, b", "y"]]


@pytest.mark.parametrize("quote", ["", '"'])
def test_a_cell_of_ten_megabytes_is_one_refused_row(quote) -> None:
    huge = f"before,1\n{quote}{'x' * 10_000_000}{quote},2\nafter,3\n"
    records = read(huge, size=1 << 20)
    assert [r.cells for r in records] == [["before", "1"], [], ["after", "3"]]
    assert records[1].problem == "This line is 10,000,003 bytes long; 1,048,576 is the most" or quote
    assert len(records[1].text) <= reader.MAX_LINE_BYTES


def test_a_quoted_cell_over_the_limit_of_csv_is_one_refused_row() -> None:
    records = read(f'"{"x" * 200_000}",1\nafter,2\n', size=1 << 16)
    assert "longer than 131,072 characters" in records[0].problem
    assert records[1].cells == ["after", "2"]


def test_text_that_is_not_utf8_names_its_line() -> None:
    with pytest.raises(UnreadableFile, match=r"Line 2 is not UTF-8 text \(byte 4 of the line\)"):
        read("name\nJos\xe9,1\n".encode("latin-1"))


@given(st.text("aé李🙂\r\n", max_size=40), st.sampled_from([b"", b"\xff", b"\xe9", b"\xc3"]), st.integers(1, 8))
def test_the_check_at_upload_finds_the_first_wrong_byte(good, tail, size) -> None:
    data = b"x" + good.encode() + tail * 2
    check = TextCheck()

    def upload() -> int:
        for block in blocks(data, size):
            check.feed(block)
        return check.finish()

    try:
        data.decode()
    except UnicodeDecodeError as wrong:
        before = data[: wrong.start].splitlines(keepends=True)
        line = len(before) + (before[-1].endswith((b"\n", b"\r")))
        with pytest.raises(UnreadableFile, match=rf"^Line {line} is not UTF-8"):
            upload()
    else:
        assert upload() == len(data.splitlines())


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        (b"", "empty"),
        (b"\xef\xbb\xbf", "no rows"),
        (b"\r\n\r\n", "no rows"),
        ("Name,Phone\n".encode("utf-16"), "UTF-16"),
        ("Name,Phone\nAli,1\n".encode("utf-16-be"), "not a text file"),
        (b"%PDF-1.7", "PDF"),
        (b"\x1f\x8b\x08\x00", "compressed"),
        ("José,1\n".encode("cp1252"), "Line 1 is not UTF-8"),
    ],
)
def test_other_kinds_of_files_are_answered_with_a_way_out(data, sentence) -> None:
    check = TextCheck()
    with pytest.raises(UnreadableFile, match=r".") as refused:  # noqa: PT012
        check.feed(data)
        check.finish()
        examine(data, whole=True)
    assert sentence in str(refused.value)


@pytest.mark.parametrize(
    ("text", "delimiter", "first"),
    [
        ("Name,Phone\n", ",", ["Name", "Phone"]),
        ("Name;Phone, mobile\nA;1\n", ";", ["Name", "Phone, mobile"]),
        ('Name;"a, b, c, d";Phone\nA;x;1\n', ";", ["Name", "a, b, c, d", "Phone"]),
        ("A\tB\n", "\t", ["A", "B"]),
        ("Phone\n+60123456789\n", ",", ["Phone"]),
        ("\ufeffName;Phone\n", ";", ["Name", "Phone"]),
        ("sep=;\r\nName;a,b,c,d\r\n", ";", ["Name", "a,b,c,d"]),
        ("\ufeffsep=\t\nName\tPhone\n", "\t", ["Name", "Phone"]),
        ('"Full\nName","Phone\nNo."\nA,1\n', ",", ["Full\nName", "Phone\nNo."]),
        ("Name;Phone,\nA;1\nB;2\n", ";", ["Name", "Phone,"]),
        ("\n\nName,Phone\n", ",", ["Name", "Phone"]),
        ("Name,Phone\r1,2\r", ",", ["Name", "Phone"]),
    ],
)
def test_the_delimiter_is_told_by_the_first_row(text, delimiter, first) -> None:
    layout = examine(text.encode(), whole=True)
    assert layout.delimiter == delimiter
    assert layout.first[0] == first
    rest = text.encode()[layout.after_header.offset :]
    assert [r.cells for r in Records([rest], delimiter, layout.after_header)] == layout.first[1:]


def test_a_sample_cut_inside_a_character_or_a_quote_is_still_examined() -> None:
    data = ("Name,Phone\n" + '"é\né",1\n' * 50).encode()
    for cut in range(12, 60):
        assert examine(data[:cut], whole=False).first[0] == ["Name", "Phone"]
    assert examine("Naém".encode()[:3], whole=False).first == [["Na"]]


@given(st.binary(max_size=300), DELIMITERS)
def test_no_file_whatever_breaks_the_reader(data, delimiter) -> None:
    with contextlib.suppress(UnreadableFile):
        layout = examine(data, whole=True)
        records = list(Records(blocks(data[layout.start.offset :], 11), delimiter, layout.start))
        assert [r.row for r in records] == list(range(1, len(records) + 1))
        assert all(bool(r.cells) != bool(r.problem) for r in records)


def test_memory_stays_flat_over_thirty_megabytes_of_anything() -> None:
    program = textwrap.dedent(
        """
        from campaigns.imports.reader import Records
        from tests.memory import peak_mb
        def file():
            for i in range(30):
                yield b'"quoted\\ncell",+60123456789,x\\n' * 20000 + b"y" * 400_000
                if i % 3 == 0:
                    yield b'\\n'
        before = peak_mb()
        rows = sum(1 for _ in Records(file(), ","))
        print(rows, peak_mb() - before)
        """
    )
    out = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
    rows, grown = map(int, out.split())
    assert rows > 570_000
    assert grown < 15
