"""Planning: turns a campaign's audience into message rows, a set-based chunk at a time."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.db import connection, transaction
from django.db.models import Max
from django.db.models.functions import Now

from campaigns.actions.campaigns import finish_campaigns, rouse_campaign
from campaigns.engine.assignment import assign
from campaigns.engine.lifecycle import MESSAGE_STATES, SKIPPED
from campaigns.live import push_campaigns
from campaigns.models import GOOD_FOR, Assignment, Campaign, CampaignState, Contact, Lane, Stream

CHUNK = 10_000
NO_ROOM = "no_room"
ABSENT = "not_on_whatsapp"

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

# A slot is a place in the arrays of streams and devices; without one the person gets no message but a row that says so.
# Both joins name the chunk's range of ids: a merge join would read all contacts before it, and the plan cost n squared.
PLAN_SQL = """
WITH given AS MATERIALIZED (
    SELECT * FROM unnest(%(people)s::bigint[], %(slots)s::int[], %(reasons)s::text[]) AS g(contact_id, slot, reason)
),
made AS (
    INSERT INTO campaigns_message
        (workspace_id, campaign_id, stream_id, contact_id, content_id, phone, state, reason, due_at)
    SELECT %(workspace)s, %(campaign)s, (%(streams)s::bigint[])[coalesce(g.slot, 1)], c.id, %(content)s, c.phone,
           CASE WHEN g.slot IS NULL THEN 'skipped' ELSE 'pending' END,
           g.reason, %(due)s
    FROM given g JOIN campaigns_contact c ON c.id = g.contact_id AND c.id > %(cursor)s AND c.id <= %(last)s
    ORDER BY c.id
    ON CONFLICT (campaign_id, contact_id) DO NOTHING
    RETURNING stream_id, state
),
met AS (
    UPDATE campaigns_contact c SET device_id = (%(devices)s::bigint[])[g.slot]
    FROM given g
    WHERE %(sticky)s AND c.id = g.contact_id AND c.id > %(cursor)s AND c.id <= %(last)s
      AND c.device_id IS NULL AND g.slot IS NOT NULL
)
SELECT stream_id, count(*) FILTER (WHERE state = 'pending'), count(*) FILTER (WHERE state = 'skipped')
FROM made GROUP BY stream_id
"""

COUNT_SQL = """
UPDATE campaigns_stream s SET
    pending = s.pending + made.pending,
    skipped = s.skipped + made.skipped,
    next_id = CASE WHEN made.pending = 0 OR s.next_due <= %(due)s THEN s.next_id ELSE 0 END,
    next_due = CASE WHEN made.pending = 0 THEN s.next_due ELSE least(s.next_due, %(due)s) END
FROM unnest(%(streams)s::bigint[], %(pending)s::int[], %(skipped)s::int[]) AS made(stream_id, pending, skipped)
WHERE s.id = made.stream_id
"""


@dataclass(frozen=True, slots=True)
class Planned:
    """A chunk: people looked at and messages made; ``last`` is the id of the last person."""

    seen: int
    made: int
    last: int


def plan_chunk(campaign_id: int, size: int = CHUNK) -> bool:
    """Plan the next ``size`` people; true when nothing is left to plan.

    Progress and message rows commit together, so a plan goes on exactly where it was broken off. Planners queue up at
    the campaign's row; ``(campaign, contact)`` is unique besides.
    """
    with transaction.atomic():
        campaign = Campaign.objects.select_for_update().get(pk=campaign_id)
        if campaign.planned_at or campaign.state not in (CampaignState.RUNNING, CampaignState.PAUSED):
            return True
        if campaign.plan_last is None:
            _open_plan(campaign)
        planned = _plan_next(campaign, size)
        done = planned.seen < size
        Campaign.objects.filter(pk=campaign.pk).update(
            recipients=campaign.recipients + planned.made,
            plan_cursor=planned.last,
            plan_last=campaign.plan_last,
            planned_at=Now() if done else None,
        )
        return done


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


def rooms_of(campaign: Campaign, streams: Iterable[Stream]) -> dict[int, int | None]:
    """For each stream's device, how many more people it may get; None: any number. Skipped people never reach it."""
    if campaign.device_cap is None:
        return dict.fromkeys(stream.device_id for stream in streams)
    counted = [state for state in MESSAGE_STATES if state != SKIPPED]
    return {
        stream.device_id: max(0, campaign.device_cap - sum(getattr(stream, state) for state in counted))
        for stream in streams
    }


def _open_plan(campaign: Campaign) -> None:
    """Fix who may take part (nobody added later) and make a stream for each device."""
    newest = Contact.objects.for_workspace(campaign.workspace).aggregate(newest=Max("pk"))["newest"]
    campaign.plan_last = newest or 0
    for device_id in campaign.device_links.order_by("device_id").values_list("device_id", flat=True):
        Stream.objects.get_or_create(
            workspace_id=campaign.workspace_id,
            campaign=campaign,
            device_id=device_id,
            defaults={
                "lane": Lane.CAMPAIGN,
                "running": campaign.state == CampaignState.RUNNING,
                "min_delay": campaign.min_delay,
                "expires_at": expiry_of(campaign),
            },
        )


def _plan_next(campaign: Campaign, size: int) -> Planned:
    streams = list(Stream.objects.filter(campaign=campaign).order_by("pk"))
    people = _audience(campaign, size) if streams else []
    if not people:
        return Planned(0, 0, campaign.plan_last or 0)
    known = _known(campaign, people)
    absent = _absent(campaign, people)
    reached = {person: device for person, device in known.items() if person not in absent}
    chosen = dict(
        zip(reached, assign(list(reached.values()), rooms_of(campaign, streams), campaign.recipients), strict=True)
    )
    slots = {stream.device_id: slot for slot, stream in enumerate(streams, 1)}
    values = {
        "workspace": campaign.workspace_id,
        "campaign": campaign.pk,
        "content": campaign.content_id,
        "cursor": campaign.plan_cursor,
        "last": people[-1],
        "due": campaign.launched_at,
        "sticky": campaign.assignment == Assignment.STICKY,
        "streams": [stream.pk for stream in streams],
        "devices": [stream.device_id for stream in streams],
        "people": _array(known),
        "slots": _array(slots.get(chosen.get(person) or 0, "NULL") for person in known),
        "reasons": [ABSENT if person in absent else "" if chosen[person] else NO_ROOM for person in known],
    }
    with connection.cursor() as cursor:
        cursor.execute(PLAN_SQL, values)
        made = cursor.fetchall()
        # Only now, so that these devices go on sending while the rows are made.
        list(Stream.objects.filter(campaign=campaign).order_by("pk").select_for_update(no_key=True).values_list("pk"))
        stream_ids, pending, skipped = ([row[column] for row in made] for column in range(3))
        counted = {"streams": stream_ids, "pending": pending, "skipped": skipped, "due": campaign.launched_at}
        cursor.execute(COUNT_SQL, counted)
    return Planned(len(people), sum(pending) + sum(skipped), people[-1])


def _audience(campaign: Campaign, size: int) -> list[int]:
    """The next people, by their ids."""
    values: dict[str, Any] = {
        "workspace": campaign.workspace_id,
        "tags": list(campaign.tag_links.values_list("tag_id", flat=True)),
        "cursor": campaign.plan_cursor,
        "last": campaign.plan_last,
        "size": size,
    }
    with connection.cursor() as cursor:
        cursor.execute(EVERYONE_SQL if campaign.everyone else TAGGED_SQL, values)
        return [row[0] for row in cursor.fetchall()]


def _known(campaign: Campaign, people: list[int]) -> dict[int, int | None]:
    """Those of these people who still exist, and the device that each of them knows if that matters here."""
    if campaign.assignment != Assignment.STICKY:
        return dict.fromkeys(people)
    with connection.cursor() as cursor:
        cursor.execute(KNOWN_SQL, {"people": _array(people), "cursor": campaign.plan_cursor, "last": people[-1]})
        return dict(cursor.fetchall())


def _absent(campaign: Campaign, people: list[int]) -> set[int]:
    """Those of these people whom the campaign leaves out: known not to be on WhatsApp."""
    if not campaign.leave_out_absent:
        return set()
    range_of_ids = {"cursor": campaign.plan_cursor, "last": people[-1]}
    values: dict[str, Any] = {"people": _array(people), **range_of_ids, "good": GOOD_FOR}
    with connection.cursor() as cursor:
        cursor.execute(ABSENT_SQL, values)
        return {row[0] for row in cursor.fetchall()}


def _array(values: Iterable[object]) -> str:
    """An array as PostgreSQL reads it: a third of what handing over a list of numbers costs."""
    return f"{{{','.join(map(str, values))}}}"
