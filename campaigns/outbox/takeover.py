"""Takeover: the open attempts of devices whose host died become uncertain."""

from __future__ import annotations

from collections.abc import Sequence

from django.db.backends.utils import CursorWrapper

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
    RETURNING m.stream_id, m.workspace_id, m.id, m.phone, m.attempted_at, o.device_id, o.open_tag
),
doubted AS (
    INSERT INTO campaigns_uncertain (workspace_id, message_id, device_id, phone, tag, began_at)
    SELECT workspace_id, id, device_id, phone, open_tag, attempted_at FROM moved
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
