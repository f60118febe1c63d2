"""The statements about messages that a person or a policy decides on: the dead, and those nobody knows about."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple

from django.db import connection

from accounts.models import Workspace
from campaigns.engine import outcome
from campaigns.engine.lifecycle import DEAD, GIVEN_UP, GIVEN_UP_UNSURE, UNCERTAIN
from campaigns.models import Campaign
from devices.models import Device


@dataclass(frozen=True, slots=True)
class Selection:
    """The dead, or the uncertain, messages that a list showed at the instant ``until`` (PostgreSQL's clock).

    Only messages that were in that state by then: what was brought back and died again since is not meant, however
    often the same request arrives. ``device``, ``reason`` and ``messages`` (ids) narrow it; ``devices`` (ids) and
    ``reasons``, too. ``sendable``: only what could be sent again, or only what could not, as its person was deleted
    or erased, or its time has passed.

    Without a campaign it is about tests and replies of ``workspace``, which belong to none.
    """

    campaign: Campaign | None
    until: datetime
    device: Device | None = None
    reason: str | None = None
    messages: Collection[int] | None = None
    devices: Collection[int] | None = None
    reasons: Collection[str] | None = None
    sendable: bool | None = None
    workspace: Workspace | None = None

    @property
    def device_ids(self) -> list[int] | None:
        if self.device is not None:
            return [self.device.pk]
        return None if self.devices is None else list(self.devices)

    @property
    def reason_list(self) -> list[str] | None:
        if self.reason is not None:
            return [self.reason]
        return None if self.reasons is None else list(self.reasons)


# Nothing of a campaign goes to whoever was deleted from the contacts. Of an erased person nobody knows the number.
GONE = "m.contact_id IS NULL AND (m.campaign_id IS NOT NULL OR m.phone = '')"
SENDABLE = f"NOT ({GONE}) AND (s.expires_at IS NULL OR s.expires_at > now())"

OF_CAMPAIGN = "s.campaign_id = %(campaign)s AND m.campaign_id = %(campaign)s"
OF_NONE = "s.workspace_id = %(workspace)s AND s.campaign_id IS NULL"
# Whoever runs these has locked the streams. Messages are read as of their lock, and locked by id.
CHOSEN_SQL = f"""
    FROM {{found}}
    WHERE {OF_CAMPAIGN} AND m.state = '{{was}}' AND {{since}} <= %(until)s
      AND (%(devices)s::bigint[] IS NULL OR s.device_id = ANY(%(devices)s::bigint[]))
      AND (%(reasons)s::text[] IS NULL OR m.reason = ANY(%(reasons)s::text[]))
      AND (%(messages)s::bigint[] IS NULL OR m.id = ANY(%(messages)s::bigint[]))
      AND (%(sendable)s::bool IS NULL OR ({SENDABLE}) = %(sendable)s)
      AND {{may}}"""
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
# Nobody knows whether the last attempt of a message that so many gateways died with got through.
DIED_WITH_GATEWAYS = f"m.deaths >= {outcome.DEATHS} AND m.reason LIKE '{outcome.GATEWAY_DIED}%%'"

GONE_SQL = """
SELECT stream_id, count(*) FILTER (WHERE state = 'dead'), count(*) FILTER (WHERE state = 'uncertain')
FROM campaigns_message WHERE campaign_id = %s AND contact_id IS NULL AND state IN ('dead', 'uncertain')
GROUP BY stream_id
"""

# The claim would journal the last attempt, too, but by then the message has lost its reason.
KEPT_SQL = """
kept AS (
    INSERT INTO campaigns_attempt (workspace_id, message_id, number, device_id, tag, epoch, started_at, outcome)
    SELECT workspace_id, id, attempts, device_id, tag, epoch, attempted_at, reason FROM old WHERE tag IS NOT NULL
    ON CONFLICT (message_id, number) DO NOTHING
),"""
# Of the old ones, ``becomes`` is what each message is now, and ``counts`` where its stream counts it.
MOVE_SQL = """
WITH {old},{kept}
moved AS (
    UPDATE campaigns_message m SET {becomes}
    FROM old WHERE m.id = old.id
    RETURNING m.id, m.stream_id
),
resolved AS (
    DELETE FROM campaigns_uncertain u USING moved WHERE u.message_id = moved.id
),
counted AS (
    UPDATE campaigns_stream s SET
        "{was}" = s."{was}" - n.n,
        {counts}
    FROM (SELECT stream_id, count(*) AS n FROM moved GROUP BY stream_id) n
    WHERE s.id = n.stream_id
)
SELECT count(*) FROM moved
"""


def _move_sql(was: str, becomes: str, counts: str, *, doubtful: str, may: str = "true", kept: str = KEPT_SQL) -> str:
    since, found = (DEAD_SINCE, DEAD_ROWS) if was == DEAD else ("u.since", UNCERTAIN_ROWS)
    old = OLD_SQL.format(was=was, since=since, found=found, doubtful=doubtful, may=may)
    return MOVE_SQL.format(old=old, was=was, becomes=becomes, counts=counts, kept=kept)


def _bring_back_sql(was: str, deaths: str, doubtful: str) -> str:
    becomes = f"""
        state = 'pending', reason = '', due_at = now(), tries = 0, refusals = 0, wire_id = NULL,
        may_duplicate = m.may_duplicate OR old.doubtful, deaths = {deaths}"""
    counts = """pending = s.pending + n.n,
        next_id = CASE WHEN s.next_due < now() THEN s.next_id ELSE 0 END,
        next_due = least(s.next_due, now())"""
    return _move_sql(was, becomes, counts, doubtful=doubtful, may=SENDABLE)


def _give_up_sql(was: str, reason: str, doubtful: str) -> str:
    """What it failed with is kept with its attempt."""
    becomes = f"state = 'cancelled', reason = '{reason}'"
    return _move_sql(was, becomes, "cancelled = s.cancelled + n.n", doubtful=doubtful)


RETRY_SQL = _bring_back_sql(DEAD, deaths="0", doubtful=DIED_WITH_GATEWAYS)
# The message itself may be what kills gateways: its deaths stay counted.
SEND_AGAIN_SQL = _bring_back_sql(UNCERTAIN, deaths="m.deaths", doubtful="true")
GIVE_UP_DEAD_SQL = _give_up_sql(DEAD, GIVEN_UP, doubtful="false")
# Who may have got it all the same is not taken for somebody who did not.
GIVE_UP_UNCERTAIN_SQL = _give_up_sql(UNCERTAIN, GIVEN_UP_UNSURE, doubtful="true")
ASSUME_SQL = _move_sql(UNCERTAIN, "state = 'assumed'", "assumed = s.assumed + n.n", doubtful="true", kept="")

# By the counters; those whose person was deleted or erased since are found by having none.
COUNT_ALL_DEAD_SQL = """
SELECT coalesce(sum(s.dead), 0) - (
    SELECT count(*) FROM campaigns_message m JOIN campaigns_stream s ON s.id = m.stream_id
    WHERE m.campaign_id = %(campaign)s AND m.contact_id IS NULL AND m.state = 'dead'
      AND (s.expires_at IS NULL OR s.expires_at > now())
      AND (%(devices)s::bigint[] IS NULL OR s.device_id = ANY(%(devices)s::bigint[]))
)
FROM campaigns_stream s
WHERE s.campaign_id = %(campaign)s AND (s.expires_at IS NULL OR s.expires_at > now())
  AND (%(devices)s::bigint[] IS NULL OR s.device_id = ANY(%(devices)s::bigint[]))
"""
COUNT_DEAD_SQL = f"SELECT count(*){CHOSEN_SQL}".format(was=DEAD, since=DEAD_SINCE, found=DEAD_ROWS, may=SENDABLE)
DEAD_IDS_SQL = f"SELECT s.device_id, m.contact_id, m.id{CHOSEN_SQL} ORDER BY m.id".format(
    was=DEAD, since=DEAD_SINCE, found=DEAD_ROWS, may=SENDABLE
)
# By campaign, device and reason, with whether it could be sent again. Each campaign by its index of reasons, which
# knows none of all those that left at the first try.
DEAD_BY_REASON = """
SELECT c.id, d.device_id, d.reason, d.sendable, d.n
FROM unnest(%(campaigns)s::bigint[]) AS c(id)
CROSS JOIN LATERAL (
    SELECT s.device_id, m.reason, {sendable} AS sendable, count(*) AS n
    FROM campaigns_message m JOIN campaigns_stream s ON s.id = m.stream_id
    WHERE m.campaign_id = c.id AND m.reason <> '' AND m.state = 'dead'
    GROUP BY 1, 2, 3
    OFFSET 0
) d
UNION ALL
SELECT NULL, s.device_id, m.reason, {sendable}, count(*)
FROM campaigns_stream s JOIN campaigns_message m ON m.stream_id = s.id AND m.state = 'dead'
WHERE s.id = ANY(%(direct)s::bigint[])
GROUP BY 2, 3, 4
"""
DEAD_BY_REASON_SQL = DEAD_BY_REASON.format(sendable=SENDABLE)
# The next people of several kinds of dead messages, each kind by the index of reasons; tests and replies by their
# streams, which are short. ``{named}`` is what that index asks for.
DEAD_PEOPLE_SQL = """
SELECT k.place, m.id, m.contact_id
FROM unnest(%(places)s::int[], %(campaigns)s::bigint[], %(devices)s::bigint[], %(reasons)s::text[],
            %(sendable)s::bool[], %(contacts)s::bigint[], %(erased)s::bigint[])
    AS k(place, campaign_id, device_id, reason, sendable, contact, erased)
CROSS JOIN LATERAL (
    (SELECT m.id, m.contact_id FROM campaigns_message m JOIN campaigns_stream s ON s.id = m.stream_id
     WHERE m.campaign_id = k.campaign_id AND m.reason = k.reason {named} AND m.state = 'dead'
       AND s.device_id = k.device_id AND ({sendable}) = k.sendable AND m.contact_id > k.contact
     ORDER BY m.contact_id LIMIT %(size)s)
    UNION ALL
    (SELECT m.id, NULL FROM campaigns_message m JOIN campaigns_stream s ON s.id = m.stream_id
     WHERE m.campaign_id = k.campaign_id AND m.reason = k.reason {named} AND m.state = 'dead'
       AND s.device_id = k.device_id AND ({sendable}) = k.sendable AND m.contact_id IS NULL AND m.id > k.erased
     ORDER BY m.id LIMIT %(size)s)
    UNION ALL
    (SELECT m.id, NULL FROM campaigns_stream s JOIN campaigns_message m ON m.stream_id = s.id
     WHERE k.campaign_id IS NULL AND s.device_id = k.device_id AND s.campaign_id IS NULL AND m.state = 'dead'
       AND m.reason = k.reason AND ({sendable}) = k.sendable AND m.id > k.erased
     ORDER BY m.id LIMIT %(size)s)
) m
ORDER BY k.place, m.contact_id NULLS LAST, m.id
LIMIT %(size)s
"""


def gone_at(campaign: Campaign) -> dict[int, tuple[int, int]]:
    """Stream → how many of its dead and of its uncertain messages are of people deleted or erased since: never sent."""
    with connection.cursor() as cursor:
        cursor.execute(GONE_SQL, [campaign.pk])
        return {stream: (dead, uncertain) for stream, dead, uncertain in cursor.fetchall()}


def count_dead(selection: Selection) -> int:
    """How many `retry_dead` would bring back, if all that is dead now had been shown."""
    narrowed = selection.reason_list is not None or selection.messages is not None
    return _run(COUNT_DEAD_SQL if narrowed else COUNT_ALL_DEAD_SQL, selection)


def retry_dead(selection: Selection) -> int:
    """Make these dead messages claimable again; returns how many."""
    return _run(RETRY_SQL, selection)


def send_uncertain_again(selection: Selection) -> int:
    """Make these uncertain messages claimable again, marked as possible duplicates; returns how many."""
    return _run(SEND_AGAIN_SQL, selection)


def give_up_dead(selection: Selection) -> int:
    """These dead messages are never tried again; returns how many."""
    return _run(GIVE_UP_DEAD_SQL, selection)


def give_up_uncertain(selection: Selection) -> int:
    """Nobody waits for a proof of these any more, and they are not sent again; returns how many."""
    return _run(GIVE_UP_UNCERTAIN_SQL, selection)


def people_of_dead(selection: Selection) -> list[tuple[int, int | None, int]]:
    """(device, contact, message) of each that `retry_dead` would bring back."""
    with connection.cursor() as cursor:
        cursor.execute(DEAD_IDS_SQL, _values(selection))
        return [(device, contact, message) for device, contact, message in cursor.fetchall()]


def dead_by_reason(campaigns: Collection[int], direct: Collection[int]) -> list[tuple[int | None, int, str, bool, int]]:
    """(campaign, device, reason, whether it could be sent again, how many) of these campaigns and direct streams.

    Those that died without a reason are found by the counters of campaigns only.
    """
    with connection.cursor() as cursor:
        cursor.execute(DEAD_BY_REASON_SQL, {"campaigns": list(campaigns), "direct": list(direct)})
        return [(campaign, device, reason, may, n) for campaign, device, reason, may, n in cursor.fetchall()]


START = (0, 0)
LAST = 2**62  # after every contact


class Kind(NamedTuple):
    """Dead messages that are alike; ``after``: the contact, and the message of an erased person, to begin after."""

    place: int
    campaign: int | None
    device: int
    reason: str
    sendable: bool
    after: tuple[int, int]


def dead_people(kinds: Sequence[Kind], size: int, *, named: bool) -> list[tuple[int, int, int | None]]:
    """(place of its kind, message, contact) of the next ones; ``named``: whether the kinds have reasons."""
    statement = DEAD_PEOPLE_SQL.format(named="AND m.reason <> ''" if named else "", sendable=SENDABLE)
    values: dict[str, Any] = {
        "places": [kind.place for kind in kinds],
        "campaigns": [kind.campaign for kind in kinds],
        "devices": [kind.device for kind in kinds],
        "reasons": [kind.reason for kind in kinds],
        "sendable": [kind.sendable for kind in kinds],
        "contacts": [kind.after[0] for kind in kinds],
        "erased": [kind.after[1] for kind in kinds],
        "size": size,
    }
    with connection.cursor() as cursor:
        cursor.execute(statement, values)
        return [(place, message, contact) for place, message, contact in cursor.fetchall()]


def assume_uncertain_sent(selection: Selection) -> int:
    """Count these uncertain messages as sent; returns how many."""
    return _run(ASSUME_SQL, selection)


def _run(statement: str, selection: Selection) -> int:
    if selection.campaign is None:
        statement = statement.replace(OF_CAMPAIGN, OF_NONE)
    with connection.cursor() as cursor:
        cursor.execute(statement, _values(selection))
        return int(cursor.fetchone()[0])


def _values(selection: Selection) -> dict[str, Any]:
    return {
        "campaign": selection.campaign.pk if selection.campaign else None,
        "workspace": selection.workspace.pk if selection.workspace else None,
        "until": selection.until,
        "devices": selection.device_ids,
        "reasons": selection.reason_list,
        "messages": None if selection.messages is None else list(selection.messages),
        "sendable": selection.sendable,
    }
