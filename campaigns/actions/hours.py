"""Streams that wait for the hours of their people, when these hours or people have changed meanwhile."""

from __future__ import annotations

from django.db import connection

# Nobody waits for a lock here: what somebody else is at work on is looked at the next time.
RELEASE_SQL = """
WITH waiting AS MATERIALIZED (
    SELECT s.id, s.workspace_id, s.held_until, s.campaign_id FROM campaigns_stream s
    WHERE s.held_until > now() ORDER BY s.id FOR NO KEY UPDATE SKIP LOCKED
),
judged AS MATERIALIZED (
    SELECT st.id, campaigns_nobody_until(
        now(), st.workspace_id, w.timezone, w.quiet_from, w.quiet_to, c.local_from, c.local_to) AS until
    FROM waiting st
    JOIN campaigns_campaign c ON c.id = st.campaign_id
    JOIN accounts_workspace w ON w.id = st.workspace_id
)
UPDATE campaigns_stream s SET held_until = j.until
FROM judged j WHERE s.id = j.id AND j.until IS DISTINCT FROM s.held_until
"""


def release_streams() -> int:
    """Have each wait no longer than its people's hours say now; returns how many were changed."""
    with connection.cursor() as cursor:
        cursor.execute(RELEASE_SQL)
        return int(cursor.rowcount)
