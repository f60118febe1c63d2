"""Runs the outbox's statements prepared: planning each anew would cost as much as running it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import psycopg
from django.db import connection

ONLY_WHEN_ASKED = 1_000_000  # uses before psycopg prepares by itself; Django's None forbids it altogether


def rows_of(statement: str, values: Mapping[str, Any]) -> list[tuple[Any, ...]]:
    """Run the statement with its values bound by the server, lists as arrays; raises Django's database errors.

    The statement casts every array: it arrives as a literal.
    """
    bound = {name: array(value) if isinstance(value, (list, tuple)) else value for name, value in values.items()}
    connection.ensure_connection()
    connection.connection.prepare_threshold = ONLY_WHEN_ASKED
    with connection.wrap_database_errors, psycopg.Cursor(connection.connection) as cursor:
        cursor.execute(statement.encode(), bound, prepare=True)
        return cursor.fetchall()


def array(values: Sequence[Any]) -> str:
    """An array literal of numbers, booleans, texts or bytes; psycopg's own takes ten times as long for thousands."""
    return "{" + ",".join(map(_element, values)) + "}"


def _element(value: Any) -> str:
    if value is None:
        return "NULL"
    if isinstance(value, str):
        return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'
    if isinstance(value, bytes):
        return f'"\\\\x{value.hex()}"'
    return str(value)
