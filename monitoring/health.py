"""Whether this installation can serve: the database, its schema, the wall between workspaces; and how Redis is."""

from __future__ import annotations

import redis
from django.conf import settings
from django.db import Error, connection
from django.db.migrations.executor import MigrationExecutor
from redis.backoff import NoBackoff
from redis.exceptions import RedisError
from redis.retry import Retry

from accounts.tenancy import look_for_tenant_role

REDIS_TIMEOUT_S = 1.0
NEEDED = {"database": "ok", "migrations": "applied", "wall": "up"}

_known = {"migrated": False}


def readiness() -> dict[str, str]:
    """One word for each part. Pages work when every part of `NEEDED` says its word; Redis is told, not needed."""
    found = {"database": "ok", "migrations": "unknown", "wall": "unknown"}
    try:
        found["wall"] = "up" if look_for_tenant_role() else "down"
        found["migrations"] = "applied" if is_migrated() else "missing"
    except Error:
        found["database"] = "away"
    return found | {"redis": "connected" if redis_answers() else "away"}


def is_ready(found: dict[str, str]) -> bool:
    return all(found[part] == word for part, word in NEEDED.items())


def is_migrated() -> bool:
    """Only a yes is remembered: this process's migrations don't change, the database's only grow."""
    if not _known["migrated"]:
        executor = MigrationExecutor(connection)
        _known["migrated"] = not executor.migration_plan(executor.loader.graph.leaf_nodes())
    return _known["migrated"]


def redis_client() -> redis.Redis:
    """A client that says soon when Redis is away, instead of trying again: somebody waits for the answer."""
    return redis.Redis.from_url(
        settings.REDIS_URL,
        socket_timeout=REDIS_TIMEOUT_S,
        socket_connect_timeout=REDIS_TIMEOUT_S,
        retry=Retry(NoBackoff(), 0),
        decode_responses=True,
        encoding_errors="replace",
    )


def redis_answers() -> bool:
    try:
        with redis_client() as client:
            return bool(client.ping())
    except (RedisError, OSError):
        return False
