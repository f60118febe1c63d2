"""The forms of the list of suppressed numbers and of erasing a person."""

from __future__ import annotations

from typing import Any

from django import forms
from django.core.exceptions import ValidationError
from django.core.files.uploadedfile import UploadedFile

from accounts.models import Workspace
from campaigns.forms.contacts import ConsentForm
from campaigns.imports.numbers import MOST, Numbers, numbers_in_file, numbers_in_text
from campaigns.imports.reader import UnreadableFile
from campaigns.models import Reply

LARGEST = 8 << 20
OWN_WORDS_LEAST = 10


class NumbersForm(forms.Form):
    """Numbers that nobody may write to: pasted, from a file, or both. `numbers` after it is valid."""

    text = forms.CharField(label="Numbers", required=False, strip=False, max_length=40 * MOST)
    file = forms.FileField(label="Or a CSV file", required=False, allow_empty_file=True)
    reason = forms.CharField(max_length=200, error_messages={"required": "Say why; it stays in the consent ledger."})

    def __init__(self, *args: Any, workspace: Workspace, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.region = workspace.default_country
        self.numbers = Numbers()

    def clean_text(self) -> str:
        text: str = self.cleaned_data["text"]
        self._take(lambda: numbers_in_text(text, self.region))
        return text

    def clean_file(self) -> UploadedFile | None:
        file: UploadedFile | None = self.cleaned_data["file"]
        if file is not None:
            if (file.size or 0) > LARGEST:
                raise ValidationError(f"This file is larger than {LARGEST >> 20} MB. Split it in parts.")
            data = file.read()
            self._take(lambda: numbers_in_file(data, self.region))
        return file

    def _take(self, read: Any) -> None:
        try:
            found: Numbers = read()
        except UnreadableFile as problem:
            raise ValidationError(str(problem)) from None
        self.numbers.phones.update(found.phones)
        self.numbers.bad += found.bad

    def clean(self) -> dict[str, Any]:
        data = super().clean() or {}
        if not self.errors and not self.numbers.phones and not self.numbers.bad:
            self.add_error("text", "Type or paste at least one number, or choose a file.")
        return data


class AgreedAgainForm(ConsentForm):
    """Why an opt-out is taken back, and how the person agreed anew.

    Whoever stopped by themselves and has not written since agreed in a way that only the member knows: in own words.
    """

    reason = forms.CharField(max_length=200, error_messages={"required": "Say why; it stays in the audit log."})

    def __init__(self, *args: Any, own_deed: bool, wrote_again: Reply | None, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.in_own_words = own_deed and wrote_again is None

    def clean(self) -> dict[str, Any]:
        data = super().clean()
        if not self.in_own_words or not data.get("consent"):
            return data
        told = data.get("consent_other") or ""
        if data["consent"] != "other" or len(told) < OWN_WORDS_LEAST:
            self.add_error(
                "consent_other",
                "They asked to stop and have not written since. Choose “In another way” and say how they agreed again.",
            )
        return data


class EraseForm(forms.Form):
    digits = forms.CharField(max_length=20, error_messages={"required": "Type the last 4 digits of the number."})

    def __init__(self, *args: Any, phone: str, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.phone = phone

    def clean_digits(self) -> str:
        digits: str = self.cleaned_data["digits"]
        if digits != self.phone[-4:]:
            raise ValidationError("These are not the last 4 digits of this person's number.")
        return digits
