"""What became of messages in the demonstration's past: decided for each person, written with one statement each.

It leaves what the engine would have left: attempts with their tags and epochs, ids on the wire, counters and meters
that agree.
"""

from __future__ import annotations

import json
import random
import secrets
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta

from django.db import connection

from campaigns.audience import variables_of
from campaigns.compose import Template, parse, render
from campaigns.engine.lifecycle import MESSAGE_STATES
from campaigns.models import Message
from campaigns.models.meter import TIME_BOUNDS_MS
from campaigns.querysets.meters import WORDS
from devices.gateway.network import REPLIES, chat_of
from devices.gateway.session_file import message_id

REFUSED = "refused 405: server returned error 405"
NOT_CONNECTED = "websocket not connected"


@dataclass(slots=True)
class Fate:
    """What became of one message; the tags are of its last and of its first attempt, in hex."""

    id: int
    state: str
    reason: str = ""
    attempts: int = 0
    tries: int = 0
    epoch: int | None = None
    tag: str | None = None
    first_tag: str | None = None
    text: str | None = None
    wire_id: str | None = None
    chat: str | None = None
    attempted_at: datetime | None = None
    sent_at: datetime | None = None
    delivered_at: datetime | None = None
    read_at: datetime | None = None
    replied_at: datetime | None = None


def settle_past(
    messages: Iterable[Message], gap: float, epoch: int, rng: random.Random, refused: float = 0.012
) -> datetime:
    """Let these pending messages have left since they were due, ``gap`` seconds apart on each device.

    Returns when the last of them had begun. ``epoch`` is at most that of the devices; ``refused``: the share of them
    that WhatsApp refuses.
    """
    fates = list(_fates(messages, gap, epoch, rng, refused))
    rows = json.dumps([asdict(fate) for fate in fates], default=datetime.isoformat)
    streams = sorted({message.stream_id for message in messages})
    with connection.cursor() as cursor:
        cursor.execute(MESSAGES_SQL, [rows])
        cursor.execute(EARLIER_SQL, [rows])
        cursor.execute(WIRE_IDS_SQL, [rows])
        cursor.execute(REPLIES_SQL, [list(REPLIES), list(REPLIES), rows])
        cursor.execute(LAST_REPLIES_SQL, [rows])
        cursor.execute(COUNTERS_SQL, [streams])
        cursor.execute(DEVICES_SQL, [streams])
        cursor.execute(METERS_SQL, [rows])
    return max(fate.attempted_at for fate in fates if fate.attempted_at)


def _fates(messages: Iterable[Message], gap: float, epoch: int, rng: random.Random, refused: float) -> Iterator[Fate]:
    before: dict[int, int] = {}
    texts: dict[int, Template] = {}
    for message in messages:
        opted_out_at = message.contact.opted_out_at if message.contact else None
        if opted_out_at and opted_out_at < message.due_at:
            yield Fate(message.pk, "skipped", "opted_out")
            continue
        place = before.get(message.stream_id, 0)
        before[message.stream_id] = place + 1
        begun = message.due_at + timedelta(seconds=gap * (place + rng.random() / 2))
        text = texts.get(message.content_id) or parse(message.content.text)
        texts[message.content_id] = text
        person = message.contact
        words = render(text, variables_of(person), seed=message.pk) if person else message.content.text
        yield _fate(message, begun, words, epoch, rng, refused)


def _fate(message: Message, begun: datetime, text: str, epoch: int, rng: random.Random, refused: float) -> Fate:
    tag, luck = secrets.token_bytes(32), rng.random()
    fate = Fate(message.pk, "sent", attempts=1, epoch=epoch, tag=tag.hex(), attempted_at=begun, text=text)
    if rng.random() < 0.01:
        fate.attempts, fate.first_tag = 2, secrets.token_hex(32)
    if message.contact and luck < refused:
        fate.state, fate.reason, fate.tries = "dead", REFUSED, 1
        return fate
    fate.wire_id, fate.chat = message_id(tag), chat_of(message.phone)
    fate.sent_at = begun + timedelta(seconds=rng.uniform(0.2, 0.8))
    stopped_at = message.contact.opted_out_at if message.contact else None
    if luck > 0.05 or stopped_at:
        fate.state = "delivered"
        fate.delivered_at = fate.sent_at + timedelta(seconds=rng.expovariate(1 / 20))
    if fate.delivered_at and (luck > 0.34 or stopped_at):
        fate.state = "read"
        fate.read_at = fate.delivered_at + timedelta(minutes=min(rng.expovariate(1 / 40), 300))
    if fate.read_at and message.contact and (luck > 0.93 or stopped_at):
        fate.replied_at = stopped_at or fate.read_at + timedelta(minutes=min(rng.expovariate(1 / 15), 120))
    return fate


FATES = """
    json_to_recordset(%s::json) AS fate(
        id bigint, state text, reason text, attempts int, tries int, epoch bigint, tag text, first_tag text, text text,
        wire_id text, chat text, attempted_at timestamptz, sent_at timestamptz, delivered_at timestamptz,
        read_at timestamptz, replied_at timestamptz)
"""
MESSAGES_SQL = f"""
UPDATE campaigns_message m SET
    state = fate.state, reason = fate.reason, attempts = fate.attempts, tries = fate.tries, epoch = fate.epoch,
    tag = decode(fate.tag, 'hex'), text = fate.text, wire_id = fate.wire_id, chat = fate.chat,
    attempted_at = fate.attempted_at, ready_at = fate.attempted_at, sent_at = fate.sent_at,
    delivered_at = fate.delivered_at, read_at = fate.read_at, replied_at = fate.replied_at
FROM {FATES}
WHERE m.id = fate.id
"""  # noqa: S608 - its only variable part is the constant above
EARLIER_SQL = f"""
INSERT INTO campaigns_attempt (workspace_id, message_id, number, device_id, tag, epoch, started_at, outcome)
SELECT m.workspace_id, m.id, 1, s.device_id, decode(fate.first_tag, 'hex'), fate.epoch,
       fate.attempted_at - interval '5 seconds', '{NOT_CONNECTED}'
FROM {FATES} JOIN campaigns_message m USING (id) JOIN campaigns_stream s ON s.id = m.stream_id
WHERE fate.first_tag IS NOT NULL
"""  # noqa: S608
WIRE_IDS_SQL = f"""
INSERT INTO campaigns_wireid (workspace_id, device_id, wire_id, message_id, sent_at)
SELECT m.workspace_id, s.device_id, fate.wire_id, m.id, fate.sent_at
FROM {FATES} JOIN campaigns_message m USING (id) JOIN campaigns_stream s ON s.id = m.stream_id
WHERE fate.wire_id IS NOT NULL
"""  # noqa: S608
# Whoever opted out had written that; the others one of these.
REPLIES_SQL = f"""
INSERT INTO campaigns_reply (workspace_id, device_id, contact_id, message_id, phone, chat, wire_id, kind, text, at)
SELECT m.workspace_id, s.device_id, m.contact_id, m.id, m.phone, m.chat, '3A' || upper(substr(fate.tag, 1, 18)), 'text',
       CASE WHEN c.opted_out_at = m.replied_at THEN 'STOP'
            ELSE (%s::text[])[1 + m.id %% cardinality(%s::text[])] END, m.replied_at
FROM {FATES} JOIN campaigns_message m USING (id) JOIN campaigns_stream s ON s.id = m.stream_id
JOIN campaigns_contact c ON c.id = m.contact_id
WHERE m.replied_at IS NOT NULL
"""  # noqa: S608
LAST_REPLIES_SQL = f"""
UPDATE campaigns_contact c SET last_reply_at = greatest(c.last_reply_at, fate.replied_at)
FROM {FATES} JOIN campaigns_message m USING (id)
WHERE c.id = m.contact_id AND fate.replied_at IS NOT NULL
"""  # noqa: S608
COUNTERS_SQL = f"""
UPDATE campaigns_stream s SET
    {", ".join(f"{state} = (n.counts ->> '{state}')::int" for state in MESSAGE_STATES)},
    replied = n.replied, next_due = n.next_due, next_id = 0
FROM (
    SELECT stream_id, count(replied_at) AS replied, min(due_at) FILTER (WHERE state = 'pending') AS next_due,
        jsonb_build_object(
        {", ".join(f"'{state}', count(*) FILTER (WHERE state = '{state}')" for state in MESSAGE_STATES)}) AS counts
    FROM campaigns_message WHERE stream_id = ANY(%s) GROUP BY stream_id
) n
WHERE s.id = n.stream_id
"""  # noqa: S608
DEVICES_SQL = """
UPDATE devices_device d SET last_sent_at = greatest(d.last_sent_at, n.sent_at)
FROM (
    SELECT s.device_id, max(m.sent_at) AS sent_at
    FROM campaigns_message m JOIN campaigns_stream s ON s.id = m.stream_id
    WHERE s.id = ANY(%s) GROUP BY s.device_id
) n
WHERE d.id = n.device_id
"""


def _meters_of(table: str, unit: str) -> str:
    classes = ", ".join(f"count(*) FILTER (WHERE class = {place})" for place in range(len(TIME_BOUNDS_MS) + 1))
    bounds = ", ".join(str(bound) for bound in TIME_BOUNDS_MS)
    added = ", ".join(f"{count} = m.{count} + excluded.{count}" for count in METERED)
    times = ", ".join(f"m.times[{n}] + excluded.times[{n}]" for n in range(1, len(TIME_BOUNDS_MS) + 2))
    return f"""
    INSERT INTO {table} AS m (workspace_id, device_id, start, {", ".join(METERED)}, times)
    SELECT workspace_id, device_id, date_trunc('{unit}', at, timezone), sum(sent), sum(failed), sum(delivered),
           sum(replied), coalesce(sum(ms), 0), ARRAY[{classes}]
    FROM (SELECT *, width_bucket(ms, ARRAY[{bounds}]::float8[]) AS class FROM happened) h
    GROUP BY workspace_id, device_id, date_trunc('{unit}', at, timezone)
    ON CONFLICT (workspace_id, start, device_id) DO UPDATE SET {added}, times = ARRAY[{times}]"""  # noqa: S608


METERED = (*WORDS, "time_ms")
METERS_SQL = f"""
WITH happened AS MATERIALIZED (
    SELECT m.workspace_id, s.device_id, w.timezone, what.*
    FROM {FATES} JOIN campaigns_message m USING (id) JOIN campaigns_stream s ON s.id = m.stream_id
    JOIN accounts_workspace w ON w.id = m.workspace_id
    CROSS JOIN LATERAL (VALUES
        (m.sent_at, 1, 0, 0, 0, date_part('epoch', m.sent_at - m.ready_at) * 1000),
        (CASE WHEN m.state = 'dead' THEN m.attempted_at END, 0, 1, 0, 0, NULL),
        (m.delivered_at, 0, 0, 1, 0, NULL),
        (m.replied_at, 0, 0, 0, 1, NULL)
    ) AS what(at, sent, failed, delivered, replied, ms)
    WHERE what.at IS NOT NULL
),
hours AS ({_meters_of("campaigns_hourmeter", "hour")}),
days AS ({_meters_of("campaigns_daymeter", "day")})
INSERT INTO campaigns_metertotal AS t (workspace_id, device_id, sent, failed, delivered, replied, ahead)
SELECT workspace_id, device_id, sum(sent), sum(failed), sum(delivered), sum(replied), '{{0,0,0,0}}'
FROM happened GROUP BY workspace_id, device_id
ON CONFLICT (workspace_id, device_id) DO UPDATE SET
    sent = t.sent + excluded.sent, failed = t.failed + excluded.failed,
    delivered = t.delivered + excluded.delivered, replied = t.replied + excluded.replied
"""  # noqa: S608
