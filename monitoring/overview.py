"""What Home shows of a workspace: today's funnel, devices, campaigns, what needs a person, and the first steps.

Everything comes from maintained counters and a few rows; no query here grows with the number of messages.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db.models import Q
from django.urls import reverse
from django.utils import timezone

from accounts.models import Workspace
from campaigns.live import Row, figures, row_of, streams_of
from campaigns.models import OPEN, Campaign, CampaignState, Contact, Lane, Stream
from campaigns.shown import counted
from devices.models import Device
from devices.shown import SHOWN_STATES, used_today
from monitoring.attention import attention

CAMPAIGNS_SHOWN = 8


@dataclass(frozen=True, slots=True)
class Figure:
    label: str
    value: int
    url: str
    colour: str = ""


@dataclass(frozen=True, slots=True)
class Funnel:
    """``since`` says honestly what is counted: a counter knows its campaign, not the day."""

    figures: list[Figure]
    since: str


@dataclass(frozen=True, slots=True)
class DeviceCount:
    word: str
    colour: str
    count: int
    url: str


@dataclass(frozen=True, slots=True)
class Step:
    """Without ``url`` another step comes first."""

    title: str
    text: str
    done: bool
    url: str
    action: str


def overview(workspace: Workspace, can_manage: bool = True) -> dict[str, Any]:
    """Everything `_home.html` reads."""
    devices = list(
        Device.objects.for_workspace(workspace).select_related("workspace", "owner").with_shown_state().order_by("name")
    )
    campaigns = lively_campaigns(workspace)
    streams = streams_of(campaigns)
    steps = first_steps(workspace, devices)
    return {
        "can_manage": can_manage,
        "funnel": funnel(campaigns, [stream for own in streams.values() for stream in own]),
        "sent_today": sum(used_today(device) for device in devices),
        "devices": device_counts(devices),
        "device_total": len(devices),
        "rows": listed(campaigns, streams),
        "troubles": attention(workspace, devices, can_manage=can_manage),
        "steps": [] if all(step.done for step in steps) else steps,
        "next_step": next((step for step in steps if not step.done), None),
        "steps_done": sum(step.done for step in steps),
    }


# ---- Campaigns


def start_of_day(workspace: Workspace) -> datetime:
    return timezone.now().astimezone(workspace.zone).replace(hour=0, minute=0, second=0, microsecond=0)


def lively_campaigns(workspace: Workspace) -> list[Campaign]:
    """What runs, is paused or scheduled, and what was started or ended today, newest first."""
    today = start_of_day(workspace)
    lively = Q(state__in=(*OPEN, CampaignState.SCHEDULED)) | Q(launched_at__gte=today) | Q(finished_at__gte=today)
    found = Campaign.objects.for_workspace(workspace).filter(lively).select_related("workspace")
    return list(found.order_by("-launched_at", "-pk"))


def listed(campaigns: Sequence[Campaign], streams: dict[int, list[Stream]]) -> list[tuple[Campaign, Row]]:
    """Running ones first, then paused, then by their start."""
    waiting = [campaign for campaign in campaigns if campaign.state == CampaignState.SCHEDULED]
    waiting.sort(key=lambda campaign: (campaign.start_at is None, campaign.start_at))
    shown_first = [campaign for state in OPEN for campaign in campaigns if campaign.state == state] + waiting
    return [(campaign, row_of(campaign, streams[campaign.pk])) for campaign in shown_first[:CAMPAIGNS_SHOWN]]


def funnel(campaigns: Sequence[Campaign], streams: Sequence[Stream]) -> Funnel | None:
    """Of the campaigns that ran today; None when none did."""
    ran = [campaign for campaign in campaigns if campaign.launched_at]
    if not ran:
        return None
    today = start_of_day(ran[0].workspace)
    earlier = sum(campaign.launched_at < today for campaign in ran if campaign.launched_at)
    found = figures(streams)
    words = ("sent", "delivered", "read", "replied", "failed")
    return Funnel(
        [
            Figure(word.capitalize(), found[word], behind(ran, word), "red" if word == "failed" and found[word] else "")
            for word in words
        ],
        since_when(len(ran), earlier),
    )


def since_when(ran: int, earlier: int) -> str:
    told = f"{counted(ran, 'campaign')} ran today."
    if not earlier:
        return told
    who = "It" if ran == 1 else "All" if ran == earlier else f"{earlier} of them"
    whose = "its figures count from its start" if ran == 1 else "those figures count from the start"
    return f"{told} {who} began before today: {whose}."


def behind(ran: Sequence[Campaign], figure: str) -> str:
    """The rows behind a figure: the people of the only campaign, or the list of campaigns."""
    if len(ran) == 1:
        return f"{reverse('campaigns:recipients', args=[ran[0].uuid])}?figure={figure}"
    return reverse("campaigns:list")


# ---- Devices


def device_counts(devices: Sequence[Device]) -> list[DeviceCount]:
    counts = Counter(device.shown_state for device in devices)
    return [
        DeviceCount(state.word, state.colour, counts[name], f"{reverse('devices:index')}?state={name}")
        for name, state in SHOWN_STATES.items()
        if counts[name]
    ]


# ---- The first steps


def first_steps(workspace: Workspace, devices: Sequence[Device]) -> list[Step]:
    """From nothing to a running campaign. A campaign that was ever started had its device and its people."""
    launched = Campaign.objects.for_workspace(workspace).filter(launched_at__isnull=False).exists()
    linked = [device for device in devices if device.is_linked]
    first = next(iter(linked or devices), None)
    test_page = reverse("devices:device", args=[linked[0].uuid]) if linked else ""
    direct = Stream.objects.for_workspace(workspace).filter(lane=Lane.DIRECT)
    tested = direct.filter(Q(sent__gt=0) | Q(delivered__gt=0) | Q(read__gt=0)).exists()
    people = Contact.objects.for_workspace(workspace).exists()
    return [
        Step(
            "Link a device",
            "One WhatsApp number, linked by scanning a code with its phone.",
            bool(linked) or launched,
            reverse("devices:pair", args=[first.uuid]) if first else reverse("devices:add"),
            f"Link {first.name}" if first else "Add a device",
        ),
        Step(
            "Send yourself a test message",
            "See it arrive on your own phone before anybody else's.",
            tested,
            test_page,
            "Send a test",
        ),
        Step(
            "Import your contacts",
            "A CSV file of people who agreed to hear from you.",
            people or launched,
            reverse("campaigns:import_upload"),
            "Import contacts",
        ),
        Step(
            "Start a campaign",
            "One message to the people you choose, paced over your devices.",
            launched,
            reverse("campaigns:create"),
            "Write a campaign",
        ),
    ]
