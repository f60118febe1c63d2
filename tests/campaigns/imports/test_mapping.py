"""Columns are guessed from any header, and rows become people or a reason."""

import csv
import io
import json
from pathlib import Path
from typing import Any

import pytest

from campaigns.imports.mapping import (
    BadRow,
    Column,
    Mapping,
    Person,
    Role,
    clean,
    field_name,
    guess_columns,
    has_header,
    split_tags,
)
from campaigns.imports.reader import Record, Records, examine

DATA = Path(__file__).parents[2] / "data"


def guessed(text: str, region: str = "MY") -> list[str]:
    layout = examine(text.encode(), whole=True)
    columns = guess_columns(layout.first, has_header(layout.first, region), region)
    return [column.field or column.role.value for column in columns]


def import_everything(data: bytes, region: str) -> tuple[dict[str, dict], list[int], int]:
    layout = examine(data[:4096], whole=False)
    header = has_header(layout.first, region)
    mapping = Mapping(guess_columns(layout.first, header, region), region)
    start = layout.after_header if header else layout.start
    people: dict[str, dict] = {}
    rejected, rows = [], 0
    for record in Records([data[start.offset :]], layout.delimiter, start):
        rows += 1
        try:
            person = mapping.person(record)
        except BadRow:
            rejected.append(record.row)
        else:
            people.setdefault(person.phone, {}).update(person.fields)
    return people, rejected, rows


EXPECTED = json.loads((DATA / "contacts_messy.expected.json").read_text())


def assert_as_expected(data: bytes, region: str) -> None:
    people, rejected, rows = import_everything(data, region)
    assert rows == EXPECTED["rows"]
    assert rejected == EXPECTED["rejected_data_rows"]
    assert rows - len(rejected) == EXPECTED["accepted_rows"]
    assert sorted(people) == EXPECTED["e164"]
    assert len(people) == EXPECTED["contacts"]


def test_the_messy_file_imports_exactly_as_expected() -> None:
    assert_as_expected((DATA / "contacts_messy.csv").read_bytes(), EXPECTED["default_region"])


@pytest.mark.parametrize(
    ("delimiter", "end", "bom", "header"),
    [
        (";", "\r\n", "\ufeff", "Nombre,Teléfono,Ciudad,Etiquetas"),
        ("\t", "\n", "", "name,mobile,city,tag"),
        (",", "\r", "", "姓名,手机,城市,标签"),
        (";", "\n", "", "Name,WhatsApp,Ort,Gruppe"),
        ("\t", "\r", "\ufeff", "a,b,c,d"),
        (",", "\r\n", "", ""),
    ],
)
def test_files_like_the_messy_one_import_as_well(delimiter, end, bom, header) -> None:
    source = (DATA / "contacts_messy.csv").read_bytes().decode("utf-8-sig")
    rows = list(csv.reader(io.StringIO(source, newline="")))
    order = [2, 0, 3, 1]  # another order of columns
    out = io.StringIO()
    # with a bare CR as its line end, Python's writer leaves cells with a LF unquoted
    mac: dict[str, Any] = {"quoting": csv.QUOTE_ALL} if end == "\r" else {}
    writer = csv.writer(out, delimiter=delimiter, lineterminator=end, **mac)
    names = header.split(",") if header else rows[0]
    for row in [names, *rows[1:]]:
        writer.writerow([row[i] for i in order])
    assert_as_expected((bom + out.getvalue()).encode(), "MY")


@pytest.mark.parametrize(
    ("text", "columns"),
    [
        ("Full Name,Phone No.,City,Tags\n", ["name", "phone", "city", "tags"]),
        ("Nombre;Apellido;Teléfono;Fecha de nacimiento\n", ["name", "name", "phone", "fecha_de_nacimiento"]),
        ("Mobile\tWhatsApp Name\tGroup\n012-3456789\tx\ty\n", ["phone", "name", "tags"]),
        ("First Name,Last Name,Company Name,Cell\n", ["name", "name", "company_name", "phone"]),
        ("Name,First name,Phone\n", ["name", "name", "phone"]),
        ("Full name,First name,Phone\n", ["name", "field_first_name", "phone"]),
        ("No,Nama,No. HP,Bandar\n1,Ali,0123456789,KL\n", ["no", "name", "phone", "bandar"]),
        ("No,Nama,Nombor,Bandar\n1,Ali,0123456789,KL\n", ["no", "name", "phone", "bandar"]),
        ("foo,bar,baz\nAli,012-3456788,KL\n", ["foo", "phone", "baz"]),
        ("012-3456789,Ali\n012-3456788,Abu\n", ["phone", "name"]),
        ("+60123456789\n+60123456788\n", ["phone"]),
        ("Line,Reason,Full Name,Phone No.\n2,bad,Ali,x\n", ["ignore", "ignore", "name", "phone"]),
        ("Имя,Телефон,Город\n", ["name", "phone", "город"]),
        ("ชื่อ,เบอร์โทร\n", ["name", "phone"]),
        ("الاسم,رقم الهاتف\n", ["name", "phone"]),
        ("Phone,Phone,Name\n0123456789,,Ali\n", ["phone", "field_phone", "name"]),
        ("City,City,,\nKL,PJ,x,\n", ["city", "city_2", "column_3", "ignore"]),
        ("a,b\nx,y\n", ["a", "b"]),
    ],
)
def test_columns_are_guessed_from_names_in_many_languages_and_from_what_is_below(text, columns) -> None:
    assert guessed(text) == columns


def person(row: list[str], *roles: Column, region: str = "MY") -> Person:
    return Mapping(roles, region).person(Record(1, 2, row, ",".join(row)))


PHONE, NAME, TAGS = Column(Role.PHONE), Column(Role.NAME), Column(Role.TAGS)
CITY = Column(Role.FIELD, "city")


def test_several_name_columns_are_joined_and_blanks_are_tidied() -> None:
    assert person(["Ana", " Lúcia\n ", "0123456789"], NAME, NAME, PHONE).name == "Ana Lúcia"


def test_empty_cells_say_nothing_and_short_rows_are_fine() -> None:
    accepted = person(["0123456789", ""], PHONE, CITY, NAME, TAGS)
    assert accepted == Person("+60123456789", "", {}, [])


def test_a_row_with_cells_beyond_the_columns_is_refused() -> None:
    with pytest.raises(BadRow, match="3 cells in a file of 2 columns"):
        person(["0123456789", "Kuala Lumpur", "MY"], PHONE, CITY)
    assert person(["0123456789", "KL", " "], PHONE, CITY).fields == {"city": "KL"}


def test_nul_and_other_control_characters() -> None:
    with pytest.raises(BadRow, match="NUL"):
        person(["0123456789", "a\0b"], PHONE, CITY)
    assert person(["0123456789", "\x07a\x1b[0m\r\nb"], PHONE, CITY).fields == {"city": "a[0m\nb"}


def test_formulas_are_kept_as_text_and_come_back_from_our_own_files_unchanged() -> None:
    for formula in ('=HYPERLINK("x")', "+1", "-1", "@x"):
        assert clean(formula) == formula
        assert clean("'" + formula) == formula
    assert clean("'t Hooft") == "'t Hooft"


def test_text_is_composed_so_that_the_same_name_is_the_same_text() -> None:
    assert clean("Jose\u0301") == "José"


def test_tags_match_exactly_and_stand_once() -> None:
    assert split_tags(" vip ; new;vip|VIP,ไทย;;") == ["vip", "new", "VIP", "ไทย"]


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        (["0123456789", "x" * 201, "", ""], "The name is 201 characters long"),
        (["0123456789", "", "x" * 1001, ""], "The city is 1,001 characters long"),
        (["0123456789", "", "", "x" * 61], "The tag “xxx"),
        (["0123456789", "", "", ";".join(map(str, range(51)))], "51 tags"),
    ],
)
def test_what_does_not_fit_is_refused_not_cut(row, reason) -> None:
    with pytest.raises(BadRow, match=reason):
        person(row, PHONE, NAME, CITY, TAGS)


@pytest.mark.parametrize(
    ("header", "key"),
    [
        ("Date of birth", "date_of_birth"),
        ("N.º", "n_o"),
        ("城市", "城市"),
        ("Name", "field_name"),
        (" -- ", ""),
        ("x" * 80, "x" * 40),
    ],
)
def test_headers_become_names_usable_in_a_message(header, key) -> None:
    assert field_name(header) == key
