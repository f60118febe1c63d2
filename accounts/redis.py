"""Redis as a place for hints; and, in the log of every process, when it can be reached and when it can't."""

from __future__ import annotations

import threading
import time
from functools import cache
from typing import Any

import redis
import structlog
from django.conf import settings
from redis.backoff import NoBackoff
from redis.exceptions import RedisError
from redis.retry import Retry

from accounts.masking import mask_url

CONNECTED = "Successfully connected to Redis"
AWAY = "Redis is not reachable; sending goes on from PostgreSQL"
PERIOD_S = 5.0
TIMEOUT_S = 2.0
HINT_TIMEOUT_S = 1.0

logger = structlog.get_logger(__name__)


def hints() -> redis.Redis:
    """Where this process reads and writes what may vanish, as bytes; it says soon when Redis is away."""
    return _client(settings.REDIS_URL)


@cache
def _client(url: str) -> redis.Redis:
    timeouts = {"socket_timeout": HINT_TIMEOUT_S, "socket_connect_timeout": HINT_TIMEOUT_S}
    return redis.Redis.from_url(url, retry=Retry(NoBackoff(), 0), **timeouts)


class RedisWatch:
    """Asks Redis with a PING and logs each change of the answer, once."""

    def __init__(self, url: str, period: float = PERIOD_S) -> None:
        self.url = url
        self.period = period
        self.connected: bool | None = None
        self._client = redis.Redis.from_url(url, socket_timeout=TIMEOUT_S, socket_connect_timeout=TIMEOUT_S)

    def start(self) -> None:
        """Keep checking on a daemon thread; call it after a fork, never before."""
        threading.Thread(target=self._keep_checking, name="redis-watch", daemon=True).start()

    def check(self) -> bool:
        try:
            started = time.perf_counter()
            self._client.ping()
            latency_ms = round((time.perf_counter() - started) * 1000, 2)
            news = {} if self.connected else self._introduction() | {"latency_ms": latency_ms}
        except (RedisError, OSError) as problem:
            if self.connected is not False:
                logger.warning(AWAY, url=mask_url(self.url), problem=type(problem).__name__)
            self.connected = False
            return False
        if news:
            logger.info(CONNECTED, **news)
        self.connected = True
        return True

    def _introduction(self) -> dict[str, Any]:
        info: Any = self._client.info("server")
        version = info.get("valkey_version") or info.get("redis_version")
        return {"url": mask_url(self.url), "server": info.get("server_name", "redis"), "version": version}

    def _keep_checking(self) -> None:
        while True:
            self.check()
            time.sleep(self.period)
