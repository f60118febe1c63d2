"""Evidence: receipts move messages forward, and tell what became of those that nobody knew about (docs/engine.md)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from django.db import connection, transaction
from django.db.backends.utils import CursorWrapper

from campaigns.outbox.statement import rows_of

RECEIPT_SQL = """
WITH heard AS MATERIALIZED (
    SELECT t.*, w.message_id
    FROM unnest(%(devices)s::bigint[], %(wire_ids)s::text[], %(kinds)s::text[], %(ats)s::float8[])
        AS t(device_id, wire_id, kind, at)
    LEFT JOIN campaigns_wireid w USING (device_id, wire_id)
),
told AS MATERIALIZED (
    SELECT message_id, max(CASE kind WHEN 'read' THEN 2 ELSE 1 END) AS rank,
           min(at) FILTER (WHERE kind = 'read') AS read_at, min(at) AS delivered_at
    FROM heard WHERE message_id IS NOT NULL GROUP BY message_id
),
found AS MATERIALIZED (
    SELECT t.*, m.stream_id FROM told t JOIN campaigns_message m ON m.id = t.message_id
),
-- Waiting for one stream would keep all the others from being claimed from and settled.
stream AS MATERIALIZED (
    SELECT s.id, s.device_id FROM campaigns_stream s
    WHERE s.id IN (SELECT stream_id FROM found)
    ORDER BY s.id FOR NO KEY UPDATE SKIP LOCKED
),
old AS MATERIALIZED (
    SELECT m.id, m.stream_id, m.state AS was, f.rank, f.read_at, f.delivered_at
    FROM found f JOIN campaigns_message m ON m.id = f.message_id
    WHERE (m.state IN ('sent', 'uncertain', 'assumed') OR (m.state = 'delivered' AND f.rank = 2)
           OR (m.state = 'cancelled' AND m.reason = 'given_up_unsure')
           OR (m.state IN ('pending', 'waiting') AND m.may_duplicate))  -- spares them the second one
      AND f.stream_id IN (SELECT id FROM stream)
    ORDER BY m.id FOR NO KEY UPDATE OF m
),
moved AS (
    UPDATE campaigns_message m SET
        state = CASE old.rank WHEN 2 THEN 'read' ELSE 'delivered' END,
        reason = '',
        sent_at = coalesce(m.sent_at, to_timestamp(old.delivered_at)),
        delivered_at = coalesce(m.delivered_at, to_timestamp(old.delivered_at)),
        read_at = coalesce(m.read_at, to_timestamp(old.read_at))
    FROM old WHERE m.id = old.id
    RETURNING m.id, m.stream_id, m.campaign_id, old.was, m.state
),
resolved AS (
    DELETE FROM campaigns_uncertain u USING moved WHERE moved.was = 'uncertain' AND u.message_id = moved.id
),
counted AS (
    UPDATE campaigns_stream s SET
        sent = s.sent - n.from_sent,
        uncertain = s.uncertain - n.from_uncertain,
        assumed = s.assumed - n.from_assumed,
        pending = s.pending - n.from_pending,
        waiting = s.waiting - n.from_waiting,
        cancelled = s.cancelled - n.from_cancelled,
        delivered = s.delivered - n.from_delivered + n.delivered,
        read = s.read + n.read
    FROM (
        SELECT stream_id, count(*) FILTER (WHERE was = 'sent') AS from_sent,
               count(*) FILTER (WHERE was = 'uncertain') AS from_uncertain,
               count(*) FILTER (WHERE was = 'assumed') AS from_assumed,
               count(*) FILTER (WHERE was = 'pending') AS from_pending,
               count(*) FILTER (WHERE was = 'waiting') AS from_waiting,
               count(*) FILTER (WHERE was = 'cancelled') AS from_cancelled,
               count(*) FILTER (WHERE was = 'delivered') AS from_delivered,
               count(*) FILTER (WHERE state = 'delivered') AS delivered,
               count(*) FILTER (WHERE state = 'read') AS read
        FROM moved GROUP BY stream_id
    ) n
    WHERE s.id = n.stream_id
)
SELECT DISTINCT campaign_id, NULL::bigint, NULL::text, NULL::bool, NULL::int, NULL::int
FROM moved WHERE campaign_id IS NOT NULL
UNION ALL
SELECT NULL, device_id, wire_id, false, NULL, NULL FROM heard WHERE message_id IS NULL
UNION ALL
SELECT NULL, device_id, wire_id, true, NULL, NULL FROM heard
WHERE message_id IN (SELECT message_id FROM found WHERE stream_id NOT IN (SELECT id FROM stream))
UNION ALL
SELECT NULL, stream.device_id, NULL, NULL, count(*) FILTER (WHERE moved.was NOT IN ('sent', 'delivered')),
       count(*) FILTER (WHERE moved.was <> 'delivered')
FROM moved JOIN stream ON stream.id = moved.stream_id GROUP BY stream.device_id
"""

# An id we never recorded, in the chat of somebody whose message is uncertain, after that attempt began: it is that
# message's. Chats are known from what the same person was sent before, or bear the number itself.
ADOPT_SQL = """
WITH stranger AS MATERIALIZED (
    SELECT t.device_id, t.wire_id, max(t.chat) AS chat, min(t.at) AS at
    FROM unnest(%(devices)s::bigint[], %(wire_ids)s::text[], %(chats)s::text[], %(ats)s::float8[])
        AS t(device_id, wire_id, chat, at)
    WHERE NOT EXISTS (SELECT FROM campaigns_wireid w WHERE w.device_id = t.device_id AND w.wire_id = t.wire_id)
    GROUP BY t.device_id, t.wire_id
),
match AS MATERIALIZED (
    SELECT u.message_id, u.workspace_id, s.device_id, s.wire_id, s.at,
           count(*) OVER (PARTITION BY s.device_id, s.wire_id) AS doubts
    FROM stranger s
    JOIN campaigns_uncertain u ON u.device_id = s.device_id AND u.began_at <= to_timestamp(s.at)
    JOIN campaigns_message m ON m.id = u.message_id AND m.wire_id IS NULL
    WHERE s.chat = substr(u.phone, 2) || '@s.whatsapp.net'
       OR EXISTS (SELECT FROM campaigns_message e WHERE e.contact_id = m.contact_id AND e.chat = s.chat)
)
INSERT INTO campaigns_wireid (workspace_id, device_id, wire_id, message_id)
SELECT DISTINCT ON (message_id) workspace_id, device_id, wire_id, message_id
FROM match WHERE doubts = 1 ORDER BY message_id, at  -- of two doubts about one person it proves neither
ON CONFLICT (device_id, wire_id) DO NOTHING
RETURNING message_id, wire_id
"""

DOUBTFUL_SQL = "SELECT FROM campaigns_uncertain WHERE device_id = ANY(%(devices)s::bigint[]) LIMIT 1"

NAME_SQL = """
WITH found AS MATERIALIZED (
    SELECT m.id, t.wire_id
    FROM unnest(%(messages)s::bigint[], %(wire_ids)s::text[]) AS t(message_id, wire_id)
    JOIN campaigns_message m ON m.id = t.message_id
    WHERE m.wire_id IS NULL
    ORDER BY m.id FOR NO KEY UPDATE OF m
)
UPDATE campaigns_message m SET wire_id = found.wire_id FROM found WHERE m.id = found.id
"""

FOUND_SQL = """
INSERT INTO campaigns_wireid (workspace_id, device_id, wire_id, message_id)
SELECT u.workspace_id, u.device_id, t.wire_id, u.message_id
FROM unnest(%(tags)s::bytea[], %(wire_ids)s::text[]) AS t(tag, wire_id)
JOIN campaigns_uncertain u ON u.device_id = %(device)s AND u.tag = t.tag
ON CONFLICT (device_id, wire_id) DO NOTHING
RETURNING message_id, wire_id
"""

DOUBTS_SQL = """
SELECT u.device_id, u.tag
FROM campaigns_uncertain u JOIN campaigns_message m ON m.id = u.message_id
WHERE u.device_id = ANY(%s) AND m.wire_id IS NULL
  AND (u.asked_at IS NULL OR u.asked_at < now() - interval '1 hour')
"""

SEARCHED_SQL = "UPDATE campaigns_uncertain SET asked_at = now() WHERE device_id = %(device)s AND tag = ANY(%(all)s)"


class ReceiptRow(NamedTuple):
    """``kind``: delivered or read; ``at``: Unix seconds."""

    device: int
    wire_id: str
    chat: str
    kind: str
    at: float


class Receipted(NamedTuple):
    """``campaigns``: the ids of those touched. ``strangers``: receipts for ids that belong to no known message.
    ``postponed``: to be settled again, because somebody has locked their stream for a moment.

    ``moved``: of each device, how many messages are known as sent only now, and how many as delivered.
    """

    campaigns: set[int]
    strangers: list[ReceiptRow]
    postponed: list[ReceiptRow]
    moved: list[tuple[int, int, int]]


class Doubt(NamedTuple):
    """An attempt of which nobody knows whether it was sent; its tag may stand in the device's session file."""

    device: int
    tag: bytes


def settle_receipts(receipts: Sequence[ReceiptRow]) -> Receipted:
    """Move messages forward by their receipts, never back; waits for nobody who is at work on their streams."""
    values: dict[str, Any] = {
        "devices": [receipt.device for receipt in receipts],
        "wire_ids": [receipt.wire_id for receipt in receipts],
        "chats": [receipt.chat for receipt in receipts],
        "kinds": [receipt.kind for receipt in receipts],
        "ats": [receipt.at for receipt in receipts],
    }
    if rows_of(DOUBTFUL_SQL, values):
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute(ADOPT_SQL, values)
            _name(cursor)
    rows = rows_of(RECEIPT_SQL, values)
    told = {(device, wire_id): locked for _, device, wire_id, locked, _, _ in rows if wire_id is not None}

    def told_to_be(locked: bool) -> list[ReceiptRow]:
        return [receipt for receipt in receipts if told.get((receipt.device, receipt.wire_id)) is locked]

    return Receipted(
        campaigns={campaign for campaign, *_ in rows if campaign is not None},
        strangers=told_to_be(False),
        postponed=told_to_be(True),
        moved=[(device, sent, delivered) for _, device, _, _, sent, delivered in rows if sent is not None],
    )


def doubts_of(devices: Sequence[int]) -> list[Doubt]:
    """The uncertain attempts of these devices whose session files were not searched within the hour."""
    with connection.cursor() as cursor:
        cursor.execute(DOUBTS_SQL, [list(devices)])
        return [Doubt(device, bytes(tag)) for device, tag in cursor.fetchall()]


def note_evidence(device: int, ids: Mapping[bytes, str | None]) -> int:
    """The session file was searched for these attempts' tags, and knows some by WhatsApp's ids: a receipt for one of
    these settles its message.

    Returns how many messages got their id. A tag that is absent proves nothing.
    """
    found = {tag: id for tag, id in ids.items() if id}
    values: dict[str, Any] = {"device": device, "all": list(ids), "tags": list(found), "wire_ids": list(found.values())}
    with transaction.atomic(), connection.cursor() as cursor:
        # Only now: a question whose answer is lost with its gateway is asked again when the file is open again.
        cursor.execute(SEARCHED_SQL, values)
        cursor.execute(FOUND_SQL, values)
        return _name(cursor)


def _name(cursor: CursorWrapper) -> int:
    named = cursor.fetchall()
    cursor.execute(NAME_SQL, {"messages": [row[0] for row in named], "wire_ids": [row[1] for row in named]})
    return len(named)
