"""Claim and intent: which message each device may send now, journaled as an attempt before anything leaves."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, NamedTuple
from uuid import UUID

from django.db import connection

from campaigns.outbox.statement import rows_of
from campaigns.querysets.lanes import IS_DUE
from devices.hosting.leases import Lease


class Ask(NamedTuple):
    """One device worker's question. ``draw`` in [0, 1] places the next gap between the device's two delays.

    ``tag``, 32 random bytes, names the attempt that may begin: whoever asked knows it even when the answer is lost.
    """

    device: int
    epoch: int
    draw: float
    tag: bytes


class Claimed(NamedTuple):
    """A message whose attempt is journaled and committed: in ``wait`` seconds it may be sent, once, with this tag."""

    device: int
    wait: float
    message: int
    tag: bytes
    epoch: int
    workspace: int
    campaign: int | None
    delay: float
    phone: str
    content: int
    text: str
    media: int | None
    name: str
    fields: dict[str, str]
    tries: int
    deaths: int
    refusals: int
    holds: int
    contact: UUID | None


class Held(NamedTuple):
    """Nothing to send now. Ask again in ``wait`` seconds; None: only when somebody rings.

    ``locked``: something is due, but somebody else is at work on it for a moment. ``message`` and ``tag`` name the
    device's open attempt, where it has one.
    """

    device: int
    reason: str
    wait: float | None
    message: int | None = None
    tag: bytes | None = None
    locked: bool = False


SKIPPED_BY = ("contact_deleted", "opted_out", "suppressed", "barred", "frequency_cap")
SHIFT, PLACES, LATER_S = 200, 5, 0.25  # messages moved out of the way for one device, for how many devices at once

# When the person {c} may be written to, by their own clock; now() or null: now.
OPENS_SQL = """
CASE WHEN {c}.paused_until > now() OR {st}.quiet_from IS NOT NULL OR {hours}.local_from IS NOT NULL THEN coalesce(
    campaigns_may_write_at(
        greatest(now(), {c}.paused_until),
        CASE WHEN coalesce({c}.timezone, '') IN ('', {st}.zone) THEN {st}.zone
             ELSE campaigns_known_zone({c}.timezone, {st}.zone) END,
        {st}.quiet_from, {st}.quiet_to, {hours}.local_from, {hours}.local_to),
    {c}.paused_until)
END
"""

# Each step hands every column on to the next, so that none joins two steps: the planner takes a step for one row and
# would compare each of 500 devices with each.
DECIDING_SQL = """
WITH device AS MATERIALIZED (
    SELECT d.id AS device_id, d.workspace_id, d.epoch, a.tag, d.next_send_at, cal.hour, cal.day,
           now() + %(ahead)s::float8 * interval '1 second' AS soon,
           -- Postgres would refuse the product of two minute numbers, and with it the claim of every device asked.
           d.min_delay + a.draw * greatest(d.max_delay - d.min_delay, 1e-9) AS delay,
           a.draw * d.max_delay AS place,
           d.max_delay > 0 AND coalesce(d.last_sent_at < now() - d.max_delay * interval '1 second', true) AS rested,
           d.state, d.open_message, d.open_tag, d.held_until, d.hourly_cap, least(d.daily_cap, d.warm_cap) AS daily_cap,
           coalesce(d.warm_cap < d.daily_cap OR d.daily_cap IS NULL, false) AS warming,
           -- A day after a hold without another one, and the next is a first one again.
           CASE WHEN d.held_until > now() - interval '1 day' THEN d.holds ELSE 0 END AS holds,
           CASE WHEN d.hour_start = cal.hour THEN d.hour_used ELSE 0 END AS hour_used,
           CASE WHEN d.day_start = cal.day THEN d.day_used ELSE 0 END AS day_used,
           w.timezone AS zone, w.quiet_from, w.quiet_to, w.frequency_cap, w.frequency_days,
           -- Outside its sending hours: when they begin again.
           CASE WHEN ((cal.local::time >= d.sending_from) = (cal.local::time >= d.sending_to))
                     = (d.sending_from < d.sending_to)
                THEN (cal.local::date + d.sending_from
                      + CASE WHEN cal.local::time < d.sending_from THEN interval '0' ELSE interval '1 day' END)
                     AT TIME ZONE w.timezone
           END AS opens_at
    FROM unnest(%(devices)s::bigint[], %(epochs)s::bigint[], %(draws)s::float8[], %(tags)s::bytea[])
        AS a(device_id, epoch, draw, tag)
    -- coalesce: each device by its own key. The index on owners would bring all of a host's for every few that ask.
    JOIN devices_device d ON d.id = a.device_id AND d.epoch = a.epoch AND coalesce(d.owner_id, '') = %(host)s
    JOIN accounts_workspace w ON w.id = d.workspace_id
    CROSS JOIN LATERAL (
        SELECT now() AT TIME ZONE w.timezone AS local,
               date_trunc('hour', now() AT TIME ZONE w.timezone) AT TIME ZONE w.timezone AS hour,
               date_trunc('day', now() AT TIME ZONE w.timezone) AT TIME ZONE w.timezone AS day
        OFFSET 0  -- else each use reckons anew, and a time zone's name takes a while to look up
    ) cal
    WHERE EXISTS (SELECT FROM devices_host h WHERE h.id = %(host)s AND h.incarnation = %(incarnation)s
                  AND h.lease_until > now())
    ORDER BY d.id
    FOR NO KEY UPDATE OF d SKIP LOCKED
),
judged AS MATERIALIZED (
    SELECT *,
           CASE WHEN open_message IS NOT NULL THEN 'in_flight'
                WHEN state <> 'online' THEN 'offline'
                WHEN held_until > now() THEN 'refused'
                WHEN next_send_at > soon THEN 'pace'
                WHEN day_used >= daily_cap THEN CASE WHEN warming THEN 'warm_up' ELSE 'daily_cap' END
                WHEN hour_used >= hourly_cap THEN 'hourly_cap'
           END AS held,
           CASE WHEN open_message IS NOT NULL OR state <> 'online' THEN NULL
                WHEN held_until > now() THEN held_until
                WHEN next_send_at > soon THEN next_send_at
                WHEN day_used >= daily_cap THEN (day AT TIME ZONE zone + interval '1 day') AT TIME ZONE zone
                WHEN hour_used >= hourly_cap THEN hour + interval '1 hour'
           END AS until
    FROM device
),
stream AS MATERIALIZED (
    SELECT j.device_id, j.workspace_id, j.epoch, j.tag AS new_tag, j.next_send_at, j.hour, j.day,
           j.hour_used, j.day_used, j.holds, greatest(j.delay, s.min_delay) AS delay, j.place, j.rested, j.opens_at,
           j.zone, j.quiet_from, j.quiet_to, j.frequency_days,
           CASE WHEN s.lane > 0 THEN j.frequency_cap END AS frequency_cap,
           s.id AS stream_id, s.campaign_id, s.lane, s.variant, s.next_due, s.next_id, s.spread, s.version
    FROM judged j
    LEFT JOIN LATERAL (
        SELECT s.id, s.campaign_id, s.lane, s.variant, s.next_due, s.next_id, s.min_delay, s.spread, s.xmin AS version
        FROM campaigns_stream s
        WHERE s.device_id = j.device_id AND s.running AND s.next_due <= now()
          AND (s.expires_at IS NULL OR s.expires_at > now())
          AND (s.lane = 0 OR (j.opens_at IS NULL AND (s.held_until IS NULL OR s.held_until <= now())))
        ORDER BY s.lane, s.next_due, s.id
        LIMIT 1
        FOR NO KEY UPDATE SKIP LOCKED
    ) s ON true
    WHERE j.held IS NULL
),
head AS MATERIALIZED (
    SELECT st.*, m.*, c.name, c.fields, c.uuid AS contact_uuid, campaign.local_from, campaign.local_to,
           coalesce(
               CASE WHEN st.variant > 0 THEN (
                   SELECT v.content_id FROM campaigns_variant v
                   WHERE v.campaign_id = st.campaign_id AND v.number = st.variant)
               END, campaign.content_id, m.planned_content_id) AS content_id,
           -- Of one person's messages at two devices, asked for at once, the second is counted after the first.
           CASE WHEN v.verdict = 'send' AND st.frequency_cap IS NOT NULL AND row_number() OVER (
                         PARTITION BY st.frequency_cap IS NULL, m.contact_id, v.verdict ORDER BY st.device_id) > 1
                THEN 'stale' ELSE v.verdict
           END AS verdict
    FROM stream st
    LEFT JOIN campaigns_stream seen ON seen.id = st.stream_id
    LEFT JOIN LATERAL (
        SELECT m.id AS message_id, m.due_at, m.contact_id, m.content_id AS planned_content_id, m.phone,
               m.state AS was, m.attempts, m.tries, m.deaths, m.refusals, m.confirms_stop,
               m.tag AS old_tag, m.epoch AS old_epoch, m.attempted_at AS old_at, m.reason AS old_reason
        FROM campaigns_message m
        WHERE m.stream_id = st.stream_id AND (m.due_at, m.id) >= (st.next_due, st.next_id)
          AND m.state IN ('pending', 'waiting')
        ORDER BY m.due_at, m.id
        LIMIT 1
    ) m ON true
    LEFT JOIN campaigns_contact c ON c.id = m.contact_id
    LEFT JOIN campaigns_campaign campaign ON campaign.id = st.campaign_id
    -- Locked, and marked by whoever claims: what another claim sends to this person meanwhile changes the version.
    LEFT JOIN LATERAL (
        SELECT k.id, k.xmin AS version FROM campaigns_contact k
        WHERE k.id = m.contact_id AND st.frequency_cap IS NOT NULL
        FOR NO KEY UPDATE SKIP LOCKED
    ) kept ON true
    CROSS JOIN LATERAL (
        -- Messages are read as of the statement's start, the stream as of its lock: planned in between, they
        -- would be overlooked and the stream laid to rest. Then ask again.
        SELECT CASE
            WHEN st.stream_id IS NULL THEN 'idle'
            WHEN st.lane > 0 AND st.rested AND NOT st.spread THEN 'spread'
            WHEN st.version <> seen.xmin THEN 'stale'
            WHEN m.message_id IS NULL THEN 'none'
            WHEN m.due_at > now() THEN 'later'
            WHEN m.confirms_stop THEN 'send'
            -- What is left of the person is a number: neither their name nor their consent is known any more.
            WHEN st.lane > 0 AND m.contact_id IS NULL THEN 'contact_deleted'
            WHEN c.opted_out_at IS NOT NULL THEN 'opted_out'
            WHEN EXISTS (SELECT FROM campaigns_suppression u
                         WHERE u.workspace_id = st.workspace_id AND u.phone = m.phone) THEN 'suppressed'
            WHEN EXISTS (SELECT FROM campaigns_globalsuppression g WHERE g.phone = m.phone) THEN 'barred'
            WHEN st.lane > 0 AND {not_now} THEN 'not_now'
            WHEN st.frequency_cap IS NULL THEN 'send'
            WHEN kept.id IS NULL THEN 'busy'
            WHEN kept.version <> c.xmin THEN 'stale'
            WHEN st.frequency_cap <= (
                SELECT count(*) FROM campaigns_message o
                WHERE o.contact_id = m.contact_id AND o.id <> m.message_id AND o.campaign_id IS NOT NULL
                  AND o.state IN ('sending', 'sent', 'delivered', 'read', 'uncertain', 'assumed')
                  AND coalesce(o.sent_at, o.attempted_at) > now() - st.frequency_days * interval '1 day'
            ) THEN 'frequency_cap'
            ELSE 'send'
        END AS verdict
        OFFSET 0
    ) v
),
-- Whose person may not be written to yet. Where that is everybody's case the stream waits as one; else those who may
-- not are moved out of the others' way, so many at once that no other device waits for it.
closed AS MATERIALIZED (
    SELECT h.device_id, h.stream_id, h.message_id, h.due_at, h.zone, h.quiet_from, h.quiet_to, h.local_from, h.local_to,
           until.at AS until, row_number() OVER (ORDER BY until.at IS NOT NULL, h.device_id) AS place
    FROM head h
    CROSS JOIN LATERAL (
        SELECT campaigns_nobody_until(
            now(), h.workspace_id, h.zone, h.quiet_from, h.quiet_to, h.local_from, h.local_to) AS at
        OFFSET 0
    ) until
    WHERE h.verdict = 'not_now'
),
shifted AS (
    UPDATE campaigns_message m SET due_at = away.at, reason = away.reason
    FROM (
        SELECT next.id, opens.at,
               CASE WHEN next.paused_until > now() THEN 'silence' ELSE 'quiet_hours' END AS reason
        FROM closed st
        CROSS JOIN LATERAL (
            SELECT m.id, c.paused_until, c.timezone
            FROM campaigns_message m LEFT JOIN campaigns_contact c ON c.id = m.contact_id
            WHERE m.stream_id = st.stream_id AND (m.due_at, m.id) >= (st.due_at, st.message_id)
              AND m.due_at <= now() AND m.state IN ('pending', 'waiting')
            ORDER BY m.due_at, m.id
            LIMIT {shift}
        ) next
        CROSS JOIN LATERAL (SELECT {opens} AS at OFFSET 0) opens
        WHERE st.until IS NULL AND st.place <= {places} AND opens.at > now()
    ) away
    WHERE m.id = away.id AND m.state IN ('pending', 'waiting')
),
waits AS (
    UPDATE campaigns_stream s SET
        held_until = coalesce(c.until, s.held_until),
        next_due = CASE WHEN c.until IS NULL THEN c.due_at ELSE s.next_due END,
        next_id = CASE WHEN c.until IS NULL THEN c.message_id + 1 ELSE s.next_id END
    FROM closed c WHERE s.id = c.stream_id AND (c.until IS NOT NULL OR c.place <= {places})
),
moved AS (
    UPDATE campaigns_message m SET
        state = CASE WHEN h.verdict = 'send' THEN 'sending' ELSE 'skipped' END,
        reason = CASE WHEN h.verdict = 'send' THEN '' ELSE h.verdict END,
        content_id = CASE WHEN h.verdict = 'send' THEN h.content_id ELSE m.content_id END,
        attempts = m.attempts + (h.verdict = 'send')::int,
        tag = CASE WHEN h.verdict = 'send' THEN h.new_tag ELSE m.tag END,
        epoch = CASE WHEN h.verdict = 'send' THEN h.epoch ELSE m.epoch END,
        attempted_at = CASE WHEN h.verdict = 'send' THEN now() ELSE m.attempted_at END,
        ready_at = CASE WHEN h.verdict = 'send' THEN greatest(m.due_at, h.next_send_at) ELSE m.ready_at END
    FROM head h
    WHERE m.id = h.message_id AND h.verdict IN ({disposed}) AND m.state IN ('pending', 'waiting')
    RETURNING m.state, h.*
),
told AS (
    UPDATE campaigns_contact c SET claimed_at = now()
    FROM moved WHERE c.id = moved.contact_id AND moved.state = 'sending' AND moved.frequency_cap IS NOT NULL
),
kept AS (
    INSERT INTO campaigns_attempt (workspace_id, message_id, number, device_id, tag, epoch, started_at, outcome)
    SELECT workspace_id, message_id, attempts, device_id, old_tag, old_epoch, old_at, old_reason
    FROM moved WHERE state = 'sending' AND old_tag IS NOT NULL
    ON CONFLICT (message_id, number) DO NOTHING
),
advanced AS (
    UPDATE campaigns_stream s SET
        next_due = moved.due_at,
        next_id = moved.message_id + 1,
        spread = true,
        pending = s.pending - (moved.was = 'pending')::int,
        waiting = s.waiting - (moved.was = 'waiting')::int,
        sending = s.sending + (moved.state = 'sending')::int,
        skipped = s.skipped + (moved.state = 'skipped')::int
    FROM moved WHERE s.id = moved.stream_id
),
spread AS (
    UPDATE campaigns_stream s SET spread = true FROM head h WHERE s.id = h.stream_id AND h.verdict = 'spread'
),
placed AS (
    UPDATE devices_device d SET next_send_at = now() + h.place * interval '1 second'
    FROM head h WHERE d.id = h.device_id AND h.verdict = 'spread'
),
rested AS (
    UPDATE campaigns_stream s SET next_due = h.due_at, next_id = coalesce(h.message_id, 0)
    FROM head h WHERE s.id = h.stream_id AND h.verdict IN ('none', 'later')
),
opened AS (
    UPDATE devices_device d SET
        open_message = moved.message_id, open_tag = moved.new_tag, open_at = now(),
        next_send_at = greatest(now(), d.next_send_at) + moved.delay * interval '1 second',
        hour_start = moved.hour, hour_used = moved.hour_used + 1,
        day_start = moved.day, day_used = moved.day_used + 1
    FROM moved WHERE d.id = moved.device_id AND moved.state = 'sending'
)
SELECT m.device_id, CASE m.state WHEN 'sending' THEN 'send' ELSE 'again' END,
       CASE m.state WHEN 'sending' THEN greatest(0, extract(epoch FROM m.next_send_at - now())) ELSE 0 END::float8,
       m.message_id, m.new_tag,
       m.epoch, m.workspace_id, m.campaign_id, m.delay, m.phone, m.content_id, content.text, content.media_id,
       coalesce(m.name, ''), coalesce(m.fields, '{{}}'::jsonb), m.tries, m.deaths, m.refusals, m.holds, m.contact_uuid
FROM moved m JOIN campaigns_content content ON content.id = m.content_id
UNION ALL
SELECT h.device_id,
       CASE h.verdict WHEN 'idle' THEN CASE WHEN h.opens_at IS NULL THEN 'idle' ELSE 'sending_hours' END
                      WHEN 'spread' THEN 'pace' WHEN 'busy' THEN 'busy' ELSE 'again' END,
       CASE h.verdict WHEN 'idle' THEN extract(epoch FROM least(h.opens_at, (
           SELECT min(greatest(s.next_due, CASE WHEN s.lane > 0 THEN s.held_until END)) FROM campaigns_stream s
           WHERE s.device_id = h.device_id AND s.running AND (s.expires_at IS NULL OR s.expires_at > now())
             AND (h.opens_at IS NULL OR s.lane = 0))) - now())
           WHEN 'spread' THEN h.place ELSE 0 END::float8,
       NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL
FROM head h WHERE h.verdict NOT IN ({disposed}, 'not_now')
UNION ALL
SELECT c.device_id, 'again', CASE WHEN c.until IS NOT NULL OR c.place <= {places} THEN 0 ELSE {later} END::float8,
       NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL
FROM closed c
UNION ALL
SELECT j.device_id, j.held, extract(epoch FROM j.until - now())::float8, j.open_message, j.open_tag,
       NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL
FROM judged j WHERE j.held IS NOT NULL
"""

CLAIM_SQL = DECIDING_SQL.format(
    not_now=OPENS_SQL.format(c="c", st="st", hours="campaign").strip() + " > now()",
    opens=OPENS_SQL.format(c="next", st="st", hours="st").strip(),
    disposed=", ".join(f"'{verdict}'" for verdict in ("send", *SKIPPED_BY)),
    shift=SHIFT,
    places=PLACES,
    later=LATER_S,
)

FIELDS = Claimed._fields.index("fields") - 2  # without the device and the wait


def claim(lease: Lease, asks: Sequence[Ask], ahead: float = 0.0) -> list[Claimed | Held]:
    """For each device that is still this host's: its best due message, journaled as an attempt, or when to come back.

    A device whose gap ends within ``ahead`` seconds gets its message already now, to be sent when the gap has ended.
    The statement commits by itself: what it returns may be sent. A device missing from the answer is locked by
    somebody else, or no longer this host's.
    """
    devices, epochs, draws, tags = zip(*asks, strict=True)
    values = {
        "host": lease.host,
        "incarnation": lease.incarnation,
        "ahead": ahead,
        "devices": devices,
        "epochs": epochs,
        "draws": draws,
        "tags": tags,
    }
    return [_answer(row) for row in rows_of(CLAIM_SQL, values)]


def _answer(row: tuple[Any, ...]) -> Claimed | Held:
    device, verdict, wait, *claimed = row
    if verdict == "send":
        claimed[FIELDS] = json.loads(claimed[FIELDS])  # Django has psycopg hand jsonb over as text
        return Claimed(device, wait, *claimed)
    if verdict == "in_flight":
        return Held(device, verdict, None, claimed[0], claimed[1])
    if verdict == "again":
        return Held(device, verdict, wait)
    # What is due already has been passed over: its stream is locked. And not every hour has sixty minutes.
    passed_over = wait is not None and wait <= 0
    return Held(device, verdict, 0.0 if passed_over else wait, locked=passed_over)


DUE_SQL = f"""
SELECT DISTINCT d.id FROM devices_device d JOIN campaigns_stream s ON s.device_id = d.id
WHERE d.owner_id = %s AND d.state = 'online' AND d.open_message IS NULL
  AND (d.held_until IS NULL OR d.held_until <= now()) AND {IS_DUE}
"""  # noqa: S608


def devices_with_due_work(lease: Lease) -> list[int]:
    """What polling asks: the devices of this host that have something to send now."""
    with connection.cursor() as cursor:
        cursor.execute(DUE_SQL, [lease.host])
        return [row[0] for row in cursor.fetchall()]
