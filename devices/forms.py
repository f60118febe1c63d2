"""What people may write about a device: its name, driver and pace, and nothing the engine writes."""

from __future__ import annotations

from typing import Any

from django import forms
from django.conf import settings

from devices.models import Device, Driver
from devices.shown import SHOWN_STATES


def clock() -> forms.TimeInput:
    return forms.TimeInput(format="%H:%M", attrs={"type": "time"})


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
    sending_from = forms.TimeField(required=False, label="Sends from", widget=clock())
    sending_to = forms.TimeField(required=False, label="Until", widget=clock())
    warm_up = forms.BooleanField(required=False, label="Warm this number up")

    class Meta:
        model = Device
        fields = ["min_delay", "max_delay", "hourly_cap", "daily_cap", "sending_from", "sending_to"]
        help_texts = {"min_delay": "Seconds between two messages.", "max_delay": "Each gap is drawn between the two."}

    def __init__(self, *args: Any, zone: str, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        for name in ("min_delay", "max_delay"):  # 10, not 10.0
            self.initial[name] = f"{self.initial[name]:g}"
        self.initial["warm_up"] = self.instance.warm_cap is not None
        self.fields["sending_from"].help_text = f"Time in {zone}. Empty: around the clock."
        self.fields["sending_to"].help_text = "May lie past midnight."

    def clean(self) -> dict[str, Any]:
        data = super().clean() or self.cleaned_data
        begin, end = data.get("sending_from"), data.get("sending_to")
        for name, given, other in (("sending_from", begin, end), ("sending_to", end, begin)):
            if given is None and other is not None and name not in self.errors:
                self.add_error(name, "Give both times, or neither.")
        if begin is not None and begin == end:
            self.add_error(
                "sending_to", "Choose another end than the beginning; to send around the clock leave both empty."
            )
        return data


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
