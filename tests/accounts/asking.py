"""Asking the database itself, and who it is that asks."""

from __future__ import annotations

from typing import Any

from django.db import connection, transaction


def ask(sql: str, *parameters: Any) -> list[tuple[Any, ...]]:
    with connection.cursor() as cursor:
        cursor.execute(sql, parameters)
        return cursor.fetchall() if cursor.description else []


def change(sql: str, *parameters: Any) -> int:
    """How many rows the statement touched; its own savepoint, so that a refusal leaves the test going."""
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(sql, parameters)
        return cursor.rowcount


def who_asks() -> tuple[str, str]:
    return ask("SELECT current_user::text, coalesce(current_setting('flotilla.workspace', true), '')")[0]


def owner_name() -> str:
    return ask("SELECT session_user::text")[0][0]
