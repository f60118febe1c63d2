"""Migrations go both ways, and the same tables stand there after."""

from __future__ import annotations

import pytest
from django.db import connection
from django.db.migrations.executor import MigrationExecutor

COLUMNS = """SELECT table_name, column_name, data_type, is_nullable, column_default FROM information_schema.columns
    WHERE table_schema = 'public' ORDER BY 1, 2"""
RULES = """SELECT conrelid::regclass::text, conname, pg_get_constraintdef(oid) FROM pg_constraint
    WHERE connamespace = 'public'::regnamespace ORDER BY 1, 2"""
INDEXES = "SELECT indexname, indexdef FROM pg_indexes WHERE schemaname = 'public' ORDER BY 1"


def tables() -> list[list[tuple]]:
    with connection.cursor() as cursor:
        return [cursor.execute(query).fetchall() for query in (COLUMNS, RULES, INDEXES)]


@pytest.mark.django_db
def test_what_came_since_the_engine_can_be_undone_and_done_again() -> None:
    before = tables()
    MigrationExecutor(connection).migrate([("campaigns", "0004_sending_engine")])
    assert ("campaigns_segment",) not in {row[:1] for row in tables()[0]}
    executor = MigrationExecutor(connection)
    executor.migrate([key for key in executor.loader.graph.leaf_nodes() if key[0] == "campaigns"])
    assert tables() == before
