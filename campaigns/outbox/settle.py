"""Settlement: what became of attempts, written down in bulk with the counters."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from campaigns.outbox.statement import rows_of

LONGEST_MS = 600_000  # one message that waited for days must not be all that a mean speaks of


class Settlement(NamedTuple):
    """What became of one attempt. ``state``: sent, waiting, dead or uncertain; ``wire_at`` and ``at``: Unix seconds.

    ``refund`` gives the caps back (definitely not sent), ``counts`` says that a try was used up, ``died`` that its
    gateway died with it, ``hold`` for how many seconds the device sends nothing, since its number was refused.
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
    died: bool = False
    hold: float | None = None


SETTLE_SQL = """
WITH told AS MATERIALIZED (
    -- Of two words about one attempt, the acknowledgement counts.
    SELECT DISTINCT ON (tag) *
    FROM unnest(%(device)s::bigint[], %(epoch)s::bigint[], %(message)s::bigint[], %(tag)s::bytea[],
        %(state)s::text[], %(reason)s::text[], %(text)s::text[], %(delay)s::float8[], %(wire_at)s::float8[],
        %(wire_id)s::text[], %(chat)s::text[], %(at)s::float8[], %(retry_in)s::float8[], %(refund)s::bool[],
        %(counts)s::bool[], %(died)s::bool[], %(hold)s::float8[])
        AS t(device_id, epoch, message_id, tag, state, reason, text, delay, wire_at, wire_id, chat, at, retry_in,
             refund, counts, died, hold)
    ORDER BY tag, state <> 'sent'
),
found AS MATERIALIZED (
    SELECT t.*, device.id IS NOT NULL AND stream.id IS NOT NULL AS free, stream.device_id AS counted_for
    FROM told t
    JOIN campaigns_message m ON m.id = t.message_id
    LEFT JOIN LATERAL (
        SELECT d.id FROM devices_device d WHERE d.id = t.device_id FOR NO KEY UPDATE SKIP LOCKED
    ) device ON true
    LEFT JOIN LATERAL (
        SELECT s.id, s.device_id FROM campaigns_stream s WHERE s.id = m.stream_id AND device.id IS NOT NULL
        FOR NO KEY UPDATE SKIP LOCKED
    ) stream ON true
),
old AS MATERIALIZED (
    SELECT f.*, m.was
    FROM found f CROSS JOIN LATERAL (
        SELECT m.state AS was FROM campaigns_message m
        WHERE m.id = f.message_id AND m.tag = f.tag
          AND (m.state = 'sending' OR (f.state = 'sent' AND (m.state IN ('uncertain', 'assumed')
                                       OR (m.state = 'cancelled' AND m.reason = 'given_up_unsure')
                                       OR (m.state = 'pending' AND m.may_duplicate))))  -- spares them the second one
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
        deaths = m.deaths + old.died::int,
        refusals = m.refusals + (old.hold IS NOT NULL)::int,
        dead_at = CASE WHEN old.state = 'dead' THEN now() ELSE m.dead_at END,
        due_at = CASE WHEN old.state = 'waiting' THEN now() + old.retry_in * interval '1 second' ELSE m.due_at END
    FROM old WHERE m.id = old.message_id
    RETURNING m.id, m.workspace_id, m.stream_id, m.due_at, m.phone, m.attempted_at, old.was, old.state, old.tag,
              old.device_id, old.wire_id, old.counted_for, m.sent_at, m.ready_at
),
doubted AS (
    INSERT INTO campaigns_uncertain (workspace_id, message_id, device_id, phone, tag, began_at)
    SELECT workspace_id, id, device_id, phone, tag, attempted_at FROM moved WHERE state = 'uncertain'
),
resolved AS (
    DELETE FROM campaigns_uncertain u USING moved WHERE moved.was = 'uncertain' AND u.message_id = moved.id
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
        assumed = s.assumed - n.from_assumed,
        sent = s.sent + n.sent,
        pending = s.pending - n.from_pending,
        cancelled = s.cancelled - n.from_cancelled,
        waiting = s.waiting + n.waiting,
        dead = s.dead + n.dead,
        next_id = CASE WHEN n.due <= coalesce(s.next_due, 'infinity') THEN 0 ELSE s.next_id END,
        next_due = CASE WHEN n.due IS NULL THEN s.next_due ELSE least(s.next_due, n.due) END
    FROM (
        SELECT stream_id,
               count(*) FILTER (WHERE was = 'sending') AS from_sending,
               count(*) FILTER (WHERE was = 'uncertain') AS from_uncertain,
               count(*) FILTER (WHERE was = 'assumed') AS from_assumed,
               count(*) FILTER (WHERE was = 'cancelled') AS from_cancelled,
               count(*) FILTER (WHERE was = 'pending') AS from_pending,
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
        held_until = CASE WHEN t.hold IS NULL THEN d.held_until ELSE now() + t.hold * interval '1 second' END,
        held_reason = CASE WHEN t.hold IS NULL THEN d.held_reason ELSE t.reason END,
        holds = CASE WHEN t.hold IS NULL THEN d.holds
                     WHEN d.held_until > now() - interval '1 day' THEN least(d.holds + 1, 100) ELSE 1 END,
        last_sent_at = CASE WHEN t.state = 'sent' THEN coalesce(to_timestamp(t.at), now()) ELSE d.last_sent_at END,
        hour_used = d.hour_used - (t.refund AND d.hour_start = date_trunc('hour', d.open_at AT TIME ZONE w.timezone)
                                   AT TIME ZONE w.timezone AND d.hour_used > 0)::int,
        day_used = d.day_used - (t.refund AND d.day_start = date_trunc('day', d.open_at AT TIME ZONE w.timezone)
                                 AT TIME ZONE w.timezone AND d.day_used > 0)::int
    FROM found t, accounts_workspace w
    WHERE t.free AND d.id = t.device_id AND d.epoch = t.epoch AND d.open_tag = t.tag AND w.id = d.workspace_id
    RETURNING d.id, d.workspace_id, d.held_reason, t.hold,
              extract(epoch FROM greatest(d.next_send_at, d.held_until) - now())::float8 AS wait
),
noted AS (
    INSERT INTO devices_deviceevent (workspace_id, device_id, at, kind, detail)
    SELECT workspace_id, id, now(), 'held', left(held_reason, 180) || ' for ' || round(hold) || ' s'
    FROM closed WHERE hold IS NOT NULL
)
SELECT wait, NULL, id, NULL, NULL::int FROM closed
UNION ALL
SELECT NULL, tag, device_id, NULL, NULL FROM found WHERE NOT free
UNION ALL
SELECT NULL, NULL, counted_for, state,
       least(%(longest)s::float8, greatest(0, date_part('epoch', sent_at - ready_at) * 1000))::int
FROM moved WHERE state IN ('sent', 'dead')
"""

# A message that this very statement made ``sent`` or ``dead``: its stream's device, the state, and the milliseconds
# from when it might have left to the acknowledgement, None where nobody knows.
Moved = tuple[int, str, int | None]


class Settled(NamedTuple):
    """``waits``: for each device whose attempt was closed, the seconds until it may send again.

    ``postponed``: to be settled again, because somebody has locked the device or the stream for a moment. A device that
    is in neither is no longer ours. ``moved``: what meters count; what was settled before is not among them.
    """

    waits: dict[int, float]
    postponed: list[Settlement]
    moved: tuple[Moved, ...] = ()


def settle(settlements: Sequence[Settlement]) -> Settled:
    """Write down what became of attempts, in one committed statement; safe to repeat, and waits for nobody.

    A late acknowledgement also settles a message that was uncertain, or was counted as sent.
    """
    values: dict[str, Any] = dict(zip(Settlement._fields, zip(*settlements, strict=True), strict=True))
    values["longest"] = LONGEST_MS
    waits, locked, moved = {}, set(), []
    for row in rows_of(SETTLE_SQL, values):
        wait, tag, device, state, _ = row
        if state is not None:
            moved.append(row[2:])
        elif tag is not None:
            locked.add(tag)
        else:
            waits[device] = wait
    return Settled(waits, [settlement for settlement in settlements if settlement.tag in locked], tuple(moved))
