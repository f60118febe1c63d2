"""The outbox: the only statements that let a message out, and that write down what became of it (DESIGN 4).

Every statement works on many devices at once. Claim and settle pass over devices and streams that somebody has locked:
a campaign being planned or cancelled must not hold up all the others. What waits for locks takes them in one order:
devices, streams, messages, each by id; so do pause, cancel and planning, and no two can wait for each other.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from django.db import connection
from django.db.backends.utils import CursorWrapper

from devices.hosting.leases import Lease


@dataclass(frozen=True, slots=True)
class Ask:
    """One device worker's question. ``draw`` in [0, 1] places the next gap between the device's two delays.

    ``tag`` names the attempt that may begin, so that whoever asked knows it even when the answer is lost.
    """

    device: int
    epoch: int
    draw: float
    tag: bytes = field(default_factory=lambda: secrets.token_bytes(32))


@dataclass(frozen=True, slots=True)
class Claimed:
    """A message whose attempt is journaled and committed: it may now be sent, once, with this tag."""

    device: int
    epoch: int
    workspace: int
    campaign: int | None
    message: int
    tag: bytes
    delay: float
    phone: str
    content: int
    text: str
    name: str
    fields: dict[str, str]
    tries: int


@dataclass(frozen=True, slots=True)
class Held:
    """Nothing to send now. Ask again in ``wait`` seconds; None: only when somebody rings.

    ``message`` and ``tag`` name the device's open attempt, where it has one.
    """

    device: int
    reason: str
    wait: float | None
    message: int | None = None
    tag: bytes | None = None


# Each step hands every column on to the next, so that none joins two steps: the planner takes a step for one row and
# would compare each of 500 devices with each.
CLAIM_SQL = """
WITH device AS MATERIALIZED (
    SELECT d.id AS device_id, d.workspace_id, d.epoch, a.tag, d.next_send_at, cal.hour, cal.day,
           -- Postgres would refuse the product of two minute numbers, and with it the claim of every device asked.
           d.min_delay + a.draw * greatest(d.max_delay - d.min_delay, 1e-9) AS delay,
           d.state, d.open_message, d.open_tag, d.hourly_cap, d.daily_cap,
           CASE WHEN d.hour_start = cal.hour THEN d.hour_used ELSE 0 END AS hour_used,
           CASE WHEN d.day_start = cal.day THEN d.day_used ELSE 0 END AS day_used,
           (cal.hour + interval '1 hour') AS next_hour,
           ((cal.day AT TIME ZONE w.timezone + interval '1 day') AT TIME ZONE w.timezone) AS next_day
    FROM unnest(%(devices)s::bigint[], %(epochs)s::bigint[], %(draws)s::float8[], %(tags)s::bytea[])
        AS a(device_id, epoch, draw, tag)
    JOIN devices_device d ON d.id = a.device_id AND d.epoch = a.epoch AND d.owner_id = %(host)s
    JOIN accounts_workspace w ON w.id = d.workspace_id
    CROSS JOIN LATERAL (
        SELECT date_trunc('hour', now() AT TIME ZONE w.timezone) AT TIME ZONE w.timezone AS hour,
               date_trunc('day', now() AT TIME ZONE w.timezone) AT TIME ZONE w.timezone AS day
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
                WHEN next_send_at > now() THEN 'pace'
                WHEN day_used >= daily_cap THEN 'daily_cap'
                WHEN hour_used >= hourly_cap THEN 'hourly_cap'
           END AS held,
           CASE WHEN open_message IS NOT NULL OR state <> 'online' THEN NULL
                WHEN next_send_at > now() THEN next_send_at
                WHEN day_used >= daily_cap THEN next_day
                WHEN hour_used >= hourly_cap THEN next_hour
           END AS until
    FROM device
),
stream AS MATERIALIZED (
    SELECT j.device_id, j.workspace_id, j.epoch, j.tag AS new_tag, j.next_send_at, j.hour, j.day,
           j.hour_used, j.day_used, greatest(j.delay, s.min_delay) AS delay, s.id AS stream_id, s.campaign_id, s.lane,
           s.next_due, s.next_id, s.version
    FROM judged j
    LEFT JOIN LATERAL (
        SELECT s.id, s.campaign_id, s.lane, s.next_due, s.next_id, s.min_delay, s.xmin AS version
        FROM campaigns_stream s
        WHERE s.device_id = j.device_id AND s.running AND s.next_due <= now()
        ORDER BY s.lane, s.next_due, s.id
        LIMIT 1
        FOR NO KEY UPDATE SKIP LOCKED
    ) s ON true
    WHERE j.held IS NULL
),
head AS MATERIALIZED (
    SELECT st.*, m.*, c.name, c.fields, coalesce(campaign.content_id, m.planned_content_id) AS content_id,
           -- Messages are read as of the statement's start, the stream as of its lock: planned in between, they
           -- would be overlooked and the stream laid to rest. Then ask again.
           CASE WHEN st.stream_id IS NULL THEN 'idle'
                WHEN st.version <> seen.xmin THEN 'stale'
                WHEN m.message_id IS NULL THEN 'none'
                WHEN m.due_at > now() THEN 'later'
                WHEN c.opted_out_at IS NOT NULL AND st.lane <> 0 THEN 'skip'
                ELSE 'send'
           END AS verdict
    FROM stream st
    LEFT JOIN campaigns_stream seen ON seen.id = st.stream_id
    LEFT JOIN LATERAL (
        SELECT m.id AS message_id, m.due_at, m.contact_id, m.content_id AS planned_content_id, m.phone,
               m.state AS was, m.attempts, m.tries,
               m.tag AS old_tag, m.epoch AS old_epoch, m.attempted_at AS old_at, m.reason AS old_reason
        FROM campaigns_message m
        WHERE m.stream_id = st.stream_id AND (m.due_at, m.id) >= (st.next_due, st.next_id)
          AND m.state IN ('pending', 'waiting')
        ORDER BY m.due_at, m.id
        LIMIT 1
    ) m ON true
    LEFT JOIN campaigns_contact c ON c.id = m.contact_id
    LEFT JOIN campaigns_campaign campaign ON campaign.id = st.campaign_id
),
moved AS (
    UPDATE campaigns_message m SET
        state = CASE WHEN h.verdict = 'send' THEN 'sending' ELSE 'skipped' END,
        reason = CASE WHEN h.verdict = 'send' THEN '' ELSE 'opted_out' END,
        content_id = CASE WHEN h.verdict = 'send' THEN h.content_id ELSE m.content_id END,
        attempts = m.attempts + (h.verdict = 'send')::int,
        tag = CASE WHEN h.verdict = 'send' THEN h.new_tag ELSE m.tag END,
        epoch = CASE WHEN h.verdict = 'send' THEN h.epoch ELSE m.epoch END,
        attempted_at = CASE WHEN h.verdict = 'send' THEN now() ELSE m.attempted_at END,
        ready_at = CASE WHEN h.verdict = 'send' THEN greatest(m.due_at, h.next_send_at) ELSE m.ready_at END
    FROM head h
    WHERE m.id = h.message_id AND h.verdict IN ('send', 'skip') AND m.state IN ('pending', 'waiting')
    RETURNING m.state, h.*
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
        pending = s.pending - (moved.was = 'pending')::int,
        waiting = s.waiting - (moved.was = 'waiting')::int,
        sending = s.sending + (moved.state = 'sending')::int,
        skipped = s.skipped + (moved.state = 'skipped')::int
    FROM moved WHERE s.id = moved.stream_id
),
rested AS (
    UPDATE campaigns_stream s SET next_due = h.due_at, next_id = coalesce(h.message_id, 0)
    FROM head h WHERE s.id = h.stream_id AND h.verdict IN ('none', 'later')
),
opened AS (
    UPDATE devices_device d SET
        open_message = moved.message_id, open_tag = moved.new_tag, open_at = now(),
        next_send_at = now() + moved.delay * interval '1 second',
        hour_start = moved.hour, hour_used = moved.hour_used + 1,
        day_start = moved.day, day_used = moved.day_used + 1
    FROM moved WHERE d.id = moved.device_id AND moved.state = 'sending'
)
SELECT m.device_id, CASE m.state WHEN 'sending' THEN 'send' ELSE 'again' END, 0::float8, m.message_id, m.new_tag,
       m.epoch, m.workspace_id, m.campaign_id, m.delay, m.phone, m.content_id, content.text, coalesce(m.name, ''),
       coalesce(m.fields, '{}'::jsonb), m.tries
FROM moved m JOIN campaigns_content content ON content.id = m.content_id
UNION ALL
SELECT h.device_id, CASE h.verdict WHEN 'idle' THEN 'idle' ELSE 'again' END,
       CASE h.verdict WHEN 'idle' THEN (
           SELECT extract(epoch FROM min(s.next_due) - now()) FROM campaigns_stream s
           WHERE s.device_id = h.device_id AND s.running) ELSE 0 END::float8,
       NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL
FROM head h WHERE h.verdict NOT IN ('send', 'skip')
UNION ALL
SELECT j.device_id, j.held, extract(epoch FROM j.until - now())::float8, j.open_message, j.open_tag,
       NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL
FROM judged j WHERE j.held IS NOT NULL
"""

LOCKED_PAUSE_S = 0.1


def claim(lease: Lease, asks: Sequence[Ask]) -> list[Claimed | Held]:
    """For each device that is still this host's: its best due message, journaled as an attempt, or when to come back.

    The statement commits by itself: what it returns may be sent. A device missing from the answer is locked by
    somebody else, or no longer this host's.
    """
    with connection.cursor() as cursor:
        cursor.execute(
            CLAIM_SQL,
            {
                "host": lease.host,
                "incarnation": lease.incarnation,
                "devices": [ask.device for ask in asks],
                "epochs": [ask.epoch for ask in asks],
                "draws": [ask.draw for ask in asks],
                "tags": [ask.tag for ask in asks],
            },
        )
        return [_answer(row) for row in cursor.fetchall()]


def _answer(row: tuple[Any, ...]) -> Claimed | Held:
    device, verdict, wait, message, tag, *claimed = row
    if verdict == "send":
        epoch, workspace, campaign, delay, phone, content, text, name, fields, tries = claimed
        fields = json.loads(fields)  # Django has psycopg hand jsonb over as text
        return Claimed(
            device, epoch, workspace, campaign, message, bytes(tag), delay, phone, content, text, name, fields, tries
        )
    if verdict == "in_flight":
        return Held(device, verdict, None, message, bytes(tag))
    if verdict == "idle" and wait is not None:
        wait = max(LOCKED_PAUSE_S, wait)  # what is due already has been passed over: its stream is locked
    return Held(device, verdict, None if wait is None else max(0.0, wait))


@dataclass(frozen=True, slots=True)
class Settlement:
    """What became of one attempt. ``state``: sent, waiting, dead or uncertain; ``wire_at`` and ``at``: Unix seconds.

    ``refund`` gives the caps back (definitely not sent), ``counts`` says that a try was used up.
    """

    device: int
    epoch: int
    message: int
    tag: bytes
    state: str
    reason: str
    text: str | None
    delay: float
    wire_at: float | None = None
    wire_id: str | None = None
    chat: str | None = None
    at: float | None = None
    retry_in: float | None = None
    refund: bool = False
    counts: bool = False


SETTLE_SQL = """
WITH told AS MATERIALIZED (
    SELECT * FROM unnest(%(devices)s::bigint[], %(epochs)s::bigint[], %(messages)s::bigint[], %(tags)s::bytea[],
        %(states)s::text[], %(reasons)s::text[], %(texts)s::text[], %(delays)s::float8[], %(wires)s::float8[],
        %(wire_ids)s::text[], %(chats)s::text[], %(ats)s::float8[], %(retries)s::float8[], %(refunds)s::bool[],
        %(counts)s::bool[])
        AS t(device_id, epoch, message_id, tag, state, reason, text, delay, wire_at, wire_id, chat, at, retry_in,
             refund, counts)
),
found AS MATERIALIZED (
    SELECT t.*, device.id IS NOT NULL AND stream.id IS NOT NULL AS free
    FROM told t
    JOIN campaigns_message m ON m.id = t.message_id
    LEFT JOIN LATERAL (
        SELECT d.id FROM devices_device d WHERE d.id = t.device_id FOR NO KEY UPDATE SKIP LOCKED
    ) device ON true
    LEFT JOIN LATERAL (
        SELECT s.id FROM campaigns_stream s WHERE s.id = m.stream_id AND device.id IS NOT NULL
        FOR NO KEY UPDATE SKIP LOCKED
    ) stream ON true
),
old AS MATERIALIZED (
    SELECT f.*, m.was
    FROM found f CROSS JOIN LATERAL (
        SELECT m.state AS was FROM campaigns_message m
        WHERE m.id = f.message_id AND m.tag = f.tag
          AND (m.state = 'sending' OR (m.state = 'uncertain' AND f.state = 'sent'))
        FOR NO KEY UPDATE
    ) m
    WHERE f.free
),
moved AS (
    UPDATE campaigns_message m SET
        state = old.state,
        reason = old.reason,
        text = coalesce(old.text, m.text),
        wire_id = coalesce(old.wire_id, m.wire_id),
        chat = coalesce(old.chat, m.chat),
        sent_at = CASE WHEN old.state = 'sent' THEN coalesce(to_timestamp(old.at), now()) ELSE m.sent_at END,
        tries = m.tries + old.counts::int,
        due_at = CASE WHEN old.state = 'waiting' THEN now() + old.retry_in * interval '1 second' ELSE m.due_at END
    FROM old WHERE m.id = old.message_id
    RETURNING m.id, m.workspace_id, m.stream_id, m.due_at, old.was, old.state, old.device_id, old.wire_id
),
named AS (
    INSERT INTO campaigns_wireid (workspace_id, device_id, wire_id, message_id)
    SELECT workspace_id, device_id, wire_id, id FROM moved WHERE state = 'sent' AND wire_id IS NOT NULL
    ON CONFLICT (device_id, wire_id) DO NOTHING
),
counted AS (
    UPDATE campaigns_stream s SET
        sending = s.sending - n.from_sending,
        uncertain = s.uncertain - n.from_uncertain + n.uncertain,
        sent = s.sent + n.sent,
        waiting = s.waiting + n.waiting,
        dead = s.dead + n.dead,
        next_id = CASE WHEN n.due <= coalesce(s.next_due, 'infinity') THEN 0 ELSE s.next_id END,
        next_due = CASE WHEN n.due IS NULL THEN s.next_due ELSE least(s.next_due, n.due) END
    FROM (
        SELECT stream_id,
               count(*) FILTER (WHERE was = 'sending') AS from_sending,
               count(*) FILTER (WHERE was = 'uncertain') AS from_uncertain,
               count(*) FILTER (WHERE state = 'uncertain') AS uncertain,
               count(*) FILTER (WHERE state = 'sent') AS sent,
               count(*) FILTER (WHERE state = 'waiting') AS waiting,
               count(*) FILTER (WHERE state = 'dead') AS dead,
               min(due_at) FILTER (WHERE state = 'waiting') AS due
        FROM moved GROUP BY stream_id
    ) n
    WHERE s.id = n.stream_id
),
closed AS (
    UPDATE devices_device d SET
        open_message = NULL, open_tag = NULL, open_at = NULL,
        next_send_at = greatest(d.next_send_at, to_timestamp(t.wire_at) + t.delay * interval '1 second'),
        last_sent_at = CASE WHEN t.state = 'sent' THEN coalesce(to_timestamp(t.at), now()) ELSE d.last_sent_at END,
        hour_used = d.hour_used - (t.refund AND d.hour_start = date_trunc('hour', d.open_at AT TIME ZONE w.timezone)
                                   AT TIME ZONE w.timezone AND d.hour_used > 0)::int,
        day_used = d.day_used - (t.refund AND d.day_start = date_trunc('day', d.open_at AT TIME ZONE w.timezone)
                                 AT TIME ZONE w.timezone AND d.day_used > 0)::int
    FROM found t, accounts_workspace w
    WHERE t.free AND d.id = t.device_id AND d.epoch = t.epoch AND d.open_tag = t.tag AND w.id = d.workspace_id
    RETURNING d.id, extract(epoch FROM d.next_send_at - now())::float8 AS wait
)
SELECT id, wait, NULL FROM closed
UNION ALL
SELECT device_id, NULL, tag FROM found WHERE NOT free
"""


@dataclass(frozen=True, slots=True)
class Settled:
    """``waits``: for each device whose attempt was closed, the seconds until it may send again.

    ``postponed``: to be settled again, because somebody has locked the device or the stream for a moment. A device that
    is in neither is no longer ours.
    """

    waits: dict[int, float]
    postponed: list[Settlement]


def settle(settlements: Sequence[Settlement]) -> Settled:
    """Write down what became of attempts, in one committed statement; safe to repeat, and waits for nobody.

    A late acknowledgement also settles a message that was uncertain.
    """
    columns = {
        "devices": "device",
        "epochs": "epoch",
        "messages": "message",
        "tags": "tag",
        "states": "state",
        "reasons": "reason",
        "texts": "text",
        "delays": "delay",
        "wires": "wire_at",
        "wire_ids": "wire_id",
        "chats": "chat",
        "ats": "at",
        "retries": "retry_in",
        "refunds": "refund",
        "counts": "counts",
    }
    values = {name: [getattr(one, field) for one in settlements] for name, field in columns.items()}
    with connection.cursor() as cursor:
        cursor.execute(SETTLE_SQL, values)
        rows = cursor.fetchall()
    locked = {bytes(tag) for _, _, tag in rows if tag is not None}
    return Settled(
        waits={device: wait for device, wait, tag in rows if tag is None},
        postponed=[settlement for settlement in settlements if settlement.tag in locked],
    )


ABANDON_SQL = """
WITH open AS MATERIALIZED (
    SELECT d.id AS device_id, d.open_message, d.open_tag, d.max_delay
    FROM devices_device d WHERE d.id = ANY(%(devices)s) AND d.open_message IS NOT NULL
    ORDER BY d.id FOR NO KEY UPDATE
),
stream AS MATERIALIZED (
    SELECT s.id FROM campaigns_stream s
    WHERE s.id IN (SELECT m.stream_id FROM open o JOIN campaigns_message m ON m.id = o.open_message)
    ORDER BY s.id FOR NO KEY UPDATE
),
moved AS (
    UPDATE campaigns_message m SET state = 'uncertain', reason = 'engine_lost'
    FROM open o
    WHERE m.id = o.open_message AND m.tag = o.open_tag AND m.state = 'sending' AND (SELECT count(*) FROM stream) > 0
    RETURNING m.stream_id
),
counted AS (
    UPDATE campaigns_stream s SET sending = s.sending - n.n, uncertain = s.uncertain + n.n
    FROM (SELECT stream_id, count(*) AS n FROM moved GROUP BY stream_id) n
    WHERE s.id = n.stream_id
)
UPDATE devices_device d SET
    open_message = NULL, open_tag = NULL, open_at = NULL,
    next_send_at = greatest(d.next_send_at, now() + o.max_delay * interval '1 second')
FROM open o WHERE d.id = o.device_id
"""


def abandon(cursor: CursorWrapper, devices: Sequence[int]) -> None:
    """At a takeover: nobody knows what became of these devices' open attempts, so the messages are uncertain.

    Runs in the takeover's transaction; the devices wait at least their longest delay before they send again.
    """
    cursor.execute(ABANDON_SQL, {"devices": list(devices)})


RECEIPT_SQL = """
WITH told AS MATERIALIZED (
    SELECT w.message_id, max(CASE t.kind WHEN 'read' THEN 2 ELSE 1 END) AS rank,
           min(t.at) FILTER (WHERE t.kind = 'read') AS read_at, min(t.at) AS delivered_at
    FROM unnest(%(devices)s::bigint[], %(wire_ids)s::text[], %(kinds)s::text[], %(ats)s::float8[])
        AS t(device_id, wire_id, kind, at)
    JOIN campaigns_wireid w USING (device_id, wire_id)
    GROUP BY w.message_id
),
stream AS MATERIALIZED (
    SELECT s.id FROM campaigns_stream s
    WHERE s.id IN (SELECT m.stream_id FROM told t JOIN campaigns_message m ON m.id = t.message_id)
    ORDER BY s.id FOR NO KEY UPDATE
),
old AS MATERIALIZED (
    SELECT m.id, m.stream_id, m.state AS was, t.rank, t.read_at, t.delivered_at
    FROM told t JOIN campaigns_message m ON m.id = t.message_id
    WHERE ((m.state = 'sent') OR (m.state = 'delivered' AND t.rank = 2)) AND (SELECT count(*) FROM stream) > 0
    ORDER BY m.id FOR NO KEY UPDATE OF m
),
moved AS (
    UPDATE campaigns_message m SET
        state = CASE old.rank WHEN 2 THEN 'read' ELSE 'delivered' END,
        delivered_at = coalesce(m.delivered_at, to_timestamp(old.delivered_at)),
        read_at = coalesce(m.read_at, to_timestamp(old.read_at))
    FROM old WHERE m.id = old.id
    RETURNING m.stream_id, m.campaign_id, old.was, m.state
),
counted AS (
    UPDATE campaigns_stream s SET
        sent = s.sent - n.from_sent,
        delivered = s.delivered - n.from_delivered + n.delivered,
        read = s.read + n.read
    FROM (
        SELECT stream_id, count(*) FILTER (WHERE was = 'sent') AS from_sent,
               count(*) FILTER (WHERE was = 'delivered') AS from_delivered,
               count(*) FILTER (WHERE state = 'delivered') AS delivered,
               count(*) FILTER (WHERE state = 'read') AS read
        FROM moved GROUP BY stream_id
    ) n
    WHERE s.id = n.stream_id
)
SELECT DISTINCT campaign_id FROM moved WHERE campaign_id IS NOT NULL
"""


@dataclass(frozen=True, slots=True)
class ReceiptRow:
    """``kind``: delivered or read; ``at``: Unix seconds."""

    device: int
    wire_id: str
    kind: str
    at: float


def settle_receipts(receipts: Sequence[ReceiptRow]) -> set[int]:
    """Move messages forward by their receipts, never back; returns the ids of the campaigns touched."""
    with connection.cursor() as cursor:
        cursor.execute(
            RECEIPT_SQL,
            {
                "devices": [receipt.device for receipt in receipts],
                "wire_ids": [receipt.wire_id for receipt in receipts],
                "kinds": [receipt.kind for receipt in receipts],
                "ats": [receipt.at for receipt in receipts],
            },
        )
        return {row[0] for row in cursor.fetchall()}


DUE_SQL = """
SELECT DISTINCT d.id FROM devices_device d JOIN campaigns_stream s ON s.device_id = d.id
WHERE d.owner_id = %s AND d.state = 'online' AND d.open_message IS NULL AND s.running AND s.next_due <= now()
"""


def devices_with_due_work(lease: Lease) -> list[int]:
    """What polling asks: the devices of this host that have something to send now."""
    with connection.cursor() as cursor:
        cursor.execute(DUE_SQL, [lease.host])
        return [row[0] for row in cursor.fetchall()]
