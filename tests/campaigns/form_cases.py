"""A campaign's steps as somebody filled them in."""

from __future__ import annotations

from typing import Any

from django.test import Client
from django.urls import reverse

from accounts.models import Workspace
from campaigns.models import Campaign
from campaigns.steps import AUDIENCE, DEVICES, MESSAGE, WHEN
from tests.factories import make_device

SAFE = {"failover": "wait", "uncertain_policy": "hold", "expire_after_h": ""}
STEP_FIELDS: dict[str, dict[str, Any]] = {
    AUDIENCE: {"name": "Spring", "audience": "everyone"},
    MESSAGE: {"text": "Hi {{ name }}"},
    DEVICES: {"devices": [], "min_delay": "", "assignment": "sticky", "device_cap": "", **SAFE},
    WHEN: {"when": "now", "start_at": "", "expire_after_h": ""},
}


def filled(step: str, **fields: Any) -> dict[str, Any]:
    return {**STEP_FIELDS[step], **fields}


def step_url(campaign: Campaign, step: str) -> str:
    return reverse("campaigns:step", args=[campaign.uuid, step])


def write(client: Client, workspace: Workspace, **fields: Any) -> Campaign:
    """Go through all steps; each field goes to the step that has it."""
    fields = {"devices": [make_device(workspace).pk], **fields}
    own = {
        step: {name: value for name, value in fields.items() if name in (*STEP_FIELDS[step], *MORE[step])}
        for step in STEP_FIELDS
    }
    assert client.post(reverse("campaigns:create"), filled(AUDIENCE, **own[AUDIENCE])).status_code == 302
    campaign = Campaign.objects.for_workspace(workspace).latest("pk")
    for step in (MESSAGE, DEVICES, WHEN):
        answer = client.post(step_url(campaign, step), filled(step, **own[step]))
        assert answer.status_code == 302, answer.context["form"].errors
    campaign.refresh_from_db()
    return campaign


MORE: dict[str, tuple[str, ...]] = {
    AUDIENCE: (
        "tags", "segments", "exclude_tags", "exclude_segments", "earlier", "retarget", "not_contacted_days", "hold_out",
    ),
    MESSAGE: ("text_2", "text_3", "text_4", "share", "share_2", "share_3", "share_4", "file", "media_uuid"),
    DEVICES: ("canary", "stop_failures", "stop_opt_outs"),
    WHEN: ("fold", "stagger", "local_from", "local_to"),
}  # fmt: skip
