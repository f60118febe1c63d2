"""Which days a report is about, as its address asks."""

from __future__ import annotations

from datetime import date
from typing import Any

from django import forms
from django.utils import timezone

from accounts.models import Workspace
from monitoring.period import DEFAULT, LONGEST, OWN, RANGES, Period, period

DAY = "Write the day like 2026-11-05."
FIRST_YEAR = 2000


class PeriodForm(forms.Form):
    """Whatever it is asked, it has a ``period``: what makes no sense is named, and the usual days are shown."""

    range = forms.ChoiceField(
        required=False,
        choices=list(RANGES.items()),
        error_messages={"invalid_choice": "Choose one of these, or your own days."},
    )

    def __init__(self, *args: Any, workspace: Workspace, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.workspace = workspace
        self.now = timezone.now()
        for name in ("from", "to"):  # the first is no name that Python gives a field
            self.fields[name] = forms.DateField(
                required=False, input_formats=["%Y-%m-%d"], error_messages={"invalid": DAY}
            )

    def clean(self) -> dict[str, Any]:
        chosen = self.cleaned_data
        dates = "from" in self.errors or "to" in self.errors or chosen.get("from") or chosen.get("to")
        if not chosen.get("range") and "range" not in self.errors:
            chosen["range"] = OWN if dates else DEFAULT
        if chosen.get("range") == OWN:
            self.check_days(chosen.get("from"), chosen.get("to"))
        return chosen

    def check_days(self, first: date | None, last: date | None) -> None:
        for name, day in (("from", first), ("to", last)):
            if day is None and name not in self.errors:
                self.add_error(name, f"Choose the {'first' if name == 'from' else 'last'} day.")
        if first is None or last is None:
            return
        if first.year < FIRST_YEAR:
            self.add_error("from", f"Choose a day from {FIRST_YEAR} on.")
        elif first > self.now.astimezone(self.workspace.zone).date():
            self.add_error("from", "That day is still to come.")
        elif last < first:
            self.add_error("to", "The last day comes before the first.")
        elif (last - first).days >= LONGEST:
            self.add_error("to", f"That is more than {LONGEST} days. Choose fewer.")

    @property
    def period(self) -> Period:
        if not self.is_valid():
            return period(DEFAULT, self.now, self.workspace.zone)
        chosen = self.cleaned_data
        return period(chosen["range"], self.now, self.workspace.zone, chosen["from"], chosen["to"])

    @property
    def chosen(self) -> str:
        """The word of the address, also where its days make no sense."""
        _ = self.errors  # cleans it
        return str(self.cleaned_data.get("range") or DEFAULT)
