"""Custom fields: what the contacts of a workspace have, of which kind, and how a value of a kind is written."""

from __future__ import annotations

from dataclasses import dataclass

from accounts.models import Workspace
from campaigns.audience import field_words
from campaigns.imports.mapping import FIELD_LENGTH, clean
from campaigns.models import FieldKind
from campaigns.segments import clean_date, clean_number, clean_yes, kinds_of

BY_KIND = {FieldKind.NUMBER: clean_number, FieldKind.DATE: clean_date, FieldKind.BOOLEAN: clean_yes}


@dataclass(frozen=True, slots=True)
class Field:
    name: str
    kind: str

    @property
    def word(self) -> str:
        return FieldKind(self.kind).label


def fields_of(workspace: Workspace) -> list[Field]:
    """Those that were given a kind, and those the newest contacts have besides, which are text; by name."""
    kinds = kinds_of(workspace)
    names = {*kinds, *(name for _word, name in field_words(workspace))}
    return [Field(name, kinds.get(name, FieldKind.TEXT)) for name in sorted(names, key=str.lower)]


def clean_value(kind: str, text: str) -> str:
    """As it is kept: 12.50 as 12.5, Yes as yes, a date as year-month-day. Empty stays empty. Raises ValueError."""
    value = clean(text)
    if not value:
        return ""
    if len(value) > FIELD_LENGTH:
        raise ValueError(f"{FIELD_LENGTH:,} characters are the most.")
    made = BY_KIND.get(FieldKind(kind))
    return made(value) if made else value
