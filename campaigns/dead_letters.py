"""The failed messages of a whole workspace, grouped by what is to be done about them, and the people behind a group."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from typing import Any, NamedTuple
from uuid import UUID

from django.core.cache import cache
from django.db.models import Exists, OuterRef, Q, Sum

from accounts.models import Workspace
from campaigns.compose import Template
from campaigns.engine.causes import CAUSES, OVER, Cause, group_of
from campaigns.failover import GONE
from campaigns.live import database_time
from campaigns.models import Campaign, CampaignState, Message, Stream
from campaigns.querysets.unsettled import LAST, START, Kind, Selection, dead_by_reason, dead_people
from campaigns.recipients import Recipient, recipient, with_words
from devices.models import Device

PAGE = 50
AT_ONCE = 200  # campaigns that are looked through, the newest
KEY = re.compile(r"(?P<place>\d{1,8})\.(?P<contact>\d{1,18}|e)\.(?P<pk>\d{1,18})", re.ASCII)
KEPT_S = 30
SMALL = 20_000  # failed messages: to look through so many costs so little that nothing is kept


@dataclass(slots=True)  # frozen ones take three times as long to make, and a page makes thousands
class Letters:
    """So many failed alike: of one campaign (None: tests and replies), at one device, for one reason."""

    campaign: Campaign | None
    device: Device
    reason: str
    sendable: bool
    count: int

    @property
    def group(self) -> str:
        gone = self.device.state in GONE
        over = self.campaign is not None and self.campaign.state == CampaignState.CANCELLED
        may = self.sendable and not over
        return group_of(self.reason, sendable=may, device_gone=gone, direct=self.campaign is None)


@dataclass
class Group:
    """Its sums are made once: of a large workspace it holds thousands of kinds, and a page asks several times."""

    key: str
    letters: list[Letters] = field(default_factory=list)

    @property
    def cause(self) -> Cause:
        return CAUSES[self.key]

    @cached_property
    def count(self) -> int:
        return sum(letters.count for letters in self.letters)

    @cached_property
    def devices(self) -> list[Device]:
        found = {letters.device.pk: letters.device for letters in self.letters}
        return sorted(found.values(), key=lambda device: (device.name, device.pk))

    @cached_property
    def reasons(self) -> list[tuple[str, int]]:
        """The commonest first."""
        counts: dict[str, int] = defaultdict(int)
        for letters in self.letters:
            counts[letters.reason] += letters.count
        return sorted(counts.items(), key=lambda pair: (-pair[1], pair[0]))

    @cached_property
    def ordered(self) -> list[Letters]:
        """The newest campaign first; those without a reason, whom no index finds, last."""
        return sorted(
            self.letters,
            key=lambda one: (
                not one.reason,
                -(one.campaign.pk if one.campaign else 0),
                one.reason,
                one.device.pk,
                one.sendable,
            ),
        )

    @property
    def gone(self) -> list[Device]:
        """Those of its devices that cannot send until somebody links them again."""
        return [device for device in self.devices if device.state in GONE]

    @cached_property
    def campaigns(self) -> list[tuple[Campaign | None, int]]:
        """The newest first; what belongs to none last. Of a campaign only what tells it from others is read."""
        counts: dict[int, int] = defaultdict(int)
        found: dict[int, Campaign | None] = {}
        for letters in self.letters:
            key = letters.campaign.pk if letters.campaign else 0
            counts[key] += letters.count
            found[key] = letters.campaign
        return [(found[key], counts[key]) for key in sorted(counts, reverse=True)]


class Touched(NamedTuple):
    """A stream in which something failed."""

    pk: int
    campaign_id: int | None
    device_id: int
    dead: int


@dataclass(frozen=True, slots=True)
class Found:
    """``until``: when it was looked, by PostgreSQL's clock. What fails after that is not meant.

    ``older``: so many failed in campaigns before ``oldest``, which come when newer ones are settled.
    """

    until: datetime
    groups: dict[str, Group]
    older: int = 0
    oldest: Campaign | None = None

    @property
    def count(self) -> int:
        return sum(group.count for group in self.groups.values())


def failed_in(workspace: Workspace) -> Found:
    """As it is, or as it was at most `KEPT_S` ago where many failed. In the order of `CAUSES`."""
    until = database_time()
    touched = Stream.objects.for_workspace(workspace).filter(dead__gt=0)
    of_campaign = touched.filter(campaign=OuterRef("pk"))
    having = Campaign.objects.for_workspace(workspace).filter(Exists(of_campaign)).order_by("-pk")
    newest = list(having.values_list("pk", flat=True)[: AT_ONCE + 1])
    looked_at = touched.filter(Q(campaign__in=newest[:AT_ONCE]) | Q(campaign__isnull=True))
    rows_of_streams = looked_at.order_by("pk").values_list("pk", "campaign_id", "device_id", "dead")
    streams = [Touched(*row) for row in rows_of_streams]
    failed = sum(stream.dead for stream in streams)
    counters = " ".join(f"{stream.pk}:{stream.dead}" for stream in streams)
    more = len(newest) > AT_ONCE
    many = failed > SMALL or more
    key = f"queue-failed:{workspace.pk}"
    kept: Any = cache.get(key) if many else None
    if not kept or kept["counters"] != counters:
        campaigns = {stream.campaign_id for stream in streams if stream.campaign_id is not None}
        kept = {
            "until": until.isoformat(),
            "counters": counters,
            "rows": dead_by_reason(sorted(campaigns), [one.pk for one in streams if one.campaign_id is None]),
            "older": failed_count(workspace) - failed if more else 0,
        }
        if many:
            cache.set(key, kept, KEPT_S)
    oldest = Campaign.objects.for_workspace(workspace).get(pk=newest[AT_ONCE - 1]) if more else None
    return Found(
        datetime.fromisoformat(kept["until"]), grouped(workspace, streams, kept["rows"]), kept["older"], oldest
    )


def grouped(workspace: Workspace, streams: Sequence[Touched], rows: Iterable[Sequence[Any]]) -> dict[str, Group]:
    ids = {stream.campaign_id for stream in streams if stream.campaign_id is not None}
    told = Campaign.objects.for_workspace(workspace).filter(pk__in=ids).only("uuid", "name", "state")
    campaigns = {one.pk: one for one in told}
    devices = Device.objects.for_workspace(workspace).in_bulk({stream.device_id for stream in streams})
    groups = {key: Group(key) for key in CAUSES}
    for letters in each_of(campaigns, devices, streams, rows):
        groups[letters.group].letters.append(letters)
    return {key: group for key, group in groups.items() if group.letters}


def each_of(
    campaigns: Mapping[int, Campaign],
    devices: Mapping[int, Device],
    streams: Sequence[Touched],
    rows: Iterable[Sequence[Any]],
) -> Iterator[Letters]:
    """Those without a reason are what the counters know beyond the rows."""
    unnamed: dict[tuple[int, int], int] = defaultdict(int)
    for stream in streams:
        if stream.campaign_id is not None:
            unnamed[stream.campaign_id, stream.device_id] += stream.dead
    for campaign, device, reason, sendable, count in rows:
        if campaign is not None:
            unnamed[campaign, device] -= count
        if device in devices and (campaign is None or campaign in campaigns):
            own = campaigns[campaign] if campaign is not None else None
            yield Letters(own, devices[device], reason, sendable, count)
    for (campaign, device), count in unnamed.items():
        if count > 0:
            yield Letters(campaigns[campaign], devices[device], "", True, count)


# ---- the messages of a group, as somebody was shown them


@dataclass(frozen=True, slots=True)
class Shown:
    """A group as somebody was shown it: at which devices, which of these could not send (`GONE`) then, and from which
    campaign on.
    """

    group: str
    until: datetime
    devices: Collection[UUID]
    gone: Collection[UUID]
    oldest: Campaign | None = None


def selections(workspace: Workspace, asked: Shown) -> list[Selection]:
    """Exactly the messages that were there at ``until``, whatever their devices do by now."""
    devices = Device.objects.for_workspace(workspace).filter(uuid__in=asked.devices).order_by("pk")
    gone = {device.pk: device.uuid in asked.gone for device in devices}
    streams = Stream.objects.for_workspace(workspace).filter(dead__gt=0, device__in=gone)
    if asked.oldest is not None:
        streams = streams.filter(Q(campaign__gte=asked.oldest.pk) | Q(campaign__isnull=True))
    touched = list(streams.values_list("pk", "campaign"))
    ids = sorted({campaign for _, campaign in touched if campaign is not None})
    direct = [pk for pk, campaign in touched if campaign is None]
    rows = dead_by_reason(ids, direct)
    reasons: dict[int | None, set[str]] = defaultdict(set)
    for campaign, device, reason, _, _ in rows:
        if device in gone:
            reasons[campaign].add(reason)
    campaigns: list[Campaign | None] = [
        *Campaign.objects.for_workspace(workspace).filter(pk__in=ids).select_related("workspace").order_by("pk")
    ]
    if direct:
        campaigns.append(None)
    return [
        chosen
        for one in campaigns
        for chosen in selections_of(workspace, asked, gone, one, reasons[one.pk if one else None] | {""})
    ]


def selections_of(
    workspace: Workspace,
    asked: Shown,
    gone: Mapping[int, bool],
    campaign: Campaign | None,
    reasons: Collection[str],
) -> Iterator[Selection]:
    """Of one campaign, or of what belongs to none: which reasons count depends on whether the device could send."""
    cancelled = campaign is not None and campaign.state == CampaignState.CANCELLED
    if cancelled and asked.group != OVER:
        return
    for was_gone in (False, True):
        devices = [pk for pk, out in gone.items() if out is was_gone]
        own = sorted(
            reason
            for reason in reasons
            if asked.group == OVER
            or group_of(reason, sendable=True, device_gone=was_gone, direct=campaign is None) == asked.group
        )
        if devices and own:
            yield Selection(
                campaign,
                asked.until,
                devices=devices,
                reasons=own,
                sendable=None if cancelled else asked.group != OVER,
                workspace=workspace if campaign is None else None,
            )


def people_of(group: Group, after: str = "", size: int = PAGE) -> tuple[list[Recipient], str]:
    """The next people of a group after a key, and the key of the next page; in the order that the index has."""
    place, key = split_key(after)
    ordered = group.ordered
    # So many kinds as fill a page by their counts; of the first some may have been on the page before.
    asked, enough = [], 0
    for at, letters in list(enumerate(ordered))[place:]:
        asked.append((at, letters))
        enough += letters.count if at > place else 0
        if enough > size:
            break
    found: list[tuple[int, int, int | None]] = []
    for named in (True, False):
        kinds = [
            Kind(
                at,
                letters.campaign.pk if letters.campaign else None,
                letters.device.pk,
                letters.reason,
                letters.sendable,
                key if at == place else START,
            )
            for at, letters in asked
            if bool(letters.reason) is named
        ]
        if kinds and len(found) <= size:
            found += dead_people(kinds, size + 1 - len(found), named=named)
    messages = with_words(Message.objects.all()).in_bulk([pk for _, pk, _ in found[:size]])
    rows = []
    parsed: dict[int, Template] = {}
    for at, pk, _ in found[:size]:
        if (message := messages.get(pk)) is not None:
            message.campaign = ordered[at].campaign
            rows.append(recipient(message, parsed))
    if len(found) <= size:
        left = place + len(asked)
        return rows, f"{left}.0.0" if left < len(ordered) else ""  # fewer than the counts said
    at, pk, contact = found[size - 1]
    return rows, f"{at}.{contact or 'e'}.{pk}"


def split_key(after: str) -> tuple[int, tuple[int, int]]:
    """(kind, (contact, message of an erased person)) after which a page begins; what makes no sense begins anew."""
    found = KEY.fullmatch(after)
    if not found:
        return 0, START
    erased = found["contact"] == "e"
    return int(found["place"]), (LAST, int(found["pk"])) if erased else (int(found["contact"]), 0)


def failed_count(workspace: Workspace) -> int:
    """By the counters."""
    return Stream.objects.for_workspace(workspace).aggregate(n=Sum("dead"))["n"] or 0
