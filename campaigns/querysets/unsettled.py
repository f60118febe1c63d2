"""The statements about messages that a person or a policy decides on: the dead, and those nobody knows about."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db import connection

from campaigns.engine.lifecycle import DEAD, UNCERTAIN
from campaigns.models import Campaign
from devices.models import Device


@dataclass(frozen=True, slots=True)
class Selection:
    """The dead, or the uncertain, messages that a list showed at the instant ``until`` (PostgreSQL's clock).

    Only messages that were in that state by then: what was brought back and died again since is not meant, however
    often the same request arrives. ``device``, ``reason`` and ``messages`` (ids) narrow it.
    """

    campaign: Campaign
    until: datetime
    device: Device | None = None
    reason: str | None = None
    messages: Collection[int] | None = None


# Whoever runs these has locked the campaign's streams. Messages are read as of their lock, and locked by id.
CHOSEN_SQL = """
    FROM {found}
    WHERE s.campaign_id = %(campaign)s AND m.campaign_id = %(campaign)s AND m.state = '{was}' AND {since} <= %(until)s
      AND (%(device)s::bigint IS NULL OR s.device_id = %(device)s)
      AND (%(reason)s::text IS NULL OR m.reason = %(reason)s)
      AND (%(messages)s::bigint[] IS NULL OR m.id = ANY(%(messages)s::bigint[]))
      AND {may}"""
OLD_SQL = f"""
old AS MATERIALIZED (
    SELECT m.id, m.workspace_id, m.attempts, m.tag, m.epoch, m.attempted_at, m.reason, s.device_id,
           {{doubtful}} AS doubtful{CHOSEN_SQL}
    ORDER BY m.id
    FOR NO KEY UPDATE OF m
)"""

DEAD_SINCE = "coalesce(m.dead_at, m.attempted_at, '-infinity')"
DEAD_ROWS = "campaigns_stream s JOIN campaigns_message m ON m.stream_id = s.id AND s.dead > 0"
# By the table of doubts, which is short, and not by all the messages.
UNCERTAIN_ROWS = """campaigns_uncertain u JOIN campaigns_message m ON m.id = u.message_id
         JOIN campaigns_stream s ON s.id = m.stream_id"""
# Nobody knows whether the last attempt of a message that three gateways died with got through.
DIED_WITH_GATEWAYS = "m.deaths >= 3 AND m.reason LIKE 'gateway died%%'"
# Nothing of a campaign goes to whoever is no contact any more; of an erased person nobody knows the number either.
SENDABLE = "m.contact_id IS NOT NULL AND (s.expires_at IS NULL OR s.expires_at > now())"

GONE_SQL = """
SELECT stream_id, count(*) FILTER (WHERE state = 'dead'), count(*) FILTER (WHERE state = 'uncertain')
FROM campaigns_message WHERE campaign_id = %s AND contact_id IS NULL AND state IN ('dead', 'uncertain')
GROUP BY stream_id
"""

# The claim would journal the last attempt, too, but by then the message has lost its reason.
BRING_BACK_SQL = """
WITH {old},
kept AS (
    INSERT INTO campaigns_attempt (workspace_id, message_id, number, device_id, tag, epoch, started_at, outcome)
    SELECT workspace_id, id, attempts, device_id, tag, epoch, attempted_at, reason FROM old WHERE tag IS NOT NULL
    ON CONFLICT (message_id, number) DO NOTHING
),
moved AS (
    UPDATE campaigns_message m SET
        state = 'pending', reason = '', due_at = now(), tries = 0, refusals = 0, wire_id = NULL,
        may_duplicate = m.may_duplicate OR old.doubtful,
        deaths = {deaths}
    FROM old WHERE m.id = old.id
    RETURNING m.id, m.stream_id
),
resolved AS (
    DELETE FROM campaigns_uncertain u USING moved WHERE u.message_id = moved.id
),
counted AS (
    UPDATE campaigns_stream s SET
        "{was}" = s."{was}" - n.n,
        pending = s.pending + n.n,
        next_id = CASE WHEN s.next_due < now() THEN s.next_id ELSE 0 END,
        next_due = least(s.next_due, now())
    FROM (SELECT stream_id, count(*) AS n FROM moved GROUP BY stream_id) n
    WHERE s.id = n.stream_id
)
SELECT count(*) FROM moved
"""

COUNT_AS_SENT_SQL = """
WITH {old},
moved AS (
    UPDATE campaigns_message m SET state = 'assumed' FROM old WHERE m.id = old.id RETURNING m.id, m.stream_id
),
resolved AS (
    DELETE FROM campaigns_uncertain u USING moved WHERE u.message_id = moved.id
),
counted AS (
    UPDATE campaigns_stream s SET uncertain = s.uncertain - n.n, assumed = s.assumed + n.n
    FROM (SELECT stream_id, count(*) AS n FROM moved GROUP BY stream_id) n
    WHERE s.id = n.stream_id
)
SELECT count(*) FROM moved
"""

RETRY_SQL = BRING_BACK_SQL.format(
    deaths="0",
    was=DEAD,
    old=OLD_SQL.format(was=DEAD, since=DEAD_SINCE, found=DEAD_ROWS, doubtful=DIED_WITH_GATEWAYS, may=SENDABLE),
)
# By the counters; those whose person was deleted or erased since are found by having none.
COUNT_ALL_DEAD_SQL = """
SELECT coalesce(sum(s.dead), 0) - (
    SELECT count(*) FROM campaigns_message m JOIN campaigns_stream s ON s.id = m.stream_id
    WHERE m.campaign_id = %(campaign)s AND m.contact_id IS NULL AND m.state = 'dead'
      AND (s.expires_at IS NULL OR s.expires_at > now())
      AND (%(device)s::bigint IS NULL OR s.device_id = %(device)s)
)
FROM campaigns_stream s
WHERE s.campaign_id = %(campaign)s AND (s.expires_at IS NULL OR s.expires_at > now())
  AND (%(device)s::bigint IS NULL OR s.device_id = %(device)s)
"""
COUNT_DEAD_SQL = f"SELECT count(*){CHOSEN_SQL}".format(was=DEAD, since=DEAD_SINCE, found=DEAD_ROWS, may=SENDABLE)
SEND_AGAIN_SQL = BRING_BACK_SQL.format(
    deaths="m.deaths",  # the message itself may be what kills gateways
    was=UNCERTAIN,
    old=OLD_SQL.format(was=UNCERTAIN, since="u.since", found=UNCERTAIN_ROWS, doubtful="true", may=SENDABLE),
)
ASSUME_SQL = COUNT_AS_SENT_SQL.format(
    old=OLD_SQL.format(was=UNCERTAIN, since="u.since", found=UNCERTAIN_ROWS, doubtful="true", may="true")
)


def gone_at(campaign: Campaign) -> dict[int, tuple[int, int]]:
    """Stream → how many of its dead and of its uncertain messages are of people deleted or erased since: never sent."""
    with connection.cursor() as cursor:
        cursor.execute(GONE_SQL, [campaign.pk])
        return {stream: (dead, uncertain) for stream, dead, uncertain in cursor.fetchall()}


def count_dead(selection: Selection) -> int:
    """How many `retry_dead` would bring back, if all that is dead now had been shown."""
    narrowed = selection.reason is not None or selection.messages is not None
    return _run(COUNT_DEAD_SQL if narrowed else COUNT_ALL_DEAD_SQL, selection)


def retry_dead(selection: Selection) -> int:
    """Make these dead messages claimable again; returns how many."""
    return _run(RETRY_SQL, selection)


def send_uncertain_again(selection: Selection) -> int:
    """Make these uncertain messages claimable again, marked as possible duplicates; returns how many."""
    return _run(SEND_AGAIN_SQL, selection)


def assume_uncertain_sent(selection: Selection) -> int:
    """Count these uncertain messages as sent; returns how many."""
    return _run(ASSUME_SQL, selection)


def _run(statement: str, selection: Selection) -> int:
    values: dict[str, Any] = {
        "campaign": selection.campaign.pk,
        "until": selection.until,
        "device": selection.device.pk if selection.device else None,
        "reason": selection.reason,
        "messages": None if selection.messages is None else list(selection.messages),
    }
    with connection.cursor() as cursor:
        cursor.execute(statement, values)
        return int(cursor.fetchone()[0])
