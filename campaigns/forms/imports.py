"""The forms of an import: the file, and what its columns hold."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from django import forms
from django.conf import settings
from django.core.exceptions import ValidationError
from django.core.files.uploadedfile import UploadedFile

from accounts.places import countries
from campaigns.forms.contacts import ConsentForm, clean_tags
from campaigns.imports.mapping import Column, Role, field_name, guess_columns, has_header
from campaigns.imports.reader import LINE_BREAK, Layout
from campaigns.models import FieldKind, UpdatePolicy

ROLES = [
    (Role.PHONE, "Phone number"),
    (Role.NAME, "Name"),
    (Role.TAGS, "Tags"),
    (Role.STATUS, "Status"),
    (Role.FIELD, "Custom field"),
    (Role.IGNORE, "Leave out"),
]
POLICIES = [
    (UpdatePolicy.OVERWRITE, "Overwrite with what the file says; what it leaves empty stays"),
    (UpdatePolicy.FILL, "Fill only what is empty, and add tags"),
    (UpdatePolicy.SKIP, "Leave them as they are"),
]
KIND_WORDS: dict[str, str] = {
    FieldKind.NUMBER: "A number; rows with anything else are rejected.",
    FieldKind.DATE: "A date; rows with anything else are rejected.",
    FieldKind.BOOLEAN: "Yes or no; rows with anything else are rejected.",
}
PREVIEW_ROWS = 5


class UploadForm(forms.Form):
    file = forms.FileField(
        label="CSV file or workbook",
        allow_empty_file=True,  # answered by the reader, in the same words as any other unreadable file
        error_messages={"required": "Choose a file."},
        widget=forms.FileInput(
            attrs={"accept": ".csv,.tsv,.txt,.xlsx,.xlsm,.xlsb,.xls,.ods,text/csv,text/tab-separated-values,text/plain"}
        ),
    )

    def clean_file(self) -> UploadedFile:
        file: UploadedFile = self.cleaned_data["file"]
        if (file.size or 0) > settings.IMPORT_MAX_BYTES:
            raise ValidationError(
                f"This file is larger than {settings.IMPORT_MAX_BYTES >> 20:,} MB. Split it in parts."
            )
        return file


@dataclass(frozen=True, slots=True)
class ColumnFields:
    """One column on the page: its header, its first cells, and the two fields that say what it holds."""

    header: str
    cells: list[str]
    role: forms.BoundField
    field: forms.BoundField
    kind: str


class MappingForm(ConsentForm):
    """Made for one file: a role and a field name for each of its columns, guessed at first."""

    header = forms.BooleanField(label="The first row names the columns", required=False)
    country = forms.ChoiceField(
        label="Numbers without a country code belong to",
        choices=countries,
        error_messages={"required": "Choose a country."},
    )
    tags = forms.CharField(
        label="Tags for everybody in this file", max_length=1000, required=False, help_text="Separated by commas."
    )
    consent_proof = forms.CharField(
        label="Where is the proof kept?",
        max_length=300,
        help_text="A link or a place; for your records.",
        error_messages={"required": "Say where the proof is kept. You will need it when somebody asks."},
    )
    policy = forms.ChoiceField(
        label="People who are contacts already",
        choices=POLICIES,
        initial=UpdatePolicy.OVERWRITE,
        widget=forms.RadioSelect,
        error_messages={"required": "Say what happens to people you have already."},
    )

    def __init__(self, *args: Any, layout: Layout, country: str, kinds: Mapping[str, str], **kwargs: Any) -> None:
        guessed_header = has_header(layout.first, country)
        guess = guess_columns(layout.first, guessed_header, country)
        initial = {"header": guessed_header, "country": country}
        for i, column in enumerate(guess):
            initial |= {f"role_{i}": column.role, f"field_{i}": column.field}
        super().__init__(*args, **{**kwargs, "initial": initial})
        self.layout = layout
        self.kinds = kinds
        self.width = len(guess)
        for i in range(self.width):
            header = layout.first[0][i].strip() if guessed_header else f"Column {i + 1}"
            self.fields[f"role_{i}"] = forms.ChoiceField(label=f"What “{header}” holds", choices=ROLES)
            self.fields[f"field_{i}"] = forms.CharField(
                label=f"Field name of “{header}”", max_length=40, required=False
            )

    def columns_on_page(self) -> Iterator[ColumnFields]:
        header = bool(self["header"].value())
        rows = self.layout.first[1:] if header else self.layout.first
        for i in range(self.width):
            name = self.layout.first[0][i].strip() if header else f"Column {i + 1}"
            cells = [row[i].replace(LINE_BREAK, " ") if i < len(row) else "" for row in rows[:PREVIEW_ROWS]]
            kind = self.kinds.get(field_name(self[f"field_{i}"].value() or ""), FieldKind.TEXT)
            words = KIND_WORDS.get(kind, "") if self[f"role_{i}"].value() == Role.FIELD else ""
            yield ColumnFields(name, cells, self[f"role_{i}"], self[f"field_{i}"], words)

    def clean_tags(self) -> list[str]:
        return clean_tags(self.cleaned_data["tags"])

    def clean(self) -> dict[str, Any]:
        data = super().clean()
        roles = [data.get(f"role_{i}") for i in range(self.width)]
        if all(roles) and roles.count(Role.PHONE) != 1:
            self.add_error(None, "Choose exactly one column as the phone number.")
        names = Counter(self._field_names(data).values())
        for i, name in self._field_names(data).items():
            if not name:
                self.add_error(f"field_{i}", "Give the field a name.")
            elif names[name] > 1:
                self.add_error(f"field_{i}", f"Two columns can't both be “{name}”.")
        return data

    def _field_names(self, data: dict[str, Any]) -> dict[int, str]:
        return {
            i: field_name(data.get(f"field_{i}") or "")
            for i in range(self.width)
            if data.get(f"role_{i}") == Role.FIELD
        }

    @property
    def columns(self) -> list[Column]:
        names = self._field_names(self.cleaned_data)
        return [Column(Role(self.cleaned_data[f"role_{i}"]), names.get(i, "")) for i in range(self.width)]
