"""What Redis says: whether it keeps what is written, carries live updates, and how long work waits in it."""

from __future__ import annotations

import asyncio
import secrets
import time
from datetime import UTC, datetime
from typing import Any

from channels_redis.pubsub import RedisPubSubChannelLayer
from django.conf import settings
from redis.exceptions import RedisError

from monitoring.checkup.parts import BAD, OK, WARN, Finding
from monitoring.health import redis_client

PROBE = "flotilla:probe"
CROWDED, FULL = 0.85, 0.95
ROUND_TRIP_S = 1.0
# Seconds after which the oldest job of a queue waits too long: (a look, bad). Files are worked off one by one.
PATIENCE_S = {"clock": (60, 300), "planning": (60, 300), "webhooks": (120, 600)}
PATIENCE_FOR_FILES_S = (900, 3600)


def server() -> Finding:
    """Raises RedisError or OSError while it is away."""
    with redis_client() as client:
        started = time.perf_counter()
        written = secrets.token_hex(8)
        try:
            client.set(f"{PROBE}:{written}", written, ex=10)
            kept = client.get(f"{PROBE}:{written}") == written
            refusal = ""
        except RedisError as problem:
            client.ping()  # away: raises what `server` raises
            kept, refusal = False, type(problem).__name__
        ms = (time.perf_counter() - started) * 1000
        info: Any = client.info()
    return judged(info, ms, kept, refusal)


def judged(info: dict[str, Any], ms: float, kept: bool, refusal: str = "") -> Finding:
    used, most = int(info.get("used_memory", 0)), int(info.get("maxmemory", 0))
    policy, aof = info.get("maxmemory_policy", "noeviction"), bool(int(info.get("aof_enabled", 0)))
    value = ", ".join(
        [
            f"{info.get('server_name', 'redis')} {info.get('valkey_version') or info.get('redis_version')}",
            f"{ms:.1f} ms",
            f"{used / 1e6:.0f} MB of {f'{most / 1e6:.0f} MB' if most else 'no limit'}",
            f"policy {policy}",
            f"append-only file {'on' if aof else 'off'}",
        ]
    )
    if not kept:
        return Finding("redis", BAD, "Redis takes nothing.", f"{value}; {refusal or 'what was written is not there'}")
    if aof and info.get("aof_last_write_status", "ok") != "ok":
        return Finding("redis", BAD, "Redis can't write to its disk.", value)
    if most and used > FULL * most:
        return Finding("redis", BAD, "Redis is full.", value)
    if most and used > CROWDED * most:
        return Finding("redis", WARN, "Redis is nearly full.", value)
    if most and policy != "noeviction":
        return Finding("redis", WARN, "Redis may throw work away when it is full.", f"{value}; set noeviction")
    return Finding("redis", OK, "Programs hear of each other at once.", value)


def live() -> Finding:
    """A message really goes round, through the layer that sockets use."""
    ms = asyncio.run(round_trip()) * 1000
    return Finding("live", OK, "Pages update by themselves.", f"a message went round in {ms:.1f} ms")


async def round_trip() -> float:
    """Seconds. Raises TimeoutError, RedisError or OSError when it does not come back."""
    layers: Any = settings.CHANNEL_LAYERS
    layer = RedisPubSubChannelLayer(**layers["default"]["CONFIG"])
    async with asyncio.timeout(ROUND_TRIP_S):
        try:
            channel = await layer.new_channel()
            started = time.perf_counter()
            await layer.send(channel, {"type": "probe"})
            await layer.receive(channel)
            return time.perf_counter() - started
        finally:
            await layer.flush()


def queues() -> Finding:
    with redis_client() as client:
        waits = waiting(client)
    late = {name: seconds for name, seconds in waits.items() if seconds > patience(name)[0]}
    worst = any(seconds > patience(name)[1] for name, seconds in waits.items())
    value = ", ".join(f"{name} {seconds:.0f} s" for name, seconds in waits.items()) or "no job waits"
    if worst:
        return Finding("queues", BAD, "Work waits for far too long.", value)
    if late:
        return Finding("queues", WARN, "Work waits for its turn longer than usual.", value)
    return Finding("queues", OK, "Nothing waits for long.", value)


def patience(queue: str) -> tuple[int, int]:
    return PATIENCE_S.get(queue, PATIENCE_FOR_FILES_S)


def waiting(client: Any) -> dict[str, float]:
    """For how many seconds the first job of each queue has waited; queues without one, or with poison, are left out."""
    names = list(settings.RQ_QUEUES)
    line = client.pipeline(transaction=False)
    for name in names:
        line.lindex(f"rq:queue:{name}", 0)
    firsts = {name: job for name, job in zip(names, line.execute(), strict=True) if job}
    for job in firsts.values():
        line.hget(f"rq:job:{job}", "enqueued_at")
    since = zip(firsts, line.execute(raise_on_error=False), strict=True)
    ages = {name: age(at) for name, at in since}
    return {name: seconds for name, seconds in ages.items() if seconds is not None}


def age(at: Any) -> float | None:
    try:
        parsed = datetime.fromisoformat(at.replace("Z", "+00:00"))
    except (AttributeError, ValueError):
        return None
    return max(0.0, time.time() - (parsed if parsed.tzinfo else parsed.replace(tzinfo=UTC)).timestamp())
