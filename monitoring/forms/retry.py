"""Which failed messages of a device somebody was shown and tries again."""

from __future__ import annotations

from typing import Any

from django import forms
from django.http import QueryDict

from accounts.models import Workspace
from campaigns.models import Campaign
from campaigns.querysets.unsettled import Selection
from devices.models import Device
from monitoring.forms.queue import uuids_of

AT_ONCE = 100  # campaigns whose failed messages are retried together


class RetryForm(forms.Form):
    """``until``: when the page looked; what fails from then on is not meant. ``campaign``: each that it showed."""

    until = forms.DateTimeField()

    def __init__(self, data: QueryDict, workspace: Workspace) -> None:
        super().__init__(data)
        self.workspace = workspace
        self.named = uuids_of(data.getlist("campaign"))

    def clean(self) -> dict[str, Any]:
        own = Campaign.objects.for_workspace(self.workspace).filter(uuid__in=self.named)
        campaigns = list(own.select_related("workspace").order_by("pk")[: AT_ONCE + 1])
        if not 0 < len(campaigns) <= AT_ONCE:
            raise forms.ValidationError(f"Name 1 to {AT_ONCE} campaigns.")
        return {**self.cleaned_data, "campaigns": campaigns}

    def selections(self, device: Device) -> list[Selection]:
        return [Selection(campaign, self.cleaned_data["until"], device) for campaign in self.cleaned_data["campaigns"]]
