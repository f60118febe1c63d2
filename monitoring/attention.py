"""What needs a person: one list of rules, which Home shows and alerts are told by.

A rule finds what is so now, from maintained counters and a few rows; when its cause is gone it finds nothing.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import cached_property
from typing import Any, NamedTuple, TypeVar
from uuid import UUID

from django.db.models import F, Q, Sum
from django.urls import reverse
from django.utils import timezone

from accounts.models import Workspace
from campaigns.engine.forecast import seconds_for
from campaigns.failover import GONE, all_unable_since, asked_of
from campaigns.models import OPEN, Campaign, CampaignState, Failover, Lane, MinuteMeter, Stream
from campaigns.plans import pace_of, seconds_of_day
from campaigns.shown import counted
from devices.models import Device, Host
from devices.shown import Held, held, is_connected, shown

NAMED_AT_MOST = 5  # of one kind of trouble; the list behind the link has them all
EVERY_ONE = 1_000
RECENT = timedelta(days=7)
LATE = timedelta(minutes=2)
RATE_OVER = timedelta(hours=1)
RATE_OF_FAILURES = 0.2
RATE_LEAST_TRIED = 20
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
TODAYS = "today's messages are used up"
CAPS = {"daily_cap": TODAYS, "warm_up": TODAYS, "hourly_cap": "this hour's messages are used up"}

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Answer:
    """A button that settles it: where it posts what."""

    label: str
    url: str
    fields: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Trouble:
    """``about`` names the object that a rule speaks of (``device:uuid``); with the rule's key it is one alert."""

    colour: str
    title: str
    text: str
    url: str = ""
    action: str = ""
    answers: tuple[Answer, ...] = ()
    about: str = ""
    rule: str = ""


class Expiring(NamedTuple):
    """What a device still has to send of a campaign before it expires."""

    campaign: int
    device: int
    messages: int
    expires_at: datetime


class Ground:
    """What the rules look at in these workspaces, each thing looked up once for all of them.

    ``devices``: all that matter there, with their shown state; left out: they are looked up.
    """

    def __init__(self, workspaces: Sequence[Workspace], devices: Sequence[Device] | None = None) -> None:
        self.workspaces = workspaces
        self.now = timezone.now()
        self._devices = devices

    @cached_property
    def alive(self) -> bool:
        return Host.objects.alive().exists()

    @cached_property
    def devices(self) -> dict[int, list[Device]]:
        """By workspace: those that work waits for, or that fail; by name."""
        found = self._devices
        if found is None:
            asked = Device.objects.for_workspaces(self.workspaces).filter(pk__in={*self.waiting, *self.failing})
            found = list(asked.with_shown_state().prefetch_related("workspace", "owner").order_by("name"))
        return grouped(found, lambda device: device.workspace_id)

    @cached_property
    def waiting(self) -> dict[int, int]:
        """Device (id) → messages that wait at it and that nothing but the device holds."""
        running = Stream.objects.for_workspaces(self.workspaces).filter(running=True)
        sums = running.values_list("device").annotate(count=Sum("pending") + Sum("waiting"))
        return {device: count for device, count in sums if count}

    @cached_property
    def unable(self) -> dict[int, datetime]:
        """Device (id) → since when it cannot send, of those that work waits for."""
        devices = (device for devices in self.devices.values() for device in devices)
        return all_unable_since([device for device in devices if self.waiting.get(device.pk)])

    @cached_property
    def failing(self) -> dict[int, tuple[int, int]]:
        """Device (id) → how many of how many tried messages failed lately, where it is a good part of enough."""
        lately = MinuteMeter.objects.for_workspaces(self.workspaces).filter(start__gte=self.now - RATE_OVER)
        sums = lately.values_list("device").annotate(tried=Sum("sent") + Sum("failed"), wrong=Sum("failed"))
        return {
            device: (failed, tried)
            for device, tried, failed in sums.filter(tried__gte=RATE_LEAST_TRIED)
            if failed / tried >= RATE_OF_FAILURES
        }

    @cached_property
    def campaigns(self) -> dict[int, list[Campaign]]:
        """By workspace: those of which a rule may speak, the newest first."""
        asks = Q(state=CampaignState.RUNNING, failover=Failover.ASK)
        stopped = Q(state=CampaignState.PAUSED) & ~Q(paused_why="")
        late = Q(state=CampaignState.SCHEDULED, start_at__lt=self.now - LATE)
        waits_for_word = Q(state__in=OPEN, awaiting_word__gt=0, canary_passed_at__isnull=True)
        found = Campaign.objects.for_workspaces(self.workspaces).filter(asks | stopped | late | waits_for_word)
        return grouped(found.prefetch_related("workspace").order_by("-pk"), lambda campaign: campaign.workspace_id)

    @cached_property
    def expiring(self) -> dict[int, list[Expiring]]:
        """By workspace: what expires one day, the newest campaign's first."""
        unsent = Stream.objects.for_workspaces(self.workspaces).unsent()
        streams = unsent.filter(running=True, campaign__isnull=False, expires_at__gt=self.now)
        rows = streams.order_by("-campaign", "pk").values_list(
            "workspace", "campaign", "device", F("pending") + F("waiting"), "expires_at"
        )
        found = grouped(rows, lambda row: row[0])
        return {workspace: [Expiring(*row[1:]) for row in rows] for workspace, rows in found.items()}

    @cached_property
    def expiring_campaigns(self) -> dict[int, Campaign]:
        return Campaign.objects.in_bulk({row.campaign for rows in self.expiring.values() for row in rows})

    @cached_property
    def stuck(self) -> dict[int, list[Any]]:
        """By workspace: uncertain and failed messages by campaign, of those that are open or ended lately; and the
        direct ones."""
        lately = Q(campaign__state__in=OPEN) | Q(campaign__finished_at__gte=self.now - RECENT)
        streams = Stream.objects.for_workspaces(self.workspaces).filter(lately | Q(lane=Lane.DIRECT))
        sums = streams.values("workspace", "campaign__uuid", "campaign__name").annotate(
            uncertain=Sum("uncertain"), failed=Sum("dead")
        )
        found = sums.filter(Q(uncertain__gt=0) | Q(failed__gt=0)).order_by("-campaign")
        return grouped(found, lambda row: row["workspace"])


def grouped(found: Iterable[T], by: Callable[[T], int]) -> dict[int, list[T]]:
    groups: dict[int, list[T]] = defaultdict(list)
    for one in found:
        groups[by(one)].append(one)
    return groups


class Scene:
    """One workspace of the ground. ``named``: how many of one kind are told one by one."""

    def __init__(self, ground: Ground, workspace: Workspace, *, can_manage: bool, named: int) -> None:
        self.ground = ground
        self.workspace = workspace
        self.can_manage = can_manage
        self.named = named
        self.now = ground.now

    @property
    def devices(self) -> list[Device]:
        return self.ground.devices.get(self.workspace.pk, [])

    @property
    def campaigns(self) -> list[Campaign]:
        return self.ground.campaigns.get(self.workspace.pk, [])

    def waits(self, device: Device) -> str:
        count = self.ground.waiting[device.pk]
        return f"{counted(count, 'message')} {'waits' if count == 1 else 'wait'} for it."

    def clock(self, at: datetime) -> str:
        return f"{at.astimezone(self.workspace.zone):%a %-d %b, %H:%M}"


@dataclass(frozen=True, slots=True)
class Rule:
    """``lasts``: so long it must be so before anybody is told of it by e-mail."""

    key: str
    lasts: timedelta
    find: Callable[[Scene], Iterator[Trouble]]


def attention(
    workspace: Workspace,
    devices: Sequence[Device] | None = None,
    *,
    can_manage: bool = True,
    named: int = NAMED_AT_MOST,
) -> list[Trouble]:
    """What waits for a decision now comes first. ``devices``: the workspace's, with their shown state and owners."""
    return attention_on(Ground([workspace], devices), workspace, can_manage=can_manage, named=named)


def attention_on(
    ground: Ground, workspace: Workspace, *, can_manage: bool = True, named: int = NAMED_AT_MOST
) -> list[Trouble]:
    """`attention` of one of the workspaces on this ground."""
    scene = Scene(ground, workspace, can_manage=can_manage, named=named)
    return [replace(trouble, rule=rule.key) for rule in RULES for trouble in rule.find(scene)]


# ---- The installation


def no_engine(scene: Scene) -> Iterator[Trouble]:
    if not scene.ground.alive:
        yield Trouble(
            "red",
            "No engine is running",
            "Nothing is sent and no device can be linked until one runs. Whoever runs this installation can start it.",
        )


# ---- What asks for a decision


def open_questions(scene: Scene) -> Iterator[Trouble]:
    """Campaigns that ask whether other numbers shall send what some cannot."""
    if not any(device.pk in scene.ground.unable for device in scene.devices):
        return
    for campaign in scene.campaigns:
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
            about=campaign.target,
        )


def first_few(scene: Scene) -> Iterator[Trouble]:
    """Campaigns whose first people are written to, and whose others wait for somebody's word."""
    asking = [campaign for campaign in scene.campaigns if campaign.awaits_word]
    for campaign in asking[: scene.named]:
        waiting = counted(campaign.awaiting_word, "person", "people")
        yield Trouble(
            "amber",
            f"{campaign.name}: {waiting} {'waits' if campaign.awaiting_word == 1 else 'wait'} for your word",
            f"{counted(campaign.canary or 0, 'person comes', 'people come')} first. Go on when all is well with them.",
            reverse("campaigns:campaign", args=[campaign.uuid]),
            "Look at it",
            (Answer("Go on", reverse("campaigns:go_on", args=[campaign.uuid])),),
            about=campaign.target,
        )


def stopped_campaigns(scene: Scene) -> Iterator[Trouble]:
    """Campaigns that paused themselves."""
    stopped = [
        campaign for campaign in scene.campaigns if campaign.state == CampaignState.PAUSED and campaign.paused_why
    ]
    for campaign in stopped[: scene.named]:
        yield Trouble(
            "red",
            f"{campaign.name} paused itself",
            campaign.paused_why,
            reverse("campaigns:campaign", args=[campaign.uuid]),
            "Look at it",
            (Answer("Resume", reverse("campaigns:resume", args=[campaign.uuid])),),
            about=campaign.target,
        )


def late_campaigns(scene: Scene) -> Iterator[Trouble]:
    late = [campaign for campaign in scene.campaigns if campaign.state == CampaignState.SCHEDULED]
    for campaign in sorted(late, key=lambda campaign: campaign.start_at or scene.now)[: scene.named]:
        yield Trouble(
            "red",
            f"{campaign.name}: should have started",
            "Its time has passed. The clock, which starts campaigns, may not be running.",
            reverse("campaigns:campaign", args=[campaign.uuid]),
            "Open the campaign",
            about=campaign.target,
        )


# ---- Devices that work waits for


def gone_devices(scene: Scene) -> Iterator[Trouble]:
    """No engine can help these: somebody must act, or WhatsApp must think again."""
    for device in scene.devices:
        if device.state in GONE and device.pk in scene.ground.unable:
            yield device_trouble(scene, device)


def away_devices(scene: Scene) -> Iterator[Trouble]:
    for device in scene.devices:
        if device.state in GONE or device.pk not in scene.ground.unable:
            continue
        # Without any engine that is said once, not for each device.
        if scene.ground.alive or device.shown_state != "no_engine":
            yield device_trouble(scene, device, f"Since {scene.clock(scene.ground.unable[device.pk])}.")


def held_devices(scene: Scene) -> Iterator[Trouble]:
    for device in scene.devices:
        if device.shown_state == "held" and scene.ground.waiting.get(device.pk):
            yield device_trouble(scene, device)


def device_trouble(scene: Scene, device: Device, since: str = "") -> Trouble:
    state = shown(device)
    to_link = scene.can_manage and not device.is_linked
    return Trouble(
        state.colour,
        f"{device.name}: {state.word.lower()}",
        " ".join(filter(None, (state.reason, since, scene.waits(device)))),
        reverse("devices:pair" if to_link else "devices:device", args=[device.uuid]),
        "Link it" if to_link else "Open the device",
        about=f"device:{device.uuid}",
    )


def used_up_caps(scene: Scene) -> Iterator[Trouble]:
    for device in scene.devices:
        if scene.ground.waiting.get(device.pk) and is_connected(device) and (hold := cap_of(device)):
            until = f" It goes on {scene.clock(hold.until)}." if hold.until else ""
            yield Trouble(
                "amber",
                f"{device.name}: {CAPS[hold.verdict]}",
                f"{scene.waits(device)}{until}",
                reverse("devices:device", args=[device.uuid]),
                "Look at its caps",
                about=f"device:{device.uuid}",
            )


def cap_of(device: Device) -> Held | None:
    hold = held(device)
    return hold if hold and hold.verdict in CAPS else None


# ---- What goes wrong


def failure_rates(scene: Scene) -> Iterator[Trouble]:
    """By what each device's meters counted within the last hour."""
    for device in scene.devices:
        if rate := scene.ground.failing.get(device.pk):
            failed, tried = rate
            yield Trouble(
                "red",
                f"{device.name}: {100 * failed // tried} % failed within the last hour",
                f"{failed:,} of {counted(tried, 'message')} that it tried. See why before more go the same way.",
                reverse("monitoring:queue"),
                "See why",
                about=f"device:{device.uuid}",
            )


def low_forecasts(scene: Scene) -> Iterator[Trouble]:
    """Running campaigns whose devices take longer than there is time, each reckoned as if it were alone with them."""
    told = 0
    by_campaign = grouped(scene.ground.expiring.get(scene.workspace.pk, []), lambda row: row.campaign)
    for pk, rows in by_campaign.items():
        campaign = scene.ground.expiring_campaigns.get(pk)
        if campaign and told < scene.named and (trouble := low_forecast(scene, campaign, rows)):
            told += 1
            yield trouble


def low_forecast(scene: Scene, campaign: Campaign, rows: Sequence[Expiring]) -> Trouble | None:
    devices = {device.pk: device for device in scene.devices}
    at = seconds_of_day(scene.now.astimezone(scene.workspace.zone).time())
    left: dict[int, int] = defaultdict(int)
    for row in rows:
        left[row.device] += row.messages
    paces = {pk: pace_of(devices[pk], campaign).slowed(campaign.min_delay) for pk in left if pk in devices}
    lasts = [seconds_for(left[pk], pace, at) for pk, pace in paces.items()]
    over = min(row.expires_at for row in rows)
    known = [seconds for seconds in lasts if seconds is not None]
    ends = scene.now + timedelta(seconds=min(max(known, default=0), timedelta(days=3650).total_seconds()))
    if len(known) == len(lasts) and ends <= over:
        return None
    by_then = f"What has not left by {scene.clock(over)} expires."
    when = "no end is in sight" if len(known) < len(lasts) else f"it takes until about {scene.clock(ends)}"
    return Trouble(
        "amber",
        f"{campaign.name}: will not be done in time",
        f"{counted(sum(left.values()), 'message')} to go, and by the pace of its devices {when}. {by_then}",
        reverse("campaigns:text", args=[campaign.uuid]),
        "Give it more time",
        about=campaign.target,
    )


def uncertain_messages(scene: Scene) -> Iterator[Trouble]:
    yield from stuck_messages(scene, "uncertain")


def failed_messages(scene: Scene) -> Iterator[Trouble]:
    yield from stuck_messages(scene, "failed")


def stuck_messages(scene: Scene, figure: str) -> Iterator[Trouble]:
    said, text = STUCK[figure]
    touched: list[tuple[UUID | None, str, int]] = [
        (row["campaign__uuid"], row["campaign__name"] or "Tests and replies", row[figure])
        for row in scene.ground.stuck.get(scene.workspace.pk, [])
        if row[figure]
    ]
    for uuid, name, count in touched[: scene.named]:
        words = said.replace("need", "needs") if count == 1 else said
        url = f"{reverse('campaigns:recipients', args=[uuid])}?figure={figure}" if uuid else reverse("monitoring:queue")
        about = f"campaign:{uuid}" if uuid else "direct"
        yield Trouble("red", f"{name}: {counted(count, 'message')} {words}", text, url, "Look at them", about=about)
    if rest := touched[scene.named :]:
        messages = counted(sum(count for _, _, count in rest), "message")
        title = f"{counted(len(rest), 'more campaign')}: {messages} {said}"
        yield Trouble("red", title, text, reverse("monitoring:queue"), "All of them", about="more")


RULES: tuple[Rule, ...] = (
    Rule("no_engine", timedelta(minutes=2), no_engine),
    Rule("question", timedelta(), open_questions),
    Rule("canary", timedelta(minutes=10), first_few),
    Rule("paused_itself", timedelta(), stopped_campaigns),
    Rule("late_start", timedelta(), late_campaigns),
    Rule("device_gone", timedelta(), gone_devices),
    Rule("device_away", timedelta(), away_devices),  # it looks away for five minutes itself
    Rule("uncertain", timedelta(minutes=5), uncertain_messages),
    Rule("failure_rate", timedelta(), failure_rates),
    Rule("forecast", timedelta(minutes=10), low_forecasts),
    Rule("device_held", timedelta(), held_devices),
    Rule("cap", timedelta(hours=1), used_up_caps),  # an hour's cap never lasts so long
    Rule("dead", timedelta(minutes=10), failed_messages),
)
LASTS = {rule.key: rule.lasts for rule in RULES}
