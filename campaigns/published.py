"""What an engine publishes in Redis for whoever looks in: how its devices, the lanes, the dead and the hosts stand.

Only pages and people read it; no decision does. Deleted, it is back within 30 s, what the dead died of within 40 s.
"""

from __future__ import annotations

import json
import logging
import time
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from redis import Redis
from redis.client import Pipeline
from redis.exceptions import ResponseError

from accounts.redis import hints
from campaigns.meters import DEVICE_KEY, KEPT_S, mean_of, p95_of
from campaigns.models import Lane
from campaigns.outbox.statement import rows_of
from campaigns.querysets.lanes import LANES_SQL
from campaigns.querysets.meters import CAUSES_SQL, DEAD_SQL, NOTHING, STANDING_SQL, Four, four

logger = logging.getLogger(__name__)

ROUND_S = 30  # within it every device is published once
CHANGED_AT_ONCE = 200
LANES_S, DEAD_S, STATUS_S = 2.0, 30.0, 5.0
DEAD_LOOK_S = 10.0
LANES_KEPT_S = 30
DEAD_KEPT_S = 120
CAUSES = 50
RESTS = 100  # counting the dead takes at most one part in so many of the time

LANE_KEY = "broadcast:queue:{}"
DEAD_KEY = "broadcast:queue:dead"
STATUS_KEY = "broadcast:workers:status"
TURN_KEY = "broadcast:turn:{}"  # of several engines one publishes what is the same for all
# For how long they last, the instant, and twelve fields of each device; what else lies under such a name makes room.
STANDING_LUA = """
local function put(name, ...)
    local answer = redis.pcall('HSET', name, ...)
    if type(answer) == 'table' and answer.err then
        redis.call('DEL', name)
        redis.call('HSET', name, ...)
    end
    redis.call('EXPIRE', name, ARGV[1])
end
for at = 3, #ARGV, 12 do
    put('DEVICE_KEY' .. ARGV[at], 'sent', ARGV[at + 1], 'failed', ARGV[at + 2],
        'delivered', ARGV[at + 3], 'replied', ARGV[at + 4], 'mean_ms', ARGV[at + 5], 'p95_ms', ARGV[at + 6],
        'at', ARGV[2])
    put('broadcast:ratelimit:device:' .. ARGV[at], 'next_send_at', ARGV[at + 7], 'hour_used', ARGV[at + 8],
        'hour_cap', ARGV[at + 9], 'day_used', ARGV[at + 10], 'day_cap', ARGV[at + 11], 'at', ARGV[2])
end
""".replace("DEVICE_KEY", DEVICE_KEY)
LANES = {Lane.CAMPAIGN: "campaign", Lane.SEQUENCE: "sequence"}
Latest = Mapping[int, Mapping[int, Sequence[int]]]  # minute since 1970 → device → sent, failed, delivered, replied


class Published:
    """``next_devices`` and ``wants_status`` belong to the event loop, ``publish`` to the meters' thread."""

    def __init__(self, host: str) -> None:
        self.host = host
        self._stale: dict[int, None] = {}  # counted since they were published, the longest first
        self._round: list[int] = []
        self._said_at = float("-inf")
        self._lanes_at = float("-inf")
        self._dead_at = self._recount_at = float("-inf")
        self._dead: dict[int | None, tuple[int, Counter[str]]] = {}  # campaign → its counter, and causes

    def next_devices(self, counted: Iterable[int], owned: Collection[int]) -> list[int]:
        """Those that changed, and of all the others so many that each has its turn within `ROUND_S`."""
        self._stale.update(dict.fromkeys(counted))
        chosen = dict.fromkeys(list(self._stale)[:CHANGED_AT_ONCE])
        if not self._round:
            self._round = list(owned)
        turns = -(-len(owned) // ROUND_S)
        chosen.update(dict.fromkeys(self._round[:turns]))
        del self._round[:turns]
        for device in chosen:
            self._stale.pop(device, None)
        return list(chosen)

    def wants_status(self) -> bool:
        wants = time.monotonic() >= self._said_at + STATUS_S
        if wants:
            self._said_at = time.monotonic()
        return wants

    def publish(self, devices: Collection[int], latest: Latest, minute: int, status: Mapping[str, Any] | None) -> None:
        """``minute`` runs; ``latest``: what this engine counted in it and in those before. Raises `RedisError`,
        `OSError`, or what PostgreSQL raises."""
        redis, now = hints(), time.time()
        with redis.pipeline(transaction=False) as line:
            if devices:
                starts = [datetime.fromtimestamp(earlier * 60, UTC).isoformat() for earlier in latest]
                rows = rows_of(STANDING_SQL, {"devices": list(devices), "minutes": starts})
                fields = [field for row in rows for field in _standing(row, latest, minute)]
                line.eval(STANDING_LUA, 0, KEPT_S, f"{now:.1f}", *fields)
            if status is not None:
                line.hset(STATUS_KEY, self.host, json.dumps({**status, "at": round(now)}))
                line.expire(STATUS_KEY, KEPT_S)
            _send(redis, line)
        if status is not None:
            _forget_hosts(redis, now)
        if time.monotonic() >= self._lanes_at + LANES_S:
            self._lanes_at = time.monotonic()
            if _has_turn(redis, "lanes", LANES_S):
                _publish_lanes(redis, now)
        if time.monotonic() >= self._dead_at:
            self._publish_dead(redis)

    def _publish_dead(self, redis: Redis) -> None:
        """By cause, counted anew for the campaigns whose number of dead has changed, and so seldom that it takes little
        of the time; between, those of them that are known keep their causes."""
        now = time.monotonic()
        self._dead_at = now + DEAD_LOOK_S
        if not _has_turn(redis, "dead", DEAD_S):
            return
        numbers: dict[int | None, int] = dict(rows_of(DEAD_SQL, {}))
        fresh = {campaign for campaign, number in numbers.items() if self._dead.get(campaign, (0,))[0] != number}
        if fresh and now >= self._recount_at:
            values = {"campaigns": [campaign for campaign in fresh if campaign is not None], "direct": None in fresh}
            causes: dict[int | None, Counter[str]] = {campaign: Counter() for campaign in fresh}
            for campaign, cause, count in rows_of(CAUSES_SQL, values):
                causes[campaign][cause] = count
            self._dead |= {campaign: (numbers[campaign], causes[campaign]) for campaign in fresh}
            self._recount_at = now + RESTS * (time.monotonic() - now)
        self._dead = {campaign: kept for campaign, kept in self._dead.items() if campaign in numbers}
        together: Counter[str] = sum((causes for _, causes in self._dead.values()), Counter())
        with redis.pipeline() as line:
            line.delete(DEAD_KEY)
            if together:
                line.hset(DEAD_KEY, mapping=dict(together.most_common(CAUSES)))
                line.expire(DEAD_KEY, DEAD_KEPT_S)
            line.execute()


def _standing(row: Sequence[Any], latest: Latest, now_minute: int) -> tuple[Any, ...]:
    """The arguments of `STANDING_LUA` for one device."""
    device, next_send_at, hour_used, hour_cap, day_used, day_cap, hour, day, *meters, time_ms, times, rolled = row
    known = {minute: counts for minute, *counts in rolled}
    own = {minute: counts for minute, rows in latest.items() if (counts := rows.get(device))}
    mine, there = own.get(now_minute - 1, NOTHING), known.get(now_minute - 1, NOTHING)
    this_hour = _with_latest(four(meters[:4]), own, known, hour)
    today = _with_latest(four(meters[4:]), own, known, day)
    mean_ms, p95_ms = mean_of(time_ms, times), p95_of(times)
    return (
        device,
        *(
            f'{{"minute":{max(mine[place], there[place])},"hour":{this_hour[place]},"day":{today[place]}}}'
            for place in range(4)
        ),
        "" if mean_ms is None else f"{mean_ms:.1f}",
        "" if p95_ms is None else f"{p95_ms:.1f}",
        datetime.fromtimestamp(next_send_at, UTC).isoformat(timespec="milliseconds"),
        hour_used,
        "" if hour_cap is None else hour_cap,
        day_used,
        "" if day_cap is None else day_cap,
    )


def _with_latest(
    rolled: Four, own: Mapping[int, Sequence[int]], known: Mapping[int, Sequence[int]], since: int
) -> list[int]:
    """The rolled-up counts since this instant, and what this engine counted since that is not among them."""
    counts = list(rolled)
    for minute, mine in own.items():
        if minute * 60 >= since:
            there = known.get(minute, NOTHING)
            counts = [count + max(0, a - b) for count, a, b in zip(counts, mine, there, strict=True)]
    return counts


def _send(redis: Redis, line: Pipeline) -> None:
    """What lies in the way under one of these names, and is no hash, makes room for the next time."""
    names = [args[1] for args, _ in line.command_stack]
    answers = line.execute(raise_on_error=False)
    wrong = {name for name, answer in zip(names, answers, strict=True) if isinstance(answer, ResponseError)}
    if wrong:
        redis.delete(*wrong)


def _has_turn(redis: Redis, what: str, seconds: float) -> bool:
    return bool(redis.set(TURN_KEY.format(what), 1, nx=True, px=int(seconds * 900)))


def _publish_lanes(redis: Redis, now: float) -> None:
    """As `campaigns.querysets.lanes` has it; ``oldest_due_s``: for how long the first of it has been due."""
    found = {lane: tuple(numbers) for lane, *numbers in rows_of(LANES_SQL, {})}
    with redis.pipeline(transaction=False) as line:
        for lane, name in LANES.items():
            depth, due, oldest = found.get(lane, (0, 0, 0.0))
            fields: dict[Any, Any] = {"depth": depth, "due": due, "oldest_due_s": round(oldest, 1), "at": round(now, 1)}
            line.hset(LANE_KEY.format(name), mapping=fields)
            line.expire(LANE_KEY.format(name), LANES_KEPT_S)
        _send(redis, line)


def _forget_hosts(redis: Redis, now: float) -> None:
    """Those that have said nothing for a minute."""
    gone = []
    for host, told in redis.hgetall(STATUS_KEY).items():
        try:
            at = float(json.loads(told)["at"])
        except (ValueError, TypeError, KeyError, RecursionError):
            at = 0.0
        if at < now - KEPT_S:
            gone.append(host)
    if gone:
        redis.hdel(STATUS_KEY, *gone)
