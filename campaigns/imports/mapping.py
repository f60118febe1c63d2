"""What each column of a file holds: guessed from its header and its first rows, then applied to every row."""

import re
import unicodedata
from collections.abc import Callable, Sequence
from collections.abc import Mapping as Kinds
from dataclasses import dataclass, field
from enum import StrEnum
from functools import lru_cache
from typing import NamedTuple

from accounts.phones import BadPhone, to_e164
from campaigns.compose import slug
from campaigns.imports import values
from campaigns.imports.neutral import FORMULAS
from campaigns.imports.reader import LINE_BREAK, Record

NAME_LENGTH = 200
FIELD_LENGTH = 1000
FIELD_NAME_LENGTH = 40
TAG_LENGTH = 60
TAGS_PER_ROW = 50


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


# Parts of a header that mean a phone number anywhere in it, and words that do or may mean things on their own.
_PHONE = _words(
    "phone mobile whatsapp telefon telephone celular movil msisdn 手机 手機 电话 電話 携帯 전화 휴대 "
    "телефон هاتف جوال واتس โทร फोन मोबाइल"
)
_PHONE_WORDS = _words("tel mob cell cel fon fone gsm hp wa sdt")
_MAYBE_PHONE = _words("number numero nummer nomor nombor num nr no contact номер رقم เบอร์")
_NAME_WORDS = _words(
    "name names fullname nombre nome nama nom naam ten customer cliente имя фио 姓名 名字 名前 이름 성명 "
    "اسم الاسم ชื่อ नाम"
)
_PART_WORDS = _words(
    "first given firstname fname vorname prenom nombres last family lastname lname surname nachname apellido "
    "apellidos sobrenome фамилия"
)
_OTHER_NAMES = _words("company business shop brand user file product empresa firma event campaign")
_TAG_WORDS = _words(
    "tag tags label labels etiqueta etiquetas etikett group groups grupo grupos gruppe segment 标签 標籤 метки "
    "تصنيف แท็ก"
)
_STATUS_WORDS = _words("status stage type kind lead customer tipe jenis estado tipo typ stufe")
_BETWEEN_TAGS = re.compile(r"[;|,\n]")
_REMOVED = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\ufeff]")


class Role(StrEnum):
    PHONE = "phone"
    NAME = "name"
    TAGS = "tags"
    STATUS = "status"
    FIELD = "field"
    IGNORE = "ignore"


# Looking a member up in its enumeration costs as much as cleaning a cell.
PHONE, NAME, TAGS, STATUS, IGNORE = Role.PHONE, Role.NAME, Role.TAGS, Role.STATUS, Role.IGNORE


class Column(NamedTuple):
    """What one column holds; `field` names the custom field when that is its role."""

    role: Role
    field: str = ""


class Person(NamedTuple):
    """An accepted row. Only cells that say something are here: an empty one never erases what is known."""

    phone: str
    name: str
    fields: dict[str, str]
    tags: list[str]
    status: str = ""


class BadRow(ValueError):
    """Its text says why a row is refused."""


@dataclass(frozen=True)
class Mapping:
    """Columns of a file and the country of its national numbers. Exactly one column is the phone number.

    Several name columns are joined in their order. A row may have fewer cells than columns; more of them mean that
    a delimiter stands unquoted inside a cell, so that nobody knows which cell is which: refused. `kinds` names the
    custom fields that are more than text; a cell that is no such thing refuses its row.
    """

    columns: Sequence[Column]
    region: str
    kinds: Kinds[str, str] = field(default_factory=dict)

    def person(self, record: Record) -> Person:
        """The person a row speaks of. Raises BadRow."""
        if record.problem:
            raise BadRow(record.problem)
        cells = record.cells
        if len(cells) > len(self.columns) and any(map(str.strip, cells[len(self.columns) :])):
            raise BadRow(
                f"{len(cells)} cells in a file of {len(self.columns)} columns: is a delimiter unquoted inside a cell?"
            )
        if "\0" in record.text:
            raise BadRow("The row holds a NUL character (byte 0)")
        phone, status = "", ""
        names: list[str] = []
        fields: dict[str, str] = {}
        tags: list[str] = []
        for (role, key), cell in zip(self.columns, cells, strict=False):
            if role is PHONE:
                phone = cell
            elif role is IGNORE or not (text := clean(cell)):
                continue
            elif role is NAME:
                names.append(text)
            elif role is TAGS:
                tags += known_tags(text) if len(text) <= TAG_LENGTH else split_tags(text)
            elif role is STATUS:
                status = _read(values.status, "status", text)
            elif len(text) > FIELD_LENGTH:
                raise BadRow(f"The {key} is {len(text):,} characters long; {FIELD_LENGTH:,} is the most")
            elif key in self.kinds:
                fields[key] = _read(values.OF_KIND[self.kinds[key]], key, text)
            else:
                fields[key] = text
        name = " ".join(" ".join(names).split())
        if len(name) > NAME_LENGTH:
            raise BadRow(f"The name is {len(name):,} characters long; {NAME_LENGTH} is the most")
        if len(tags) > TAGS_PER_ROW:
            raise BadRow(f"{len(tags):,} tags; {TAGS_PER_ROW} is the most")
        try:
            return Person(to_e164(phone, self.region), name, fields, tags, status)
        except BadPhone as error:
            raise BadRow(str(error)) from None


def _read(value: Callable[[str], str], what: str, text: str) -> str:
    try:
        return value(text)
    except ValueError as problem:
        shown = f"{text[:40]}…" if len(text) > 40 else text
        raise BadRow(f"The {what} “{shown}” {problem}") from None


def clean(cell: str) -> str:
    """A cell as it is kept: composed (NFC), without control characters and outer blanks.

    An apostrophe before `= + - @` goes: it is how our own files (and Excel) say “text, not a formula”, so that a
    corrected file of rejected rows imports as if it had never left.
    """
    text = cell.strip()
    if not text.isascii():
        text = unicodedata.normalize("NFC", text)
    if not text.isprintable():
        text = _REMOVED.sub("", text.replace("\r\n", "\n").replace("\r", "\n").replace(LINE_BREAK, "\n")).strip()
    if text[:1] == "'" and text[1:2] in FORMULAS:
        text = text[1:]
    return text


def split_tags(text: str) -> list[str]:
    """The tags in a cell, each once, exactly as written. Raises BadRow."""
    tags = list(dict.fromkeys(tag for part in _BETWEEN_TAGS.split(text) if (tag := " ".join(part.split()))))
    for tag in tags:
        if len(tag) > TAG_LENGTH:
            raise BadRow(f"The tag “{tag[:20]}…” is {len(tag):,} characters long; {TAG_LENGTH} is the most")
    return tags


@lru_cache(maxsize=10_000)
def known_tags(text: str) -> tuple[str, ...]:
    """`split_tags`, for short cells: a file repeats them on row after row."""
    return tuple(split_tags(text))


def has_header(rows: Sequence[Sequence[str]], region: str) -> bool:
    """Whether the first row names the columns: it does unless one of its cells is itself a phone number."""
    return not any(_is_phone(cell, region) for cell in rows[0])


def guess_columns(rows: Sequence[Sequence[str]], header: bool, region: str) -> list[Column]:
    """The likeliest meaning of each column, from its name in many languages and from what stands below it."""
    names = [_plain(cell) for cell in rows[0]] if header else [""] * len(rows[0])
    below = rows[1:] if header else rows
    phone = _phone_column(names, below, region)
    people = _name_columns(names, phone, below)
    own_rejects = names[:2] == ["line", "reason"]
    columns: list[Column] = []
    taken: set[str] = set()
    for i, name in enumerate(names):
        empty = not any(i < len(row) and row[i].strip() for row in below)
        if i == phone:
            columns.append(Column(Role.PHONE))
        elif i in people:
            columns.append(Column(Role.NAME))
        elif set(name.split()) & _TAG_WORDS:
            columns.append(Column(Role.TAGS))
        elif set(name.split()) & _STATUS_WORDS and _holds_status(below, i):
            columns.append(Column(Role.STATUS))
        elif (own_rejects and i < 2) or (empty and not name):
            columns.append(Column(Role.IGNORE))
        else:
            key = _unused(field_name(rows[0][i] if header else "") or f"column_{i + 1}", taken)
            taken.add(key)
            columns.append(Column(Role.FIELD, key))
    return columns


def field_name(header: str) -> str:
    """A header as the name of a custom field, the very word a message uses: “Date of birth” → date_of_birth."""
    text = unicodedata.normalize("NFKC", clean(header))
    return slug(slug(text)[:FIELD_NAME_LENGTH]) if re.search(r"\w", text) else ""


def _unused(key: str, taken: set[str]) -> str:
    number = 2
    free = key
    while free in taken:
        free, number = f"{key[: FIELD_NAME_LENGTH - 4]}_{number}", number + 1
    return free


def _plain(header: str) -> str:
    """Lower case, no accents, single blanks between words: "N.º de Teléfono" → "n o de telefono"."""
    text = unicodedata.normalize("NFKD", clean(header).casefold())
    # only marks on Latin letters are accents; in Thai, Arabic and Hindi they are vowels
    text = re.sub(r"(?<=[a-z])[\u0300-\u036f]+", "", text)
    return " ".join(re.sub(r"[\s_\-.,:;/()#*'\"+]+", " ", unicodedata.normalize("NFC", text)).split())


def _phone_column(names: list[str], below: Sequence[Sequence[str]], region: str) -> int | None:
    best, best_score = None, 0.0
    for i, name in enumerate(names):
        cells = [row[i] for row in below if i < len(row) and row[i].strip()]
        score = 2 * sum(_is_phone(cell, region) for cell in cells) / len(cells) if cells else 0.0
        if any(part in name for part in _PHONE) or set(name.split()) & _PHONE_WORDS:
            score += 1
        elif set(name.split()) & _MAYBE_PHONE:
            score += 0.4
        if score > best_score:
            best, best_score = i, score
    return best


def _name_columns(names: list[str], phone: int | None, below: Sequence[Sequence[str]]) -> set[int]:
    whole: set[int] = set()
    parts: set[int] = set()
    for i, name in enumerate(names):
        words = set(name.split())
        if i == phone or words & _OTHER_NAMES:
            continue
        if words & _PART_WORDS:
            parts.add(i)
        elif words & _NAME_WORDS:
            whole.add(i)
    if not any(names):  # no header at all: the first column of words
        return set([i for i in range(len(names)) if i != phone and _holds_words(below, i)][:1])
    if whole and not (parts and any(names[i] in ("nombre", "nome", "nom", "имя", "name") for i in whole)):
        return {min(whole)}
    return whole | parts  # "Nombre" beside "Apellido" is a given name


def _holds_words(rows: Sequence[Sequence[str]], column: int) -> bool:
    cells = [row[column] for row in rows if column < len(row) and row[column].strip()]
    return bool(cells) and all(any(map(str.isalpha, cell)) and "@" not in cell for cell in cells)


def _holds_status(rows: Sequence[Sequence[str]], column: int) -> bool:
    cells = [clean(row[column]) for row in rows if column < len(row) and row[column].strip()]
    try:
        return bool(cells) and all(map(values.status, cells))
    except ValueError:
        return False


def _is_phone(cell: str, region: str) -> bool:
    try:
        return bool(to_e164(cell, region))
    except BadPhone:
        return False
