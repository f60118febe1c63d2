"""What people may write about a device: its name, driver and pace, and nothing the engine writes."""

from __future__ import annotations

from typing import Any

from django import forms
from django.conf import settings

from devices.models import Device, Driver
from devices.shown import SHOWN_STATES


class AddDeviceForm(forms.ModelForm):
    """The drivers are those this installation can really serve."""

    class Meta:
        model = Device
        fields = ["name", "driver"]
        widgets = {"name": forms.TextInput(attrs={"autofocus": True, "autocomplete": "off", "placeholder": "Sales 1"})}
        help_texts = {"name": "How your team calls this number."}

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        drivers = getattr(settings, "DRIVERS", [Driver.SIMULATOR.value])
        field = forms.ChoiceField(choices=[(driver, Driver(driver).label) for driver in drivers], initial=drivers[0])
        if len(drivers) == 1:
            field.widget = forms.HiddenInput()
        self.fields["driver"] = field
        self.only_simulator = drivers == [Driver.SIMULATOR]


class PairForm(forms.Form):
    agreed = forms.BooleanField(error_messages={"required": "Tick this to go on."})


class RenameForm(forms.ModelForm):
    class Meta:
        model = Device
        fields = ["name"]


class PaceForm(forms.ModelForm):
    hourly_cap = forms.IntegerField(
        required=False, min_value=1, max_value=100_000, label="Most an hour", help_text="Empty: no cap."
    )
    daily_cap = forms.IntegerField(
        required=False, min_value=1, max_value=1_000_000, label="Most a day", help_text="Empty: no cap."
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        for name in ("min_delay", "max_delay"):  # 10, not 10.0
            self.initial[name] = f"{self.initial[name]:g}"

    class Meta:
        model = Device
        fields = ["min_delay", "max_delay", "hourly_cap", "daily_cap"]
        labels = {"min_delay": "Shortest gap", "max_delay": "Longest gap"}
        help_texts = {"min_delay": "Seconds between two messages.", "max_delay": "Each gap is drawn between the two."}


class DeviceFilterForm(forms.Form):
    """The filter row, kept in the URL; a value it does not know filters nothing."""

    q = forms.CharField(
        required=False,
        max_length=80,
        label="Search",
        widget=forms.SearchInput(attrs={"placeholder": "Name or number", "class": "form-control"}),
    )
    state = forms.ChoiceField(
        required=False,
        choices=[("", "Every state"), *((name, shown.word) for name, shown in SHOWN_STATES.items())],
        widget=forms.Select(attrs={"class": "form-select"}),
    )
