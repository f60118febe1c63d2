"""Liveness and readiness, with servers that are really away."""

from __future__ import annotations

from typing import Any

import pytest
from django.core.checks import run_checks
from django.db import connection
from django.db.migrations.loader import MigrationLoader
from django.db.migrations.recorder import MigrationRecorder
from django.test import Client

from accounts.tenancy import TENANT_ROLE
from monitoring import health

READY = {"status": "ready", "database": "ok", "migrations": "applied", "wall": "up", "redis": "connected"}


def test_the_process_is_up_whatever_else_is_not(no_database: None, settings: Any) -> None:
    settings.REDIS_URL = "unix:///nowhere"
    answer = Client().get("/healthz")
    assert (answer.status_code, answer.content) == (200, b"ok\n")


@pytest.mark.django_db
def test_everybody_may_ask_whether_flotilla_is_ready() -> None:
    answer = Client().get("/readyz")
    assert answer.status_code == 200
    assert answer.json() == READY
    assert "no-store" in answer["Cache-Control"]


@pytest.mark.django_db
def test_without_redis_pages_work_and_flotilla_is_ready(settings: Any) -> None:
    settings.REDIS_URL = "unix:///nowhere"
    answer = Client().get("/readyz")
    assert answer.status_code == 200
    assert answer.json() == READY | {"redis": "away"}


def test_without_postgresql_nothing_is_ready(no_database: None) -> None:
    answer = Client().get("/readyz")
    assert answer.status_code == 503
    assert answer.json() == READY | {
        "status": "not ready",
        "database": "away",
        "migrations": "unknown",
        "wall": "unknown",
    }


@pytest.mark.django_db
def test_a_missing_migration_is_not_ready_until_it_is_applied(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(health._known, "migrated", False)
    recorder = MigrationRecorder(connection)
    (newest,) = MigrationLoader(connection).graph.leaf_nodes("campaigns")
    recorder.record_unapplied(*newest)
    answer = Client().get("/readyz")
    assert (answer.status_code, answer.json()["migrations"]) == (503, "missing")
    recorder.record_applied(*newest)
    assert Client().get("/readyz").status_code == 200


@pytest.mark.django_db
@pytest.mark.parametrize(
    "harm",
    [
        f"ALTER ROLE {TENANT_ROLE} RENAME TO flotilla_renamed",
        f"REVOKE ALL ON accounts_workspace FROM {TENANT_ROLE}",
    ],
)
def test_without_the_wall_between_workspaces_nothing_is_ready_and_the_check_says_why(harm: str) -> None:
    assert not second_wall_warnings()
    with connection.cursor() as cursor:
        cursor.execute(harm)
    answer = Client().get("/readyz")
    assert (answer.status_code, answer.json()["wall"]) == (503, "down")
    assert second_wall_warnings() == ["monitoring.W001"]


def test_the_check_says_when_the_database_cannot_be_asked(no_database: None) -> None:
    assert second_wall_warnings() == ["monitoring.W002"]


def second_wall_warnings() -> list[str | None]:
    found = run_checks(tags=["security"], include_deployment_checks=True)
    return [message.id for message in found if message.id and message.id.startswith("monitoring.")]


@pytest.mark.django_db
@pytest.mark.parametrize("path", ["/healthz", "/readyz"])
def test_health_says_words_only(path: str) -> None:
    told = Client().get(path).content.decode()
    for detail in ("postgres", "unix:", "/", "flotilla", "@"):
        assert detail not in told


@pytest.mark.django_db
@pytest.mark.parametrize("path", ["/healthz", "/readyz", "/api/system/redis-check"])
def test_health_is_only_looked_at(path: str) -> None:
    assert Client().post(path).status_code == 405
    assert Client().head(path).status_code in (200, 401)
