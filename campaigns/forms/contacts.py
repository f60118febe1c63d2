"""The forms of a contact: adding one by hand, opting out and back in."""

from __future__ import annotations

from typing import Any

from django import forms
from django.core.exceptions import ValidationError

from accounts.models import Workspace
from accounts.phones import BadPhone, to_e164
from campaigns.actions.erasing import is_erased
from campaigns.imports.mapping import NAME_LENGTH, BadRow, clean, split_tags

SOURCES = [
    ("Signed up on our website or app", "They signed up on our website or app"),
    ("Customer who agreed to messages", "They are customers and agreed to messages"),
    ("Wrote to us first", "They wrote to us first"),
    ("Agreed in person or on paper", "They agreed in person or on paper"),
    ("other", "In another way"),
]


class ConsentForm(forms.Form):
    """How people agreed to be written to: asked wherever contacts come in, and kept on each of them."""

    consent = forms.ChoiceField(
        label="How did they agree to hear from you on WhatsApp?",
        choices=SOURCES,
        widget=forms.RadioSelect,
        error_messages={"required": "Say how they agreed. Without it nobody may be written to."},
    )
    consent_other = forms.CharField(label="In which way?", max_length=200, required=False)

    def clean(self) -> dict[str, Any]:
        data = super().clean() or {}
        if data.get("consent") == "other" and not data.get("consent_other"):
            self.add_error("consent_other", "Describe how they agreed.")
        return data

    @property
    def consent_source(self) -> str:
        chosen = self.cleaned_data["consent"]
        return self.cleaned_data["consent_other"] if chosen == "other" else chosen


def clean_tags(text: str) -> list[str]:
    """Tags as people type them, separated by commas or semicolons."""
    try:
        return split_tags(clean(text))
    except BadRow as problem:
        raise ValidationError(str(problem)) from None


class ContactForm(ConsentForm):
    phone = forms.CharField(
        label="Phone number", max_length=60, error_messages={"required": "Type the number."},
        widget=forms.TextInput(attrs={"inputmode": "tel", "autofocus": True}),
    )  # fmt: skip
    name = forms.CharField(max_length=NAME_LENGTH, required=False)
    tags = forms.CharField(max_length=1000, required=False, help_text="Separated by commas.")

    field_order = ("phone", "name", "tags", "consent", "consent_other")

    def __init__(self, *args: Any, workspace: Workspace, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.workspace = workspace
        self.fields[
            "phone"
        ].help_text = f"With + and the country code, or as written in your country ({workspace.default_country})."

    def clean_phone(self) -> str:
        try:
            phone = to_e164(self.cleaned_data["phone"], self.workspace.default_country)
        except BadPhone as problem:
            raise ValidationError(f"{problem}.") from None
        if is_erased(self.workspace, phone):
            raise ValidationError("The person with this number was erased for good and is not added again.")
        return phone

    def clean_name(self) -> str:
        return " ".join(clean(self.cleaned_data["name"]).split())

    def clean_tags(self) -> list[str]:
        return clean_tags(self.cleaned_data["tags"])


class ReasonForm(forms.Form):
    reason = forms.CharField(max_length=200, error_messages={"required": "Say why; it stays in the audit log."})
