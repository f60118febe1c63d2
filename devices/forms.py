"""What people may write about a device: its name, driver and pace, and nothing the engine writes."""

from __future__ import annotations

from typing import Any

from django import forms
from django.conf import settings

from accounts.forms import clock
from accounts.phones import BadPhone, to_e164
from devices.models import Device, Driver
from devices.shown import SHOWN_STATES

# As people choose them, the one that most are there for first.
DRIVERS = {
    Driver.WHATSAPP: "WhatsApp: a real number, linked to its phone",
    Driver.SIMULATOR: "Simulator: a phone played on this machine; nothing leaves it",
}
BY_QR, BY_CODE = "qr", "code"


class AddDeviceForm(forms.ModelForm):
    """The drivers are those this installation can really serve."""

    class Meta:
        model = Device
        fields = ["name", "driver"]
        widgets = {"name": forms.TextInput(attrs={"autofocus": True, "autocomplete": "off", "placeholder": "Sales 1"})}
        help_texts = {"name": "How your team calls this number."}

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        drivers = [(driver.value, words) for driver, words in DRIVERS.items() if driver in settings.DRIVERS]
        widget = forms.RadioSelect() if len(drivers) > 1 else forms.HiddenInput()
        self.fields["driver"] = forms.ChoiceField(
            label="What kind of number is it?", choices=drivers, initial=drivers[0][0], widget=widget
        )
        self.only_simulator = [driver for driver, _ in drivers] == [Driver.SIMULATOR]


class PairForm(forms.Form):
    """How the number is linked, and which number it must be: needed for a typed code, free for a scanned one."""

    way = forms.ChoiceField(
        required=False, choices=[(BY_QR, "Scan a QR code"), (BY_CODE, "Type a code on the phone")], initial=BY_QR
    )
    phone = forms.CharField(required=False, max_length=40)
    agreed = forms.BooleanField(error_messages={"required": "Tick this to go on."})

    def __init__(self, *args: Any, country: str, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.country = country

    def clean_way(self) -> str:
        return self.cleaned_data["way"] or BY_QR

    def clean_phone(self) -> str | None:
        typed = self.cleaned_data["phone"].strip()
        if not typed:
            return None
        try:
            return to_e164(typed, self.country)
        except BadPhone as problem:
            raise forms.ValidationError(f"{problem}.") from None

    def clean(self) -> dict[str, Any]:
        data = super().clean() or self.cleaned_data
        if data.get("way") == BY_CODE and not data.get("phone") and "phone" not in self.errors:
            self.add_error("phone", "Type the number: the code is made for it alone.")
        return data


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
