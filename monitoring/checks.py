"""System checks of `manage.py check --deploy`: what a running installation needs beyond its settings."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.apps.config import AppConfig
from django.core.checks import CheckMessage, Tags, Warning, register
from django.db import Error

from accounts.tenancy import TENANT_ROLE, look_for_tenant_role


@register(Tags.security, deploy=True)
def second_wall(app_configs: Sequence[AppConfig] | None, **kwargs: Any) -> list[CheckMessage]:
    try:
        if look_for_tenant_role():
            return []
    except Error as problem:
        return [
            Warning(
                f"PostgreSQL can't be asked for the role {TENANT_ROLE} ({type(problem).__name__}).",
                hint="Run the check where DATABASE_URL can be reached.",
                id="monitoring.W002",
            )
        ]
    return [
        Warning(
            f"The role {TENANT_ROLE} is missing, or this database user may not act as it: "
            "row-level security does not guard the pages.",
            hint="See “The wall between workspaces” in docs/operations.md.",
            id="monitoring.W001",
        )
    ]
