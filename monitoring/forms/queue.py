"""What somebody was shown on the Queue page and decides about."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django import forms
from django.http import Http404, QueryDict

from accounts.models import Workspace
from campaigns.dead_letters import Shown
from campaigns.models import Campaign
from campaigns.querysets.unsettled import Selection
from devices.models import Device
from monitoring.queue import DIRECT, doubt_selections


def uuids_of(values: list[str]) -> set[UUID]:
    """Those that are ids at all."""
    found = set()
    for value in values:
        try:
            found.add(UUID(value))
        except ValueError:
            continue
    return found


def campaign_of(workspace: Workspace, key: str) -> Campaign | None:
    """A foreign campaign is not found; no key means every campaign."""
    if key in ("", DIRECT):
        return None
    found = None
    if uuids := uuids_of([key]):
        found = Campaign.objects.for_workspace(workspace).select_related("workspace").filter(uuid__in=uuids).first()
    if found is None:
        raise Http404("There is no such campaign.")
    return found


class ShownForm(forms.Form):
    """``until``: when the page looked."""

    until = forms.DateTimeField()

    def __init__(self, data: QueryDict, workspace: Workspace) -> None:
        super().__init__(data)
        self.workspace = workspace
        self.raw = data

    def group(self, key: str) -> Shown:
        return Shown(
            key,
            self.cleaned_data["until"],
            uuids_of(self.raw.getlist("device")),
            uuids_of(self.raw.getlist("gone")),
            campaign_of(self.workspace, self.raw.get("oldest", "")),
        )

    def targets(self) -> list[Device]:
        """Devices of the workspace that could send now."""
        chosen = Device.objects.for_workspace(self.workspace).filter(uuid__in=uuids_of(self.raw.getlist("to")))
        return list(chosen.select_related("workspace").with_shown_state().shown_as("online").order_by("pk"))

    def doubts(self) -> list[Selection]:
        key = self.raw.get("campaign", "")
        named: list[Any] = self.raw.getlist("message")
        ids = [int(one) for one in named if one.isascii() and one.isdecimal() and len(one) < 19]
        return doubt_selections(
            self.workspace,
            self.cleaned_data["until"],
            campaign_of(self.workspace, key),
            key == DIRECT,
            ids if named else None,
        )
