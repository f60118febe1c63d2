"""The test message: a number and a text."""

from __future__ import annotations

from typing import Any

from django import forms

from accounts.models import Workspace
from accounts.phones import BadPhone, to_e164
from campaigns import compose
from devices.models import Device


class OwnNumberForm(forms.Form):
    """To which number, by the habits of the workspace's country."""

    phone = forms.CharField(
        max_length=40,
        label="To your own number",
        widget=forms.TextInput(attrs={"inputmode": "tel", "autocomplete": "tel", "placeholder": "+60 12-345 6789"}),
    )

    def __init__(self, workspace: Workspace, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.workspace = workspace

    def clean_phone(self) -> str:
        try:
            return to_e164(self.cleaned_data["phone"], self.workspace.default_country)
        except BadPhone as problem:
            raise forms.ValidationError(f"{problem}.") from None


class TestMessageForm(OwnNumberForm):
    __test__ = False  # pytest takes classes named Test… for tests

    text = forms.CharField(
        max_length=compose.MAX_SOURCE,
        label="Text",
        initial="Hello from Flotilla: this device works.",
        widget=forms.Textarea(attrs={"rows": 2}),
    )

    def clean_text(self) -> str:
        text: str = self.cleaned_data["text"]
        try:
            compose.parse(text)
        except compose.TextError as problem:
            raise forms.ValidationError(str(problem)) from None
        return text


class DraftTestForm(OwnNumberForm):
    """The message of a draft, through one of the workspace's numbers."""

    device: forms.ModelChoiceField = forms.ModelChoiceField(
        queryset=Device.objects.none(), label="From", empty_label=None
    )

    def __init__(self, workspace: Workspace, *args: Any, **kwargs: Any) -> None:
        super().__init__(workspace, *args, **kwargs)
        linked = Device.objects.for_workspace(workspace).linked().with_shown_state().select_related("workspace")
        self.fields["device"].queryset = linked.order_by("name")  # type: ignore[attr-defined]
