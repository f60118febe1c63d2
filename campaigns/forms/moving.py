"""Where the messages of a device that cannot send go, and what a campaign that asks about them is answered."""

from __future__ import annotations

from collections import Counter
from typing import Any

from django import forms

from campaigns.engine.lifecycle import CLAIMABLE
from campaigns.models import OPEN, Campaign, Message, Stream
from devices.models import Device


class AnswerForm(forms.Form):
    answer = forms.ChoiceField(choices=[("other", "Send from other numbers"), ("wait", "Wait")])


class MovePeopleForm(forms.Form):
    """``sure``: the number of people and messages has been seen."""

    to = forms.ModelChoiceField(
        queryset=Device.objects.none(),
        to_field_name="uuid",
        error_messages={"required": "Choose the device that they hear from."},
    )
    sure = forms.BooleanField(required=False)

    def __init__(self, device: Device, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        others = Device.objects.for_workspace(device.workspace).exclude(pk=device.pk).order_by("name")
        self.fields["to"].queryset = others.with_shown_state()  # type: ignore[attr-defined]


class MoveForm(forms.Form):
    """One workspace's choices only: a foreign campaign or device is not a valid choice."""

    campaign = forms.ModelChoiceField(
        queryset=Campaign.objects.none(), required=False, empty_label=None, to_field_name="uuid"
    )
    targets: forms.ModelMultipleChoiceField = forms.ModelMultipleChoiceField(
        queryset=Device.objects.none(),
        to_field_name="uuid",
        error_messages={"required": "Choose at least one number that is online."},
    )

    def __init__(self, device: Device, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.device = device
        self.campaigns: dict[Campaign, int] = unsent_by_campaign(device)
        own = [campaign.pk for campaign in self.campaigns]
        self.fields["campaign"].queryset = Campaign.objects.filter(pk__in=own)  # type: ignore[attr-defined]
        self.fields["targets"].queryset = targets_of(device)  # type: ignore[attr-defined]

    @property
    def total(self) -> int:
        return sum(self.campaigns.values())


def unsent_by_campaign(device: Device) -> dict[Campaign, int]:
    """What the device has not begun to send, in campaigns that may still send it; the largest first."""
    streams = Stream.objects.unsent().filter(
        workspace=device.workspace,
        device=device,
        campaign__state__in=OPEN,
    )
    found: Counter[Campaign] = Counter()
    for stream in streams.select_related("campaign"):
        if stream.campaign:
            found[stream.campaign] += stream.pending + stream.waiting
    return dict(found.most_common())


def unsent_to_people_of(device: Device) -> int:
    """What waits at the device for those who know it, in campaigns that may still send it."""
    waiting = Message.objects.filter(
        stream__device=device,
        state__in=CLAIMABLE,
        contact__device=device,
        campaign__state__in=OPEN,
    )
    return waiting.count()


def targets_of(device: Device) -> Any:
    """The workspace's other devices that could send now."""
    others = Device.objects.for_workspace(device.workspace).exclude(pk=device.pk)
    return others.with_shown_state().shown_as("online").order_by("name")
