"""What a campaign that has not begun will do: to whom, through which devices, how long, and what deserves a thought."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, time

from django.db.models import Count
from django.utils import timezone

from accounts.models import Workspace
from campaigns.audience import Audience, Size, reachable, size_of
from campaigns.engine.forecast import HOUR, Pace, common_hours, done_within, seconds_for_all, shares
from campaigns.models import Assignment, Campaign, Failover
from campaigns.numbers import on_whatsapp
from campaigns.outlook import Outlook, outlook
from campaigns.querysets.contacts import ContactQuerySet
from campaigns.shown import counted, duration
from devices.models import Device
from devices.shown import is_connected
from devices.warm_up import caps_ahead


@dataclass(frozen=True, slots=True)
class Course:
    """How the audience meets the devices. ``lasts``: seconds, None without people or a device that can send."""

    lasts: float | None
    no_room: int
    in_time: int | None  # people whose message leaves before it expires; None: it never does
    people: int
    outlook: Outlook | None = None


@dataclass(frozen=True, slots=True)
class LeftOut:
    """So many people get nothing; ``why`` goes on from "12 people …"."""

    people: int
    why: str


@dataclass(frozen=True, slots=True)
class PlanShown:
    size: Size
    chosen: list[str]  # names of the tags and segments that choose people
    excluded: list[str]
    devices: list[Device]
    course: Course
    warnings: list[str]
    absent: int  # of those who can be reached: known not to be on WhatsApp
    held_out: int = 0
    left_out: tuple[LeftOut, ...] = ()
    canary: int | None = None
    persons_hours: bool = False

    @property
    def has_hours(self) -> bool:
        return self.persons_hours or any(device.sending_from is not None for device in self.devices)

    @property
    def warms_up(self) -> bool:
        return any(device.warm_cap is not None for device in self.devices)


def plan_of(campaign: Campaign) -> PlanShown:
    audience = Audience.of(campaign)
    people = audience.contacts(campaign.workspace)
    size = size_of(people)
    absent = on_whatsapp(reachable(people), False).count_lately()
    if campaign.leave_out_absent:
        size = replace(size, left_out=absent)
    held_out = round(size.reachable * audience.hold_out / 100)
    size = replace(size, left_out=size.left_out + held_out)
    linked = Device.objects.filter(campaign_links__campaign=campaign).select_related("workspace")
    devices = list(linked.with_shown_state().order_by("name"))
    chosen_by, excluded = nouns_of(campaign)
    course = course_of(campaign, people, size, devices)
    return PlanShown(
        size,
        chosen_by,
        excluded,
        devices,
        course,
        warnings(campaign, devices, course),
        absent,
        held_out,
        tuple(who_is_left_out(campaign, audience, size, absent, held_out)),
        campaign.canary if campaign.canary and campaign.canary < course.people else None,
        bool(persons_hours(campaign.workspace, campaign)),
    )


def nouns_of(campaign: Campaign) -> tuple[list[str], list[str]]:
    """The names of the tags and segments that choose people, and of those that leave them out."""
    tags = campaign.tag_links.order_by("tag__name").values_list("tag__name", "excluded")
    segments = campaign.segment_links.order_by("segment__name").values_list("segment__name", "excluded")
    named = [*tags, *segments]
    return [name for name, excluded in named if not excluded], [name for name, excluded in named if excluded]


def who_is_left_out(
    campaign: Campaign, audience: Audience, size: Size, absent: int, held_out: int
) -> Iterator[LeftOut]:
    """Everybody who would be in the audience and gets nothing, by the reason; a warning tells of those without room."""
    workspace = campaign.workspace
    if audience.excluded_tags or audience.excluded_segments:
        kept = replace(audience, not_contacted_days=None)
        whole = replace(kept, excluded_tags=(), excluded_segments=())
        excluded = people_in(whole, workspace) - people_in(kept, workspace)
        yield LeftOut(excluded, "have an excluded tag or are in an excluded segment")
    if audience.not_contacted_days is not None:
        lately = people_in(replace(audience, not_contacted_days=None), workspace) - size.people
        yield LeftOut(lately, f"got a message within {counted(audience.not_contacted_days, 'day')}")
    yield LeftOut(size.opted_out, "opted out")
    if campaign.leave_out_absent:
        yield LeftOut(absent, "are known not to be on WhatsApp")
    yield LeftOut(held_out, "are held out, to compare with")


def people_in(audience: Audience, workspace: Workspace) -> int:
    return audience.contacts(workspace).count_lately()


def course_of(campaign: Campaign, people: ContactQuerySet, size: Size, devices: Sequence[Device]) -> Course:
    """``campaign`` may be one that was never saved: what a form says so far. If nothing else uses these devices."""
    if not size.reachable or not devices:
        return Course(None, 0, None, size.reachable)
    # In the order in which they begin, where one begins after the other.
    devices = sorted(devices, key=lambda device: device.pk)
    known = people_who_know(people, devices) if campaign.assignment == Assignment.STICKY else [0] * len(devices)
    counts = shares(size.reachable, known, campaign.device_cap)
    # Whoever has opted out has a place until the device's turn comes to skip them.
    no_room = (
        0 if campaign.device_cap is None else max(0, size.people - size.left_out - campaign.device_cap * len(devices))
    )
    paces = [pace_of(device, campaign).slowed(campaign.min_delay) for device in devices]
    start = (campaign.start_at or timezone.now()).astimezone(devices[0].workspace.zone)
    at, stagger = seconds_of_day(start.time()), campaign.stagger_s
    in_time = None
    if campaign.expire_after_h is not None:
        in_time = done_within(campaign.expire_after_h * HOUR, counts, paces, at, stagger)
    lasts = seconds_for_all(counts, paces, at, stagger)
    return Course(lasts, no_room, in_time, sum(counts), outlook(start, lasts, counts, paces, stagger))


def people_who_know(people: ContactQuerySet, devices: Sequence[Device]) -> list[int]:
    """How many of these people each device has written to before."""
    ids = [device.pk for device in devices]

    def reckon() -> list[int]:
        found: dict[int, int] = dict(
            people.order_by().filter(device__in=ids).values_list("device").annotate(Count("pk"))
        )
        return [found.get(pk, 0) for pk in ids]

    return people.kept(f"known to {ids}", reckon)


def warnings(campaign: Campaign, devices: Sequence[Device], course: Course) -> list[str]:
    """What keeps no campaign from starting, but somebody from being surprised later."""
    found = []
    if devices and any(pace_of(device, campaign).never for device in devices):
        found.append("The sending hours and the hours for writing to people never meet: nothing leaves.")
    if devices and (cap := devices[0].workspace.frequency_cap):
        lately = counted(devices[0].workspace.frequency_days, "day")
        found.append(f"Whoever has had {counted(cap, 'message')} within {lately} when their turn comes is skipped.")
    if course.no_room:
        room = f"{counted(len(devices), 'number')} of at most {campaign.device_cap or 0:,} people each"
        found.append(f"{counted(course.no_room, 'person', 'people')} {verb(course.no_room, 'get')} nothing: {room}.")
    if course.in_time is not None and course.in_time < course.people:
        late = course.people - course.in_time
        found.append(
            f"About {counted(late, 'person', 'people')} {verb(late, 'get')} nothing: sending takes about "
            f"{duration(course.lasts)}, and what has not left {counted(campaign.expire_after_h or 0, 'hour')} after "
            "the start expires."
        )
    held = sum(device.shown_state == "held" for device in devices)
    if held:
        them = f"WhatsApp holds {held} of {counted(len(devices), 'number')} back for a while"
        found.append(f"{them}: {'its' if held == 1 else 'their'} people wait.")
    away = sum(not is_connected(device) for device in devices)
    if away and campaign.failover == Failover.WAIT:
        them = f"{away} of {counted(len(devices), 'number')} {'is' if away == 1 else 'are'} not online"
        found.append(f"{them}: {'its' if away == 1 else 'their'} people wait.")
    if campaign.failover != Failover.WAIT and len(devices) == 1:
        found.append("There is no other number to send from: choose a second one, or its people wait for it.")
    return found


def persons_hours(workspace: Workspace, campaign: Campaign | None) -> list[tuple[float, float]]:
    """When people may be written to, as seconds of the day; a forecast takes everybody for being in the workspace's
    zone.
    """
    windows = []
    if workspace.quiet_from is not None and workspace.quiet_to is not None:
        windows.append((seconds_of_day(workspace.quiet_to), seconds_of_day(workspace.quiet_from)))
    if campaign is not None and campaign.local_from is not None and campaign.local_to is not None:
        windows.append((seconds_of_day(campaign.local_from), seconds_of_day(campaign.local_to)))
    return windows


def pace_of(device: Device, campaign: Campaign | None = None) -> Pace:
    """What a forecast needs to know of it: gaps in seconds, hours as seconds of the day, caps from today on."""
    windows = persons_hours(device.workspace, campaign)
    if device.sending_from is not None and device.sending_to is not None:
        windows.append((seconds_of_day(device.sending_from), seconds_of_day(device.sending_to)))
    hours = common_hours(windows)
    return Pace(
        device.min_delay,
        device.max_delay,
        device.hourly_cap,
        device.daily_cap,
        hours,
        tuple(caps_ahead(device)),
    )


def seconds_of_day(at: time | datetime) -> float:
    return at.hour * 3600 + at.minute * 60 + at.second


def verb(count: int, word: str) -> str:
    return f"{word}s" if count == 1 else word
