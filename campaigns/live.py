"""What open pages show and hear of campaigns: figures, rate, devices and history, the same for every viewer."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cache as cached
from functools import partial
from typing import Any

from django.conf import settings
from django.core.cache import cache
from django.db import connection, transaction
from django.utils import timezone

from accounts.live import Update, push_many
from accounts.models import AuditEntry
from campaigns.engine.forecast import seconds_for
from campaigns.failover import asked_of
from campaigns.models import OPEN, Campaign, CampaignState, Stream, UncertainPolicy, Variant
from campaigns.plans import pace_of, plan_of, seconds_of_day
from campaigns.querysets.campaigns import COUNTERS, figures_of
from campaigns.querysets.unsettled import gone_at
from campaigns.shown import Shown, duration, shown_campaign, shown_deed
from devices.models import Device
from devices.shown import Shown as ShownDevice
from devices.shown import held, is_connected, may_send_at
from devices.shown import shown as shown_device

WINDOW = 300  # seconds a rate looks back
SAMPLE_EVERY = 10
LEAST_SPAN = 60  # a shorter look back says little about a device that sends every half minute
HISTORY = 15


@dataclass(frozen=True, slots=True)
class Rate:
    """Messages a minute, people done with a second, and over which time this was measured."""

    per_minute: float
    done_per_second: float
    over: str


@dataclass(frozen=True, slots=True)
class DeviceRow:
    device: Device
    figures: dict[str, int]
    state: ShownDevice
    next_send: datetime | None
    lasts: float | None
    waits: bool

    @property
    def due(self) -> bool:
        return self.next_send is not None and self.next_send <= timezone.now()


@dataclass(frozen=True, slots=True)
class Unsettled:
    """What needs a person: how many failed and are uncertain, how many of each may go out again, and when we looked.

    ``fields`` name the selection in a form: what was shown is what is meant (`campaigns.querysets.unsettled`).
    """

    failed: int
    retryable: int
    uncertain: int
    sendable: int
    closed: str
    policy: str
    fields: list[tuple[str, str]]


def push_campaigns(ids: Iterable[int]) -> None:
    """Show these campaigns as they are now, on their pages and in lists. After the commit; never raises."""
    transaction.on_commit(partial(_push_now, list(ids)), robust=True)


def _push_now(ids: list[int]) -> None:
    """An engine tells of hundreds of campaigns a second: the figures are looked up only where a page listens."""
    campaigns = list(Campaign.objects.filter(pk__in=ids).select_related("workspace", "content"))
    streams = cached(lambda: streams_of(campaigns))

    def live(campaign: Campaign) -> dict[str, Any]:
        return live_context(campaign, streams()[campaign.pk])

    def row(campaign: Campaign) -> dict[str, Any]:
        return {"campaign": campaign, "row": row_of(campaign, streams()[campaign.pk])}

    updates = []
    for campaign in campaigns:
        updates += [
            Update(campaign.workspace, topic(campaign), "campaigns/_live.html", partial(live, campaign)),
            Update(campaign.workspace, "campaigns", "campaigns/_campaign.html", partial(row, campaign)),
        ]
    push_many(updates)


def topic(campaign: Campaign) -> str:
    return f"campaign.{campaign.uuid}"


def streams_of(campaigns: Iterable[Campaign]) -> dict[int, list[Stream]]:
    """The streams of all these campaigns, in one query."""
    found: dict[int, list[Stream]] = defaultdict(list)
    for stream in Stream.objects.filter(campaign__in=[campaign.pk for campaign in campaigns]).order_by("pk"):
        found[stream.campaign_id or 0].append(stream)
    return found


def figures(streams: Iterable[Stream]) -> dict[str, int]:
    """Every counter and figure, summed."""
    counts = dict.fromkeys(COUNTERS, 0)
    for stream in streams:
        for name in COUNTERS:
            counts[name] += getattr(stream, name)
    return figures_from(counts)


def figures_from(counts: dict[str, int]) -> dict[str, int]:
    """The counters with what the funnel asks: delivered and read include what came after."""
    found = figures_of(counts)
    return {
        **found,
        "assumed": counts["assumed"],
        "delivered": counts["delivered"] + counts["read"],
        "read": counts["read"],
        "replied": counts["replied"],
        "done": found["should"] - found["remaining"],
    }


@dataclass(frozen=True, slots=True)
class Row:
    """What a list shows of one campaign."""

    figures: dict[str, int]
    state: Shown
    bar: list[tuple[str, float, float]]


def row_of(campaign: Campaign, streams: Sequence[Stream]) -> Row:
    found = figures(streams)
    return Row(found, shown_campaign(campaign), bar(found))


def bar(found: dict[str, int]) -> list[tuple[str, float, float]]:
    """The figures as pieces of one bar: (figure, where it begins, how wide it is), in hundredths of the whole."""
    pieces, begins = [], 0.0
    for figure in ("sent", "uncertain", "failed", "skipped"):
        width = round(100 * found[figure] / found["should"], 3) if found["should"] else 0.0
        if width:
            pieces.append((figure, round(begins, 3), width))
        begins += width
    return pieces


def live_context(campaign: Campaign, streams: Sequence[Stream]) -> dict[str, Any]:
    """Everything `_live.html` reads."""
    found = figures(streams)
    rows = device_rows(campaign, streams)
    rate = rate_of(campaign, found)
    left = seconds_left(campaign, found, rows, rate)
    return {
        "campaign": campaign,
        "variants": variants_of(campaign, streams),
        "figures": found,
        "state": shown_campaign(campaign),
        "bar": bar(found),
        "assumed_note": f"{found['assumed']:,} assumed" if found["assumed"] else "",
        "unsettled": unsettled(campaign, streams),
        "asked": asked_of(campaign),
        "funnel": funnel(found),
        "rate": rate,
        "left": duration(left) if left is not None else None,
        "ends_at": timezone.now() + timedelta(seconds=left) if left is not None else None,
        "planning": planning(campaign),
        "device_rows": rows,
        "history": history(campaign),
        "waiting_devices": [row for row in rows if row.waits],
        "plan": plan_of(campaign) if campaign.state == CampaignState.SCHEDULED else None,
    }


def variants_of(campaign: Campaign, streams: Sequence[Stream]) -> list[Variant]:
    """Its texts where there are several. Streams tell whether to ask, once there are any."""
    if streams and not any(stream.variant for stream in streams if not stream.is_nobodys):
        return []
    return list(campaign.variants.select_related("content__media").order_by("number"))


def funnel(found: dict[str, int]) -> list[tuple[str, str, int, float]]:
    """(key, word, people, per cent of Should) for each step."""
    steps = (("sent", "Sent"), ("delivered", "Delivered"), ("read", "Read"), ("replied", "Replied"))
    whole = found["should"]
    return [(key, word, found[key], round(100 * found[key] / whole, 1) if whole else 0.0) for key, word in steps]


def unsettled(campaign: Campaign, streams: Sequence[Stream], device: Device | None = None) -> Unsettled | None:
    """What a person may decide about these streams of the campaign, or those of one device; None: nothing."""
    chosen = [stream for stream in streams if device is None or stream.device_id == device.pk]
    failed, uncertain = sum(stream.dead for stream in chosen), sum(stream.uncertain for stream in chosen)
    if not failed and not uncertain:
        return None
    looked_at = database_time()
    open_ends = [stream for stream in chosen if stream.expires_at is None or stream.expires_at > looked_at]
    closed = ""
    if campaign.state == CampaignState.CANCELLED:
        open_ends, closed = [], "The campaign was cancelled: nothing of it is sent any more."
    elif not open_ends:
        closed = "The time to send this campaign has passed: nothing of it is sent any more."
    gone_from = gone_at(campaign) if open_ends else {}
    gone = [gone_from.get(stream.pk, (0, 0)) for stream in open_ends]
    gone_dead, gone_uncertain = sum(dead for dead, _ in gone), sum(uncertain for _, uncertain in gone)
    if gone_dead or gone_uncertain:
        closed = "Whoever was deleted or erased from the contacts gets nothing any more."
    return Unsettled(
        failed=failed,
        retryable=sum(stream.dead for stream in open_ends) - gone_dead,
        uncertain=uncertain,
        sendable=sum(stream.uncertain for stream in open_ends) - gone_uncertain,
        closed=closed,
        policy=uncertain_policy(campaign),
        fields=[("until", looked_at.isoformat()), *([("device", str(device.uuid))] if device else [])],
    )


def database_time() -> datetime:
    """By the clock that attempts are dated with."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT now()")
        now: datetime = cursor.fetchone()[0]
    return now


def uncertain_policy(campaign: Campaign) -> str:
    """What happens to uncertain messages by themselves, as a sentence."""
    after = duration(settings.UNCERTAIN_AFTER_S)
    if campaign.uncertain_policy == UncertainPolicy.RESEND and campaign.state != CampaignState.CANCELLED:
        return f"Without a proof they are sent again after {after}, as this campaign is set."
    if campaign.uncertain_policy == UncertainPolicy.ASSUME_SENT:
        return f"Without a proof they count as sent after {after}, as this campaign is set."
    return "Without a proof they stay as they are until you decide."


def planning(campaign: Campaign) -> dict[str, int] | None:
    """How far the plan has come while it is being made: contacts looked at (their ids are dense enough for a bar)."""
    if campaign.planned_at or campaign.state not in OPEN:
        return None
    if campaign.awaits_word:
        return None
    return {"people": campaign.recipients, "at": campaign.plan_cursor, "last": campaign.plan_last or 0}


def device_rows(campaign: Campaign, streams: Sequence[Stream]) -> list[DeviceRow]:
    found = Device.objects.filter(pk__in=[stream.device_id for stream in streams]).select_related("workspace")
    devices = {device.pk: device for device in found.with_shown_state()}
    of_device: dict[int, list[Stream]] = defaultdict(list)
    for stream in streams:
        if not stream.is_nobodys:
            of_device[stream.device_id].append(stream)
    return [device_row(campaign, own, devices[pk]) for pk, own in of_device.items()]


def device_row(campaign: Campaign, streams: Sequence[Stream], device: Device) -> DeviceRow:
    """``streams``: all that the campaign has at the device, one for each variant."""
    own = figures(streams)
    open_ends = campaign.state == CampaignState.RUNNING and own["remaining"] > 0
    online = is_connected(device)
    next_due = min(
        (max(stream.next_due, stream.held_until or stream.next_due) for stream in streams if stream.next_due),
        default=None,
    )
    may_send = may_send_at(device, held(device)) or device.next_send_at
    at = seconds_of_day(timezone.now().astimezone(device.workspace.zone).time())
    return DeviceRow(
        device=device,
        figures=own,
        state=shown_device(device),
        next_send=max(may_send, next_due) if open_ends and online and next_due else None,
        lasts=seconds_for(own["remaining"], pace_of(device, campaign).slowed(streams[0].min_delay), at),
        waits=open_ends and not online,
    )


def rate_of(campaign: Campaign, found: dict[str, int]) -> Rate | None:
    """From the counters, against an earlier total kept in the cache; without one, the average since the start.

    None while it waits for somebody: it sends nothing then.
    """
    if campaign.launched_at is None or campaign.state == CampaignState.PAUSED or campaign.awaits_word:
        return None
    if campaign.state == CampaignState.RUNNING and (recent := recent_rate(campaign, found)):
        return recent
    end = campaign.finished_at or timezone.now()
    seconds = (end - campaign.launched_at).total_seconds()
    if seconds < 1 or not found["done"]:
        return None
    return Rate(60 * seen_sent(found) / seconds, found["done"] / seconds, "on average since the start")


def seen_sent(found: dict[str, int]) -> int:
    """Without what is only assumed: a decision about a thousand doubts is no burst of messages."""
    return found["sent"] - found["assumed"]


def recent_rate(campaign: Campaign, found: dict[str, int]) -> Rate | None:
    """From samples of the counters in the cache; None while these say too little, or are gone."""
    now = time.time()
    key = f"campaign-rate:{campaign.pk}"
    samples = [sample for sample in cache.get(key) or [] if sample[0] > now - WINDOW]
    if not samples or samples[-1][0] <= now - SAMPLE_EVERY:
        samples.append((now, seen_sent(found), found["done"]))
        cache.set(key, samples, 2 * WINDOW)
    then, sent, done = samples[0]
    span = now - then
    if span < LEAST_SPAN:
        return None
    over = "in the last minute" if span < 120 else f"in the last {duration(span - 59)}"
    return Rate(60 * (seen_sent(found) - sent) / span, (found["done"] - done) / span, over)


def seconds_left(
    campaign: Campaign, found: dict[str, int], rows: Sequence[DeviceRow], rate: Rate | None
) -> float | None:
    """By the rate where it says something, else by the paces of the devices. None: not running, or no end in sight."""
    if campaign.state != CampaignState.RUNNING or campaign.planned_at is None or not found["remaining"]:
        return None
    if any(row.lasts is None for row in rows):
        return None
    by_pace = max((row.lasts for row in rows if row.lasts is not None), default=None)
    if rate is None or rate.done_per_second <= 0 or not rate.over.startswith("in the last"):
        return by_pace
    by_rate = found["remaining"] / rate.done_per_second
    # What is sent now says nothing of the night, when a device outside its hours sends nothing.
    return max(by_rate, by_pace or 0) if any(row.device.sending_from for row in rows) else by_rate


def history(campaign: Campaign) -> list[tuple[str, AuditEntry]]:
    entries = AuditEntry.objects.filter(workspace=campaign.workspace_id, target=campaign.target)
    return [
        (shown_deed(entry.action), entry) for entry in entries.select_related("actor").order_by("-at", "-pk")[:HISTORY]
    ]
