"""Buckets in Redis: what one engine counted in one minute, by device, until the roll-up has it in PostgreSQL.

A bucket's values are absolute, so writing it again changes nothing. An index names the buckets, with the instant at
which each was last written; beside it stands which of them were rolled up as of which instant.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple, Self

from redis import Redis

from campaigns.models.meter import TIME_BOUNDS_MS

INDEX = "broadcast:meters"
ROLLED = "broadcast:meters:rolled"
WRITTEN = "broadcast:meters:written"  # host → when it last wrote all it had counted
KEPT_S = 3600

# A row: sent, failed, delivered, replied, the processing times' sum in ms, and their classes.
TIME_MS, TIMES = 4, 5
WIDTH = TIMES + len(TIME_BOUNDS_MS) + 1
PACKED = struct.Struct(f"<4IQ{WIDTH - TIMES}I")
Row = Sequence[int]


class Bucket(NamedTuple):
    """``minute``: since 1970."""

    minute: int
    host: str
    incarnation: int

    @property
    def key(self) -> str:
        return f"{INDEX}:{self.minute}:{self.host}:{self.incarnation}"

    @classmethod
    def named(cls, key: bytes) -> Self | None:
        """None for a name that no engine gave."""
        try:
            minute, rest = key.decode().removeprefix(f"{INDEX}:").split(":", 1)
            host, incarnation = rest.rsplit(":", 1)
            return cls(int(minute), host, int(incarnation))
        except ValueError:
            return None


def write(redis: Redis, host: str, buckets: Mapping[Bucket, Sequence[tuple[int, bytes]]], now: float) -> None:
    """Write these devices' packed rows, and that the host has written all it had counted by ``now``; one round trip.

    Raises `RedisError` or `OSError`: then some of it may be written.
    """
    with redis.pipeline(transaction=False) as line:
        for bucket, rows in buckets.items():
            fields: list[bytes | int] = []
            for row in rows:
                fields += row
            line.execute_command("HSET", bucket.key, *fields)
            line.expire(bucket.key, KEPT_S)
        if buckets:
            line.zadd(INDEX, {bucket.key: now for bucket in buckets})
            line.zremrangebyscore(INDEX, "-inf", now - KEPT_S)
            line.zremrangebyscore(ROLLED, "-inf", now - KEPT_S)
        line.hset(WRITTEN, host, str(now))
        line.execute()


def missing(redis: Redis, buckets: Sequence[Bucket]) -> list[Bucket]:
    """Those of them that Redis has lost."""
    if not buckets:
        redis.ping()
        return []
    scores = redis.zmscore(INDEX, [bucket.key for bucket in buckets])
    return [bucket for bucket, score in zip(buckets, scores, strict=True) if score is None]


def last_written(redis: Redis, hosts: Iterable[str]) -> float:
    """The instant by which each of these hosts had written all it had counted; 0.0 where one never did."""
    asked = list(hosts)
    told = redis.hmget(WRITTEN, asked) if asked else []
    return min((float(at) if at else 0.0 for at in told), default=float("inf"))


def not_rolled(redis: Redis, before: int) -> dict[int, dict[Bucket, float]]:
    """The minutes before this one of which a bucket was written since it was rolled up, each with all its buckets and
    when they were written."""
    with redis.pipeline(transaction=False) as line:
        line.zrange(INDEX, 0, -1, withscores=True)
        line.zrange(ROLLED, 0, -1, withscores=True)
        written, rolled = (dict(pairs) for pairs in line.execute())
    found: dict[int, dict[Bucket, float]] = {}
    fresh: set[int] = set()
    for key, at in written.items():
        bucket = Bucket.named(key)
        if bucket is not None and bucket.minute < before:
            found.setdefault(bucket.minute, {})[bucket] = at
            if rolled.get(key) != at:
                fresh.add(bucket.minute)
    return {minute: found[minute] for minute in sorted(fresh)}


def rolled_up(redis: Redis, buckets: Mapping[Bucket, float]) -> None:
    """Remember that what was in these buckets at these instants is in PostgreSQL."""
    redis.zadd(ROLLED, {bucket.key: at for bucket, at in buckets.items()})


def read(redis: Redis, buckets: Iterable[Bucket]) -> dict[int, list[int]]:
    """Device → its row, summed over these buckets; what no engine can have written is passed over."""
    with redis.pipeline(transaction=False) as line:
        for bucket in buckets:
            line.hgetall(bucket.key)
        found: dict[int, list[int]] = {}
        for fields in line.execute():
            for name, packed in fields.items():
                try:
                    device, row = int(name), PACKED.unpack(packed)
                except (ValueError, struct.error):
                    continue
                known = found.get(device)
                found[device] = list(row) if known is None else [a + b for a, b in zip(known, row, strict=True)]
    return found
