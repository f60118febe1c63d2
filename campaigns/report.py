"""A campaign's report: the funnel, by device, by variant, by hour and by reason, and what the differences say.

Everything but hours, reasons and the hold-out group comes from the streams' counters. Those take a pass over the
campaign's messages, which is kept for a while where it takes long and says when it was made.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any
from urllib.parse import urlencode

from django.core.cache import cache
from django.urls import reverse
from django.utils import timezone

from campaigns.charts import Bar, Columns, Series, columns, width_of
from campaigns.engine.lifecycle import FIGURES
from campaigns.engine.proportions import Share, difference
from campaigns.live import figures
from campaigns.models import Campaign, CampaignState, Reply, Retarget, Stream
from campaigns.querysets.campaigns import COUNTERS
from campaigns.querysets.report import HOLD_OUT, REASONED, STEPS, UNKNOWN, Aftermath, aftermath, tally
from campaigns.shown import LISTS, MESSAGE_STATES, counted, reason_in_words
from devices.models import Device

KEPT_S = 30  # while it runs
SMALL = 20_000  # messages: to look through so many costs so little that nothing is kept
KEPT_AFTER_S = 24 * 3600  # once it is over, for as long as the counters stay what they were
KEPT_HELD_OUT_S = 600  # people who were held out write and opt out without any counter of the campaign moving
NO_REASON = "-"  # in an address: those without one
HOURS = [str(hour) for hour in range(24)]
REPLIES = 20


@dataclass(frozen=True, slots=True)
class DeviceFigures:
    device: Device
    figures: dict[str, int]

    @property
    def failure_rate(self) -> float | None:
        """Per cent of what was tried to the end; None before anything was."""
        return per_cent(self.figures["failed"], self.figures["sent"] + self.figures["failed"])


@dataclass(frozen=True, slots=True)
class VariantFigures:
    """``share``: per cent of the people who were to get it."""

    number: int
    letter: str
    share: int
    text: str
    figures: dict[str, int]

    @property
    def reply_rate(self) -> float | None:
        return per_cent(self.figures["replied"], self.figures["sent"])


@dataclass(frozen=True, slots=True)
class ReasonRow:
    figure: str
    state: str
    word: str
    colour: str
    reason: str
    sentence: str
    count: int
    url: str


@dataclass(frozen=True, slots=True)
class HoldOut:
    """``written`` got the campaign, ``held`` got nothing; ``replies`` and ``opt_outs`` say what that tells."""

    written: Aftermath
    held: Aftermath
    replies: str
    opt_outs: str


@dataclass(frozen=True, slots=True)
class Details:
    """What a pass over the messages found at the instant ``at``."""

    at: datetime
    reasons: list[tuple[str, str, int]]
    hours: dict[str, dict[str, int]]
    written: Aftermath | None
    held: Aftermath | None


def per_cent(part: int, whole: int) -> float | None:
    return round(100 * part / whole, 1) if whole else None


def people_url(campaign: Campaign, **query: Any) -> str:
    asked = {key: value for key, value in query.items() if value not in ("", None)}
    return f"{reverse('campaigns:recipients', args=[campaign.uuid])}?{urlencode(asked)}"


def report_context(campaign: Campaign, streams: Sequence[Stream]) -> dict[str, Any]:
    """What the counters tell: nothing in it asks for messages."""
    found = figures(streams)
    variants = variant_figures(campaign, streams)
    return {
        "campaign": campaign,
        "figures": found,
        "funnel": funnel(found, lambda step: people_url(campaign, figure=step)),
        "devices": device_figures(streams),
        "variants": variants,
        "nobodys": figures(stream for stream in streams if stream.is_nobodys),
        "verdict": verdict(variants),
        "retargets": retargets(found),
    }


def funnel(found: dict[str, int], url_of: Callable[[str], str]) -> list[Bar]:
    """Each step with its part of Should; ``url_of`` knows where the rows behind a step are."""
    whole = found["should"]
    return [
        Bar(
            step,
            LISTS[step],
            found[step],
            width_of(found[step], whole),
            url_of(step),
            f"{100 * found[step] / whole:.1f} %" if whole else "",
        )
        for step in ("should", *STEPS)
    ]


def device_figures(streams: Sequence[Stream]) -> list[DeviceFigures]:
    """By name; a device has a stream for each variant. Those who were to get nothing are at none."""
    own = grouped((stream for stream in streams if not stream.is_nobodys), "device_id")
    devices = Device.objects.filter(pk__in=own).order_by("name", "pk")
    return [DeviceFigures(device, figures(own[device.pk])) for device in devices]


def variant_figures(campaign: Campaign, streams: Sequence[Stream]) -> list[VariantFigures]:
    own = grouped(streams, "variant")
    variants = campaign.variants.select_related("content").order_by("number")
    return [
        VariantFigures(one.number, one.letter, one.share, one.content.text, figures(own[one.number]))
        for one in variants
    ]


def variant_choices(campaign: Campaign) -> list[tuple[int, str]]:
    """What a list may be narrowed to: (number, words)."""
    return [(number, f"Variant {letter}") for number, letter in variant_letters(campaign)]


def variant_letters(campaign: Campaign) -> list[tuple[int, str]]:
    return [(one.number, one.letter) for one in campaign.variants.order_by("number")]


def grouped(streams: Iterable[Stream], by: str) -> dict[int, list[Stream]]:
    found: dict[int, list[Stream]] = defaultdict(list)
    for stream in streams:
        found[getattr(stream, by)].append(stream)
    return found


def verdict(variants: Sequence[VariantFigures]) -> str:
    """Which variant gets more replies, if the numbers say so at all."""
    tried = [one for one in variants if one.figures["sent"]]
    if len(tried) < 2:
        return ""
    first, second = sorted(tried, key=lambda one: -one.figures["replied"] / one.figures["sent"])[:2]
    best, next_best = (Share(one.figures["replied"], one.figures["sent"]) for one in (first, second))
    return compared(best, next_best, f"variant {first.letter}", f"variant {second.letter}", "replied")


def compared(one: Share, other: Share, name: str, other_name: str, did: str) -> str:
    """What two shares say of each other, in words and with how sure it is."""
    interval = difference(one, other)
    if interval is None:
        return ""
    numbers = (
        f"{100 * one.part:.1f} % of {counted(one.people, 'person', 'people')} {did} with {name}, "
        f"{100 * other.part:.1f} % of {counted(other.people, 'person', 'people')} with {other_name}."
    )
    low, high = (100 * end for end in interval)
    if not interval.tells:
        return (
            f"{numbers} That is too close to tell: with so many people the true difference may be anything from "
            f"{low:+.1f} to {high:+.1f} points."
        )
    ahead, behind = (name, other_name) if interval.low > 0 else (other_name, name)
    least, most = sorted((abs(low), abs(high)))
    return (
        f"{numbers} More {did} with {ahead} than with {behind}: the true difference is {least:.1f} to {most:.1f} points"
        ", as sure as 95 in 100."
    )


def retargets(found: dict[str, int]) -> list[tuple[str, str, int]]:
    """Whom a new campaign may write to after this one: (key, words, people); the draft counts them anew."""
    got = found["sent"] - found["assumed"]  # whoever is only assumed to have got it is not meant
    people = {
        Retarget.NOT_READ: got - found["read"],
        Retarget.NOT_REPLIED: max(0, got - found["replied"]),
        Retarget.REPLIED: found["replied"],
        Retarget.FAILED: found["failed"],
    }
    return [(str(key), str(key.label), count) for key, count in people.items()]


# ---- what takes a pass over the messages


def details_of(campaign: Campaign, streams: Sequence[Stream]) -> Details:
    """As it is, or as it was at most `KEPT_S` ago; of a campaign that is over, for as long as nothing changed."""
    key, now = f"campaign-report:{campaign.pk}", timezone.now()
    counts = [sum(getattr(stream, name) for stream in streams) for name in COUNTERS]
    small = figures(streams)["should"] <= SMALL
    kept = None if small else cache.get(key)
    if kept and kept["zone"] == campaign.workspace.timezone:
        age = (now - datetime.fromisoformat(kept["at"])).total_seconds()
        if is_good(kept, counts, age):
            return details_from(kept)
    found = tally(campaign, campaign.workspace.zone)
    held_out = found.reasons["skipped", HOLD_OUT]
    groups = aftermath(campaign, figures(streams)["sent"], held_out) if held_out and campaign.launched_at else None
    fresh = {
        "at": now.isoformat(),
        "counts": counts,
        "zone": campaign.workspace.timezone,
        "reasons": [[*key, count] for key, count in found.reasons.most_common()],
        "hours": {step: dict(hours) for step, hours in found.hours.items()},
        "groups": [asdict(group) for group in groups] if groups else None,
    }
    if not small:
        cache.set(key, fresh, KEPT_AFTER_S)
    return details_from(fresh)


def is_good(kept: dict[str, Any], counts: list[int], age: float) -> bool:
    if age < 0 or age > KEPT_S:
        over = dict(zip(COUNTERS, counts, strict=True))
        remaining = sum(over[state] for state in FIGURES["remaining"])
        lasts = KEPT_HELD_OUT_S if kept["groups"] else KEPT_AFTER_S
        return not remaining and kept["counts"] == counts and 0 <= age < lasts
    return True


def details_from(kept: dict[str, Any]) -> Details:
    written, held = (Aftermath(**group) for group in kept["groups"]) if kept["groups"] else (None, None)
    return Details(
        datetime.fromisoformat(kept["at"]),
        [(state, reason, count) for state, reason, count in kept["reasons"]],
        kept["hours"],
        written,
        held,
    )


def details_context(campaign: Campaign, streams: Sequence[Stream]) -> dict[str, Any]:
    details = details_of(campaign, streams)
    return {
        "campaign": campaign,
        "at": details.at,
        "may_lag": campaign.state == CampaignState.RUNNING and figures(streams)["should"] > SMALL,
        "by_hour": hour_chart(campaign, details),
        "unknown_hours": unknown_hours(campaign, details),
        "reasons": reason_rows(campaign, details),
        "hold_out": hold_out(details),
        "replies": newest_replies(campaign) if figures(streams)["replied"] else [],
    }


def hour_chart(campaign: Campaign, details: Details) -> Columns:
    series = [
        Series(
            step,
            LISTS[step],
            [details.hours.get(step, {}).get(hour, 0) for hour in HOURS],
            [people_url(campaign, figure=step, hour=hour) for hour in HOURS],
        )
        for step in STEPS
    ]
    return columns(f"Messages by hour of the day ({campaign.workspace.timezone})", hour_words(), series)


def hour_words() -> list[str]:
    return [f"{hour:0>2}:00" for hour in HOURS]


def unknown_hours(campaign: Campaign, details: Details) -> list[tuple[str, int, str]]:
    """Steps whose time nobody noted, such as what is only assumed to be sent: (word, messages, address)."""
    return [
        (LISTS[step].lower(), count, people_url(campaign, figure=step, hour=UNKNOWN))
        for step in STEPS
        if (count := details.hours.get(step, {}).get(UNKNOWN, 0))
    ]


def reason_rows(campaign: Campaign, details: Details) -> list[ReasonRow]:
    """Failed, uncertain, skipped; within each the commonest first."""
    rows = sorted(details.reasons, key=lambda row: (REASONED.index(row[0]), -row[2], row[1]))
    return [reason_row(campaign, state, reason, count) for state, reason, count in rows]


def reason_row(campaign: Campaign, state: str, reason: str, count: int, device: Device | None = None) -> ReasonRow:
    """``device``: the messages were counted at this one alone."""
    figure = next(figure for figure, states in FIGURES.items() if state in states)
    narrowed = {"device": device.uuid} if device else {}
    return ReasonRow(
        figure=figure,
        state=state,
        word=MESSAGE_STATES[state].word,
        colour=MESSAGE_STATES[state].colour,
        reason=reason or NO_REASON,
        sentence=reason_in_words(reason) or MESSAGE_STATES[state].reason or "No reason was noted.",
        count=count,
        url=people_url(campaign, figure=figure, state=state, reason=reason or NO_REASON, **narrowed),
    )


def hold_out(details: Details) -> HoldOut | None:
    written, held = details.written, details.held
    if written is None or held is None:
        return None
    names = ("the campaign", "no campaign")
    replies = compared(Share(written.wrote, written.people), Share(held.wrote, held.people), *names, "wrote to you")
    opt_outs = compared(Share(written.left, written.people), Share(held.left, held.people), *names, "opted out")
    return HoldOut(written, held, replies, opt_outs)


def newest_replies(campaign: Campaign) -> list[Reply]:
    found = Reply.objects.for_workspace(campaign.workspace).filter(message__campaign=campaign)
    return list(found.select_related("contact", "device", "message").order_by("-pk")[:REPLIES])
