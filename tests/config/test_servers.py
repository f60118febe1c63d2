"""The servers a test session runs on."""

from __future__ import annotations

import pytest
from django.core.cache import cache
from django.db import connection


@pytest.mark.django_db
def test_tests_run_on_a_real_postgresql() -> None:
    with connection.cursor() as cursor:
        cursor.execute("SHOW server_version_num")
        assert int(cursor.fetchone()[0]) >= 150000


def test_tests_run_on_a_real_redis() -> None:
    cache.set("greeting", "hello", 5)
    assert cache.get("greeting") == "hello"
