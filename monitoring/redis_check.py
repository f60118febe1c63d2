"""The Redis diagnosis for staff: what the environment says, whether a PING comes back, and what lies in the queues."""

from __future__ import annotations

import json
import os
import time
from dataclasses import asdict
from typing import Any
from urllib.parse import urlsplit

import redis
from django.conf import settings
from redis.exceptions import RedisError

from accounts.masking import mask_url
from accounts.redis import AWAY, CONNECTED
from campaigns.published import DEAD_KEY, LANE_KEY, LANES, STATUS_KEY
from devices.quarantine import quarantine, quarantined
from monitoring.health import redis_client

SCHEMES = ("redis", "rediss", "unix")
PLACEHOLDERS = ("${", "{{", "}}", "$(", "%(")
LOCAL_HOSTS = ("localhost", "::1", "0.0.0.0")  # noqa: S104 - compared with, never bound to
POISON_SHOWN = 20


def diagnosis() -> dict[str, Any]:
    """Everything `GET /api/system/redis-check` answers. ``latency_ms`` and what follows it are null without a PING."""
    url = settings.REDIS_URL
    found: dict[str, Any] = {
        "manager_type": "redis-embedded" if is_embedded() else "redis",
        "is_redis_enabled": False,
        "environment_vars": environment_vars(),
        "validation_checks": validation_checks(url),
        "final_redis_url": mask_url(url),
        "status": "unreachable",
        "message": AWAY,
        **dict.fromkeys(("latency_ms", "server", "queues", "quarantine", "lanes", "dead", "workers", "engines")),
    }
    try:
        with redis_client() as client:
            found |= {"latency_ms": latency_ms(client), "is_redis_enabled": True}
            found |= {"status": "connected", "message": CONNECTED, **contents(client)}
    except (RedisError, OSError, ValueError) as problem:
        told = "Redis answers, but not all of it could be read" if found["is_redis_enabled"] else AWAY
        found["message"] = f"{told} ({type(problem).__name__})"
    return found


def is_embedded() -> bool:
    """`./run` says so when it started the server itself, because then it sets REDIS_URL as well."""
    return bool(os.environ.get("REDIS_EMBEDDED"))


def environment_vars() -> dict[str, str | None]:
    """What a person set, masked; null is unset. The address of the embedded server nobody set."""
    given = {name: os.environ.get(name) or None for name in ("REDIS_URL", "REDISHOST", "REDISPORT", "REDIS_PASSWORD")}
    if is_embedded():
        given["REDIS_URL"] = None
    return given | {
        "REDIS_URL": mask_url(given["REDIS_URL"]) if given["REDIS_URL"] else None,
        "REDIS_PASSWORD": "***" if given["REDIS_PASSWORD"] else None,
    }


def validation_checks(url: str) -> dict[str, bool]:
    parts = urlsplit(url)
    host = parts.hostname or ""
    local = parts.scheme == "unix" or host in LOCAL_HOSTS or host.startswith("127.")
    return {
        "not_empty": bool(url),
        "no_template_vars": not any(mark in url for mark in PLACEHOLDERS),
        "not_localhost": not local,
        "has_redis_scheme": parts.scheme in SCHEMES,
    }


def latency_ms(client: redis.Redis) -> float:
    """Of one PING, on a connection that is already there."""
    client.ping()
    started = time.perf_counter()
    client.ping()
    return round((time.perf_counter() - started) * 1000, 3)


def contents(client: redis.Redis) -> dict[str, Any]:
    info: Any = client.info("server")
    dead: Any = client.hgetall(DEAD_KEY)
    engines: Any = client.hgetall(STATUS_KEY)
    return {
        "server": {
            "name": info.get("server_name", "redis"),
            "version": info.get("valkey_version") or info.get("redis_version"),
        },
        "queues": queues(client),
        "quarantine": {
            "count": quarantined(client),
            "latest": [asdict(poison) for poison in quarantine(client)[:POISON_SHOWN]],
        },
        "lanes": {lane: client.hgetall(LANE_KEY.format(lane)) for lane in LANES.values()},
        "dead": {cause: int(count) for cause, count in dead.items()},
        "workers": workers(client),
        "engines": {host: json.loads(status) for host, status in engines.items()},
    }


def queues(client: redis.Redis) -> dict[str, dict[str, int]]:
    """Waiting and failed jobs by queue: the installation's, and those of the hosts, which exist while they run.

    What lies there and is no queue counts as an empty one.
    """
    listed: Any = client.smembers("rq:queues")
    names = sorted({*settings.RQ_QUEUES, *(key.removeprefix("rq:queue:") for key in listed)})
    line = client.pipeline(transaction=False)
    for name in names:
        line.llen(f"rq:queue:{name}")
        line.zcard(f"rq:failed:{name}")
    counts: Any = line.execute(raise_on_error=False)
    numbers = iter([count if isinstance(count, int) else 0 for count in counts])
    return {name: {"waiting": next(numbers), "failed": next(numbers)} for name in names}


def workers(client: redis.Redis) -> list[dict[str, Any]]:
    """RQ's workers: the forking ones and the engines' own."""
    keys: Any = client.smembers("rq:workers")
    line = client.pipeline(transaction=False)
    for key in sorted(keys):
        line.hmget(key, "state", "queues", "last_heartbeat")
    return [
        {"name": key.removeprefix("rq:worker:"), "state": state, "queues": named.split(","), "last_heartbeat": beat}
        for key, (state, named, beat) in zip(sorted(keys), line.execute(), strict=True)
        if named  # the key of a dead worker has run out
    ]
