"""What only the rows of a campaign's messages know: reasons, hours, and how those fared who were held out."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import groupby
from typing import Any
from zoneinfo import ZoneInfo

from django.db import connection
from django.db.models import Q

from campaigns.engine.lifecycle import DEAD, FIGURES, UNCERTAIN
from campaigns.models import Campaign

HOLD_OUT = "hold_out"
REASONED = (DEAD, UNCERTAIN, *FIGURES["skipped"])
STEPS = ("sent", "delivered", "read", "replied")
UNKNOWN = "unknown"  # the hour of a step that nobody noted the time of
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
QUARTER = timedelta(minutes=15)  # every zone's hours begin with one of these
MOST_QUARTERS = 31 * 96  # a month, each day's hour a range of its own

# Once through the campaign's rows. Quarters of an hour are counted and put on the workspace's clock afterwards, since
# to do that for each of a million rows takes several times as long.
ROWS_SQL = """
SELECT state, CASE WHEN state = ANY(%(reasoned)s) THEN reason END AS why,
       CASE WHEN state = ANY(%(sent)s) THEN coalesce(date_part('epoch', sent_at)::bigint / 900, -1) END AS sent,
       CASE WHEN state IN ('delivered', 'read') THEN coalesce(date_part('epoch', delivered_at)::bigint / 900, -1) END
           AS delivered,
       CASE WHEN state = 'read' THEN coalesce(date_part('epoch', read_at)::bigint / 900, -1) END AS read,
       date_part('epoch', replied_at)::bigint / 900 AS replied,
       count(*)
FROM campaigns_message WHERE campaign_id = %(campaign)s
GROUP BY 1, 2, 3, 4, 5, 6
"""

# By the index of those that have a reason, so that the many that were simply sent are not gone through.
REASONS_SQL = """
SELECT campaign_id, state, reason, count(*) FROM campaigns_message
WHERE campaign_id = ANY(%(campaigns)s) AND reason <> '' AND state = ANY(%(reasoned)s)
  AND (%(streams)s::bigint[] IS NULL OR stream_id = ANY(%(streams)s::bigint[]))
GROUP BY 1, 2, 3
"""

# What can still be claimed never comes before its stream's next; what is being sent is open on its device. So the
# many that have left are not gone through, and of each stream only so many as may be shown.
TURNS_SQL = """
SELECT due_at, id FROM (
    SELECT m.due_at, m.id FROM (
        SELECT id, CASE WHEN is_later THEN next_due ELSE %(due)s END AS due,
               CASE WHEN is_later THEN next_id - 1 ELSE %(after)s END AS after
        FROM (SELECT *, (next_due, next_id - 1) > (%(due)s, %(after)s) AS is_later FROM campaigns_stream) s
        WHERE campaign_id = %(campaign)s AND next_due IS NOT NULL AND %(state)s <> 'sending'
          AND (%(device)s::bigint IS NULL OR device_id = %(device)s)
          AND (%(variant)s::int IS NULL OR variant = %(variant)s)
    ) s
    CROSS JOIN LATERAL (
        SELECT m.due_at, m.id FROM campaigns_message m
        WHERE m.stream_id = s.id AND m.state IN ('pending', 'waiting') AND (%(state)s = '' OR m.state = %(state)s)
          AND (m.due_at, m.id) > (s.due, s.after)
        ORDER BY m.due_at, m.id LIMIT %(size)s
    ) m
    UNION ALL
    SELECT m.due_at, m.id FROM campaigns_stream s
    JOIN devices_device d ON d.id = s.device_id
    JOIN campaigns_message m ON m.id = d.open_message AND m.stream_id = s.id AND m.state = 'sending'
    WHERE s.campaign_id = %(campaign)s AND %(state)s IN ('', 'sending')
      AND (m.due_at, m.id) > (%(due)s, %(after)s)
      AND (%(device)s::bigint IS NULL OR s.device_id = %(device)s)
      AND (%(variant)s::int IS NULL OR s.variant = %(variant)s)
) m
ORDER BY due_at, id LIMIT %(size)s
"""

# From one reason to the next, and not past all the messages with each.
DIFFERENT_REASONS_SQL = """
WITH RECURSIVE found AS (
    (SELECT reason FROM campaigns_message WHERE campaign_id = %(campaign)s AND reason > '' AND reason <> ''
     ORDER BY reason LIMIT 1)
    UNION ALL
    SELECT (SELECT m.reason FROM campaigns_message m
            WHERE m.campaign_id = %(campaign)s AND m.reason > found.reason AND m.reason <> ''
            ORDER BY m.reason LIMIT 1)
    FROM found WHERE found.reason IS NOT NULL
)
SELECT reason FROM found WHERE reason IS NOT NULL LIMIT %(most)s
"""

# By those who wrote and those who opted out, who are few, and not by everybody.
WROTE_SQL = """
SELECT m.state = 'skipped' AND m.reason = %(hold_out)s AS held, count(DISTINCT m.contact_id)
FROM campaigns_reply r JOIN campaigns_message m ON m.contact_id = r.contact_id AND m.campaign_id = %(campaign)s
WHERE r.workspace_id = %(workspace)s AND r.at >= %(since)s
  AND (m.state = ANY(%(sent)s) OR (m.state = 'skipped' AND m.reason = %(hold_out)s))
GROUP BY 1
"""
LEFT_SQL = """
SELECT m.state = 'skipped' AND m.reason = %(hold_out)s AS held, count(*)
FROM campaigns_contact c JOIN campaigns_message m ON m.contact_id = c.id AND m.campaign_id = %(campaign)s
WHERE c.workspace_id = %(workspace)s AND c.opted_out_at >= %(since)s
  AND (m.state = ANY(%(sent)s) OR (m.state = 'skipped' AND m.reason = %(hold_out)s))
GROUP BY 1
"""


@dataclass(frozen=True, slots=True)
class Tally:
    """``reasons``: (state, reason) → messages. ``hours``: step → hour of the day or `UNKNOWN` → messages."""

    reasons: Counter[tuple[str, str]] = field(default_factory=Counter)
    hours: dict[str, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))


@dataclass(frozen=True, slots=True)
class Aftermath:
    """Of one group: how many people, and of them who wrote to any device and who opted out since the start."""

    people: int
    wrote: int
    left: int


def tally(campaign: Campaign, zone: ZoneInfo) -> Tally:
    """Reads each message of the campaign once."""
    found = Tally()
    values: dict[str, Any] = {"campaign": campaign.pk, "reasoned": list(REASONED), "sent": list(FIGURES["sent"])}
    with connection.cursor() as cursor:
        cursor.execute(ROWS_SQL, values)
        for state, why, *quarters, count in cursor.fetchall():
            if why is not None:
                found.reasons[state, why] += count
            for step, quarter in zip(STEPS, quarters, strict=True):
                if quarter is not None:
                    found.hours[step][hour_of(quarter, zone)] += count
    return found


def reasons_of(campaigns: Collection[int], streams: Collection[int] | None = None) -> Counter[tuple[int, str, str]]:
    """(campaign, state, reason) → messages that ended so; of these streams only, or of all. Ids."""
    values: dict[str, Any] = {"campaigns": list(campaigns), "reasoned": list(REASONED)}
    values["streams"] = None if streams is None else list(streams)
    with connection.cursor() as cursor:
        cursor.execute(REASONS_SQL, values)
        return Counter({(campaign, state, reason): count for campaign, state, reason, count in cursor.fetchall()})


def next_in_turn(
    campaign: Campaign, due: datetime, after: int, size: int, device: int | None, variant: int | None, state: str
) -> list[tuple[datetime, int]]:
    """The next remaining messages after (due, id), in the order in which they are due; ``state`` empty: any of them."""
    values: dict[str, Any] = {"campaign": campaign.pk, "due": due, "after": after, "size": size}
    with connection.cursor() as cursor:
        cursor.execute(TURNS_SQL, {**values, "device": device, "variant": variant, "state": state})
        return cursor.fetchall()


def reasons_in(campaign: Campaign, most: int) -> list[str]:
    """The different reasons that its messages have now, in the order of letters."""
    with connection.cursor() as cursor:
        cursor.execute(DIFFERENT_REASONS_SQL, {"campaign": campaign.pk, "most": most})
        return [reason for (reason,) in cursor.fetchall()]


def at_hour(step: str, hour: int, zone: ZoneInfo, since: datetime, until: datetime) -> Q:
    """That the step was made in this hour of the day, of messages annotated with ``hour``, the one of the step.

    Between the two instants it asks for times, which `messages_by_time` finds; before and after them by the clock.
    """
    at = f"{step}_at"
    end = quarter_of(until) + 1
    begin = max(quarter_of(since), end - MOST_QUARTERS)
    found = Q()
    own = [quarter for quarter in range(begin, end) if hour_of(quarter, zone) == str(hour)]
    for _, run in groupby(enumerate(own), lambda place: place[1] - place[0]):
        quarters = [quarter for _, quarter in run]
        found |= Q(**{f"{at}__gte": start_of(quarters[0]), f"{at}__lt": start_of(quarters[-1] + 1)})
    # Last, since PostgreSQL asks in this order, and to put a time on a clock takes it longest.
    return found | ((Q(**{f"{at}__lt": start_of(begin)}) | Q(**{f"{at}__gte": start_of(end)})) & Q(hour=hour))


def quarter_of(at: datetime) -> int:
    """Which quarter of an hour since 1970."""
    return (at - EPOCH) // QUARTER


def start_of(quarter: int) -> datetime:
    return EPOCH + quarter * QUARTER


def hour_of(quarter: int, zone: ZoneInfo) -> str:
    """Of quarters of an hour since 1970; below 0: unknown."""
    if quarter < 0:
        return UNKNOWN
    return str(start_of(quarter).astimezone(zone).hour)


def aftermath(campaign: Campaign, sent: int, held_out: int) -> tuple[Aftermath, Aftermath]:
    """Of those who got the campaign and those who were held out, both since it began."""
    values: dict[str, Any] = {
        "campaign": campaign.pk,
        "workspace": campaign.workspace_id,
        "since": campaign.launched_at,
        "sent": list(FIGURES["sent"]),
        "hold_out": HOLD_OUT,
    }
    with connection.cursor() as cursor:
        cursor.execute(WROTE_SQL, values)
        wrote = dict(cursor.fetchall())
        cursor.execute(LEFT_SQL, values)
        left = dict(cursor.fetchall())
    return (
        Aftermath(sent, wrote.get(False, 0), left.get(False, 0)),
        Aftermath(held_out, wrote.get(True, 0), left.get(True, 0)),
    )
