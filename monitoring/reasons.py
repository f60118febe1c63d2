"""Why people got nothing, over all campaigns of a period: in plain words, bounded, and kept for a while."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.core.cache import cache
from django.utils import timezone

from accounts.models import Workspace
from campaigns import report
from campaigns.models import NOBODYS, Campaign, Stream
from campaigns.querysets.launched import launched
from campaigns.querysets.report import REASONED, reasons_of
from devices.models import Device
from monitoring.period import Period

KEPT_S = 30  # though the counters have moved
KEPT_UNCHANGED_S = 3600
MOST_CAMPAIGNS = 200
MOST_MESSAGES = 250_000  # with a reason: so many are looked through at once
NAMED = 10
Troubled = tuple[int, list[int]]  # a campaign's id, and how many of its messages are in each of `REASONED`


@dataclass(frozen=True, slots=True)
class ReasonRow:
    """``where``: the rows behind it in the campaigns that have most of it; ``more`` others have some, too."""

    word: str
    colour: str
    sentence: str
    count: int
    where: list[tuple[Campaign, report.ReasonRow]]
    more: int

    @property
    def campaigns(self) -> int:
        return len(self.where) + self.more


@dataclass(frozen=True, slots=True)
class Reasons:
    """``campaigns`` were looked through at the instant ``at``; ``left_out`` were not: too many people at once."""

    at: datetime
    rows: list[ReasonRow]
    campaigns: int
    left_out: int


def reasons(workspace: Workspace, asked: Period, device: Device | None = None) -> Reasons:
    """What is kept is shown for a while though the counters move on, and for long where they stay as they are."""
    pk = device.pk if device else None
    troubled, several = troubled_campaigns(workspace, asked, pk)
    looked = bounded(troubled)
    key = f"reasons:{workspace.pk}:{asked.begin.isoformat()}:{asked.end.isoformat()}:{pk or 0}"
    kept, now = cache.get(key), timezone.now()
    counted = [[campaign, *counts] for campaign, counts in looked]
    age = (now - datetime.fromisoformat(kept["at"])).total_seconds() if kept else KEPT_UNCHANGED_S
    if not kept or not 0 <= age < (KEPT_UNCHANGED_S if kept["counted"] == counted else KEPT_S):
        kept = {"at": now.isoformat(), "counted": counted, "found": look_through(looked, pk)}
        cache.set(key, kept, KEPT_UNCHANGED_S)
    rows = reason_rows(workspace, kept["found"], device)
    return Reasons(datetime.fromisoformat(kept["at"]), rows, len(kept["counted"]), several - len(looked))


def troubled_campaigns(workspace: Workspace, asked: Period, device: int | None) -> tuple[list[Troubled], int]:
    """Those with most people who were not reached, and how many there are."""
    told = launched(
        workspace,
        asked.span,
        device=device,
        figure="unreached",
        sort="unreached",
        size=MOST_CAMPAIGNS,
    )
    return [(pk, [counts[state] for state in REASONED]) for pk, counts in told.rows], told.kept


def bounded(troubled: Sequence[Troubled]) -> list[Troubled]:
    """As many of them as may be looked through at once."""
    chosen, messages = [], 0
    for pk, counts in troubled:
        if messages + sum(counts) <= MOST_MESSAGES:
            chosen.append((pk, counts))
            messages += sum(counts)
    return chosen


def look_through(looked: Sequence[Troubled], device: int | None) -> list[list[Any]]:
    """[campaign, state, reason, messages]; without a reason is what the counters have beyond those that have one."""
    ids = [pk for pk, _ in looked]
    streams = None
    if device is not None:
        at_it = Stream.objects.filter(campaign__in=ids, device=device).exclude(variant=NOBODYS)
        streams = list(at_it.values_list("pk", flat=True))
    found = reasons_of(ids, streams)
    explained: Counter[tuple[int, str]] = Counter()
    for (campaign, state, _), count in found.items():
        explained[campaign, state] += count
    unexplained = [
        [campaign, state, "", count - explained[campaign, state]]
        for campaign, counts in looked
        for state, count in zip(REASONED, counts, strict=True)
        if count > explained[campaign, state]
    ]
    return [[campaign, state, reason, count] for (campaign, state, reason), count in found.items()] + unexplained


def reason_rows(workspace: Workspace, found: Sequence[Sequence[Any]], device: Device | None) -> list[ReasonRow]:
    """Failed, uncertain, skipped; within each the commonest first, and its campaigns with most people first."""
    campaigns = Campaign.objects.for_workspace(workspace).in_bulk({row[0] for row in found})
    together: dict[tuple[str, str], list[tuple[int, int]]] = defaultdict(list)
    for campaign, state, reason, count in found:
        if campaign in campaigns:  # it may be gone since
            together[state, reason].append((count, campaign))
    order = sorted(together, key=lambda key: (REASONED.index(key[0]), -sum(n for n, _ in together[key]), key[1]))
    return [
        reason_row([(campaigns[pk], n) for n, pk in sorted(together[key], reverse=True)], key, device) for key in order
    ]


def reason_row(where: Sequence[tuple[Campaign, int]], key: tuple[str, str], device: Device | None) -> ReasonRow:
    named = [(campaign, report.reason_row(campaign, *key, count, device)) for campaign, count in where[:NAMED]]
    first = named[0][1]
    count = sum(count for _, count in where)
    return ReasonRow(first.word, first.colour, first.sentence, count, named, len(where) - len(named))
