"""Migrations go both ways, and the same tables stand there after."""

from __future__ import annotations

import pytest
from django.db import connection
from django.db.migrations.executor import MigrationExecutor
from django.utils import timezone

from accounts.models import Workspace
from campaigns.models import ConsentEntry, Contact
from tests.factories import make_contact, make_device

COLUMNS = """SELECT table_name, column_name, data_type, is_nullable, column_default FROM information_schema.columns
    WHERE table_schema = 'public' ORDER BY 1, 2"""
RULES = """SELECT conrelid::regclass::text, conname, pg_get_constraintdef(oid) FROM pg_constraint
    WHERE connamespace = 'public'::regnamespace ORDER BY 1, 2"""
INDEXES = "SELECT indexname, indexdef FROM pg_indexes WHERE schemaname = 'public' ORDER BY 1"


def tables() -> list[list[tuple]]:
    with connection.cursor() as cursor:
        return [cursor.execute(query).fetchall() for query in (COLUMNS, RULES, INDEXES)]


def at_once() -> None:
    """No table changes while one of its constraints is still to be looked at."""
    with connection.cursor() as cursor:
        cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")


@pytest.mark.django_db
def test_what_came_since_the_engine_can_be_undone_and_done_again(workspace: Workspace) -> None:
    before = tables()
    person, device, now = make_contact(workspace, consent_source="In the shop"), make_device(workspace), timezone.now()
    at_once()
    MigrationExecutor(connection).migrate([("campaigns", "0004_sending_engine")])
    assert ("campaigns_segment",) not in {row[:1] for row in tables()[0]}
    halfway = MigrationExecutor(connection).migrate([("campaigns", "0012_media")])
    halfway.apps.get_model("campaigns", "Reply").objects.create(
        workspace_id=workspace.pk, device_id=device.pk, contact_id=person.pk, phone=person.phone, wire_id="A", at=now
    )
    executor = MigrationExecutor(connection)
    executor.migrate(executor.loader.graph.leaf_nodes())
    assert tables() == before
    assert Contact.objects.get().last_reply_at == now
    assert ConsentEntry.objects.get().source == "In the shop"
