"""Worker Status: every device worker of a workspace, or of the installation, as cells, as rows, and one in full.

States and queues come from the devices and the streams' counters, what was sent from the meters; no query here grows
with the number of messages.
"""

from __future__ import annotations

import html
from bisect import bisect_right
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple

from django.core.paginator import Page, Paginator
from django.db.models import Count, F, TextField
from django.db.models.functions import Cast
from django.urls import reverse
from django.utils import timezone
from django.utils.safestring import SafeString, mark_safe

from accounts.models import Workspace
from campaigns.last_minute import sent_last_minute
from campaigns.meters import LiveMeter, live_meters
from campaigns.models import OPEN, Campaign, Lane, Message, Stream
from campaigns.querysets.lanes import AtDevice, depths, lanes_by_device
from campaigns.querysets.meters import rolled_up_figure
from devices.history import line_of
from devices.models import Device, DeviceEvent, Host
from devices.querysets import DeviceQuerySet
from devices.shown import SHOWN_STATES, Held, Shown, held, is_connected, may_send_at, shown
from devices.worker_frames import Changes
from monitoring.operations import held_back

ROWS_A_PAGE = 50
HEATS = (1, 5, 10, 20, 40)  # messages in the last full minute from which a cell is a step warmer
# As people look for them: what needs somebody, then what waits, then what works.
ORDER = (
    "banned",
    "unlinked",
    "replaced",
    "outdated",
    "no_engine",
    "held",
    "offline",
    "new",
    "pairing",
    "connecting",
    "online",
)
SORTS = ("name", "state", "queue", "minute", "hour", "day", "next", "last", "time")
BY_COLUMN = {"name": "name", "next": "next_send_at", "last": "last_sent_at"}
TROUBLE_EVENTS = ("offline", "held", "banned", "unlinked", "replaced", "outdated")
HISTORY = 8


@dataclass(frozen=True, slots=True)
class Scope:
    """Whose device workers: one workspace's or, for staff, everybody's."""

    workspace: Workspace | None

    def devices(self) -> DeviceQuerySet:
        every = Device.objects.all() if self.workspace is None else Device.objects.for_workspace(self.workspace)
        return every.with_shown_state()

    @property
    def url(self) -> str:
        return reverse("monitoring:fleet" if self.workspace is None else "monitoring:worker_status")

    @property
    def topic(self) -> str:
        return "fleet" if self.workspace is None else "workers"

    def hosts(self) -> list[str]:
        """Those that serve some of these devices."""
        if self.workspace is None:
            return list(Host.objects.order_by("pk").values_list("pk", flat=True))
        owners = Device.objects.for_workspace(self.workspace).exclude(owner=None).order_by("owner")
        return list(owners.values_list("owner_id", flat=True).distinct())

    def workspaces(self) -> list[tuple[str, str]] | None:
        """Of everybody's: their ids and names."""
        if self.workspace is not None:
            return None
        return [
            (str(uuid), name) for uuid, name in Workspace.objects.order_by("name", "pk").values_list("uuid", "name")
        ]


@dataclass(frozen=True, slots=True)
class StateCount:
    state: str
    word: str
    colour: str
    count: int
    chosen: bool


@dataclass(frozen=True, slots=True)
class Sending:
    """The open message of a device: of which campaign (empty: a test or a reply), and where it is told."""

    words: str
    url: str
    since: datetime | None


class Queue(NamedTuple):
    """Planned and not begun, in what is running; ``leaves_at``: when the first of it may leave, its device aside."""

    lanes: tuple[tuple[str, int], ...] = ()
    leaves_at: datetime | None = None

    @property
    def depth(self) -> int:
        return sum(count for _, count in self.lanes)


NOTHING_QUEUED = Queue()
LANE_WORDS: dict[int, str] = {lane.value: str(lane.label) for lane in Lane}


@dataclass(frozen=True, slots=True)
class Row:
    device: Device
    state: Shown
    sends: Sending | None
    queue: Queue
    meter: LiveMeter
    hold: Held | None
    next_at: datetime | None
    last_at: datetime | None

    @property
    def next_words(self) -> str:
        """Where no instant says it."""
        if not self.queue.depth:
            return "Nothing waits"
        if self.next_at is None:
            return self.hold.reason if self.hold else "Now"
        return "" if self.next_at > timezone.now() else "Now"

    @property
    def mean(self) -> str:
        return milliseconds(self.meter.mean_ms)

    @property
    def p95(self) -> str:
        return milliseconds(self.meter.p95_ms)


def milliseconds(ms: float | None) -> str:
    """Empty for nothing."""
    return "" if ms is None else f"{ms:,.0f}"


# ---- What is chosen


def chosen_devices(scope: Scope, chosen: dict[str, str], *, any_state: bool = False) -> DeviceQuerySet:
    found = scope.devices()
    if words := chosen.get("q"):
        found = found.searched(words)
    if host := chosen.get("host"):
        found = found.filter(owner=None if host == "none" else host)
    if workspace := chosen.get("workspace"):
        found = found.filter(workspace__uuid=workspace)
    if (state := chosen.get("state")) and not any_state:
        found = found.shown_as(state)
    return found


def state_counts(scope: Scope, chosen: dict[str, str]) -> list[StateCount]:
    """Of every state, whichever is chosen."""
    found = chosen_devices(scope, chosen, any_state=True).order_by().values_list("shown_state")
    counts: Counter[str] = Counter(dict(found.annotate(count=Count("pk"))))
    return [
        StateCount(
            state, SHOWN_STATES[state].word, SHOWN_STATES[state].colour, counts[state], chosen.get("state") == state
        )
        for state in reversed(ORDER)
    ]


# ---- The grid


def heat_of(sent: int) -> int:
    return bisect_right(HEATS, sent)


def cells(scope: Scope, devices: DeviceQuerySet) -> SafeString:
    """One link for each device; their titles say everything in words."""
    prefix = f"{scope.url.rpartition('/')[2]}/"
    owner = ("workspace__name",) if scope.workspace is None else ()
    # The id as text: thousands of UUIDs made and written out again take longer than the rest of their cells.
    rows = devices.annotate(address=Cast("uuid", TextField())).order_by(*owner, "name")
    found = list(rows.values_list("pk", "address", "shown_state", "name", *owner))
    sent = sent_last_minute([pk for pk, *_ in found])
    drawn = []
    for pk, address, state, name, *owners in found:
        count = sent.get(pk, 0)
        title = html.escape(f"{name} ({owners[0]})" if owners else name)
        drawn.append(
            f'<a class="worker" href="{prefix}{address}/" data-id="{pk}" data-state="{state}"'
            f' data-heat="{heat_of(count)}" title="{title}: {title_words(state, count)}" tabindex="-1"></a>'
        )
    return mark_safe("".join(drawn))  # noqa: S308 - of all that stands in a cell only its names were written by people


def title_words(state: str, sent: int) -> str:
    word = SHOWN_STATES[state].word
    return f"{word}, {sent} sent" if sent else word


def whole_frame(devices: DeviceQuerySet) -> dict[str, Any]:
    """All of it as a frame, for a page that may have missed some. ``total`` tells whether devices came or went."""
    states = dict(devices.order_by().values_list("pk", "shown_state"))
    sent = {**dict.fromkeys(states, 0), **sent_last_minute(states)}
    return {**Changes(states, sent).as_lists(), "total": len(states)}


# ---- The table


def table(scope: Scope, chosen: dict[str, str], sort: str, number: str | None) -> Page[Any]:
    """A page of rows. ``sort``: one of `SORTS`, with a minus for the largest first; what it does not know is "name"."""
    found = chosen_devices(scope, chosen)
    name, down = sort.removeprefix("-"), sort.startswith("-")
    if name in BY_COLUMN or name not in SORTS:
        column = F(BY_COLUMN.get(name, "name"))
        order = column.desc(nulls_last=True) if down else column.asc(nulls_last=True)
        ids: Any = found.order_by(order, "pk").values_list("pk", flat=True)
    else:
        ids = in_order(found, name, down)
    page = Paginator(ids, ROWS_A_PAGE).get_page(number)
    page.object_list = rows_of(scope, list(page.object_list))
    return page


def in_order(found: DeviceQuerySet, name: str, down: bool) -> list[int]:
    """By what stands in no column of the devices: of all of them, since any may come first.

    Meters by what is rolled up, at most a minute and a half old: to ask Redis about thousands takes longer.
    """
    rows = list(found.order_by("name", "pk").values_list("pk", "shown_state", "workspace"))
    ids = [pk for pk, *_ in rows]
    keys: Mapping[int, float]
    if name == "state":
        keys = {pk: ORDER.index(state) for pk, state, _ in rows}
    elif name == "queue":
        keys = depths(ids)
    elif name == "minute":
        keys = sent_last_minute(ids)
    else:
        keys = rolled_up_figure(name, {workspace for *_, workspace in rows})
    return sorted(ids, key=lambda pk: keys.get(pk, 0), reverse=down)


def rows_of(scope: Scope, ids: Sequence[int]) -> list[Row]:
    """In this order."""
    devices = {device.pk: device for device in scope.devices().filter(pk__in=ids).select_related("workspace")}
    meters, waiting, open_ones = live_meters(devices.values()), queues(ids), sendings(devices.values())
    return [
        row_of(devices[pk], open_ones.get(pk), waiting.get(pk, NOTHING_QUEUED), meters[pk])
        for pk in ids
        if pk in devices
    ]


def row_of(device: Device, sends: Sending | None, queue: Queue, meter: LiveMeter) -> Row:
    hold = held(device)
    may_send = may_send_at(device, hold)
    next_at = max(may_send, queue.leaves_at or may_send) if queue.depth and may_send else None
    done = [instant for instant in (device.last_sent_at, device.open_at, device.state_at) if instant is not None]
    return Row(device, shown(device), sends, queue, meter, hold, next_at, max(done, default=None))


def queues(ids: Iterable[int]) -> dict[int, Queue]:
    """By device, what its running streams still have to send, by lane."""
    return {device: queue_of(lanes) for device, lanes in lanes_by_device(list(ids)).items()}


def queue_of(lanes: Sequence[AtDevice]) -> Queue:
    leaves = min((lane.leaves_at for lane in lanes if lane.leaves_at), default=None)
    return Queue(tuple([(LANE_WORDS[lane.lane], lane.depth) for lane in lanes]), leaves)


def sendings(devices: Iterable[Device]) -> dict[int, Sending]:
    """By device, the message that is on its way at this moment."""
    of_message = {device.open_message: device for device in devices if device.open_message is not None}
    found = Message.objects.filter(pk__in=list(of_message)).select_related("campaign")
    return {
        of_message[message.pk].pk: Sending(
            message.campaign.name if message.campaign else "A test or a reply",
            reverse("campaigns:recipient", args=[message.pk]) if message.campaign else "",
            of_message[message.pk].open_at,
        )
        for message in found
    }


# ---- One of them


@dataclass(frozen=True, slots=True)
class OpenCampaign:
    """What a campaign still has to send through the device, and what of it failed."""

    campaign: Campaign
    waiting: int
    failed: int


def worker(scope: Scope, device: Device) -> dict[str, Any]:
    """Everything the drawer shows of ``device``, which comes from `Scope.devices`."""
    (row,) = rows_of(scope, [device.pk])
    events = list(device.events.order_by("-pk")[:HISTORY])
    trouble = DeviceEvent.objects.filter(device=device, kind__in=TROUBLE_EVENTS).order_by("-pk").first()
    return {
        "row": row,
        "device": row.device,
        "campaigns": open_campaigns(device),
        "history": [line_of(event) for event in events],
        "trouble": line_of(trouble) if trouble else None,
        "connected": is_connected(row.device),
        "is_fleet": scope.workspace is None,
        "host": host_named(row.device),
    }


def open_campaigns(device: Device) -> list[OpenCampaign]:
    streams = Stream.objects.filter(device=device, campaign__state__in=OPEN)
    found: dict[int, OpenCampaign] = {}
    for stream in streams.select_related("campaign").order_by("-campaign_id"):
        assert stream.campaign is not None
        so_far = found.get(stream.campaign.pk, OpenCampaign(stream.campaign, 0, 0))
        found[stream.campaign.pk] = OpenCampaign(
            stream.campaign, so_far.waiting + stream.pending + stream.waiting, so_far.failed + stream.dead
        )
    return list(found.values())


def host_named(device: Device) -> HostNamed | None:
    host = Host.objects.with_alive().filter(pk=device.owner_id).first() if device.owner_id else None
    return named(host, 0) if host else None


# ---- Hosts, as far as they concern whoever looks


@dataclass(frozen=True, slots=True)
class HostNamed:
    """``devices``: how many of those one may see. ``limit``: how many sends may be under way at once, None while
    nobody knows; ``reason`` says when that held sending back.
    """

    id: str
    word: str
    colour: str
    devices: int
    limit: int | None = None
    reason: str = ""


def hosts_serving(scope: Scope) -> list[HostNamed]:
    devices = Device.objects.all() if scope.workspace is None else Device.objects.for_workspace(scope.workspace)
    counts = dict(devices.exclude(owner=None).order_by().values_list("owner_id").annotate(count=Count("pk")))
    found = Host.objects.with_alive().filter(pk__in=list(counts)).order_by("id")
    return [named(host, counts[host.pk]) for host in found]


def named(host: Any, devices: int) -> HostNamed:
    if not host.lives:
        return HostNamed(host.pk, "Gone", "red", devices)
    word, colour = ("Retiring", "amber") if host.retiring else ("Running", "green")
    return HostNamed(host.pk, word, colour, devices, host.meters.get("limit"), held_back(host.meters))
