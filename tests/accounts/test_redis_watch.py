"""What the log says of Redis, with a real server that goes away and comes back."""

from __future__ import annotations

import secrets
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from accounts.redis import AWAY, CONNECTED, RedisWatch
from config.embedded import Valkey, running


@pytest.fixture
def valkey(tmp_path: Path) -> Valkey:
    return Valkey(tmp_path / "data", tmp_path / "run" / "valkey", secrets.token_urlsafe(12))


def test_each_change_is_said_once_and_a_recovery_is_a_connection_again(valkey: Valkey) -> None:
    watch = RedisWatch(valkey.url)
    with capture_logs() as said:
        assert not watch.check()
        assert not watch.check()
        with running(valkey):
            assert watch.check()
            assert watch.check()
        assert not watch.check()
        assert not watch.check()
        with running(valkey):
            assert watch.check()
    assert [line["event"] for line in said] == [AWAY, CONNECTED, AWAY, CONNECTED]


def test_a_connection_is_announced_with_server_version_latency_and_no_password(valkey: Valkey) -> None:
    with running(valkey), capture_logs() as said:
        RedisWatch(valkey.url).check()
    (line,) = said
    assert line["event"] == "Successfully connected to Redis"
    assert line["url"] == f"unix://:***@{valkey.socket}"
    assert line["server"] in ("valkey", "redis")
    assert line["version"][0].isdigit()
    assert 0 < line["latency_ms"] < 1000
    assert valkey.password not in str(said)


def test_while_redis_is_away_the_log_says_that_sending_goes_on(valkey: Valkey) -> None:
    with capture_logs() as said:
        RedisWatch(valkey.url).check()
    (line,) = said
    assert line["event"] == "Redis is not reachable; sending goes on from PostgreSQL"
    assert valkey.password not in str(said)
