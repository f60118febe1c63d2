"""Planning: turns a campaign's audience into message rows, a set-based chunk at a time."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from django.db import connection, transaction
from django.db.models import Max
from django.db.models.functions import Now

from campaigns.actions.campaigns import finish_campaigns, rouse_campaign
from campaigns.audience import Audience
from campaigns.engine.assignment import assign, is_held_out, variant_of
from campaigns.engine.lifecycle import MESSAGE_STATES, SKIPPED
from campaigns.live import push_campaigns
from campaigns.models import (
    GOOD_FOR,
    NO_VARIANT,
    NOBODYS,
    OPEN,
    Assignment,
    Campaign,
    CampaignState,
    Contact,
    Lane,
    Stream,
)
from campaigns.querysets.sizes import learn_if_unknown

CHUNK = 10_000
NO_ROOM = "no_room"
ABSENT = "not_on_whatsapp"
HELD_OUT = "hold_out"

EVERYONE_SQL = """
SELECT id FROM campaigns_contact
WHERE workspace_id = %(workspace)s AND id > %(cursor)s AND id <= %(last)s
ORDER BY id LIMIT %(size)s
"""

# Each tag's next people by its index: to look for all of the tags' people in each chunk would cost n squared.
TAGGED_SQL = """
SELECT DISTINCT link.contact_id
FROM unnest(%(tags)s::bigint[]) AS tag(id) CROSS JOIN LATERAL (
    SELECT contact_id FROM campaigns_contacttag
    WHERE tag_id = tag.id AND contact_id > %(cursor)s AND contact_id <= %(last)s
    ORDER BY contact_id LIMIT %(size)s
) link
ORDER BY link.contact_id LIMIT %(size)s
"""

# Each of the chunk's people is looked up by the indexes. Joins by hashing or merging would read everybody's tags and
# messages for each chunk, and the plan cost n squared.
BY_INDEX_SQL = """
SET LOCAL enable_hashjoin = off; SET LOCAL enable_mergejoin = off; SET LOCAL enable_seqscan = off
"""
AS_USUAL_SQL = """
SET LOCAL enable_hashjoin TO DEFAULT; SET LOCAL enable_mergejoin TO DEFAULT; SET LOCAL enable_seqscan TO DEFAULT
"""

# Locked: two campaigns planned at once must learn of the device that the other one gives to a person. By number, as
# an import locks them: neither waits for the other crosswise.
KNOWN_SQL = """
SELECT id, device_id FROM campaigns_contact
WHERE id = ANY(%(people)s::bigint[]) AND id > %(cursor)s AND id <= %(last)s
ORDER BY phone FOR NO KEY UPDATE
"""

ABSENT_SQL = """
SELECT c.id FROM campaigns_contact c
JOIN campaigns_numbercheck n ON n.workspace_id = c.workspace_id AND n.phone = c.phone
WHERE c.id = ANY(%(people)s::bigint[]) AND c.id > %(cursor)s AND c.id <= %(last)s
  AND NOT n.on_whatsapp AND n.checked_at > now() - %(good)s
"""

# A slot is a place in the arrays of streams; without one the person gets no message but a row that says so, in the
# stream at the place ``nobodys``. Where streams share a device, a microsecond between any two people keeps the one from
# going out before the other begins.
# Both joins name the chunk's range of ids: a merge join would read all contacts before it, and the plan cost n squared.
PLAN_SQL = """
WITH given AS MATERIALIZED (
    SELECT * FROM unnest(%(people)s::bigint[], %(slots)s::int[], %(reasons)s::text[])
        WITH ORDINALITY AS g(contact_id, slot, reason, nth)
),
made AS (
    INSERT INTO campaigns_message
        (workspace_id, campaign_id, stream_id, contact_id, content_id, phone, state, reason, due_at)
    SELECT %(workspace)s, %(campaign)s, (%(streams)s::bigint[])[coalesce(g.slot, %(nobodys)s)], c.id,
           (%(contents)s::bigint[])[coalesce(g.slot, %(nobodys)s)], c.phone,
           CASE WHEN g.slot IS NULL THEN 'skipped' ELSE 'pending' END,
           g.reason,
           %(due)s + (%(lags)s::float8[])[coalesce(g.slot, %(nobodys)s)] * interval '1 second'
                   + (%(before)s + g.nth) * %(apart)s * interval '1 microsecond'
    FROM given g JOIN campaigns_contact c ON c.id = g.contact_id AND c.id > %(cursor)s AND c.id <= %(last)s
    ORDER BY c.id
    ON CONFLICT (campaign_id, contact_id) DO NOTHING
    RETURNING stream_id, state, due_at
),
met AS (
    UPDATE campaigns_contact c SET device_id = (%(devices)s::bigint[])[g.slot]
    FROM given g
    WHERE %(sticky)s AND c.id = g.contact_id AND c.id > %(cursor)s AND c.id <= %(last)s
      AND c.device_id IS NULL AND g.slot IS NOT NULL
)
SELECT stream_id, count(*) FILTER (WHERE state = 'pending'), count(*) FILTER (WHERE state = 'skipped'), min(due_at)
FROM made GROUP BY stream_id
"""

COUNT_SQL = """
UPDATE campaigns_stream s SET
    pending = s.pending + made.pending,
    skipped = s.skipped + made.skipped,
    next_id = CASE WHEN made.pending = 0 OR s.next_due <= made.due THEN s.next_id ELSE 0 END,
    next_due = CASE WHEN made.pending = 0 THEN s.next_due ELSE least(s.next_due, made.due) END
FROM unnest(%(streams)s::bigint[], %(pending)s::int[], %(skipped)s::int[], %(due)s::timestamptz[])
    AS made(stream_id, pending, skipped, due)
WHERE s.id = made.stream_id
"""


@dataclass(frozen=True, slots=True)
class Planned:
    """A chunk: people looked at and messages made; ``last`` is the id of the last person it is done with.

    ``cut``: the first few were all that may be planned of it before somebody has looked.
    """

    seen: int
    made: int
    last: int
    cut: bool = False


def plan_chunk(campaign_id: int, size: int = CHUNK) -> bool:
    """Plan the next ``size`` people; true when nothing is left to plan, or what is left waits for somebody's word.

    Progress and message rows commit together, so a plan goes on exactly where it was broken off. Planners queue up at
    the campaign's row; ``(campaign, contact)`` is unique besides.
    """
    with transaction.atomic():
        campaign = Campaign.objects.select_for_update().get(pk=campaign_id)
        if campaign.planned_at or campaign.state not in OPEN:
            return True
        if campaign.plan_last is None:
            _open_plan(campaign)
        streams = list(Stream.objects.filter(campaign=campaign).order_by("pk"))
        first = first_few_left(campaign, streams)
        if first == 0:
            return _await_word(campaign)
        planned = _plan_next(campaign, streams, size, first)
        done = planned.seen < size and not planned.cut
        Campaign.objects.filter(pk=campaign.pk).update(
            recipients=campaign.recipients + planned.made,
            plan_cursor=planned.last,
            plan_last=campaign.plan_last,
            planned_at=Now() if done else None,
        )
        return done


def first_few_left(campaign: Campaign, streams: Iterable[Stream]) -> int | None:
    """How many more people may be planned before somebody has looked at the first; None: any number.

    Whoever turns out not to be written to does not count: the next person takes the place.
    """
    if campaign.canary is None or campaign.canary_passed_at is not None:
        return None
    return max(0, campaign.canary - sum(people_at(stream) for stream in streams))


def _await_word(campaign: Campaign) -> bool:
    """The first few are planned. Nobody else left: then there is nothing to wait for."""
    others = Audience.of(campaign).contacts(campaign.workspace).order_by()
    waiting = others.filter(pk__gt=campaign.plan_cursor, pk__lte=campaign.plan_last).count()
    Campaign.objects.filter(pk=campaign.pk).update(
        awaiting_word=waiting, plan_last=campaign.plan_last, planned_at=None if waiting else Now()
    )
    return True


def plan_whole(campaign_id: int) -> None:
    """Plan a campaign to its end; devices are roused and the page told after every chunk."""
    done = False
    while not done:
        done = plan_chunk(campaign_id)
        with transaction.atomic():
            rouse_campaign(Campaign.objects.get(pk=campaign_id))
            push_campaigns([campaign_id])
    finish_campaigns([campaign_id])


def expiry_of(campaign: Campaign) -> datetime | None:
    """When what has not left expires; None: never, or the campaign has not been started."""
    if campaign.launched_at is None or campaign.expire_after_h is None:
        return None
    return campaign.launched_at + timedelta(hours=campaign.expire_after_h)


def rooms_of(campaign: Campaign, streams: Sequence[Stream]) -> dict[int, int | None]:
    """How many more people each device may get; None: any number. Skipped people never reach it.

    ``streams``: all that the campaign has at these devices.
    """
    rooms: dict[int, int | None] = dict.fromkeys((stream.device_id for stream in streams), campaign.device_cap)
    if campaign.device_cap is not None:
        for stream in streams:
            rooms[stream.device_id] = max(0, (rooms[stream.device_id] or 0) - people_at(stream))
    return rooms


def people_at(stream: Stream) -> int:
    """Everybody but those who were skipped."""
    return sum(getattr(stream, state) for state in MESSAGE_STATES if state != SKIPPED)


def open_streams(campaign: Campaign, devices: Iterable[int], variants: Sequence[int] = ()) -> None:
    """See that the campaign, or each of its variants, has a stream at each of these devices (ids).

    ``variants``: only those of these numbers.
    """
    settings = {
        "workspace_id": campaign.workspace_id,
        "campaign": campaign,
        "lane": Lane.CAMPAIGN,
        "running": campaign.state == CampaignState.RUNNING,
        "min_delay": campaign.min_delay,
        "expires_at": expiry_of(campaign),
    }
    numbers = variants or list(campaign.variants.order_by("number").values_list("number", flat=True)) or [NO_VARIANT]
    streams = [Stream(device_id=device, variant=number, **settings) for device in devices for number in numbers]
    Stream.objects.bulk_create(streams, ignore_conflicts=True)


def _open_plan(campaign: Campaign) -> None:
    """Fix who may take part (nobody added later) and make a stream for each device."""
    learn_if_unknown(campaign.workspace)
    newest = Contact.objects.for_workspace(campaign.workspace).aggregate(newest=Max("pk"))["newest"]
    campaign.plan_last = newest or 0
    open_streams(campaign, campaign.device_links.order_by("device_id").values_list("device_id", flat=True))


def _plan_next(campaign: Campaign, streams: Sequence[Stream], size: int, first: int | None) -> Planned:
    audience = Audience.of(campaign)
    found = _candidates(campaign, audience, size) if streams else []
    if not found:
        return Planned(0, 0, campaign.plan_last or 0)
    people = _chosen(campaign, audience, found)
    absent = _absent(campaign, people)
    held_out = [person for person in people if is_held_out(campaign.pk, person, audience.hold_out)]
    left_out = {**dict.fromkeys(absent, ABSENT), **dict.fromkeys(held_out, HELD_OUT)}
    rooms = rooms_of(campaign, streams)
    last, cut = found[-1], False
    if first is not None and any(room != 0 for room in rooms.values()):
        reached = [person for person in people if person not in left_out]
        if len(reached) > first:
            last, cut = reached[first - 1], True
            people = [person for person in people if person <= last]
    if not people:
        return Planned(len(found), 0, last, cut)
    known = _known(campaign, people)
    if not known:
        return Planned(len(found), 0, last, cut)
    reached_by = {person: device for person, device in known.items() if person not in left_out}
    chosen = dict(zip(reached_by, assign(list(reached_by.values()), rooms, campaign.recipients), strict=True))
    made = _make(campaign, streams, known, chosen, left_out)
    return Planned(len(found), made, last, cut)


def _make(
    campaign: Campaign,
    streams: Sequence[Stream],
    people: Iterable[int],
    chosen: Mapping[int, int | None],
    reasons: Mapping[int, str],
) -> int:
    """A message for each of the people, in the order of their ids, at the device chosen; returns how many."""
    people = sorted(people)
    if not all(chosen.get(person) for person in people):
        streams = _with_nobodys(campaign, streams)
    with connection.cursor() as cursor:
        cursor.execute(PLAN_SQL, _plan_values(campaign, streams, people, chosen, reasons))
        made = cursor.fetchall()
        # Only now, so that these devices go on sending while the rows are made.
        Stream.objects.filter(campaign=campaign).lock()
        stream_ids, pending, skipped, due = ([row[column] for row in made] for column in range(4))
        cursor.execute(COUNT_SQL, {"streams": stream_ids, "pending": pending, "skipped": skipped, "due": due})
    return sum(pending) + sum(skipped)


def _plan_values(
    campaign: Campaign,
    streams: Sequence[Stream],
    people: Sequence[int],
    chosen: Mapping[int, int | None],
    reasons: Mapping[int, str],
) -> dict[str, Any]:
    """For `PLAN_SQL`: a person's slot counts from 1 in the order of ``streams``, null where nobody writes to them."""
    variants = list(campaign.variants.order_by("number"))
    slots = {(stream.device_id, stream.variant): slot for slot, stream in enumerate(streams, 1)}
    contents = {variant.number: variant.content_id for variant in variants}
    shares = [(variant.number, variant.share) for variant in variants]
    turns = {device: turn for turn, device in enumerate(sorted({stream.device_id for stream in streams}))}

    def slot_of(person: int) -> object:
        device = chosen.get(person)
        if device is None:
            return "NULL"
        return slots[device, variant_of(campaign.pk, person, shares)]

    return {
        "workspace": campaign.workspace_id,
        "campaign": campaign.pk,
        "cursor": people[0] - 1,
        "last": people[-1],
        "nobodys": next((slot for (_, variant), slot in slots.items() if variant == NOBODYS), 1),
        "due": campaign.canary_passed_at or campaign.launched_at,
        "before": campaign.recipients,
        "apart": 1 if variants else 0,
        "sticky": campaign.assignment == Assignment.STICKY,
        "streams": [stream.pk for stream in streams],
        "devices": [stream.device_id for stream in streams],
        "contents": [contents.get(stream.variant, campaign.content_id) for stream in streams],
        "lags": [float(turns[stream.device_id] * campaign.stagger_s) for stream in streams],
        "people": _array(people),
        "slots": _array(map(slot_of, people)),
        "reasons": [reasons.get(person) or ("" if chosen[person] else NO_ROOM) for person in people],
    }


def _with_nobodys(campaign: Campaign, streams: Sequence[Stream]) -> Sequence[Stream]:
    """With one for those who get nothing: else the figures of a device and of a variant would count them."""
    if not any(stream.is_nobodys for stream in streams):
        open_streams(campaign, [streams[0].device_id], [NOBODYS])
        streams = list(Stream.objects.filter(campaign=campaign).order_by("pk"))
    return streams


def _candidates(campaign: Campaign, audience: Audience, size: int) -> list[int]:
    """The next people by their ids: the whole audience is among them, and no chunk looks at any other's."""
    if audience.retarget_of is not None:
        messages = audience.recipients(campaign.workspace).order_by("contact_id")
        within = messages.filter(contact_id__gt=campaign.plan_cursor, contact_id__lte=campaign.plan_last)
        return [person for person in within.values_list("contact_id", flat=True)[:size] if person is not None]
    values: dict[str, Any] = {
        "workspace": campaign.workspace_id,
        "tags": list(audience.tags),
        "cursor": campaign.plan_cursor,
        "last": campaign.plan_last,
        "size": size,
    }
    by_tags = audience.narrows and not audience.segments
    with connection.cursor() as cursor:
        cursor.execute(TAGGED_SQL if by_tags else EVERYONE_SQL, values)
        return [row[0] for row in cursor.fetchall()]


def _chosen(campaign: Campaign, audience: Audience, candidates: list[int]) -> list[int]:
    """Those of the candidates who are in the audience."""
    if replace(audience, everyone=False, tags=(), hold_out=0) == Audience():
        return candidates
    wanted = audience.contacts(campaign.workspace).filter(pk__in=candidates).values_list("pk", flat=True)
    with connection.cursor() as cursor:
        cursor.execute(BY_INDEX_SQL)
        people = list(wanted)
        cursor.execute(AS_USUAL_SQL)
    return people


def _known(campaign: Campaign, people: list[int]) -> dict[int, int | None]:
    """Those of these people who still exist, and the device that each of them knows if that matters here."""
    if campaign.assignment != Assignment.STICKY:
        return dict.fromkeys(people)
    with connection.cursor() as cursor:
        cursor.execute(KNOWN_SQL, {"people": _array(people), "cursor": people[0] - 1, "last": people[-1]})
        return dict(cursor.fetchall())


def _absent(campaign: Campaign, people: list[int]) -> set[int]:
    """Those of these people whom the campaign leaves out: known not to be on WhatsApp."""
    if not campaign.leave_out_absent or not people:
        return set()
    range_of_ids = {"cursor": people[0] - 1, "last": people[-1]}
    values: dict[str, Any] = {"people": _array(people), **range_of_ids, "good": GOOD_FOR}
    with connection.cursor() as cursor:
        cursor.execute(ABSENT_SQL, values)
        return {row[0] for row in cursor.fetchall()}


def _array(values: Iterable[object]) -> str:
    """An array as PostgreSQL reads it: a third of what handing over a list of numbers costs."""
    return f"{{{','.join(map(str, values))}}}"
