"""What the pages of monitoring take from people: how Worker Status is filtered, and what a wall link shows."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from django import forms
from django.forms.utils import flatatt
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

from accounts.models import Workspace
from campaigns.models import Campaign
from devices.models import Device
from devices.shown import SHOWN_STATES
from monitoring.models import WallKind

LONGEST_HOST_ID = 40
SHOWN_AT_MOST = 100  # of the campaigns to choose from
LASTS = {"1": "1 day", "7": "7 days", "30": "30 days", "90": "90 days", "365": "A year"}


class LongSelect(forms.Select):
    """Of hundreds of choices: Django's own draws each by a template."""

    def render(self, name: str, value: Any, attrs: Any = None, renderer: Any = None) -> SafeString:
        chosen = str(value or "")
        options = format_html_join(
            "",
            '<option value="{}"{}>{}</option>',
            ((key, SafeString(" selected") if key == chosen else "", word) for key, word in self.choices),
        )
        built = self.build_attrs(self.attrs, {"name": name, **(attrs or {})})
        return format_html("<select{}>{}</select>", flatatt(built), options)


class WorkerFilterForm(forms.Form):
    """Kept in the URL; a value it does not know filters nothing. Staff filter by workspace, too."""

    q = forms.CharField(
        required=False,
        max_length=80,
        label="Search",
        widget=forms.SearchInput(attrs={"placeholder": "Name or number", "class": "form-control"}),
    )
    state = forms.ChoiceField(
        required=False,
        choices=[("", "Every state"), *((name, shown.word) for name, shown in SHOWN_STATES.items())],
        widget=forms.Select(attrs={"class": "form-select", "aria-label": "State"}),
    )
    host = forms.ChoiceField(required=False, widget=forms.Select(attrs={"class": "form-select", "aria-label": "Host"}))
    workspace = forms.ChoiceField(
        required=False, widget=LongSelect(attrs={"class": "form-select", "aria-label": "Workspace"})
    )

    def __init__(self, *args: Any, hosts: list[str], workspaces: list[tuple[str, str]] | None, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        by_host = [("", "Every host"), *((host, host) for host in hosts), ("none", "No host")]
        self.fields["host"].choices = by_host  # type: ignore[attr-defined]
        if workspaces is None:
            del self.fields["workspace"]
        else:
            self.fields["workspace"].choices = [("", "Every workspace"), *workspaces]  # type: ignore[attr-defined]

    def chosen(self) -> dict[str, str]:
        self.is_valid()
        return {name: value for name, value in self.cleaned_data.items() if value}


class WallLinkForm(forms.Form):
    name = forms.CharField(
        max_length=80, label="Where it hangs", widget=forms.TextInput(attrs={"placeholder": "Office, second floor"})
    )
    shows = forms.ChoiceField(label="What it shows")
    lasts = forms.ChoiceField(label="How long it opens", choices=list(LASTS.items()), initial="30")

    def __init__(self, *args: Any, workspace: Workspace, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        devices = Device.objects.for_workspace(workspace).order_by("name").values_list("uuid", "name")
        campaigns = Campaign.objects.for_workspace(workspace).open().order_by("-pk").values_list("uuid", "name")
        self.fields["shows"].choices = [  # type: ignore[attr-defined]
            (WallKind.WORKERS.value, WallKind.WORKERS.label),
            ("Devices", [(f"device:{uuid}", name) for uuid, name in devices]),
            ("Campaigns", [(f"campaign:{uuid}", name) for uuid, name in campaigns[:SHOWN_AT_MOST]]),
        ]

    @property
    def shown(self) -> tuple[str, str]:
        """(kind, uuid of the device or campaign, if it is one)."""
        kind, _, noun = self.cleaned_data["shows"].partition(":")
        return kind, noun

    @property
    def lasting(self) -> timedelta:
        return timedelta(days=int(self.cleaned_data["lasts"]))
