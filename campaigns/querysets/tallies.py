"""What campaigns are judged by while they run, in two statements for all of them."""

from __future__ import annotations

from collections.abc import Collection

from django.db import connection

from campaigns.engine.watching import Tally

COUNTED_SQL = """
SELECT campaign_id, sum(sent + delivered + read + assumed + uncertain + dead)::bigint, sum(dead)::bigint,
       sum(sent + delivered + read + assumed)::bigint
FROM campaigns_stream WHERE campaign_id = ANY(%s) GROUP BY campaign_id
"""

# From the few who opted out to their messages, not the other way round.
OPTED_OUT_SQL = """
SELECT p.id, count(*)
FROM campaigns_campaign p
JOIN campaigns_contact c ON c.workspace_id = p.workspace_id AND c.opted_out_at > p.launched_at
JOIN campaigns_message m ON m.campaign_id = p.id AND m.contact_id = c.id AND m.sent_at <= c.opted_out_at
WHERE p.id = ANY(%s) GROUP BY p.id
"""


def tallies(campaigns: Collection[int], opt_outs_of: Collection[int]) -> dict[int, Tally]:
    """By campaign (id), since its start; opt-outs only of those asked for."""
    with connection.cursor() as cursor:
        cursor.execute(COUNTED_SQL, [list(campaigns)])
        counted = cursor.fetchall()
        opted_out: dict[int, int] = {}
        if opt_outs_of:
            cursor.execute(OPTED_OUT_SQL, [list(opt_outs_of)])
            opted_out = dict(cursor.fetchall())
    return {pk: Tally(tried, failed, sent, opted_out.get(pk, 0)) for pk, tried, failed, sent in counted}
