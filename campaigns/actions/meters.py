"""Meters: rolled up from Redis into minutes, hours and days, and pruned when they are old."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

from django.db import connection, transaction
from redis.exceptions import RedisError

from accounts.redis import hints
from campaigns import meter_buckets
from campaigns.meter_buckets import TIME_MS, TIMES
from campaigns.models import DayMeter, HourMeter, MinuteMeter
from campaigns.models.meter import TIME_BOUNDS_MS, Meter
from campaigns.outbox.statement import array, rows_of
from campaigns.querysets.meters import WORDS

logger = logging.getLogger(__name__)

ONE_AT_A_TIME = 7_061_201  # the advisory lock's number
KEPT: dict[type[Meter], timedelta] = {
    MinuteMeter: timedelta(hours=6),
    HourMeter: timedelta(days=93),
    DayMeter: timedelta(days=731),
}
PRUNED_AT_ONCE = 10_000
PRUNED_AT_MOST = 50  # batches of each kind in one run

COUNTS = (*WORDS, "time_ms")


def _each(pattern: str) -> str:
    """The pattern for every class of processing times; {n} counts from 1, as PostgreSQL does."""
    return "ARRAY[" + ", ".join(pattern.format(n=n) for n in range(1, len(TIME_BOUNDS_MS) + 2)) + "]"


def _added(table: str, start: str) -> str:
    """Adds what minutes have risen by to a longer meter."""
    return f"""
    INSERT INTO {table} AS m (workspace_id, device_id, start, {", ".join(COUNTS)}, times)
    SELECT workspace_id, device_id, {start}, {", ".join(f"sum({count})" for count in COUNTS)},
           {_each("sum(times[{n}])::int")}
    FROM risen GROUP BY workspace_id, device_id, {start} ORDER BY device_id, {start}
    ON CONFLICT (workspace_id, start, device_id) DO UPDATE SET
        {", ".join(f"{count} = m.{count} + excluded.{count}" for count in COUNTS)},
        times = {_each("m.times[{n}] + excluded.times[{n}]")}"""  # noqa: S608 - its parts are constants of this module


# Minutes never fall: a bucket that was lost, and comes back with less in it, takes nothing away. Hours and days get
# exactly what minutes rose by, so that all agree.
ROLL_UP_SQL = f"""
WITH told AS MATERIALIZED (
    SELECT d.workspace_id, d.id AS device_id, t.start,
           date_trunc('hour', t.start, w.timezone) AS hour, date_trunc('day', t.start, w.timezone) AS day,
           {", ".join(f"t.{count}" for count in COUNTS)}, t.times::int[] AS times
    FROM unnest(%(devices)s::bigint[], %(starts)s::timestamptz[], %(sent)s::int[], %(failed)s::int[],
                %(delivered)s::int[], %(replied)s::int[], %(time_ms)s::bigint[], %(times)s::text[])
        AS t(device_id, start, {", ".join(COUNTS)}, times)
    JOIN devices_device d ON d.id = t.device_id
    JOIN accounts_workspace w ON w.id = d.workspace_id
    ORDER BY d.id, t.start
    FOR KEY SHARE OF d
),
risen AS MATERIALIZED (
    SELECT t.workspace_id, t.device_id, t.start, t.hour, t.day,
           {", ".join(f"greatest(0, t.{count} - coalesce(m.{count}, 0)) AS {count}" for count in COUNTS)},
           {_each("greatest(0, t.times[{n}] - coalesce(m.times[{n}], 0))")} AS times
    FROM told t
    LEFT JOIN campaigns_minutemeter m USING (workspace_id, start, device_id)
    WHERE m.id IS NULL OR (t.sent, t.failed, t.delivered, t.replied, t.time_ms)
                       <> (m.sent, m.failed, m.delivered, m.replied, m.time_ms)
),
minutes AS (
    {_added("campaigns_minutemeter", "start")}
),
hours AS (
    {_added("campaigns_hourmeter", "hour")}
),
days AS (
    {_added("campaigns_daymeter", "day")}
),
totals AS (
    INSERT INTO campaigns_metertotal AS m (workspace_id, device_id, sent, failed, delivered, replied, ahead)
    SELECT workspace_id, device_id, sum(sent), sum(failed), sum(delivered), sum(replied), '{{0,0,0,0}}'
    FROM risen GROUP BY workspace_id, device_id ORDER BY device_id
    ON CONFLICT (workspace_id, device_id) DO UPDATE SET
        sent = m.sent + excluded.sent, failed = m.failed + excluded.failed,
        delivered = m.delivered + excluded.delivered, replied = m.replied + excluded.replied
)
SELECT count(*) FROM risen
"""  # noqa: S608


def roll_up() -> int:
    """Bring what engines counted in complete minutes from Redis into PostgreSQL; returns how many meters rose.

    Safe to repeat, and on any number of clocks. Buckets that were written again since are read again. With Redis away
    there is nothing to roll up: engines keep what they counted.
    """
    try:
        return roll_up_or_raise()
    except (RedisError, OSError) as error:
        logger.warning("Meters wait for Redis: %s", type(error).__name__)
        return 0


def roll_up_or_raise(*, all_of_it: bool = False) -> int:
    """As `roll_up`, but raises `RedisError` or `OSError`. ``all_of_it``: the minute that runs, too."""
    redis = hints()
    minute = int(time.time()) // 60
    risen = 0
    for start, buckets in meter_buckets.not_rolled(redis, minute + 2 if all_of_it else minute).items():
        risen += _write(start, meter_buckets.read(redis, buckets))
        meter_buckets.rolled_up(redis, buckets)
    return risen


@transaction.atomic
def _write(minute: int, rows: Mapping[int, list[int]]) -> int:
    if not rows:
        return 0
    start = datetime.fromtimestamp(minute * 60, UTC).isoformat()
    counts = zip(*(row[: TIME_MS + 1] for row in rows.values()), strict=True)
    values = {
        "devices": list(rows),
        "starts": [start] * len(rows),
        **{count: list(column) for count, column in zip(COUNTS, counts, strict=True)},
        "times": [array(row[TIMES:]) for row in rows.values()],
    }
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(%s)", [ONE_AT_A_TIME])
    [(risen,)] = rows_of(ROLL_UP_SQL, values)
    return int(risen)


def prune_meters() -> int:
    """Delete minutes after six hours, hours after three months and days after two years; returns how many rows.

    In batches, each a transaction of its own; what is left over waits for the next run.
    """
    return sum(_prune(meter, kept) for meter, kept in KEPT.items())


def _prune(meter: type[Meter], kept: timedelta) -> int:
    table = meter._meta.db_table
    oldest = datetime.now(UTC) - kept
    pruned = 0
    for _ in range(PRUNED_AT_MOST):
        with connection.cursor() as cursor:
            cursor.execute(
                f"DELETE FROM {table} WHERE id IN ("  # noqa: S608 - a table of ours
                f"SELECT id FROM {table} WHERE start < %s LIMIT %s FOR UPDATE SKIP LOCKED)",
                [oldest, PRUNED_AT_ONCE],
            )
            gone = cursor.rowcount
        pruned += gone
        if gone < PRUNED_AT_ONCE:
            break
    return pruned
