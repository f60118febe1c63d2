"""The Redis diagnosis: who may see it, what it says, and that it says no password."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings as installed
from django.test import Client
from redis import Redis

from accounts.models import AuditEntry, User
from config.embedded import Valkey, running
from devices.quarantine import put_away

PATH = "/api/system/redis-check"
BROWSER = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"
KEYS = {
    "manager_type",
    "is_redis_enabled",
    "environment_vars",
    "validation_checks",
    "final_redis_url",
    "status",
    "message",
    "latency_ms",
    "server",
    "queues",
    "quarantine",
    "lanes",
    "dead",
    "workers",
    "engines",
}
NOTHING_SET = dict.fromkeys(("REDIS_URL", "REDISHOST", "REDISPORT", "REDIS_PASSWORD"))
SignIn = Callable[[User], Client]


@pytest.fixture
def guarded(tmp_path: Path, settings: Any) -> Iterator[Valkey]:
    """A Valkey of the test's own, behind a password."""
    valkey = Valkey(tmp_path / "data", tmp_path / "run" / "valkey", secrets.token_urlsafe(12))
    settings.REDIS_URL = valkey.url
    with running(valkey):
        yield valkey


@pytest.fixture(autouse=True)
def plain_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (*NOTHING_SET, "REDIS_EMBEDDED"):
        monkeypatch.delenv(name, raising=False)


def test_programs_get_json(sam: User, sign_in: SignIn) -> None:
    answer = sign_in(sam).get(PATH)
    found = answer.json()
    assert answer.status_code == 200
    assert set(found) == KEYS
    assert (found["is_redis_enabled"], found["status"]) == (True, "connected")
    assert found["message"] == "Successfully connected to Redis"
    assert 0 < found["latency_ms"] < 1000
    assert set(installed.RQ_QUEUES) <= set(found["queues"])
    assert found["server"]["version"][0].isdigit()


def test_browsers_get_a_page(sam: User, sign_in: SignIn) -> None:
    answer = sign_in(sam).get(PATH, headers={"accept": BROWSER})
    assert answer.status_code == 200
    assert answer["Content-Type"].startswith("text/html")
    page = answer.content.decode()
    for words in ("Connected", "no_template_vars", "REDIS_PASSWORD", "planning"):
        assert words in page


def test_without_a_ping_it_answers_503_and_says_that_sending_goes_on(sam: User, sign_in: SignIn, settings: Any) -> None:
    settings.REDIS_URL = "redis://:hunter-not-real@127.0.0.1:1/0"
    client = sign_in(sam)
    answer = client.get(PATH)
    found = answer.json()
    assert answer.status_code == 503
    assert set(found) == KEYS
    assert (found["is_redis_enabled"], found["status"], found["latency_ms"]) == (False, "unreachable", None)
    assert found["message"].startswith("Redis is not reachable; sending goes on from PostgreSQL")
    assert found["final_redis_url"] == "redis://:***@127.0.0.1:1/0"
    page = client.get(PATH, headers={"accept": BROWSER})
    assert page.status_code == 503
    assert "Not reachable" in page.content.decode()
    assert "hunter-not-real" not in page.content.decode()


def test_a_strangers_word_is_asked_for_first(alice: User, sign_in: SignIn) -> None:
    assert Client().get(PATH).status_code == 401
    to_sign_in = Client().get(PATH, headers={"accept": BROWSER})
    assert to_sign_in.status_code == 302
    assert to_sign_in["Location"].startswith("/accounts/login/?next=")
    for accept in ("*/*", BROWSER):
        refused = sign_in(alice).get(PATH, headers={"accept": accept})
        assert refused.status_code == 403
        assert b"redis_url" not in refused.content


def test_staff_who_left_is_refused(sam: User, sign_in: SignIn) -> None:
    client = sign_in(sam)
    User.objects.filter(pk=sam.pk).update(is_active=False)
    assert client.get(PATH).status_code == 401


def test_a_look_is_audited(sam: User, sign_in: SignIn) -> None:
    sign_in(sam).get(PATH)
    entry = AuditEntry.objects.get(action="staff.redis_check")
    assert (entry.actor, entry.workspace) == (sam, None)


def test_the_embedded_server_is_told_apart_and_its_address_was_set_by_nobody(
    sam: User, sign_in: SignIn, guarded: Valkey, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REDIS_URL", guarded.url)
    monkeypatch.setenv("REDIS_EMBEDDED", "1")
    answer = sign_in(sam).get(PATH)
    found = answer.json()
    assert found["manager_type"] == "redis-embedded"
    assert found["environment_vars"] == NOTHING_SET
    assert found["final_redis_url"] == f"unix://:***@{guarded.socket}"
    assert found["validation_checks"] == {
        "not_empty": True,
        "no_template_vars": True,
        "not_localhost": False,
        "has_redis_scheme": True,
    }
    assert found["is_redis_enabled"]
    assert guarded.password not in answer.content.decode()


def test_the_environment_is_shown_masked(
    sam: User, sign_in: SignIn, guarded: Valkey, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = {
        "REDIS_URL": "redis://default:not-a-real-secret@cache.example.com:6379/0",
        "REDISHOST": "cache.example.com",
        "REDISPORT": "6379",
        "REDIS_PASSWORD": "not-a-real-secret",
    }
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    answer = sign_in(sam).get(PATH)
    assert answer.json()["manager_type"] == "redis"
    assert answer.json()["environment_vars"] == {
        "REDIS_URL": "redis://default:***@cache.example.com:6379/0",
        "REDISHOST": "cache.example.com",
        "REDISPORT": "6379",
        "REDIS_PASSWORD": "***",
    }
    assert "not-a-real-secret" not in answer.content.decode()
    page = sign_in(sam).get(PATH, headers={"accept": BROWSER}).content.decode()
    assert "not-a-real-secret" not in page
    assert "redis://default:***@cache.example.com:6379/0" in page


@pytest.mark.parametrize(
    ("url", "failing"),
    [
        ("redis://cache.example.com:6379/0", set()),
        ("rediss://cache.example.com:6379/0", set()),
        ("redis://localhost:6379/0", {"not_localhost"}),
        ("redis://127.0.0.1:6379/0", {"not_localhost"}),
        ("redis://[::1]:6379/0", {"not_localhost"}),
        ("unix:///run/valkey", {"not_localhost"}),
        ("redis://${HOST}:6379/0", {"no_template_vars"}),
        ("http://cache.example.com", {"has_redis_scheme"}),
        ("", {"not_empty", "has_redis_scheme"}),
    ],
)
def test_each_check_of_the_address_says_yes_or_no(url: str, failing: set[str]) -> None:
    from monitoring.redis_check import validation_checks

    assert {name for name, passed in validation_checks(url).items() if not passed} == failing


def test_queues_workers_and_what_engines_published_are_read(sam: User, sign_in: SignIn, guarded: Valkey) -> None:
    with Redis.from_url(guarded.url) as redis:
        redis.sadd("rq:queues", "rq:queue:control@north")
        redis.rpush("rq:queue:control@north", "one", "two")
        redis.zadd("rq:failed:imports", {"broken": 1})
        redis.sadd("rq:workers", "rq:worker:north.1", "rq:worker:gone")
        redis.hset("rq:worker:north.1", mapping={"state": "busy", "queues": "control@north,campaign@north"})
        redis.hset("broadcast:queue:campaign", mapping={"depth": 12, "due": 3})
        redis.hset("broadcast:queue:dead", mapping={"no_such_number": 4})
        redis.hset("broadcast:workers:status", mapping={"north": '{"devices": 7}'})
    found = sign_in(sam).get(PATH).json()
    assert found["queues"]["control@north"] == {"waiting": 2, "failed": 0}
    assert found["queues"]["imports"] == {"waiting": 0, "failed": 1}
    assert [(worker["name"], worker["state"], worker["queues"]) for worker in found["workers"]] == [
        ("north.1", "busy", ["control@north", "campaign@north"])
    ]
    assert found["lanes"]["campaign"] == {"depth": "12", "due": "3"}
    assert found["dead"] == {"no_such_number": 4}
    assert found["engines"] == {"north": {"devices": 7}}


def test_what_was_quarantined_is_counted_and_shown(sam: User, sign_in: SignIn, guarded: Valkey) -> None:
    with Redis.from_url(guarded.url) as redis:
        for number in range(25):
            put_away(redis, "rq:queue:planning", b"poison-%d" % number, "its data is not JSON")
    client = sign_in(sam)
    found = client.get(PATH).json()["quarantine"]
    assert (found["count"], len(found["latest"])) == (25, 20)
    newest = found["latest"][0]
    assert (newest["id"], newest["queue"], newest["why"]) == ("poison-24", "planning", "its data is not JSON")
    page = client.get(PATH, headers={"accept": BROWSER}).content.decode()
    assert "Quarantine: 25 jobs" in page
    assert "its data is not JSON" in page


def test_what_cannot_be_read_is_said_and_the_ping_still_counts(sam: User, sign_in: SignIn, guarded: Valkey) -> None:
    with Redis.from_url(guarded.url) as redis:
        redis.set("broadcast:queue:dead", "not a hash")
    answer = sign_in(sam).get(PATH)
    assert answer.status_code == 200
    assert answer.json()["is_redis_enabled"]
    assert answer.json()["message"].startswith("Redis answers, but not all of it could be read")


def test_the_admin_leads_staff_to_queues_and_diagnosis(sam: User, sign_in: SignIn) -> None:
    page = sign_in(sam).get("/admin/").content.decode()
    assert 'href="/admin/queues/"' in page
    assert f'href="{PATH}"' in page
    assert sign_in(sam).get("/admin/queues/").status_code == 200
