"""What Home shows of a workspace: today's funnel, devices, campaigns, what needs a person, and the first steps.

Everything comes from maintained counters and a few rows; no query here grows with the number of messages.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from django.db.models import Q, Sum
from django.urls import reverse
from django.utils import timezone

from accounts.models import Workspace
from campaigns.failover import asked_of
from campaigns.live import Row, figures, row_of, streams_of
from campaigns.models import Campaign, CampaignState, Contact, Failover, Lane, Stream
from campaigns.shown import counted
from devices.models import Device, Host
from devices.shown import SHOWN_STATES, shown, used_today

OPEN = (CampaignState.RUNNING, CampaignState.PAUSED)
CAMPAIGNS_SHOWN = 8
NAMED_AT_MOST = 5  # of one kind of trouble; the list behind the link has them all
RECENT = timedelta(days=7)
LATE = timedelta(minutes=2)
# By figure: what is said of so many messages, and why.
STUCK = {
    "uncertain": (
        "need a look",
        "The answer was lost, so nobody knows whether they left. Decide, or wait for a proof.",
    ),
    "failed": (
        "failed",
        "WhatsApp refused them for good, or every try was used up. Each shows its reason and can be retried.",
    ),
}
# A device in one of these states sends nothing until something happens, or somebody does something.
HALTED = {"new", "held", "offline", "unlinked", "replaced", "banned", "outdated", "no_engine"}


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
class Answer:
    """A button that settles it: where it posts what."""

    label: str
    url: str
    fields: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Trouble:
    colour: str
    title: str
    text: str
    url: str = ""
    action: str = ""
    answers: tuple[Answer, ...] = ()


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
        Device.objects.for_workspace(workspace).select_related("workspace").with_shown_state().order_by("name")
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
        "troubles": sorted(troubles(workspace, devices, can_manage), key=urgency),
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


# ---- What needs a person


def urgency(trouble: Trouble) -> int:
    """Nothing goes on at all; then what waits for somebody's answer now; then what went wrong, the gravest first."""
    if not trouble.url:
        return 0
    return 1 if trouble.answers else 2 if trouble.colour == "red" else 3


def troubles(workspace: Workspace, devices: Sequence[Device], can_manage: bool) -> Iterator[Trouble]:
    """Each with its action."""
    alive = Host.objects.alive().exists()
    if not alive:
        yield Trouble(
            "red",
            "No engine is running",
            "Nothing is sent and no device can be linked until one runs. Whoever runs this installation can start it.",
        )
    yield from open_questions(workspace)
    yield from first_few(workspace)
    yield from stopped_campaigns(workspace)
    # Without any engine that is said once, not for each device.
    halted = HALTED if alive else HALTED - {"no_engine"}
    yield from halted_devices(workspace, [device for device in devices if device.shown_state in halted], can_manage)
    yield from stuck_messages(workspace)
    yield from late_campaigns(workspace)


def halted_devices(workspace: Workspace, halted: Sequence[Device], can_manage: bool) -> Iterator[Trouble]:
    """Those that work waits for."""
    running = Stream.objects.for_workspace(workspace).filter(running=True)
    waiting = dict(running.values_list("device").annotate(count=Sum("pending") + Sum("waiting")))
    for device in halted:
        count = waiting.get(device.pk, 0)
        if not count:
            continue
        state = shown(device)
        to_link = can_manage and not device.is_linked
        yield Trouble(
            state.colour,
            f"{device.name}: {state.word.lower()}",
            f"{state.reason} {counted(count, 'message')} {'waits' if count == 1 else 'wait'} for it.".strip(),
            reverse("devices:pair" if to_link else "devices:device", args=[device.uuid]),
            "Link it" if to_link else "Open the device",
        )


def open_questions(workspace: Workspace) -> Iterator[Trouble]:
    """Campaigns that ask whether other numbers shall send what some cannot."""
    asking = Campaign.objects.for_workspace(workspace).filter(state=CampaignState.RUNNING, failover=Failover.ASK)
    for campaign in asking.select_related("workspace").order_by("-pk"):
        if (asked := asked_of(campaign)) is None:
            continue
        stuck, waiting = counted(len(asked.questions), "number"), counted(asked.messages, "message")
        url = reverse("campaigns:failover", args=[campaign.uuid])
        devices = tuple(("device", str(question.device.uuid)) for question in asked.questions)
        others = Answer(f"Send from {counted(asked.others, 'other number')}", url, (("answer", "other"), *devices))
        yield Trouble(
            "red",
            f"{campaign.name}: {stuck} cannot send",
            f"{waiting} {'waits' if asked.messages == 1 else 'wait'}. Shall other numbers send, or shall they wait?",
            reverse("campaigns:campaign", args=[campaign.uuid]),
            "Look at it",
            (*([others] if asked.others else []), Answer("Wait", url, (("answer", "wait"),))),
        )


def first_few(workspace: Workspace) -> Iterator[Trouble]:
    """Campaigns whose first people are written to, and whose others wait for somebody's word."""
    asking = Campaign.objects.for_workspace(workspace).filter(
        state__in=OPEN, awaiting_word__gt=0, canary_passed_at__isnull=True
    )
    for campaign in asking.order_by("-pk")[:NAMED_AT_MOST]:
        waiting = counted(campaign.awaiting_word, "person", "people")
        yield Trouble(
            "amber",
            f"{campaign.name}: {waiting} {'waits' if campaign.awaiting_word == 1 else 'wait'} for your word",
            f"{counted(campaign.canary or 0, 'person comes', 'people come')} first. Go on when all is well with them.",
            reverse("campaigns:campaign", args=[campaign.uuid]),
            "Look at it",
            (Answer("Go on", reverse("campaigns:go_on", args=[campaign.uuid])),),
        )


def stopped_campaigns(workspace: Workspace) -> Iterator[Trouble]:
    """Campaigns that paused themselves."""
    stopped = Campaign.objects.for_workspace(workspace).filter(state=CampaignState.PAUSED).exclude(paused_why="")
    for campaign in stopped.order_by("-pk")[:NAMED_AT_MOST]:
        yield Trouble(
            "red",
            f"{campaign.name} paused itself",
            campaign.paused_why,
            reverse("campaigns:campaign", args=[campaign.uuid]),
            "Look at it",
            (Answer("Resume", reverse("campaigns:resume", args=[campaign.uuid])),),
        )


def stuck_messages(workspace: Workspace) -> Iterator[Trouble]:
    """Uncertain and failed messages of campaigns that are open or ended lately."""
    lately = Q(campaign__state__in=OPEN) | Q(campaign__finished_at__gte=timezone.now() - RECENT)
    streams = Stream.objects.for_workspace(workspace).filter(lately, lane=Lane.CAMPAIGN)
    sums = streams.values("campaign__uuid", "campaign__name").annotate(uncertain=Sum("uncertain"), failed=Sum("dead"))
    found: list[Any] = list(sums.filter(Q(uncertain__gt=0) | Q(failed__gt=0)).order_by("-campaign"))
    for figure in STUCK:
        touched = [(row["campaign__uuid"], row["campaign__name"], row[figure]) for row in found if row[figure]]
        yield from stuck_by_campaign(figure, touched)


def stuck_by_campaign(figure: str, touched: Sequence[tuple[UUID, str, int]]) -> Iterator[Trouble]:
    said, text = STUCK[figure]
    for uuid, name, count in touched[:NAMED_AT_MOST]:
        url = f"{reverse('campaigns:recipients', args=[uuid])}?figure={figure}"
        words = said.replace("need", "needs") if count == 1 else said
        yield Trouble("red", f"{name}: {counted(count, 'message')} {words}", text, url, "Look at them")
    if rest := touched[NAMED_AT_MOST:]:
        messages = counted(sum(count for _, _, count in rest), "message")
        title = f"{counted(len(rest), 'more campaign')}: {messages} {said}"
        yield Trouble("red", title, text, reverse("campaigns:list"), "All campaigns")


def late_campaigns(workspace: Workspace) -> Iterator[Trouble]:
    late = Campaign.objects.for_workspace(workspace).filter(
        state=CampaignState.SCHEDULED, start_at__lt=timezone.now() - LATE
    )
    for campaign in late.order_by("start_at")[:NAMED_AT_MOST]:
        yield Trouble(
            "red",
            f"{campaign.name}: should have started",
            "Its time has passed. The clock, which starts campaigns, may not be running.",
            reverse("campaigns:campaign", args=[campaign.uuid]),
            "Open the campaign",
        )


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
