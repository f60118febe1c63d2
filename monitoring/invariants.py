"""The audit of the ledger: counts every campaign anew from its rows and looks for what docs/engine.md rules out."""

from __future__ import annotations

import json
from typing import Any

from django.db import connection

from campaigns.engine.lifecycle import MESSAGE_STATES, SKIPPED

COUNTS_SQL = """
SELECT c.uuid, c.name, c.state, c.recipients, coalesce(n.counts, '{{}}'::jsonb)
FROM campaigns_campaign c
LEFT JOIN (
    SELECT campaign_id, jsonb_object_agg(state, n) AS counts
    FROM (SELECT campaign_id, state, count(*) AS n FROM campaigns_message GROUP BY campaign_id, state) g
    GROUP BY campaign_id
) n ON n.campaign_id = c.id
WHERE {where}
ORDER BY c.id
"""

# Each finds rows that must not exist: (what is wrong, the query for (what, which)).
VIOLATIONS: tuple[tuple[str, str], ...] = (
    (
        "a stream's counter differs from its rows",
        """
        SELECT s.id::text || ' ' || x.state || ': ' || x.counted || ' counted, ' || coalesce(n.n, 0) || ' rows'
        FROM campaigns_stream s
        CROSS JOIN LATERAL (VALUES {counters}) AS x(state, counted)
        LEFT JOIN (SELECT stream_id, state, count(*) AS n FROM campaigns_message GROUP BY 1, 2) n
            ON n.stream_id = s.id AND n.state = x.state
        WHERE x.counted <> coalesce(n.n, 0)
        """,
    ),
    (
        "a message is being sent that no device has open",
        """
        SELECT m.id::text FROM campaigns_message m JOIN campaigns_stream s ON s.id = m.stream_id
        LEFT JOIN devices_device d ON d.id = s.device_id AND d.open_message = m.id AND d.open_tag = m.tag
        WHERE m.state = 'sending' AND d.id IS NULL
        """,
    ),
    (
        "a device has a message open that is not being sent",
        """
        SELECT d.id::text FROM devices_device d LEFT JOIN campaigns_message m ON m.id = d.open_message
        WHERE d.open_message IS NOT NULL AND m.state IS DISTINCT FROM 'sending'
        """,
    ),
    (
        "an attempt is open for longer than any answer takes, at a living host",
        """
        SELECT d.id::text FROM devices_device d JOIN devices_host h ON h.id = d.owner_id AND h.lease_until > now()
        WHERE d.open_at < now() - interval '150 seconds'
        """,
    ),
    (
        "a message left without a journaled attempt",
        """
        SELECT id::text FROM campaigns_message
        WHERE state IN ('sending', 'sent', 'delivered', 'read', 'uncertain', 'assumed')
          AND (tag IS NULL OR attempts = 0 OR attempted_at IS NULL)
        """,
    ),
    (
        "a message is uncertain without a doubt, or doubted although it is not",
        """
        SELECT coalesce(m.id, u.message_id)::text
        FROM (SELECT id FROM campaigns_message WHERE state = 'uncertain') m
        FULL JOIN campaigns_uncertain u ON u.message_id = m.id
        WHERE m.id IS NULL OR u.id IS NULL
        """,
    ),
    (
        "a claimable message lies before its stream's next one",
        """
        SELECT m.id::text FROM campaigns_message m JOIN campaigns_stream s ON s.id = m.stream_id
        WHERE m.state IN ('pending', 'waiting')
          AND (s.next_due IS NULL OR (m.due_at, m.id) < (s.next_due, s.next_id))
        """,
    ),
    (
        "an epoch went back",  # an epoch is its device's; a moved message has attempts at several
        """
        SELECT m.id::text FROM campaigns_message m JOIN campaigns_stream s ON s.id = m.stream_id
        JOIN campaigns_attempt a ON a.message_id = m.id AND a.device_id = s.device_id WHERE a.epoch > m.epoch
        UNION ALL
        SELECT a.message_id::text FROM campaigns_attempt a
        JOIN campaigns_attempt later ON later.message_id = a.message_id AND later.device_id = a.device_id
        WHERE later.number > a.number AND later.epoch < a.epoch
        UNION ALL
        SELECT m.id::text FROM campaigns_message m JOIN campaigns_stream s ON s.id = m.stream_id
        JOIN devices_device d ON d.id = s.device_id WHERE m.epoch > d.epoch
        """,
    ),
    (
        "a device got more people of a campaign than its cap",
        """
        SELECT s.id::text FROM campaigns_stream s JOIN campaigns_campaign c ON c.id = s.campaign_id
        WHERE {people} > c.device_cap
        """,
    ),
    (
        "a completed or cancelled campaign has messages remaining",
        """
        SELECT DISTINCT c.uuid::text FROM campaigns_campaign c JOIN campaigns_message m ON m.campaign_id = c.id
        WHERE (c.state = 'completed' AND m.state IN ('pending', 'waiting', 'sending'))
           OR (c.state = 'cancelled' AND m.state IN ('pending', 'waiting'))
        """,
    ),
    (
        "a stream runs although its campaign does not, or rests although it does",
        """
        SELECT s.id::text FROM campaigns_stream s JOIN campaigns_campaign c ON c.id = s.campaign_id
        WHERE s.running <> (c.state = 'running')
        """,
    ),
    (
        "a message is due for 120 s although its device could send it",
        """
        SELECT m.id::text FROM campaigns_message m
        JOIN campaigns_stream s ON s.id = m.stream_id AND s.running
        JOIN devices_device d ON d.id = s.device_id
        JOIN accounts_workspace w ON w.id = d.workspace_id
        WHERE m.state IN ('pending', 'waiting') AND d.state = 'online' AND d.open_message IS NULL
          AND greatest(m.due_at, d.next_send_at, d.state_at) < now() - interval '120 seconds'
          AND (s.lane = 0 OR s.held_until IS NULL OR s.held_until < now() - interval '120 seconds')
          AND (d.last_sent_at IS NULL OR d.last_sent_at < now() - interval '120 seconds')
          AND (s.expires_at IS NULL OR s.expires_at > now())
          AND (d.hourly_cap IS NULL OR d.hour_used < d.hourly_cap)
          AND coalesce(d.day_used < least(d.daily_cap, d.warm_cap), true)
          AND (s.lane = 0 OR d.sending_from IS NULL OR NOT EXISTS (  -- inside its hours, and not only since a moment
              SELECT FROM (VALUES (now()), (now() - interval '120 seconds')) AS t(at)
              CROSS JOIN LATERAL (SELECT (t.at AT TIME ZONE w.timezone)::time AS at) local
              WHERE ((local.at >= d.sending_from) = (local.at >= d.sending_to)) = (d.sending_from < d.sending_to)))
        """,
    ),
    (
        "a message should have expired 120 s ago",
        """
        SELECT m.id::text FROM campaigns_message m JOIN campaigns_stream s ON s.id = m.stream_id
        WHERE m.state IN ('pending', 'waiting') AND s.expires_at < now() - interval '120 seconds'
        """,
    ),
)
SHOWN = 20


def audit(workspace_id: int | None = None) -> dict[str, Any]:
    """Every campaign's counts and drift, the sum of all, and each violation found.

    ``{"campaigns": […], "recipients", "counts", "drift", "open_attempts", "violations": [{"what", "count", "which"}]}``
    with, for each campaign, ``{"campaign", "name", "state", "recipients", "counts", "drift", "open_attempts"}``.
    """
    with connection.cursor() as cursor:
        cursor.execute(
            COUNTS_SQL.format(where="TRUE" if workspace_id is None else "c.workspace_id = %s"),
            None if workspace_id is None else [workspace_id],
        )
        campaigns = [_campaign(row) for row in cursor.fetchall()]
        cursor.execute("SELECT count(*) FROM devices_device WHERE open_message IS NOT NULL")
        open_attempts = cursor.fetchone()[0]
        violations = [found for what, query in VIOLATIONS if (found := _violation(cursor, what, query))]
    totals = {state: sum(campaign["counts"][state] for campaign in campaigns) for state in MESSAGE_STATES}
    recipients = sum(campaign["recipients"] for campaign in campaigns)
    return {
        "campaigns": campaigns,
        "recipients": recipients,
        "counts": totals,
        "drift": recipients - sum(totals.values()),
        "open_attempts": open_attempts,
        "violations": violations,
    }


def _campaign(row: tuple[Any, ...]) -> dict[str, Any]:
    uuid, name, state, recipients, grouped = row
    counted = json.loads(grouped)  # Django has psycopg hand jsonb over as text
    counts = {name: counted.get(name, 0) for name in MESSAGE_STATES}
    return {
        "campaign": str(uuid),
        "name": name,
        "state": state,
        "recipients": recipients,
        "counts": counts,
        "drift": recipients - sum(counts.values()),
        "open_attempts": counts["sending"],
    }


def _violation(cursor: Any, what: str, query: str) -> dict[str, Any] | None:
    counters = ", ".join(f"('{state}', s.\"{state}\")" for state in MESSAGE_STATES)
    people = " + ".join(f's."{state}"' for state in MESSAGE_STATES if state != SKIPPED)
    cursor.execute(query.replace("{counters}", counters).replace("{people}", people))
    rows = [row[0] for row in cursor.fetchall()]
    return {"what": what, "count": len(rows), "which": rows[:SHOWN]} if rows else None


def is_clean(result: dict[str, Any]) -> bool:
    """No drift in any campaign, and no violation."""
    return not result["violations"] and not any(campaign["drift"] for campaign in result["campaigns"])
