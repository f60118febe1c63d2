"""Which failed or uncertain messages of a campaign a person means: those that the page showed."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django import forms
from django.http import Http404

from campaigns.models import Campaign
from campaigns.querysets.unsettled import Selection
from campaigns.report import NO_REASON
from devices.models import Device


class SelectionForm(forms.Form):
    until = forms.DateTimeField()
    device = forms.UUIDField(required=False)
    reason = forms.CharField(required=False, max_length=200, strip=False)

    def __init__(self, *args: Any, campaign: Campaign, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.campaign = campaign

    def clean_device(self) -> Device | None:
        """A foreign device is not found, like a foreign campaign."""
        asked: UUID | None = self.cleaned_data["device"]
        if asked is None:
            return None
        found = Device.objects.for_workspace(self.campaign.workspace).filter(uuid=asked).first()
        if found is None:
            raise Http404("There is no such device.")
        return found

    def selection(self) -> Selection:
        reason = self.cleaned_data["reason"]
        return Selection(
            self.campaign,
            self.cleaned_data["until"],
            device=self.cleaned_data["device"],
            reason="" if reason == NO_REASON else reason or None,
        )
